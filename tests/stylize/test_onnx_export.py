"""An exported style is the network itself: every token of the language, any size, to a 255th."""

import dataclasses

import numpy as np
import pytest

from metastyle import config
from metastyle.cli import main
from metastyle.compress.quantise import quantise
from metastyle.config import Generator
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.nets import architecture, generator
from metastyle.stylize import onnx_export, stylizer
from metastyle.system import paths
from tests.support.numpy_nets import SMALL, U_NETS, random_params
from tests.support.places import BUNDLE
from tests.support.styles import picture

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def photographs(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def by_jax(settings, params, pictures):
    return codec.to_uint8(np.asarray(generator.stylize(settings, params, pictures.astype(np.float32) / 255)))


@pytest.mark.slow
@pytest.mark.parametrize("arch", [*SMALL, *U_NETS])
def test_it_stylises_as_jax_does_at_any_size(arch):
    settings = Generator(arch)
    params = random_params(settings)
    session = onnx_export.session(onnx_export.build(settings, params))
    wider = architecture.parse(arch).min_side - 16
    for n, height, width in [(1, 16, 16), (2, 20, 32), (1, 17, 23), (1, 30, 19)]:
        pictures = photographs(n, height + wider, width + wider)
        ours, theirs = by_jax(settings, params, pictures).astype(int), session(pictures).astype(int)
        assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 1
        assert ours.std() > 10


@pytest.mark.parametrize("phases", [4, 16])
def test_a_graph_has_the_phases_of_its_settings_and_the_weights_once(phases):
    settings = Generator(SMALL[1], phases=phases)
    params, one = random_params(settings), dataclasses.replace(settings, phases=1)
    built, plain = (onnx_export.build(s, params) for s in (settings, one))
    session = onnx_export.session(built)
    for n, height, width in [(1, 16, 16), (2, 21, 30)]:
        pictures = photographs(n, height, width)
        ours, theirs = by_jax(settings, params, pictures).astype(int), session(pictures).astype(int)
        assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 1
    assert len(built.SerializeToString()) < len(plain.SerializeToString()) + 1000 * phases


@pytest.mark.slow
def test_int8_is_close():
    settings = Generator(SMALL[1])
    params = generator.initial_params(settings, 0)
    pictures = [codec.to_uint8(square(codec.load(path)[0], 64)) for path in paths.demo_pictures("photos")]
    model = quantise(onnx_export.build(settings, params), pictures[1:])
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    ours = by_jax(settings, params, pictures[0][None]).astype(int)
    error = np.abs(onnx_export.session(model)(pictures[0][None]) - ours).mean()
    assert 0 < error < 5


@pytest.fixture
def style_file(tmp_path):
    path = tmp_path / "style.safetensors"
    painting, support = picture(24, 20, seed=1), picture(22, 30, seed=3)
    stylizer.load(BUNDLE).adapt(painting, steps=0, support=support, weights="random").save(path)
    return path


def test_the_backends_of_a_style(style_file):
    style, photograph = stylizer.load_style(style_file), photographs(33, 22)
    jax, onnx_, int8 = (style.stylize(photograph, backend=backend).astype(int) for backend in config.BACKENDS)
    assert np.abs(jax - onnx_).max() <= 1
    assert 0 < np.abs(jax - int8).mean() < 10
    with pytest.raises(InputError, match="`backend`: expected one of jax, onnx, onnx-int8, got 'torch'"):
        style.stylize(photograph, backend="torch")
    with pytest.raises(InputError, match="`content`: expected sides of at least 16 px, got 10 x 20"):
        style.stylize(photographs(20, 10), backend="onnx")


def test_the_command_writes_what_onnxruntime_runs(style_file, tmp_path, capsys):
    out, photograph = tmp_path / "style.onnx", photographs(1, 24, 28)
    for precision in config.PRECISIONS:
        with pytest.raises(SystemExit, match="0"):
            main.main(["export", f"--style_file={style_file}", f"--out={out}", f"--precision={precision}"])
        assert capsys.readouterr().out == f"wrote {out}\n"
        onnx.checker.check_model(out)
        kinds = {node.op_type for node in onnx.load(out).graph.node}
        assert ("QuantizeLinear" in kinds) == (precision == "int8")
        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        (stylised,) = session.run(None, {"photograph": photograph})
        assert stylised.shape == photograph.shape and stylised.dtype == np.uint8


def test_what_is_missing_is_named(style_file, tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        main.main(["export", f"--style_file={style_file}", f"--out={tmp_path}/style.pt"])
    assert capsys.readouterr().err.startswith("error: `out`: expected a name that ends in .onnx, got ")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(SystemExit):
        main.main(["export", f"--style_file={style_file}", f"--out={tmp_path}/style.onnx"])
    expected = 'error: `onnx` needs onnx, which is not installed; type `pip install "metastyle[onnx]"`\n'
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "style.onnx").exists()
