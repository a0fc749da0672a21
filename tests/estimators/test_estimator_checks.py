"""scikit-learn's own suite, on the default constructor."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys, torch
from collections import Counter
from sklearn.utils.estimator_checks import check_estimator
from growlattice import LatticeClassifier
torch.set_num_threads(int(sys.argv[1]))
checks = check_estimator(LatticeClassifier(), on_fail=None, on_skip=None)
for check in checks:
    if check["status"] != "passed":
        print(check["check_name"], check["status"], repr(check["exception"]))
print(dict(Counter(check["status"] for check in checks)))
"""


@pytest.mark.parametrize("n_threads", [1, 2])
def test_check_estimator(n_threads):
    """In a process of its own: SCIPY_ARRAY_API must be set before scipy is imported."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(n_threads)],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "{'passed': 63}\n"
