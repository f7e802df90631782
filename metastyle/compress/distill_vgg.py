"""Distillation of VGG-16 into a slim network of the same ten convolutions: a loss network at a fifth of the cost.

The slim network is trained to give what the teacher gives: features and Gram matrices, up to a linear map that only
training uses (Collaborative Distillation, Wang et al. 2020), and the losses themselves. With f and F the features of
the slim network and of the teacher, G the Gram matrices, W the maps, C, S_l and J the relative losses
(losses/perceptual.py), and x the pictures, it minimises

    mean over taps of  |f W - F|^2 / |F|^2  +  |W^T G(f) W - G(F)|^2 / |G(F)|^2
    + mean over pictures of  (log C(f) - log C(F))^2 + mean over taps of (log S_l(f) - log S_l(F))^2
    + 2 (1 - mean over pictures of cos(dJ(f)/dx, dJ(F)/dx))

The last term (Sobolev training, Czarnecki et al. 2017) asks for the purpose of a loss network: what lowers the slim
loss shall lower the teacher's. It compares a number for each pixel of a picture, the other terms only a handful. With
`loss.octaves` the terms with taps are means over the pictures at full size, half size, and so on, too.

The pictures to learn on are made by minimising the slim network's own loss, because a loss network is used in this way
and because such pictures show where it is wrong. Two learners make them: the painter, a generator that is trained for
one style after another and from time to time starts afresh, or from what a bundle guesses for the style; and the
canvas, a picture whose pixels are optimised by Adam or by L-BFGS. For every third style they minimise the teacher's
loss instead, so that the slim network also sees good results. The works of both are kept in a gallery, and each step
learns from some that are drawn from it, since the works of one step show a single style.
"""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle.compress import prune_vgg
from metastyle.compress.prune_vgg import Scale, Slim
from metastyle.config import Distillation, Imitation, Loss
from metastyle.losses import perceptual
from metastyle.nets import generator, vgg
from metastyle.nets.octaves import octaves

_EMBEDDINGS = tuple(f"{kind}_{tap}" for kind in ("features", "gram") for tap in vgg.TAPS)
METRICS = ("loss", *_EMBEDDINGS, "content", "style", "gradient")
_CONTENT_TAP = perceptual.CONTENT_TAP["relative"]
_FLOOR = 1e-3  # added to losses before the logarithm, which would else magnify differences that nobody sees
_CLIP = 1.0
_GRADIENT = 2.0  # weight of the angle between gradients
_TEACHER_EVERY = 3  # styles, of which the learners follow the teacher for the last one
_MEMORY = 10  # steps that L-BFGS remembers
_TINY = 1e-30

Batch = dict[str, jax.Array]


class Learner(NamedTuple):
    """What minimises a loss network's loss: the parameters of a generator, or a picture."""

    learned: Any
    lr: jax.Array
    optimizer: optax.OptState


class State(NamedTuple):
    """The whole state of a distillation."""

    canvas: Learner
    gallery: Batch  # "work", and its "photograph" and "style": u8[G, S, S, 3] each
    optimizer: optax.OptState  # of the slim network
    painter: Learner
    scale: Scale
    slim: Slim
    step: jax.Array


def initial_state(
    settings: Distillation, teacher: vgg.Params, pictures: np.ndarray, start: vgg.Params | None = None
) -> State:
    """The state before the first step: from the pruned teacher, or from the slim network `start`.

    pictures: f32[N, S, S, 3], photographs and paintings, which the start is fitted to.
    """
    if start is None:
        slim, scale = prune_vgg.prune(teacher, pictures, settings.widths, settings.ranks)
    else:
        slim, scale = prune_vgg.continue_from(start, settings, teacher, pictures)
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


def optimizer(settings: Distillation | Imitation) -> optax.GradientTransformation:
    """Adam on clipped gradients; the rate warms up and then falls along a cosine."""
    steps = max(settings.run.steps, settings.warmup + 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.lr, settings.warmup, steps)
    return optax.chain(optax.clip_by_global_norm(_CLIP), optax.adam(rate))


def untrained_painter(settings: Distillation, seed: int) -> Learner:
    """A painter that has learned nothing yet."""
    return new_learner(generator.initial_params(settings.painter, seed), settings.painter_lr)


def new_canvas(settings: Distillation, picture: np.ndarray | jax.Array) -> Learner:
    """A canvas that starts from a picture f32[1, S, S, 3]."""
    canvas = jnp.asarray(picture, jnp.float32)
    if settings.canvas_optimizer == "adam":
        return new_learner(canvas, settings.canvas_lr)
    memory = optax.scale_by_lbfgs(_MEMORY).init(canvas)
    memory = jax.tree.map(jnp.array, memory)  # copies: a step donates its state, in which optax repeats arrays
    return Learner(jnp.array(canvas), jnp.float32(settings.canvas_lr), memory)


def new_learner(learned: Any, lr: float) -> Learner:
    """A learner that starts from these parameters or this picture."""
    return Learner(learned, jnp.float32(lr), optax.adam(lr).init(learned))


def step(
    settings: Distillation, state: State, batch: Batch, teacher: vgg.Params
) -> tuple[State, dict[str, jax.Array], Batch]:
    """Takes one step: the learners make their works, and the slim network learns from the gallery.

    batch: "style", "photograph" (the painter's) and "subject" (the canvas's), each f32[1, S, S, 3]. Returns the state,
    the METRICS, and `batch` with the "painting" and the "canvas" of this step.
    """
    loss = settings.loss

    def judged(painter, canvas, params):
        """The loss of painting and canvas, as the loss network `params` computes it; and the painting."""
        painting = generator.apply(settings.painter, painter, batch["photograph"])
        target, total = perceptual.style_target(params, batch["style"], loss), 0.0
        for name, work in (("photograph", painting), ("subject", canvas)):
            kept = perceptual.content_target(params, batch[name], loss)
            total += perceptual.perceptual(params, work, kept, target, loss).total.sum()
        return total, painting

    downhill = functools.partial(jax.grad(judged, (0, 1), has_aux=True), state.painter.learned, state.canvas.learned)
    by_teacher = state.step // settings.steps_per_style % _TEACHER_EVERY == _TEACHER_EVERY - 1
    (for_painter, for_canvas), painting = jax.lax.cond(
        by_teacher, lambda: downhill(teacher), lambda: downhill(prune_vgg.network(state.slim, teacher))
    )
    move = {"adam": _follow, "lbfgs": _leap}[settings.canvas_optimizer]
    painter, canvas = _follow(state.painter, for_painter), move(state.canvas, for_canvas)
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
        slim=cast(Slim, optax.apply_updates(state.slim, updates)),
        step=state.step + 1,
    )
    return state, metrics, shown


def _follow(follower: Learner, gradient: Any) -> Learner:
    updates, moments = optax.adam(follower.lr).update(gradient, follower.optimizer)
    return Learner(optax.apply_updates(follower.learned, updates), follower.lr, moments)


def _leap(canvas: Learner, gradient: jax.Array) -> Learner:
    """A step of L-BFGS without a line search, whose root mean square over the pixels is at most `lr`.

    It leads down the gradient, with that size, where the proposed direction leads up.
    """
    proposed, memory = optax.scale_by_lbfgs(_MEMORY).update(gradient, canvas.optimizer, canvas.learned)
    proposed = cast(jax.Array, proposed)
    # The gradient is made so long that the bound below decides the size of the step.
    direction = jnp.where(jnp.vdot(proposed, gradient) > 0, -proposed, -gradient / _TINY**0.5)
    size = jnp.sqrt(jnp.square(direction).mean())
    moved = canvas.learned + direction * jnp.minimum(1.0, canvas.lr / jnp.maximum(size, _TINY))
    return Learner(moved, canvas.lr, memory)


def _hang(settings: Distillation, gallery: Batch, shown: Batch, step: jax.Array) -> Batch:
    """Replaces the oldest works in the gallery by the two of this step, with their photographs and style.

    Of each `gallery_every` steps only the works of the last one stay, since they are much alike.
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
    """Draws `batch` works from the gallery, with their photographs and styles: f32[batch, S, S, 3] each."""
    filled = jnp.minimum(2 * (step // settings.gallery_every + 1), settings.gallery)
    key = jax.random.fold_in(jax.random.key(settings.run.seed), step)
    chosen = jax.random.randint(key, (settings.batch,), 0, filled)
    return {kind: x[chosen].astype(jnp.float32) / 255 for kind, x in gallery.items()}


def objective(
    slim: Slim, seen: Batch, teacher: vgg.Params, scale: Scale, loss: Loss
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of the slim network (see the module's docstring) and the METRICS, on works that were drawn."""
    ours, downhill = _features(prune_vgg.network(slim, teacher), seen, loss)
    theirs, downhill_ = _features(teacher, seen, loss)
    theirs = [{tap: x * scale[tap] for tap, x in scaled.items()} for scaled in theirs]
    metrics, style = {}, 0.0
    for tap in vgg.TAPS:
        to, features, grams = slim.maps[tap], [], []
        for here, there in zip(ours, theirs, strict=True):
            own, goal = perceptual.gram(here[tap]), perceptual.gram(there[tap])
            features.append(perceptual.ratio(here[tap] @ to, there[tap]).mean())
            grams.append(perceptual.ratio(to.T @ own @ to, goal).mean())
            (photographs, styles, works), (photographs_, styles_, works_) = jnp.split(own, 3), jnp.split(goal, 3)
            of_works = _log_error(perceptual.ratio(works, styles), perceptual.ratio(works_, styles_))
            of_photographs = _log_error(perceptual.ratio(photographs, styles), perceptual.ratio(photographs_, styles_))
            style += (of_works + of_photographs) / (2 * len(vgg.TAPS) * len(ours))
        metrics[f"features_{tap}"], metrics[f"gram_{tap}"] = (sum(x) / len(x) for x in (features, grams))
    (photographs, _, works), (photographs_, _, works_) = (jnp.split(x[0][_CONTENT_TAP], 3) for x in (ours, theirs))
    content = _log_error(perceptual.ratio(works, photographs), perceptual.ratio(works_, photographs_))
    embedding = sum(metrics.values()) / len(vgg.TAPS)
    gradient = (1 - perceptual.cosine(downhill, downhill_)).mean()
    total = embedding + content + style + _GRADIENT * gradient
    return total, metrics | {"content": content, "style": style, "gradient": gradient, "loss": total}


def _features(params: vgg.Params, seen: Batch, loss: Loss) -> tuple[list[dict[str, jax.Array]], jax.Array]:
    """The features of photographs, styles and works at the taps, f32[3 N, ...], and dJ/dworks, f32[N, S, S, 3].

    The features are a list with one dict for each octave.
    """
    given = jnp.concatenate([seen["photograph"], seen["style"]])
    targets = [vgg.features(params, scaled) for scaled in octaves(given, loss.octaves)]

    def judged(works: jax.Array) -> tuple[jax.Array, list[dict[str, jax.Array]]]:
        features = [vgg.features(params, scaled) for scaled in octaves(works, loss.octaves)]
        content = perceptual.ratio(features[0][_CONTENT_TAP], jnp.split(targets[0][_CONTENT_TAP], 2)[0])
        style = sum(
            perceptual.ratio(perceptual.gram(x), perceptual.gram(jnp.split(target[tap], 2)[1]))
            for scaled, target in zip(features, targets, strict=True)
            for tap, x in scaled.items()
        )
        return (loss.content * content + loss.style * style / (len(vgg.TAPS) * loss.octaves)).sum(), features

    downhill, features = jax.grad(judged, has_aux=True)(seen["work"])
    both = zip(targets, features, strict=True)
    return [{tap: jnp.concatenate([target[tap], x]) for tap, x in scaled.items()} for target, scaled in both], downhill


def _log_error(ours: jax.Array, theirs: jax.Array) -> jax.Array:
    return jnp.square(jnp.log(ours + _FLOOR) - jnp.log(theirs + _FLOOR)).mean()
