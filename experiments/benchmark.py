"""Measures this machine and the package's promises: python -m experiments.benchmark --json=bench.json"""

from absl import flags

from metastyle.launch import run

_ONLY = flags.DEFINE_list("only", [], "sections to run (default: all): gradients, speed, memory, devices, ...")
_JSON = flags.DEFINE_string("json", None, "file to write the numbers to")


def main(_: list[str]) -> None:
    from metastyle import benchmark

    benchmark.run(_ONLY.value, _JSON.value)


if __name__ == "__main__":
    run(main)
