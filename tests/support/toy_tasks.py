"""Sources of plain colours and of noise, and tasks drawn from them, for tests."""

import numpy as np

from metastyle import config
from metastyle.data import tasks
from metastyle.errors import InputError

SIZE = 16


class Colours:
    """Pictures of one colour each, which tells their index; those in `bad` can't be read."""

    def __init__(self, count, bad=()):
        self.count, self.bad, self.read = count, bad, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read += 1
        if index in self.bad:
            raise InputError(f"cannot decode {index}")
        return np.full((24, 33, 3), divmod(index, 64)[::-1] + (9,), np.uint8) * np.uint8([4, 4, 1])

    def name(self, index):
        return str(index)


class Noise(Colours):
    def __getitem__(self, index):
        return np.random.default_rng(index).integers(0, 256, (24, 33, 3), np.uint8)


def settings(seed=0, *, data=(), inner=(), outer=()):
    return config.Config(
        run=config.Run(seed=seed),
        data=config.Data(**{"size": SIZE} | dict(data)),
        inner=config.Inner(**dict(inner)),
        outer=config.Outer(**dict(outer)),
    )


def sampler(settings, content=None, style=None):
    return tasks.TaskSampler(settings, content=content or Noise(60), style=style or Noise(30))
