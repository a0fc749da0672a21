import warnings

import numpy as np
import pytest
import torch

from growlattice._training import _training_set
from growlattice._training._training_set import (
    TrainingSet,
    make_training_set,
    pixel_statistics,
    repeat_in_order,
    warn_of_far_pixels,
)


def test_statistics_equal_those_of_repeated_images(monkeypatch):
    rng = np.random.RandomState(0)
    images, weights = rng.rand(20, 2, 3, 4) + 100, rng.randint(1, 4, size=20).astype(float)
    monkeypatch.setattr(_training_set, "BYTES_AT_ONCE", 6 * 8 * images[0].size)  # six images
    mean, std = pixel_statistics(images, weights)
    repeated = images.repeat(weights.astype(int), axis=0)
    np.testing.assert_allclose(mean, repeated.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, repeated.std(axis=(0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(pixel_statistics(images, None)[0], images.mean(axis=(0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, 1e8 + 0.1])
def test_a_constant_channel_is_not_divided_by_its_deviation(value):
    images = np.random.RandomState(0).rand(7, 2, 3, 3)
    images[:, 1] = value
    assert pixel_statistics(images, None)[1][1] == 1.0


def test_values_that_differ_by_less_than_their_rounding_draw_a_warning():
    x = 1.7e18 + 2048.0 * np.arange(200).reshape(-1, 1, 1, 1)
    with pytest.warns(UserWarning, match="features or image channels of X differ by less than 1e-12 .* StandardScaler"):
        assert pixel_statistics(x, None)[1].tolist() == [1.0]


def test_values_far_from_zero_draw_a_warning_where_single_precision_loses_them():
    x = np.random.RandomState(0).randn(200, 3, 1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_far_pixels(*pixel_statistics(x + 1000, None))
        warn_of_far_pixels(*pixel_statistics(np.full_like(x, 1e9), None))
    x[:, 1] += 1e8
    assert np.ptp(x[:, 1].astype(np.float32)) in (0, 8, 16)  # two or three values are left
    with pytest.warns(UserWarning, match="1 of 3 features .* StandardScaler"):
        warn_of_far_pixels(*pixel_statistics(x, None))


def test_bytes_do_not_overflow():
    images = np.full((3000, 1, 4, 4), 255, dtype=np.uint8)
    assert pixel_statistics(images, None)[0] == pytest.approx([255.0])


def test_repetition_makes_weights_and_rows_the_same():
    rng = np.random.RandomState(0)
    images, labels, counts = rng.rand(12, 1, 2, 2), rng.randint(0, 2, 12), rng.randint(0, 4, 12)
    order = rng.permutation(12)
    counted = repeat_in_order(images[order], labels[order], counts[order])
    repeated = repeat_in_order(images.repeat(counts, axis=0), labels.repeat(counts), np.ones(counts.sum(), dtype=int))
    for one, other in zip(counted, repeated, strict=True):
        assert len(one) == counts.sum()
        assert np.array_equal(one, other)


def test_equal_images_with_other_labels_keep_them():
    labels = repeat_in_order(np.zeros((4, 1, 2, 2)), np.array([1, 0, 1, 0]), np.ones(4, dtype=int))[1]
    assert labels.tolist() == [0, 0, 1, 1]


def test_fractional_weights_stay_weights():
    images, labels = np.arange(3.0).reshape(3, 1, 1, 1), np.zeros(3, dtype=int)
    data = make_training_set(images, labels, np.array([0.5, 1.0, 2.0]), np.array([0]))
    assert data.images is images
    assert data.sample_weight.tolist() == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("weights", [{0: np.nan, 1: 1}, {0: 0, 1: 0}, {0: -1, 1: 3}, {0: np.inf, 1: 1}])
def test_class_weights_must_be_weights(weights):
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 1, 1])
    with pytest.raises(ValueError, match="class_weight=.* must give finite weights from 0 up"):
        make_training_set(images, labels, np.ones(4), np.array([0, 1]), weights)


def test_a_class_of_weight_zero_is_left_out():
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 1, 1])
    data = make_training_set(images, labels, np.ones(4), np.array([0, 1]), {0: 0, 1: 2})
    assert data.targets.tolist() == [1, 1]


def test_large_sets_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(_training_set, "SMALL", 3)
    images, labels = np.zeros((4, 1, 1, 1)), np.zeros(4, dtype=int)
    data = make_training_set(images, labels, np.ones(4), np.array([0]))
    assert data.images is images
    assert data.sample_weight is None


def test_balanced_classes_weigh_the_same():
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 0, 1])
    data = make_training_set(images, labels, np.ones(4), np.array(["a", "b"]), "balanced")
    assert data.sample_weight[data.targets == 0].sum() == pytest.approx(data.sample_weight[data.targets == 1].sum())


def test_balance_counts_sample_weights():
    """A weight of 3 is the row three times, also where classes are counted."""
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 0, 1])
    data = make_training_set(images, labels, np.array([1.0, 1.0, 1.0, 3.0]), np.array([0, 1]), "balanced")
    assert data.sample_weight is None
    assert np.bincount(data.targets).tolist() == [3, 3]


def naive_statistics(images, weights):
    """In float64, over every pixel as often as its image counts."""
    pixels = images.astype(np.float64)
    weights = np.broadcast_to(weights[:, None, None, None], pixels.shape)
    mean = np.average(pixels, axis=(0, 2, 3), weights=weights)
    variance = np.average((pixels - mean[:, None, None]) ** 2, axis=(0, 2, 3), weights=weights)
    return mean, np.where(np.ptp(pixels, axis=(0, 2, 3)) > 0, variance**0.5, 1.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["first", "last"])
def test_statistics_equal_naive_ones_of_any_part(monkeypatch, dtype, weighted, order):
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (23, 3, 4, 5)).astype(dtype)
    images[:, 1] = 7  # a constant channel
    images[:, 2] //= 100
    if order == "last":
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    weights = rng.rand(23) + 0.1 if weighted else None
    expected = naive_statistics(images, np.ones(23) if weights is None else weights)
    for images_at_once in (1000, 5, 1):
        monkeypatch.setattr(_training_set, "BYTES_AT_ONCE", images_at_once * 8 * 60)
        for found, value in zip(pixel_statistics(images, weights), expected, strict=True):
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, value, rtol=1e-12)


def test_statistics_take_little_memory_at_once(monkeypatch):
    """Whatever the size of the images: parts are counted in bytes."""
    sizes, images = [], np.zeros((64, 3, 32, 32), dtype=np.float32)
    as_floats = np.ascontiguousarray
    monkeypatch.setattr(_training_set, "BYTES_AT_ONCE", 2**18)
    monkeypatch.setattr(
        np, "ascontiguousarray", lambda *args, **kwargs: sizes.append(args[0].size) or as_floats(*args, **kwargs)
    )
    pixel_statistics(images, None)
    assert max(sizes) * 8 <= 2**18 and sum(sizes) == 2 * images.size


@pytest.mark.parametrize("kind", [int, str])
def test_class_weights_may_name_a_class_that_these_images_lack(kind):
    classes = np.array([0, 1, 2]) if kind is int else np.array(["a", "b", "c"])
    weights = dict(zip(classes.tolist(), [1, 2, 4], strict=True))
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 2, 2])
    data = make_training_set(images, labels, np.ones(4), classes, weights)
    assert data.sample_weight[data.targets == 0].tolist() == [0.25, 0.25]
    assert data.sample_weight[data.targets == 2].tolist() == [1, 1]
    alone = make_training_set(images[:2], labels[:2], np.ones(2), classes, weights)
    assert alone.sample_weight is None


def test_classes_that_class_weights_do_not_name_weigh_one():
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 1, 1])
    data = make_training_set(images, labels, np.ones(4), np.array([0, 1, 2]), {0: 0.5, 2: 9})
    assert data.sample_weight[data.targets == 0].tolist() == [0.5, 0.5]
    assert data.sample_weight[data.targets == 1].tolist() == [1, 1]


@pytest.mark.parametrize("weights", [{0: 1, 3: 2}, {"a": 1}])
def test_class_weights_of_unknown_labels_are_refused(weights):
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"class_weight holds \[(3|'a')\], which are none of the classes"):
        make_training_set(images, labels, np.ones(4), np.array([0, 1, 2]), weights)


def test_uploaded_weights_are_one_on_average():
    data = TrainingSet(np.zeros((3, 1, 2, 2), np.uint8), np.array([0, 1, 1]), np.array([0.25, 0.5, 1.0]))
    uploaded = data.upload(torch.device("cpu"))
    assert uploaded.images is data.images  # rows are copied batch by batch
    assert uploaded.targets.tolist() == [0, 1, 1] and uploaded.targets.dtype == torch.int64
    torch.testing.assert_close(uploaded.sample_weight, torch.tensor([0.25, 0.5, 1.0]) * 3 / 1.75)
    assert len(uploaded) == len(data) == 3
