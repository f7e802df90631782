"""Distillation of VGG-16 into a slim network of the same ten convolutions: a loss network at a fifth of the cost.

Its features shall embed linearly into the teacher's (Collaborative Distillation, Wang et al. 2020), as features for the
content and as Gram matrices for the style, by maps that only training uses; and the losses that the slim network
computes shall be those of the teacher, on whatever it will have to judge. With f, F the features of the slim network
and of the teacher, G the Gram matrices, W the maps, C, S_l and J the relative losses (losses.py), x the pictures:

    mean over taps of  |f W - F|^2 / |F|^2  +  |W^T G(f) W - G(F)|^2 / |G(F)|^2
    + mean over pictures of  (log C(f) - log C(F))^2 + mean over taps of (log S_l(f) - log S_l(F))^2
    + 2 (1 - mean over pictures of cos(dJ(f)/dx, dJ(F)/dx))

The last term (Sobolev training, Czarnecki et al. 2017) asks for what a loss network is for: that what lowers its loss
lowers the teacher's. It has a number for each pixel to say of each picture, where the others have a handful.

A loss network is judged by what comes of following it, so the pictures to learn on are made by following the slim one,
as it is at the time: a painter, a generator that is trained for one style after another and at times afresh, or from
what a bundle guesses for the style, and a canvas, whose pixels are optimised. They go where the slim network is wrong.
For every third style they follow the teacher instead, for its good works the slim network must know from its own. Their
works hang in a gallery, from which every step draws some: those of one step alone are of one style.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle.compress import least_squares
from metastyle.config import Distillation, Loss
from metastyle.errors import InputError
from metastyle.losses import perceptual
from metastyle.nets import generator, vgg

METRICS = (
    "loss", *(f"{kind}_{tap}" for kind in ("features", "gram") for tap in vgg.TAPS), "content", "style", "gradient",
)  # fmt: skip
_CONTENT_TAP = "relu3_3"
_FLOOR = 1e-3  # losses below it count as equal: the logarithm shall not ask for what nobody sees
_CLIP = 1.0
_GRADIENT = 2.0  # weight of the angle between gradients
_INPUT_STD = 0.25
_TOGETHER = 8  # pictures, in pruning
_LED = 3  # of so many styles, the last one's works are led by the teacher

State = dict[str, Any]
Batch = dict[str, jax.Array]


def initial_state(settings: Distillation, teacher: vgg.Params, pictures: np.ndarray) -> State:
    """{"step", "slim", "optimizer", "painter", "canvas", "gallery", "scale"}: all that a run is made of.

    "slim" is {"vgg", "maps"}: the teacher, pruned, see `prune`, or the network of `start`, see `take_up`. pictures:
    f32[N, S, S, 3], photographs and paintings.
    """
    if settings.start:
        slim, scale = take_up(settings, teacher, pictures)
    else:
        slim, scale = prune(teacher, pictures, settings.widths, settings.ranks)
    shape = (settings.gallery, settings.data.size, settings.data.size, 3)
    return {
        "step": jnp.zeros((), jnp.int32),
        "slim": slim,
        "optimizer": optimizer(settings).init(slim),
        "painter": untrained_painter(settings, settings.run.seed),
        "canvas": new_canvas(settings, pictures[:1]),
        "gallery": {kind: jnp.zeros(shape, jnp.uint8) for kind in ("photograph", "style", "work")},
        "scale": scale,
    }


def prune(
    teacher: vgg.Params, pictures: np.ndarray, widths: Sequence[int], ranks: Sequence[int]
) -> tuple[State, dict[str, jax.Array]]:
    """Where distillation starts: {"vgg", "maps"}, and the scale on which the maps hit the teacher's taps, 1 / rms.

    Layer by layer, the teacher's channels that explain most of the energy are kept (pivoted Cholesky of their Gram
    matrix on `pictures`), and their responses, before the ReLU, are fitted by least squares to what the layer now sees
    (channel pruning, He et al. 2017), with a kernel of the given rank where that is not 0 (reduced-rank regression, as
    in Zhang et al. 2016). Every layer is brought to rms 1, on which one learning rate fits all.
    """
    weights, maps, scale = {"input": _convention(teacher)}, {}, {}
    ours, theirs = (np.asarray((pictures - p["input"]["mean"]) / p["input"]["std"]) for p in (weights, teacher))
    guess = np.diag(np.asarray(weights["input"]["std"] / teacher["input"]["std"], np.float64))
    for layer, width, rank in zip(vgg.LAYERS, widths, ranks, strict=True):
        relu = f"relu{layer[4:]}"
        if layer in vgg.POOLED:
            ours, theirs = (_batched(vgg.max_pool, x) for x in (ours, theirs))
        goal = _batched(functools.partial(vgg.response, teacher[layer]), theirs)
        theirs = np.maximum(goal, 0)
        kept = _pivots(_products(theirs, theirs), min(width, theirs.shape[-1]))
        kernel = np.einsum("hwCo,cC->hwco", np.asarray(teacher[layer]["kernel"], np.float64)[..., kept], guess)
        fitted = _regression(ours, goal[..., kept], kernel, np.asarray(teacher[layer]["bias"])[kept], rank)
        ours = np.maximum(_batched(functools.partial(vgg.response, fitted), ours), 0)
        rms = float(np.sqrt(np.square(ours, dtype=np.float64).mean()))
        scaled = ("mix" if rank else "kernel", "bias")
        weights[layer] = {part: x / rms if part in scaled else x for part, x in fitted.items()}
        ours /= rms
        guess = _map(ours, theirs)
        if relu in vgg.TAPS:
            scale[relu] = _scale(theirs)
            maps[relu] = jnp.asarray(guess, jnp.float32) * scale[relu]
    del weights["input"]
    return {"vgg": weights, "maps": maps}, scale


def take_up(settings: Distillation, teacher: vgg.Params, pictures: np.ndarray) -> tuple[State, dict[str, jax.Array]]:
    """Where distillation of a slim network that is there already goes on: as `prune`, the maps by least squares.

    Raises InputError or FileNotFoundError when `start` is not of these widths and ranks, or its input not as ours.
    """
    given, convention = vgg.load(settings.start, "start"), _convention(teacher)
    layers = [given[layer] for layer in vgg.LAYERS]
    widths = tuple(len(layer["bias"]) for layer in layers)
    ranks = tuple(layer["kernel"].shape[-1] if "mix" in layer else 0 for layer in layers)
    if (widths, ranks) != (settings.widths, settings.ranks) or any(
        not np.allclose(given["input"][name], convention[name]) for name in convention
    ):
        raise InputError(
            f"`start`: expected a network that distillation made, of `widths` {settings.widths} and `ranks` "
            f"{settings.ranks}, got {settings.start}, of {widths} and {ranks}"
        )
    maps, scale = {}, {}
    for tap in vgg.TAPS:
        ours, theirs = (
            _batched(lambda x, p=params: vgg.features(p, x, (tap,))[tap], pictures)  # noqa: B023
            for params in (given, teacher)
        )
        scale[tap] = _scale(theirs)
        maps[tap] = jnp.asarray(_map(ours, theirs), jnp.float32) * scale[tap]
    return {"vgg": {layer: given[layer] for layer in vgg.LAYERS}, "maps": maps}, scale


def _map(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The linear map of features that hits the teacher's best: float64[C, C']."""
    return np.linalg.lstsq(_products(ours, ours), _products(ours, theirs), rcond=1e-9)[0]


def _scale(theirs: np.ndarray) -> jax.Array:
    return jnp.float32(1 / np.sqrt(np.square(theirs, dtype=np.float64).mean()))


def _batched(function: Any, pictures: np.ndarray) -> np.ndarray:
    function = jax.jit(function)
    parts = range(0, len(pictures), _TOGETHER)
    return np.concatenate([np.asarray(function(pictures[i : i + _TOGETHER])) for i in parts])


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^T b over all positions, float64[A, B]."""
    flat = lambda x: x.reshape(-1, x.shape[-1])
    parts = range(0, len(a), _TOGETHER)
    return sum(np.float64(flat(a[i : i + _TOGETHER]).T @ flat(b[i : i + _TOGETHER])) for i in parts)


def _regression(
    seen: np.ndarray, goal: np.ndarray, kernel: np.ndarray, bias: np.ndarray, rank: int
) -> dict[str, jax.Array]:
    """The layer of this rank whose responses to `seen` are closest to `goal`; with little data, near what is given."""
    patches = jax.jit(_patches)
    own, missed = 0.0, 0.0
    given = np.concatenate([kernel.reshape(-1, kernel.shape[-1]), bias[None]])
    for i in range(0, len(seen), _TOGETHER):
        p = np.asarray(patches(seen[i : i + _TOGETHER]))
        own = own + _products(p, p)
        missed = missed + _products(p, goal[i : i + _TOGETHER])
    found = given + least_squares.ridge(own, missed - own @ given)
    if not rank:
        return {"kernel": jnp.asarray(found[:-1].reshape(kernel.shape), jnp.float32), "bias": jnp.float32(found[-1])}
    mean = own[-1] @ found / own[-1, -1]
    energy, axes = np.linalg.eigh(found.T @ own @ found / own[-1, -1] - np.outer(mean, mean))
    axes = axes[:, ::-1][:, :rank]
    root = np.maximum(energy[::-1][:rank], 1e-12) ** 0.25  # one half of each axis's deviation on either side
    return {
        "kernel": jnp.asarray((found[:-1] @ axes / root).reshape(*kernel.shape[:3], -1), jnp.float32),
        "mix": jnp.asarray((axes * root).T, jnp.float32),
        "bias": jnp.float32(mean - (mean - found[-1]) @ axes @ axes.T),
    }


def _patches(x: jax.Array) -> jax.Array:
    """[N, H, W, C] -> [N, H, W, 9 C + 1]: what a 3x3 kernel sees, in the order of its weights, and a 1 for the bias."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate([*shifted, jnp.ones((*x.shape[:3], 1))], -1)


def _pivots(products: np.ndarray, count: int) -> list[int]:
    """The `count` columns that a pivoted Cholesky factorisation of a Gram matrix takes first."""
    rest, kept = products.copy(), []
    for _ in range(count):
        kept.append(int(np.argmax(np.diag(rest))))
        column = rest[:, kept[-1]]
        rest = rest - np.outer(column, column) / max(column[kept[-1]], 1e-12)
        rest[kept, kept] = -np.inf
    return kept


def optimizer(settings: Distillation) -> optax.GradientTransformation:
    """Adam with warm-up and a cosine, on clipped gradients."""
    steps = max(settings.run.steps, settings.warmup + 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.lr, settings.warmup, steps)
    return optax.chain(optax.clip_by_global_norm(_CLIP), optax.adam(rate))


def untrained_painter(settings: Distillation, seed: int) -> State:
    """A generator that has learned nothing yet, as `learner` makes it."""
    return learner(generator.initial_params(settings.painter, seed), settings.painter_lr)


def new_canvas(settings: Distillation, picture: jax.Array) -> State:
    """A picture f32[1, S, S, 3] to be optimised, as `learner` makes it."""
    return learner(jnp.asarray(picture, jnp.float32), settings.canvas_lr)


def learner(learned: Any, lr: float) -> State:
    """What follows a loss network by Adam: {"learned", "optimizer", "lr"}."""
    return {"learned": learned, "optimizer": optax.adam(lr).init(learned), "lr": jnp.float32(lr)}


def network(slim: State, teacher: vgg.Params) -> vgg.Params:
    """The slim network by itself, as vgg.features takes it."""
    return {"input": _convention(teacher)} | slim["vgg"]


def _convention(teacher: vgg.Params) -> dict[str, jax.Array]:
    """The input of the slim network: 0 where the teacher has 0, since that is what both are padded with."""
    return {"mean": teacher["input"]["mean"], "std": jnp.full(3, _INPUT_STD)}


def step(
    settings: Distillation, state: State, batch: Batch, teacher: vgg.Params
) -> tuple[State, dict[str, jax.Array], Batch]:
    """One step: painter and canvas follow a network, and the slim one learns to judge what they made, now or earlier.

    It is the slim one that they follow, and for every `_LED`-th style the teacher.

    batch: "style", "photograph" (the painter's) and "subject" (the canvas's), each f32[1, S, S, 3]. Returns the state,
    the METRICS, and `batch` with the "painting" and the "canvas" of this step.
    """
    loss = settings.loss

    def judged(painter, canvas, params):
        """J of the painting and of the canvas by this loss network; and the painting."""
        painting = generator.apply(settings.painter, painter, batch["photograph"])
        target, total = perceptual.style_target(params, batch["style"], loss), 0.0
        for name, work in (("photograph", painting), ("subject", canvas)):
            kept = perceptual.content_target(params, batch[name], loss)
            total += perceptual.perceptual(params, work, kept, target, loss).total.sum()
        return total, painting

    downhill = functools.partial(
        jax.grad(judged, (0, 1), has_aux=True), state["painter"]["learned"], state["canvas"]["learned"]
    )
    by_teacher = state["step"] // settings.hold % _LED == _LED - 1
    (for_painter, for_canvas), painting = jax.lax.cond(
        by_teacher, lambda: downhill(teacher), lambda: downhill(network(state["slim"], teacher))
    )
    painter, canvas = _follow(state["painter"], for_painter), _follow(state["canvas"], for_canvas)
    canvas["learned"] = jnp.clip(canvas["learned"], 0, 1)
    shown = batch | {"painting": painting, "canvas": canvas["learned"]}

    gallery = _hang(settings, state["gallery"], shown, state["step"])
    seen = _draw(settings, gallery, state["step"])
    learn = jax.value_and_grad(objective, has_aux=True)
    (_, metrics), gradient = learn(state["slim"], seen, teacher, state["scale"], loss)
    updates, moments = optimizer(settings).update(gradient, state["optimizer"])
    state = state | {
        "step": state["step"] + 1, "slim": optax.apply_updates(state["slim"], updates), "optimizer": moments,
        "painter": painter, "canvas": canvas, "gallery": gallery,
    }  # fmt: skip
    return state, metrics, shown


def _follow(follower: State, gradient: Any) -> State:
    updates, moments = optax.adam(follower["lr"]).update(gradient, follower["optimizer"])
    return follower | {"learned": optax.apply_updates(follower["learned"], updates), "optimizer": moments}


def _hang(settings: Distillation, gallery: Batch, shown: Batch, step: jax.Array) -> Batch:
    """The gallery with this step's two works, each beside its photograph and style, in place of the oldest.

    Of `apart` steps only the last one's stay: they are too much alike.
    """
    works = {"photograph": ("photograph", "subject"), "style": ("style", "style"), "work": ("painting", "canvas")}
    slot = 2 * (step // settings.apart) % settings.gallery
    out = {}
    for kind, names in works.items():
        pair = jnp.concatenate([shown[name] for name in names])
        pair = jnp.round(255 * jnp.clip(pair, 0, 1)).astype(jnp.uint8)
        out[kind] = jax.lax.dynamic_update_slice_in_dim(gallery[kind], pair, slot, 0)
    return out


def _draw(settings: Distillation, gallery: Batch, step: jax.Array) -> Batch:
    """`batch` works of the gallery with their photographs and styles, f32[batch, S, S, 3] each."""
    filled = jnp.minimum(2 * (step // settings.apart + 1), settings.gallery)
    key = jax.random.fold_in(jax.random.key(settings.run.seed), step)
    chosen = jax.random.randint(key, (settings.batch,), 0, filled)
    return {kind: x[chosen].astype(jnp.float32) / 255 for kind, x in gallery.items()}


def objective(
    slim: State, seen: Batch, teacher: vgg.Params, scale: dict[str, jax.Array], loss: Loss
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss (see above) and METRICS at works, their photographs and their styles; `scale` is the state's."""
    ours, downhill = _features(network(slim, teacher), seen, loss)
    theirs, downhill_ = _features(teacher, seen, loss)
    theirs = {tap: x * scale[tap] for tap, x in theirs.items()}
    metrics, style = {}, 0.0
    for tap in vgg.TAPS:
        own, goal, to = perceptual.gram(ours[tap]), perceptual.gram(theirs[tap]), slim["maps"][tap]
        metrics[f"features_{tap}"] = perceptual.ratio(ours[tap] @ to, theirs[tap]).mean()
        metrics[f"gram_{tap}"] = perceptual.ratio(to.T @ own @ to, goal).mean()
        (photographs, styles, works), (photographs_, styles_, works_) = jnp.split(own, 3), jnp.split(goal, 3)
        of_works = _log_error(perceptual.ratio(works, styles), perceptual.ratio(works_, styles_))
        of_photographs = _log_error(perceptual.ratio(photographs, styles), perceptual.ratio(photographs_, styles_))
        style += (of_works + of_photographs) / (2 * len(vgg.TAPS))
    (photographs, _, works), (photographs_, _, works_) = (jnp.split(x[_CONTENT_TAP], 3) for x in (ours, theirs))
    content = _log_error(perceptual.ratio(works, photographs), perceptual.ratio(works_, photographs_))
    embedding = sum(metrics.values()) / len(vgg.TAPS)
    gradient = (1 - perceptual.cosine(downhill, downhill_)).mean()
    total = embedding + content + style + _GRADIENT * gradient
    return total, metrics | {"content": content, "style": style, "gradient": gradient, "loss": total}


def _features(params: vgg.Params, seen: Batch, loss: Loss) -> tuple[dict[str, jax.Array], jax.Array]:
    """Those of photographs, styles and works at the taps, f32[3 N, ...], and dJ / dworks, f32[N, S, S, 3]."""
    targets = vgg.features(params, jnp.concatenate([seen["photograph"], seen["style"]]))

    def judged(works):
        features = vgg.features(params, works)
        content = perceptual.ratio(features[_CONTENT_TAP], jnp.split(targets[_CONTENT_TAP], 2)[0])
        style = sum(
            perceptual.ratio(perceptual.gram(x), perceptual.gram(jnp.split(targets[tap], 2)[1]))
            for tap, x in features.items()
        )
        return (loss.content * content + loss.style * style / len(vgg.TAPS)).sum(), features

    downhill, features = jax.grad(judged, has_aux=True)(seen["work"])
    return {tap: jnp.concatenate([targets[tap], x]) for tap, x in features.items()}, downhill


def _log_error(ours: jax.Array, theirs: jax.Array) -> jax.Array:
    return jnp.square(jnp.log(ours + _FLOOR) - jnp.log(theirs + _FLOOR)).mean()
