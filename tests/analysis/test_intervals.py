import math

import numpy as np
import pytest
from scipy import stats

from growlattice.analysis import correlate, seed_interval


def naive_bootstrap(model, human, coefficient, n_bootstrap, level, seed):
    """The percentile interval, one resample at a time."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_bootstrap):
        images = [rng.integers(len(model)) for _ in model]
        found.append(coefficient(model[images], human[images]).statistic)
    return np.percentile(found, [50 * (1 - level), 50 * (1 + level)])


@pytest.mark.parametrize("method, coefficient", [("spearman", stats.spearmanr), ("pearson", stats.pearsonr)])
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_correlation_is_scipys_and_its_interval_that_of_a_naive_bootstrap(rng, method, coefficient, level):
    model = rng.integers(1, 7, size=60).astype(float)  # with ties
    human = np.exp(model / 3 + rng.normal(size=60))
    found = correlate(model, human, n_bootstrap=4000, confidence_level=level, method=method, random_state=0)
    assert found.statistic == pytest.approx(coefficient(model, human).statistic)
    expected = naive_bootstrap(model, human, coefficient, n_bootstrap=1500, level=level, seed=1)
    assert [found.low, found.high] == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_correlation_does_not_depend_on_the_unit(scale):
    model, human = np.array([1.0, 2.0, 5.0, 3.0]), [1.0, 2.0, 3.0, 4.0]
    expected = correlate(model, human, method="pearson", random_state=0)
    assert np.allclose(correlate(scale * model, human, method="pearson", random_state=0), expected)
    assert expected.statistic == pytest.approx(stats.pearsonr(model, human).statistic)


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
    monkeypatch.setattr("growlattice.analysis._intervals.BATCH_VALUES", 70)
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
