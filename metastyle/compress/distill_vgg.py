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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle.compress import prune_vgg
from metastyle.compress.prune_vgg import Slim
from metastyle.config import Distillation, Loss
from metastyle.losses import perceptual
from metastyle.nets import generator, vgg

METRICS = (
    "loss", *(f"{kind}_{tap}" for kind in ("features", "gram") for tap in vgg.TAPS), "content", "style", "gradient",
)  # fmt: skip
_CONTENT_TAP = "relu3_3"
_FLOOR = 1e-3  # losses below it count as equal: the logarithm shall not ask for what nobody sees
_CLIP = 1.0
_GRADIENT = 2.0  # weight of the angle between gradients
_LED = 3  # of so many styles, the last one's works are led by the teacher

Batch = dict[str, jax.Array]


class Learner(NamedTuple):
    """What follows a loss network by Adam: a generator's parameters, or a picture."""

    learned: Any
    lr: jax.Array
    optimizer: optax.OptState


class State(NamedTuple):
    """The whole state of a distillation."""

    canvas: Learner
    gallery: Batch  # u8[G, S, S, 3] each: "work", and its "photograph" and "style"
    optimizer: optax.OptState  # of the slim network
    painter: Learner
    scale: dict[str, jax.Array]  # of the teacher's taps, see prune_vgg.prune
    slim: Slim
    step: jax.Array


def initial_state(settings: Distillation, teacher: vgg.Params, pictures: np.ndarray) -> State:
    """The start of a run: the teacher pruned (prune_vgg.prune), or the network of `start` (prune_vgg.load_start).

    pictures: f32[N, S, S, 3], photographs and paintings.
    """
    if settings.start:
        slim, scale = prune_vgg.load_start(settings, teacher, pictures)
    else:
        slim, scale = prune_vgg.prune(teacher, pictures, settings.widths, settings.ranks)
    shape = (settings.gallery, settings.data.size, settings.data.size, 3)
    return State(
        canvas=new_canvas(settings, pictures[:1]),
        gallery={kind: jnp.zeros(shape, jnp.uint8) for kind in ("photograph", "style", "work")},
        optimizer=optimizer(settings).init(slim),
        painter=untrained_painter(settings, settings.run.seed),
        scale=scale,
        slim=slim,
        step=jnp.zeros((), jnp.int32),
    )


def optimizer(settings: Distillation) -> optax.GradientTransformation:
    """Adam with warm-up and a cosine, on clipped gradients."""
    steps = max(settings.run.steps, settings.warmup + 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.lr, settings.warmup, steps)
    return optax.chain(optax.clip_by_global_norm(_CLIP), optax.adam(rate))


def untrained_painter(settings: Distillation, seed: int) -> Learner:
    """A generator that has learned nothing yet."""
    return new_learner(generator.initial_params(settings.painter, seed), settings.painter_lr)


def new_canvas(settings: Distillation, picture: np.ndarray | jax.Array) -> Learner:
    """A picture f32[1, S, S, 3] to be optimised."""
    return new_learner(jnp.asarray(picture, jnp.float32), settings.canvas_lr)


def new_learner(learned: Any, lr: float) -> Learner:
    """A learner that starts from these parameters, or this picture."""
    return Learner(learned, jnp.float32(lr), optax.adam(lr).init(learned))


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

    downhill = functools.partial(jax.grad(judged, (0, 1), has_aux=True), state.painter.learned, state.canvas.learned)
    by_teacher = state.step // settings.steps_per_style % _LED == _LED - 1
    (for_painter, for_canvas), painting = jax.lax.cond(
        by_teacher, lambda: downhill(teacher), lambda: downhill(prune_vgg.network(state.slim, teacher))
    )
    painter, canvas = _follow(state.painter, for_painter), _follow(state.canvas, for_canvas)
    canvas = canvas._replace(learned=jnp.clip(canvas.learned, 0, 1))
    shown = batch | {"painting": painting, "canvas": canvas.learned}

    gallery = _hang(settings, state.gallery, shown, state.step)
    seen = _draw(settings, gallery, state.step)
    learn = jax.value_and_grad(objective, has_aux=True)
    (_, metrics), gradient = learn(state.slim, seen, teacher, state.scale, loss)
    updates, moments = optimizer(settings).update(gradient, state.optimizer)
    state = State(
        canvas=canvas,
        gallery=gallery,
        optimizer=moments,
        painter=painter,
        scale=state.scale,
        slim=optax.apply_updates(state.slim, updates),
        step=state.step + 1,
    )
    return state, metrics, shown


def _follow(follower: Learner, gradient: Any) -> Learner:
    updates, moments = optax.adam(follower.lr).update(gradient, follower.optimizer)
    return Learner(optax.apply_updates(follower.learned, updates), follower.lr, moments)


def _hang(settings: Distillation, gallery: Batch, shown: Batch, step: jax.Array) -> Batch:
    """The gallery with this step's two works, each beside its photograph and style, in place of the oldest.

    Of `gallery_every` steps only the last one's stay: they are too much alike.
    """
    works = {"photograph": ("photograph", "subject"), "style": ("style", "style"), "work": ("painting", "canvas")}
    slot = 2 * (step // settings.gallery_every) % settings.gallery
    out = {}
    for kind, names in works.items():
        pair = jnp.concatenate([shown[name] for name in names])
        pair = jnp.round(255 * jnp.clip(pair, 0, 1)).astype(jnp.uint8)
        out[kind] = jax.lax.dynamic_update_slice_in_dim(gallery[kind], pair, slot, 0)
    return out


def _draw(settings: Distillation, gallery: Batch, step: jax.Array) -> Batch:
    """`batch` works of the gallery with their photographs and styles, f32[batch, S, S, 3] each."""
    filled = jnp.minimum(2 * (step // settings.gallery_every + 1), settings.gallery)
    key = jax.random.fold_in(jax.random.key(settings.run.seed), step)
    chosen = jax.random.randint(key, (settings.batch,), 0, filled)
    return {kind: x[chosen].astype(jnp.float32) / 255 for kind, x in gallery.items()}


def objective(
    slim: Slim, seen: Batch, teacher: vgg.Params, scale: dict[str, jax.Array], loss: Loss
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss (see above) and METRICS at works, their photographs and their styles; `scale` is the state's."""
    ours, downhill = _features(prune_vgg.network(slim, teacher), seen, loss)
    theirs, downhill_ = _features(teacher, seen, loss)
    theirs = {tap: x * scale[tap] for tap, x in theirs.items()}
    metrics, style = {}, 0.0
    for tap in vgg.TAPS:
        own, goal, to = perceptual.gram(ours[tap]), perceptual.gram(theirs[tap]), slim.maps[tap]
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
