"""`metastyle.transfer` as methods of an evaluation: one for each quality, and the best also without VGG-16."""

import time
from collections.abc import Iterator

from metastyle.evaluate import metrics
from metastyle.evaluate.methods import Method, View
from metastyle.evaluate.pairs import Pair
from metastyle.stylize.transfer import Options, Progress, prepare
from metastyle.system.tensor_file import join, sha256
from metastyle.weights import bundles, loss_network, vgg_files

LEVELS = {  # methods of config.METHODS, and the quality and the loss network of each
    "fast": ("fast", None),
    "good": ("good", None),
    "best": ("best", "vgg16"),
    "best_offline": ("best", vgg_files.PACKAGED),
}


def transferred(level: str, pairs: int | None = None) -> Method:
    """One of LEVELS, on so many pairs, or on all. The style is learned on the judged photograph, as a user's is.

    Its steps are those of adaptation, and iterations of refinement. Raises FileNotFoundError without the weights that
    it needs.
    """
    quality, vgg = LEVELS[level]
    options = Options(quality, vgg=vgg)
    recipe, bundle = options.recipe(), bundles.load_bundle(options.bundle)
    digest = loss_network.digest(vgg_files.load(recipe.vgg)) if recipe.refine else ""
    last = recipe.steps + recipe.refine

    def views(pair: Pair) -> Iterator[View]:
        began, learned = time.perf_counter(), []

        def note(progress: Progress) -> None:
            if progress.doing == "stylising":
                learned.append(time.perf_counter() - began)

        result = prepare(pair.content, pair.style, None, options).run(note)
        seconds, shift = time.perf_counter() - began, None
        if not recipe.refine:
            height, width = pair.content.shape[:2]
            knobs = options.knobs(recipe, (height, width))
            shift = metrics.shift_change(lambda x: result.style.apply(x, knobs), pair.content, result.pixels)
        yield View(last, result.pixels, learned[0], 1000 * (seconds - learned[0]), shift)

    def warm_up(pair: Pair) -> None:
        for _ in views(pair):
            pass

    return Method(
        name=level,
        kind="transfer",
        key=f"{sha256(join(bundle.meta.parts()))} {digest} {options} {recipe}",
        cost=1.0 + recipe.steps + 1.5 * recipe.refine,
        views=views,
        note=f"metastyle transfer: {recipe.describe()}",
        pictures_seen=bundle.pictures_seen,
        pairs=pairs,
        last=last,
        warm_up=warm_up,
    )
