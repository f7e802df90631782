"""The meta-parameters: what the outer loop learns, and what the inner loop starts from."""

import dataclasses
import functools
from typing import Any

import jax

from metastyle.nets import style_encoder
from metastyle.nets.params import Flat


# The leaves stay in the alphabetical order of the fields: sums over all leaves, such as the norm of a gradient, and
# files that number them depend on it.
@functools.partial(jax.tree_util.register_dataclass, data_fields=["encoder", "fast", "log_lr", "slow"], meta_fields=[])
@dataclasses.dataclass(frozen=True, kw_only=True)
class Meta:
    """Meta-parameters, or anything with a value for each of them, such as a meta-gradient; float32.

    fast: the generator's parameters that the inner loop adapts. slow: all others. log_lr: logarithms of the rates, see
    inner_loop.py. encoder: the weights of the encoder that guesses fast parameters (nets/style_encoder.py), if any.
    """

    fast: Flat
    slow: Flat
    log_lr: Flat
    encoder: Flat | None = None

    def parts(self) -> dict[str, Any]:
        """The fields by name, as files hold them: no encoder rather than None."""
        found = {"fast": self.fast, "slow": self.slow, "log_lr": self.log_lr}
        return found if self.encoder is None else found | {"encoder": self.encoder}


def guess_start(meta: Meta, code: jax.Array) -> Meta:
    """Where the inner loop starts for the style of this code: at the fast parameters that the encoder guesses.

    Without an encoder it starts at `meta` itself.
    """
    if meta.encoder is None:
        return meta
    return Meta(fast=style_encoder.guess(meta.encoder, meta.fast, code), slow=meta.slow, log_lr=meta.log_lr)
