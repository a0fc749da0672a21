"""Predictions that end early: each image runs until its answer so far is sure enough.

Calibration looks at the answers that staying in for 1, 2, ... steps would have given, all from one run over all steps.
"""

import warnings
from functools import partial
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from ..lattice._halting import answers_so_far, run_until_sure
from ._parameters import check_parameters
from ._summary import resources_row
from ._thresholds import lowest_threshold, probability_thresholds, steps_until


class HaltingMixin:
    """Halting as methods of an estimator."""

    def halt(self, X, y=None, keep=0.98, confidence=None, sample_weight=None):
        """Let predictions end early: after the first step whose answer is sure enough.

        The answer so far is the mixture over the steps run, with weights from their scores alone. An image stops when
        the largest probability of that answer exceeds a threshold, and after the last step in any case. The threshold
        is the lowest that keeps the share `keep` of the accuracy above chance,
        ``chance + keep * (accuracy - chance)`` with a chance of one over the number of classes, on the images given.
        Give images that neither training nor the final test uses. From then on `predict`, `predict_proba` and
        `predict_log_proba` stop early; `staged_predict_proba`, `time_weights` and `time_used` are of all steps still.
        `fit`, `partial_fit`, `prune` and `relax` take halting back, since another lattice needs another threshold.

        Parameters
        ----------
        X, y
            Images and labels, as in `fit`. ``halt(None)`` takes halting back.
        keep : float, default=0.98
            Share of the accuracy above chance to keep, from 0 to 1.
        confidence : float, default=None
            How certain it has to be, above 0 and below 1, that `keep` holds for all images like these and not for these
            alone. Without it, it holds for others on average only nearly. See :doc:`/concepts/time`.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images in the accuracy. `class_weight` counts too, as it does in `fit`.

        Returns
        -------
        self : estimator
            With `halting_`, and a row "halted" in `resources_`.

        Raises
        ------
        ValueError
            If the accuracy on X is not above chance, or if the images are too few for the confidence asked for.

        Warns
        -----
        UserWarning
            If the images are so few that the share that may be lost is less than one of them.

        See Also
        --------
        steps_run : Steps that each image takes.
        halting_curve : What each threshold comes to.
        """
        check_is_fitted(self)
        check_parameters(self)
        if X is None:
            self._forget_halting()
            return self
        _check_shares(keep, confidence)
        answers, right, weight = self._answers_so_far(X, y, sample_weight)
        full, chance = np.average(right[:, -1], weights=weight), self._chance()
        if full <= chance < 1:
            raise ValueError(
                f"The accuracy on the images given is {full:.3f}, not above the chance level of {chance:.3f}. "
                "Train the lattice further, or check that X and y belong to the task it was fitted on."
            )
        if confidence is None and 0 < (1 - keep) * (full - chance) * len(right) < 1:
            warnings.warn(
                f"keep={keep} of an accuracy of {full:.3f} on {len(right)} images leaves less than one image to lose, "
                "so the criterion is as strict as keep=1. Give more images, or a lower keep.",
                stacklevel=2,
            )
        thresholds = np.log(probability_thresholds(len(self.classes_)))
        sureness = answers.max(axis=2)
        found = lowest_threshold(
            sureness, right, thresholds, keep=keep, chance=chance, weight=weight, guarantee=confidence
        )
        self._forget_halting()
        self.halting_ = {
            "threshold": float(np.exp(found)),
            "keep": float(keep),
            "confidence": None if confidence is None else float(confidence),
            "n_images": len(right),
            **self._outcome(steps_until(sureness, found), right, weight),
            "accuracy_all_steps": float(full),
        }
        self._add_resources()
        return self

    def steps_run(self, X):
        """Steps that each image takes in a prediction: fewer than there are only after `halt`.

        Parameters
        ----------
        X
            As in `fit`.

        Returns
        -------
        ndarray of int64 of shape (n,)
        """
        if not hasattr(self, "halting_"):
            check_is_fitted(self)
            return np.full(len(self._images(X)), self.lattice_.steps_left)
        return self._collect(X, lambda output: output.steps_run, self._run())

    def halting_curve(self, X, y, sample_weight=None):
        """What stopping early comes to on some images, for every threshold that `halt` may choose.

        Parameters
        ----------
        X, y, sample_weight
            As in `halt`.

        Returns
        -------
        DataFrame
            Columns "rule", "threshold", "mean_steps", "macs" (multiply-accumulates per image) and "accuracy". Rows with
            the rule "halted" are of thresholds, from the strictest down; those with "trimmed" let all images run the
            same number of steps, and have no threshold.
        """
        check_is_fitted(self)
        answers, right, weight = self._answers_so_far(X, y, sample_weight)
        sureness, rows = answers.max(axis=2), []
        for threshold in probability_thresholds(len(self.classes_)):
            steps = steps_until(sureness, np.log(threshold))
            rows.append({"rule": "halted", "threshold": threshold, **self._outcome(steps, right, weight)})
        for n_steps in range(1, right.shape[1] + 1):
            steps = np.full(len(right), n_steps)
            rows.append({"rule": "trimmed", "threshold": np.nan, **self._outcome(steps, right, weight)})
        return pd.DataFrame(rows)

    def _answers_so_far(self, X, y, sample_weight):
        """Answers after each step that is left, whether they are right, and weights of the images."""
        if sample_weight is not None and np.max(sample_weight) > 0:  # no image is to count as several, however heavy
            sample_weight = np.asarray(sample_weight, dtype=float) / (2 * np.max(sample_weight))
        data = self._training_set(X, y, sample_weight, learn=False)
        answers = self._collect_images(data.images, partial(answers_so_far, self.lattice_))
        right = answers[:, :, : len(self.classes_)].argmax(axis=2) == data.targets[:, None]
        return answers, right.astype(float), data.sample_weight

    def _outcome(self, steps, right, weight):
        """What it comes to if each image runs so many steps."""
        macs = np.array([self.lattice_.macs(n_steps) for n_steps in range(1, right.shape[1] + 1)])
        stopped = np.take_along_axis(right, steps[:, None] - 1, axis=1)[:, 0]
        means = {"mean_steps": steps, "macs": macs[steps - 1], "accuracy": stopped}
        return {name: float(np.average(values, weights=weight)) for name, values in means.items()}

    def _run(self):
        """How predictions run the lattice, for `collect`: None for all steps."""
        return partial(run_until_sure, threshold=self.halting_["threshold"]) if hasattr(self, "halting_") else None

    def _add_resources(self):
        """Add to `resources_` the row "halted", below "before" and "after" of `prune` or below "before" alone."""
        if not hasattr(self, "resources_"):
            row = resources_row(self.lattice_, accuracy=self.halting_["accuracy_all_steps"])
            self.resources_ = pd.DataFrame.from_dict({"before": row}, orient="index")
        halted = resources_row(self.lattice_, accuracy=self.halting_["accuracy"])
        halted |= {"steps": self.halting_["mean_steps"], "macs": self.halting_["macs"]}
        self.resources_ = pd.concat([self.resources_, pd.DataFrame.from_dict({"halted": halted}, orient="index")])


def _check_shares(keep, confidence):
    if not (isinstance(keep, Real) and 0 <= keep <= 1):
        raise ValueError(f"keep={keep!r} must be a number from 0 to 1: the share of the accuracy above chance to keep.")
    if confidence is not None and not (isinstance(confidence, Real) and 0 < confidence < 1):
        raise ValueError(
            f"confidence={confidence!r} must be a number above 0 and below 1, such as 0.95, or None for no guarantee."
        )
