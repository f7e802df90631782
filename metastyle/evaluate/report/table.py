"""The table of an evaluation for a terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from metastyle.evaluate.results import Results, Row, Summary


class Column(NamedTuple):
    """A column: `key` is a field of Row and Summary. `better` is ↓ where less is better, ↑ where more is."""

    key: str
    label: str
    digits: int
    better: str
    meaning: str


_CLOSED = "share of the way from the photograph's J (0) to that of Gatys's optimisation (1); mean over pairs"
COLUMNS = (
    Column("J", "J", 3, "↓", "the total loss, C + 5 S"),
    Column("C", "C", 3, "↓", "content loss: how far the VGG features are from the photograph's; 0 is the photograph"),
    Column("S", "S", 3, "↓", "style loss: how far the Gram matrices are from the style's; 0 is the style picture"),
    Column("S2", "S2", 3, "↓", "S at half size: larger shapes"),
    Column("S4", "S4", 3, "↓", "S at quarter size: the largest shapes"),
    Column("J3", "J3", 3, "↓", "C + 5 times the mean of S, S2 and S4"),
    Column("S_mean_std", "S_mean_std", 3, "↓", "style loss of means and standard deviations: a second opinion on S"),
    Column("closed", "closed", 3, "↑", _CLOSED),
    Column("closed_median", "median", 3, "↑", "median of closed over pairs"),
    Column("closed_ratio", "ratio", 3, "↑", "closed of the mean losses: pairs on which little is to gain weigh less"),
    Column("closed3", "closed3", 3, "↑", "closed of J3, with Gatys's optimisation of J3 (gatys3) as 1"),
    Column("ssim", "SSIM", 3, "↑", "structural similarity of the luma with the photograph's; 1 is the photograph"),
    Column("cfsd", "CFSD", 3, "↓", "distance between self-similarities of the features; 0 is the photograph"),
    Column("grid", "grid", 2, "↓", "how far a grid of period 2 or 4 px stands out; about 1 where there is none"),
    Column("shift", "shift", 3, "↓", "share of the output that changes when the photograph moves by 1 to 3 px"),
    Column("patches", "patches", 3, "↓", "distance of small patches from the style's at five scales; no network"),
    Column("colors", "colors", 2, "↓", "distance of the colours from the style's, in units of CIELAB"),
    Column("contrast", "contrast", 2, "", "deviation of the lightness over the style's; 1 is the style's own contrast"),
    Column("dark", "dark", 0, "", "2nd percentile of the lightness, of 100"),
    Column("light", "light", 0, "", "98th percentile of the lightness, of 100"),
    Column("lpips", "LPIPS", 3, "↓", "learned perceptual distance from the photograph"),
    Column("artfid", "ArtFID", 2, "↓", "(1 + LPIPS) (1 + FID): content kept and style had, over all pairs"),
    Column("adapt_s", "adapt_s", 2, "↓", "seconds to fit the style"),
    Column("stylize_ms", "stylize_ms", 1, "↓", "milliseconds to stylise a photograph once the style is fitted"),
    Column("pairs", "pairs", 0, "", "photograph-style pairs that the means are over"),
)
_NEEDS = {  # what columns take that are there only where they were measured
    "closed3": "the photograph and gatys3",
    "shift": "a method that stylises any photograph",
    "patches": "pictures of at least 112 px",
    "lpips": "the weights of its network",
    "artfid": "the weights of LPIPS's and of its own network, and a method that is run on all pairs, at least 2",
}
OF_SUMMARY = ("closed_median", "closed_ratio", "artfid", "pairs")  # columns that no single pair has


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table of cells, whose first line is its head, as Markdown."""
    head, *lines = (f"| {' | '.join(line)} |" for line in table)
    return "\n".join([head, "|---" * len(table[0]) + "|", *lines])


def format_table(results: Results) -> str:
    """The summary for a terminal: a line per method and number of steps, then notes on what the numbers stand on."""
    columns = measured_columns(results.summary)
    cells = [["method", "steps", *(c.label for c in columns)]]
    for entry in results.summary:
        numbers = [format_number(getattr(entry, c.key), c.digits) for c in columns]
        cells.append([entry.method, str(entry.steps), *numbers])
    return "\n".join([*align(cells), "", *describe_basis(results)])


def measured_columns(entries: Sequence[Row | Summary]) -> list[Column]:
    """The columns of a table of these entries; LPIPS and ArtFID are among them only where they were measured."""
    return [c for c in COLUMNS if c.key not in _NEEDS or any(getattr(e, c.key, None) is not None for e in entries)]


def format_number(value: float | None, digits: int) -> str:
    """The number with so many digits behind the point; "-" where it was not measured."""
    return "-" if value is None else f"{value:.{digits}f}"


def align(cells: list[list[str]], text: int = 1) -> list[str]:
    """Lines of a table; the first `text` columns are flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(c.ljust(w) if i < text else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]


def describe_basis(results: Results) -> list[str]:
    """What the numbers stand on, and what is missing from them."""
    notes = _notes_on_closed(results)
    if skipped := results.skipped:
        some = ", ".join(f"{skip.file!r} ({skip.reason})" for skip in skipped[:3])
        more = f" and {len(skipped) - 3} more" if skipped[3:] else ""
        notes.append(f"skipped, since they could not be read: {some}{more}")
    measured = measured_columns(results.summary)
    missing = [c for c in COLUMNS if c.key in _NEEDS and c not in measured]
    return notes + [f"{c.label}: not measured, it needs {_NEEDS[c.key]}" for c in missing]


def _notes_on_closed(results: Results) -> list[str]:
    counts = [entry.closed_pairs for entry in results.summary if entry.closed is not None]
    if not counts:
        return ["closed: not measured, it needs the photograph and Gatys's optimisation"]
    fewest, most = min(counts), max(counts)
    on = f"{most}" if fewest == most else f"{fewest} to {most}"
    note = f"closed: 0 is the photograph, 1 is Gatys's optimisation; on {on} of {len(results.pairs)} pairs"
    if results.left_out:
        left_out = ", ".join(map(str, results.left_out))
        note += f", without {left_out}, where Gatys's hardly improves on the photograph"
    return [note, "the style picture as output has a high closed with the content gone: read closed with C and S"]
