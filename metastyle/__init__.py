"""metastyle: a few gradient steps fit a style-transfer generator to a new painting.

    stylizer = metastyle.load("runs/tiny/bundle")
    style = stylizer.adapt(["a.jpg", "b.jpg"], steps=10)
    image = style.stylize("photo.jpg")

The package is imported lazily: `import metastyle` loads neither JAX nor any data library.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "load": "stylize.stylizer",
    "load_style": "stylize.stylizer",
    "Stylizer": "stylize.stylizer",
    "Style": "stylize.style",
    "Knobs": "stylize.style",
    "blend": "stylize.style",
    "compose": "stylize.style",
    "stylize_batch": "stylize.style",
    "InputError": "errors",
    "Adjusted": "errors",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"metastyle.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'metastyle' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
