"""Lattices that stop early against the naive reference, which runs all images one by one."""

import math

import numpy as np
import pytest
import torch

from growlattice.lattice import compact
from growlattice.lattice._halting import answers_so_far, run_until_sure, sureness_so_far
from growlattice.lattice._tasks import TASKS

from .. import reference
from ..lattices import as_arrays, make_images, make_lattice

SELECTIONS = ["adaptive", "fixed"]


def lattices(selection):
    full = make_lattice(n_steps=4, time_selection=selection)
    mask = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.bool)
    return [full, compact(full, mask, 3, 0.8)]


def reference_answers(lattice, image, answer=None):
    """The answers so far after 1, 2, ... steps: those of a lattice that ends there."""
    weights, left = as_arrays(lattice), lattice.steps_left
    answers = []
    for n_run in range(1, left + 1):
        cut = {**weights, "score_norm": weights["score_norm"] * math.sqrt(n_run / left)}
        sizes = (len(lattice.channels_left), n_run, lattice.temperature)
        options = {} if answer is None else {"answer": answer}
        answers.append(reference.forward(cut, image, *sizes, bound=lattice.n_steps, **options)[2])
    return np.array(answers)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_answers_so_far_are_those_of_the_naive_reference(selection):
    lattice, images = lattices(selection)[0], make_images(3)
    with torch.no_grad():
        output = lattice(images)
        answers = answers_so_far(lattice, output)
    for image, found in zip(images, answers, strict=True):
        np.testing.assert_allclose(found.exp(), reference_answers(lattice, image.numpy()), rtol=1e-10)
    torch.testing.assert_close(answers[:, -1], output.log_probas, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("which", [0, 1])
def test_each_image_stops_where_it_is_sure_with_the_answer_so_far(which, selection):
    lattice, images = lattices(selection)[which], make_images(30)
    with torch.no_grad():
        answers = answers_so_far(lattice, lattice(images)).exp().numpy()
    stopped_at = set()
    for threshold in (0.26, *np.quantile(answers[:, :-1].max(axis=2), [0.3, 0.7]), 1.0):
        output = run_until_sure(lattice, images, threshold=float(threshold))
        for answer, found, steps in zip(answers, output.answer.exp(), output.steps_run, strict=True):
            last = len(answer)
            expected = next((n for n in range(1, last) if answer[n - 1].max() > threshold), last)
            assert steps == expected
            np.testing.assert_allclose(found, answer[expected - 1], rtol=1e-10)
            stopped_at.add(expected)
    assert stopped_at >= {1, 2, lattice.steps_left}


@pytest.mark.parametrize("which", [0, 1])
def test_numbers_stop_where_they_move_little(which):
    full = make_lattice(n_steps=4, task="regression")
    lattice, images = [full, compact(full, full.mask, 3, 0.8)][which], make_images(30)
    answers = np.array([reference_answers(lattice, image, lambda readout: readout) for image in images.numpy()])
    moved = np.sqrt(np.mean(np.diff(answers, axis=1) ** 2, axis=2))  # (n_images, steps_left - 1)
    stopped_at = set()
    for threshold in (0.0, *np.quantile(moved[:, :-1], [0.3, 0.7]) + 1e-9, 1e9):
        output = run_until_sure(lattice, images, threshold=float(threshold))
        for answer, movement, found, steps in zip(answers, moved, output.answer, output.steps_run, strict=True):
            last = len(answer)
            assert steps == next((n for n in range(2, last) if movement[n - 2] < threshold), last)
            np.testing.assert_allclose(found, answer[steps - 1], rtol=1e-9)
            stopped_at.add(int(steps))
    assert stopped_at >= {2, lattice.steps_left} and 1 not in stopped_at
    with torch.no_grad():
        sureness = sureness_so_far(lattice.task, answers_so_far(lattice, lattice(images)))
    assert (sureness[:, 0] == -torch.inf).all()
    np.testing.assert_allclose(-sureness[:, 1:], moved, rtol=1e-8)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_what_comes_after_a_step_does_not_change_the_answer_so_far(selection):
    """Causality: other kernels and readouts of later steps are not there, so their scores are changed instead."""
    lattice = lattices(selection)[0]
    with torch.no_grad():
        output = lattice(make_images(5))
        changed = output._replace(scores=output.scores + torch.tensor([0.0, 0.0, 3.0, -1.0]))
        before, after = answers_so_far(lattice, output), answers_so_far(lattice, changed)
    torch.testing.assert_close(before[:, :2], after[:, :2], rtol=0, atol=0)
    assert not torch.allclose(before[:, 2:], after[:, 2:])


def test_nothing_is_computed_for_images_that_have_stopped(monkeypatch):
    lattice, images, seen = lattices("adaptive")[0], make_images(12), []
    drive_next = type(lattice).drive_next
    monkeypatch.setattr(
        type(lattice), "drive_next", lambda self, state: seen.append(len(state.hidden[0])) or drive_next(self, state)
    )
    with torch.no_grad():
        sure = answers_so_far(lattice, lattice(images))[:, :-1].amax(dim=2)
    threshold = float(sure.median().exp())
    steps = run_until_sure(lattice, images, threshold=threshold).steps_run
    assert seen == [int((steps > n).sum()) for n in range(1, int(steps.max()))]
    assert 0 < seen[0] < 12


@pytest.mark.parametrize("n_images", [1, 7])
def test_an_answer_does_not_depend_on_company(n_images):
    lattice, images = lattices("adaptive")[0].float(), make_images(20).float()
    together = run_until_sure(lattice, images, threshold=0.5)
    assert len(together.steps_run.unique()) > 1
    for start in range(0, 14, n_images):
        rows = slice(start, start + n_images)
        alone = run_until_sure(lattice, images[rows], threshold=0.5)
        assert torch.equal(alone.steps_run, together.steps_run[rows])
        torch.testing.assert_close(alone.answer, together.answer[rows], rtol=1e-5, atol=1e-6)


def test_a_run_by_hand_is_the_forward_pass():
    """Step by step, with what the next step reads computed later, or at once."""
    lattice, images = lattices("adaptive")[0], make_images(3)
    with torch.no_grad():
        expected = lattice(images).activity.flatten(2)
        for later in (False, True):
            state, activity = lattice.start(images), []
            for _ in range(lattice.steps_left):
                activity.append(lattice.step(state, bottom_up_only=later))
                if later:
                    lattice.drive_next(state)
            torch.testing.assert_close(torch.stack(activity, dim=1), expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(lattice.read(expected).step_log_probas, lattice(images).step_log_probas)


def test_precision_of_convolutions_is_that_asked_for():
    lattice, images = lattices("adaptive")[0].float(), make_images(20).float()
    with torch.no_grad():
        expected = lattice(images, conv_dtype=torch.bfloat16).log_probas
    found = run_until_sure(lattice, images, torch.bfloat16, threshold=1.0).answer
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    assert not torch.equal(found, run_until_sure(lattice, images, threshold=1.0).answer)
    assert found.dtype == torch.float32


def test_no_answer_is_surer_than_certain():
    """Rounding may put the logarithm of what is a sum of shares above 0."""
    answers = torch.tensor([[1.2e-7, -20.0], [-0.5, -1.0]])
    assert TASKS["classification"].sureness(answers, None).tolist() == [0.0, -0.5]
