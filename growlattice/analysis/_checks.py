"""Checks that the analyses share: arrays of the expected axes and values, or a ValueError that says what to give."""

import numpy as np


def stacked(name, models):
    """What models gave, as one array."""
    try:
        return np.asarray(models)
    except ValueError:
        shapes = [np.shape(model) for model in models]
        raise ValueError(
            f"{name} has models of shapes {shapes}, but all must have the same. Let all answer the same images, and "
            "give a class that a model has not seen a column of zeros."
        ) from None


def as_truth_values(name, values, shape):
    values = np.asarray(values)
    if values.dtype == object and all(isinstance(value, (bool, np.bool_)) for value in values.flat):
        values = values.astype(bool)
    check_axes(name, values, shape)
    if values.dtype.kind not in "biuf" or not np.isin(values, (False, True)).all():
        raise ValueError(f"{name} of {values.dtype} holds more than True and False. Give, for example, predicted == y.")
    return values.astype(bool)


def as_finite(name, values):
    values = np.atleast_1d(np.ma.filled(np.ma.asarray(values).astype(float), np.nan))
    n_bad = np.count_nonzero(~np.isfinite(values))
    if n_bad:
        raise ValueError(f"{name} holds {n_bad} values that are NaN or infinite, or masked. Leave them out.")
    return values


def check_axes(name, values, shape):
    if values.ndim != shape.count("n_") or values.size == 0:
        raise ValueError(f"{name} has the shape {values.shape}. Give an array of shape {shape} that is not empty.")


def check_same_length(name_a, a, name_b, b):
    if len(a) != len(b):
        raise ValueError(f"{name_a} has {len(a)} images, but {name_b} has {len(b)}. Give the same images to both.")


def check_confidence_level(confidence_level):
    if not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level={confidence_level} is not between 0 and 1. Give a share, such as 0.95.")
