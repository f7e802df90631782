"""What people see of an evaluation: tables, pages that need nothing else, votes that are blind and counted right."""

import base64
import copy
import html.parser
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.evaluate.report import page as report
from metastyle.images import codec
from tests.support.places import ROOT

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


@pytest.fixture(scope="module")
def index(evaluation):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    return report.page(*evaluation).read_text()


@pytest.fixture(scope="module")
def ballot(evaluation):
    return report.vote_page(*evaluation).read_text()


def data_of(ballot):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', ballot, re.DOTALL)[1])


# --- the table


def test_table_has_a_line_per_method_and_steps_and_aligns_its_columns(results):
    head, *lines = report.table(results).splitlines()[:11]
    assert " ".join(head.split()) == (
        "method steps J C S S_mean_std closed median ratio SSIM CFSD grid adapt_s stylize_ms pairs"
    )
    assert {len(line) for line in lines} == {len(head)}
    assert [line[:13].strip() for line in lines] == [name for name, steps in STEPS.items() for _ in steps]
    assert re.sub(" +", " ", lines[0]) == (
        "photograph 0 11.000 0.500 0.250 0.125 0.000 0.500 0.750 0.500 0.100 1.00 - - 4"
    )
    assert lines[5].split()[-3:] == ["1.50", "61.2", "4"]


def test_table_says_what_its_numbers_stand_on(results):
    text = report.table(results)
    assert "on 3 of 4 pairs, without 3, where Gatys's hardly improves on the photograph" in text
    assert f"skipped, since they could not be read: {NASTY!r} (truncated)" in text
    assert "LPIPS and ArtFID: not measured, no weights were passed" in text

    results["summary"][2] |= {"lpips": 0.25, "closed_pairs": 2}
    results["skipped"] *= 5
    text = report.table(results)
    assert "LPIPS" in text.splitlines()[0] and "\nArtFID: not measured" in text
    assert "on 2 to 3 of 4 pairs" in text and text.count("truncated") == 3 and "and 2 more" in text

    for entry in results["summary"]:
        entry |= {"closed": None}
    assert "closed: not measured" in report.table(results | {"skipped": []})
    assert "skipped" not in report.table(results | {"skipped": []})


# --- the page


def test_page_needs_no_other_file_and_no_network(index):
    page = Reader(index)
    assert page.open == [] and "{{" not in index.replace("$_{{rows}}", "")
    assert not re.search(r"https?://|@import|url\(", index)
    assert {uri.partition(",")[0] for uri in page.all("img", "src")} == {
        "data:image/jpeg;base64", "data:image/png;base64",
    }  # fmt: skip
    assert set(page.all("a", "href")) == {"#" + place for place in page.all("section", "id") + page.all("h3", "id")}
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}


def test_page_escapes_every_text(index):
    page = Reader(index)
    assert NASTY not in index
    for text in (f"photos/{NASTY}", f"2{NASTY}", f"ours {NASTY}", f"{NASTY} (truncated)", "$_{{rows}}"):
        assert text in page.text, text


def test_page_shows_first_tenth_and_last_of_a_bundle_and_the_last_of_others(index):
    page, looks = Reader(index), ["ours, 0 steps", "ours, 9 steps", "ours, 20 steps", "gatys, 100 steps"]
    looks = ["photograph", "style picture", *looks, "lite", "$_{{rows}}, 5 steps"]
    shown = [alt for alt in page.all("img", "alt") if alt in looks]
    assert shown == [look for pair in range(PAIRS) for look in looks if (look, pair) != ("lite", 3)]
    assert ("div", {"class": "blank"}) in page.tags


def test_page_has_tables_that_sort_and_the_steps_to_reach(index, evaluation):
    page, rows = Reader(index), evaluation[0]["rows"]
    assert page.all("th", "data-sort").count("text") == 1 + 3
    assert page.all("th", "data-sort").count("number") == 14 + 2 + 10
    numbers = page.all("td", "data-v")
    assert len(numbers) == 13 * 10 + 10 * len(rows) and "" in numbers and "61.25" in numbers
    assert "17" in page.text and "(J 3.200)" in page.text and "not reached" in page.text
    assert "48,000" in page.text and "a machine" in page.text


def test_pictures_of_a_page_keep_to_a_budget(evaluation, index, tmp_path, monkeypatch):
    results, out = evaluation
    files = [row["picture"] for row in results["rows"]]
    sizes = []
    for budget in (13_000_000, 60_000, 1):
        monkeypatch.setattr(report, "_BUDGET", budget)
        sizes.append(sum(map(len, report._encoded(out, files).values())))
    assert 60_000 >= sizes[1] > sizes[2] and sizes[0] > sizes[1]


def test_a_missing_picture_is_told(results, evaluation):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    results["rows"][0]["picture"] = "pictures/none.png"
    with pytest.raises(FileNotFoundError, match="none.png"):
        report.page(results, evaluation[1])


def test_plot_takes_names_as_they_are(results, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for name in ("$x_{", "_y"):  # neither mathematics nor hidden
        results["methods"].append({"name": name, "kind": "other", "pictures_seen": None, "note": ""})
        results["summary"].append({"method": name, "steps": 0, "J": 4.0})
        results["curves"][name] = {"steps": [0, 100], "J": [4.0, None], "low": [3.0, None], "high": [5.0, None]}
    report.plot(results, tmp_path / "curve.png")
    picture, _ = codec.load(tmp_path / "curve.png")
    assert picture.shape[1] > 1000 and picture.std() > 0.05


def test_without_matplotlib(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'matplotlib, which is not installed; type `pip install "metastyle\[eval\]"`'):
        report.plot(results, tmp_path / "curve.png")
    assert not list(tmp_path.iterdir())


# --- votes


def test_vote_page_is_blind_and_needs_nothing_else(ballot):
    page = Reader(ballot)
    assert page.open == [] and not re.search(r"https?://", ballot)
    shown = page.text + " " + " ".join(value or "" for _, attrs in page.tags for value in attrs.values())
    assert not (set(STEPS) - set(report.INPUTS)) & set(shown.lower().split())
    data = data_of(ballot)
    names = [base64.b64decode(name).decode() for name in data["names"]]
    assert sorted(names) == sorted(set(STEPS) - set(report.INPUTS))
    assert "ours" not in json.dumps(data) and NASTY not in ballot


def test_choices_come_in_rounds_in_which_every_two_methods_meet_once_for_each_question(ballot):
    data = data_of(ballot)
    lite = [base64.b64decode(name) for name in data["names"]].index(b"lite")
    choices, meetings = data["choices"], 2 * 6  # of four methods, for two questions
    for start in range(0, 3 * meetings, meetings):
        met = {(question, *sorted((left, right))) for _, question, left, right in choices[start : start + meetings]}
        assert len(met) == meetings
    assert len(choices) == meetings * PAIRS - 2 * 3  # lite lacks a pair
    assert len({(pair, question, *sorted(sides)) for pair, question, *sides in choices}) == len(choices)
    assert all((pair, lite) != (3, side) for pair, _, *sides in choices for side in sides)
    assert {left < right for _, _, left, right in choices} == {True, False}
    for pair, question, left, right in choices:
        for picture in (data["references"][question], data["outputs"][left], data["outputs"][right]):
            assert picture[str(pair)].startswith("data:image/jpeg;base64,")


def test_seed_draws_the_choices(evaluation, ballot):
    results, out = evaluation
    again = report.vote_page(results, out).read_text()
    other = data_of(report.vote_page(results, out, seed=1).read_text())
    assert again == ballot and other["choices"] != data_of(ballot)["choices"] and other["key"] != data_of(ballot)["key"]


def test_no_vote_page_without_two_methods_or_inputs(results, tmp_path):
    for kept in ({"photograph", "style picture", "ours"}, {"ours", "gatys", "lite"}):
        (tmp_path / "vote.html").write_text("of an earlier evaluation")
        few = results | {"rows": [row for row in results["rows"] if row["method"] in kept]}
        assert report.vote_page(few, tmp_path) is None and not (tmp_path / "vote.html").exists()


def vote(winner, question="content", left="a", right="b", **more):
    return {"pair": 0, "question": question, "left": left, "right": right, "winner": winner, "seconds": 1.5, **more}


def test_preferences_by_hand():
    votes = [vote("a")] * 5 + [vote("a", left="b", right="a")] * 2 + [vote("b")] + [vote(None)] * 2
    votes += [vote("c", left="c", right="a")] * 10 + [vote("b", question="style")]
    found = {(p["question"], p["method"], p["against"]): p for p in report.preferences(votes)}
    assert list(found) == [
        ("content", "c", None), ("content", "a", None), ("content", "b", None), ("content", "c", "a"),
        ("content", "a", "b"), ("style", "b", None), ("style", "a", None), ("style", "b", "a"),
    ]  # fmt: skip
    numbers = lambda *key: [found[key][name] for name in ("wins", "comparisons", "share", "low", "high")]
    # Wilson's intervals of 8, 0 and 10 in 10, from tables.
    assert numbers("content", "a", "b") == pytest.approx([8, 10, 0.8, 0.4902, 0.9433], abs=1e-4)
    assert numbers("content", "b", None) == pytest.approx([2, 10, 0.2, 0.0567, 0.5098], abs=1e-4)
    assert numbers("content", "c", "a") == pytest.approx([10, 10, 1, 0.7225, 1], abs=1e-4)
    assert numbers("content", "a", None)[:3] == [8, 20, 0.4]
    assert numbers("style", "a", None)[:4] == [0, 1, 0, 0]


@pytest.mark.parametrize(("wins", "count"), [(0, 1), (1, 3), (20, 40), (39, 40)])
def test_an_interval_holds_the_shares_that_are_less_than_1_96_deviations_away(wins, count):
    one = report.preferences([vote("a")] * wins + [vote("b")] * (count - wins))
    one = next(p for p in one if p["method"] == "a" and p["against"] is None)
    for bound in (one["low"], one["high"]):
        assert (one["share"] - bound) ** 2 == pytest.approx(1.959964**2 * bound * (1 - bound) / count, abs=1e-6)


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([], "expected at least one vote, got none"),
        ([vote("a"), "a"], "expected an object .* got 'a' as vote 1"),
        ([{"question": "style"}], "expected the key 'pair' in vote 0, got question"),
        ([vote("a", question="both")], "expected the question content or style, got 'both'"),
        ([vote("a", question=["style"])], "expected the question content or style"),
        ([vote("c")], "expected the winner 'a', 'b' or null, got 'c' in vote 0"),
        ([vote("a", right="a")], "expected the names of two methods, got 'a' and 'a'"),
        ([vote(1, left=1)], "expected the names of two methods, got 1 and 'b'"),
    ],
)
def test_malformed_votes(votes, message):
    with pytest.raises(InputError, match=f"`votes`: {message}"):
        report.preferences(votes)


def test_a_vote_in_two_files_counts_once(tmp_path):
    early, late = [vote("a", voter="Ann")], [vote("a", voter="Ann"), vote("b", voter="Ann"), vote("a", voter="Ben")]
    for name, votes in (("early.json", early), ("late.json", late)):
        (tmp_path / name).write_text(json.dumps(votes))
    assert report.read_votes([tmp_path / "early.json", tmp_path / "late.json"]) == late


def test_votes_at_the_command_line(tmp_path):
    (tmp_path / "good.json").write_text(json.dumps([vote("a")] * 2 + [vote(None, pair=1), vote("b", "style")]))
    (tmp_path / "bad.json").write_text("[{")
    (tmp_path / "object.json").write_text("{}")

    def start(*names):
        line = [sys.executable, "-m", "experiments.votes", "--votes=" + ",".join(str(tmp_path / n) for n in names)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=100)
        return done.returncode, done.stdout, done.stderr

    status, out, err = start("good.json")
    assert (status, err) == (0, "")
    assert "which keeps the photograph better (content)" in out and "which has the style better (style)" in out
    assert re.search(r"a +all others +1\.5 +2 +0\.750 +0\.\d{3} to 0\.\d{3}\n", out)
    for name, message in (
        ("bad.json", "cannot read"),
        ("object.json", "expected a list"),
        ("none.json", "no such file"),
    ):
        status, out, err = start(name)
        assert (status, out) == (1, "") and err.startswith("error: ") and message in err and err.count("\n") == 1


# --- in a browser

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


def test_page_in_a_browser(browse, index):
    sorts, filters, viewer = browse(
        index,
        """
        const head = [...document.querySelectorAll("#summary th")].find((th) => th.textContent.startsWith("J"));
        const column = () => [...document.querySelectorAll("#summary tbody tr")].map((row) => row.cells[2].textContent);
        const adapt = [...document.querySelectorAll("#summary th")].find((th) => th.textContent.startsWith("adapt"));
        const sorts = [column()];
        for (const th of [head, head, adapt]) { th.querySelector("button").click(); sorts.push(column()); }

        const count = () => document.getElementById("count").textContent, filters = [count()];
        for (const [id, value] of [["method", "ours"], ["steps", "9"], ["file", "STYLE2"]]) {
          document.getElementById(id).value = value;
          document.getElementById(id).dispatchEvent(new Event("input"));
          filters.push(count());
        }

        document.querySelector(".pictures button").click();
        const text = () => viewer.querySelector("p").textContent, shown = [viewer.open, text()];
        for (const key of ["ArrowLeft", "ArrowRight", "ArrowDown"]) {
          viewer.dispatchEvent(new KeyboardEvent("keydown", { key }));
          shown.push(text());
        }
        viewer.querySelector("[data-close]").click();
        return [sorts, filters, [...shown, viewer.open]];
        """,
    )
    asked, up, down, missing_last = sorts
    assert up == sorted(asked, key=float) and down == up[::-1] and up != asked
    assert set(missing_last[-2:]) == {asked[0], asked[1]}  # the bounds take no time to fit
    rows = sum(len(steps) for steps in STEPS.values()) * PAIRS - 1
    assert filters == [f"{n} of {rows} rows" for n in (rows, 4 * PAIRS, PAIRS, 1)]
    opened, first, left, right, below, still_open = viewer
    assert opened and not still_open and first == left
    assert first.startswith("photograph (J") and f"pair 0: 0{NASTY} in the style of style0.jpg" in first
    assert right.startswith("style picture (J") and "pair 0" in right
    assert below.startswith("style picture (J") and "pair 1" in below


def test_votes_in_a_browser(browse, ballot):
    kept, told, count, visible = browse(
        ballot,
        """
        const press = (key, more) => document.dispatchEvent(new KeyboardEvent("keydown", { key, ...more }));
        const visible = document.body.innerText;
        for (const key of ["ArrowLeft", "ArrowRight", "ArrowDown", "ArrowLeft", "Backspace"]) press(key);
        press("ArrowLeft", { repeat: true });
        document.getElementById("right").click();
        document.getElementById("voter").value = "Ann";
        return [JSON.parse(localStorage.getItem(localStorage.key(0))), told(),
          document.getElementById("count").textContent, visible];
        """,
    )
    assert [answer for answer, _ in kept["votes"]] == [-1, 1, 0, 1]
    data = data_of(ballot)
    names = [base64.b64decode(name).decode() for name in data["names"]]
    for vote, (pair, question, left, right), side in zip(told, data["choices"], (0, 1, None, 1), strict=False):
        sides = (names[left], names[right])
        assert (vote["pair"], vote["question"], vote["left"], vote["right"]) == (pair, question, *sides)
        assert vote["winner"] == (None if side is None else sides[side]) and vote["voter"] == "Ann"
        assert vote["seconds"] >= 0
    assert len(told) == 4 and count == f"4 of {len(data['choices'])}"
    assert report.preferences(told)
    assert not set(names) & set(visible.lower().split())
