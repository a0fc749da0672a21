"""Values as JSON that keeps what they are: tuples, dicts, arrays and data frames become tagged objects."""

import math

import numpy as np
import pandas as pd
import torch

ARRAY_DTYPES = {
    name: np.dtype(name)
    for name in "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 object".split()
}
LONGEST_TEXT = 10_000_000  # characters of a text array, every string padded to the longest


def as_json(value):
    """A value in terms that JSON keeps.

    Raises
    ------
    TypeError
        If the value is code or of a kind that is not known here.
    """
    if isinstance(value, (np.generic, torch.device)):
        value = value.item() if isinstance(value, np.generic) else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [as_json(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[as_json(key), as_json(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "mM":  # dates and durations
        return {"array": value.astype(value.dtype.newbyteorder("=")).view(np.int64).tolist(), "dtype": value.dtype.name}
    if (
        isinstance(value, np.ndarray)
        and value.ndim == 1
        and (value.dtype.kind == "U" or value.dtype.name in ARRAY_DTYPES)
    ):
        return {"array": [as_json(item) for item in value.tolist()], "dtype": value.dtype.name}
    if isinstance(value, pd.DataFrame):
        return {"frame": as_json(value.to_dict("split"))}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def from_json(value):
    """What `as_json` was given."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(from_json(value["tuple"]))
    if "dict" in value:
        return {from_json(key): from_json(item) for key, item in value["dict"]}
    if "array" in value:
        return _array(from_json(value["array"]), value["dtype"])
    if "float" in value:
        return float(value["float"])
    frame = from_json(value["frame"])
    index, columns, data = (frame[name] for name in ("index", "columns", "data"))
    if not (isinstance(data, list) and len(data) == len(index) and all(len(row) == len(columns) for row in data)):
        raise ValueError("a table has rows of another length than its columns")
    return pd.DataFrame(data, index=index, columns=columns)


def _array(items, dtype):
    if dtype.startswith(("datetime64", "timedelta64")):
        return np.array(items, dtype=np.int64).view(dtype)
    if not dtype.startswith("str"):
        return np.array(items, dtype=ARRAY_DTYPES[dtype])
    if max(map(len, items), default=0) * len(items) > LONGEST_TEXT:
        raise ValueError("an array of text is too large")
    return np.array(items)
