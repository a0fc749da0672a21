import math

import numpy as np
import pytest
from scipy import stats

from growlattice.analysis import seed_interval


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
