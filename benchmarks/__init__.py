"""Measurements of growlattice. ``python -m benchmarks`` runs the suite; each file is a script of its own, too."""

import os
import time


def cpu_seconds():
    """CPU time of this process so far, and of the programs that it has run, such as compilers."""
    return time.process_time() + sum(os.times()[2:4])
