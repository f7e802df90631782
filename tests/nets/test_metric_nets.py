"""LPIPS and Inception against networks written out in numpy; FID against closed forms; files and what they refuse.

The weights are random and slim. In numpy they are in PyTorch's form, as the public files hold them.
"""

import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from metastyle.errors import InputError
from metastyle.nets import metric_nets


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=(*shape, 3)).astype(np.float32)


# The networks in numpy


def convolve(x, kernel, stride, padding):
    """NHWC with an OIHW kernel."""
    x = np.pad(x, ((0, 0), *((p, p) for p in padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], (1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwiyx,oiyx->nhwo", windows, kernel, optimize=True)


def pool(x, reduce, stride, padding=0):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return reduce(np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::stride, ::stride], (-1, -2))


def he(shape):
    return np.sqrt(2 / np.prod(shape[1:]))


class Reference:
    """Networks that draw their weights, `state`, as they first meet an input."""

    def __init__(self, seed=0):
        self.rng, self.state = np.random.default_rng(seed), {}

    def weights(self, name, draw, *arguments):
        if name not in self.state:
            self.state[name] = np.float32(draw(*arguments))
        return self.state[name]

    def alexnet(self, pictures):
        """Features after each ReLU."""
        x = (2 * np.float64(pictures) - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
        layers = [(0, 11, 4, 2, 5), (3, 5, 1, 2, 7), (6, 3, 1, 1, 4), (8, 3, 1, 1, 6), (10, 3, 1, 1, 3)]
        for index, size, stride, padding, width in layers:
            if index in (3, 6):
                x = pool(x, np.max, 2)
            shape = (width, x.shape[-1], size, size)
            kernel = self.weights(f"features.{index}.weight", self.rng.normal, 0, he(shape), shape)
            bias = self.weights(f"features.{index}.bias", self.rng.normal, 0, 0.1, width)
            x = np.maximum(convolve(x, kernel, stride, (padding, padding)) + bias, 0)
            yield x

    def lpips(self, a, b):
        total = 0
        for i, layers in enumerate(zip(self.alexnet(a), self.alexnet(b), strict=True)):
            x, y = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in layers)
            weights = self.weights(f"lin{i}.model.1.weight", self.rng.uniform, 0, 1, (1, x.shape[-1], 1, 1))
            total = total + ((x - y) ** 2 @ weights.ravel()).mean((1, 2))
        return total

    def conv(self, name, x, height, width, stride=1, padded=True):
        shape = (self.rng.integers(2, 5), x.shape[-1], height, width)
        kernel = self.weights(f"{name}.conv.weight", self.rng.normal, 0, he(shape), shape)
        out = len(kernel)
        scale, variance = (
            self.weights(f"{name}.bn.{part}", self.rng.uniform, 0.5, 1.5, out) for part in ("weight", "running_var")
        )
        bias, mean = (
            self.weights(f"{name}.bn.{part}", self.rng.normal, 0, 0.2, out) for part in ("bias", "running_mean")
        )
        y = convolve(x, kernel, stride, (height // 2, width // 2) if padded else (0, 0))
        return np.maximum((y - mean) / np.sqrt(variance + 1e-3) * scale + bias, 0)

    def inception(self, pictures):
        """Up to the average over positions; as torchvision's inception_v3, also in names."""
        x = np.float64(pictures)
        x = self.conv("Conv2d_1a_3x3", x, 3, 3, 2, padded=False)
        x = self.conv("Conv2d_2a_3x3", x, 3, 3, padded=False)
        x = self.conv("Conv2d_2b_3x3", x, 3, 3)
        x = self.conv("Conv2d_3b_1x1", pool(x, np.max, 2), 1, 1)
        x = self.conv("Conv2d_4a_3x3", x, 3, 3, padded=False)
        x = pool(x, np.max, 2)
        for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            conv = self.block(block)
            double = conv("3x3dbl_2", conv("3x3dbl_1", x, 1, 1), 3, 3)
            x = join(
                conv("1x1", x, 1, 1),
                conv("5x5_2", conv("5x5_1", x, 1, 1), 5, 5),
                conv("3x3dbl_3", double, 3, 3),
                conv("_pool", pool(x, np.mean, 1, 1), 1, 1),
            )
        conv = self.block("Mixed_6a")
        double = conv("3x3dbl_2", conv("3x3dbl_1", x, 1, 1), 3, 3)
        x = join(conv("3x3", x, 3, 3, 2, False), conv("3x3dbl_3", double, 3, 3, 2, False), pool(x, np.max, 2))
        for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            conv = self.block(block)
            double = conv("7x7dbl_3", conv("7x7dbl_2", conv("7x7dbl_1", x, 1, 1), 7, 1), 1, 7)
            x = join(
                conv("1x1", x, 1, 1),
                conv("7x7_3", conv("7x7_2", conv("7x7_1", x, 1, 1), 1, 7), 7, 1),
                conv("7x7dbl_5", conv("7x7dbl_4", double, 7, 1), 1, 7),
                conv("_pool", pool(x, np.mean, 1, 1), 1, 1),
            )
        conv = self.block("Mixed_7a")
        seven = conv("7x7x3_3", conv("7x7x3_2", conv("7x7x3_1", x, 1, 1), 1, 7), 7, 1)
        x = join(
            conv("3x3_2", conv("3x3_1", x, 1, 1), 3, 3, 2, False),
            conv("7x7x3_4", seven, 3, 3, 2, False),
            pool(x, np.max, 2),
        )
        for block in ("Mixed_7b", "Mixed_7c"):
            conv = self.block(block)
            single, double = conv("3x3_1", x, 1, 1), conv("3x3dbl_2", conv("3x3dbl_1", x, 1, 1), 3, 3)
            x = join(
                conv("1x1", x, 1, 1),
                *(conv("3x3_2a", single, 1, 3), conv("3x3_2b", single, 3, 1)),
                *(conv("3x3dbl_3a", double, 1, 3), conv("3x3dbl_3b", double, 3, 1)),
                conv("_pool", pool(x, np.mean, 1, 1), 1, 1),
            )
        return x.mean((1, 2))

    def block(self, name):
        return lambda branch, *arguments: self.conv(f"{name}.branch{branch}", *arguments)


def join(*branches):
    return np.concatenate(branches, -1)


@pytest.fixture(scope="module")
def alexnet():
    """A reference whose weights are drawn, and the params that they make."""
    reference = Reference()
    reference.lpips(*pictures(2, 1, 31, 31))
    return reference, metric_nets.from_alexnet(reference.state)


@pytest.fixture(scope="module")
def inception():
    reference = Reference()
    reference.inception(pictures(1, 75, 75))
    return reference, metric_nets.from_inception(reference.state)


# LPIPS


@pytest.mark.parametrize("size", [(31, 31), (40, 67)])
def test_lpips(alexnet, size):
    reference, params = alexnet
    a, b = pictures(2, 2, *size)
    distances = metric_nets.lpips(params, a, b)
    np.testing.assert_allclose(distances, reference.lpips(a, b), rtol=1e-5)
    np.testing.assert_array_equal(metric_nets.lpips(params, b, a), distances)
    np.testing.assert_array_equal(metric_nets.lpips(params, a, a), 0)
    assert distances.shape == (2,) and (distances > 0.01).all()


def test_lpips_of_constant_pictures_and_dead_features_is_finite(alexnet):
    params = alexnet[1]
    dead = params | {"conv1/kernel": 0 * params["conv1/kernel"], "conv1/bias": -1 + 0 * params["conv1/bias"]}
    black, white = np.zeros((1, 31, 31, 3), np.float32), np.ones((1, 31, 31, 3), np.float32)
    assert np.isfinite(metric_nets.lpips(params, black, white)).all()
    assert np.isfinite(metric_nets.lpips(dead, black, white)).all()


def test_pictures_too_small_or_of_two_sizes(alexnet, inception):
    with pytest.raises(InputError, match="`a`: expected sides of at least 31 px, got 40 x 30"):
        metric_nets.lpips(alexnet[1], *pictures(2, 1, 30, 40))
    with pytest.raises(InputError, match=r"`b`: expected the shape of `a`, \(1, 31, 31, 3\), got \(1, 31, 32, 3\)"):
        metric_nets.lpips(alexnet[1], pictures(1, 31, 31), pictures(1, 31, 32))
    with pytest.raises(InputError, match="`images`: expected sides of at least 75 px, got 74 x 80"):
        metric_nets.inception(inception[1], pictures(1, 80, 74))


# Inception and FID


@pytest.mark.parametrize("size", [(75, 75), (80, 103)])
def test_inception(inception, size):
    reference, params = inception
    images = pictures(2, *size)
    expected = reference.inception(images)
    features = metric_nets.inception(params, images)
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_inception_has_the_convolutions_of_the_public_one(inception):
    assert len(inception[1]) == 2 * 94


def sample(count, mean, covariance, seed=0):
    """`count` points of exactly this mean and covariance (over n - 1)."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(0)
    white = np.linalg.qr(x)[0] * np.sqrt(count - 1)
    return white @ np.linalg.cholesky(covariance).T + mean


def covariance(channels, seed):
    root = np.random.default_rng(seed).normal(size=(channels, channels))
    return root @ root.T


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (2, 3), (7, 7)])
def test_fid_of_equal_sets_is_0(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert metric_nets.fid(x, x) == pytest.approx(0, abs=1e-12)
    assert metric_nets.fid(x, x[::-1]) == pytest.approx(0, abs=1e-12)


def test_fid_of_one_set_moved_is_the_squared_distance():
    x = np.random.default_rng(0).normal(size=(6, 20))
    assert metric_nets.fid(x, x + 0.5) == pytest.approx(20 * 0.25)


def test_fid_of_gaussians_on_common_axes():
    """|mean difference|^2 + the squared differences of standard deviations along the axes."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    mean_a, mean_b, std_a, std_b = np.random.default_rng(1).uniform(0.5, 3, (4, 4))
    a, b = (sample(n, m, axes * s**2 @ axes.T, n) for n, m, s in ((30, mean_a, std_a), (50, mean_b, std_b)))
    expected = np.square(mean_a - mean_b).sum() + np.square(std_a - std_b).sum()
    assert metric_nets.fid(a, b) == pytest.approx(expected) == metric_nets.fid(b, a)


def test_fid_of_any_gaussians():
    """The trace of a root of a product is the sum of the roots of its eigenvalues."""
    mean_a, mean_b = np.random.default_rng(0).normal(size=(2, 6))
    cov_a, cov_b = covariance(6, 1), covariance(6, 2)
    common = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real).sum()
    expected = np.square(mean_a - mean_b).sum() + np.trace(cov_a + cov_b) - 2 * common
    assert metric_nets.fid(sample(20, mean_a, cov_a), sample(90, mean_b, cov_b)) == pytest.approx(expected)


def test_fid_of_a_few_samples_of_one_distribution_is_far_above_that_of_many():
    x = np.random.default_rng(0).normal(size=(2, 4000, 16))
    scores = [metric_nets.fid(*x[:, :count]) for count in (8, 80, 4000)]
    assert scores[0] > 5 * scores[1] > 25 * scores[2] > 0


@pytest.mark.parametrize("shapes", [[(1, 4), (5, 4)], [(5, 4), (1, 4)], [(5, 4), (5, 3)], [(4,), (5, 4)]])
def test_fid_of_too_few_or_different_features(shapes):
    with pytest.raises(InputError, match=r"`b`: expected features \[m, C\] to compare with `a`, \[n, C\]"):
        metric_nets.fid(*map(np.zeros, shapes))


def test_artfid():
    x = np.random.default_rng(0).normal(size=(6, 20))
    assert metric_nets.artfid(np.array([0.2, 0.4]), x, x + 0.5) == pytest.approx(1.3 * 6)
    assert metric_nets.artfid(np.zeros(6), x, x) == pytest.approx(1)


# Weights on disk


LOADERS = {metric_nets.LPIPS: metric_nets.load_lpips, metric_nets.INCEPTION: metric_nets.load_inception}


@pytest.fixture(params=LOADERS)
def kind(request):
    return request.param


@pytest.fixture
def params(kind, alexnet, inception):
    return {
        k: np.ascontiguousarray(v, np.float32)
        for k, v in {"lpips": alexnet, "art_inception": inception}[kind][1].items()
    }


def save(path, params, kind, metadata=None):
    save_file(params, path, {"format_version": "1", "kind": kind, "source": "drawn"} | (metadata or {}))


def test_load(tmp_path, kind, params):
    save(tmp_path / "x.safetensors", params | {"more": np.zeros(2)}, kind)
    loaded = LOADERS[kind](tmp_path / "x.safetensors")
    assert loaded.keys() == params.keys()
    for key, x in loaded.items():
        np.testing.assert_array_equal(x, params[key])


@pytest.mark.parametrize(
    "metadata, message",
    [({"kind": "vgg"}, "expected {} as kind .*got 'vgg'"), ({"format_version": "2"}, "expected 1 as format_version")],
)
def test_bad_metadata_is_one_line(tmp_path, kind, params, metadata, message):
    save(tmp_path / "x.safetensors", params, kind, metadata)
    refused(kind, tmp_path / "x.safetensors", message.format(kind))


def test_a_missing_or_misshapen_tensor_is_one_line(tmp_path, kind, params):
    path = tmp_path / "x.safetensors"
    for key in list(params)[:: len(params) // 8]:
        save(path, {k: v for k, v in params.items() if k != key}, kind)
        refused(kind, path, rf"expected {key} of shape \(.*\), got none in")
        save(path, params | {key: params[key][..., None]}, kind)
        refused(kind, path, rf"expected {key} of shape \(.*\), got \(.*\) in")
    first = next(iter(params))
    save(path, params | {first: params[first][..., :-1]}, kind)  # fits the picture, but not what follows
    refused(kind, path, r"expected .*/bias of shape \(\d,\), got \(\d,\)")


def test_an_unreadable_or_absent_file_is_one_line(tmp_path, kind):
    path = tmp_path / "x.safetensors"
    path.write_bytes(bytes(100))
    refused(kind, path, "is not a readable safetensors file")
    with pytest.raises(FileNotFoundError, match=f"`{argument(kind)}`: expected a safetensors file, got .*absent"):
        LOADERS[kind](tmp_path / "absent")


def argument(kind):
    return kind.removeprefix("art_")


def refused(kind, path, message):
    with pytest.raises(InputError, match=f"^`{argument(kind)}`: .*{message}") as error:
        LOADERS[kind](path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert "experiments.convert_metrics" in str(error.value)


# Conversion


def test_a_state_dict_that_lacks_something(alexnet, inception):
    def lacking(state, key):
        return {k: v for k, v in state.items() if k != key}

    alex, art = alexnet[0].state, inception[0].state
    with pytest.raises(
        InputError, match=r"`source`: expected features\.6\.weight of shape \(C, C, C, C\), got none; give"
    ):
        metric_nets.from_alexnet(lacking(alex, "features.6.weight"))
    with pytest.raises(
        InputError, match=r"expected lin0\.model\.1\.weight of shape \(1, 5, 1, 1\), got none; .*alex\.pth"
    ):
        metric_nets.from_alexnet(lacking(alex, "lin0.model.1.weight"))
    with pytest.raises(InputError, match=r"expected Mixed_7c\.branch_pool\.bn\.running_var of shape \(\d,\), got none"):
        metric_nets.from_inception(lacking(art, "Mixed_7c.branch_pool.bn.running_var"))
    with pytest.raises(InputError, match=r"Conv2d_1a_3x3\.bn\.bias of shape \(\d,\), got \(1,\)"):
        metric_nets.from_inception(art | {"Conv2d_1a_3x3.bn.bias": np.zeros(1)})


def test_convert(tmp_path, kind, params, alexnet, inception):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    state = {"lpips": alexnet, "art_inception": inception}[kind][0].state
    unused = {"fc1.weight": np.zeros((3, 2)), "Conv2d_1a_3x3.bn.num_batches_tracked": np.array(7)}
    parts = (
        [state | unused]
        if kind == metric_nets.INCEPTION
        else [{k: v for k, v in state.items() if k.startswith(start)} for start in ("features", "lin")]
    )
    paths = [tmp_path / f"{i}.pth" for i in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        torch.save({k: torch.from_numpy(np.array(v)) for k, v in part.items()}, path)
    out = tmp_path / "out.safetensors"
    metric_nets.convert(paths, out)
    assert load_file(out).keys() == params.keys()
    for key, x in LOADERS[kind](out).items():
        np.testing.assert_array_equal(x, params[key])
    with safe_open(out, "numpy") as file:
        metadata = file.metadata()
    assert metadata["kind"] == kind and metadata["format_version"] == "1"
    assert all(path.name in metadata["source"] for path in paths)
    assert len(list(tmp_path.iterdir())) == len(paths) + 1


def test_convert_of_half_the_files(tmp_path, alexnet):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    path, out = tmp_path / "alexnet.pth", tmp_path / "out.safetensors"
    backbone = {k: torch.from_numpy(v) for k, v in alexnet[0].state.items() if k.startswith("features")}
    torch.save(backbone, path)
    out.write_bytes(b"before")
    with pytest.raises(InputError, match=r"`source`: expected lin0\.model\.1\.weight"):
        metric_nets.convert([path], out)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="`source`: expected a PyTorch state dict, .*alexnet.pth; give torchvision's"):
        metric_nets.convert([path], out)
    assert out.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 2


def test_convert_checks_first(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(FileNotFoundError, match="`source`: expected a PyTorch file, got .*absent"):
        metric_nets.convert([path, tmp_path / "absent"], tmp_path / "out.safetensors")
    with pytest.raises(FileNotFoundError, match="`out`: no such folder"):
        metric_nets.convert([path], tmp_path / "absent" / "out.safetensors")
    with pytest.raises(InputError, match=r"`out`: expected a name that ends in \.safetensors"):
        metric_nets.convert([path], tmp_path / "out.npz")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="needs torch, which is not installed; type `pip install torch`"):
        metric_nets.convert([path], tmp_path / "out.safetensors")
