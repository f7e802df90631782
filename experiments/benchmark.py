"""Measures speed and memory of every stage on this machine: python -m experiments.benchmark --json=bench.json

--only=gradients,devices,tiny,adapt,quality,large_data,tiling,sizes,transfer,transfer_sizes,video
measures what the package promises, --only=all everything.
--compare=a.json,b.json measures nothing: it shows two such files side by side.
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.cli.lists import define_list, define_names
from metastyle.system import files

_ONLY = define_list("only", [], "sections to run, such as stylize,adapt_step, or all; the stages by default")
_JSON = flags.DEFINE_string("json", None, "file to write the numbers to")
_COMPARE = define_names("compare", "two such files to print side by side; nothing is measured")


def main(_: list[str]) -> None:
    from metastyle.benchmark import suite

    if _COMPARE.value:
        print(suite.compare(files.expand(_COMPARE.value, {".json"}, "compare", once=False)))
    else:
        suite.run(_ONLY.value, _JSON.value)


if __name__ == "__main__":
    run(main)
