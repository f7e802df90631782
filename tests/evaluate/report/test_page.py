"""The page of an evaluation: it needs no other file, escapes every text, and its tables sort."""

import re

import pytest

from metastyle.evaluate.report import page
from tests.support.reports import NASTY, PAIRS, STEPS, Reader


@pytest.fixture(scope="module")
def index(evaluation):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    return page.write_page(*evaluation).read_text()


def test_page_needs_no_other_file_and_no_network(index):
    page = Reader(index)
    assert page.open == [] and "{{" not in index.replace("$_{{rows}}", "")
    assert not re.search(r"https?://|@import|url\(", index)
    assert {uri.partition(",")[0] for uri in page.all("img", "src")} == {
        "data:image/jpeg;base64",
        "data:image/png;base64",
    }
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
    page, rows = Reader(index), evaluation[0].rows
    assert page.all("th", "data-sort").count("text") == 1 + 3
    assert page.all("th", "data-sort").count("number") == 21 + 2 + 17
    numbers = page.all("td", "data-v")
    assert len(numbers) == 20 * 10 + 17 * len(rows) and "" in numbers and "61.25" in numbers
    assert "17" in page.text and "(J 3.200)" in page.text and "not reached" in page.text
    assert "48,000" in page.text and "a machine" in page.text


def test_a_missing_picture_is_told(results, evaluation):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    rows = [results.rows[0]._replace(picture="pictures/none.png"), *results.rows[1:]]
    with pytest.raises(FileNotFoundError, match="none.png"):
        page.write_page(results._replace(rows=rows), evaluation[1])


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
