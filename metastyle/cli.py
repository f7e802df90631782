"""The `metastyle` command: fit a style, stylise photographs, look into files, fetch weights."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from absl import flags

from metastyle.errors import InputError
from metastyle.images import MAX_PIXELS
from metastyle.launch import guard, one_line


@dataclass(frozen=True)
class Command:
    """One subcommand: what it does, the flags it takes, which of them it needs."""

    about: str
    define: Callable[[flags.FlagValues], None]
    run: Callable[[flags.FlagValues, list[str]], None]
    needs: tuple[str, ...] = ()
    takes_names: bool = False


def _adapt_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("bundle", None, "folder of the meta-trained start", flag_values=values)
    flags.DEFINE_list("style", None, "one picture of the style, or several of one artist", flag_values=values)
    flags.DEFINE_string("out", None, "the style file to write, .safetensors", flag_values=values)
    flags.DEFINE_integer("steps", 10, "gradient steps", flag_values=values)
    flags.DEFINE_list("support", None, "photographs to learn on (default: four in the package)", flag_values=values)
    flags.DEFINE_integer("style_size", None, "px to which the style is brought; smaller: larger strokes", flag_values=values)
    flags.DEFINE_integer("seed", 0, "seed of the crops of the support photographs", flag_values=values)
    flags.DEFINE_string("vgg", "", "VGG-16 weights (default: METASTYLE_VGG16, the cache)", flag_values=values)
    flags.DEFINE_bool("self_contained", False, "write all that stylize needs into the style file", flag_values=values)
    _max_pixels_flag(values)


def _adapt(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle import stylizer

    stylizer.check_style_path(values.out)
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
    )
    style.save(values.out, self_contained=values.self_contained)
    print(f"wrote {values.out} ({time.monotonic() - began:.1f} s)")


def _stylize_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("style_file", None, "a style file of `metastyle adapt`", flag_values=values)
    flags.DEFINE_string("content", None, "the photograph", flag_values=values)
    flags.DEFINE_string("out", None, "the picture to write", flag_values=values)
    flags.DEFINE_string("bundle", None, "the bundle of the style (default: the one it records)", flag_values=values)
    _max_pixels_flag(values)


def _stylize(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle import stylizer

    style = stylizer.load_style(values.style_file, values.bundle)
    style.stylize_file(values.content, values.out, max_pixels=values.max_pixels)
    print(f"wrote {values.out}")


def _info_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("style_file", None, "a style file", flag_values=values)
    flags.DEFINE_string("bundle", None, "a bundle", flag_values=values)


def _info(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle import bundles

    if (values.style_file is None) == (values.bundle is None):
        raise InputError("`style_file`: expected either --style_file or --bundle; pass one of them")
    described = bundles.describe_bundle(values.bundle) if values.bundle else bundles.describe_style(values.style_file)
    for name, value in described.items():
        print(f"{name:<16}{value}")


def _fetch_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum("source", "keras", ["keras", "torchvision"], "whose public file", flag_values=values)
    flags.DEFINE_string("url", None, "a mirror of that file", flag_values=values)
    flags.DEFINE_string("checksum", None, "md5 or sha256 of a file that is not the public one", flag_values=values)
    flags.DEFINE_float("timeout", 30.0, "seconds to wait for the server", flag_values=values)
    flags.DEFINE_bool("force", False, "download even if the cache has it", flag_values=values)


def _fetch(values: flags.FlagValues, names: list[str]) -> None:
    from metastyle import fetch

    if not names:
        raise InputError(f"`fetch`: expected what to fetch ({', '.join(fetch.SOURCES)}), got nothing")
    for name in names:
        options = {k: values[k].value for k in ("source", "url", "checksum", "timeout", "force")}
        print(f"wrote {fetch.fetch(name, **options)}")


def _max_pixels_flag(values: flags.FlagValues) -> None:
    flags.DEFINE_integer("max_pixels", MAX_PIXELS, "larger pictures are refused", flag_values=values)


COMMANDS = {
    "adapt": Command("fit a style in a few gradient steps", _adapt_flags, _adapt, ("bundle", "style", "out")),
    "stylize": Command("stylise a photograph", _stylize_flags, _stylize, ("style_file", "content", "out")),
    "info": Command("say what is in a bundle or style file", _info_flags, _info),
    "fetch": Command("download weights: metastyle fetch vgg16", _fetch_flags, _fetch, takes_names=True),
}


def main(argv: list[str] | None = None) -> None:
    """The console script."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("usage: metastyle COMMAND [--flag=value ...]\n")
        print("\n".join(f"  {name:<9}{command.about}" for name, command in COMMANDS.items()))
        print("\nmetastyle COMMAND --help lists its flags.")
        sys.exit(0 if argv else 1)
    sys.exit(guard(_run, argv))


def _run(argv: list[str]) -> None:
    name, *rest = argv
    if name not in COMMANDS:
        raise InputError(f"`command`: expected one of {', '.join(COMMANDS)}, got {name}")
    command, values = COMMANDS[name], flags.FlagValues()
    command.define(values)
    if "--help" in rest or "-h" in rest:
        print(f"metastyle {name}: {command.about}\n{values.get_help()}")
        return
    try:
        names = values([f"metastyle {name}", *rest])[1:]
    except flags.Error as error:
        raise InputError(f"{one_line(error)}; see `metastyle {name} --help`") from None
    if names and not command.takes_names:
        raise InputError(f"`{name}`: expected only flags (--flag=value), got {names[0]}; see `metastyle {name} --help`")
    missing = [flag for flag in command.needs if not values[flag].value]
    if missing:
        raise InputError(f"`{missing[0]}`: expected --{missing[0]}=..., got nothing; see `metastyle {name} --help`")
    command.run(values, names)
