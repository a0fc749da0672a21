"""The form of y: learned in `fit`, it says how targets are written for the lattice, and how its answers are read."""

from dataclasses import dataclass

import numpy as np

from ._rounding import is_constant, warn_of_constants


@dataclass(frozen=True)
class ClassTargets:
    """Labels, which the lattice knows by their indices.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted.
    """

    classes: np.ndarray

    @classmethod
    def learn(cls, y, classes=None):
        """The form of labels y; `classes` are all that will ever come, by default those of y."""
        classes = np.unique(y if classes is None else classes)
        if classes.dtype.kind == "U":  # no wider than they need: as a file and a pickle would give them back
            return cls(np.array(classes.tolist(), dtype=str))
        return cls(classes.astype(classes.dtype.newbyteorder("=")))

    @property
    def n_outputs(self):
        """Logits: at least two, for the error cost of one class has no unit."""
        return max(2, len(self.classes))

    def encode(self, y):
        """Indices of labels into the classes, of shape (n,)."""
        kinds = {y.dtype.kind, self.classes.dtype.kind}  # NumPy would write numbers as text, and find them equal
        unknown = np.unique(y) if kinds & set("US") and kinds & set("biuf") else np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(
                f"y holds the classes {unknown!r}, which the lattice was not made for: {self.classes!r}. "
                "Give labels of these. For others, fit anew, without warm_start; partial_fit takes all classes that "
                "will ever come in its first call."
            )
        return np.searchsorted(self.classes, y)

    def decode(self, indices):
        """The labels that indices stand for."""
        return self.classes[indices if len(self.classes) > 1 else np.zeros_like(indices)]

    def of_classes(self, log_probas):
        """Log-probabilities without the second logit that a lattice fitted on one class has."""
        return log_probas if len(self.classes) > 1 else np.zeros_like(log_probas[:, :1])

    def check(self):
        """Raise a ValueError unless this is a form that some y can have, as what comes from a file may not be."""
        if not isinstance(self.classes, np.ndarray) or not np.array_equal(self.classes, np.unique(self.classes)):
            raise ValueError(f"no labels have the form {self}")


@dataclass(frozen=True)
class NumberTargets:
    """Numbers, which the lattice knows by how far they are from their mean, in standard deviations.

    Attributes
    ----------
    mean, std : ndarray of float64 of shape (n_outputs,)
        Weighted, over the training images; the deviation of an output that is always the same is given as 1.
    one_axis : bool
        Whether y has the shape (n,), and not (n, n_outputs).
    """

    mean: np.ndarray
    std: np.ndarray
    one_axis: bool

    @classmethod
    def learn(cls, y, sample_weight, one_axis):
        """The form of numbers y, of shape (n, n_outputs), with weights or None."""
        mean = np.average(y, axis=0, weights=sample_weight)
        largest = np.abs(y - mean).max(axis=0)  # so that neither huge nor tiny deviations are lost when squared
        scale = np.where(largest > 0, largest, 1.0)
        std = scale * np.sqrt(np.average(((y - mean) / scale) ** 2, axis=0, weights=sample_weight))
        constant = is_constant(mean, std)
        if np.ptp(y[:, constant] if sample_weight is None else y[sample_weight > 0][:, constant], axis=0).any():
            warn_of_constants("columns of y")
        return cls(mean, np.where(constant, 1.0, std), one_axis)

    @property
    def n_outputs(self):
        return len(self.mean)

    def encode(self, y):
        """Standardized numbers, of shape (n, n_outputs)."""
        if y.shape[1] != self.n_outputs:
            raise ValueError(
                f"y has {y.shape[1]} columns, but the lattice was made for {self.n_outputs}. Give as many as in the "
                "first call, or fit with warm_start=False."
            )
        return (y - self.mean) / self.std

    def decode(self, values):
        """Numbers in the units and the shape of y, in float64."""
        numbers = self.mean + self.std * values.astype(np.float64)
        return numbers[:, 0] if self.one_axis else numbers

    def check(self):
        """Raise a ValueError unless this is a form that some y can have, as what comes from a file may not be."""
        sound = type(self.one_axis) is bool and not (self.one_axis and len(self.mean) > 1)
        for numbers in (self.mean, self.std):
            sound = sound and isinstance(numbers, np.ndarray) and numbers.dtype == np.float64
            sound = sound and len(numbers) == len(self.mean) > 0 and np.isfinite(numbers).all()
        if not sound or not (self.std > 0).all():
            raise ValueError(f"no numbers have the form {self}")


TARGET_FORMS = {"classification": ClassTargets, "regression": NumberTargets}
