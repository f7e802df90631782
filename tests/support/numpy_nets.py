"""The networks a second time, in numpy and float64, and random parameters for them."""

import numpy as np
from scipy.interpolate import BSpline

from metastyle.nets import generator

SMALL = ["c9s1-4,d6,R6x2,u5,c3s1-3", "s4,c5s1-6,R6x1a,p4-3,skip", "u4,s2,c3s1-3,skip"]
U_NETS = [  # every token and every word of the language
    "c3s1-4.leaky,save-a,d6.blur.leaky,save-b,d8.blur.leaky,R8x1,u6.bilinear.leaky,cat-b,c3s1-6.bare,u4.bilinear.leaky,"
    "cat-a,c3s1-3",
    "c3s1-4,n3x4,d6,n2x1,R6x1a,n1x2,u4,c3s1-3,skip",
    "save-in,R3x1.bare,d4.linear.bare,save-a,R4x1.leaky,add-a,p2-3.leaky,add-in,c5s1-5.bare.leaky,p2-8.bare,s2,c3s1-3,skip",
    "s2,save-a,d8,save-b,add-b,cat-b,d8.bare.blur,d10,R10x1a.bare.leaky,p2-6,u12.bilinear.linear,R12x1,p2-12,add-a,p2-3",
]


def uniform(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def random_params(settings, seed=0):
    """He-normal kernels, norm scales from N(1, 0.5), biases from N(0, 0.5): far from where training starts."""
    rng = np.random.default_rng(seed)
    params = {}
    for path, x in generator.shapes(settings).items():
        he = np.sqrt(2 / max(np.prod(x.shape[:-1]), 1))
        if path.endswith("/seed"):
            params[path] = np.float32(rng.integers(100))
            continue
        mean, std = {"kernel": (0, he), "adapter": (0, he), "scale": (1, 0.5), "bias": (0, 0.5)}[path.split("/")[-1]]
        params[path] = rng.normal(mean, std, x.shape).astype(np.float32)
    return params


def numpy_conv(x, kernel, stride=1):
    """Padded by reflection: f64[H, W, C] -> f64[H / stride, W / stride, D]."""
    side = len(kernel)
    pad = (side - 1) // 2, side // 2
    padded = np.pad(x, (pad, pad, (0, 0)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))[::stride, ::stride]
    return np.einsum("hwcij,ijcd->hwd", windows, kernel)


def numpy_norm(x, scale, bias):
    return (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5) * scale + bias


def numpy_blur(x):
    """A binomial 3x3 filter of each channel."""
    binomial = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return np.concatenate([numpy_conv(x[..., i : i + 1], binomial[:, :, None, None]) for i in range(x.shape[2])], 2)


def numpy_subpixels(x, kernel, factor):
    """A convolution whose sub-pixels have a common sum, each written to its own place."""
    (h, w, _), channels = x.shape, kernel.shape[3] // factor**2
    subpixels = [kernel[..., channels * i :][..., :channels] for i in range(factor**2)]
    mean = np.mean([subpixel.sum((0, 1)) for subpixel in subpixels], 0) / 9
    out = np.zeros((h * factor, w * factor, channels))
    for i, subpixel in enumerate(subpixels):
        out[i // factor :: factor, i % factor :: factor] = numpy_conv(x, subpixel - subpixel.mean((0, 1)) + mean)
    return out


def numpy_hash(x):
    """lowbias32, in Python's whole numbers."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def numpy_noise(height, width, count, sizes, seed):
    """f64[height, width, count * sizes]: noise with cells of 1, 2, 4, ... features."""
    spline = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    first = numpy_hash(int(seed))

    def cell(row, column, channel):
        bits = numpy_hash((first + row * 0x0DA6B343 + column * 0x58163841 + channel * 0x4B1AB31F) % 2**32)
        return (sum(bits.to_bytes(4, "little")) - 510) / 147.8

    maps = []
    for size in range(sizes):
        side = 2**size
        cells = [np.arange(-2, length // side + 3) for length in (height, width)]
        shares = [
            np.nan_to_num(spline((np.arange(length)[:, None] + 0.5) / side - index - 0.5)) * np.sqrt(315 / 151)
            for length, index in zip((height, width), cells, strict=True)
        ]
        for channel in range(size * count, (size + 1) * count):
            values = np.array([[cell(int(row), int(column), channel) for column in cells[1]] for row in cells[0]])
            maps.append(shares[0] @ values @ shares[1].T if size else values[2:-3, 2:-3])
    return np.stack(maps, 2)


class NumpyNetwork:
    """The architecture language read a second time, in float64."""

    def __init__(self, params):
        self.params = {path: np.array(value, np.float64) for path, value in params.items()}
        self.saved, self.convs, self.blocks, self.noises = {}, 0, 0, 0

    def __call__(self, arch, x):
        *tokens, last = arch.removesuffix(",skip").split(",")
        skipped = self.normed(x, "norm_skip") if arch.endswith(",skip") else 0
        for token in tokens:
            core, *words = token.split(".")
            x = self.token(core, words, x)
        kernel = self.params["out/kernel"]
        out = numpy_subpixels(x, kernel, int(last[1])) if last[0] == "p" else numpy_conv(x, kernel)
        return 1 / (1 + np.exp(-out - self.params["out/bias"] - skipped))

    def token(self, core, words, x):
        h, w, c = x.shape
        kind, _, name = core.partition("-")
        if kind in ("save", "add", "cat"):
            return self.kept(kind, name, x)
        if core[0] == "s":
            f = int(core[1])
            return np.stack([x[i::f, j::f] for i in range(f) for j in range(f)], 2).reshape(h // f, w // f, f * f * c)
        if core[0] == "n":
            return x + self.noise(h, w, int(core[1]), int(core[3]))
        if core[0] == "R":
            for _ in range(int(core.split("x")[1].removesuffix("a"))):
                x = x + self.block(x, words, core.endswith("a"))
            return x
        self.convs += 1
        kernel, names = self.params[f"conv{self.convs}/kernel"], (f"conv{self.convs}", f"norm{self.convs}")
        if core[0] == "p":
            return self.behind(numpy_subpixels(x, kernel, int(core[1])), *names, words)
        if core[0] == "u":
            x = np.kron(x, np.ones((2, 2, 1)))
        if "blur" in words or "bilinear" in words:  # bilinear is nearest, then blurred
            x = numpy_blur(x)
        return self.behind(numpy_conv(x, kernel, 2 if core[0] == "d" else 1), *names, words)

    def kept(self, kind, name, x):
        if kind == "save":
            self.saved[name] = x
            return x
        return x + self.saved[name] if kind == "add" else np.concatenate([x, self.saved[name]], 2)

    def noise(self, height, width, count, sizes):
        self.noises += 1
        kernel, seed = (self.params[f"noise{self.noises}/{part}"] for part in ("kernel", "seed"))
        return numpy_noise(height, width, count, sizes, seed) @ kernel

    def block(self, x, words, adapted):
        self.blocks += 1
        name = f"block{self.blocks}"
        second = self.params[f"{name}/conv2/kernel"].copy()
        if adapted:
            second[1, 1] += self.params[f"{name}/conv2/adapter"]
        y = numpy_conv(x, self.params[f"{name}/conv1/kernel"])
        y = self.behind(y, f"{name}/conv1", f"{name}/norm1", words)
        return self.behind(numpy_conv(y, second), f"{name}/conv2", f"{name}/norm2", [*words, "linear"])

    def behind(self, x, conv, norm, words):
        x = x + self.params[f"{conv}/bias"] if "bare" in words else self.normed(x, norm)
        slope = 1 if "linear" in words else 0.2 if "leaky" in words else 0
        return np.where(x > 0, x, slope * x)

    def normed(self, x, name):
        return numpy_norm(x, self.params[f"{name}/scale"], self.params[f"{name}/bias"])


def numpy_network(arch, params, x):
    """f64[H, W, 3] -> f64[H, W, 3]."""
    return NumpyNetwork(params)(arch, x)
