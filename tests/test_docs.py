"""The pages in docs/: the notebook runs, the commands use existing flags, the API page is up to date."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
from absl import flags

from metastyle.cli import commands
from tests.support.places import ROOT

DOCS = ROOT / "docs"


def lines(page):
    """Yields the commands in the shell blocks of a page, joined where a backslash breaks them."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()


COMMANDS = [line for line in lines(DOCS / "control.md") if "metastyle " in line]
COMMANDS += [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("metastyle ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_page_are_accepted(line):
    words = shlex.split(line.partition("metastyle ")[2].partition(" > ")[0])
    command, values = commands.COMMANDS[words[0]], flags.FlagValues()
    command.define(values)
    names = values(words)[1:]
    assert not names or command.takes_names
    assert all(values[name].value for name in command.needs)


def flags_of(main):
    text = (ROOT / "experiments" / f"{main}.py").read_text()
    names = re.findall(r'(?:DEFINE_\w+|define_names|define_list)\(\s*f?"([\w{}]+)"', text)
    found = set(names) | ({"config"} if "config_flag()" in text else set())
    return found | ({f"{x}_weight" for x in ("content", "style", "tv")} if "{name}_weight" in found else set())


def test_every_documented_experiment_has_the_flags_that_are_used():
    sources = (path for folder in ("experiments", "configs") for path in (ROOT / folder).rglob("*"))
    pages = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(path for path in sources if path.suffix in (".md", ".py"))]
    found = [
        (page.name, *match)
        for page in pages
        for match in re.findall(r"python -m experiments\.(\w+)([^`\n]*)", page.read_text().replace("\\\n", " "))
    ]
    assert len(found) > 60
    for page, main, rest in found:
        used = set(re.findall(r"(?<!\S)--(?:no)?(\w+)", rest))
        assert used <= flags_of(main), f"{page}: {main}{rest}"


def test_every_knob_of_the_page_has_its_picture():
    text = (DOCS / "control.md").read_text()
    shown = set(re.findall(r"(?<!metastyle/)images/(\w+\.\w+)", text))
    made = {
        Path(word).name for line in COMMANDS for word in line.split() if word.startswith(("--out", "--preview_out"))
    }
    given = {"mask_table.png", "mask_cup.png"}
    assert shown - given <= {name.partition("=")[2] or name for name in made}
    assert all((DOCS / "images" / name).is_file() for name in shown)


def test_links_of_the_pages_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "experiments" / "results").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
@pytest.mark.processes
def test_the_api_page_is_up_to_date():
    made = subprocess.run(
        [sys.executable, "-c", "import api; print(api.page(), end='')"], cwd=DOCS, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout == (DOCS / "api.md").read_text(), "run `python docs/api.py`"


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_the_notebook_runs(tmp_path):
    book = nbformat.read(DOCS / "tour.ipynb", as_version=4)
    assert sum(cell.cell_type == "code" for cell in book.cells) >= 10
    nbclient.NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [out for cell in book.cells for out in cell.get("outputs", ()) if "image/jpeg" in out.get("data", {})]
    assert len(shown) >= 8


def test_the_picture_of_the_layers_shows_every_folder():
    folders = {path.name for path in (ROOT / "metastyle").iterdir() if (path / "__init__.py").is_file()}
    for page in (ROOT / "README.md", DOCS / "architecture.md"):
        picture = re.search(r"```mermaid\n(.*?)```", page.read_text(), re.DOTALL)[1]
        assert set(re.findall(r'^ +(\w+)\["', picture, re.MULTILINE)) == folders | {"experiments"}, page.name


def test_modules_that_pages_name_exist():
    for page in (*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "experiments" / "results").glob("*.md")):
        for name in re.findall(r"`((?:metastyle|tests|configs|launch)/[\w/]+\.\w+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"
    for name in re.findall(r"`([a-z]+/[\w/]+\.py)`", (DOCS / "architecture.md").read_text()):
        assert (ROOT / name).exists() or (ROOT / "metastyle" / name).exists(), f"architecture.md: {name}"
