"""Running a lattice no longer than each image needs: it stops where its answer so far is sure enough.

The rule is causal. After each step the answer so far is the mixture over the steps run, with weights from their scores
alone; after the last step it is the answer of all steps.
"""

import math
from typing import NamedTuple

import torch


class HaltedOutput(NamedTuple):
    """The answer of a lattice that stopped for each image at a step of its own.

    Attributes
    ----------
    log_probas : tensor of shape (n_images, n_classes)
        Log-probabilities of the mixture over the steps run.
    steps_run : tensor of int64 of shape (n_images,)
    """

    log_probas: torch.Tensor
    steps_run: torch.Tensor


def answers_so_far(lattice, output):
    """The answer so far after each step, from the output of a lattice that ran all of them.

    Parameters
    ----------
    lattice : Lattice
    output : LatticeOutput

    Returns
    -------
    tensor of shape (n_images, steps_left, n_classes)
        Log-probabilities.
    """
    runs = range(1, lattice.steps_left + 1)
    return torch.stack([lattice.first_steps(output, n_run).log_probas for n_run in runs], dim=1)


@torch.no_grad()
def run_until_sure(lattice, images, conv_dtype=None, *, threshold):
    """Run a lattice on each image until the largest probability of its answer so far exceeds a threshold.

    Images that have stopped leave the batch before anything of the next step is computed.

    Parameters
    ----------
    lattice : Lattice
    images, conv_dtype
        As for :meth:`Lattice.forward`.
    threshold : float
        Above 0 and at most 1.

    Returns
    -------
    HaltedOutput
    """
    state = lattice.start(images, conv_dtype)
    left = torch.arange(len(images), device=images.device)  # images that have not stopped
    log_probas = state.first_drive.new_empty(len(images), lattice.config["n_outputs"])
    steps_run = torch.full_like(left, lattice.steps_left)
    activities = []
    for n_run in range(1, lattice.steps_left + 1):
        activities.append(lattice.step(state, bottom_up_only=True))
        answer = lattice.read(torch.stack(activities, dim=1)).log_probas
        log_probas[left] = answer  # of images that go on, until their next step
        if n_run == lattice.steps_left:
            break
        unsure = answer.amax(dim=1) <= math.log(threshold)
        rows = unsure.nonzero().squeeze(1)
        if len(rows) < len(left):
            steps_run[left[~unsure]] = n_run
            if not len(rows):
                break
            left, state = left[rows], state.images(rows)
            activities = [activity[rows] for activity in activities]
        lattice.drive_next(state)
    return HaltedOutput(log_probas, steps_run)
