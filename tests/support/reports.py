"""An evaluation that never was, and a reader of the pages that are made of it."""

import html.parser
import json
import re

import numpy as np

from metastyle.evaluate.results import About, Curve, PairNames, Reach, Results, Row, Skipped, Summary
from metastyle.images import codec

NASTY = '<b>&".jpg'
STEPS = {
    "photograph": [0],
    "style picture": [0],
    "ours": [0, 1, 9, 20],
    "gatys": [10, 100],
    "lite": [0],
    "$_{{rows}}": [5],
}
PAIRS = 4


def make_up_results(out):
    """Results whose pictures are in `out`; J of a method falls with its steps."""
    rng, rows, summary = np.random.default_rng(0), [], []
    for m, (method, steps) in enumerate(STEPS.items()):
        (out / "pictures" / str(m)).mkdir(parents=True)
        measures = {"C": 0.5, "S": 0.25, "S_mean_std": 0.125, "ssim": 0.5, "cfsd": 0.1, "grid": 1.0}
        measures |= {"S2": 0.5, "S4": 0.75, "J3": 3.0, "colors": 4.0, "contrast": 0.9, "dark": 12.5, "light": 90.0}
        measures |= {} if m < 2 else {"adapt_s": 1.5, "stylize_ms": 61.25}
        for k in steps:
            loss = 9 / (1 + m + k / 10)
            for pair in range(PAIRS if method != "lite" else PAIRS - 1):
                picture = f"pictures/{m}/{pair:03d}_{k}.png"
                codec.save(out / picture, rng.uniform(size=(32, 32, 3)).astype(np.float32))
                closed = None if pair == 3 else k / 100
                rows.append(Row(method, k, pair, loss + pair, picture=picture, closed=closed, **measures))
            closed = {"closed": k / 100, "closed_median": 0.5, "closed_ratio": 0.75, "closed_pairs": 3}
            summary.append(Summary(method, k, PAIRS, rows[-1].J - 1, **closed, **measures))
    return Results(
        settings={"contents": f"photos/{NASTY}", "size": 32, "steps": [0, 1, 9, 20], "lpips": ""},
        versions={"metastyle": "0.1.0"},
        machine="a machine",
        skipped=[Skipped(NASTY, "truncated")],
        left_out=[3],
        pairs=[PairNames(i, f"{i}{NASTY}", f"style{i}.jpg") for i in range(PAIRS)],
        methods=[About(m, "bundle" if m == "ours" else "other", 48000, f"{m} {NASTY}") for m in STEPS],
        rows=rows,
        summary=summary,
        curves={m: Curve(k, [3.0] * len(k), [2.0] * len(k), [4.0] * len(k)) for m, k in STEPS.items()},
        curve_pairs=list(range(PAIRS - 1)),
        reach=[Reach("gatys", 1, 3.2, 17), Reach("gatys", 10, 2.5, None)],
    )


class Reader(html.parser.HTMLParser):
    """What is in a page: the text that is seen, tags with their attributes, elements that are still open."""

    VOID = {"meta", "img", "input", "link", "br"}

    def __init__(self, page):
        super().__init__()
        self.text, self.tags, self.open = [], [], []
        self.feed(page)
        self.text = " ".join(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "every element is closed, in order"

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def all(self, tag, key):
        return [attrs[key] for name, attrs in self.tags if name == tag and key in attrs]


def data_of(ballot):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', ballot, re.DOTALL)[1])
