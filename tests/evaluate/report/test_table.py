"""The table for a terminal."""

import re

from metastyle.evaluate.report import table
from tests.support.reports import NASTY, STEPS


def test_table_has_a_line_per_method_and_steps_and_aligns_its_columns(results):
    head, *lines = table.format_table(results).splitlines()[:11]
    assert " ".join(head.split()) == (
        "method steps J C S S2 S4 J3 S_mean_std closed median ratio SSIM CFSD grid colors contrast dark light adapt_s "
        "stylize_ms pairs"
    )
    assert {len(line) for line in lines} == {len(head)}
    assert [line[:13].strip() for line in lines] == [name for name, steps in STEPS.items() for _ in steps]
    assert re.sub(" +", " ", lines[0]) == (
        "photograph 0 11.000 0.500 0.250 0.500 0.750 3.000 0.125 0.000 0.500 0.750 0.500 0.100 1.00 4.00 0.90 12 90 "
        "- - 4"
    )
    assert lines[5].split()[-3:] == ["1.50", "61.2", "4"]


def test_table_says_what_its_numbers_stand_on(results):
    text = table.format_table(results)
    assert "on 3 of 4 pairs, without 3, where Gatys's hardly improves on the photograph" in text
    assert f"skipped, since they could not be read: {NASTY!r} (truncated)" in text
    assert "\nLPIPS: not measured, it needs the weights of its network\n" in text
    assert "\nclosed3: not measured, it needs the photograph and gatys3\n" in text
    needs = "the weights of LPIPS's and of its own network, and a method that is run on all pairs, at least 2"
    assert text.endswith(f"\nArtFID: not measured, it needs {needs}")

    changed = results.summary[2]._replace(lpips=0.25, closed_pairs=2)
    summary = [*results.summary[:2], changed, *results.summary[3:]]
    text = table.format_table(results._replace(summary=summary, skipped=results.skipped * 5))
    assert "LPIPS" in text.splitlines()[0] and "\nArtFID: not measured" in text
    assert "on 2 to 3 of 4 pairs" in text and text.count("truncated") == 3 and "and 2 more" in text

    unmeasured = results._replace(summary=[entry._replace(closed=None) for entry in results.summary], skipped=[])
    assert "closed: not measured" in table.format_table(unmeasured)
    assert "skipped" not in table.format_table(unmeasured)
