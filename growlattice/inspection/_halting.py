"""Display of what stopping early costs and saves."""

from ._drawing import Display, legend_above
from ._inputs import fitted_attribute

COLUMNS = ("rule", "threshold", "mean_steps", "macs")
SCORES = {"accuracy": "accuracy", "r2": "R2"}
LABELS = {"mean_steps": "steps run, mean", "macs": "multiply-accumulates per image, mean"}


class HaltingDisplay(Display):
    """Accuracy or R2 against steps: images that stop by themselves, at every threshold, beside all at as many steps.

    Parameters
    ----------
    curve : DataFrame
        What :meth:`growlattice.LatticeClassifier.halting_curve` returns, or that of a regressor.
    threshold : float, default=None
        Threshold to mark, such as ``halting_["threshold"]``.

    Attributes
    ----------
    halted, trimmed : DataFrame
        The rows of the two rules.
    marked : Series
        The row of the threshold that comes nearest to `threshold`, or None.
    score : {"accuracy", "r2"}
        The column that is drawn.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rows = [("halted", 0.9, 1.5, 10.0, 0.98), ("trimmed", np.nan, 1.0, 7.0, 0.9)]
    >>> columns = ["rule", "threshold", "mean_steps", "macs", "accuracy"]
    >>> curve = pd.DataFrame(rows, columns=columns)
    >>> float(HaltingDisplay(curve, threshold=0.9).marked["mean_steps"])
    1.5
    """

    def __init__(self, curve, threshold=None):
        missing = [name for name in COLUMNS if name not in curve]
        self.score = next((name for name in SCORES if name in curve), None)
        if self.score is None:
            missing.append(" or ".join(SCORES))
        if missing:
            raise ValueError(f"curve lacks the columns {missing}. Give what LatticeClassifier.halting_curve returns.")
        self.curve, self.threshold, self.marked = curve, threshold, None
        self.halted, self.trimmed = (curve[curve["rule"] == rule] for rule in ("halted", "trimmed"))
        if threshold is not None:
            self.marked = self.halted.iloc[(self.halted["threshold"] - threshold).abs().argmin()]

    @classmethod
    def from_estimator(cls, estimator, X, y, sample_weight=None, *, ax=None, x="mean_steps"):
        """Draw what stopping early comes to on images X with answers y; the threshold of `halt` is marked if there is
        one."""
        curve = fitted_attribute(estimator, "halting_curve")(X, y, sample_weight)
        return cls(curve, getattr(estimator, "halting_", {}).get("threshold")).plot(ax, x=x)

    @classmethod
    def from_frame(cls, curve, threshold=None, *, ax=None, x="mean_steps"):
        """Draw a curve that is already computed; the parameters are those of the class."""
        return cls(curve, threshold).plot(ax, x=x)

    def _draw(self, ax, x="mean_steps"):
        if x not in LABELS:
            raise ValueError(f"x={x!r} must be one of {list(LABELS)}.")
        ax.plot(self.halted[x], self.halted[self.score], "-", color="tab:red", label="each image until it is sure")
        ax.plot(self.trimmed[x], self.trimmed[self.score], "o--", color="0.4", label="all images as long")
        if self.marked is not None:
            ax.plot(self.marked[x], self.marked[self.score], "D", color="tab:red", label="the threshold chosen")
        ax.set(xlabel=LABELS[x], ylabel=SCORES[self.score])
        legend_above(ax)
