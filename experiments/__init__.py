"""The mains of research, which are started as modules of this package."""

import sys

from metastyle.system import signals

if sys.argv[0] == "-m":  # Python is looking for one of the mains: the program begins here, before its imports
    signals.watch()
