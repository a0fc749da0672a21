import json

import numpy as np
import pandas as pd
import pytest

from growlattice._storage._json import as_json, from_json


def there_and_back(value):
    return from_json(json.loads(json.dumps(as_json(value), allow_nan=False)))


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.1, "text", (1, (2.0,)), [1, "a"], {1: "a", "b": (1,)}, {}, np.float64(0.5), np.int8(3)],
)
def test_values_keep_their_kinds(value):
    back = there_and_back(value)
    assert back == value and (isinstance(value, np.generic) or type(back) is type(value))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_numbers_that_are_not_finite_come_back(value):
    assert np.array_equal(there_and_back([value]), [value], equal_nan=True)


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]),
        np.arange(3, dtype=np.int16),
        np.array([0.1, np.nan], dtype=np.float32),
        np.array(["a", "bcd"]),
        np.array(["a", 1], dtype=object),
        np.array(["2026-11-21", "2026-11-22"], dtype="datetime64[D]"),
        np.array(["2026-11-21T10:00", "NaT"], dtype="datetime64[ns]"),
        np.array([1, 90], dtype="timedelta64[s]"),
        np.array([1, 90], dtype="timedelta64[25m]"),
    ],
)
def test_arrays_keep_their_dtypes(array):
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert np.array_equal(back, array, equal_nan=array.dtype.kind in "fmM")


def test_tables_come_back():
    frame = pd.DataFrame({"channels": [[1, 2], [1]], "macs": [3, 4]}, index=["before", "after"])
    pd.testing.assert_frame_equal(there_and_back(frame), frame)


def test_code_and_what_is_not_known_are_refused():
    for value in (len, object(), np.random.RandomState(0), [lambda: 0], np.zeros((2, 2)), np.zeros(1, complex)):
        with pytest.raises(TypeError, match="cannot be written as JSON"):
            as_json(value)


@pytest.mark.parametrize("dtype", ["U99999999999", "datetime64[parsec]", "datetime64[ns", "void"])
def test_dtypes_of_a_stranger_are_errors(dtype):
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_json({"array": [0, 1], "dtype": dtype})
