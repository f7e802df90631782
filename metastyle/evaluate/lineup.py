"""Which methods an evaluation compares, and on which pairs each is run."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from metastyle import config
from metastyle.config import Evaluation
from metastyle.data.sources import open_source
from metastyle.errors import InputError
from metastyle.evaluate import adapting, methods, outputs, transferring
from metastyle.evaluate.baselines import johnson
from metastyle.evaluate.methods import Method
from metastyle.evaluate.pairs import Pairs
from metastyle.evaluate.results import BOUNDS
from metastyle.evaluate.starts import Start
from metastyle.nets import architecture, vgg
from metastyle.weights import vgg_files

_BOUND_METHODS = ("identity", "style")  # among config.METHODS


def choose_methods(settings: Evaluation, starts: Mapping[str, Start], params: vgg.Params, out: Path) -> list[Method]:
    """The methods in the order of the table: bounds, bundles, the others, pictures that other programs made.

    params: the loss network that judges; the others are trained with it. Raises InputError or FileNotFoundError where
    a method can't be run: it is found out before hours of work on others.
    """
    first = next(iter(starts.values())).bundle.config if starts else config.Config()
    make: dict[str, Callable[[], list[Method]]] = {
        "identity": lambda: [methods.identity()],
        "style": lambda: [methods.style_picture()],
        "gatys": lambda: [methods.gatys(params, settings.gatys_iterations, settings.gatys_pairs or None)],
        "gatys3": lambda: [methods.gatys(params, settings.gatys_iterations, settings.gatys_pairs or None, octaves=3)],
        "johnson": lambda: [_johnson(settings, params, out / "johnson")],
        "random": lambda: [adapting.random_start(first, params, settings.steps, lr) for lr in adapting.RANDOM_LRS],
        "lite": lambda: [methods.lite()],
        **{level: functools.partial(_transferred, level, settings) for level in transferring.LEVELS},
    }
    chosen = []
    for name in _BOUND_METHODS:
        if name in settings.methods:
            chosen += make[name]()
    chosen += _bundles(settings, starts, params)
    for name in config.METHODS:
        if name in settings.methods and name not in _BOUND_METHODS:
            chosen += make[name]()
    chosen += [outputs.judged_as(name, folder, settings) for name, folder in settings.outputs.items()]
    _check_names("bundle", starts)
    _check_names("outputs", settings.outputs, starts)
    return chosen


def _transferred(level: str, settings: Evaluation) -> list[Method]:
    return [transferring.transferred(level, settings.transfer_pairs or None)]


def _johnson(settings: Evaluation, params: vgg.Params, folder: Path) -> Method:
    architecture.parse(settings.johnson_arch, "johnson_arch")
    open_source(settings.train_contents, "content", size=settings.size, seed=0, name="train_contents")
    recipe = johnson.settings(
        settings.train_contents,
        size=settings.size,
        steps=settings.johnson_steps,
        batch=settings.johnson_batch,
        arch=settings.johnson_arch,
    )
    return methods.johnson(recipe, params, folder, settings.baseline_pairs)


def _bundles(settings: Evaluation, starts: Mapping[str, Start], params: vgg.Params) -> list[Method]:
    loaded = {settings.vgg: params}

    def load(weights: str) -> vgg.Params:
        if weights not in loaded:
            loaded[weights] = vgg_files.load(weights)
        return loaded[weights]

    found = []
    for name, start in starts.items():
        recorded, learn_with = start.bundle.config.vgg, start.deployment.learn_with
        own = vgg_files.resolve_recorded(recorded)
        if own != recorded and not learn_with:
            raise FileNotFoundError(
                f"`bundle`: the loss network of {name}, {recorded}, is gone; pass --bundle={name}=PATH,learn_with=vgg16"
            )
        found.append(adapting.bundle(name, start, load(learn_with or own), settings.steps, load(own)))
    return found


def _check_names(setting: str, names: Collection[str], others: Collection[str] = ()) -> None:
    """Each method has a folder of its own, and no name is that of a method, chosen or not, or of one of `others`."""
    taken = {methods.slug(name): name for name in (*config.METHODS, *BOUNDS, *others)}
    for name in names:
        slug = methods.slug(name)
        if slug in taken:
            raise InputError(f"`{setting}`: expected another name than {taken[slug]}, got {name}; pass NAME=PATH")
        taken[slug] = name


def choose_pairs(method: Method, left: Sequence[int], pairs: Pairs) -> list[int]:
    """The pairs that a method is run on: all that are `left` and that it can, or `method.pairs` of them, evenly spread.

    A pair whose style is taken already is replaced by the next one with another style, if there is one.
    """
    left = [i for i in left if method.only is None or i in method.only]
    count, chosen = method.pairs or len(left), []
    if count >= len(left):
        return left
    for k in range(count):
        at = k * len(left) // count
        rest = [i for i in [*left[at:], *left[:at]] if i not in chosen]
        taken = {pairs.style(i) for i in chosen}
        chosen.append(next((i for i in rest if pairs.style(i) not in taken), rest[0]))
    return sorted(chosen)
