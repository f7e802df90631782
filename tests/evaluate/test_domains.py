"""KID by its definition, its error, and the measures of methods between their bounds."""

import numpy as np
import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.evaluate import domains
from metastyle.evaluate.report.table import markdown
from metastyle.evaluate.studies import domain_report
from metastyle.nets import vgg
from metastyle.stylize import stylizer
from tests.data.test_domains import write
from tests.support.numpy_nets import uniform
from tests.support.places import BUNDLE


def drawn(count, shift=0.0, parts=4, size=6, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 1, size)) + 0.3 * rng.normal(size=(count, parts, size)) + shift).astype(np.float32)


def test_kid_is_the_discrepancy_over_pairs_of_different_pictures():
    a, b = drawn(5), drawn(4, 1.0, seed=1)
    kernel = lambda x, y: np.mean([[(p @ q / 6 + 1) ** 3 for p in x] for q in y])
    pairs = lambda x: np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])
    expected = pairs(a) + pairs(b) - 2 * np.mean([[kernel(x, y) for x in a] for y in b])
    assert domains.kid(a, b).value == pytest.approx(expected, rel=1e-4)


def test_kid_of_one_distribution_is_zero_in_the_mean_and_the_error_is_its_spread():
    found = [domains.kid(drawn(30, seed=2 * i), drawn(20, seed=2 * i + 1)) for i in range(60)]
    values = np.array([x.value for x in found])
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5
    assert 0.5 < np.mean([x.error for x in found]) / values.std() < 2


def test_quarters_of_one_picture_are_no_further_samples():
    """The same parts four times do not make the error smaller."""
    a, b = drawn(12, parts=1), drawn(12, 0.5, parts=1, seed=1)
    once, often = domains.kid(a, b), domains.kid(a.repeat(4, 1), b.repeat(4, 1))
    assert often.value == pytest.approx(once.value, rel=1e-6) and often.error == pytest.approx(once.error, rel=1e-6)


def test_one_picture_has_no_distance():
    with pytest.raises(ValueError, match="expected at least two pictures on each side, got 1 and 3"):
        domains.kid(drawn(1), drawn(3))


def test_methods_lie_between_the_bounds():
    params = vgg.random_params()
    photographs = uniform(6, 32, 32, 3)
    art = photographs[:, ::8, ::8].repeat(8, 1).repeat(8, 2)
    measure = domains.Measure(params, photographs[:4], art, art[::-1] ** 1.1)
    outer, inner = measure.bounds("photographs", "training pictures")
    same, outputs = measure.of("same", lambda x: x)
    blocks, _ = measure.of("blocks", lambda x: x[::8, ::8].repeat(8, 0).repeat(8, 1), lambda x: x)
    back, _ = measure.of("back", lambda x: 1 - x, lambda x: 1 - x)
    assert same.cycle is None and blocks.cycle < 0.3 and 0.95 < back.cycle < 1
    assert (outer.method, inner.method) == ("photographs", "training pictures")
    assert max(inner.kid, blocks.kid) < 0.2 * outer.kid and same.kid == pytest.approx(outer.kid, rel=0.02)
    assert same.recall == 1 and same.C < 1e-3 < blocks.C and outputs.shape == (4, 32, 32, 3)
    table = markdown(domains.table([outer, same]))
    assert table.splitlines()[2].startswith("| photographs | ") and table.splitlines()[3].count("|") == 7


@pytest.mark.slow
def test_the_study_writes_a_page(tmp_path, no_compile_cache):
    text = f"photo:{write(tmp_path / 'a', 16)},art:{write(tmp_path / 'b', 16, first=100)}"
    data = config.DomainData(domains=text, short=40, size=32)
    style = stylizer.load(BUNDLE).adapt(str(tmp_path / "b/100.png"), steps=0)
    style.save(tmp_path / "x.safetensors")
    styles = [f"one={tmp_path / 'x.safetensors'}"]
    compared = domain_report.Compared(styles, styles)
    table = domain_report.run(data, compared, str(BUNDLE), 5, vgg.random_params(), tmp_path / "out")
    names = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert names == ["photo as they are", "art to learn from", "guess for art", "one"]
    assert table.splitlines()[-1].split("|")[-2].strip() and not table.splitlines()[-2].split("|")[-2].strip()
    page = (tmp_path / "out/domains.html").read_text()
    wrong = domain_report.Compared(styles, [styles[0].replace("one=", "two=")])
    with pytest.raises(InputError, match="`back`: expected names of --style_file, one, got two"):
        domain_report.run(data, wrong, str(BUNDLE), 5, vgg.random_params(), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert "To art" in page and (tmp_path / "out/domains.png").is_file()
