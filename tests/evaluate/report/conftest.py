"""Results to report, and a browser to look at pages with."""

import json
import shutil
import subprocess

import pytest

from tests.support.reports import Reader, make_up_results


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory):
    """(results, OUT) of an evaluation that never was."""
    out = tmp_path_factory.mktemp("out")
    return make_up_results(out), out


@pytest.fixture
def results(evaluation):
    return evaluation[0]


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
