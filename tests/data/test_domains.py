"""Domains: what is held out, the scale that they share, and what is refused."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from metastyle import config
from metastyle.data import domains
from metastyle.errors import InputError
from tests.support.styles import picture


def write(folder, count, height=48, width=64, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        Image.fromarray(picture(height, width, i)).save(folder / f"{i:03d}.png")
    return folder


def opened(text, least=2):
    return domains.open_domains(config.DomainData(domains=text, short=24, size=16), least)


@pytest.fixture
def two(tmp_path):
    return f"photo:{write(tmp_path / 'a', 20)},art:folder:{write(tmp_path / 'b', 20, 96, 80, 100)}"


def test_a_quarter_is_held_out_by_name_alone(two, tmp_path):
    photo, art = opened(two)
    assert (photo.name, art.name) == ("photo", "art")
    for domain in (photo, art):
        parts = [{part.name(i) for i in range(len(part))} for part in (domain.train, domain.held_out)]
        assert not parts[0] & parts[1] and sum(map(len, parts)) == 20 and 1 <= len(parts[1]) <= 9
    before = [photo.held_out.name(i) for i in range(len(photo.held_out))]
    write(tmp_path / "a", 10, first=20)
    after, _ = opened(two)
    assert [name for name in map(after.held_out.name, range(len(after.held_out))) if name < "020"] == before


def test_pictures_are_brought_to_one_scale(two):
    photo, art = opened(two)
    assert photo.train[0].shape == (24, 32, 3) and art.train[0].shape == (29, 24, 3)
    assert [x.shape for x in domains.squares(art.train, 16, 3)] == [(16, 16, 3)] * 3


def test_a_domain_that_was_enlarged_once_has_no_more_blur_than_the_other(tmp_path):
    """Energy of the finest waves: enlarged pictures have a tenth of the others', and as much at the shared scale."""
    sharp = [picture(160, 160, i) for i in range(12)]
    for name, scale in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        for i, pixels in enumerate(sharp):
            noisy = np.clip(pixels + np.random.default_rng(i).normal(0, 30, pixels.shape), 0, 255).astype(np.uint8)
            large = Image.fromarray(noisy).resize((int(160 * scale),) * 2, Image.Resampling.BICUBIC)
            large.save(tmp_path / name / f"{i:03d}.png")
    data = config.DomainData(domains=f"a:{tmp_path / 'a'},b:{tmp_path / 'b'}", short=96, size=64)
    settings = config.Adversarial(data=data)
    fine = lambda x: np.square(np.diff(np.asarray(x, np.float64), 2, axis=0)).mean()
    raw = [fine(domain.source[0] / 255) for domain in domains.open_domains(data)]
    assert raw[1] < 0.15 * raw[0]
    sampler = domains.PairSampler(settings, *domains.open_domains(data))
    samples = [sampler.sample(step, 0) for step in range(30)]
    a, b = (np.mean([fine(sample[name]) for sample in samples]) for name in ("photo", "real"))
    assert 0.75 < b / a < 1.33


def test_samples_are_a_function_of_the_seed_the_step_and_the_index(two):
    settings = config.Adversarial(data=config.DomainData(domains=two, short=24, size=16))
    sampler, again = (domains.PairSampler(settings, *opened(two)) for _ in range(2))
    for name, x in sampler.sample(3, 1).items():
        np.testing.assert_array_equal(x, again.sample(3, 1)[name])
        assert x.shape == {"key": (2,), "slot": (), "read": (), "write": ()}.get(name, (16, 16, 3))
        if x.ndim:
            assert (x != sampler.sample(3, 0)[name]).any() and (x != sampler.sample(4, 1)[name]).any()
    other = dataclasses.replace(settings, run=dataclasses.replace(settings.run, seed=1))
    assert (domains.PairSampler(other, *opened(two)).sample(3, 1)["key"] != sampler.sample(3, 1)["key"]).any()


def test_rows_of_a_table(tmp_path):
    write(tmp_path / "p", 6)
    rows = [f"p/{i:03d}.png,{kind}/x{i}" for i, kind in enumerate(["Cubism", "Ukiyo_e"] * 3)]
    table = tmp_path / "index.csv"
    table.write_text("path,source\n" + "\n".join(rows) + "\n")
    (domain,) = opened(f"art:csv:{table}:source=Ukiyo_e/*", least=1)
    assert [domain.source.name(i) for i in range(3)] == ["p/001.png", "p/003.png", "p/005.png"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "`data.domains`: expected at least 2 domains, got 0"),
        ("photo", "`data.domains`: expected NAME:SOURCE,NAME:SOURCE, got 'photo'"),
        ("photo:{a}", "`data.domains`: expected at least 2 domains, got 1"),
        ("photo:{a},photo:{b}", "`data.domains`: expected each name and each source once, got 'photo:.*' again"),
        ("photo:{a},art:{a}", "`data.domains`: expected each name and each source once, got 'art:.*' again"),
        (
            "photo:{a},art:folder:{a}/../a",
            "`data.domains`: expected each name and each source once, got 'art:.*' again",
        ),
        ("photo:{a},art:{one}", "`data.domains`: expected at least 2 pictures of art to learn from, got [01] beside"),
        ("photo:{a},art:{none}", "`data.domains`: expected pictures .* got none"),
        ("photo:{a},art:csv:{a}", r"`data.domains`: expected `csv:PATH:COLUMN=PATTERN\[:PATTERN\]`, got 'csv:"),
        ("photo:{a},art:csv:{table}:kind=x", "`data.domains`: expected a column 'kind' in .*, got path, source"),
        ("photo:{a},art:csv:{table}:source=x", "`data.domains`: expected rows of .* whose source fits 'x', got none"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    (tmp_path / "none").mkdir()
    (tmp_path / "index.csv").write_text("path,source\np/a.png,b\n")
    places = {name: write(tmp_path / name, count) for name, count in (("a", 8), ("b", 8), ("one", 1))}
    text = text.format(**places, none=tmp_path / "none", table=tmp_path / "index.csv")
    with pytest.raises((InputError, FileNotFoundError), match=message):
        opened(text)
