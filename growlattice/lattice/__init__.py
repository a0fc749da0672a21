"""The recurrent convolutional lattice and its costs as plain PyTorch: no scikit-learn, no skorch.

Whoever writes a cost, or wants the prices on a network of their own, imports from here.
"""

from ._costs import breadth_cost, depth_cost, error_cost, squared_error_cost, time_cost
from ._network import Lattice
from ._operations import add_normalized, divisive_normalization, time_selection_weights
from ._surgery import compact, extend
from ._tasks import LatticeOutput, RegressionOutput

__all__ = [
    "Lattice",
    "LatticeOutput",
    "RegressionOutput",
    "add_normalized",
    "breadth_cost",
    "compact",
    "depth_cost",
    "divisive_normalization",
    "error_cost",
    "extend",
    "squared_error_cost",
    "time_cost",
    "time_selection_weights",
]
