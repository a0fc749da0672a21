"""Predictions that end early: each image runs until its answer so far is sure enough.

Calibration looks at the answers that staying in for 1, 2, ... steps would have given, all from one run over all steps.
"""

from functools import partial
from numbers import Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import is_classifier
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from ..lattice._halting import answers_so_far, run_until_sure, sureness_so_far
from ._parameters import check_above_chance, check_keep, check_parameters, warn_of_few_images
from ._summary import resources_row
from ._thresholds import lowest_threshold, steps_until


class HaltingMixin:
    """Halting as methods of an estimator."""

    def halt(self, X, y=None, keep=0.98, confidence=None, sample_weight=None):
        """Let predictions end early: after the first step whose answer is sure enough.

        The answer so far is the mixture over the steps run, with weights from their scores alone. A classifier's image
        stops when the largest probability of that answer exceeds a threshold; a regressor's when the answer has moved
        by less than a threshold since the step before, in standard deviations of y (the root mean square over outputs),
        and so after two steps at the earliest; and each after the last step in any case. The threshold is the
        least strict that keeps, as all stricter ones do, the share `keep` of the score above chance,
        ``chance + keep * (score - chance)``, on the images given: of accuracy, with a chance of one over the number of
        classes, or of R2, with a chance of 0. Give images that neither training nor the final test uses. From then on
        `predict`, and a classifier's `predict_proba` and `predict_log_proba`, stop early; staged answers,
        `time_weights` and `time_used` are of all steps still. `fit`, `partial_fit`, `prune` and `relax` take halting
        back, since another lattice needs another threshold.

        Parameters
        ----------
        X, y
            Images and what to answer, as in `fit`. ``halt(None)`` takes halting back.
        keep : float, default=0.98
            Share of the score above chance to keep, from 0 to 1.
        confidence : float, default=None
            How certain it has to be, above 0 and below 1, that `keep` holds for all images like these and not for these
            alone. Without it, it holds for others on average only nearly. Of a regressor it is the share of an R2 whose
            unit is the variance of y in training and in which the squared error of an image counts as four such
            variances at most, for without a bound nothing could be guaranteed. With weights, it takes it that no other
            image weighs more than the heaviest of these. See :doc:`/concepts/time`.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images in the score. A classifier's `class_weight` counts too, as it does in `fit`.

        Returns
        -------
        self : estimator
            With `halting_`, and a row "halted" in `resources_`.

        Raises
        ------
        ValueError
            If the score on X is not above chance, or if the images are too few for the confidence asked for.

        Warns
        -----
        UserWarning
            If a classifier's images are so few that the share that may be lost is less than one of them.

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
        check_keep(keep)
        if confidence is not None and not (isinstance(confidence, Real) and 0 < confidence < 1):
            raise ValueError(
                f"confidence={confidence!r} must be a number above 0 and below 1, such as 0.95, or None for no "
                "guarantee."
            )
        answers, data = self._answers_so_far(X, y, sample_weight)
        scores, weight = self._step_scores(answers, data), data.sample_weight
        name, full, chance = self.lattice_.task.score_name, np.average(scores[:, -1], weights=weight), self._chance()
        if chance < 1:
            check_above_chance(name, full, chance)
        if confidence is None and is_classifier(self):
            warn_of_few_images(keep, full, chance, len(scores))
        kept, least = (scores, 0.0) if confidence is None else self._bounded_scores(answers, data)
        sureness, thresholds, least_sureness = self._sureness(answers)
        guarantee = confidence if chance < 1 else None  # of a single class, all is kept for certain
        shares = dict(keep=keep, chance=chance, least=least, weight=weight, guarantee=guarantee)
        found = lowest_threshold(sureness, kept, least_sureness, **shares)
        self._forget_halting()
        self.halting_ = {
            "threshold": float(thresholds[least_sureness.index(found)]),
            "keep": float(keep),
            "confidence": None if confidence is None else float(confidence),
            "n_images": len(scores),
            **self._outcome(steps_until(sureness, found), scores, weight),
            f"{name}_all_steps": float(full),
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
            Columns "rule", "threshold", "mean_steps", "macs" (multiply-accumulates per image) and "accuracy" or "r2".
            Rows with the rule "halted" are of thresholds, from the strictest on; those with "trimmed" let all images
            run the same number of steps, and have no threshold.
        """
        check_is_fitted(self)
        answers, data = self._answers_so_far(X, y, sample_weight)
        scores, rows = self._step_scores(answers, data), []
        sureness, thresholds, least_sureness = self._sureness(answers)
        for threshold, least in zip(thresholds, least_sureness, strict=True):
            outcome = self._outcome(steps_until(sureness, least), scores, data.sample_weight)
            rows.append({"rule": "halted", "threshold": threshold, **outcome})
        for n_steps in range(1, scores.shape[1] + 1):
            outcome = self._outcome(np.full(len(scores), n_steps), scores, data.sample_weight)
            rows.append({"rule": "trimmed", "threshold": np.nan, **outcome})
        return pd.DataFrame(rows)

    def _answers_so_far(self, X, y, sample_weight):
        """The lattice's answers after each step that is left, and the images as a training set."""
        if sample_weight is not None and np.asarray(sample_weight).ndim == 1:
            sample_weight = check_array(sample_weight, ensure_2d=False, dtype=float, input_name="sample_weight")
            if sample_weight.max() > 0:  # no image is to count as several, however heavy
                sample_weight = sample_weight / (2 * sample_weight.max())
        data = self._training_set(X, y, sample_weight, learn=False)
        return self._collect_images(data.images, partial(answers_so_far, self.lattice_)), data

    def _sureness(self, answers):
        """How sure the answers so far are; the thresholds to try; and what the sureness has to exceed at each."""
        task, thresholds = self.lattice_.task, self._thresholds()
        sureness = sureness_so_far(task, torch.from_numpy(answers)).numpy()
        return sureness, thresholds, [float(task.least_sureness(threshold)) for threshold in thresholds]

    def _outcome(self, steps, scores, weight):
        """What it comes to if each image runs so many steps."""
        macs = np.array([self.lattice_.macs(n_steps) for n_steps in range(1, scores.shape[1] + 1)])
        stopped = np.take_along_axis(scores, steps[:, None] - 1, axis=1)[:, 0]
        means = {"mean_steps": steps, "macs": macs[steps - 1], self.lattice_.task.score_name: stopped}
        return {name: float(np.average(values, weights=weight)) for name, values in means.items()}

    def _run(self):
        """How predictions run the lattice, for `collect`: None for all steps."""
        return partial(run_until_sure, threshold=self.halting_["threshold"]) if hasattr(self, "halting_") else None

    def _add_resources(self):
        """Add to `resources_` the row "halted", below "before" and "after" of `prune` or below "before" alone."""
        name = self.lattice_.task.score_name
        if not hasattr(self, "resources_"):
            row = resources_row(self.lattice_, **{name: self.halting_[f"{name}_all_steps"]})
            self.resources_ = pd.DataFrame.from_dict({"before": row}, orient="index")
        halted = resources_row(self.lattice_, **{name: self.halting_[name]})
        halted |= {"steps": self.halting_["mean_steps"], "macs": self.halting_["macs"]}
        self.resources_ = pd.concat([self.resources_, pd.DataFrame.from_dict({"halted": halted}, orient="index")])
