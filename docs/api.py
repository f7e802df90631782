"""Writes docs/api.md from the docstrings of what `import metastyle` offers: python docs/api.py"""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import metastyle
from metastyle.images import codec

PAGE = Path(__file__).with_name("api.md")
NAMES = (
    "transfer",
    "load",
    "Stylizer",
    "load_style",
    "Style",
    "Knobs",
    "blend",
    "compose",
    "stylize_batch",
    "stylize_video",
    "InputError",
    "Adjusted",
)
_SHORTER = {
    str(codec.Picture): "Picture",
    "collections.abc.": "",
    "typing.": "",
    "numpy.": "np.",
    "jax.jaxlib._jax.Array": "jax.Array",
}


def page() -> str:
    """The whole page, as Markdown."""
    parts = [
        "# The Python API",
        "Made from the docstrings by `python docs/api.py`.",
        "A `Picture` is a path, a PIL image, an array, or the bytes of a file.",
        inspect.getdoc(metastyle),
    ]
    for name in NAMES:
        thing = getattr(metastyle, name)
        parts += [f"## `{name}`", *_described(thing)]
        if inspect.isclass(thing) and dataclasses.is_dataclass(thing) and name != "Knobs":
            methods = {key: value for key, value in vars(thing).items() if not key.startswith("_") and callable(value)}
            for key, value in methods.items():
                parts += [f"### `{name}.{key}`", *_described(value)]
    return "\n\n".join(parts) + "\n"


def _described(thing: Any) -> list[str]:
    call = [] if inspect.isclass(thing) else [f"```python\n{_called(thing)}\n```"]
    return [*call, f"```text\n{inspect.getdoc(thing)}\n```"]


def _called(function: Any) -> str:
    """The signature, a line for each parameter, in the names of the package."""
    signature = inspect.signature(function)
    lines = [str(parameter) for parameter in signature.parameters.values() if parameter.name != "self"]
    first = next((i for i, p in enumerate(signature.parameters.values()) if p.kind is p.KEYWORD_ONLY), None)
    if first is not None:
        lines.insert(first - ("self" in signature.parameters), "*")
    text = f"{function.__name__}(\n" + "".join(f"    {line},\n" for line in lines) + ")"
    if signature.return_annotation is not signature.empty:
        text += f" -> {inspect.formatannotation(signature.return_annotation)}"
    for long, short in _SHORTER.items():
        text = text.replace(long, short)
    return re.sub(r"\bmetastyle(\.\w+)*\.(?=[A-Z])", "", text)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
