import numpy as np
import pytest

from growlattice import _training_set
from growlattice._training_set import make_training_set, pixel_statistics, repeat_in_order


def test_statistics_equal_those_of_repeated_images(monkeypatch):
    rng = np.random.RandomState(0)
    images, weights = rng.rand(20, 2, 3, 4) + 100, rng.randint(1, 4, size=20).astype(float)
    monkeypatch.setattr(_training_set, "IMAGES_AT_ONCE", 6)
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
    assert data.labels.tolist() == [1, 1]


def test_large_sets_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(_training_set, "SMALL", 3)
    images, labels = np.zeros((4, 1, 1, 1)), np.zeros(4, dtype=int)
    data = make_training_set(images, labels, np.ones(4), np.array([0]))
    assert data.images is images
    assert data.sample_weight is None


def test_balanced_classes_weigh_the_same():
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 0, 1])
    data = make_training_set(images, labels, np.ones(4), np.array(["a", "b"]), "balanced")
    assert data.sample_weight[data.labels == 0].sum() == pytest.approx(data.sample_weight[data.labels == 1].sum())


def test_balance_counts_sample_weights():
    """A weight of 3 is the row three times, also where classes are counted."""
    images, labels = np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 0, 1])
    data = make_training_set(images, labels, np.array([1.0, 1.0, 1.0, 3.0]), np.array([0, 1]), "balanced")
    assert data.sample_weight is None
    assert np.bincount(data.labels).tolist() == [3, 3]
