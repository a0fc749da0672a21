import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from growlattice.analysis import efficiency, error_consistency, error_consistency_matrix


def kappa(correct_a, correct_b):
    """Cohen's kappa, one image at a time."""
    n_images = len(correct_a)
    observed = sum(bool(a) == bool(b) for a, b in zip(correct_a, correct_b, strict=True)) / n_images
    accuracy_a, accuracy_b = sum(correct_a) / n_images, sum(correct_b) / n_images
    expected = accuracy_a * accuracy_b + (1 - accuracy_a) * (1 - accuracy_b)
    return (observed - expected) / (1 - expected)


def test_error_consistency_of_a_hand_worked_table():
    # 4 both right, 2 only a, 1 only b, 3 both wrong: observed 0.7, expected 0.6 * 0.5 + 0.4 * 0.5 = 0.5.
    correct_a = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
    correct_b = np.array([1, 1, 1, 1, 0, 0, 1, 0, 0, 0], dtype=bool)
    assert error_consistency(correct_a, correct_b) == pytest.approx(0.4)


def test_error_consistency_is_that_of_a_naive_loop_and_symmetric(rng):
    for accuracy in (0.2, 0.5, 0.9):
        correct_a, correct_b = rng.random((2, 50)) < accuracy
        assert error_consistency(correct_a, correct_b) == pytest.approx(kappa(correct_a, correct_b))
        assert error_consistency(correct_b, correct_a) == pytest.approx(kappa(correct_a, correct_b))


@pytest.mark.parametrize("correct", ([True] * 4, [False] * 4, [True, False, True, True]))
def test_perfect_agreement_is_one_even_without_errors(correct):
    assert error_consistency(correct, correct) == 1
    assert np.array_equal(error_consistency_matrix([correct, correct]), np.ones((2, 2)))


def test_opposite_errors_are_minus_one_and_a_constant_model_agrees_by_chance():
    assert error_consistency([True, False], [False, True]) == pytest.approx(-1)
    assert error_consistency([True, True], [False, True]) == 0
    assert error_consistency([True, True], [False, False]) == 0


def test_error_consistency_matrix_holds_the_pairs(rng):
    correct = rng.random((6, 40)) < np.array([0.1, 0.5, 0.5, 0.8, 0.95, 0.7])[:, None]
    correct = np.vstack([correct, np.ones((2, 40), dtype=bool), np.zeros((1, 40), dtype=bool)])
    matrix = error_consistency_matrix(correct)
    assert np.array_equal(matrix, matrix.T)
    assert np.array_equal(matrix.diagonal(), np.ones(9))
    for i in range(9):
        for j in range(9):
            if not np.array_equal(correct[i], correct[j]):
                assert matrix[i, j] == pytest.approx(cohen_kappa_score(correct[i], correct[j]))
                assert matrix[i, j] == pytest.approx(error_consistency(correct[i], correct[j]))
    assert matrix[6, 7] == 1


def test_error_consistency_matrix_of_one_model_is_one():
    assert np.array_equal(error_consistency_matrix([[True, False]]), [[1]])


def test_efficiency_of_hand_worked_values_broadcasts():
    assert efficiency(0.6, 4, n_classes=10) == pytest.approx(0.125)
    assert efficiency(0.05, 0.5, n_classes=10) == pytest.approx(-0.1)
    assert efficiency([[0.75], [0.5]], [1, 5], n_classes=2) == pytest.approx(np.array([[0.25, 0.05], [0, 0]]))
    assert efficiency([0.6, 0.6], 1, n_classes=[2, 10]) == pytest.approx([0.1, 0.5])


def test_efficiency_of_an_unknown_value_is_unknown():
    found = efficiency([0.5, np.nan, 0.5], [np.nan, 1, 1], n_classes=4)
    assert np.isnan(found).tolist() == [True, True, False]


@pytest.mark.parametrize(
    "accuracy, resource, n_classes, message",
    [
        (90.0, 1, 10, "accuracy holds 90.0, but must be between 0 and 1"),
        (-0.1, 1, 10, "accuracy holds -0.1"),
        (0.9, [1, 0], 10, "resource holds 0.0, but must be above 0"),
        (0.9, -2, 10, "resource holds -2.0"),
        (0.9, 1, 1, "n_classes holds 1.0, but must be at least 2"),
        ([0.9, 0.8], [1, 2, 3], 10, "could not be broadcast"),
    ],
)
def test_bad_efficiency(accuracy, resource, n_classes, message):
    with pytest.raises(ValueError, match=message):
        efficiency(accuracy, resource, n_classes)
