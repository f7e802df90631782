"""The settings of a run of meta-training."""

from dataclasses import dataclass, field

from metastyle.config.checks import added_later, at_least, check_fields, formerly, one_of
from metastyle.errors import InputError

PHASES = (1, 4, 16)
LEAST_SEEN = 8  # px: the least side of a picture that VGG-16 takes
STYLE_SHARES = ("procedural_styles", "photograph_styles", "recolor", "collage", "quarter_turns")  # of `Data`


@dataclass(frozen=True)
class Run:
    """How long a run lasts, how it is parallelised, and what it writes on the way (all counts in outer steps)."""

    steps: int = field(default=20_000, metadata=at_least(0))
    seed: int = field(default=0, metadata=at_least(0))
    parallel: str = field(default="shard_map", metadata=one_of("shard_map", "pmap"))
    log_every: int = field(default=20, metadata=at_least(1))
    checkpoint_every: int = field(default=500, metadata=at_least(1))
    keep_checkpoints: int = field(default=3, metadata=at_least(1))
    picture_every: int = field(default=1000, metadata=at_least(1))


@dataclass(frozen=True)
class Data:
    """Where pictures come from (data.sources.open_source), and how crops are augmented."""

    content: str = "folder:$METASTYLE_SAMPLE_DATA/data/content/train"
    style: str = "folder:$METASTYLE_SAMPLE_DATA/data/style/train"
    val_content: str = "folder:$METASTYLE_SAMPLE_DATA/data/content/val"
    val_style: str = "folder:$METASTYLE_SAMPLE_DATA/data/style/val"
    size: int = field(default=256, metadata=at_least(16))  # px, of every crop
    shots: int = field(default=1, metadata=at_least(1))  # crops of the style picture that make one target
    procedural_styles: float = field(default=0.0, metadata=at_least(0))  # share of styles that are synthetic
    photograph_styles: float = field(default=0.0, metadata=at_least(0))  # share of styles that are photographs
    zoom: float = field(default=1.5, metadata=at_least(1))  # pictures are enlarged at random, up to this many times
    rotate: float = field(default=5.0, metadata=at_least(0))  # degrees, in either direction
    flip_style: bool = False
    recolor: float = field(default=0.0, metadata=at_least(0))  # share of styles that get the colours of another
    collage: float = field(default=0.0, metadata=at_least(0))  # share of styles in which another replaces a part
    quarter_turns: float = field(default=0.0, metadata=at_least(0))  # share of styles turned by 90, 180 or 270 degrees
    on_device: bool = False  # the accelerator holds all pictures and cuts the crops (data/on_device.py)
    threads: int = field(default=2, metadata=at_least(1))


@dataclass(frozen=True)
class Generator:
    """The stylisation network: a name in architecture.ARCHITECTURES, or a text in the language of architectures.

    phases: the output is the mean over so many places of the picture on the network's pixel grid (nets/phases.py).
    """

    arch: str = "compact"
    dtype: str = field(default="float32", metadata=one_of("float32", "bfloat16"))  # in which convolutions compute
    phases: int = field(default=1, metadata=one_of(*PHASES) | added_later())


@dataclass(frozen=True)
class Loss:
    """The kind of loss, and the weights of its parts (losses/perceptual.py, losses/shift.py).

    A reported J excludes `tv`, `grid` and `shift`.
    """

    kind: str = field(default="relative", metadata=one_of("relative", "paper"))
    statistic: str = field(default="gram", metadata=one_of("gram", "mean_std"))
    content: float = field(default=1.0, metadata=at_least(0))
    style: float = field(default=5.0, metadata=at_least(0))
    tv: float = field(default=0.0, metadata=at_least(0))
    grid: float = field(default=0.0, metadata=at_least(0))
    shift: float = field(default=0.0, metadata=at_least(0) | added_later())
    # The sizes at which the style is compared: full, half, quarter, ... (nets/octaves.py).
    octaves: int = field(default=1, metadata=at_least(1) | added_later())


@dataclass(frozen=True)
class Inner:
    """The inner loop: `steps` gradient steps on the fast parameters, with `support` photographs in each."""

    steps: int = field(default=5, metadata=at_least(0))
    scope: str = "norm"  # the fast parameters: "norm", "all", or path prefixes such as "norm,block5,out"
    support: int = field(default=1, metadata=at_least(1))
    lr: float = field(default=1e-2, metadata=at_least(0))  # the initial rate, if rates are learned
    normalize: bool = True  # divides each leaf's gradient by its root mean square, so that rates are sizes of steps
    rate_kind: str = field(  # never learned; one per leaf and step (MAML++); one per parameter (Meta-SGD)
        default="step", metadata=one_of("fixed", "step", "parameter") | formerly("lrs")
    )
    first_order: bool = False
    gradient: str = field(default="forward_over_reverse", metadata=one_of("forward_over_reverse", "plain"))
    remat: bool = False


@dataclass(frozen=True)
class Encoder:
    """The warm start (nets/style_encoder.py)."""

    hidden: int = field(default=0, metadata=at_least(0))  # width of the hidden layer; 0 means no encoder
    code: int = field(default=1504, metadata=at_least(1))  # the length of its input
    octaves: int = field(default=1, metadata=at_least(1) | added_later())  # at which it reads a style's statistics


@dataclass(frozen=True)
class Outer:
    """The outer loop: `tasks` styles per step over all devices, each judged on `query` photographs."""

    tasks: int = field(default=4, metadata=at_least(1))
    query: int = field(default=1, metadata=at_least(1))
    update: str = field(default="maml", metadata=one_of("maml", "reptile"))
    objective: str = field(
        default="log", metadata=one_of("mean", "log")
    )  # the mean of the query loss, or of its logarithm, over tasks
    optimizer: str = field(default="adam", metadata=one_of("adam", "sgd"))
    lr: float = field(default=1e-3, metadata=at_least(0))
    rate_lr: float = field(default=1e-2, metadata=at_least(0) | formerly("lrs_lr"))  # of learned rates, in log space
    warmup: int = field(default=100, metadata=at_least(0))
    decay: str = field(
        default="cosine", metadata=one_of("cosine", "inverse")
    )  # inverse: as in MetaStyle, in both loops
    clip: float = field(default=10.0, metadata=at_least(0))  # global gradient norm; 0 is off
    second_order_from: int = field(default=0, metadata=at_least(0))  # first order before this step
    multi_step: int = field(default=0, metadata=at_least(0))  # steps over which the multi-step loss anneals; 0 is off
    vgg: str = ""  # the loss network of the query loss, if the inner loop has another
    # How many tasks a device computes side by side; more than 1 is for accelerators.
    tasks_side_by_side: int = field(default=1, metadata=at_least(1) | formerly("at_once"))


@dataclass(frozen=True)
class Config:
    """Everything that defines a run.

    vgg: the loss network: "slim", "vgg16", "random", or a path (vgg_files.load).
    start: a bundle of the same generator, whose parameters the run begins with; "" draws them.
    """

    run: Run = Run()
    data: Data = Data()
    generator: Generator = Generator()
    loss: Loss = Loss()
    inner: Inner = Inner()
    encoder: Encoder = Encoder()
    outer: Outer = Outer()
    vgg: str = "slim"
    start: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.outer.update == "reptile" and (self.inner.scope != "all" or self.inner.steps == 0):
            raise InputError(
                '`outer.update`: reptile needs `inner.scope` "all" and at least one inner step, '
                f'got "{self.inner.scope}" and {self.inner.steps}'
            )
        if self.encoder.hidden and self.outer.update == "reptile":
            raise InputError('`encoder.hidden`: reptile trains no encoder; use 0, or `outer.update` "maml"')
        together = self.outer.tasks_side_by_side
        if self.outer.update == "reptile" and together > 1:
            raise InputError(f'`outer.tasks_side_by_side`: expected 1 with `outer.update` "reptile", got {together}')
        if self.outer.tasks % together:
            raise InputError(
                f"`outer.tasks_side_by_side`: expected a divisor of the {self.outer.tasks} tasks (`outer.tasks`), "
                f"got {together}"
            )
        if self.data.on_device and self.data.rotate:
            raise InputError(
                f"`data.rotate`: expected 0 with `data.on_device`, whose crops are upright, got {self.data.rotate:g}"
            )
        check_octaves(self.loss, self.data)
        if self.data.size % 4:
            raise InputError(f"`data.size`: expected a multiple of 4, got {self.data.size}")
        for name in STYLE_SHARES:
            if getattr(self.data, name) > 1:
                raise InputError(f"`data.{name}`: expected a share in [0, 1], got {getattr(self.data, name)}")


def check_octaves(loss: Loss, data: Data) -> None:
    """Raises InputError if pictures of `data.size` become too small for the loss network at the last octave."""
    least = LEAST_SEEN * 2 ** (loss.octaves - 1)
    if data.size < least:
        raise InputError(
            f"`loss.octaves`: expected `data.size` to be at least {least} px for {loss.octaves} octaves, "
            f"got {data.size}; use fewer octaves"
        )
