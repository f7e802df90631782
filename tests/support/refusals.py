"""Gives every argument that is a path every kind of path that can't be used, and prints what the programs say.

python -m tests.support.refusals commands    (or: experiments; kinds of paths may follow)

One line of JSON for each case: the program, its argument, the kind of path, the exit status, what it printed on
standard error, and the files that it left. The process gives up the right to read and write everything that root has.
"""

import contextlib
import ctypes
import io
import json
import os
import runpy
import shutil
import signal
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from metastyle.cli import main
from metastyle.images import codec
from tests.support.places import BUNDLE, FORMAT_1, ROOT

SUFFIXES = (".png", ".safetensors", ".json", ".pth", ".h5", ".onnx", ".webp", ".mp4")
# Kinds of paths by name; {s} is a suffix that the argument takes.
IN_FILE = {
    "missing": "gone{s}",
    "in a missing folder": "gone/x{s}",
    "in a file": "photo.png/x{s}",
    "folder": "empty.d",
    "locked folder": "locked",
    "in a locked folder": "locked/x{s}",
    "no permission": "secret{s}",
    "empty": "empty{s}",
    "dangling link": "dangling{s}",
    "link to itself": "loop{s}",
    "line break": "two\nlines{s}",
    "pipe": "pipe{s}",
    "device": "/dev/null",
    "long name": "n" * 300 + "{s}",
}
IN_FOLDER = {
    "missing": "gone",
    "file": "photo.png",
    "empty": "empty.d",
    "locked": "locked",
    "in a locked folder": "locked/sub",
    "dangling link": "dangling.png",
    "line break": "two\nlines",
    "pipe": "pipe.png",
    "long name": "n" * 300,
}
IN_BUNDLE = IN_FOLDER | {"tensors without permission": "secret_tensors", "settings without permission": "secret_config"}
IN_SOURCE = {kind: f"folder:{path}" for kind, path in IN_FOLDER.items()}
OUT_FILE = {
    "in a missing folder": "gone/x{s}",
    "in a file": "photo.png/x{s}",
    "folder": "empty.d",
    "in a read-only folder": "readonly/x{s}",
    "in a locked folder": "locked/x{s}",
    "link to itself": "loop{s}",
    "other suffix": "x.bad",
    "device": "/dev/full",
    "long name": "n" * 300 + "{s}",
}
OUT_PICTURES = {kind: path for kind, path in OUT_FILE.items() if kind != "folder"}  # a folder is right there
OUT_FOLDER = {
    "file": "photo.png",
    "in a file": "photo.png/x",
    "in a read-only folder": "readonly/x",
    "in a locked folder": "locked/x",
    "link to itself": "loop.png",
    "device": "/dev/full/x",
    "long name": "n" * 300,
}

PNG, STYLE = ".png", ".safetensors"
TRANSFER = ["--content=photo.png", "--style=painting.png", "--out=new.png", "--bundle=bundle", "--vgg=random"]
ADAPT = ["--style=painting.png", "--support=photo.png", "--steps=1", "--out=new.safetensors", "--bundle=bundle"]
STYLIZE = ["--style_file=style.safetensors", "--content=photo.png", "--out=new.png"]
VIDEO = ["--style_file=style.safetensors", "--content=pictures", "--out=new.mp4", "--backend=jax"]
PAINTED = ["--style=painting.png", "--bundle=bundle", "--steps=0", *VIDEO[1:]]
BLEND = ["--style_file=style.safetensors", "--weights=1", "--out=new.safetensors"]
EXPORT = ["--style_file=style.safetensors", "--out=new.onnx"]
# (program, its other arguments, an argument, the kinds of paths it is given, its suffix)
COMMANDS = [
    ("transfer", TRANSFER, "content", IN_FILE, PNG),
    ("transfer", TRANSFER, "style", IN_FILE, PNG),
    ("transfer", TRANSFER, "mask", IN_FILE, PNG),
    ("transfer", TRANSFER, "bundle", IN_BUNDLE, ""),
    ("transfer", TRANSFER, "vgg", IN_FILE, STYLE),
    ("transfer", TRANSFER, "out", OUT_PICTURES, PNG),
    ("transfer", TRANSFER, "save_style", OUT_FILE, STYLE),
    ("adapt", ADAPT, "style", IN_FILE, PNG),
    ("adapt", ADAPT, "support", IN_FILE, PNG),
    ("adapt", ADAPT, "preview", IN_FILE, PNG),
    ("adapt", ADAPT, "bundle", IN_BUNDLE, ""),
    ("adapt", ADAPT, "vgg", IN_FILE, STYLE),
    ("adapt", ADAPT, "out", OUT_FILE, STYLE),
    ("adapt", [*ADAPT, "--preview=photo.png"], "preview_out", OUT_FILE, ".webp"),
    ("stylize", STYLIZE, "style_file", IN_FILE, STYLE),
    ("stylize", STYLIZE, "content", IN_FILE, PNG),
    ("stylize", STYLIZE, "mask", IN_FILE, PNG),
    ("stylize", [*STYLIZE, "--palette=1"], "style", IN_FILE, PNG),
    ("stylize", [*STYLIZE, "--style=painting.png", "--refine=1"], "vgg", IN_FILE, STYLE),
    ("stylize", STYLIZE, "bundle", IN_BUNDLE, ""),
    ("stylize", STYLIZE, "out", OUT_PICTURES, PNG),
    ("video", VIDEO, "content", IN_FILE, ".mp4"),
    ("video", VIDEO, "style_file", IN_FILE, STYLE),
    ("video", VIDEO, "mask", IN_FILE, PNG),
    ("video", VIDEO, "mask", IN_FILE, ".mp4"),
    ("video", VIDEO, "out", OUT_PICTURES, ".mp4"),
    ("video", PAINTED, "style", IN_FILE, PNG),
    ("video", PAINTED, "bundle", IN_BUNDLE, ""),
    ("video", PAINTED, "save_style", OUT_FILE, STYLE),
    ("blend", BLEND, "style_file", IN_FILE, STYLE),
    ("blend", BLEND, "out", OUT_FILE, STYLE),
    ("sheet", STYLIZE, "content", IN_FILE, PNG),
    ("sheet", STYLIZE, "style_file", IN_FILE, STYLE),
    ("sheet", STYLIZE, "out", OUT_FILE, PNG),
    ("export", EXPORT, "style_file", IN_FILE, STYLE),
    ("export", EXPORT, "out", OUT_FILE, ".onnx"),
    ("info", [], "style_file", IN_FILE, STYLE),
    ("info", [], "bundle", IN_BUNDLE, ""),
    ("info", [], "picture", IN_FILE, PNG),
]

GATYS = ["--content=photo.png", "--style=painting.png", "--out=new.png", "--vgg=random", "--size=16", "--iterations=1"]
CONVERT = ["--source=photo.png", "--out=new.safetensors"]
STRENGTH = ["--vgg=random", "--contents=folder:pictures", "--styles=folder:pictures", "--bundle=bundle"]
COMPARE = ["--slim=random", "--vgg=random", "--report=empty.d"]
META = [f"--config={ROOT}/configs/tiny_cpu.py", "--workdir=new", "--config.vgg=random", "--config.run.steps=1"]
DOMAINS = "photo:pictures,art:more"
ADVERSARIAL = [
    f"--config={ROOT}/configs/gan.py",
    *("--workdir=new", f"--config.data.domains={DOMAINS}", "--config.data.short=16", "--config.data.size=16"),
    *("--config.bundle=bundle", "--config.run.steps=1"),
]
COMPARED = [f"--domains={DOMAINS}", "--bundle=bundle", "--vgg=random", "--short=32", "--size=32", "--out=new"]
PREPARE = ["--folder=pictures", "--out=new"]
EVALUATE = [
    f"--config={ROOT}/configs/eval_default.py",
    *("--config.contents=pictures", "--config.styles=pictures", "--config.vgg=random", "--config.size=32"),
    *("--config.methods=identity", "--config.steps=0,", "--out=new"),
]
EXPERIMENTS = [
    ("votes", [], "votes", IN_FILE, ".json"),
    ("benchmark", [], "compare", IN_FILE, ".json"),
    ("benchmark", [], "json", OUT_FILE, ".json"),
    ("convert_vgg", CONVERT, "source", IN_FILE, ".h5"),
    ("convert_vgg", CONVERT, "out", OUT_FILE, STYLE),
    ("gatys", GATYS, "content", IN_FILE, PNG),
    ("gatys", GATYS, "style", IN_FILE, PNG),
    ("gatys", GATYS, "vgg", IN_FILE, STYLE),
    ("gatys", GATYS, "out", OUT_FILE, PNG),
    ("ship", [], "bundle", IN_BUNDLE, ""),
    ("plain", [], "bundle", IN_BUNDLE, ""),
    ("odd_styles", ["--count=1"], "bundle", IN_BUNDLE, ""),
    ("strength", STRENGTH, "bundle", IN_BUNDLE, ""),
    ("strength", STRENGTH, "vgg", IN_FILE, STYLE),
    ("strength", STRENGTH, "contents", IN_SOURCE, ""),
    ("compare_losses", COMPARE, "slim", IN_FILE, STYLE),
    ("compare_losses", COMPARE, "report", IN_FOLDER, ""),
    ("demo", ["--bundle=bundle"], "out", OUT_FOLDER, ""),
    ("meta_train", META, "workdir", OUT_FOLDER, ""),
    ("meta_train", META, "config.data.content", IN_SOURCE, ""),
    ("meta_train", META, "config.start", IN_BUNDLE, ""),
    ("adversarial_train", ADVERSARIAL, "workdir", OUT_FOLDER, ""),
    ("adversarial_train", ADVERSARIAL, "config.bundle", IN_BUNDLE, ""),
    ("adversarial_train", ADVERSARIAL, "config.vgg", IN_FILE, STYLE),
    ("domains", COMPARED, "style_file", IN_FILE, STYLE),
    ("domains", COMPARED, "out", OUT_FOLDER, ""),
    ("prepare_data", PREPARE, "folder", IN_FOLDER, ""),
    ("prepare_data", PREPARE, "out", OUT_FOLDER, ""),
    ("evaluate", [*EVALUATE, "--bundle=bundle"], "out", OUT_FOLDER, ""),
    ("evaluate", EVALUATE, "bundle", IN_BUNDLE, ""),
    ("evaluate", EVALUATE, "checkpoints", IN_FOLDER, ""),
    ("evaluate", EVALUATE, "config.lpips", IN_FILE, STYLE),
]
TABLES = {"commands": COMMANDS, "experiments": EXPERIMENTS}


def cases(table):
    """Yields (program, argument, kind of path, the whole line) for each case of a table."""
    for program, others, argument, kinds, suffix in TABLES[table]:
        others = [flag for flag in others if not flag.startswith(f"--{argument}=")]
        for kind, path in kinds.items():
            yield program, argument, kind, [*others, f"--{argument}={path.format(s=suffix)}"]


def prepare_folder():
    """Fills the working folder with usable files, and with all that the kinds of paths need."""
    shutil.copytree(BUNDLE, "bundle")
    shutil.copy(FORMAT_1 / "self_contained.safetensors", "style.safetensors")
    shutil.copy(FORMAT_1 / "photograph.png", "photo.png")
    codec.save("painting.png", np.random.default_rng(1).uniform(size=(4, 4, 3)).repeat(6, 0).repeat(5, 1))
    for folder in ("empty.d", "pictures", "readonly", "locked/sub"):
        os.makedirs(folder)
    for i in range(2):
        shutil.copy("photo.png", f"pictures/{i}.png")
    shutil.copytree("pictures", "more")
    for suffix in SUFFIXES:
        Path(f"empty{suffix}").touch()
        Path(f"secret{suffix}").touch(mode=0)
        os.symlink(f"nowhere{suffix}", f"dangling{suffix}")
        os.symlink(f"loop{suffix}", f"loop{suffix}")
        os.mkfifo(f"pipe{suffix}")
    for name, secret in (("secret_tensors", "params.safetensors"), ("secret_config", "config.json")):
        shutil.copytree("bundle", name)
        os.chmod(f"{name}/{secret}", 0)
    os.chmod("readonly", 0o555)
    os.chmod("locked", 0)


def give_up_privileges():
    """Drops all capabilities of Linux, so that permissions hold for root too."""
    if os.geteuid() == 0:
        version, header, none = 0x20080522, ctypes.create_string_buffer(8), ctypes.create_string_buffer(24)
        struct.pack_into("Ii", header, 0, version, 0)
        if ctypes.CDLL(None, use_errno=True).capset(header, none):
            raise OSError(ctypes.get_errno(), "capset")


def run_command(program, line):
    """Exit status and standard error of `metastyle`."""
    told = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        try:
            main.main([program, *line])
        except SystemExit as end:
            return end.code, told.getvalue()
    raise AssertionError("the command returned")


def run_experiment(program, line):
    """Exit status and standard error of a main of `experiments`, in a copy of this process that has imported it all."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        signal.alarm(60)
        sys.argv = [program, *line]
        status = 0
        try:
            runpy.run_module(f"experiments.{program}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        os._exit(status)
    os.close(write)
    with open(read, "rb") as stream:
        told = stream.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told


def load_modules():
    """Imports what the mains need, which takes seconds, once for all copies of the process; starts no JAX backend."""
    import metastyle.benchmark.suite  # noqa: F401
    import metastyle.evaluate.follow  # noqa: F401
    import metastyle.evaluate.studies.compare_losses  # noqa: F401
    import metastyle.stylize.demo  # noqa: F401
    import metastyle.train.carry_over  # noqa: F401
    import metastyle.train.plain_parameters  # noqa: F401


def print_all(table, only=()):
    run = run_command
    if table == "experiments":
        load_modules()
        run = run_experiment
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        prepare_folder()
        give_up_privileges()
        before = set(os.listdir())
        for program, argument, kind, line in cases(table):
            if only and kind not in only:
                continue
            status, told = run(program, line)
            print(json.dumps([program, argument, kind, status, told, sorted(set(os.listdir()) - before)]), flush=True)
        os.chmod("locked", 0o700)
        os.chmod("readonly", 0o700)


if __name__ == "__main__":
    print_all(sys.argv[1], sys.argv[2:])
