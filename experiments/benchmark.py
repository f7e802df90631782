"""Measures speed and memory of every stage on this machine: python -m experiments.benchmark --json=bench.json

With --only=gradients,devices,tiny,adapt,quality,large_data,tiling what the package promises, with --only=all
everything; with --compare=a.json,b.json nothing: it shows two such files side by side.
"""

from absl import flags

from metastyle.cli.app import run

_ONLY = flags.DEFINE_list("only", [], "sections to run, or all (default: the stages): stylize, adapt_step, ...")
_JSON = flags.DEFINE_string("json", None, "file to write the numbers to")
_COMPARE = flags.DEFINE_list("compare", [], "two such files to print side by side, instead of a run")


def main(_: list[str]) -> None:
    from metastyle.benchmark import suite

    if _COMPARE.value:
        print(suite.compare(_COMPARE.value))
    else:
        suite.run(_ONLY.value, _JSON.value)


if __name__ == "__main__":
    run(main)
