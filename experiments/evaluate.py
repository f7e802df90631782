"""Judges bundles or a run's checkpoints on photographs and paintings that they never saw, beside other methods.

python -m experiments.evaluate --bundle=ours=runs/tiny/bundle --contents=DIR --styles=DIR --pairs=8 --out=report
python -m experiments.evaluate --config=configs/eval_quick.py --bundle=runs/tiny/bundle --out=report
python -m experiments.evaluate --config=configs/eval_quick.py --checkpoints=runs/tiny/checkpoints --watch --out=report
"""

from absl import flags

from metastyle.cli.app import config_flag, run
from metastyle.errors import InputError
from metastyle.system.signals import stopped_at_once

_CONFIG = config_flag()
_BUNDLES = flags.DEFINE_multi_string("bundle", [], "PATH or NAME=PATH; one row each")
_ADAM_ALL = flags.DEFINE_multi_string("adam_all", [], "name of a bundle to deploy as MetaStyle is: Adam on all")
_LEARN_WITH = flags.DEFINE_multi_string("learn_with", [], "NAME=WEIGHTS: another loss network for that bundle")
_DTYPE = flags.DEFINE_multi_string("dtype", [], "NAME=float32 or NAME=bfloat16: of that bundle's convolutions")
_JUDGED = flags.DEFINE_multi_string("judged", [], "name of a bundle to learn on the photograph that is judged")
_BACKEND = flags.DEFINE_multi_string("backend", [], "NAME=onnx or NAME=onnx-int8: what stylises for that bundle")
_CHECKPOINTS = flags.DEFINE_string("checkpoints", None, "the folder `checkpoints` of a run, instead of bundles")
_WATCH = flags.DEFINE_bool("watch", False, "evaluate the checkpoints to come, too, until the run's last")
_OUT = flags.DEFINE_string("out", "report", "folder for the report; what is there already is not done again")
_PART = flags.DEFINE_string("part", "0/1", "i/n: do part i of n, as one of n processes with the same --out")
flags.DEFINE_string("contents", None, "folder of photographs")
flags.DEFINE_string("styles", None, "folder of paintings")
flags.DEFINE_integer("pairs", None, "photograph-painting pairs")
flags.DEFINE_integer("size", None, "px, of the squares that are judged")
flags.DEFINE_list("steps", None, "gradient steps after which to judge")
flags.DEFINE_list("methods", None, "identity, style, gatys, johnson, random, lite: what to compare with")
flags.DEFINE_integer("baseline_pairs", None, "on how many styles `johnson` is trained")
flags.DEFINE_string("vgg", None, "what judges: vgg16, slim, or a file")
flags.DEFINE_string("lpips", None, "LPIPS weights (experiments.convert_metrics)")
flags.DEFINE_string("inception", None, "weights of ArtFID's Inception (experiments.convert_metrics)")
_SETTINGS = ("contents", "styles", "pairs", "size", "steps", "methods", "baseline_pairs", "vgg", "lpips", "inception")


def main(_: list[str]) -> None:
    from metastyle.evaluate import evaluation, follow, starts

    given = {name: flags.FLAGS[name].value for name in _SETTINGS if flags.FLAGS[name].value is not None}
    settings = evaluation.settings(_CONFIG.value, given)
    part = evaluation.parse_part(_PART.value)
    given_starts = [flag.value for flag in (_BUNDLES, _ADAM_ALL, _LEARN_WITH, _DTYPE, _JUDGED, _BACKEND)]
    if _CHECKPOINTS.value and any(given_starts):
        raise InputError("`bundle`: expected bundles or --checkpoints, got both; evaluate them one after the other")
    with stopped_at_once():
        if _CHECKPOINTS.value:
            results = follow.follow_run(settings, _CHECKPOINTS.value, _OUT.value, part, watch=_WATCH.value)
        else:
            results = evaluation.run(settings, starts.load(*given_starts), _OUT.value, part)
    if results:
        print(evaluation.summary(results, _OUT.value))


if __name__ == "__main__":
    run(main)
