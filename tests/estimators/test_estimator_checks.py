"""scikit-learn's own suite, with a third of the default epochs; .ci/nightly runs it on the estimators as they are."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys, growlattice, torch
from collections import Counter
from sklearn.utils.estimator_checks import check_estimator
torch.set_num_threads(int(sys.argv[2]))
checks = check_estimator(eval(sys.argv[1], vars(growlattice)), on_fail=None, on_skip=None)
for check in checks:
    if check["status"] != "passed":
        print(check["check_name"], check["status"], repr(check["exception"]))
print(dict(Counter(check["status"] for check in checks)))
"""


# The threads are torch's outside of a fit, which must not decide anything; more of them can only go wrong in more ways.
@pytest.mark.parametrize(
    "estimator, n_threads, n_checks",
    [("LatticeClassifier(max_epochs=10)", 2, 63), ("LatticeRegressor(max_epochs=10)", 1, 60)],
)
def test_check_estimator(estimator, n_threads, n_checks):
    """In a process of its own: SCIPY_ARRAY_API must be set before scipy is imported."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, estimator, str(n_threads)],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{{'passed': {n_checks}}}\n"
