"""The `metastyle` command: each subcommand works, and each mistake is one line, a non-zero exit and no file."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metastyle
from metastyle.cli import commands, info, main
from metastyle.errors import RETRY
from metastyle.images import codec
from metastyle.stylize import cost
from metastyle.stylize import pixels as optimisation
from metastyle.weights import bundles
from tests.support import toy
from tests.support.command import PHOTOGRAPH, adapt, pixels, stylize, transfer
from tests.support.places import BUNDLE
from tests.support.stored import change_settings, toy_bundle
from tests.support.vgg_download import md5

# What works


def test_adapt_writes_the_style_that_python_makes(run):
    out = run(*adapt(style="painting.png,photo.png", steps=3, seed=5, style_size=20)).splitlines()
    expected = metastyle.load("bundle").adapt(
        ["painting.png", "photo.png"], steps=3, seed=5, style_size=20, support=["photo.png"]
    )
    style = metastyle.load_style("new.safetensors")
    assert style.history == expected.history and style.file.style_size == 20
    for path, x in expected.file.fast.items():
        np.testing.assert_array_equal(style.file.fast[path], x)
    assert out[:3] == [f"step {k + 1}/3  loss {loss:.4f}" for k, loss in enumerate(style.history)]
    assert len(out) == 4 and out[3].startswith("wrote new.safetensors (")


def stopped(monkeypatch, argv):
    """Runs `adapt`, which is asked to stop in its second step; returns its exit status."""

    def printing(line, **_):
        if line.startswith("step 2/"):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(commands, "print", printing, raising=False)
        main.main(argv)
    return end.value.code


def test_a_stopped_adapt_goes_on_by_the_same_line(run, capsys, monkeypatch):
    assert stopped(monkeypatch, adapt(steps=4)) == RETRY
    assert capsys.readouterr().err == "stopped after step 2 of 4; the same line continues\n"
    assert Path("new.safetensors.state").exists() and not Path("new.safetensors").exists()
    assert run(*adapt(steps=4)).startswith("step 3/4 ")
    assert Path("new.safetensors").exists() and not Path("new.safetensors.state").exists()


def test_a_preview_of_continued_work_says_where_it_begins(capsys, monkeypatch):
    stopped(monkeypatch, adapt(steps=4, preview="photo.png"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main.main(adapt(steps=4, preview="photo.png"))
    assert end.value.code == 0
    expected = "note: `preview`: new.preview.webp begins after step 2, where the work was continued\n"
    assert capsys.readouterr().err == expected
    with Image.open("new.preview.webp") as animation:
        assert animation.n_frames == 3


def test_transfer_writes_what_python_makes(run):
    out = run(*transfer("--quality=best", "--save_style=x.safetensors")).splitlines()
    expected = metastyle.transfer("photo.png", "painting.png", quality="best", bundle="bundle", vgg="random")
    np.testing.assert_array_equal(pixels("new.png"), expected)
    assert out[0].startswith("30 x 22 px: 3 steps of adaptation, 15 iterations of refinement with random; about ")
    assert out[1:] == ["wrote x.safetensors", "wrote new.png"]
    assert (
        metastyle.load_style("x.safetensors", "bundle").file.output_size == 22
        and metastyle.load_style("x.safetensors", "bundle").file.phases == 4
    )
    assert not list(Path().glob("*.state*"))


def test_a_stopped_transfer_goes_on_by_the_same_line(run, capsys, monkeypatch):
    whole = metastyle.transfer("photo.png", "painting.png", quality="best", bundle="bundle", vgg="random")

    def stopped(*given):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*given)

    step = optimisation.step
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(optimisation, "step", stopped)
        main.main(transfer("--quality=best"))
    assert end.value.code == RETRY and not Path("new.png").exists()
    assert "stopped after iteration 1 of 15; the same line continues" in capsys.readouterr().err
    run(*transfer("--quality=best"))
    np.testing.assert_array_equal(pixels("new.png"), whole)
    assert not list(Path().glob("*.state*"))


def test_what_seconds_chose_holds_for_the_continued_work(run, capsys, monkeypatch):
    line, step = transfer("--seconds=1000"), optimisation.step
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(optimisation, "step", lambda *given: os.kill(os.getpid(), signal.SIGTERM) or step(*given))
        main.main(line)
    assert end.value.code == RETRY
    first = capsys.readouterr().out.splitlines()[0].partition("; about")[0]
    monkeypatch.setattr(cost, "measure", lambda: 1e6)
    assert run(*line).startswith(first)
    assert not list(Path().glob("*.state*"))


def test_transfer_of_a_folder(run, capsys):
    Path("photos").mkdir()
    for name in ("a", "b"):
        shutil.copy("photo.png", f"photos/{name}.png")
    Path("photos/bad.png").write_bytes(b"no picture")
    line = ["transfer", "--content=photos", "--style=painting.png", "--out=made/", "--quality=fast", "--bundle=bundle"]
    with pytest.raises(SystemExit) as end:
        main.main(line)
    assert end.value.code == 1
    assert "1 of 3 photographs could not be stylised; wrote 2 pictures into made/" in capsys.readouterr().err
    assert sorted(x.name for x in Path("made").iterdir()) == ["a_stylized_painting.png", "b_stylized_painting.png"]


def test_stylize_refines_towards_the_paintings(run):
    run(*stylize(refine=3, style="painting.png", vgg="random", palette=0.3))
    style = metastyle.load_style("style.safetensors").with_paintings("painting.png")
    np.testing.assert_array_equal(pixels("new.png"), style.stylize("photo.png", refine=3, vgg="random", palette=0.3))


def test_adapt_shows_a_photograph_over_the_steps(run):
    out = run(*adapt(steps=3, preview="photo.png"))
    assert out.endswith("\nwrote new.preview.webp\n")
    with Image.open("new.preview.webp") as animation:
        assert animation.n_frames == 4
    run(*adapt(steps=1, preview="photo.png", preview_out="view.gif"))
    with Image.open("view.gif") as animation:
        assert animation.n_frames == 2


def test_adapt_ends_when_little_is_gained(run):
    out = run(*adapt(steps=30, until=0.99))
    assert out.count("step ") == 20 and metastyle.load_style("new.safetensors").file.steps == 20


def test_adapt_in_no_steps_gives_the_start(run):
    assert run(*adapt(steps=0)).count("\n") == 1
    style, start = metastyle.load_style("new.safetensors"), bundles.load_bundle("bundle")
    assert style.history == ()
    for path, x in start.meta.fast.items():
        np.testing.assert_array_equal(style.file.fast[path], x)


@pytest.mark.parametrize("flag", ["--self_contained", "--noself_contained"])
def test_self_contained_style_is_stylised_without_its_bundle(run, refused_line, flag):
    run(*adapt(), flag)
    shutil.rmtree("bundle")
    if flag == "--self_contained":
        run(*stylize(style_file="new.safetensors"))
        assert pixels("new.png").shape == pixels("photo.png").shape
    else:
        assert "pass --bundle" in refused_line(*stylize(style_file="new.safetensors"))
        run(*stylize(style_file="new.safetensors", bundle=BUNDLE))


def test_stylize_writes_what_python_makes(run):
    assert run(*stylize(out="new.webp")) == "wrote new.webp\n"
    assert run(*stylize()) == "wrote new.png\n"
    expected = metastyle.load_style("style.safetensors").stylize("photo.png")
    np.testing.assert_array_equal(pixels("new.png"), expected)
    assert pixels("new.webp").shape == expected.shape


def test_stylize_keeps_transparency(run):
    transparent = Image.open("photo.png").convert("RGBA")
    transparent.putalpha(77)
    transparent.save("glass.png")
    run(*stylize(content="glass.png"))
    np.testing.assert_array_equal(pixels("new.png")[..., 3], np.full((22, 30), 77))


def test_stylize_replaces_a_file_that_is_there(run):
    Path("new.png").write_text("old")
    run(*stylize())
    assert pixels("new.png").shape == (22, 30, 3)


def test_info_of_a_bundle(run):
    facts = dict(line.split(maxsplit=1) for line in run("info", "--bundle=bundle").splitlines())
    assert facts["architecture"] == "s4,c3s1-4,R4x1,p4-3,skip"
    assert facts["parameters"] == "3,777"
    assert facts["bundle"] == str(Path("bundle").resolve())


def test_info_of_a_style(run):
    out = run("info", "--style_file=style.safetensors")
    history = metastyle.load_style("style.safetensors").history
    assert f"steps           3, loss {history[0]:.4f} to {history[-1]:.4f}\n" in out
    assert "self-contained  yes\n" in out and bundles.load_bundle("bundle").slow_sha256 in out
    assert out.endswith("format version  1\n")


def test_fetch_writes_the_path_and_downloads_once(server, cache, capsys):
    flags = [f"--url={server.address}/good/vgg.h5", f"--checksum={md5(server)}"]
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            main.main(["fetch", "vgg16", *flags])
        assert end.value.code == 0
        assert capsys.readouterr().out == f"{cache / 'vgg16.safetensors'}\n"
    assert len(server.requests) == 1
    with pytest.raises(SystemExit):
        main.main(["fetch", "vgg16", *flags, "--force"])  # flags after the name are flags
    assert len(server.requests) == 2


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"]])
def test_help_names_the_commands(run, argv):
    out = run(*argv)
    assert all(f"\n  {name}" in out and f"metastyle {name} {c.example}" in out for name, c in commands.COMMANDS.items())


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_of_a_command_names_its_flags_alone(run, name):
    out = run(name, "--help")
    command = commands.COMMANDS[name]
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  --")]
    used = [word.split("=")[0] for word in command.example.split() if word.startswith("--")]
    assert set(used) <= set(listed) and "--flagfile" not in listed and "--undefok" not in listed
    assert sorted(line.split()[0][2:] for line in out.splitlines() if "(required)" in line) == sorted(command.needs)
    assert max(map(len, out.splitlines())) <= 100
    assert run(name, "--nonsense", "-h") == out


def test_help_tells_defaults(run):
    out = run("adapt", "--help")
    assert "gradient steps (default: 10)\n" in out and "those given (default: 0)\n" in out


def test_examples_are_accepted(run, folder):
    """Each example, on files of those names."""
    for source, name in (("painting.png", "night_cafe.jpg"), ("photo.png", "photo.jpg")):
        Image.open(source).save(name)
    for name in ("adapt", "info", "stylize"):
        more = ["--bundle=bundle"] if name == "adapt" else []  # 16 px instead of ours
        run(name, *commands.COMMANDS[name].example.split(), *more)
    assert Path("night_cafe.safetensors").is_file() and Path("out.png").is_file()


@pytest.mark.processes
def test_the_command_is_installed():
    command = Path(sys.executable).with_name("metastyle")
    if not command.exists():
        pytest.skip("the package is not installed beside this interpreter")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: metastyle COMMAND")
    done = subprocess.run([command, "adapt", "--steps=1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("error: `style`: ") and done.stderr.count("\n") == 1


# What is refused


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], f"`command`: expected one of {', '.join(commands.COMMANDS)}, got nothing; see"),
        (["paint"], f"`command`: expected one of {', '.join(commands.COMMANDS)}, got paint; see"),
        (["--steps=3"], f"`command`: expected one of {', '.join(commands.COMMANDS)}, got --steps=3"),
        (["adapt", "--stepps=3"], "`adapt`: Unknown command line flag 'stepps'. Did you mean: steps ?; see `metastyle"),
        (["adapt", "--steps=many"], "`adapt`: flag --steps=many: invalid literal"),
        (["adapt", "--steps=1.5"], "`adapt`: flag --steps=1.5: invalid literal"),
        (["adapt", "--steps"], "`adapt`: Missing value for flag --steps"),
        (["adapt", "--self_contained=maybe"], "`adapt`: flag --self_contained=maybe: "),
        (["adapt", "--style_file=style.safetensors"], "`adapt`: Unknown command line flag 'style_file'"),
        ([*adapt(), "photo.png"], "`adapt`: expected only flags (--flag=value), got photo.png; see `metastyle adapt"),
        (adapt(style=None), "`style`: expected --style=..., got nothing; see `metastyle adapt --help`"),
        (adapt(style=""), "`style`: expected --style=..., got nothing"),
        (adapt(out=None), "`out`: expected --out=..., got nothing"),
        (stylize(style_file=None), "`style_file`: expected --style_file=..., got nothing; see `metastyle stylize"),
        (stylize(content=None), "`content`: expected --content=..., got nothing"),
        (stylize(out=None), "`out`: expected --out=..., got nothing"),
        (["info"], "`info`: expected one of --style_file, --bundle and --picture, got 0"),
        (["info", "--bundle=bundle", "--style_file=a"], "`info`: expected one of --style_file, --bundle and"),
        (["info", "bundle"], "`info`: expected only flags (--flag=value), got bundle"),
        (["fetch"], "`fetch`: expected what to fetch (vgg16), got nothing"),
        (["fetch", "vgg19"], "`name`: expected one of vgg16, got 'vgg19'"),
        (["fetch", "vgg16", "--source=caffe"], "`fetch`: flag --source=caffe: value should be one of <keras|torch"),
        (["fetch", "vgg16", "--checksum=abc"], "`checksum`: expected 8 to 64 hexadecimal digits"),
        (["transfer", "--out=x.png"], "`content`: expected a picture, got nothing; type `metastyle transfer photo"),
        (["transfer", "photo.png", "--out=x.png"], "`style`: expected a picture, got nothing"),
        (["transfer", "photo.png", "painting.png"], "`out`: expected --out=..., got nothing"),
        (transfer("--content=photo.png", "--style=painting.png"), "`photo.png`: expected no picture beside --content"),
        (transfer("--seconds=0"), "`seconds`: expected more than 0, got 0"),
        (transfer("--quality=finest"), "`quality`: expected one of fast, good, best, got 'finest'"),
        (transfer("--size=8"), "`size`: expected a whole number of at least 16, got 8"),
        (transfer("--out=gone/x.png"), "`out`: no such folder"),
        (transfer("--out=x.txt"), "`out`: expected a name that ends in"),
        (transfer("--out=photo.png"), "`out`: 'photo.png' is a picture to work from"),
        (transfer("--content=photo.png,painting.png", names=["painting.png"]), "`out`: expected a folder for 2"),
        (transfer(names=["photo.png", "bundle"]), "`style`: the folder 'bundle' has no file that ends in"),
        (transfer(names=["photo.png", "gone.png"]), "`style`: no such file: 'gone.png'"),
        (transfer("--save_style=x.txt"), "`save_style`: expected a name that ends in .safetensors"),
        (transfer("--save_style=x.safetensors", "--out=folder/"), "`save_style`: expected one photograph"),
        (transfer("--quality=best", "--vgg=vgg16"), "VGG-16 weights not found; type `metastyle fetch vgg16`"),
        (transfer("--stroke=wide"), "`stroke`: expected auto or a number from 0.25 to 4, got 'wide'"),
        (transfer("--stroke=5"), "`stroke`: expected a number from 0.25 to 4, got 5.0"),
        (transfer("--format=bad"), "`format`: "),
        (stylize(refine=-1), "`refine`: expected a whole number of at least 0, got -1"),
        (
            stylize(refine=2),
            "`refine`: expected the paintings of the style, which its file does not hold; pass",
        ),
        (stylize(palette=0.5), "`palette`: expected the paintings of the style"),
        (adapt(stroke=2), "`stroke`: expected `output_size` as well"),
        (adapt(until=1.5), "`until`: expected a share from 0 to 1, such as 0.01, got 1.5"),
        (adapt(preview="gone.jpg"), "`preview`: no such file: 'gone.jpg'"),
        (adapt(preview_out="x.webp"), "`preview_out`: expected --preview as well, the photograph to watch"),
        (adapt(preview="photo.png", preview_out="x.png"), "`preview_out`: expected a name that ends in .gif .webp"),
        (stylize(out="photo.png"), "`out`: 'photo.png' is a picture to work from, which would be lost; choose another"),
        (stylize(mask="painting.png", out="./painting.png"), "`out`: './painting.png' is a picture to work from"),
        (adapt(style_size=10**6), "`style_size`: expected at most 400000000 pixels, got 1000000 x 1000000"),
        (adapt(steps=-1), "`steps`: expected a whole number of at least 0, got -1"),
        (adapt(seed=-1), "`seed`: expected a whole number of at least 0, got -1"),
        (adapt(style_size=8), "`style_size`: expected a whole number of at least 16, got 8"),
        (adapt(support=""), "`support`: expected at least one picture, got none"),
        (adapt(style="painting.png,,"), "`style`: no such file: ''"),
        (adapt(vgg="gone.safetensors"), "`vgg`: expected slim, half, vgg16, random or a safetensors file, got 'gone"),
        (adapt(vgg="photo.png"), "`vgg`: photo.png is not a readable safetensors file"),
        (adapt(vgg="style.safetensors"), "`vgg`: expected rgb or bgr as channels in the metadata of style.safetensors"),
        (adapt(bundle="gone"), "`bundle`: expected a folder with config.json and params.safetensors, got gone"),
        (adapt(bundle="photo.png"), "`bundle`: expected a folder with config.json and params.safetensors, got photo"),
        (adapt(bundle="."), "`bundle`: . has no config.json; expected the `bundle` folder of a run"),
        (stylize(style_file="gone"), "`style_file`: no such file: 'gone'"),
        (stylize(style_file="photo.png"), "`style_file`: photo.png is no readable safetensors file"),
        (stylize(style_file="bundle/params.safetensors"), "`style_file`: bundle/params.safetensors is a safetensors f"),
        (stylize(bundle="gone"), "`bundle`: expected a folder with config.json and params.safetensors, got gone"),
        (["info", "--bundle=gone"], "`bundle`: expected a folder with config.json and params.safetensors, got gone"),
        (["info", "--style_file=gone"], "`style_file`: expected a safetensors file, got gone, which is not a file"),
    ],
)
def test_bad_line(refused_line, cache, argv, message):
    assert refused_line(*argv).startswith(message)


def test_an_animation_replaces_no_painting(refused_line):
    Image.open("painting.png").save("painting.webp")
    line = refused_line(*adapt(preview="photo.png", preview_out="painting.webp", style="*.webp"))
    assert line.startswith("`preview_out`: 'painting.webp' is a picture to work from")


def huge_png(width, height):
    """The start of a PNG of that size: enough to see it, nothing to decode."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT"


BAD_PICTURES = {
    "missing": (None, "no such file: 'bad.png'"),
    "empty": (b"", "'bad.png' is empty"),
    "truncated": (PHOTOGRAPH.read_bytes()[:-500], "cannot decode 'bad.png', which may be damaged or truncated"),
    "no picture": (b"%PDF-1.4 and so on", "'bad.png' is not a picture; convert it to one of"),
    "1 x 1": (Image.new("RGB", (1, 1)), "expected at least 2 x 2 pixels, got 1 x 1 in 'bad.png'"),
    "huge": (huge_png(20001, 20000), "expected at most 400000000 pixels, got 20001 x 20000 in 'bad.png'"),
}


@pytest.mark.parametrize(
    ("line", "argument"),
    [(adapt, "style"), (adapt, "support"), (stylize, "content")],
    ids=["style", "support", "content"],
)
@pytest.mark.parametrize("contents, message", BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_bad_picture(refused_line, line, argument, contents, message):
    if isinstance(contents, Image.Image):
        contents.save("bad.png")
    elif contents is not None:
        Path("bad.png").write_bytes(contents)
    assert refused_line(*line(**{argument: "bad.png"})).startswith(f"`{argument}`: {message}")


def test_max_pixels(refused_line, run):
    assert refused_line(*stylize(max_pixels=659)).startswith("`content`: expected at most 659 pixels, got 30 x 22 in ")
    assert refused_line(*adapt(max_pixels=479)).startswith("`style`: expected at most 479 pixels, got 20 x 24 in ")
    run(*stylize(max_pixels=660))


def test_photograph_that_the_net_cannot_take(refused_line):
    Image.new("RGB", (40, 15)).save("small.png")
    assert refused_line(*stylize(content="small.png")).startswith(
        "`content`: expected sides of at least 16 px, got 40 x 15"
    )


WRITERS = pytest.mark.parametrize(
    ("line", "name"), [(adapt, "new.safetensors"), (stylize, "new.png")], ids=["adapt", "stylize"]
)


@WRITERS
def test_bad_output(refused_line, monkeypatch, line, name):
    assert refused_line(*line(out=f"gone/{name}")).startswith("`out`: no such folder: ")
    assert refused_line(*line(out="new.txt")).startswith("`out`: expected a name that ends in ")
    if line is not stylize:  # which writes into folders
        assert refused_line(*line(out="bundle")).startswith("`out`: expected a file to write, got the folder 'bundle'")
    monkeypatch.setattr(codec.os, "access", lambda path, mode: False)
    assert refused_line(*line(out=name)).startswith("`out`: cannot write in the folder ")


def test_output_of_adapt_is_checked_before_the_work(refused_line):
    assert refused_line(*adapt(out="gone/new.safetensors", bundle="gone")).startswith("`out`: no such folder: ")


@WRITERS
def test_full_disk(refused_line, monkeypatch, line, name):
    def replace(source, target):
        raise OSError(28, "No space left on device")

    Path(name).write_text("old")
    monkeypatch.setattr(os, "replace", replace)
    assert refused_line(*line()).startswith("`out`: cannot write ")
    assert Path(name).read_text() == "old"


BAD_BUNDLES = {
    "no tensors": lambda: Path("bundle/params.safetensors").unlink(),
    "corrupt tensors": lambda: Path("bundle/params.safetensors").write_bytes(b"corrupt"),
    "truncated tensors": lambda: Path("bundle/params.safetensors").write_bytes(params()[:-9]),
    "other tensors": lambda: Path("bundle/params.safetensors").write_bytes(params()[:-9] + b"another 9"),
    "broken config": lambda: Path("bundle/config.json").write_text("{"),
    "unknown setting": lambda: change_settings(Path("bundle"), "inner", stepps=3),
    "another architecture": lambda: change_settings(Path("bundle"), "generator", arch="compact"),
}


def params():
    return (BUNDLE / "params.safetensors").read_bytes()


@pytest.mark.parametrize("damage", BAD_BUNDLES.values(), ids=BAD_BUNDLES)
def test_bad_bundle(refused_line, damage):
    damage()
    for argv in (adapt(), stylize(bundle="bundle"), ["info", "--bundle=bundle"]):
        assert refused_line(*argv).startswith("`bundle`: ")


def test_bundle_of_another_architecture_than_the_style(refused_line):
    bundles.save_bundle("other", toy_bundle())
    message = refused_line(*stylize(bundle="other"))
    assert "was adapted from another bundle than" in message and f"got {toy.ARCH} with" in message


def test_corrupt_style_file(refused_line):
    data = Path("style.safetensors").read_bytes()
    for damaged in (data[:-9], data[:-9] + b"another 9", b"", b"corrupt"):
        Path("style.safetensors").write_bytes(damaged)
        for argv in (stylize(), ["info", "--style_file=style.safetensors"]):
            assert refused_line(*argv).startswith("`style_file`: ")


def test_interrupted(capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "describe_bundle", interrupt)
    with pytest.raises(SystemExit) as end:
        main.main(["info", "--bundle=bundle"])
    assert (end.value.code, capsys.readouterr().err) == (130, "interrupted\n")


def test_a_defect_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(info, "describe_bundle", lambda folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main.main(["info", "--bundle=bundle"])
