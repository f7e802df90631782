"""Animations of an adaptation: which steps they show, how long, and that frames hold the pictures and the curve."""

import sys

import numpy as np
import pytest
from PIL import Image

from metastyle.errors import InputError
from metastyle.stylize import preview

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
ORANGE, BLUE = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)


def _smooth(height, width, level=0.5):
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return np.stack([level * x, 0.8 - 0.5 * y, np.full_like(x, level)], -1).astype(np.float32)


def _frames(steps, height=320, width=400):
    return {k: _smooth(height, width, 0.2 + 0.6 * k / max(steps, 1)) for k in preview.choose_steps(steps)}


def _read(path):
    """(frames uint8 [n, H, W, 3], durations in ms)."""
    found, durations = [], []
    with Image.open(path) as animation:
        assert animation.n_frames == 1 or animation.info["loop"] == 0
        for k in range(animation.n_frames):
            animation.seek(k)
            found.append(np.asarray(animation.convert("RGB")))
            durations.append(animation.info["duration"])
    return np.stack(found), durations


def _where(frame, colour):
    """The middle of the pixels of about this colour, as (x, y)."""
    return np.argwhere(np.abs(frame.astype(int) - colour).max(-1) < 60).mean(0)[::-1]


def test_chosen():
    assert preview.choose_steps(0) == {0}
    assert preview.choose_steps(10) == set(range(11))
    assert preview.choose_steps(59) == set(range(60))
    assert preview.choose_steps(10, max_frames=3) == {0, 5, 10}
    for steps in (60, 61, 100, 119, 1000, 12345):
        found = sorted(preview.choose_steps(steps))
        assert len(found) == 60 and found[0] == 0 and found[-1] == steps
        assert np.ptp(np.diff(found)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["webp", "gif", "WEBP"])
@pytest.mark.parametrize("steps, paces", [(3, [400] * 3 + [2000]), (200, [100] * 59 + [2000])])
def test_frames_and_durations(tmp_path, suffix, steps, paces):
    path = tmp_path / f"a.{suffix}"
    preview.write(path, _frames(steps, 24, 40), [9 / (1 + k) for k in range(steps)])
    found, durations = _read(path)
    assert durations == paces and len(found) == len(paces)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix, tolerance", [("webp", 8), ("gif", 20)])
@pytest.mark.parametrize("height, width", [(320, 400), (400, 320), (300, 300)])
def test_frames_hold_the_pictures(tmp_path, suffix, tolerance, height, width):
    frames = _frames(4, height, width)
    preview.write(tmp_path / f"a.{suffix}", frames, [5.0, 4.0, 3.0, 2.0])
    found, _ = _read(tmp_path / f"a.{suffix}")
    expected = (height + 240, width) if width > height else (height, width + 416)
    assert found.shape[1:3] == expected
    for frame, picture in zip(found, frames.values(), strict=True):
        assert np.abs(frame[:height, :width] - 255.0 * picture)[2:-2, 2:-2].max() <= tolerance


def test_small_pictures_are_in_the_middle_beside_a_panel_of_the_least_size(tmp_path):
    dark = np.zeros((40, 20, 3), np.uint8)
    preview.write(tmp_path / "tall.gif", {0: dark}, [1.0])
    (frame,), _ = _read(tmp_path / "tall.gif")
    assert frame.shape == (288, 20 + 416, 3)
    assert (frame[124:164, :20] == 0).all() and (frame[:124, :20] > 250).all() and (frame[164:, :20] > 250).all()
    preview.write(tmp_path / "wide.gif", {0: dark.swapaxes(0, 1)}, [1.0])
    (frame,), _ = _read(tmp_path / "wide.gif")
    assert frame.shape == (20 + 240, 384, 3)
    assert (frame[:20, 172:212] == 0).all() and (frame[:20, :172] > 250).all() and (frame[:20, 212:] > 250).all()


def test_the_dot_goes_along_the_curve(tmp_path):
    losses = [8.0, 6.0, 7.0, 5.0, 4.5]
    preview.write(tmp_path / "a.webp", _frames(4, 300, 300), losses)
    panels = _read(tmp_path / "a.webp")[0][:, 40:, 300:]  # without the header, which is orange too
    dots = np.array([_where(panel, ORANGE) for panel in panels])
    np.testing.assert_allclose(np.diff(dots[:, 0]), np.diff(dots[:, 0]).mean(), atol=1.5)
    slope = np.polyfit(losses, dots[:, 1], 1)
    assert slope[0] < -20  # px for a loss of 1
    np.testing.assert_allclose(np.polyval(slope, losses), dots[:, 1], atol=1.5)
    painted = [(np.abs(panel.astype(int) - BLUE).max(-1) < 60).sum() for panel in panels]
    assert painted[0] == 0 and painted == sorted(painted) and painted[-1] > 200


def test_a_wide_range_of_losses_is_logarithmic(tmp_path):
    losses = [1000.0, 100.0, 10.0, 1.0]
    preview.write(tmp_path / "a.webp", _frames(3, 300, 300), losses)
    dots = np.array([_where(frame[40:, 300:], ORANGE) for frame in _read(tmp_path / "a.webp")[0]])
    np.testing.assert_allclose(np.diff(dots[:, 1]), np.diff(dots[:, 1]).mean(), atol=2)
    preview.write(tmp_path / "b.webp", _frames(3, 300, 300), [-1.0, *losses[1:]])  # no logarithm of -1
    dots = np.array([_where(frame[40:, 300:], ORANGE) for frame in _read(tmp_path / "b.webp")[0]])
    assert abs(dots[3, 1] - dots[0, 1]) < 10


def test_losses_before_each_step_leave_the_dot_at_the_last_one(tmp_path):
    preview.write(tmp_path / "a.webp", _frames(2, 300, 300), [3.0, 2.0])
    found = _read(tmp_path / "a.webp")[0]
    np.testing.assert_allclose(_where(found[2, 40:, 300:], ORANGE), _where(found[1, 40:, 300:], ORANGE), atol=0.5)
    assert np.abs(found[2, :36, 300:].astype(int) - found[1, :36, 300:]).max() > 100  # the header tells them apart


@pytest.mark.parametrize("losses", [(), [], [2.0], np.array([2.0, 2.0]), (0.0, 0.0)])
def test_few_or_equal_losses(tmp_path, losses):
    preview.write(tmp_path / "a.webp", _frames(len(losses), 30, 30), losses)
    assert len(_read(tmp_path / "a.webp")[0]) == len(losses) + 1


def test_a_continued_adaptation_begins_where_it_begins(tmp_path):
    frames = {k: picture for k, picture in _frames(6, 30, 30).items() if k > 3}
    preview.write(tmp_path / "a.webp", frames, [3.0] * 7)
    assert len(_read(tmp_path / "a.webp")[0]) == 3


@pytest.mark.parametrize(
    "shape, expected",
    [((100, 1024), (50, 512)), ((3000, 1000), (768, 256)), ((512, 512), (512, 512)), ((2, 9), (2, 9))],
)
def test_shrink(shape, expected):
    picture = _smooth(*shape)
    small = preview.shrink(picture)
    assert small.dtype == np.uint8 and small.shape == (*expected, 3)
    np.testing.assert_array_equal(preview.shrink(small), small)
    np.testing.assert_allclose(small.mean((0, 1)), 255 * picture.mean((0, 1)), atol=1)


def test_refusals(tmp_path):
    frames = _frames(1, 30, 30)
    for check in (preview.check, lambda path, **options: preview.write(path, frames, [1.0], **options)):
        for path, error, reason in [
            ("a.png", InputError, "`live`: expected a name that ends in .gif .webp"),
            ("none/a.gif", FileNotFoundError, "`live`: no such folder"),
        ]:
            with pytest.raises(error, match=reason):
                check(tmp_path / path, name="live")
    for wrong, reason in [({}, "none"), ({0: frames[0], 1: frames[1][1:]}, r"\(29, 30, 3\)")]:
        with pytest.raises(ValueError, match=f"`frames`.*{reason}"):
            preview.write(tmp_path / "a.gif", wrong, [1.0])
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'matplotlib, which is not installed; type `pip install "metastyle\[eval\]"`'):
        preview.check(tmp_path / "a.gif")


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metastyle.images.codec.os.replace", full)
    with pytest.raises(InputError) as info:
        preview.write(path, _frames(1, 30, 30), [1.0])
    assert "\n" not in str(info.value) and "`preview_out`" in str(info.value) and "No space" in str(info.value)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


class _Style:
    """Darkens a photograph with its steps."""

    def __init__(self, steps):
        self.history = tuple(9.0 - k for k in range(steps))

    def stylize(self, photograph):
        return (photograph * (1 - len(self.history) / 10)).astype(np.uint8)


def test_a_preview_follows_an_adaptation_that_ends_before_its_time(tmp_path):
    photograph = _smooth(800, 1024)
    view = preview.Preview(photograph, tmp_path / "a.webp", 200)
    for k in range(9):  # of 200 steps, each third or fourth has a frame
        view.add(_Style(k))
    view.write(_Style(8))
    found, _ = _read(view.out)
    assert view.out == tmp_path / "a.webp" and len(found) == 4
    for frame, step in zip(found, (0, 3, 6, 8), strict=True):
        expected = preview.shrink(photograph) * (1 - step / 10)
        assert np.abs(frame[:400, :512] - expected)[2:-2, 2:-2].max() <= 10


def test_a_preview_refuses_at_once(tmp_path):
    with pytest.raises(InputError, match="`preview_out`"):
        preview.Preview(_smooth(20, 20), tmp_path / "a.png", 10)
    with pytest.raises(FileNotFoundError, match="`preview`: no such file"):
        preview.Preview(tmp_path / "none.jpg", tmp_path / "a.gif", 10)
    with pytest.raises(InputError, match="`preview`.*at most 100 pixels"):
        preview.Preview(_smooth(20, 20), tmp_path / "a.gif", 10, max_pixels=100)
    with pytest.raises(InputError, match="`preview`: expected sides of at least 16 px, got 512 x 10"):
        preview.Preview(_smooth(20, 1000), tmp_path / "a.gif", 10)  # a panorama, as it would be shown
    assert preview.default_file(tmp_path / "van.gogh.safetensors") == tmp_path / "van.gogh.preview.webp"
