"""Displays of fitted lattices and of sweeps, and the functions that compute what they show.

As in scikit-learn, `from_estimator`, `from_predictions` and `from_frame` compute and draw. `plot` draws again, in the
axes given or in new ones, and stores them in `ax_` and their figure in `figure_`. Drawing needs matplotlib:
``pip install growlattice[plot]``.
"""

from ._attribution import AttributionDisplay, attribution_entropy, attribution_map
from ._expressivity import ExpressivityDisplay, expressivity_bottleneck
from ._halting import HaltingDisplay
from ._magnitude import MagnitudeDisplay
from ._occlusion import OcclusionDisplay, occlude
from ._sweeps import ParetoDisplay, PressureGridDisplay
from ._time_used import ExtremesDisplay, TimeUsedDisplay

__all__ = [
    "AttributionDisplay",
    "ExpressivityDisplay",
    "ExtremesDisplay",
    "HaltingDisplay",
    "MagnitudeDisplay",
    "OcclusionDisplay",
    "ParetoDisplay",
    "PressureGridDisplay",
    "TimeUsedDisplay",
    "attribution_entropy",
    "attribution_map",
    "expressivity_bottleneck",
    "occlude",
]
