"""Drawn weights of LPIPS's AlexNet and of Inception, slim, and both networks written out in numpy."""

import functools

import numpy as np
from safetensors.numpy import save_file

from metastyle.weights import metric_files


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=(*shape, 3)).astype(np.float32)


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


def save(path, params, kind, metadata=None):
    params = {name: np.ascontiguousarray(x, np.float32) for name, x in params.items()}
    save_file(params, path, {"format_version": "1", "kind": kind, "source": "drawn"} | (metadata or {}))


@functools.cache
def drawn_alexnet():
    """A reference whose weights are drawn, and the params that they make."""
    reference = Reference()
    reference.lpips(*pictures(2, 1, 31, 31))
    return reference, metric_files.from_alexnet(reference.state)


@functools.cache
def drawn_inception():
    """The same for Inception."""
    reference = Reference()
    reference.inception(pictures(1, 75, 75))
    return reference, metric_files.from_inception(reference.state)


def drawn(kind):
    """The one of the two whose params make a file of this kind."""
    return {metric_files.LPIPS: drawn_alexnet, metric_files.INCEPTION: drawn_inception}[kind]()
