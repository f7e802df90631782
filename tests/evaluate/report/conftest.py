import copy
import json
import shutil
import subprocess

import numpy as np
import pytest

from metastyle.images import codec
from tests.support.reports import NASTY, PAIRS, STEPS, Reader


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """(results, OUT) of an evaluation that never was; J of a method falls with its steps."""
    out, rng = tmp_path_factory.mktemp("out"), np.random.default_rng(0)
    rows, summary = [], []
    for m, (method, steps) in enumerate(STEPS.items()):
        (out / "pictures" / str(m)).mkdir(parents=True)
        for k in steps:
            for pair in range(PAIRS if method != "lite" else PAIRS - 1):
                picture = f"pictures/{m}/{pair:03d}_{k}.png"
                codec.save(out / picture, rng.uniform(size=(32, 32, 3)).astype(np.float32))
                measures = {"J": 9 / (1 + m + k / 10) + pair, "C": 0.5, "S": 0.25, "S_mean_std": 0.125, "ssim": 0.5}
                measures |= {"cfsd": 0.1, "grid": 1.0, "lpips": None, "closed": None if pair == 3 else k / 100}
                measures |= {"adapt_s": None if m < 2 else 1.5, "stylize_ms": None if m < 2 else 61.25}
                rows.append({"method": method, "steps": k, "pair": pair, **measures, "picture": picture})
            mean = {key: rows[-1][key] for key in measures} | {"J": rows[-1]["J"] - 1, "closed": k / 100}
            of_closed = {"closed_median": 0.5, "closed_ratio": 0.75, "closed_pairs": 3, "artfid": None}
            summary.append({"method": method, "steps": k, "pairs": PAIRS, **mean, **of_closed})
    curves = {
        name: {"steps": steps, "J": [3.0] * len(steps), "low": [2.0] * len(steps), "high": [4.0] * len(steps)}
        for name, steps in STEPS.items()
    }
    results = {
        "settings": {"contents": f"photos/{NASTY}", "size": 32, "steps": [0, 1, 9, 20], "lpips": ""},
        "versions": {"metastyle": "0.1.0"},
        "machine": "a machine",
        "skipped": [{"file": NASTY, "reason": "truncated"}],
        "left_out": [3],
        "pairs": [{"pair": i, "content": f"{i}{NASTY}", "style": f"style{i}.jpg"} for i in range(PAIRS)],
        "methods": [
            {"name": m, "kind": "bundle" if m == "ours" else "other", "pictures_seen": 48000, "note": f"{m} {NASTY}"}
            for m in STEPS
        ],
        "rows": rows,
        "summary": summary,
        "curves": curves,
        "curve_pairs": list(range(PAIRS - 1)),
        "reach": [
            {"method": "gatys", "target": 1, "J": 3.2, "steps": 17},
            {"method": "gatys", "target": 10, "J": 2.5, "steps": None},
        ],
    }
    return results, out


@pytest.fixture
def results(evaluation):
    """A copy to change."""
    return copy.deepcopy(evaluation[0])


WATCH = """<script>
const failures = [];
addEventListener("error", (event) => failures.push(event.message));
addEventListener("securitypolicyviolation", (event) => failures.push(event.blockedURI));
console.error = console.warn = (...what) => failures.push(what.join(" "));
</script>"""
TRY = """<script>
const said = (() => { try { %s } catch (error) { failures.push(String(error)); } })();
document.documentElement.innerHTML = "";
document.documentElement.setAttribute("data-said", JSON.stringify({ said, failures }));
</script>"""


@pytest.fixture
def browse(tmp_path):
    """Opens a page in Chromium, runs a script in it and gives what the script returns; the page must not fail."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no Chromium here")

    def run(page, script):
        path = tmp_path / "page.html"
        page = page.replace("<head>", "<head>" + WATCH, 1)
        path.write_text(page.replace("</body>", TRY % script + "</body>"))
        flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom")
        done = subprocess.run([browser, *flags, path.as_uri()], capture_output=True, text=True, timeout=100)
        found = json.loads(Reader(done.stdout).all("html", "data-said")[0])
        assert found["failures"] == [], found
        return found["said"]

    return run
