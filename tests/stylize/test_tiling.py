"""Tiles change nothing: the same picture as untiled, in less memory, from every net of the language at every size."""

import errno
import shutil
import tempfile
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from metastyle.config import Generator
from metastyle.nets import architecture, generator, padded
from metastyle.stylize import tiled_layers, tiling
from metastyle.system import memory
from tests.support.errors import refused
from tests.support.numpy_nets import SMALL, U_NETS, random_params, uniform

forward = jax.jit(generator.apply, static_argnums=0)

NETS = [*SMALL, "s2,s2,c3s1-6,u4,p2-3", "s2,R12x1a,p2-3,skip", "s4,c9s1-8,p4-3"]
NET = Generator("s4,c3s1-8,R8x1a,u4,p2-3,skip")
TOLERANCE = 4e-5  # a hundredth of a 255th; statistics of 16 pixels, four by four, leave 2e-5


def photograph(height, width):
    """Bright and calm at one end, dark and busy at the other: no tile has the statistics of the whole."""
    ramp = np.linspace(0, 1, width)[None, :, None] * np.linspace(0.5, 1, height)[:, None, None]
    return (ramp * uniform(height, width, 3) + (1 - ramp) * 0.9).astype(np.float32)


def check(settings, height, width, *tiles):
    params, picture = random_params(settings), photograph(height, width)
    expected = np.asarray(forward(settings, params, picture[None]))[0]
    assert expected.std() > 0.05
    for tile in tiles:
        ours = tiling.stylize(settings, params, picture, tile)
        assert ours.shape == picture.shape and ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, atol=TOLERANCE, err_msg=f"tiles of {tile} px")


@pytest.mark.slow
@pytest.mark.parametrize("arch", NETS)
@pytest.mark.parametrize("height, width, tiles", [(16, 16, [16]), (39, 70, [16, 40]), (80, 18, [31])])
def test_tiles_change_nothing(arch, height, width, tiles):
    check(Generator(arch), height, width, *tiles)


@pytest.mark.parametrize("arch", U_NETS)
@pytest.mark.parametrize("height, width, tiles", [(64, 64, [16]), (71, 90, [16, 40]), (88, 64, [31])])
def test_tiles_change_nothing_of_u_nets(arch, height, width, tiles):
    check(Generator(arch), height, width, *tiles)


@pytest.mark.slow
@pytest.mark.parametrize("arch", architecture.ARCHITECTURES)
def test_tiles_change_nothing_of_the_nets_that_are_used(arch):
    check(Generator(arch), 50, 37, 20)


def test_a_tile_of_a_picture_is_not_a_picture():
    """What would be left of a test in which every tile were normalised by itself."""
    params, picture = random_params(NET), photograph(64, 48)
    whole = tiling.stylize(NET, params, picture, 32)
    assert np.abs(whole[:32, :24] - tiling.stylize(NET, params, picture[:32, :24], 32)).max() > 0.1


def test_bfloat16_is_tiled_as_it_is_untiled():
    half, exact = Generator(NET.arch, "bfloat16"), NET
    params, picture = random_params(NET), photograph(40, 52)
    tiled = tiling.stylize(half, params, picture, 24)
    untiled, wide = (np.asarray(forward(settings, params, picture[None]))[0] for settings in (half, exact))
    assert tiled.dtype == np.float32
    assert np.abs(tiled - untiled).mean() < np.abs(untiled - wide).mean() < 0.05


def test_the_picture_is_left_as_it_is_and_needs_no_layout_of_its_own():
    settings, picture = Generator(NETS[4]), photograph(41, 30)
    params, before = random_params(settings), picture.copy()
    ours = tiling.stylize(settings, params, picture, 16)
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(tiling.stylize(settings, params, np.asfortranarray(picture), 16), ours)


# Statistics


@pytest.mark.parametrize("mean, std", [(0, 1), (1000, 0.01), (-3, 20)])
def test_moments_merge_to_those_of_the_whole(mean, std):
    x = np.random.default_rng(0).normal(mean, std, (1000, 3)) * [1, 2, 0]
    merged = tiled_layers.Moments(0, np.zeros(3), np.zeros(3))
    for part in np.split(x, [1, 7, 500]):
        merged = merged.merge(tiled_layers.Moments(len(part), part.mean(0), ((part - part.mean(0)) ** 2).sum(0)))
    assert merged.pixels == len(x)
    np.testing.assert_allclose(merged.mean, x.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(merged.m2 / merged.pixels, x.var(0), rtol=1e-9)


@pytest.mark.parametrize("length", [16, 20, 44, 100, 8192])
@pytest.mark.parametrize("tile", [16, 17, 63, 512])
def test_spans_are_alike_and_cover_a_side_once(length, tile):
    spans = tiled_layers.cut_side(length, tile, 4)
    (size,) = {span.size for span in spans}
    assert size % 4 == 0 and size < tile + 4 and all(span.start % 4 == 0 for span in spans)
    new = [pixel for span in spans for pixel in range(span.start + span.skip, span.start + span.size)]
    assert new == list(range(length))


# Memory


def run(settings, height, width, tile, budget=np.inf, imagined=False):
    """What the layers ask for, and tell of it."""
    arrays = memory.Arrays(budget, imagined)
    bar = None if imagined else SimpleNamespace(update=lambda work: None)
    net, params = architecture.parse(settings.arch), random_params(settings)
    grid = tiled_layers.Grid((height, width), tile, net.multiple)
    layers = tiled_layers.Tiles(params, np.dtype(settings.dtype), grid, arrays, bar)
    out = architecture.walk(net, layers, layers.picture(photograph(height, width)))
    return layers, out.buffer


@pytest.mark.parametrize("arch", [*SMALL, *U_NETS])
@pytest.mark.parametrize("budget", [0, 30_000, np.inf])
def test_the_plan_knows_what_is_to_come(arch, budget):
    plan, _ = run(Generator(arch), 40, 60, 24, budget, imagined=True)
    done, _ = run(Generator(arch), 40, 60, 24, budget)
    assert plan.arrays.most == done.arrays.most and plan.work == done.work > 0
    assert done.arrays.most["memory"] <= budget
    assert (done.arrays.most["disk"] > 0) == (budget < np.inf)


def test_what_jax_reads_does_not_keep_a_plane():
    """JAX may let go of its arguments a moment after the result is there, and would hold the plane that long."""
    buffer = uniform(40, 60, 4)
    plane = tiled_layers.Plane(buffer, 40, 60, tiled_layers._Transform(buffer.dtype))
    rows, columns = np.arange(8, 16), np.arange(60)
    window = plane.read(rows, columns)
    np.testing.assert_array_equal(window, buffer[8:16])
    assert not np.shares_memory(window, buffer)


def test_blocks_hold_three_planes():
    plan, _ = run(Generator("s4,c3s1-64,R64x5a,c3s1-8,p4-3"), 64, 64, 16, imagined=True)
    assert plan.arrays.most == {"memory": 3 * 16 * 16 * 64 * 4, "disk": 0}


def least(settings, picture, tile):
    return 4 * picture.size + 2 * tiling.array_bytes(settings, tile, tile)


def test_what_memory_has_no_room_for_is_on_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    params, picture = random_params(NET), photograph(64, 48)
    expected = tiling.stylize(NET, params, picture, 32)
    ours = tiling.stylize(NET, params, picture, 32, memory=least(NET, picture, 32), progress=True)
    np.testing.assert_array_equal(ours, expected)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"the tiles take 0.00 GiB on disk, in {tmp_path}, until the picture is done"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arch", [*SMALL, *U_NETS, "c9s1-8,d16,R16x2,u8,c9s1-3", "compact_half"])
def test_untiled_memory_is_estimated_from_above(arch):
    settings, inside = Generator(arch), 120
    side = max(padded.extent(settings, inside, inside).padded)
    picture, sides = jax.ShapeDtypeStruct((1, side, side, 3), np.float32), jax.ShapeDtypeStruct((2,), np.int32)
    program = jax.jit(padded._network, static_argnums=(0, 1))
    lowered = program.lower(arch, settings.dtype, generator.shapes(settings), picture, sides)
    found = lowered.compile().memory_analysis()
    actual = found.temp_size_in_bytes + found.output_size_in_bytes + picture.size * 4
    assert actual < tiling.untiled_bytes(settings, inside, inside) < 3 * actual


def shown(capsys, size=(64, 48), **options):
    """What a run with `progress` prints, all of it on stderr; it is the picture, too."""
    params, picture = random_params(NET), photograph(*size)
    ours = tiling.stylize(NET, params, picture, progress=True, **options)
    np.testing.assert_allclose(ours, forward(NET, params, picture[None])[0], atol=TOLERANCE)
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_there_are_tiles_where_memory_is_too_small_for_none(capsys, monkeypatch):
    size = 160, 144
    untiled = tiling.untiled_bytes(NET, *size)
    assert shown(capsys, size, memory=untiled) == ""
    assert "tiles of 64 px: 100%" in shown(capsys, size, memory=untiled - 1)
    monkeypatch.setattr(tiling, "free", lambda: 4 * untiled)
    assert shown(capsys, size) == ""
    monkeypatch.setattr(tiling, "free", lambda: 4 * untiled - 4)
    assert "tiles of 64 px: 100%" in shown(capsys, size)
    assert shown(capsys, size, tile=0) == ""


@pytest.mark.parametrize(
    "arch, memory, device, tile",
    [
        ("compact_half", 4 * 2**30, None, 512),
        ("compact_half", 100 * 2**20, None, 256),
        ("compact_half", 2**20, None, 64),
        ("compact_half", 100 * 2**30, None, 0),
        ("johnson", 4 * 2**30, None, 256),
        ("johnson", 100 * 2**30, 200 * 2**30, 0),
        ("johnson", 100 * 2**30, 16 * 2**30, 1024),
        ("compact_half", 100 * 2**30, 16 * 2**30, 2048),
    ],
)
def test_the_tile_suits_the_net_and_the_memory(arch, memory, device, tile, monkeypatch):
    monkeypatch.setattr(tiling, "free_on_device", lambda: device)
    assert tiling._choose_tile(Generator(arch), 8192, 8192, memory) == tile


def test_where_memory_is_short_more_than_half_is_taken(capsys, monkeypatch):
    monkeypatch.setattr(tiling, "free", lambda: least(NET, photograph(64, 48), 32))
    assert "on disk" in shown(capsys, tile=32)


def test_progress_is_shown_if_asked_for(capsys):
    err = shown(capsys, tile=32)
    assert err.startswith("\rtiles of 32 px:   0% [00:00 < ?]") and "tiles of 32 px: 100% [0" in err
    tiling.stylize(NET, random_params(NET), photograph(64, 48), 32)
    assert capsys.readouterr() == ("", "")


# Errors


def check_refusal(message, *arguments, picture=None, **options):
    picture = photograph(40, 48) if picture is None else picture
    with refused(message):
        tiling.stylize(NET, random_params(NET), picture, *arguments, **options)


@pytest.mark.parametrize("tile", [15, 1, -16, 64.0, "64", True])
def test_other_tiles_are_refused(tile):
    check_refusal(f"^`tile`: expected whole px, at least 16, or 0 for no tiles, got {tile!r}$", tile)


def test_too_small_a_picture_is_refused():
    check_refusal("^`content`: expected sides of at least 16 px, got 40 x 12", 16, picture=photograph(12, 40))


def test_too_little_memory_is_told_before_the_work(monkeypatch):
    expected = (
        r"^`content`: 48 x 40 px in tiles of 16 px take at least 0.\d\d GiB of memory, got 0.00 GiB; use a smaller"
    )
    check_refusal(expected, 16, memory=least(NET, photograph(40, 48), 16) - 1)
    monkeypatch.setattr(tiling, "free", lambda: 100)
    check_refusal(expected, 16)


def test_too_little_disk_is_told_before_the_work(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    expected = (
        r"^`content`: 48 x 40 px take 0.\d\d GiB on disk beside 0.00 GiB of memory, got 0.00 GiB in .*; make room"
    )
    check_refusal(expected, 16, memory=least(NET, photograph(40, 48), 16))


def fails(error):
    def call(*arguments, **options):
        raise error

    return call


def test_a_full_disk_is_one_line(monkeypatch):
    monkeypatch.setattr("os.posix_fallocate", fails(OSError(errno.ENOSPC, "No space left on device")), raising=False)
    expected = (
        "^`content`: 48 x 40 px take files in .*, which failed: No space left on device; make room, or name another"
    )
    check_refusal(expected, 16, memory=least(NET, photograph(40, 48), 16))


@pytest.mark.parametrize("error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")])
def test_memory_that_ran_out_is_one_line(error, monkeypatch):
    monkeypatch.setattr(padded, "stylize", fails(error))
    check_refusal("^`content`: 48 x 40 px take more memory than there is; use smaller tiles or pictures$", 0)
    monkeypatch.setattr(tiled_layers, "_convolve", fails(error))
    check_refusal("^`content`: 48 x 40 px take more memory than there is; use smaller tiles or pictures$", 16)


def test_other_errors_of_the_device_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(padded, "stylize", fails(jax.errors.JaxRuntimeError("INTERNAL: a defect")))
    with pytest.raises(jax.errors.JaxRuntimeError, match="a defect"):
        tiling.stylize(NET, random_params(NET), photograph(40, 48), 0)
