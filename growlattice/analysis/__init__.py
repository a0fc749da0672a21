"""What fitted models have in common, with each other and with people: arrays in, arrays out.

The analyses of Butkus, Garzón Gupta and Kriegeskorte (2026), sections 4.2 to 4.4: which images models get wrong, how
far their outputs differ, what accuracy a resource buys, whether the time used goes with human reaction times and
judgement uncertainty, and intervals over images and seeds.
"""

from ._accuracy import efficiency, error_consistency, error_consistency_matrix
from ._correlation import Correlation, correlate
from ._intervals import SeedInterval, seed_interval
from ._outputs import embed_models, output_divergence

__all__ = [
    "Correlation",
    "SeedInterval",
    "correlate",
    "efficiency",
    "embed_models",
    "error_consistency",
    "error_consistency_matrix",
    "output_divergence",
    "seed_interval",
]
