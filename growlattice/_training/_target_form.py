"""The form of y: learned in `fit`, it says how targets are written for the lattice, and how its answers are read."""

from dataclasses import dataclass

import numpy as np


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
        return cls(np.unique(y if classes is None else classes))

    @property
    def n_outputs(self):
        """Logits: at least two, for the error cost of one class has no unit."""
        return max(2, len(self.classes))

    def encode(self, y):
        """Indices of labels into the classes, of shape (n,)."""
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(
                f"y holds the classes {unknown!r}, which the lattice was not made for: {self.classes!r}. "
                "Give all classes in the first call, or fit with warm_start=False."
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


TARGET_FORMS = {"classification": ClassTargets}
