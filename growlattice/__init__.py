"""Networks that grow in breadth, depth and time as far as it pays, as scikit-learn estimators."""

from ._estimators._classifier import LatticeClassifier
from ._estimators._path import pressure_path
from ._estimators._regressor import LatticeRegressor
from ._estimators._sweep import read_sweep
from ._storage._memory import forget
from ._version import __version__

__all__ = ["LatticeClassifier", "LatticeRegressor", "__version__", "forget", "pressure_path", "read_sweep"]
