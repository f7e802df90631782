"""Judges bundles or a run's checkpoints on photographs and paintings that they never saw, beside other methods.

python -m experiments.evaluate --bundle=ours=runs/tiny/bundle --config.contents=DIR --config.styles=DIR --out=report
python -m experiments.evaluate --config=configs/eval_quick.py --bundle=ours=default --bundle=photo=default,judged
python -m experiments.evaluate --config=configs/eval_quick.py --checkpoints=runs/tiny/checkpoints --watch --out=report
python -m experiments.evaluate --write_pairs=pairs
python -m experiments.evaluate --outputs=theirs=DIR --out=report

Any setting of metastyle/config/evaluation.py can be changed on the line, as in --config.pairs=8 and
--config.methods=identity,gatys. See docs/evaluation.md.
"""

from pathlib import Path

from absl import flags

from metastyle.cli.app import config_flag, run
from metastyle.system.signals import resumable

_DEFAULT_CONFIG = str(Path(__file__).parents[1] / "configs" / "eval_default.py")
_CONFIG = config_flag()
_BUNDLES = flags.DEFINE_multi_string(
    "bundle",
    [],
    "[NAME=]PATH[,OPTION...], a row each; options: judged, adam_all, learn_with=WEIGHTS, dtype=bfloat16, backend=onnx",
)
_CHECKPOINTS = flags.DEFINE_string("checkpoints", None, "the folder `checkpoints` of a run, instead of bundles")
_WATCH = flags.DEFINE_bool("watch", False, "evaluate the checkpoints to come, too, until the run's last")
_OUTPUTS = flags.DEFINE_multi_string("outputs", [], "NAME=DIR, pictures that another program made of the pairs")
_WRITE_PAIRS = flags.DEFINE_string("write_pairs", None, "write the pairs' pictures into this folder, and end")
_OUT = flags.DEFINE_string("out", "report", "folder for the report; what is there already is not done again")
_PART = flags.DEFINE_string("part", "0/1", "i/n: do part i of n, as one of n processes with the same --out")


def main(_: list[str]) -> None:
    from metastyle.evaluate import evaluation, follow, outputs, starts

    settings = evaluation.read_settings(_CONFIG.value.to_dict(), _BUNDLES.value, _OUTPUTS.value)
    if _WRITE_PAIRS.value:
        print(f"wrote {outputs.write_pairs(settings, _WRITE_PAIRS.value)} pairs into {_WRITE_PAIRS.value}")
        return
    part = evaluation.parse_part(_PART.value)
    with resumable():
        if _CHECKPOINTS.value:
            results = follow.follow_run(settings, _CHECKPOINTS.value, _OUT.value, part, watch=_WATCH.value)
        else:
            results = evaluation.run(settings, starts.load_starts(settings.bundles), _OUT.value, part)
    if results:
        print(evaluation.describe(results, _OUT.value))


if __name__ == "__main__":
    run(main, _DEFAULT_CONFIG)
