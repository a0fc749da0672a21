import numpy as np
import pytest
from scipy import stats

from growlattice.analysis import correlate


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


def residuals(values, given):
    """What a linear model with an intercept leaves of values."""
    design = np.column_stack([np.ones(len(values)), given])
    return values - design @ np.linalg.lstsq(design, values)[0]


def naive_partial(model, human, given, method):
    """Pearson's correlation of what is left of the values, or of their ranks."""
    columns = np.column_stack([model, human, given])
    columns = stats.rankdata(columns, axis=0) if method == "spearman" else columns
    return stats.pearsonr(*(residuals(column, columns[:, 2:]) for column in columns[:, :2].T))


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_what_is_given_is_taken_out_as_by_two_regressions(rng, method):
    given = rng.normal(size=(60, 2))
    model = (given @ [1, 2] + rng.normal(size=60)).round(1)  # with ties
    human = (given @ [2, 1] + rng.normal(size=60)).round(1)
    found = correlate(model, human, given, n_bootstrap=4000, method=method, random_state=0)
    assert found.statistic == pytest.approx(naive_partial(model, human, given, method).statistic)

    def of_images(rows, _):
        rows = rows.astype(int)
        return naive_partial(model[rows], human[rows], given[rows], method)

    rows = np.arange(60)
    assert [found.low, found.high] == pytest.approx(naive_bootstrap(rows, rows, of_images, 1000, 0.95, 1), abs=0.03)


def test_what_is_alike_in_two_measures_only_by_a_third_goes_with_it(rng):
    hard = rng.normal(size=2000)
    model, human = hard + rng.normal(size=2000), hard + rng.normal(size=2000)
    assert correlate(model, human, n_bootstrap=200, random_state=0).low > 0.4
    found = correlate(model, human, hard, n_bootstrap=200, random_state=0, method="pearson")
    assert found.low < 0 < found.high


def test_columns_of_the_classes_give_the_correlation_within_them():
    label = np.repeat([0, 1, 2], 4)
    within = np.array([0.0, 1.0, 2.0, 3.0] * 3)
    columns = label[:, None] == np.unique(label)  # they sum to 1
    model, human = 10 * label + within, -10.0 * label + within  # classes go the other way than images in them
    assert correlate(model, human, random_state=0).statistic < -0.7
    assert correlate(model, human, columns, random_state=0).statistic == pytest.approx(1)
    assert correlate(model, human, columns, method="pearson", random_state=0) == pytest.approx((1, 1, 1))


def test_images_that_people_have_not_seen_are_left_out(rng):
    model, human, given = rng.normal(size=(3, 40))
    seen = rng.random(40) < 0.5
    for covariates in (None, given):
        of_seen = None if covariates is None else covariates[seen]
        expected = correlate(model[seen], human[seen], of_seen, n_bootstrap=100, random_state=0)
        for measure in (np.where(seen, human, np.nan), np.ma.array(human, mask=~seen)):
            assert correlate(model, measure, covariates, n_bootstrap=100, random_state=0) == expected
    with pytest.raises(ValueError, match="given holds 1 values that are NaN or infinite, or masked"):
        correlate(model, human, np.ma.array(given, mask=np.arange(40) == 3))


def test_a_measure_that_is_constant_takes_nothing_out(rng):
    model, human = rng.normal(size=(2, 30))
    expected = correlate(model, human, random_state=0)
    assert correlate(model, human, np.ones(30), random_state=0) == pytest.approx(expected)


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
        ([1, 2, 3, 4], [1, 2, np.nan, np.nan], {}, "model has 2 images that human has numbers for, but a correlation"),
        ([1, 2], [np.nan, np.nan], {}, "model has 0 images that human has numbers for"),
        ([1, 2, 3], [1, 3, 2], {"given": [2, 1, 4]}, "model has 3 images and 1 other measures given, .* at least 4"),
        ([1, 2, 3, 4], [1, 3, 2, 4], {"given": [1, 2, 3]}, "model has 4 images, but given has 3"),
        ([1, 2, 3, 4], [1, 3, 2, 4], {"given": [1, 2, 3, np.nan]}, "given holds 1 values that are NaN"),
        ([1, 2, 3, 4], [1, 3, 2, 4], {"given": np.ones((4, 1, 1))}, r"given has the shape \(4, 1, 1\)"),
        ([1, 2, 3, 4], [1, 3, 2, 4], {"given": [1, 4, 9, 16]}, "given explains model or human altogether"),
        ([1, 2, 3], [1, 2, 3], {"method": "kendall"}, "method='kendall' is none of"),
        ([1, 2, 3], [1, 2, 3], {"n_bootstrap": 10}, "n_bootstrap=10 is too few"),
        ([1, 2, 3], [1, 2, 3], {"confidence_level": 95}, "confidence_level=95 is not between 0 and 1"),
    ],
)
def test_bad_correlation(model, human, settings, message):
    with pytest.raises(ValueError, match=message):
        correlate(model, human, **settings)
