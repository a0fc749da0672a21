"""What a lattice is for: everything in which one that tells classes differs from one that gives numbers.

A task says what becomes of the readout, how the answers of the steps are mixed, what an error costs, and what the score
is. The rest of the lattice, and all that is built on it, does not know which task it has.
"""

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from ._costs import error_cost, squared_error_cost

CONSTANT = 1e-12  # variance, in units of that of the training set, of targets that are all the same


def _time_weights(output):
    """Time-selection weights, of shape (n_images, n_steps); each row sums to 1."""
    return output.log_weights.exp()


class LatticeOutput(NamedTuple):
    """The answer of a lattice about a batch of images, in the lattice's logical form.

    Attributes
    ----------
    step_log_probas : tensor of shape (n_images, n_steps, n_classes)
        Log-probabilities of the classes after each step. A removed step repeats the answer of the last one that is
        left.
    log_weights : tensor of shape (n_images, n_steps)
        Logarithm of the time-selection weights; for a removed step the lowest number there is, so that its weight is
        0 and a product of the two is 0 too.
    activity : tensor of shape (n_images, n_steps, n_layers, n_channels)
        Activations after the ReLU, averaged over space; 0 for what was removed.
    scores : tensor of shape (n_images, n_steps)
        Time-selection scores, of norm 1 over all steps before any was removed; 0 for a removed step.
    """

    step_log_probas: torch.Tensor
    log_weights: torch.Tensor
    activity: torch.Tensor
    scores: torch.Tensor

    weights = property(_time_weights)

    @property
    def log_probas(self):
        """Log-probabilities of the mixture over steps, of shape (n_images, n_classes)."""
        return torch.logsumexp(self.step_log_probas + self.log_weights.unsqueeze(2), dim=1)

    answer = log_probas


class RegressionOutput(NamedTuple):
    """The answer of a lattice that gives numbers.

    Attributes
    ----------
    step_values : tensor of shape (n_images, n_steps, n_outputs)
        Numbers after each step, on the scale of the targets of training. A removed step repeats the answer of the last
        one that is left.
    log_weights, activity, scores : tensor
        As in :class:`LatticeOutput`.
    """

    step_values: torch.Tensor
    log_weights: torch.Tensor
    activity: torch.Tensor
    scores: torch.Tensor

    weights = property(_time_weights)

    @property
    def values(self):
        """Mean of the steps' numbers under the time-selection weights, of shape (n_images, n_outputs)."""
        return (self.weights.unsqueeze(2) * self.step_values).sum(dim=1)

    answer = values


class Classification:
    """Probabilities of classes; targets are indices of classes, of shape (n_images,)."""

    output = LatticeOutput
    score_name = "accuracy"

    @staticmethod
    def step_answers(readout):
        """What an output holds of the steps, from what the readout gives, of shape (n_images, n_steps, n_classes)."""
        return functional.log_softmax(readout, dim=2)

    @staticmethod
    def error(output, targets, sample_weight=None):
        """The error cost of an output on a batch."""
        return error_cost(output.log_probas, targets, sample_weight)

    @staticmethod
    def unit(targets, sample_weight=None):
        """What the score of a set of images is relative to; here there is nothing."""
        return None

    @staticmethod
    def image_scores(output, targets, unit):
        """What each image adds to the score, which is their weighted mean: 1 where the answer is right, and else 0."""
        return (output.answer.argmax(dim=1) == targets).to(output.answer.dtype)

    @staticmethod
    def sureness(answer, before):
        """How sure answers so far are, of shape (n_images,): the logarithm of their largest probability.

        Parameters
        ----------
        answer : tensor of shape (n_images, n_classes)
        before : tensor of shape (n_images, n_classes) or None
            The answer of the step before, if there was one.
        """
        return answer.amax(dim=1).clamp(max=0.0)  # rounding may put the logarithm of a sum of shares above 0

    @staticmethod
    def least_sureness(threshold):
        """What a sureness has to exceed for the largest probability to exceed a threshold."""
        return math.log(threshold)


class Regression:
    """Numbers; targets are numbers of mean 0 and variance 1 over the training set, of shape (n_images, n_outputs)."""

    output = RegressionOutput
    score_name = "r2"

    @staticmethod
    def step_answers(readout):
        """The readout as it is, of shape (n_images, n_steps, n_outputs)."""
        return readout

    @staticmethod
    def error(output, targets, sample_weight=None):
        """The error cost of an output on a batch."""
        return squared_error_cost(output.values, targets, sample_weight)

    @staticmethod
    def unit(targets, sample_weight=None):
        """Variance of each output over a set of images, of shape (n_outputs,)."""
        weights = torch.ones_like(targets[:, 0]) if sample_weight is None else sample_weight.to(targets.dtype)
        weights = weights / weights.sum()
        return weights @ (targets - weights @ targets).square()

    @staticmethod
    def image_scores(output, targets, unit):
        """What each image adds to R2: 1 less its squared error over the variance, averaged over outputs.

        As in scikit-learn, an output that is the same for all images adds 0.
        """
        squares = (output.answer - targets).square()
        return torch.where(unit > CONSTANT, 1 - squares / unit, 0.0).mean(dim=1)

    @staticmethod
    def sureness(answer, before):
        """How sure answers so far are, of shape (n_images,): how little they have moved, as minus the root mean square
        over outputs. After the first step nothing is known of that.

        Parameters
        ----------
        answer : tensor of shape (n_images, n_outputs)
        before : tensor of shape (n_images, n_outputs) or None
            The answer of the step before, if there was one.
        """
        if before is None:
            return torch.full_like(answer[:, 0], -torch.inf)
        return -(answer - before).square().mean(dim=1).sqrt()

    @staticmethod
    def least_sureness(threshold):
        """What a sureness has to exceed for the movement to be below a threshold."""
        return -threshold


TASKS = {"classification": Classification, "regression": Regression}
