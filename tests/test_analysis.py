import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import cohen_kappa_score

from growlattice.analysis import (
    correlate,
    efficiency,
    embed_models,
    error_consistency,
    error_consistency_matrix,
    output_divergence,
    seed_interval,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def kappa(correct_a, correct_b):
    """Cohen's kappa, one image at a time."""
    n_images = len(correct_a)
    observed = sum(bool(a) == bool(b) for a, b in zip(correct_a, correct_b, strict=True)) / n_images
    accuracy_a, accuracy_b = sum(correct_a) / n_images, sum(correct_b) / n_images
    expected = accuracy_a * accuracy_b + (1 - accuracy_a) * (1 - accuracy_b)
    return (observed - expected) / (1 - expected)


def distances_between(points):
    return np.array([[math.dist(a, b) for b in points] for a in points])


def naive_bootstrap(model, human, coefficient, n_bootstrap, level, seed):
    """The percentile interval, one resample at a time."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_bootstrap):
        images = [rng.integers(len(model)) for _ in model]
        found.append(coefficient(model[images], human[images]).statistic)
    return np.percentile(found, [50 * (1 - level), 50 * (1 + level)])


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


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_correlation_does_not_depend_on_the_unit(scale):
    model, human = np.array([1.0, 2.0, 5.0, 3.0]), [1.0, 2.0, 3.0, 4.0]
    expected = correlate(model, human, method="pearson", random_state=0)
    assert np.allclose(correlate(scale * model, human, method="pearson", random_state=0), expected)
    assert expected.statistic == pytest.approx(stats.pearsonr(model, human).statistic)


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


def test_divergence_is_the_square_of_scipys_distance(rng):
    probas = rng.dirichlet(np.full(5, 0.3), size=(4, 7))
    probas[0, :3] = np.eye(5)[:3]  # with zeros
    divergence = output_divergence(probas)
    for i in range(4):
        for j in range(4):
            expected = np.mean([jensenshannon(p, q, base=2) ** 2 for p, q in zip(probas[i], probas[j], strict=True)])
            assert divergence[i, j] == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(divergence, divergence.T)


def test_divergence_of_hand_worked_outputs():
    # The mixture is (3/4, 1/4), so H(3/4, 1/4) - H(1/2, 1/2) / 2 = 2 - 3/4 log2(3) - 1/2.
    divergence = output_divergence([[[1.0, 0.0]], [[0.5, 0.5]]])
    assert divergence[0, 1] == pytest.approx(1.5 - 0.75 * math.log2(3))


def test_divergence_lies_between_0_for_equal_and_1_for_disjoint_outputs(rng):
    probas = rng.dirichlet(np.ones(3), size=50)
    padded = np.stack([np.pad(probas, ((0, 0), (0, 3))), np.pad(probas, ((0, 0), (3, 0)))])
    assert output_divergence(padded)[0, 1] == pytest.approx(1)
    assert output_divergence(padded).max() <= 1
    assert np.array_equal(output_divergence([probas, probas]), np.zeros((2, 2)))
    assert np.array_equal(output_divergence([probas]), [[0]])


def test_divergence_of_single_precision_is_computed_in_double(rng):
    single = rng.dirichlet(np.ones(10), size=(3, 200)).astype(np.float32)
    double = single.astype(np.float64)
    assert output_divergence(single) == pytest.approx(output_divergence(double), rel=1e-12)
    assert output_divergence(single).dtype == np.float64


@pytest.mark.parametrize(
    "probas, message",
    [
        ([[[0.5, 0.6]]], "probas sums over its last axis to 1.1 up to 1.1, but to 1 was expected"),
        ([[[1.5, -0.5]]], "probas has the minimum -0.5, but probabilities are at least 0"),
        ([[[np.nan, 1.0]]], "probas has the minimum nan"),
        ([[0.5, 0.5]], r"probas has the shape \(1, 2\). Give an array of shape \(n_models, n_images, n_classes\)"),
        (np.zeros((2, 0, 3)), r"probas has the shape \(2, 0, 3\)"),
    ],
)
def test_bad_probabilities(probas, message):
    with pytest.raises(ValueError, match=message):
        output_divergence(probas)


def test_models_in_a_plane_are_found_again(rng):
    points = rng.normal(size=(12, 2))
    distances = distances_between(points)
    embedded = embed_models(distances**2, random_state=0)
    assert embedded.shape == (12, 2)
    assert distances_between(embedded) == pytest.approx(distances, abs=0.01)


def test_embedding_lies_centred_along_its_principal_axes_on_the_side_of_the_first_model(rng):
    points = rng.normal(size=(10, 2)) * [3, 1]
    for seed in range(5):
        embedded = embed_models(distances_between(points) ** 2, random_state=seed)
        assert embedded.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
        covariance = np.cov(embedded.T)
        assert covariance[0, 1] == pytest.approx(0, abs=1e-12)
        assert covariance[0, 0] > covariance[1, 1]
        assert (embedded[0] >= 0).all()


def test_embedding_follows_the_outputs(rng):
    probas = np.concatenate([rng.dirichlet(at, size=(4, 30)) for at in ([30, 1, 1], [1, 1, 30])])
    embedded = embed_models(output_divergence(probas), random_state=0)
    assert (np.sign(embedded[:, 0]) == [1] * 4 + [-1] * 4).all()
    distances = distances_between(embedded)
    assert distances[:4, 4:].min() > 2 * max(distances[:4, :4].max(), distances[4:, 4:].max())


def test_embedding_is_reproducible_and_leaves_the_global_random_state(rng):
    divergence = output_divergence(rng.dirichlet(np.ones(4), size=(6, 20)))
    before = np.random.get_state()[1].copy()
    first, second = (embed_models(divergence, random_state=3) for _ in range(2))
    embed_models(divergence)
    assert np.array_equal(first, second)
    assert np.array_equal(np.random.get_state()[1], before)


def test_models_that_are_alike_lie_together():
    assert np.array_equal(embed_models([[0.0]]), [[0, 0]])
    assert np.array_equal(embed_models(np.zeros((3, 3))), np.zeros((3, 2)))
    divergence = np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]]) * 0.09
    assert distances_between(embed_models(divergence, random_state=0)) == pytest.approx(np.sqrt(divergence), abs=1e-3)


@pytest.mark.parametrize(
    "divergence",
    [
        np.zeros((2, 3)),
        [[0.0, 0.5], [0.4, 0.0]],
        [[0.0, -0.5], [-0.5, 0.0]],
        [[1.0, 0.5], [0.5, 1.0]],
    ],
)
def test_bad_divergence(divergence):
    with pytest.raises(ValueError, match="must be square, symmetric, at least 0, and 0 on the diagonal"):
        embed_models(divergence)


def test_divergence_that_is_no_matrix_or_not_finite():
    with pytest.raises(ValueError, match=r"divergence has the shape \(3,\)"):
        embed_models(np.zeros(3))
    with pytest.raises(ValueError, match="divergence holds 1 values that are NaN or infinite"):
        embed_models([[0.0, np.nan], [0.0, 0.0]])


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


@pytest.mark.parametrize("method, coefficient", [("spearman", stats.spearmanr), ("pearson", stats.pearsonr)])
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_correlation_is_scipys_and_its_interval_that_of_a_naive_bootstrap(rng, method, coefficient, level):
    model = rng.integers(1, 7, size=60).astype(float)  # with ties
    human = np.exp(model / 3 + rng.normal(size=60))
    found = correlate(model, human, n_bootstrap=4000, confidence_level=level, method=method, random_state=0)
    assert found.statistic == pytest.approx(coefficient(model, human).statistic)
    expected = naive_bootstrap(model, human, coefficient, n_bootstrap=1500, level=level, seed=1)
    assert [found.low, found.high] == pytest.approx(expected, abs=0.03)


def test_spearman_is_blind_to_monotone_changes_and_pearson_is_not(rng):
    model = rng.random(30)
    assert correlate(model, np.exp(5 * model), random_state=0) == pytest.approx((1, 1, 1))
    assert correlate(model, -np.exp(5 * model), random_state=0) == pytest.approx((-1, -1, -1))
    assert correlate(model, np.exp(5 * model), method="pearson", random_state=0).statistic < 0.95
    assert correlate(model, 2 * model + 1, method="pearson", random_state=0) == pytest.approx((1, 1, 1))


def test_correlation_is_reproducible_and_leaves_the_global_random_state(rng):
    model, human = rng.random((2, 20))
    before = np.random.get_state()[1].copy()
    assert correlate(model, human, random_state=5) == correlate(model, human, random_state=5)
    assert correlate(model, human, random_state=5).low != correlate(model, human, random_state=6).low
    correlate(model, human)
    assert np.array_equal(np.random.get_state()[1], before)


def test_correlation_in_batches_is_that_in_one(rng, monkeypatch):
    model, human = rng.random((2, 20))
    whole = correlate(model, human, random_state=0)
    monkeypatch.setattr("growlattice.analysis.BATCH_VALUES", 70)
    assert correlate(model, human, random_state=0) == pytest.approx(whole)


def test_constant_resamples_are_left_out_of_the_interval():
    # Of 27 resamples of three images, 3 are constant; the others are worth 1 where ranks rise together.
    assert correlate([1, 2, 3], [2, 4, 9], random_state=0) == pytest.approx((1, 1, 1))
    found = correlate([0.1] * 19 + [0.7], np.arange(20), random_state=0)
    assert np.isfinite(found).all() and found.low < found.high


@pytest.mark.parametrize(
    "model, human, settings, message",
    [
        ([1, 2, 3], [1, 2, 3, 4], {}, "model has 3 images, but human has 4. Give the same images"),
        ([0.5] * 5, range(5), {}, "model is 0.5 for every image, so nothing correlates with it"),
        (range(5), [2] * 5, {}, "human is 2.0 for every image"),
        ([1, 2, np.nan], [1, 2, 3], {}, "model holds 1 values that are NaN or infinite"),
        ([1, 2, 3], [1, np.inf, -np.inf], {}, "human holds 2 values that are NaN or infinite"),
        ([1, 2], [1, 2], {}, "model has 2 images, but a correlation needs at least 3"),
        ([[1, 2, 3]], [1, 2, 3], {}, r"model has the shape \(1, 3\). Give an array of shape \(n_images,\)"),
        ([1, 2, 3], [1, 2, 3], {"method": "kendall"}, "method='kendall' is none of"),
        ([1, 2, 3], [1, 2, 3], {"n_bootstrap": 10}, "n_bootstrap=10 is too few"),
        ([1, 2, 3], [1, 2, 3], {"confidence_level": 95}, "confidence_level=95 is not between 0 and 1"),
    ],
)
def test_bad_correlation(model, human, settings, message):
    with pytest.raises(ValueError, match=message):
        correlate(model, human, **settings)


def test_seed_interval_of_hand_worked_values():
    # Mean 3, standard deviation 1, and 4.302653 is in every table of the t distribution for 2 degrees of freedom.
    mean, low, high = seed_interval([2.0, 3.0, 4.0])
    assert (mean, low, high) == pytest.approx((3, 3 - 4.302653 / math.sqrt(3), 3 + 4.302653 / math.sqrt(3)))


def test_seed_interval_is_that_of_scipys_t_test_along_any_axis(rng):
    values = rng.normal(size=(4, 5, 3))
    for axis, level in ((0, 0.95), (1, 0.9), (-1, 0.5)):
        found = seed_interval(values, confidence_level=level, axis=axis)
        expected = stats.ttest_1samp(values, 0, axis=axis).confidence_interval(level)
        assert found.mean == pytest.approx(values.mean(axis=axis))
        assert found.low == pytest.approx(expected.low)
        assert found.high == pytest.approx(expected.high)


def test_seeds_that_agree_give_no_width():
    assert seed_interval([0.5, 0.5]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    "values, settings, message",
    [
        ([0.9], {}, "values has 1 seeds along axis=0, but an interval needs at least 2"),
        (0.9, {}, "values has 1 seeds"),
        ([[1, 2, 3]], {}, "values has 1 seeds along axis=0"),
        ([[1], [2]], {"axis": 1}, "values has 1 seeds along axis=1"),
        ([1, np.nan], {}, "values holds 1 values that are NaN or infinite"),
        ([1, 2], {"confidence_level": 1.0}, "confidence_level=1.0 is not between 0 and 1"),
        ([1, 2], {"axis": 1}, "axis 1 is out of bounds"),
    ],
)
def test_bad_seeds(values, settings, message):
    with pytest.raises(ValueError, match=message):
        seed_interval(values, **settings)
