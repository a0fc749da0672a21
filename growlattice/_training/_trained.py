"""The result of training: all that a fitted estimator, a file or a checkpoint holds beside the parameters."""

from dataclasses import dataclass, field

import pandas as pd

from ..lattice import Lattice
from ._input_form import InputForm
from ._target_form import ClassTargets, NumberTargets


@dataclass(frozen=True)
class TrainedLattice:
    """A lattice in training or after it, and what is known of it.

    Attributes
    ----------
    lattice : Lattice
    form : InputForm
    target_form : ClassTargets or NumberTargets
    seed : int
        Of shuffling, noise and augmentation.
    history : list of dict
        See `history_` of the estimators.
    costs : dict of str to float, default=None
        Of the fitted lattice; None during training.
    time_used : float, default=None
        In steps; None during training.
    resources : DataFrame, default=None
        Written by `prune` and `halt`.
    halting : dict, default=None
        Written by `halt`.
    growth : list of dict
        See `growth_` of the estimators.
    moments : dict of str to tensor
        Of the optimizer; empty after training.
    """

    lattice: Lattice
    form: InputForm
    target_form: ClassTargets | NumberTargets
    seed: int
    history: list
    costs: dict | None = None
    time_used: float | None = None
    resources: pd.DataFrame | None = None
    halting: dict | None = None
    growth: list = field(default_factory=list)
    moments: dict = field(default_factory=dict)
