"""A small training on procedural photographs and styles: minutes on two cores, no data needed.

python -m experiments.meta_train --config=configs/tiny_cpu.py --workdir=runs/tiny

To train on the sample data, add --config.data.content='folder:$METASTYLE_SAMPLE_DATA/data/content/train' and likewise
--config.data.style ('.../data/style/train').
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 150, "log_every": 5, "checkpoint_every": 50, "picture_every": 150},
        data={
            "content": "procedural",
            "style": "procedural",
            "val_content": "procedural",
            "val_style": "procedural",
            "size": 64,
        },
        inner={"steps": 10, "scope": "norm", "lr": 0.2, "first_order": True},
        outer={"tasks": 1, "query": 1, "lr": 2e-3, "rate_lr": 4e-2, "warmup": 20, "multi_step": 150},
    )
