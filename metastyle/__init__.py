"""metastyle: a few gradient steps fit a style-transfer generator to a new painting.

    picture = metastyle.transfer("photo.jpg", "painting.jpg", quality="best")

    stylizer = metastyle.load("runs/tiny/bundle")
    style = stylizer.adapt(["a.jpg", "b.jpg"], steps=10)
    image = style.stylize("photo.jpg")

The package is imported lazily: `import metastyle` loads neither JAX nor any data library.
"""

import importlib

TYPE_CHECKING = False  # type checkers take it for true; the `typing` module would double the time of the import
if TYPE_CHECKING:
    from metastyle.errors import Adjusted as Adjusted
    from metastyle.errors import InputError as InputError
    from metastyle.stylize.style import Knobs as Knobs
    from metastyle.stylize.style import Style as Style
    from metastyle.stylize.style import blend as blend
    from metastyle.stylize.style import compose as compose
    from metastyle.stylize.style import stylize_batch as stylize_batch
    from metastyle.stylize.stylizer import Stylizer as Stylizer
    from metastyle.stylize.stylizer import load as load
    from metastyle.stylize.stylizer import load_style as load_style
    from metastyle.stylize.transfer import transfer as transfer
    from metastyle.video.stylizing import stylize_video as stylize_video

__version__ = "0.1.0"

# The modules of the public names, which `__getattr__` imports when a name is first used.
_HOMES = {
    "load": "stylize.stylizer",
    "load_style": "stylize.stylizer",
    "Stylizer": "stylize.stylizer",
    "Style": "stylize.style",
    "Knobs": "stylize.style",
    "blend": "stylize.style",
    "compose": "stylize.style",
    "transfer": "stylize.transfer",
    "stylize_video": "video.stylizing",
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
