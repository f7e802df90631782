"""Streams that are closed, full or without a reader, in processes of their own."""

import os
import subprocess
import sys

from tests.support.places import ROOT


def run(code, redirect=""):
    line = ["sh", "-c", f'"$@" {redirect}', "sh", sys.executable, "-c", code]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(line, cwd=ROOT, env=buffered, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_files_do_not_take_the_number_of_a_missing_stream(tmp_path):
    code = (
        "import os; from metastyle.system import standard_streams as s; s.open_missing();"
        f"f = open({str(tmp_path / 'x')!r}, 'w'); print('lost'); assert f.fileno() > 2; f.write('kept')"
    )
    assert run(code, "<&- >&- 2>&-") == (0, "", "")
    assert (tmp_path / "x").read_text() == "kept"


def test_flush_says_once_why_nothing_can_be_printed():
    code = (
        "import sys; from metastyle.system import standard_streams as s; print('lost');"
        "print([s.flush(), s.flush()], file=sys.stderr)"
    )
    status, _, err = run(code, ">/dev/full")
    assert (status, err) == (0, "['cannot print to standard output (No space left on device)', '']\n")
