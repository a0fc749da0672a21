import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from sklearn.exceptions import NotFittedError

from growlattice import LatticeClassifier, LatticeRegressor
from growlattice.inspection import (
    AttributionDisplay,
    ExtremesDisplay,
    OcclusionDisplay,
    attribution_entropy,
    attribution_map,
    occlude,
)

from .conftest import SHAPES, to_channels_last


class Weighted:
    """Knows two classes, by a sum over pixels that has other weights in each place and channel."""

    classes_ = np.array(["dark", "light"])

    def predict_proba(self, X):
        weights = np.random.RandomState(1).normal(size=X.shape[1:])
        light = 1 / (1 + np.exp(-(X * weights).sum(axis=tuple(range(1, X.ndim))) / 200))
        return np.stack([1 - light, light], axis=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fill", [None, 0.0])
def test_attribution_maps_equal_a_naive_ablation_of_patches(shape, fill):
    X, y, model = np.random.RandomState(0).normal(20, 30, size=shape), np.array(["light", "dark", "light"]), Weighted()
    given = X.copy()
    maps = attribution_map(model, X, y, patch_size=2, fill=fill)
    assert np.array_equal(X, given) and maps.dtype == np.float64 and maps.shape == (3, 9, 7)
    for index in range(3):
        column = list(model.classes_).index(y[index])
        for row in range(9):
            for place in range(7):
                changed = X[index : index + 1].copy()
                pixels = to_channels_last(changed)[0]
                baseline = to_channels_last(X)[index].mean(axis=(0, 1)) if fill is None else fill
                pixels[row // 2 * 2 : row // 2 * 2 + 2, place // 2 * 2 : place // 2 * 2 + 2] = baseline
                drop = model.predict_proba(X)[index, column] - model.predict_proba(changed)[0, column]
                assert maps[index, row, place] == pytest.approx(drop, abs=1e-12)
    assert np.abs(maps).max() > 0.01


@pytest.mark.parametrize("patch_size", [2, 3])  # 3 does not divide the 8 pixels
@pytest.mark.parametrize("fill", [None, 5.0])
def test_attribution_maps_equal_captums_occlusion(fitted, images, patch_size, fill):
    X, labels = images[0][:6], images[1][5::-1]
    baseline = X.mean(axis=(1, 2), keepdims=True) if fill is None else fill
    captum = Occlusion(lambda inputs: torch.from_numpy(fitted.predict_proba(inputs.numpy())))
    expected = captum.attribute(
        torch.from_numpy(X),
        sliding_window_shapes=(patch_size, patch_size),
        strides=(patch_size, patch_size),
        baselines=torch.from_numpy(np.broadcast_to(baseline, X.shape).copy()),
        target=torch.from_numpy(np.searchsorted(fitted.classes_, labels)),
    )
    maps = attribution_map(fitted, X, labels, patch_size=patch_size, fill=fill)
    assert np.abs(maps).max() > 0.01
    assert np.allclose(maps, expected.numpy(), rtol=0, atol=1e-5)


def test_attribution_asks_for_the_predicted_class_unless_told(fitted, images):
    X, _ = images
    assert np.array_equal(attribution_map(fitted, X[:9]), attribution_map(fitted, X[:9], fitted.predict(X[:9])))
    assert not np.array_equal(attribution_map(fitted, X[:9]), attribution_map(fitted, X[:9], ["two"] * 9))


def test_attribution_says_what_it_needs(fitted, images):
    X, y = images
    with pytest.raises(ValueError, match=r"of which \['three'\] are unknown"):
        attribution_map(fitted, X[:2], ["one", "three"])
    with pytest.raises(ValueError, match="y holds 3 labels"):
        attribution_map(fitted, X[:2], y[:3])
    with pytest.raises(ValueError, match="three axes"):
        attribution_map(fitted, X[:2].reshape(2, 64))
    with pytest.raises(NotFittedError):
        attribution_map(LatticeClassifier(), X[:2])


def test_entropy_by_hand():
    maps = np.zeros((5, 2, 4))
    maps[0, 1, 2] = -3.0
    maps[1] = 0.2
    maps[2, 0] = [1, -1, 1, -1]
    maps[3, 0] = [4, 2, 1, 1]  # 1/2, 1/4, 1/8, 1/8: 1.75 bits
    assert np.allclose(attribution_entropy(maps), [0, 1, 2 / 3, 1.75 / 3, np.nan], equal_nan=True)
    for scale in (1e-9, 1e307):
        assert np.allclose(attribution_entropy(scale * maps), attribution_entropy(maps), equal_nan=True)
    for bad, message in [(np.full((1, 2, 2), np.nan), "maps contains NaN"), (np.ones((3, 1, 1)), "two places or more")]:
        with pytest.raises(ValueError, match=message):
            attribution_entropy(bad)


def test_attribution_maps_are_drawn_below_their_images(fitted, images):
    X, y = images[0][:4], images[1][:4]
    display = AttributionDisplay.from_estimator(fitted, X, y)
    maps = attribution_map(fitted, X, y)
    assert np.array_equal(display.maps, maps)
    for index, (shown, below) in enumerate(zip(display.ax_.images[::2], display.ax_.images[1::2], strict=True)):
        assert np.allclose(shown.get_array(), X[index] / 16)
        assert np.array_equal(below.get_array(), maps[index])
        assert below.get_clim() == (-np.abs(maps).max(), np.abs(maps).max())
        assert shown.get_extent()[:2] == below.get_extent()[:2] and below.get_extent()[3] < shown.get_extent()[2]
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == list(y)
    assert AttributionDisplay.from_estimator(fitted, X).labels == list(fitted.predict(X))


def test_each_image_needs_a_map_and_a_label():
    with pytest.raises(ValueError, match=r"maps has shape \(2, 8, 8\), with 2 labels"):
        AttributionDisplay(np.zeros((2, 8, 9)), np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match="with 1 labels"):
        AttributionDisplay(np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), labels=["one"])


def test_attribution_needs_probabilities(images):
    with pytest.raises(TypeError, match="LatticeRegressor has no predict_proba.*Give a classifier"):
        attribution_map(LatticeRegressor(), images[0])


def test_channels_lie_where_the_estimator_was_told():
    """On images whose both ends could be channels."""
    X, y = np.random.RandomState(0).rand(40, 3, 8, 4), np.arange(40) % 2
    clf = LatticeClassifier(image_shape=(3, 8, 4), max_epochs=1, max_channels=2, max_layers=1, max_steps=1).fit(X, y)
    maps = attribution_map(clf, X[:5], patch_size=2)
    assert maps.shape == (5, 8, 4)
    filled = X[:5].copy()
    filled[:, :, 2:4, :2] = X[:5].mean(axis=(2, 3), keepdims=True)
    probas = clf.predict_proba(X[:5])
    of_class = np.arange(5), probas.argmax(axis=1)
    np.testing.assert_allclose(maps[:, 2, 1], (probas - clf.predict_proba(filled))[of_class], atol=1e-6)
    display = AttributionDisplay.from_estimator(clf, X[:5], patch_size=2)
    assert display.images.shape == (5, 8, 4, 3)
    assert ExtremesDisplay.from_estimator(clf, X[:5]).images.shape == (5, 8, 4, 3)
    occluded = occlude(X, 0.25, fill=9.0, patch_size=2, random_state=0, image_shape=(3, 8, 4)) == 9
    assert (occluded == occluded[:, :1]).all() and (occluded[:, 0].sum(axis=(1, 2)) == 8).all()


def test_images_of_as_many_channels_as_the_estimator_was_told_will_do():
    X, y = np.random.RandomState(0).rand(20, 5, 8, 8), np.arange(20) % 2
    clf = LatticeClassifier(image_shape=(5, 8, 8), max_epochs=1, max_channels=2, max_layers=1, max_steps=2).fit(X, y)
    assert attribution_map(clf, X[:3], patch_size=4).shape == (3, 8, 8)
    covered = occlude(X, 0.25, fill=9.0, random_state=0, image_shape=[5, 8, 8]) == 9
    assert (covered.sum(axis=(2, 3)) == 16).all() and (covered == covered[:, :1]).all()
    assert OcclusionDisplay.from_estimator(clf, X, shares=[0, 0.5], random_state=0).time_used.shape == (2, 20)
