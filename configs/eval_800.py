"""The field's benchmark: all 800 pairs of 20 photographs and 40 paintings at 512 px. Report on it; never tune on it.

python -m experiments.evaluate --config=configs/eval_800.py --bundle=ours=runs/a/bundle --out=report800
"""

from metastyle.config import Evaluation, config_dict


def get_config():
    return config_dict(
        Evaluation,
        contents="folder:$METASTYLE_SAMPLE_DATA/data/benchmark800/content",
        styles="folder:$METASTYLE_SAMPLE_DATA/data/benchmark800/style",
        product=True,
        pairs=800,
        size=512,
        steps=(0, 10),
        methods=("identity", "style", "gatys"),
        gatys_pairs=16,
    )
