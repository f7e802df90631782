"""A PyTorch twin of `johnson`, VGG-16, the relative loss and the first-order meta-gradient, to compare speed with.

Parameters are those of the JAX side, under the same paths, with kernels OIHW; pictures are f32[N, 3, H, W] in [0, 1].
"""

from typing import Any

import numpy as np

# torch is no dependency of the package, so the type checker may not find it.
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor  # pyright: ignore[reportMissingImports]

from metastyle import config
from metastyle.nets import layers, vgg

Tensors = dict[str, Tensor]
_EPS = 1e-8  # as in losses.perceptual
_TINY = 1e-20  # as in meta.inner_loop


def params(tree: Any, device: str = "cpu") -> Any:
    """Turns a params tree, nested or flat, of any arrays into tensors: HWIO kernels become OIHW."""
    if isinstance(tree, dict):
        return {name: params(leaf, device) for name, leaf in tree.items()}
    array = np.array(tree)
    return torch.from_numpy(array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array).to(device)


def pictures(array: Any, device: str = "cpu") -> Tensor:
    """Turns pictures [..., H, W, 3] into tensors [..., 3, H, W]."""
    return torch.from_numpy(np.moveaxis(np.asarray(array), -1, -3).copy()).to(device)


def johnson(p: Tensors, x: Tensor) -> Tensor:
    """Applies the architecture `johnson`, of any widths and any number of blocks."""

    def conv(x, path, stride=1):
        kernel = p[f"{path}/kernel"]
        padded = F.pad(x, (kernel.shape[-1] // 2,) * 4, mode="reflect")
        return F.conv2d(padded, kernel, p.get(f"{path}/bias"), stride)

    def norm(x, path):
        return F.instance_norm(x, weight=p[f"{path}/scale"], bias=p[f"{path}/bias"], eps=layers.EPSILON)

    def layer(x, i, stride=1):
        return F.relu(norm(conv(x, f"conv{i}", stride), f"norm{i}"))

    x = layer(layer(layer(x, 1), 2, 2), 3, 2)
    for block in (f"block{i}" for i in range(1, len(p)) if f"block{i}/conv1/kernel" in p):
        y = F.relu(norm(conv(x, f"{block}/conv1"), f"{block}/norm1"))
        x = x + norm(conv(y, f"{block}/conv2"), f"{block}/norm2")
    for i in (4, 5):
        x = layer(F.interpolate(x, scale_factor=2), i)
    return torch.sigmoid(conv(x, "out"))


@torch.no_grad()
def stylize(p: Tensors, x: Tensor) -> Tensor:
    """Applies `johnson` and waits for the device."""
    return _done(johnson(p, x))


def features(weights: dict[str, Tensors], x: Tensor, last: str = vgg.TAPS[-1]) -> Tensors:
    """Computes the taps of vgg.features, up to `last`."""
    mean, std = (weights["input"][k][:, None, None] for k in ("mean", "std"))
    x, out = (x - mean) / std, {}
    for layer in vgg.LAYERS:
        if layer in vgg.POOLED:
            x = F.max_pool2d(x, 2)
        x = F.relu(F.conv2d(x, weights[layer]["kernel"], weights[layer]["bias"], padding=1))
        tap = f"relu{layer[4:]}"
        if tap in vgg.TAPS:
            out[tap] = x
        if tap == last:
            break
    return out


def gram(x: Tensor) -> Tensor:
    """Computes Gram matrices: [N, C, h, w] -> [N, C, C]."""
    flat = x.flatten(2)
    return flat @ flat.mT / flat.shape[-1]


def perceptual(
    weights: dict[str, Tensors], outputs: Tensor, content: Tensor, style: Tensors, loss: config.Loss
) -> Tensor:
    """Computes the relative perceptual loss with Gram matrices, without total variation, averaged over pictures."""

    def ratio(value, target):
        axes = tuple(range(1, value.ndim))
        return (value - target).square().sum(axes) / (target.square().sum(axes) + _EPS)

    found = features(weights, outputs)
    of_style = sum(ratio(gram(found[tap]), style[tap]) for tap in vgg.TAPS) / len(vgg.TAPS)
    return (loss.content * ratio(found["relu3_3"], content) + loss.style * of_style).mean()


def meta_gradient(
    fast: Tensors, slow: Tensors, rates: Tensors, task: Tensors, weights: dict[str, Tensors], loss: config.Loss
) -> tuple[Tensor, Tensors]:
    """Returns the query loss after one normalised step per support batch, and its first-order gradient.

    The gradient is with respect to all parameters. rates: [K, ...] of each fast parameter, not their logarithms.
    task: "style" [shots, ...], "support" [K, N, ...], "query" [N, ...].
    """
    with torch.no_grad():
        target = {tap: gram(x).mean(0, keepdim=True) for tap, x in features(weights, task["style"]).items()}
        contents = [features(weights, x, "relu3_3")["relu3_3"] for x in (*task["support"], task["query"])]
    for k, photographs in enumerate(task["support"]):
        fast = {path: x.detach().requires_grad_() for path, x in fast.items()}
        value = perceptual(weights, johnson(fast | slow, photographs), contents[k], target, loss)
        gradients = torch.autograd.grad(value, list(fast.values()))
        fast = {
            path: (x - rates[path][k] * g * torch.rsqrt(g.square().mean() + _TINY)).detach()
            for (path, x), g in zip(fast.items(), gradients, strict=True)
        }
    learned = {path: x.detach().requires_grad_() for path, x in (fast | slow).items()}
    value = perceptual(weights, johnson(learned, task["query"]), contents[-1], target, loss)
    gradients = torch.autograd.grad(value, list(learned.values()))
    return _done(value.detach()), dict(zip(learned, gradients, strict=True))


def _done(result: Tensor) -> Tensor:
    if result.is_cuda:
        torch.cuda.synchronize()
    return result
