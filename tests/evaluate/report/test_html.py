"""Pictures in pages."""

from metastyle.evaluate.report import html


def test_pictures_of_a_page_keep_to_a_budget(evaluation, monkeypatch):
    results, out = evaluation
    files = [row.picture for row in results.rows]
    sizes = []
    for budget in (13_000_000, 60_000, 1):
        monkeypatch.setattr(html, "_BUDGET", budget)
        sizes.append(sum(map(len, html.encode_pictures(out, files).values())))
    assert 60_000 >= sizes[1] > sizes[2] and sizes[0] > sizes[1]
