import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score

from growlattice.lattice import compact
from growlattice.lattice._tasks import Classification, Regression

from .. import reference
from ..lattices import as_arrays, make_images, make_lattice


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_numbers_equal_naive_reference(time_selection):
    lattice, images = make_lattice(task="regression", time_selection=time_selection), make_images()
    with torch.no_grad():
        output = lattice(images)
    for index, image in enumerate(images.numpy()):
        weights, step_values, values, activity = reference.forward(
            as_arrays(lattice), image, 3, 3, temperature=5.0, answer=lambda readout: readout
        )
        np.testing.assert_allclose(output.weights[index], weights, atol=1e-10)
        np.testing.assert_allclose(output.step_values[index], step_values, atol=1e-10)
        np.testing.assert_allclose(output.values[index], values, atol=1e-10)
        np.testing.assert_allclose(output.activity[index], activity, atol=1e-10)


def test_a_removed_step_repeats_the_numbers_of_the_last_one_left():
    lattice, images = make_lattice(task="regression"), make_images()
    output = compact(lattice, lattice.mask, 2, 0.8)(images)
    assert output.step_values.shape == (2, 3, 4)
    assert torch.equal(output.step_values[:, 2], output.step_values[:, 1])
    mean = output.weights[:, :2].unsqueeze(2) * output.step_values[:, :2]
    torch.testing.assert_close(output.values, mean.sum(dim=1), rtol=1e-12, atol=1e-12)


def test_the_error_of_a_regression_passes_gradcheck_through_the_lattice():
    lattice = make_lattice(task="regression", n_channels=2, n_layers=2, n_steps=2, shape=(1, 2, 2))
    images, targets = make_images(shape=(1, 2, 2)).requires_grad_(), numbers(2, 4)
    assert torch.autograd.gradcheck(lambda pixels: Regression.error(lattice(pixels), targets), images)


def test_outputs_have_the_names_of_their_task():
    images = make_images()
    classes, values = make_lattice(), make_lattice(task="regression")
    assert torch.equal(classes.log_probas(images), classes(images).log_probas)
    assert torch.equal(values.values(images), values(images).values)
    for lattice, name in ((classes, "values"), (values, "log_probas")):
        with pytest.raises(AttributeError, match=name):
            getattr(lattice, name)(images)


def share(n_images, weighted):
    return numbers(n_images, seed=3).abs() if weighted else None


def mean_over_images(scores, weight):
    return float(scores.mean() if weight is None else (scores * weight).sum() / weight.sum())


@pytest.mark.parametrize("weighted", [False, True])
def test_mean_scores_of_images_are_scikit_learns(weighted):
    images = make_images(20)
    weight = share(20, weighted)
    for task, name, targets, expected in (
        (Classification, "classification", torch.arange(20) % 4, lambda y, output: (y, output.log_probas.argmax(1))),
        (Regression, "regression", 3 * numbers(20, 4) + 1, lambda y, output: (y, output.values)),
    ):
        with torch.no_grad():
            output = make_lattice(task=name)(images)
        found = mean_over_images(task.image_scores(output, targets, task.unit(targets, weight)), weight)
        metric = {"accuracy": accuracy_score, "r2": r2_score}[task.score_name]
        assert found == pytest.approx(metric(*expected(targets, output), sample_weight=weight), rel=1e-10)


def test_an_output_that_is_always_the_same_adds_nothing_as_in_scikit_learn():
    targets = numbers(20, 4)
    targets[:, 1] = 0.5
    with torch.no_grad():
        output = make_lattice(task="regression")(make_images(20))
    found = Regression.image_scores(output, targets, Regression.unit(targets)).mean()
    assert float(found) == pytest.approx(r2_score(targets, output.values), rel=1e-10)
