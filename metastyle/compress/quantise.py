"""Quantisation of an exported network: convolutions in int8."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from metastyle.system.files import blaming, temporary_folder
from metastyle.system.optional import need


def quantise(model: Any, pictures: Sequence[np.ndarray]) -> Any:
    """Quantises the convolutions of an ONNX graph to int8, with one scale for each output channel.

    pictures: [height, width, 3], of the dtype that the graph takes; onnxruntime calibrates the activations on them.

    Raises InputError where there is no room for temporary files, several times as large as the graph.
    """
    onnx, quantization = need("onnx", "`onnx`"), need("onnxruntime.quantization", "`onnx`")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(pictures)

        def get_next(self):
            picture = next(self.left, None)
            return None if picture is None else {"photograph": picture[None]}

    with blaming("TMPDIR"), temporary_folder() as folder, _quiet():
        source, out = folder / "float32.onnx", folder / "int8.onnx"
        onnx.save(model, source)
        quantization.quantize_static(
            source,
            out,
            Reader(),
            op_types_to_quantize=["Conv"],
            per_channel=True,
            quant_format=quantization.QuantFormat.QDQ,
        )
        return onnx.load(out)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences onnxruntime's advice, which is for other kinds of graphs and goes through the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
