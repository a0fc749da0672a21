import numpy as np
import pytest

from growlattice.analysis import error_consistency, error_consistency_matrix, output_divergence


def test_zeros_and_ones_are_truth_values():
    assert error_consistency([1, 1, 0, 0], [1.0, 1.0, 1.0, 0.0]) == pytest.approx(0.5)


def test_objects_that_are_truth_values_will_do():
    correct = np.array([True, False, np.True_, False], dtype=object)
    assert error_consistency(correct, [True, False, False, False]) == error_consistency([1, 0, 1, 0], [1, 0, 0, 0])


def test_models_must_have_the_same_images_and_classes():
    with pytest.raises(ValueError, match=r"correct has models of shapes \[\(3,\), \(2,\)\]"):
        error_consistency_matrix([np.ones(3, dtype=bool), np.ones(2, dtype=bool)])
    without_a_class = [np.full((4, 3), 1 / 3), np.full((4, 2), 1 / 2)]
    with pytest.raises(ValueError, match=r"shapes \[\(4, 3\), \(4, 2\)\].*a column of zeros"):
        output_divergence(without_a_class)


@pytest.mark.parametrize(
    "correct_a, correct_b, message",
    [
        ([True, False], [True], "correct_a has 2 images, but correct_b has 1. Give the same images"),
        ([0, 1, 2], [0, 1, 1], "correct_a of int64 holds more than True and False"),
        ([0.0, 1.0], [np.nan, 1.0], "correct_b of float64 holds more than True and False"),
        (["True", "False"], [True, False], "correct_a of <U5 holds more than True and False"),
        ([], [], r"correct_a has the shape \(0,\). Give an array of shape \(n_images,\)"),
        ([[True, False]], [True, False], r"correct_a has the shape \(1, 2\)"),
    ],
)
def test_bad_correctness(correct_a, correct_b, message):
    with pytest.raises(ValueError, match=message):
        error_consistency(correct_a, correct_b)


@pytest.mark.parametrize(
    "correct, message",
    [
        ([True, False], r"correct has the shape \(2,\). Give an array of shape \(n_models, n_images\)"),
        (np.zeros((3, 0), dtype=bool), r"correct has the shape \(3, 0\)"),
        ([[0, 3]], "correct of int64 holds more than True and False"),
    ],
)
def test_bad_correctness_of_many(correct, message):
    with pytest.raises(ValueError, match=message):
        error_consistency_matrix(correct)
