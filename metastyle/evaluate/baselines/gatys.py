"""Style transfer that optimises the picture itself; no network is trained (Gatys, Ecker and Bethge 2016).

    objective = gatys.objective(vgg_files.load("vgg16"), photograph, [painting])
    settings = gatys.Settings(iterations=150)
    for state in pixels.optimise(objective, settings, gatys.init(objective, photograph, settings)):
        print(state.iteration, state.loss)  # J

This takes minutes where an adapted generator takes seconds, and reaches about the lowest J that is possible for a
photograph.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from metastyle.config import Loss
from metastyle.losses import perceptual
from metastyle.nets import vgg
from metastyle.stylize import pixels
from metastyle.stylize.pixels import Objective


@dataclass(frozen=True)
class Settings(pixels.Settings):
    """How a picture is optimised, and from what. A value out of range raises InputError."""

    start: str = "photograph"  # or "noise"
    seed: int = 0  # of the noise
    loss: Loss = Loss()

    def rules(self) -> tuple[tuple[str, str, bool], ...]:
        return (
            *super().rules(),
            ("start", "photograph or noise", self.start in ("photograph", "noise")),
            ("seed", "at least 0", self.seed >= 0),
        )


def init(objective: Objective, photograph: np.ndarray, settings: Settings) -> pixels.State:
    """The first state, whose picture is the photograph f32[H, W, 3] in [0, 1] or uniform noise of its size.

    Raises FloatingPointError when the loss or its gradient is not finite.
    """
    start = photograph
    if settings.start == "noise":
        start = np.random.default_rng(settings.seed).random(photograph.shape, np.float32)
    return pixels.init(objective, start, settings)


def objective(
    params: vgg.Params, photograph: np.ndarray, paintings: Sequence[np.ndarray], loss: Loss = Settings.loss
) -> Objective:
    """J and its gradient as a function of the picture, f32[H, W, 3] -> (f32[], f32[H, W, 3]).

    photograph: f32[H, W, 3] in [0, 1]. paintings: one or more f32[h, w, 3] in [0, 1], of any sizes (see
    perceptual.mean_target). No side may be shorter than 8 px.
    """
    content = _content_target(loss, params, photograph)
    style = perceptual.mean_target([_style_target(loss, params, painting) for painting in paintings])
    return functools.partial(_value_and_gradient, loss, params, content, style)


@functools.partial(jax.jit, static_argnums=0)
def _content_target(loss: Loss, params: vgg.Params, photograph: jax.Array) -> jax.Array:
    return perceptual.content_target(params, photograph[None], loss)


@functools.partial(jax.jit, static_argnums=0)
def _style_target(loss: Loss, params: vgg.Params, painting: jax.Array) -> Any:
    return perceptual.style_target(params, painting[None], loss)


@functools.partial(jax.jit, static_argnums=0)
def _value_and_gradient(loss, params, content, style, picture):
    return jax.value_and_grad(lambda x: perceptual.perceptual(params, x[None], content, style, loss).total[0])(picture)
