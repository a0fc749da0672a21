"""Networks that grow in breadth, depth and time as far as it pays, as scikit-learn estimators."""

from ._classifier import LatticeClassifier
from ._sweep import read_sweep
from ._version import __version__

__all__ = ["LatticeClassifier", "__version__", "read_sweep"]
