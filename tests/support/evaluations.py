"""A tiny evaluation protocol, and what its results are compared by."""

from metastyle import config
from metastyle.evaluate.starts import load_starts
from tests.support import toy

TIMES = ("adapt_s", "stylize_ms")


def protocol(**changes):
    values = {
        "contents": "procedural",
        "styles": "procedural",
        "pairs": 2,
        "size": 32,
        "steps": (0, 1, 2),
        "vgg": "random",
        "methods": ("identity", "style", "gatys", "johnson", "random"),
        "gatys_iterations": 3,
        "baseline_pairs": 1,
        "johnson_steps": 12,
        "johnson_arch": toy.ARCH,
        "train_contents": "procedural",
    }
    return config.from_dict(values | changes, config.Evaluation)


def untimed(found):
    """The rows without the seconds that they took."""
    return [row._replace(**dict.fromkeys(TIMES)) for row in found.rows]


def line(found, method, steps):
    """The means of a method after a number of steps."""
    (one,) = [s for s in found.summary if (s.method, s.steps) == (method, steps)]
    return one


def deploy(path, **options):
    """The starts of one bundle, "ours", deployed with these options."""
    return load_starts({"ours": config.Deployment(str(path), **options)})
