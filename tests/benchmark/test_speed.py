"""The inputs of the stages."""

from metastyle.benchmark import speed


def test_random_tasks_are_shaped_as_a_samplers():
    tasks = speed.random_tasks(2, 3, 16)
    shapes = {name: x.shape for name, x in tasks.items()}
    assert shapes == {"style": (2, 1, 16, 16, 3), "support": (2, 3, 1, 16, 16, 3), "query": (2, 1, 16, 16, 3)}
