"""The settings of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from metastyle.config.checks import at_least, check_fields, named, one_of
from metastyle.config.choices import BACKENDS
from metastyle.config.meta_training import PHASES
from metastyle.errors import InputError

METHODS = (
    *("identity", "style"),
    *("fast", "good", "best", "best_offline"),  # metastyle.transfer
    *("gatys", "gatys3", "johnson", "random", "lite"),
)


@dataclass(frozen=True)
class Deployment:
    """A bundle that is judged, and how it is deployed; an empty string and 0 keep what the bundle says."""

    path: str = ""  # of the bundle, or "default"
    judged: bool = False  # it learns on the photograph that is judged, instead of on the pair's support
    adam_all: bool = False  # as MetaStyle is deployed: all parameters adapt, by Adam at 1e-3 from step 0
    learn_with: str = ""  # the loss network that it learns with: "vgg16", "slim" or a file
    dtype: str = field(default="", metadata=one_of("", "float32", "bfloat16"))  # of its convolutions
    phases: int = field(default=0, metadata=one_of(0, *PHASES))  # in learning and stylising; 0: the bundle's own
    backend: str = field(default="jax", metadata=one_of(*BACKENDS))  # what stylises
    # What it learns on: the pair's pictures as they are; "bundle": brought to the bundle's own size, as by
    # `metastyle adapt`; "output": cut into tiles of that size, as with --output_size.
    learn_at: str = field(default="", metadata=one_of("", "bundle", "output"))


@dataclass(frozen=True)
class Evaluation:
    """The bundles and other methods that are judged, and the pictures for it (docs/evaluation.md).

    Pictures are a folder, or a source as for `data.sources.open_source`.
    """

    bundles: Mapping[str, Deployment] = field(default_factory=dict, metadata=named(Deployment))
    outputs: Mapping[str, str] = field(default_factory=dict)  # folders of pictures that other programs made, by name
    contents: str = "folder:$METASTYLE_SAMPLE_DATA/data/content/val"
    styles: str = "folder:$METASTYLE_SAMPLE_DATA/data/style/val"
    pairs: int = field(default=40, metadata=at_least(1))
    product: bool = False  # every photograph in every style, instead of a permutation
    leave_out: tuple = ()  # names of pictures
    size: int = field(default=256, metadata=at_least(32))  # px, of the squares that are judged
    steps: tuple = (0, 1, 2, 5, 10)  # of adaptation, after which to judge
    methods: tuple = ("identity", "style")  # of METHODS, besides the bundles
    gatys_iterations: int = field(default=150, metadata=at_least(1))  # of gatys and gatys3
    gatys_pairs: int = field(default=0, metadata=at_least(0))  # on how many pairs, evenly spread; 0: on all
    transfer_pairs: int = field(default=0, metadata=at_least(0))  # likewise, of fast, good, best and best_offline
    baseline_pairs: int = field(default=4, metadata=at_least(1))  # on how many styles johnson is trained
    johnson_steps: int = field(default=2000, metadata=at_least(1))
    johnson_batch: int = field(default=4, metadata=at_least(1))  # photographs per step
    johnson_arch: str = "johnson"
    train_contents: str = "folder:$METASTYLE_SAMPLE_DATA/data/content/train"  # what johnson is trained on
    vgg: str = "vgg16"
    lpips: str = ""  # a file of weights; without it, neither LPIPS nor ArtFID is measured
    inception: str = ""  # a file of weights; without it, ArtFID is not measured

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("contents", "styles"):
            if not getattr(self, name):
                raise InputError(f"`{name}`: expected a folder of pictures, got none; pass --config.{name}=DIR")
        for name, deployment in self.bundles.items():
            check_fields(deployment, f"bundles.{name}.")
            if not deployment.path:
                raise InputError(f"`bundles.{name}.path`: expected a bundle, got none")
        for name, folder in self.outputs.items():
            if not isinstance(folder, str) or not folder:
                raise InputError(f"`outputs.{name}`: expected a folder of pictures, got {folder!r}")
        if not self.steps or not all(isinstance(k, int) and k >= 0 for k in self.steps):
            raise InputError(f"`steps`: expected whole numbers from 0 such as 0,5,10, got {self.steps}")
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown:
            raise InputError(f"`methods`: expected some of {', '.join(METHODS)}, got {unknown[0]!r}")
