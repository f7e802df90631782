"""A tiny evaluation protocol, and what its results are compared by."""

from metastyle import config
from tests.support import toy

TIMES = ("adapt_s", "stylize_ms")


def protocol(**changes):
    values = {
        "contents": "procedural", "styles": "procedural", "pairs": 2, "size": 32, "steps": (0, 1, 2), "vgg": "random",
        "methods": ("identity", "style", "gatys", "johnson", "random"), "gatys_iterations": 3, "baseline_pairs": 1,
        "johnson_steps": 12, "johnson_arch": toy.ARCH, "train_contents": "procedural",
    }  # fmt: skip
    return config.from_dict(values | changes, config.Evaluation)


def untimed(found):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in found["rows"]]


def line(found, method, steps):
    (one,) = [s for s in found["summary"] if (s["method"], s["steps"]) == (method, steps)]
    return one
