"""8 held-out pairs of the sample data at 128 px. It takes minutes on two cores, hours with the method `johnson`.

python -m experiments.evaluate --config=configs/eval_quick.py --bundle=ours=runs/tiny/bundle --out=report

With pictures of one's own, nothing is left out: --config.contents=DIR --config.styles=DIR --config.leave_out='()'
"""

from metastyle.config import Evaluation, config_dict

# These pictures are in the benchmark of configs/eval_800.py, which must not influence any choice.
BENCHMARK = (*(f"content_000{i}.jpg" for i in (27, 28, 29, 30, 31, 40)), "udnie.jpg")


def get_config():
    return config_dict(
        Evaluation,
        contents="folder:$METASTYLE_SAMPLE_DATA/data/content/val",
        styles="folder:$METASTYLE_SAMPLE_DATA/data/style/val",
        leave_out=BENCHMARK,
        pairs=8,
        size=128,
        johnson_batch=1,
        steps=(0, 1, 2, 5, 10, 50),
        methods=("identity", "style", "fast", "good", "best", "best_offline", "gatys", "gatys3", "random"),
    )
