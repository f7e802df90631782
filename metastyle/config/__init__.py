"""Settings as frozen dataclasses: the only home of defaults. All names are imported from here."""

from metastyle.config.adversarial import FEATURES, Adversarial, DomainData
from metastyle.config.choices import BACKENDS, DEFAULT_BUNDLE, PALETTE, PEER_TIMEOUT, PRECISIONS, STABILITY, VIDEO_STEPS
from metastyle.config.distillation import Distillation
from metastyle.config.evaluation import METHODS, Deployment, Evaluation
from metastyle.config.imitation import Imitation
from metastyle.config.meta_training import (
    LEAST_SEEN,
    PHASES,
    STYLE_SHARES,
    Config,
    Data,
    Encoder,
    Generator,
    Inner,
    Loss,
    Outer,
    Run,
)
from metastyle.config.schema import config_dict, from_dict, identify, to_dict, to_json

__all__ = [
    "BACKENDS",
    "DEFAULT_BUNDLE",
    "FEATURES",
    "LEAST_SEEN",
    "METHODS",
    "PALETTE",
    "PEER_TIMEOUT",
    "PHASES",
    "PRECISIONS",
    "STABILITY",
    "STYLE_SHARES",
    "VIDEO_STEPS",
    "Adversarial",
    "Config",
    "Data",
    "Deployment",
    "Distillation",
    "DomainData",
    "Encoder",
    "Evaluation",
    "Generator",
    "Imitation",
    "Inner",
    "Loss",
    "Outer",
    "Run",
    "config_dict",
    "from_dict",
    "identify",
    "to_dict",
    "to_json",
]
