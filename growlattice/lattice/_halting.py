"""Running a lattice no longer than each image needs: it stops where its answer so far is sure enough.

The rule is causal. After each step the answer so far is the mixture over the steps run, with weights from their scores
alone; after the last step it is the answer of all steps.
"""

from typing import NamedTuple

import torch


class HaltedOutput(NamedTuple):
    """The answer of a lattice that stopped for each image at a step of its own.

    Attributes
    ----------
    answer : tensor of shape (n_images, n_outputs)
        Log-probabilities, or numbers, of the mixture over the steps run.
    steps_run : tensor of int64 of shape (n_images,)
    """

    answer: torch.Tensor
    steps_run: torch.Tensor


def answers_so_far(lattice, output):
    """The answer so far after each step, from the output of a lattice that ran all of them.

    Parameters
    ----------
    lattice : Lattice
    output : LatticeOutput or RegressionOutput

    Returns
    -------
    tensor of shape (n_images, steps_left, n_outputs)
        Log-probabilities or numbers.
    """
    runs = range(1, lattice.steps_left + 1)
    return torch.stack([lattice.first_steps(output, n_run).answer for n_run in runs], dim=1)


def sureness_so_far(task, answers):
    """How sure each of the answers so far is.

    Parameters
    ----------
    task : Classification or Regression
    answers : tensor of shape (n_images, n_steps, n_outputs)

    Returns
    -------
    tensor of shape (n_images, n_steps)
    """
    steps = answers.unbind(dim=1)
    return torch.stack([task.sureness(*pair) for pair in zip(steps, (None, *steps), strict=False)], dim=1)


@torch.no_grad()
def run_until_sure(lattice, images, conv_dtype=None, *, threshold):
    """Run a lattice on each image until its answer so far is sure enough.

    Images that have stopped leave the batch before anything of the next step is computed.

    Parameters
    ----------
    lattice : Lattice
    images, conv_dtype
        As for :meth:`Lattice.forward`.
    threshold : float
        What the largest probability of the answer has to exceed, above 0 and at most 1; or, where answers are numbers,
        what their movement since the step before has to be below, not below 0.

    Returns
    -------
    HaltedOutput
    """
    state, task = lattice.start(images, conv_dtype), lattice.task
    left = torch.arange(len(images), device=images.device)  # images that have not stopped
    answers = state.first_drive.new_empty(len(images), lattice.config["n_outputs"])
    steps_run = torch.empty_like(left)
    activities, before = [], None
    for n_run in range(1, lattice.steps_left + 1):
        activities.append(lattice.step(state, bottom_up_only=True))
        answer = lattice.answer_so_far(torch.stack(activities, dim=1))
        answers.index_copy_(0, left, answer)  # of images that go on, until their next step
        steps_run.index_fill_(0, left, n_run)
        if n_run == lattice.steps_left:
            break
        unsure = task.sureness(answer, before) <= task.least_sureness(threshold)
        rows = unsure.nonzero().squeeze(1)
        if len(rows) < len(left):
            if not len(rows):
                break
            left, state, answer = left[rows], state.images(rows), answer[rows]
            activities = [activity[rows] for activity in activities]
        before = answer
        lattice.drive_next(state)
    return HaltedOutput(answers, steps_run)
