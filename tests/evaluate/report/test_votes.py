"""Votes that are blind and counted right."""

import base64
import json
import re

import pytest

from metastyle.errors import InputError
from metastyle.evaluate.report.votes import count_preferences, read_votes, write_vote_page
from metastyle.evaluate.results import BOUNDS
from tests.support.command import run_main
from tests.support.reports import NASTY, PAIRS, STEPS, Reader, data_of


@pytest.fixture(scope="module")
def ballot(evaluation):
    return write_vote_page(*evaluation).read_text()


def test_vote_page_is_blind_and_needs_nothing_else(ballot):
    page = Reader(ballot)
    assert page.open == [] and not re.search(r"https?://", ballot)
    shown = page.text + " " + " ".join(value or "" for _, attrs in page.tags for value in attrs.values())
    assert not (set(STEPS) - set(BOUNDS)) & set(shown.lower().split())
    data = data_of(ballot)
    names = [base64.b64decode(name).decode() for name in data["names"]]
    assert sorted(names) == sorted(set(STEPS) - set(BOUNDS))
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
    again = write_vote_page(results, out).read_text()
    other = data_of(write_vote_page(results, out, seed=1).read_text())
    assert again == ballot and other["choices"] != data_of(ballot)["choices"] and other["key"] != data_of(ballot)["key"]


def test_no_vote_page_without_two_methods_or_inputs(results, tmp_path):
    for kept in ({"photograph", "style picture", "ours"}, {"ours", "gatys", "lite"}):
        (tmp_path / "vote.html").write_text("of an earlier evaluation")
        few = results._replace(rows=[row for row in results.rows if row.method in kept])
        assert write_vote_page(few, tmp_path) is None and not (tmp_path / "vote.html").exists()


def vote(winner, question="content", left="a", right="b", **more):
    return {"pair": 0, "question": question, "left": left, "right": right, "winner": winner, "seconds": 1.5, **more}


def test_preferences_by_hand():
    votes = [vote("a")] * 5 + [vote("a", left="b", right="a")] * 2 + [vote("b")] + [vote(None)] * 2
    votes += [vote("c", left="c", right="a")] * 10 + [vote("b", question="style")]
    found = {(p.question, p.method, p.against): p for p in count_preferences(votes)}
    assert list(found) == [
        ("content", "c", None),
        ("content", "a", None),
        ("content", "b", None),
        ("content", "c", "a"),
        ("content", "a", "b"),
        ("style", "b", None),
        ("style", "a", None),
        ("style", "b", "a"),
    ]
    numbers = lambda *key: [getattr(found[key], name) for name in ("wins", "comparisons", "share", "low", "high")]
    # Wilson's intervals of 8, 0 and 10 in 10, from tables.
    assert numbers("content", "a", "b") == pytest.approx([8, 10, 0.8, 0.4902, 0.9433], abs=1e-4)
    assert numbers("content", "b", None) == pytest.approx([2, 10, 0.2, 0.0567, 0.5098], abs=1e-4)
    assert numbers("content", "c", "a") == pytest.approx([10, 10, 1, 0.7225, 1], abs=1e-4)
    assert numbers("content", "a", None)[:3] == [8, 20, 0.4]
    assert numbers("style", "a", None)[:4] == [0, 1, 0, 0]


@pytest.mark.parametrize(("wins", "count"), [(0, 1), (1, 3), (20, 40), (39, 40)])
def test_an_interval_holds_the_shares_that_are_less_than_1_96_deviations_away(wins, count):
    one = count_preferences([vote("a")] * wins + [vote("b")] * (count - wins))
    one = next(p for p in one if p.method == "a" and p.against is None)
    for bound in (one.low, one.high):
        assert (one.share - bound) ** 2 == pytest.approx(1.959964**2 * bound * (1 - bound) / count, abs=1e-6)


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
        count_preferences(votes)


def test_a_vote_in_two_files_counts_once(tmp_path):
    early, late = [vote("a", voter="Ann")], [vote("a", voter="Ann"), vote("b", voter="Ann"), vote("a", voter="Ben")]
    for name, votes in (("early.json", early), ("late.json", late)):
        (tmp_path / name).write_text(json.dumps(votes))
    assert read_votes([tmp_path / "early.json", tmp_path / "late.json"]) == late


@pytest.mark.processes
def test_votes_at_the_command_line(tmp_path):
    (tmp_path / "good.json").write_text(json.dumps([vote("a")] * 2 + [vote(None, pair=1), vote("b", "style")]))
    (tmp_path / "bad.json").write_text("[{")
    (tmp_path / "object.json").write_text("{}")

    def start(*names):
        done = run_main("votes", "--votes=" + ",".join(str(tmp_path / name) for name in names))
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
    assert count_preferences(told)
    assert not set(names) & set(visible.lower().split())
