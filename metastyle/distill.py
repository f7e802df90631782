"""Distillation of VGG-16 into a slim network of the same ten convolutions: a loss network at a seventh of the cost.

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
as it is at the time: a painter, a generator that is trained for one style after another and at times afresh, and a
canvas, whose pixels are optimised. Both are bad at first, and go where the slim network is wrong. Their works hang in a
gallery, from which every step draws some: those of one step alone are of one style.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle import generator, losses, vgg
from metastyle.config import Distillation, Loss

METRICS = (
    "loss", *(f"{kind}_{tap}" for kind in ("features", "gram") for tap in vgg.TAPS), "content", "style", "gradient",
)  # fmt: skip
_CONTENT_TAP = "relu3_3"
_FLOOR = 1e-3  # losses below it count as equal: the logarithm shall not ask for what nobody sees
_CLIP = 1.0
_GRADIENT = 2.0  # weight of the angle between gradients
_INPUT_STD = 0.25

State = dict[str, Any]
Batch = dict[str, jax.Array]


def initial_state(settings: Distillation, teacher: vgg.Params, pictures: np.ndarray) -> State:
    """{"step", "slim", "optimizer", "painter", "canvas", "gallery", "scale"}: all that a run is made of.

    "slim" is {"vgg", "maps"}: the teacher, pruned, see `prune`. pictures: f32[N, S, S, 3], photographs and paintings.
    """
    slim, scale = prune(teacher, pictures, settings.widths)
    shape = (settings.gallery, settings.data.size, settings.data.size, 3)
    return {
        "step": jnp.zeros((), jnp.int32),
        "slim": slim,
        "optimizer": optimizer(settings).init(slim),
        "painter": new_painter(settings, settings.run.seed),
        "canvas": new_canvas(settings, pictures[:1]),
        "gallery": {kind: jnp.zeros(shape, jnp.uint8) for kind in ("photograph", "style", "work")},
        "scale": scale,
    }


def prune(teacher: vgg.Params, pictures: np.ndarray, widths: Sequence[int]) -> tuple[State, dict[str, jax.Array]]:
    """Where distillation starts: {"vgg", "maps"}, and the scale on which the maps hit the teacher's taps, 1 / rms.

    Layer by layer, the teacher's channels that explain most of the energy are kept (pivoted Cholesky of their Gram
    matrix on `pictures`), and those that the next layer misses are replaced by the best linear guess from those kept
    (channel pruning, He et al. 2017). Every layer is brought to rms 1, on which one learning rate fits all.
    """
    relus = tuple(f"relu{layer[4:]}" for layer in vgg.LAYERS)
    flat = lambda x: np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    full = vgg.features(teacher, pictures, relus)
    weights, maps, scale = {"input": _convention(teacher)}, {}, {}
    guess = np.diag(np.asarray(weights["input"]["std"] / teacher["input"]["std"], np.float64))
    for layer, relu, width in zip(vgg.LAYERS, relus, widths, strict=True):
        kept = _pivots(flat(full[relu]), min(width, full[relu].shape[-1]))
        kernel, bias = (np.asarray(teacher[layer][part])[..., kept] for part in ("kernel", "bias"))
        kernel = np.einsum("hwCo,cC->hwco", kernel, guess)
        weights[layer] = {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias)}
        own = vgg.features(weights, pictures, (relu,))[relu]
        rms = float(jnp.sqrt(jnp.square(own).mean()))
        weights[layer] = jax.tree.map(lambda x, rms=rms: x / rms, weights[layer])
        guess = np.linalg.lstsq(flat(own) / rms, flat(full[relu]), rcond=1e-6)[0]
        if relu in vgg.TAPS:
            scale[relu] = jax.lax.rsqrt(jnp.square(full[relu]).mean())
            maps[relu] = jnp.asarray(guess, jnp.float32) * scale[relu]
    del weights["input"]
    return {"vgg": weights, "maps": maps}, scale


def _pivots(features: np.ndarray, count: int) -> list[int]:
    """The `count` columns that a pivoted Cholesky factorisation of their Gram matrix takes first."""
    rest, kept = features.T @ features, []
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


def new_painter(settings: Distillation, seed: int) -> State:
    """A generator that has learned nothing yet: {"learned", "optimizer"}."""
    params = generator.initial_params(settings.painter, seed)
    return {"learned": params, "optimizer": optax.adam(settings.painter_lr).init(params)}


def new_canvas(settings: Distillation, picture: jax.Array) -> State:
    """A picture f32[1, S, S, 3] to be optimised: {"learned", "optimizer"}."""
    picture = jnp.asarray(picture, jnp.float32)
    return {"learned": picture, "optimizer": optax.adam(settings.canvas_lr).init(picture)}


def network(slim: State, teacher: vgg.Params) -> vgg.Params:
    """The slim network by itself, as vgg.features takes it."""
    return {"input": _convention(teacher)} | slim["vgg"]


def _convention(teacher: vgg.Params) -> dict[str, jax.Array]:
    """The input of the slim network: 0 where the teacher has 0, since that is what both are padded with."""
    return {"mean": teacher["input"]["mean"], "std": jnp.full(3, _INPUT_STD)}


def step(
    settings: Distillation, state: State, batch: Batch, teacher: vgg.Params
) -> tuple[State, dict[str, jax.Array], Batch]:
    """One step: painter and canvas follow the slim network, and that learns to judge what they made, now or earlier.

    batch: "style", "photograph" (the painter's) and "subject" (the canvas's), each f32[1, S, S, 3]. Returns the state,
    the METRICS, and `batch` with the "painting" and the "canvas" of this step.
    """
    loss, slim = settings.loss, network(state["slim"], teacher)
    target = losses.style_target(slim, batch["style"], loss)
    kept = {name: losses.content_target(slim, batch[name], loss) for name in ("photograph", "subject")}

    def painted(params):
        picture = generator.apply(settings.painter, params, batch["photograph"])
        return losses.perceptual(slim, picture, kept["photograph"], target, loss).total.sum(), picture

    def drawn(picture):
        return losses.perceptual(slim, picture, kept["subject"], target, loss).total.sum()

    gradient, painting = jax.grad(painted, has_aux=True)(state["painter"]["learned"])
    painter = _follow(state["painter"], gradient, settings.painter_lr)
    canvas = _follow(state["canvas"], jax.grad(drawn)(state["canvas"]["learned"]), settings.canvas_lr)
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


def _follow(learner: State, gradient: Any, lr: float) -> State:
    updates, moments = optax.adam(lr).update(gradient, learner["optimizer"])
    return {"learned": optax.apply_updates(learner["learned"], updates), "optimizer": moments}


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
        own, goal, to = losses.gram(ours[tap]), losses.gram(theirs[tap]), slim["maps"][tap]
        metrics[f"features_{tap}"] = losses.ratio(ours[tap] @ to, theirs[tap]).mean()
        metrics[f"gram_{tap}"] = losses.ratio(to.T @ own @ to, goal).mean()
        (photographs, styles, works), (photographs_, styles_, works_) = jnp.split(own, 3), jnp.split(goal, 3)
        of_works = _log_error(losses.ratio(works, styles), losses.ratio(works_, styles_))
        of_photographs = _log_error(losses.ratio(photographs, styles), losses.ratio(photographs_, styles_))
        style += (of_works + of_photographs) / (2 * len(vgg.TAPS))
    (photographs, _, works), (photographs_, _, works_) = (jnp.split(x[_CONTENT_TAP], 3) for x in (ours, theirs))
    content = _log_error(losses.ratio(works, photographs), losses.ratio(works_, photographs_))
    embedding = sum(metrics.values()) / len(vgg.TAPS)
    gradient = (1 - losses.cosine(downhill, downhill_)).mean()
    total = embedding + content + style + _GRADIENT * gradient
    return total, metrics | {"content": content, "style": style, "gradient": gradient, "loss": total}


def _features(params: vgg.Params, seen: Batch, loss: Loss) -> tuple[dict[str, jax.Array], jax.Array]:
    """Those of photographs, styles and works at the taps, f32[3 N, ...], and dJ / dworks, f32[N, S, S, 3]."""
    targets = vgg.features(params, jnp.concatenate([seen["photograph"], seen["style"]]))

    def judged(works):
        features = vgg.features(params, works)
        content = losses.ratio(features[_CONTENT_TAP], jnp.split(targets[_CONTENT_TAP], 2)[0])
        style = sum(
            losses.ratio(losses.gram(x), losses.gram(jnp.split(targets[tap], 2)[1])) for tap, x in features.items()
        )
        return (loss.content * content + loss.style * style / len(vgg.TAPS)).sum(), features

    downhill, features = jax.grad(judged, has_aux=True)(seen["work"])
    return {tap: jnp.concatenate([targets[tap], x]) for tap, x in features.items()}, downhill


def _log_error(ours: jax.Array, theirs: jax.Array) -> jax.Array:
    return jnp.square(jnp.log(ours + _FLOOR) - jnp.log(theirs + _FLOOR)).mean()
