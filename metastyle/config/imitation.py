"""The settings of a run in which a new generator learns to do what a bundle's generator does."""

from dataclasses import dataclass, field

from metastyle.config.checks import at_least, check_fields, one_of
from metastyle.config.meta_training import PHASES, Data, Generator, Run


@dataclass(frozen=True)
class Imitation:
    """A run in which `generator` imitates that of `bundle`, as its encoder guesses it for a style (train/imitation.py).

    phases: the imitated picture is the mean over so many places of the photograph on the old network's pixel grid.
    keep: a scope (nets/params.py `split_by_scope`) of the new network's parameters that start as the bundle's, where
    their shapes agree. scope: those that adapt to a style.
    """

    run: Run = Run(checkpoint_every=250)
    data: Data = Data(size=128)
    generator: Generator = Generator()
    bundle: str = "default"
    phases: int = field(default=16, metadata=one_of(*PHASES))
    keep: str = "block1,block2,block3,block4,block5"
    scope: str = "norm,adapter,out"
    octaves: int = field(default=1, metadata=at_least(1))  # at which the new encoder reads a style's statistics
    tasks: int = field(default=2, metadata=at_least(1))  # styles in a step, each with one photograph
    lr: float = field(default=1e-3, metadata=at_least(0))
    warmup: int = field(default=100, metadata=at_least(0))
    features: float = field(default=1.0, metadata=at_least(0))  # weight of the features beside the pixels

    def __post_init__(self) -> None:
        check_fields(self)
