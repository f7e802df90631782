"""The settings of a run: frozen dataclasses, the only home of defaults, and their JSON and config-file forms."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from metastyle.errors import InputError

DEFAULT_BUNDLE = "default"  # the name of the one in the package
BACKENDS = ("jax", "onnx", "onnx-int8")  # what can stylise
PEER_TIMEOUT = 300  # seconds after which a silent process counts as lost
PRECISIONS = ("float32", "int8")  # of convolutions in an exported style


def _one_of(*choices: Any) -> dict:
    return {"choices": choices}


def _at_least(low: float) -> dict:
    return {"low": low}


@dataclass(frozen=True)
class Run:
    """How long and where a run runs, and what it writes on the way (all counts in outer steps)."""

    steps: int = field(default=20_000, metadata=_at_least(0))
    seed: int = field(default=0, metadata=_at_least(0))
    parallel: str = field(default="shard_map", metadata=_one_of("shard_map", "pmap"))
    log_every: int = field(default=20, metadata=_at_least(1))
    checkpoint_every: int = field(default=500, metadata=_at_least(1))
    keep_checkpoints: int = field(default=3, metadata=_at_least(1))
    picture_every: int = field(default=1000, metadata=_at_least(1))


@dataclass(frozen=True)
class Data:
    """Sources are `folder:PATH`, `tfds:NAME[:SPLIT]` or `procedural`; PATH may contain $VARIABLES."""

    content: str = "folder:$METASTYLE_SAMPLE_DATA/data/content/train"
    style: str = "folder:$METASTYLE_SAMPLE_DATA/data/style/train"
    val_content: str = "folder:$METASTYLE_SAMPLE_DATA/data/content/val"
    val_style: str = "folder:$METASTYLE_SAMPLE_DATA/data/style/val"
    size: int = field(default=256, metadata=_at_least(16))  # px, of every crop
    shots: int = field(default=1, metadata=_at_least(1))  # crops of the style picture in one target
    procedural_styles: float = field(default=0.0, metadata=_at_least(0))  # share of styles drawn from `procedural`
    photograph_styles: float = field(default=0.0, metadata=_at_least(0))  # share of styles that are photographs
    zoom: float = field(default=1.5, metadata=_at_least(1))  # pictures are scaled at random up to this
    rotate: float = field(default=5.0, metadata=_at_least(0))  # degrees, either way
    flip_style: bool = False
    recolor: float = field(default=0.0, metadata=_at_least(0))  # share of styles that take on the colours of another
    collage: float = field(default=0.0, metadata=_at_least(0))  # share of styles a part of which is of another
    quarter_turns: float = field(default=0.0, metadata=_at_least(0))  # share of styles that lie on a side or their head
    on_device: bool = False  # the accelerator holds all pictures and cuts the crops itself: see device_tasks.py
    threads: int = field(default=2, metadata=_at_least(1))


@dataclass(frozen=True)
class Generator:
    """The stylisation network: an architecture of generator.ARCHITECTURES, or a string in its language."""

    arch: str = "compact"
    dtype: str = field(default="float32", metadata=_one_of("float32", "bfloat16"))  # of convolutions only


@dataclass(frozen=True)
class Loss:
    """See losses.py. `tv` and `grid` are never part of a reported J."""

    kind: str = field(default="relative", metadata=_one_of("relative", "paper"))
    statistic: str = field(default="gram", metadata=_one_of("gram", "mean_std"))
    content: float = field(default=1.0, metadata=_at_least(0))
    style: float = field(default=5.0, metadata=_at_least(0))
    tv: float = field(default=0.0, metadata=_at_least(0))
    grid: float = field(default=0.0, metadata=_at_least(0))


@dataclass(frozen=True)
class Inner:
    """The inner loop: `steps` gradient steps on the fast parameters, `support` photographs in each."""

    steps: int = field(default=5, metadata=_at_least(0))
    scope: str = "norm"  # what is fast: "norm", "all", or path prefixes such as "norm,block5,out"
    support: int = field(default=1, metadata=_at_least(1))
    lr: float = field(default=1e-2, metadata=_at_least(0))  # the start, where learned
    normalize: bool = True  # each leaf's gradient by its root mean square: rates then are sizes of steps
    lrs: str = field(default="step", metadata=_one_of("fixed", "step", "parameter"))  # fixed, MAML++, Meta-SGD
    first_order: bool = False
    gradient: str = field(default="forward_over_reverse", metadata=_one_of("forward_over_reverse", "plain"))
    remat: bool = False


@dataclass(frozen=True)
class Encoder:
    """The warm start: see encoder.py."""

    hidden: int = field(default=0, metadata=_at_least(0))  # width of its hidden layer; 0: there is none
    code: int = field(default=1504, metadata=_at_least(1))  # what it reads: see encoder.size


@dataclass(frozen=True)
class Outer:
    """The outer loop: `tasks` styles per step over all devices, `query` photographs each."""

    tasks: int = field(default=4, metadata=_at_least(1))
    query: int = field(default=1, metadata=_at_least(1))
    update: str = field(default="maml", metadata=_one_of("maml", "reptile"))
    objective: str = field(default="log", metadata=_one_of("mean", "log"))  # of the query loss, over tasks
    optimizer: str = field(default="adam", metadata=_one_of("adam", "sgd"))
    lr: float = field(default=1e-3, metadata=_at_least(0))
    lrs_lr: float = field(default=1e-2, metadata=_at_least(0))  # of the learned rates, in log space
    warmup: int = field(default=100, metadata=_at_least(0))
    decay: str = field(default="cosine", metadata=_one_of("cosine", "inverse"))  # inverse: MetaStyle's, both loops
    clip: float = field(default=10.0, metadata=_at_least(0))  # global gradient norm; 0 is off
    second_order_from: int = field(default=0, metadata=_at_least(0))  # first order before this step
    multi_step: int = field(default=0, metadata=_at_least(0))  # steps over which the multi-step loss anneals; 0 is off
    vgg: str = ""  # the loss network of the query loss, where it is not that of the inner loop
    at_once: int = field(default=1, metadata=_at_least(1))  # tasks that a device computes side by side: on accelerators


@dataclass(frozen=True)
class Config:
    """Everything that defines a run.

    vgg: the loss network: "slim", "vgg16", "random", or a path (vgg.load).
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
        _check_fields(self)
        if self.outer.update == "reptile" and (self.inner.scope != "all" or self.inner.steps == 0):
            raise InputError(
                '`outer.update`: reptile needs `inner.scope` "all" and at least one inner step, '
                f'got "{self.inner.scope}" and {self.inner.steps}'
            )
        if self.encoder.hidden and self.outer.update == "reptile":
            raise InputError('`encoder.hidden`: reptile trains no encoder; use 0, or `outer.update` "maml"')
        if self.outer.update == "reptile" and self.outer.at_once > 1:
            raise InputError(f'`outer.at_once`: expected 1 with `outer.update` "reptile", got {self.outer.at_once}')
        if self.outer.tasks % self.outer.at_once:
            raise InputError(
                f"`outer.at_once`: expected a divisor of the {self.outer.tasks} tasks (`outer.tasks`), "
                f"got {self.outer.at_once}"
            )
        if self.data.on_device and self.data.rotate:
            raise InputError(
                f"`data.rotate`: expected 0 with `data.on_device`, whose crops are upright, got {self.data.rotate:g}"
            )
        if self.data.size % 4:
            raise InputError(f"`data.size`: expected a multiple of 4, got {self.data.size}")
        for name in STYLE_SHARES:
            if getattr(self.data, name) > 1:
                raise InputError(f"`data.{name}`: expected a share in [0, 1], got {getattr(self.data, name)}")


STYLE_SHARES = ("procedural_styles", "photograph_styles", "recolor", "collage", "quarter_turns")  # of `Data`
METHODS = ("identity", "style", "gatys", "johnson", "random", "lite")


@dataclass(frozen=True)
class Evaluation:
    """What is judged on what, and against what: see docs/evaluation.md. Pictures: a folder, or a spec as in `Data`."""

    contents: str = ""
    styles: str = ""
    pairs: int = field(default=40, metadata=_at_least(1))
    product: bool = False  # every photograph in every style, instead of a permutation
    leave_out: tuple = ()  # names of pictures
    size: int = field(default=256, metadata=_at_least(32))  # px, of the squares that are judged
    steps: tuple = (0, 1, 2, 5, 10)  # of adaptation, after which to judge
    methods: tuple = ("identity", "style")  # of METHODS, besides the bundles
    gatys_iterations: int = field(default=150, metadata=_at_least(1))
    gatys_pairs: int = field(default=0, metadata=_at_least(0))  # on how many pairs, evenly spread; 0: on all
    baseline_pairs: int = field(default=4, metadata=_at_least(1))  # on how many styles johnson is trained
    johnson_steps: int = field(default=2000, metadata=_at_least(1))
    johnson_batch: int = field(default=4, metadata=_at_least(1))  # photographs per step
    johnson_arch: str = "johnson"
    train_contents: str = "folder:$METASTYLE_SAMPLE_DATA/data/content/train"  # what johnson is trained on
    vgg: str = "vgg16"
    lpips: str = ""  # weights, where there are any: without them, LPIPS and ArtFID are not measured
    inception: str = ""

    def __post_init__(self) -> None:
        _check_fields(self)
        for name in ("contents", "styles"):
            if not getattr(self, name):
                raise InputError(f"`{name}`: expected a folder of pictures, got none; pass --{name}=DIR")
        if not self.steps or not all(isinstance(k, int) and k >= 0 for k in self.steps):
            raise InputError(f"`steps`: expected whole numbers from 0 such as 0,5,10, got {self.steps}")
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown:
            raise InputError(f"`methods`: expected some of {', '.join(METHODS)}, got {unknown[0]!r}")


@dataclass(frozen=True)
class Distillation:
    """What distill.py makes a slim VGG of, and how. `data`: of the photographs and styles, `vgg`: the teacher."""

    run: Run = Run(steps=6000, checkpoint_every=200, picture_every=500)
    data: Data = Data(size=96)
    loss: Loss = Loss()
    painter: Generator = Generator()  # whose outputs the slim network is to judge
    widths: tuple = (16, 16, 32, 32, 96, 160, 192, 384, 384, 512)
    ranks: tuple = (0, 0, 0, 0, 0, 40, 40, 64, 72, 72)  # of the kernels; 0: full
    batch: int = field(default=3, metadata=_at_least(1))  # works per step, each with its photograph and style
    gallery: int = field(default=512, metadata=_at_least(2))  # works that are kept to be drawn from
    apart: int = field(default=5, metadata=_at_least(1))  # steps of which only the last one's works are kept
    lr: float = field(default=5e-5, metadata=_at_least(0))
    warmup: int = field(default=100, metadata=_at_least(0))
    painter_lr: float = field(default=2e-3, metadata=_at_least(0))
    canvas_lr: float = field(default=0.03, metadata=_at_least(0))  # of pixels in [0, 1]
    hold: int = field(default=25, metadata=_at_least(1))  # steps that a style stays
    renew: int = field(default=8, metadata=_at_least(1))  # styles after which the painter starts afresh
    bundle: str = ""  # whose guess for the style the painter starts from, for every second half of `renew` styles
    guess_lr: float = field(default=3e-4, metadata=_at_least(0))  # the painter's, from such a guess
    vgg: str = "vgg16"
    start: str = ""  # a slim network of these widths and ranks to go on from; "": the teacher, pruned

    def __post_init__(self) -> None:
        _check_fields(self)
        if len(self.widths) != 10 or not all(isinstance(w, int) and w > 0 for w in self.widths):
            raise InputError(f"`widths`: expected the widths of ten convolutions, got {self.widths}")
        if len(self.ranks) != 10 or not all(isinstance(r, int) and r >= 0 for r in self.ranks):
            raise InputError(f"`ranks`: expected the ranks of ten convolutions, 0 for a full one, got {self.ranks}")
        if self.gallery % 2:
            raise InputError(f"`gallery`: expected an even number, for works come in pairs, got {self.gallery}")


def _check_fields(settings: Any, prefix: str = "") -> None:
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if dataclasses.is_dataclass(value):
            _check_fields(value, f"{f.name}.")
        else:
            _check(f"{prefix}{f.name}", value, f.metadata)


def _check(name: str, value: Any, rule: dict) -> None:
    if "choices" in rule and value not in rule["choices"]:
        raise InputError(f"`{name}`: expected one of {', '.join(map(str, rule['choices']))}, got {value!r}")
    if "low" in rule and not value >= rule["low"]:
        raise InputError(f"`{name}`: expected at least {rule['low']}, got {value}")


def from_dict(values: dict, kind: type = Config) -> Any:
    """Checked settings from nested dicts (missing fields take their defaults); InputError names an unknown field."""
    return _build(kind, {f.name: f.default for f in dataclasses.fields(kind)}, values, "")


def _build(kind: type, defaults: dict, values: Any, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"`{prefix.rstrip('.') or 'config'}`: expected a section of settings, got {values!r}")
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        raise InputError(f"`{prefix}{unknown[0]}`: no such setting; expected one of {', '.join(defaults)}")
    out = {}
    for name, value in values.items():
        default = defaults[name]
        if dataclasses.is_dataclass(default):
            out[name] = _build(type(default), vars(default), value, f"{prefix}{name}.")
        else:
            out[name] = _cast(f"{prefix}{name}", value, type(default))
    return kind(**defaults | out)


def _cast(name: str, value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if type(value) is not kind:
        raise InputError(f"`{name}`: expected {kind.__name__}, got {value!r}")
    return value


def to_json(settings: Any) -> str:
    """All settings, every field, as indented JSON."""
    return json.dumps(dataclasses.asdict(settings), indent=2) + "\n"


def config_dict(kind: type = Config, **changes: Any) -> Any:
    """The defaults as an `ml_collections.ConfigDict`, with changes: what a config file's `get_config()` returns."""
    from ml_collections import ConfigDict

    return ConfigDict(dataclasses.asdict(from_dict(changes, kind)))
