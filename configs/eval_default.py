"""What `experiments.evaluate` takes without --config: 40 held-out pairs of the sample data at 256 px.

python -m experiments.evaluate --config=configs/eval_default.py --bundle=ours=runs/tiny/bundle --out=report
"""

from metastyle.config import Evaluation, config_dict


def get_config():
    return config_dict(Evaluation)
