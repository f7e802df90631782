"""The networks a second time, in numpy and float64, and random parameters for them."""

import numpy as np

from metastyle.nets import generator

SMALL = ["c9s1-4,d6,R6x2,u5,c3s1-3", "s4,c5s1-6,R6x1a,p4-3,skip", "u4,s2,c3s1-3,skip"]


def uniform(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def random_params(settings, seed=0):
    """He-normal kernels, norm scales from N(1, 0.5), biases from N(0, 0.5): far from where training starts."""
    rng = np.random.default_rng(seed)
    params = {}
    for path, x in generator.shapes(settings).items():
        he = np.sqrt(2 / max(np.prod(x.shape[:-1]), 1))
        mean, std = {"kernel": (0, he), "adapter": (0, he), "scale": (1, 0.5), "bias": (0, 0.5)}[path.split("/")[-1]]
        params[path] = rng.normal(mean, std, x.shape).astype(np.float32)
    return params


def numpy_conv(x, kernel, stride=1):
    """Padded by reflection: f64[H, W, C] -> f64[H / stride, W / stride, D]."""
    side = len(kernel)
    padded = np.pad(x, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))[::stride, ::stride]
    return np.einsum("hwcij,ijcd->hwd", windows, kernel)


def numpy_norm(x, scale, bias):
    return (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5) * scale + bias


def numpy_network(arch, params, x):
    """The architecture language read a second time: f64[H, W, 3] -> f64[H, W, 3]."""
    p = {path: np.array(value, np.float64) for path, value in params.items()}
    norm = lambda x, name: numpy_norm(x, p[f"{name}/scale"], p[f"{name}/bias"])
    *tokens, last = arch.removesuffix(",skip").split(",")
    skipped = norm(x, "norm_skip") if arch.endswith(",skip") else 0
    convs = blocks = 0
    for token in tokens:
        h, w, c = x.shape
        if token[0] == "s":
            f = int(token[1])
            x = np.stack([x[i::f, j::f] for i in range(f) for j in range(f)], 2).reshape(h // f, w // f, f * f * c)
        elif token[0] == "R":
            for _ in range(int(token.split("x")[1].removesuffix("a"))):
                blocks += 1
                second = p[f"block{blocks}/conv2/kernel"]
                if token.endswith("a"):
                    second[1, 1] += p[f"block{blocks}/conv2/adapter"]
                y = np.maximum(norm(numpy_conv(x, p[f"block{blocks}/conv1/kernel"]), f"block{blocks}/norm1"), 0)
                x = x + norm(numpy_conv(y, second), f"block{blocks}/norm2")
        else:
            convs += 1
            x = np.kron(x, np.ones((2, 2, 1))) if token[0] == "u" else x
            y = numpy_conv(x, p[f"conv{convs}/kernel"], 2 if token[0] == "d" else 1)
            x = np.maximum(norm(y, f"norm{convs}"), 0)
    kernel = p["out/kernel"]
    if last[0] == "p":
        f, (h, w, _) = int(last[1]), x.shape
        out = np.zeros((h * f, w * f, 3))
        mean = np.mean([kernel[..., 3 * i :][..., :3].sum((0, 1)) for i in range(f * f)], 0) / 9
        for i in range(f * f):
            subpixel = kernel[..., 3 * i :][..., :3]
            out[i // f :: f, i % f :: f] = numpy_conv(x, subpixel - subpixel.mean((0, 1)) + mean)
    else:
        out = numpy_conv(x, kernel)
    return 1 / (1 + np.exp(-out - p["out/bias"] - skipped))
