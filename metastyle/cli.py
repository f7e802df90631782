"""The `metastyle` command: fit a style, stylise photographs, export styles, look into files, fetch weights."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from absl import flags

from metastyle.config import BACKENDS, DEFAULT_BUNDLE, PRECISIONS
from metastyle.errors import InputError, one_line
from metastyle.images import MAX_PIXELS
from metastyle.launch import guard


@dataclass(frozen=True)
class Command:
    """One subcommand: what it does, an example, the flags it takes, which of them it needs."""

    about: str
    example: str
    define: Callable[[flags.FlagValues], None]
    run: Callable[[flags.FlagValues, list[str]], None]
    needs: tuple[str, ...] = ()
    takes_names: bool = False


def _adapt_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("bundle", DEFAULT_BUNDLE, "folder of the meta-trained start; default: ours", flag_values=values)
    flags.DEFINE_list("style", None, "picture of the style, or several of one artist: A,B", flag_values=values)
    flags.DEFINE_string("out", None, "style file to write, .safetensors", flag_values=values)
    flags.DEFINE_integer("steps", 10, "gradient steps", flag_values=values)
    flags.DEFINE_list("support", None, "photographs to learn on; by default four in the package", flag_values=values)
    flags.DEFINE_integer(
        "style_size", None, "px the style is brought to, smaller for larger strokes; by default the bundle's",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer("seed", 0, "seed of the crops of the support photographs", flag_values=values)
    flags.DEFINE_string(
        "vgg", None, "loss network: slim, vgg16, or a file; by default the bundle's", flag_values=values
    )
    flags.DEFINE_bool("self_contained", False, "write all that stylize needs into the style file", flag_values=values)
    _max_pixels_flag(values)


def _adapt(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle import statefile, stylizer

    stylizer.check_style_path(values.out)
    state_file = statefile.beside(values.out)
    began = time.monotonic()
    style = stylizer.load(values.bundle).adapt(
        values.style,
        steps=values.steps,
        support=values.support,
        seed=values.seed,
        style_size=values.style_size,
        weights=values.vgg,
        max_pixels=values.max_pixels,
        on_step=lambda s: print(f"step {s.step + 1}/{values.steps}  loss {s.loss:.4f}", flush=True),
        state_file=state_file,
    )
    style.save(values.out, self_contained=values.self_contained)
    state_file.unlink(missing_ok=True)
    print(f"wrote {values.out} ({time.monotonic() - began:.1f} s)")


def _stylize_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("style_file", None, "style file that `metastyle adapt` wrote", flag_values=values)
    flags.DEFINE_string("content", None, "photograph", flag_values=values)
    flags.DEFINE_string("out", None, "picture to write, in the format of its suffix", flag_values=values)
    flags.DEFINE_string("bundle", None, "bundle of the style; by default the one it records", flag_values=values)
    flags.DEFINE_enum("backend", BACKENDS[0], BACKENDS, "what computes", flag_values=values)
    _max_pixels_flag(values)


def _stylize(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle import stylizer

    style = stylizer.load_style(values.style_file, values.bundle)
    style.stylize_file(values.content, values.out, backend=values.backend, max_pixels=values.max_pixels)
    print(f"wrote {values.out}")


def _export_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("style_file", None, "style file that `metastyle adapt` wrote", flag_values=values)
    flags.DEFINE_string("out", None, "file to write, .onnx", flag_values=values)
    flags.DEFINE_enum("format", "onnx", ["onnx"], "of the file", flag_values=values)
    flags.DEFINE_enum("precision", PRECISIONS[0], PRECISIONS, "of convolutions", flag_values=values)
    flags.DEFINE_string("bundle", None, "bundle of the style; by default the one it records", flag_values=values)


def _export(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle import images, stylizer

    images.check_output(values.out, suffixes={".onnx"}, name="out")
    stylizer.load_style(values.style_file, values.bundle).export(values.out, int8=values.precision == "int8")
    print(f"wrote {values.out}")


def _info_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("style_file", None, "style file", flag_values=values)
    flags.DEFINE_string("bundle", None, "bundle", flag_values=values)


def _info(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle import bundles

    if bool(values.style_file) == bool(values.bundle):
        raise InputError(f"`info`: expected --style_file or --bundle, got {'both' if values.bundle else 'neither'}")
    described = bundles.describe_bundle(values.bundle) if values.bundle else bundles.describe_style(values.style_file)
    for name, value in described.items():
        print(f"{name:<16}{value}")


def _fetch_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum("source", "keras", ["keras", "torchvision"], "whose public file", flag_values=values)
    flags.DEFINE_string("url", None, "mirror of that file", flag_values=values)
    flags.DEFINE_string("checksum", None, "md5 or sha256 of a file that is not the public one", flag_values=values)
    flags.DEFINE_float("timeout", 30.0, "seconds to wait for the server", flag_values=values)
    flags.DEFINE_bool("force", False, "download even if the cache has it", flag_values=values)


def _fetch(values: flags.FlagValues, names: list[str]) -> None:
    from metastyle import fetch

    if not names:
        raise InputError(f"`fetch`: expected what to fetch ({', '.join(fetch.SOURCES)}), got nothing")
    for name in names:
        options = {k: values[k].value for k in ("source", "url", "checksum", "timeout", "force")}
        print(fetch.fetch(name, **options))


def _max_pixels_flag(values: flags.FlagValues) -> None:
    flags.DEFINE_integer("max_pixels", MAX_PIXELS, "larger pictures are refused", flag_values=values)


COMMANDS = {
    "adapt": Command(
        "fit a style in a few gradient steps",
        "--style=night_cafe.jpg --out=night_cafe.safetensors",
        _adapt_flags,
        _adapt,
        ("style", "out"),
    ),
    "stylize": Command(
        "stylise a photograph",
        "--style_file=night_cafe.safetensors --content=photo.jpg --out=out.png",
        _stylize_flags,
        _stylize,
        ("style_file", "content", "out"),
    ),
    "export": Command(
        "write a style as an ONNX file",
        "--style_file=night_cafe.safetensors --out=night_cafe.onnx",
        _export_flags,
        _export,
        ("style_file", "out"),
    ),
    "info": Command("say what is in a bundle or style file", "--style_file=night_cafe.safetensors", _info_flags, _info),
    "fetch": Command("download the weights of VGG-16", "vgg16", _fetch_flags, _fetch, takes_names=True),
}


def main(argv: list[str] | None = None) -> None:
    """The console script."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in ("-h", "--help", "help"):
        print(_overview())
        sys.exit(0)
    sys.exit(guard(_run, argv))


def _run(argv: list[str]) -> None:
    if not argv or argv[0] not in COMMANDS:
        got = argv[0] if argv else "nothing"
        raise InputError(f"`command`: expected one of {', '.join(COMMANDS)}, got {got}; see `metastyle --help`")
    name, *rest = argv
    command, values = COMMANDS[name], flags.FlagValues()
    builtin = set(values)
    command.define(values)
    if {"-h", "--help"} & set(rest):
        print(_help(name, [values[flag] for flag in values if flag not in builtin]))
        return
    try:
        names = values([f"metastyle {name}", *rest])[1:]
    except flags.Error as error:
        raise InputError(f"`{name}`: {one_line(error)}; see `metastyle {name} --help`") from None
    if names and not command.takes_names:
        raise InputError(f"`{name}`: expected only flags (--flag=value), got {names[0]}; see `metastyle {name} --help`")
    missing = [flag for flag in command.needs if not values[flag].value]
    if missing:
        raise InputError(f"`{missing[0]}`: expected --{missing[0]}=..., got nothing; see `metastyle {name} --help`")
    command.run(values, names)


def _overview() -> str:
    lines = [f"  {name:<9}{command.about}" for name, command in COMMANDS.items()]
    lines += ["", *(f"  metastyle {name} {command.example}" for name, command in COMMANDS.items())]
    usage = "usage: metastyle COMMAND [--flag=value ...]"
    return "\n".join([usage, "", *lines, "", "metastyle COMMAND --help lists its flags."])


def _help(name: str, taken: list[flags.Flag]) -> str:
    command = COMMANDS[name]
    lines = [f"usage: metastyle {name} {command.example}", "", f"{command.about[0].upper()}{command.about[1:]}.", ""]
    for flag in taken:
        default = "" if flag.default in (None, "") or flag.boolean else f" (default: {flag.default})"
        note = " (required)" if flag.name in command.needs else default
        lines.append(f"  --{flag.name:<16}{flag.help}{note}")
    return "\n".join(lines)
