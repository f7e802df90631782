"""The subcommands of `metastyle`: the flags each takes, and what it does with them."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from absl import flags

from metastyle.cli.lists import define_list, define_names, split_names
from metastyle.config import BACKENDS, DEFAULT_BUNDLE, PALETTE, PRECISIONS, STABILITY, VIDEO_STEPS
from metastyle.errors import InputError, shown
from metastyle.images.codec import MAX_PIXELS
from metastyle.system import lock
from metastyle.system.files import check_output
from metastyle.system.standard_streams import STANDARD


@dataclass(frozen=True)
class Command:
    """One subcommand of `metastyle`."""

    about: str  # what it does, for the list of subcommands
    example: str  # its arguments, in an example
    define: Callable[[flags.FlagValues], None]  # defines its flags
    run: Callable[[flags.FlagValues, list[str]], None]  # does the work, given the flags and the names
    needs: tuple[str, ...] = ()  # flags that must be given
    takes_names: bool = False  # whether it takes arguments that are no flags


def _transfer_flags(values: flags.FlagValues) -> None:
    define_names("content", "photograph, or files, folders and globs of them", flag_values=values)
    define_names("style", "picture of the style, or several of one artist", flag_values=values)
    flags.DEFINE_string("out", None, "picture to write, or a folder for several photographs", flag_values=values)
    flags.DEFINE_string("quality", "good", "fast, good or best", flag_values=values)
    flags.DEFINE_float("seconds", None, "does what fits into this time, instead of --quality", flag_values=values)
    _look_flags(values, "photograph")
    flags.DEFINE_float(
        "palette", PALETTE, "0 to 1: share by which the painting's palette is matched", flag_values=values
    )
    flags.DEFINE_string("stroke", "auto", "size of strokes, 0.25 to 4; auto is the painting's", flag_values=values)
    define_names("mask", "where the style goes: a picture, white is style", flag_values=values)
    flags.DEFINE_string("save_style", None, "style file to write as well, .safetensors", flag_values=values)
    flags.DEFINE_integer("seed", 0, "of the crops that the style is learned on, and of noise maps", flag_values=values)
    flags.DEFINE_string("vgg", None, "loss network of `best`: vgg16 where it is at hand", flag_values=values)
    flags.DEFINE_string("bundle", DEFAULT_BUNDLE, "a meta-trained start", flag_values=values)
    flags.DEFINE_string("format", "png", "of pictures in a folder", flag_values=values)
    flags.DEFINE_integer("jpeg_quality", None, "1 to 100, of jpg and webp", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "replace the pictures that are in the folder already", flag_values=values)
    flags.DEFINE_bool("keep_exif", False, "copy the photograph's EXIF: date, camera, place, artist", flag_values=values)
    _max_pixels_flag(values)


def _transfer(values: flags.FlagValues, names: list[str]) -> None:
    contents = values.content or [x for name in names[:1] for x in split_names(name)]
    rest = names if values.content else names[1:]
    styles = values.style or [x for name in rest for x in split_names(name)]
    if values.style and rest:
        raise InputError(f"`{rest[0]}`: expected no picture beside --content and --style; drop it")
    for name, given in (("content", contents), ("style", styles)):
        if not given:
            example = "metastyle transfer photo.jpg painting.jpg --out=out.png"
            raise InputError(f"`{name}`: expected a picture, got nothing; type `{example}`")

    from metastyle.images import codec
    from metastyle.stylize import jobs
    from metastyle.stylize.transfer import Options
    from metastyle.stylize.transfer_files import Files, transfer_files
    from metastyle.system.compile_cache import enable_compile_cache

    enable_compile_cache()
    options = Options(
        quality=values.quality,
        seconds=values.seconds,
        size=values.size,
        strength=values.strength,
        color=values.color,
        palette=values.palette,
        stroke=_stroke(values.stroke),
        feather=values.feather,
        seed=values.seed,
        vgg=values.vgg,
        bundle=values.bundle,
        max_pixels=values.max_pixels,
    )
    output = jobs.Output(codec.suffix_of(values.format), values.jpeg_quality, values.overwrite, values.keep_exif)
    transfer_files(contents, values.out, Files(styles, values.mask or (), values.save_style, output), options)


def _stroke(text: str) -> float:
    try:
        return 1.0 if text == "auto" else float(text)
    except ValueError:
        raise InputError(f"`stroke`: expected auto or a number from 0.25 to 4, got {text!r}") from None


def _adapt_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "bundle",
        DEFAULT_BUNDLE,
        "a meta-trained start; `default` is the packaged one",
        flag_values=values,
    )
    define_names("style", "picture of the style, or several of one artist", flag_values=values)
    flags.DEFINE_string("out", None, "style file to write, .safetensors", flag_values=values)
    flags.DEFINE_integer("steps", 10, "gradient steps", flag_values=values)
    define_names("support", "photographs to learn on; by default synthetic ones", flag_values=values)
    flags.DEFINE_integer(
        "output_size", None, "px of the shorter side of the photographs that the style is for", flag_values=values
    )
    flags.DEFINE_float("stroke", 1.0, "size of strokes for --output_size, 0.25 to 4", flag_values=values)
    flags.DEFINE_integer(
        "phases", None, "1, 4 or 16 places on the pixel grid to average; by default the bundle's", flag_values=values
    )
    flags.DEFINE_integer("style_size", None, "px the style is brought to; by default the bundle's", flag_values=values)
    flags.DEFINE_integer(
        "seed", 0, "seed of the synthetic photographs, or of the crops of those given", flag_values=values
    )
    flags.DEFINE_string(
        "vgg", None, "loss network: slim, vgg16, or a file; by default the bundle's", flag_values=values
    )
    flags.DEFINE_bool("self_contained", False, "write all that stylize needs into the style file", flag_values=values)
    flags.DEFINE_float("until", 0.0, "end once 10 steps gain less than this share: 0.01", flag_values=values)
    flags.DEFINE_string("preview", None, "photograph to watch: an animation of it over the steps", flag_values=values)
    flags.DEFINE_string(
        "preview_out", None, "animation to write, .webp or .gif; by default beside --out", flag_values=values
    )
    _max_pixels_flag(values)


def _adapt(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle.stylize.style import check_style_path

    check_style_path(values.out)
    if values.preview_out and not values.preview:
        raise InputError("`preview_out`: expected --preview as well, the photograph to watch")
    with lock.beside(values.out):
        _adapt_alone(values)


def _adapt_alone(values: flags.FlagValues) -> None:
    from metastyle.images import picture_names
    from metastyle.nets import architecture
    from metastyle.stylize import preview, stylizer
    from metastyle.system import resume
    from metastyle.system.compile_cache import enable_compile_cache

    enable_compile_cache()
    names = {
        "style": picture_names.expand(values.style, "style"),
        "support": picture_names.expand(values.support or (), "support"),
        "preview": [values.preview] if values.preview else [],
    }
    picture_names.check_standard_input(names)
    pictures = {flag: [picture_names.read(name, flag) for name in given] for flag, given in names.items()}
    start, view = stylizer.load(values.bundle), None
    if values.preview:
        view = preview.Preview(
            pictures["preview"][0],
            values.preview_out or preview.default_file(values.out),
            values.steps,
            inputs=(*pictures["style"], *pictures["support"]),
            min_side=architecture.parse(start.bundle.config.generator.arch).min_side,
            max_pixels=values.max_pixels,
        )
    state_file = resume.beside(values.out)
    began = time.monotonic()
    style = start.adapt(
        pictures["style"],
        steps=values.steps,
        support=None if values.support is None else pictures["support"],
        seed=values.seed,
        style_size=values.style_size,
        output_size=values.output_size,
        stroke=values.stroke,
        phases=values.phases,
        weights=values.vgg,
        max_pixels=values.max_pixels,
        until=values.until,
        on_step=lambda s: print(f"step {s.step + 1}/{values.steps}  loss {s.loss:.4f}", flush=True),
        on_style=view.add if view else None,
        state_file=state_file,
    )
    style.save(values.out, self_contained=values.self_contained)
    state_file.unlink(missing_ok=True)
    print(f"wrote {shown(values.out)} ({time.monotonic() - began:.1f} s)")
    if view:
        view.write(style)
        print(f"wrote {shown(view.out)}")


def _style_flags(values: flags.FlagValues) -> None:
    define_names("style_file", "style files, folders or patterns of them", flag_values=values)
    define_names("content", "photographs: files, folders, globs, or - for stdin", flag_values=values)
    flags.DEFINE_string("bundle", None, "bundle of the styles; by default those they record", flag_values=values)
    flags.DEFINE_string("color", "style", "style, content (keep the photograph's) or histogram", flag_values=values)
    _max_pixels_flag(values)


def _stylize_flags(values: flags.FlagValues) -> None:
    _style_flags(values)
    flags.DEFINE_integer(
        "content_size",
        None,
        "px of the shorter side, smaller for larger strokes; by default as it is",
        flag_values=values,
    )
    flags.DEFINE_string("out", None, "picture or folder to write, or - for stdout", flag_values=values)
    flags.DEFINE_float("strength", 1.0, "0 is the photograph, 1 the style, up to 1.5", flag_values=values)
    define_list("weights", None, "blend the style files with these weights: 0.3,0.7", flag_values=values)
    define_names("mask", "where each style file goes: pictures, white is style", flag_values=values)
    flags.DEFINE_float(
        "feather",
        None,
        "px by which edges of masks are blurred; default 1/100 of the shorter side",
        flag_values=values,
    )
    flags.DEFINE_integer("tile", None, "px of tiles, 0 for none; by default what fits the memory", flag_values=values)
    flags.DEFINE_integer(
        "phases",
        None,
        "1, 4 or 16 places on the pixel grid to average; by default the style's",
        flag_values=values,
    )
    flags.DEFINE_integer("refine", 0, "iterations that refine the pixels, with --style", flag_values=values)
    define_names("style", "pictures of the style, for --refine and --palette", flag_values=values)
    flags.DEFINE_string("vgg", None, "loss network of --refine: vgg16 where it is at hand", flag_values=values)
    flags.DEFINE_float("stroke", 1.0, "size of strokes for --refine, 0.25 to 4", flag_values=values)
    _palette_flag(values, 0.0)
    flags.DEFINE_integer("seed", 0, "of the noise, for networks that have noise maps", flag_values=values)
    flags.DEFINE_enum("backend", BACKENDS[0], BACKENDS, "what computes", flag_values=values)
    flags.DEFINE_string("format", "png", "of pictures in a folder or on stdout", flag_values=values)
    flags.DEFINE_integer("quality", None, "1 to 100, of jpg and webp", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "replace the pictures that are in the folder already", flag_values=values)
    flags.DEFINE_bool("keep_exif", False, "copy the photograph's EXIF: date, camera, place, artist", flag_values=values)


def _stylize(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle.images import codec, picture_names
    from metastyle.stylize import jobs
    from metastyle.stylize.style import Knobs
    from metastyle.system.compile_cache import enable_compile_cache

    enable_compile_cache()
    knobs = Knobs(
        strength=values.strength,
        feather=values.feather,
        color=values.color,
        content_size=values.content_size,
        tile=values.tile,
        phases=values.phases,
        refine=values.refine,
        vgg=values.vgg,
        stroke=values.stroke,
        palette=values.palette,
        seed=values.seed,
        backend=values.backend,
        progress=True,
        max_pixels=values.max_pixels,
    )
    codec.check_quality(values.quality)
    names = {flag: picture_names.expand(values[flag].value or (), flag) for flag in ("content", "style")}
    names["mask"] = picture_names.expand(values.mask or (), "mask", once=False)
    picture_names.check_standard_input(names)
    paintings, masks = ([picture_names.read(name, flag) for name in names[flag]] for flag in ("style", "mask"))
    output = jobs.Output(codec.suffix_of(values.format), values.quality, values.overwrite, values.keep_exif)
    styles = jobs.load_styles(values.style_file, values.bundle)
    if paintings:
        styles = {name: style.with_paintings(paintings, values.max_pixels) for name, style in styles.items()}
    looks = jobs.make_looks(styles, values.weights, masks, knobs)
    contents = names["content"]
    what = f"{len(contents)} photographs in {len(looks)} styles"
    one = ", or --weights or --mask to make one of the styles" if len(looks) > 1 else ""
    if jobs.is_folder(values.out, len(contents) * len(looks), what, one):
        print(jobs.stylize_many(contents, looks, values.out, knobs, output))
        return
    jobs.stylize_one(picture_names.read(contents[0], "content"), looks[0], values.out, knobs, output)
    if values.out != STANDARD:
        print(f"wrote {shown(values.out)}")


def _video_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("content", None, "video, folder of numbered pictures, or - for stdin", flag_values=values)
    define_names("style", "picture of the style, or several: it is learned on the clip", flag_values=values)
    define_names("style_file", "style files, instead of --style", flag_values=values)
    flags.DEFINE_string("out", None, "mp4, mov, mkv, webm, gif, webp, a folder of pictures, or -", flag_values=values)
    flags.DEFINE_string("bundle", None, "bundle of the style; by default the packaged one", flag_values=values)
    flags.DEFINE_integer("steps", VIDEO_STEPS, "gradient steps for --style", flag_values=values)
    flags.DEFINE_string("save_style", None, "style file to write as well, for --style", flag_values=values)
    flags.DEFINE_string("weights", None, "of several style files over time: 0:1,0;5s:0,1", flag_values=values)
    flags.DEFINE_float("stability", STABILITY, "0 to 1: how much a frame follows the one before", flag_values=values)
    flags.DEFINE_integer("phases", 4, "1, 4 or 16 places on the pixel grid to average", flag_values=values)
    _look_flags(values, "clip")
    flags.DEFINE_string("mask", None, "where the style goes: a picture or a video, white is style", flag_values=values)
    flags.DEFINE_float("start", 0.0, "seconds at which to begin", flag_values=values)
    flags.DEFINE_float("end", None, "seconds at which to end", flag_values=values)
    flags.DEFINE_float("preview_seconds", None, "write only so many seconds", flag_values=values)
    flags.DEFINE_float("fps", 25.0, "frames a second, of a folder of pictures or raw frames", flag_values=values)
    flags.DEFINE_string("raw", None, "size of raw RGB frames on stdin: 640x360", flag_values=values)
    flags.DEFINE_bool("live", False, "from stdin, drop frames rather than fall behind", flag_values=values)
    flags.DEFINE_bool("audio", True, "keep the sound", flag_values=values)
    flags.DEFINE_integer("crf", None, "constant rate factor of the encoder, smaller is better", flag_values=values)
    flags.DEFINE_integer("seed", 0, "of the parts of the frames that the style is learned on", flag_values=values)
    flags.DEFINE_string("backend", "auto", "what computes: auto, jax, onnx or onnx-int8", flag_values=values)
    _max_pixels_flag(values)


def _video(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle.system.compile_cache import enable_compile_cache
    from metastyle.video import look, video_files
    from metastyle.video.frames import Options
    from metastyle.video.writing import Output

    enable_compile_cache()
    if values.preview_seconds is not None and values.end is not None:
        raise InputError("`preview_seconds`: expected no --end beside it; pass one of them")
    end = values.end if values.preview_seconds is None else values.start + values.preview_seconds
    options = Options(
        stability=values.stability,
        start=values.start,
        end=end,
        phases=values.phases,
        strength=values.strength,
        color=values.color,
        size=values.size,
        feather=values.feather,
        seed=values.seed,
        backend=values.backend,
        max_pixels=values.max_pixels,
    )
    source = video_files.Source(
        paintings=values.style or (),
        style_files=values.style_file or (),
        bundle=values.bundle,
        steps=values.steps,
        weights=values.weights and look.parse_weights(values.weights),
        mask=values.mask,
        save_style=values.save_style,
    )
    if STANDARD in (values.content, values.out):
        if values.content != values.out:
            raise InputError("`out`: expected - for both --content and --out, or for none of them")
        video_files.stylize_pipe(source, options, values.fps, values.raw, values.live)
        return
    for name in ("raw", "live"):
        if values[name].value:
            raise InputError(f"`{name}`: expected --content=- and --out=-, for it is of a stream; drop it")
    video_files.stylize_file(values.content, source, Output(values.out, values.crf, values.audio), options, values.fps)


def _blend_flags(values: flags.FlagValues) -> None:
    define_names("style_file", "style files of one bundle", flag_values=values)
    define_list("weights", None, "of the style files: 0.3,0.7", flag_values=values)
    flags.DEFINE_string("out", None, "style file to write, .safetensors", flag_values=values)
    flags.DEFINE_string("bundle", None, "bundle of the styles; by default those they record", flag_values=values)
    flags.DEFINE_bool("self_contained", False, "write all that stylize needs into the style file", flag_values=values)


def _blend(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle.stylize import jobs
    from metastyle.stylize.style import Knobs, check_style_path

    check_style_path(values.out)
    (look,) = jobs.make_looks(jobs.load_styles(values.style_file, values.bundle), values.weights, None, Knobs())
    style = look.parts[0][0]
    style.save(values.out, self_contained=values.self_contained)
    print(f"wrote {shown(values.out)}")


def _sheet_flags(values: flags.FlagValues) -> None:
    _style_flags(values)
    flags.DEFINE_string("out", None, "picture to write, in the format of its suffix", flag_values=values)
    define_list("strength", ["1"], "strengths to show side by side: 0,0.5,1,1.5", flag_values=values)
    flags.DEFINE_integer("blend", 0, "steps from the first to the second of two style files", flag_values=values)
    flags.DEFINE_integer("cell", 256, "px, side of a cell", lower_bound=16, upper_bound=4096, flag_values=values)
    flags.DEFINE_integer(
        "content_size",
        None,
        "px of the shorter side, smaller for larger strokes; by default twice a cell",
        flag_values=values,
    )


def _sheet(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle.stylize import jobs
    from metastyle.stylize.style import Knobs
    from metastyle.system.compile_cache import enable_compile_cache

    enable_compile_cache()
    contents = jobs.find_photographs(values.content, values.out)
    styles = jobs.load_styles(values.style_file, values.bundle)
    layout = jobs.SheetLayout(values.strength, values.blend, values.cell)
    knobs = Knobs(
        color=values.color,
        content_size=2 * values.cell if values.content_size is None else values.content_size,
        max_pixels=values.max_pixels,
    )
    picture = jobs.draw_sheet(contents, styles, layout, knobs)
    jobs.write(values.out, picture, {}, jobs.Output())
    if values.out != STANDARD:
        print(f"wrote {shown(values.out)}")


def _export_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("style_file", None, "style file that `metastyle adapt` wrote", flag_values=values)
    flags.DEFINE_string("out", None, "file to write, .onnx", flag_values=values)
    flags.DEFINE_enum("format", "onnx", ["onnx"], "of the file", flag_values=values)
    flags.DEFINE_enum("precision", PRECISIONS[0], PRECISIONS, "of convolutions", flag_values=values)
    flags.DEFINE_string("bundle", None, "bundle of the style; by default the one it records", flag_values=values)


def _export(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle.stylize import stylizer

    check_output(values.out, suffixes={".onnx"}, name="out")
    stylizer.load_style(values.style_file, values.bundle).export(values.out, int8=values.precision == "int8")
    print(f"wrote {shown(values.out)}")


def _info_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("style_file", None, "style file", flag_values=values)
    flags.DEFINE_string("bundle", None, "bundle", flag_values=values)
    flags.DEFINE_string("picture", None, "picture that `metastyle stylize` wrote", flag_values=values)


def _info(values: flags.FlagValues, _: list[str]) -> None:
    from metastyle.cli import info
    from metastyle.images import codec, picture_names

    describe_by_flag: dict[str, Callable[[str], dict[str, str]]] = {
        "style_file": info.describe_style,
        "bundle": info.describe_bundle,
        "picture": lambda name: codec.read_metadata(picture_names.read(name, "picture")),
    }
    given = [name for name in describe_by_flag if values[name].value]
    if len(given) != 1:
        raise InputError(f"`info`: expected one of --style_file, --bundle and --picture, got {len(given)} of them")
    facts = describe_by_flag[given[0]](getattr(values, given[0]))
    for name, value in facts.items():
        print(f"{name:<16}{value}")
    if not facts:
        print(f"{shown(values.picture)} does not say how it was made")


def _fetch_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum("source", "keras", ["keras", "torchvision"], "whose public file", flag_values=values)
    flags.DEFINE_string("url", None, "mirror of that file", flag_values=values)
    flags.DEFINE_string("checksum", None, "md5 or sha256 of a file that is not the public one", flag_values=values)
    flags.DEFINE_float("timeout", 30.0, "seconds to wait for the server", flag_values=values)
    flags.DEFINE_bool("force", False, "download even if the cache has it", flag_values=values)


def _fetch(values: flags.FlagValues, names: list[str]) -> None:
    from metastyle.weights import fetch

    if not names:
        raise InputError(f"`fetch`: expected what to fetch ({', '.join(fetch.SOURCES)}), got nothing")
    for name in names:
        path = fetch.fetch(
            name,
            source=values.source,
            url=values.url,
            checksum=values.checksum,
            timeout=values.timeout,
            force=values.force,
        )
        print(path)


def _look_flags(values: flags.FlagValues, of: str) -> None:
    """The knobs that photographs and clips share. of: what is stylised."""
    flags.DEFINE_integer("size", None, "px of the shorter side; by default as it is", flag_values=values)
    flags.DEFINE_float("strength", 1.0, f"0 is the {of}, 1 the style, up to 1.5", flag_values=values)
    flags.DEFINE_string("color", "style", f"style, content (keep the {of}'s) or histogram", flag_values=values)
    flags.DEFINE_float("feather", None, "px by which edges of the mask are blurred", flag_values=values)


def _palette_flag(values: flags.FlagValues, default: float) -> None:
    text = "0 to 1: share by which the painting's palette is matched"
    flags.DEFINE_float("palette", default, text, flag_values=values)


def _max_pixels_flag(values: flags.FlagValues) -> None:
    flags.DEFINE_integer("max_pixels", MAX_PIXELS, "larger pictures are refused", flag_values=values)


COMMANDS = {
    "transfer": Command(
        "one photograph in the style of one painting",
        "photo.jpg painting.jpg --out=out.png",
        _transfer_flags,
        _transfer,
        ("out",),
        takes_names=True,
    ),
    "adapt": Command(
        "fit a style in a few gradient steps",
        "--style=night_cafe.jpg --out=night_cafe.safetensors",
        _adapt_flags,
        _adapt,
        ("style", "out"),
    ),
    "stylize": Command(
        "stylise photographs, one or folders of them",
        "--style_file=night_cafe.safetensors --content=photo.jpg --out=out.png",
        _stylize_flags,
        _stylize,
        ("style_file", "content", "out"),
    ),
    "video": Command(
        "stylise a video without flicker",
        "--content=clip.mp4 --style=night_cafe.jpg --out=out.mp4",
        _video_flags,
        _video,
        ("content", "out"),
    ),
    "blend": Command(
        "mix styles into one style file",
        "--style_file=a.safetensors,b.safetensors --weights=1,2 --out=c.safetensors",
        _blend_flags,
        _blend,
        ("style_file", "weights", "out"),
    ),
    "sheet": Command(
        "draw a contact sheet of photographs and styles",
        "--style_file='*.safetensors' --content=photo.jpg --out=sheet.png",
        _sheet_flags,
        _sheet,
        ("style_file", "content", "out"),
    ),
    "export": Command(
        "write a style as an ONNX file",
        "--style_file=night_cafe.safetensors --out=night_cafe.onnx",
        _export_flags,
        _export,
        ("style_file", "out"),
    ),
    "info": Command(
        "say what is in a bundle or style file, or how a picture was made",
        "--style_file=night_cafe.safetensors",
        _info_flags,
        _info,
    ),
    "fetch": Command("download the weights of VGG-16", "vgg16", _fetch_flags, _fetch, takes_names=True),
}
