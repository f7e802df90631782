"""Folders that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FORMAT_1 = ROOT / "tests" / "data" / "format_1"
