"""Exports an adapted style as an ONNX graph for onnxruntime: [N, height, width, 3] -> the same, of any size.

Exported graphs take and return uint8; those that `style.Style` runs take and return floats in [0, 1]. The graph is
built by `architecture.walk`, with the padding and the cropping of `generator.apply`. For int8, onnxruntime quantises
the convolutions statically, with a scale for each output channel, calibrated on photographs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from metastyle import config
from metastyle.compress.quantise import quantise
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.nets import layers, noise
from metastyle.nets.architecture import Conv, Noise, Residual, parse, run, walk
from metastyle.nets.params import Array, Flat
from metastyle.nets.phases import Shift, shifts
from metastyle.system import paths
from metastyle.system.optional import need

OPSET = 18
_CALIBRATION_SIZE = 256  # px


class _Graph:
    """Collects nodes and constants in the order in which they are added. Each method returns the name of its output."""

    def __init__(self, helper: Any, numpy_helper: Any):
        self._helper, self._numpy_helper = helper, numpy_helper
        self.nodes, self.constants = [], []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(self._numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(values, np.int64)


class GraphLayers:
    """The backend of `architecture.walk` that adds nodes; features, f32[N, C, H, W], are the names of outputs."""

    def __init__(self, graph: _Graph, params: Flat, float_kind: int):
        self._graph, self._params, self._float = graph, params, float_kind

    def conv(self, x: str, op: Conv) -> str:
        graph = self._graph
        kernel, bias = layers.fold_weights(self._params, op)
        pad = kernel.shape[0] // 2
        x = graph.add("Pad", x, graph.ints(0, 0, pad, pad, 0, 0, pad, pad), mode="reflect")
        inputs = [np.transpose(kernel, (3, 2, 0, 1))] + ([] if bias is None else [bias])
        y = graph.add("Conv", x, *map(graph.constant, inputs), strides=[op.stride, op.stride])
        return graph.add("DepthToSpace", y, blocksize=op.subpixels, mode="DCR") if op.subpixels > 1 else y

    def norm(self, x: str, path: str) -> str:
        inputs = (self._graph.constant(self._params[f"{path}/{name}"]) for name in ("scale", "bias"))
        return self._graph.add("InstanceNormalization", x, *inputs, epsilon=layers.EPSILON)

    def relu(self, x: str, slope: float) -> str:
        return self._graph.add("LeakyRelu", x, alpha=slope) if slope else self._graph.add("Relu", x)

    def residual(self, x: str, op: Residual) -> str:
        return self.add(x, run(op.body, self, x))

    def up(self, x: str, bilinear: bool) -> str:
        scales = self._graph.constant([1, 1, 2, 2])
        if bilinear:
            return self._graph.add("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
        nearest = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return self._graph.add("Resize", x, "", scales, mode="nearest", **nearest)

    def pack(self, x: str, factor: int) -> str:
        return self._graph.add("SpaceToDepth", x, blocksize=factor)

    def add(self, x: str, y: str) -> str:
        return self._graph.add("Add", x, y)

    def concat(self, x: str, y: str) -> str:
        return self._graph.add("Concat", x, y, axis=1)

    def noise(self, x: str, op: Noise) -> str:
        """Adds the noise of nets/noise.py, whose functions these nodes compute, in 64-bit integers."""
        graph, shape = self._graph, self._graph.add("Shape", x)
        kernel, seed = (self._params[f"{op.path}/{name}"] for name in ("kernel", "seed"))
        rows, columns = (self._range(graph.add("Gather", shape, graph.constant(axis, np.int64))) for axis in (2, 3))
        found = [self._normal(rows, columns, np.arange(op.count), seed)]
        for size in range(1, op.sizes):
            (cells_down, down), (cells_right, right) = (self._cells(index, 2**size) for index in (rows, columns))
            channels = size * op.count + np.arange(op.count)
            maps = self._normal(cells_down, cells_right, channels, seed)  # [count, cells down, cells to the right]
            enlarged = graph.add("MatMul", down, graph.add("MatMul", maps, graph.add("Transpose", right)))
            found.append(graph.add("Mul", enlarged, graph.constant(1 / noise.ENLARGED_VARIANCE)))
        maps = graph.add("Unsqueeze", graph.add("Concat", *found, axis=0), graph.ints(0))
        matrix = graph.constant(np.asarray(kernel).T[:, :, None, None])
        return graph.add("Add", x, graph.add("Conv", maps, matrix))

    def _range(self, count: str) -> str:
        zero, one = (self._graph.constant(x, np.int64) for x in (0, 1))
        return self._graph.add("Range", zero, count, one)

    def _cells(self, index: str, size: int) -> tuple[str, str]:
        """As in nets/noise.py: the cells near the features 0, 1, ..., and how much each feature takes of each cell."""
        graph = self._graph
        last = graph.add("Sub", graph.add("Size", index), graph.constant(1, np.int64))
        count = graph.add("Add", graph.add("Div", last, graph.constant(size, np.int64)), graph.constant(6, np.int64))
        cells = graph.add("Sub", self._range(count), graph.constant(2, np.int64))
        centres = graph.add("Add", graph.add("Cast", cells, to=self._float), graph.constant(0.5))
        places = graph.add("Add", graph.add("Cast", index, to=self._float), graph.constant(0.5))
        places = graph.add("Unsqueeze", graph.add("Mul", places, graph.constant(1 / size)), graph.ints(1))
        away = graph.add("Abs", graph.add("Sub", places, centres))
        powers = [
            graph.add("Pow", graph.add("Relu", graph.add("Sub", graph.constant(x), away)), graph.constant(3))
            for x in (2, 1)
        ]
        spline = graph.add("Sub", powers[0], graph.add("Mul", graph.constant(4), powers[1]))
        return cells, graph.add("Mul", spline, graph.constant(1 / 6))

    def _normal(self, rows: str, columns: str, channels: np.ndarray, seed: Array) -> str:
        """The numbers of nets/noise.py, as f32[c, h, w]."""
        graph = self._graph
        begin = noise.mixed(np.array([seed], np.uint32)).astype(np.int64) + channels[:, None, None] * noise.MAP
        rows = graph.add("Mul", graph.add("Unsqueeze", rows, graph.ints(0, 2)), graph.constant(noise.ROW, np.int64))
        columns = graph.add("Mul", columns, graph.constant(noise.COLUMN, np.int64))
        at = graph.add("Add", graph.add("Add", graph.constant(begin, np.int64), rows), columns)
        bits = graph.add("Mod", at, graph.constant(2**32, np.int64))
        for shift, factor in noise.ROUNDS:
            bits = graph.add("BitwiseXor", bits, self._shifted(bits, shift))
            if factor:
                # As a signed number, so that no product is beyond 64 bits.
                signed = factor - 2**32 if factor >= 2**31 else factor
                product = graph.add("Mul", bits, graph.constant(signed, np.int64))
                bits = graph.add("Mod", product, graph.constant(2**32, np.int64))
        mask = graph.constant(255, np.int64)
        total = graph.add("BitwiseAnd", bits, mask)
        for shift in (8, 16, 24):
            total = graph.add("Add", total, graph.add("BitwiseAnd", self._shifted(bits, shift), mask))
        centred = graph.add("Sub", graph.add("Cast", total, to=self._float), graph.constant(noise.MEAN))
        return graph.add("Mul", centred, graph.constant(1 / noise.STD))

    def _shifted(self, bits: str, shift: int) -> str:
        return self._graph.add("Div", bits, self._graph.constant(2**shift, np.int64))

    def sigmoid(self, x: str) -> str:
        return self._graph.add("Sigmoid", x)


def model(settings: config.Generator, params: Flat, *, int8: bool = False, floats: bool = False) -> Any:
    """Builds the graph. int8: its convolutions are quantised, calibrated on the packaged photographs."""
    built = build(settings, params, floats=floats)
    if not int8:
        return built
    photographs = [square(codec.load(path)[0], _CALIBRATION_SIZE) for path in paths.demo_pictures("photos")]
    return quantise(built, photographs if floats else [codec.to_uint8(x) for x in photographs])


def build(settings: config.Generator, params: Flat, *, floats: bool = False) -> Any:
    """Builds the graph, an onnx.ModelProto with the input `photograph` and the output `stylised`.

    Both are [N, height, width, 3], uint8, or with `floats` float32 in [0, 1].
    """
    onnx = need("onnx", "`onnx`")
    helper, numpy_helper, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    graph = _Graph(helper, numpy_helper)
    x = "photograph"
    if not floats:
        x = graph.add("Mul", graph.add("Cast", x, to=kinds.FLOAT), graph.constant(1 / 255))
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    size = graph.add("Shape", x, start=2, end=4)
    net = parse(settings.arch)
    missing = graph.add("Mod", graph.add("Neg", size), graph.ints(net.multiple, net.multiple))
    every = shifts(settings.phases, net.multiple, net.multiple, net.multiple)  # of a picture without missing pixels
    padded = []
    for before, after in every:
        behind = graph.add("Add", missing, graph.ints(*after)) if any(after) else missing
        pads = graph.add("Concat", graph.ints(0, 0, *before, 0, 0), behind, axis=0)
        padded.append(graph.add("Pad", x, pads, mode="reflect"))
    backend = GraphLayers(graph, params, kinds.FLOAT)
    if len(every) == 1:
        y = graph.add("Slice", walk(net, backend, padded[0]), graph.ints(0, 0), size, graph.ints(2, 3))
    else:
        y = _mean(graph, walk(net, backend, graph.add("Concat", *padded, axis=0)), every, size)
    if not floats:  # rounds as codec.to_uint8
        y = graph.add("Add", graph.add("Mul", y, graph.constant(255)), graph.constant(0.5))
        y = graph.add("Cast", y, to=kinds.UINT8)
    graph.nodes.append(helper.make_node("Transpose", [y], ["stylised"], perm=[0, 2, 3, 1]))
    shape = ["N", "height", "width", 3]
    kind = kinds.FLOAT if floats else kinds.UINT8
    ends = [helper.make_tensor_value_info(name, kind, shape) for name in ("photograph", "stylised")]
    made = helper.make_graph(graph.nodes, "metastyle", ends[:1], ends[1:], graph.constants)
    exported = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="metastyle")
    exported.ir_version = min(exported.ir_version, 10)  # onnxruntime is slower to follow than onnx
    onnx.checker.check_model(exported)
    return exported


def _mean(graph: _Graph, outputs: str, every: list[Shift], size: str) -> str:
    """The mean over shifts, [N, C, H, W], of outputs that are stacked along the first axis."""
    shape = graph.add("Concat", graph.ints(len(every), -1), graph.add("Shape", outputs, start=1), axis=0)
    apart = graph.add("Reshape", outputs, shape)
    cut = []
    for i, (before, _) in enumerate(every):
        y = graph.add("Gather", apart, graph.constant(i, np.int64), axis=0)
        end = graph.add("Add", size, graph.ints(*before))
        cut.append(graph.add("Slice", y, graph.ints(*before), end, graph.ints(2, 3)))
    return graph.add("Mean", *cut)


def session(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Loads the graph on this machine's CPU. Returns the function that runs it: [N, height, width, 3] -> the same.

    After each run, the memory that the features took is given back.
    """
    onnxruntime = need("onnxruntime", "`onnx`")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    loaded = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(photographs: np.ndarray) -> np.ndarray:
        shrinking = onnxruntime.RunOptions()
        shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return loaded.run(None, {"photograph": photographs}, shrinking)[0]

    return run
