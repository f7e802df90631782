"""The settings of the distillation of a slim VGG."""

from dataclasses import dataclass, field

from metastyle.config.checks import at_least, check_fields, formerly, one_of
from metastyle.config.meta_training import Data, Generator, Loss, Run, check_octaves
from metastyle.errors import InputError


@dataclass(frozen=True)
class Distillation:
    """A run that distils a slim VGG from `vgg`, the teacher (compress/distill_vgg.py).

    A painter (a generator) and a canvas (pixels) are optimised for the losses of the slim network, and sometimes of the
    teacher. Their works are the pictures on which the slim network learns to agree with the teacher.
    """

    run: Run = Run(steps=6000, checkpoint_every=200, picture_every=500)
    data: Data = Data(size=96)
    loss: Loss = Loss()
    painter: Generator = Generator()  # the network whose outputs the slim one learns to judge
    widths: tuple = (16, 16, 32, 32, 96, 160, 192, 384, 384, 512)
    ranks: tuple = (0, 0, 0, 0, 0, 40, 40, 64, 72, 72)  # of the kernels; 0 is the full rank
    batch: int = field(default=3, metadata=at_least(1))  # works in a step, each with its photograph and style
    gallery: int = field(default=512, metadata=at_least(2))  # works that are kept, of which later steps draw some
    # The works of one in this many steps are kept.
    gallery_every: int = field(default=5, metadata=at_least(1) | formerly("apart"))
    lr: float = field(default=5e-5, metadata=at_least(0))
    warmup: int = field(default=100, metadata=at_least(0))
    painter_lr: float = field(default=2e-3, metadata=at_least(0))
    canvas_optimizer: str = field(default="adam", metadata=one_of("adam", "lbfgs"))
    # Adam's rate, or the largest root mean square of a step of L-BFGS; of pixels in [0, 1].
    canvas_lr: float = field(default=0.03, metadata=at_least(0))
    steps_per_style: int = field(default=25, metadata=at_least(1) | formerly("hold"))
    # After so many styles the painter starts again.
    styles_per_painter: int = field(default=8, metadata=at_least(1) | formerly("renew"))
    # A bundle with the painter's architecture, or "" for none. For the second half of its `styles_per_painter` styles,
    # the painter starts from what this bundle guesses for the style.
    bundle: str = ""
    guess_lr: float = field(default=3e-4, metadata=at_least(0))  # the painter's rate after such a guess
    vgg: str = "vgg16"
    start: str = ""  # a slim network of these widths and ranks; "" is the pruned teacher

    def __post_init__(self) -> None:
        check_fields(self)
        check_octaves(self.loss, self.data)
        if (self.loss.kind, self.loss.statistic) != ("relative", "gram"):
            raise InputError(
                "`loss.kind`: expected relative, with `loss.statistic` gram, which a distillation compares, "
                f"got {self.loss.kind} with {self.loss.statistic}"
            )
        if len(self.widths) != 10 or not all(isinstance(w, int) and w > 0 for w in self.widths):
            raise InputError(f"`widths`: expected the widths of ten convolutions, got {self.widths}")
        if len(self.ranks) != 10 or not all(isinstance(r, int) and r >= 0 for r in self.ranks):
            raise InputError(f"`ranks`: expected the ranks of ten convolutions, 0 for a full one, got {self.ranks}")
        if self.gallery % 2:
            raise InputError(f"`gallery`: expected an even number, for works come in pairs, got {self.gallery}")
