"""The settings of adversarial training (docs/adversarial.md)."""

from dataclasses import dataclass, field

from metastyle.config.checks import at_least, check_fields, one_of
from metastyle.config.meta_training import Generator, Loss, Run
from metastyle.errors import InputError

SYSTEMS = ("gan", "cycle_gan")
KINDS = ("hinge", "least_squares", "non_saturating")  # of adversarial losses
FEATURES = "features"  # the critic that reads the loss network's features
_SAMPLE = "$METASTYLE_SAMPLE_DATA/data"


@dataclass(frozen=True)
class DomainData:
    """Where the pictures of domains come from, and how crops are cut.

    domains: NAME:SOURCE,NAME:SOURCE, where a source is a folder, or as for data.sources.open_source. The first one is
    the photographs. A quarter of each domain's pictures, chosen by a hash of their names, is held out.
    short: px. Pictures of all domains are brought to this shorter side before anything else: where those of one domain
    were enlarged once, a critic would tell them by their blur otherwise.
    """

    domains: str = (
        f"photo:folder:{_SAMPLE}/content/train,ukiyo_e:csv:{_SAMPLE}/index.csv:source_path=Ukiyo_e/*:style/train/*"
    )
    short: int = field(default=160, metadata=at_least(16))
    size: int = field(default=128, metadata=at_least(16))  # px, of every crop
    threads: int = field(default=2, metadata=at_least(1))


@dataclass(frozen=True)
class Adversarial:
    """A run in which a generator and a critic learn against each other.

    system: "gan" brings photographs to a domain, with content and style losses beside the critic (adversarial/gan.py);
    "cycle_gan" goes both ways, and each way has a generator and a critic of its own (adversarial/cycle_gan.py).
    bundle: whose generator a gan trains, from where its encoder guesses it for the mean of the domain's pictures.
    generator: of each way of a cycle_gan, which is drawn at random. Its trunk has no norm, for instance norms lose the
    colours that have to come back. vgg: the loss network, whose features the critic reads; "" is the bundle's own.
    critic: "features", or a network in the language of nets/architecture.py that judges patches of pixels.
    """

    run: Run = Run(steps=4000, checkpoint_every=200, picture_every=500)
    system: str = field(default="gan", metadata=one_of(*SYSTEMS))
    data: DomainData = DomainData()
    bundle: str = "default"
    generator: Generator = Generator("s4,c3s1-64.bare,R64x5,u32.bare,p2-3")
    vgg: str = ""
    loss: Loss = Loss(style=2.5, octaves=2)
    kind: str = field(default="hinge", metadata=one_of(*KINDS))
    weight: float = field(default=0.2, metadata=at_least(0))  # of the adversarial loss
    augment: bool = True  # DiffAugment, of what the critic sees
    critic: str = FEATURES
    critic_width: int = field(default=64, metadata=at_least(1))  # channels of its heads on features
    penalty: float = field(default=0.0, metadata=at_least(0))  # weight of R1, for a critic of features
    cycle: float = field(default=10.0, metadata=at_least(0))  # of a cycle_gan: of what comes back, |F(G(x)) - x|
    identity: float = field(default=0.5, metadata=at_least(0))  # of |G(y) - y|, times `cycle`; 0 in the last third
    noise: float = field(default=2 / 255, metadata=at_least(0))  # deviation, on the middle picture of a cycle
    pool: int = field(default=50, metadata=at_least(0))  # earlier made pictures that a cycle_gan's critics see again
    batch: int = field(default=2, metadata=at_least(1))  # photographs in a step, over all devices
    lr: float = field(default=3e-4, metadata=at_least(0))  # of the generator
    critic_lr: float = field(default=4e-4, metadata=at_least(0))
    b1: float = field(default=0.0, metadata=at_least(0))  # of Adam
    b2: float = field(default=0.99, metadata=at_least(0))
    warmup: int = field(default=50, metadata=at_least(0))
    average: float = field(default=0.995, metadata=at_least(0))  # the decay of the moving average that is deployed

    def __post_init__(self) -> None:
        check_fields(self)
        if 0 < self.pool < self.batch:
            raise InputError(f"`pool`: expected 0 or at least `batch`, {self.batch}, got {self.pool}")
