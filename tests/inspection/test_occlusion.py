import numpy as np
import pytest

from growlattice.inspection import OcclusionDisplay, occlude

from .conftest import SHAPES, to_channels_last


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_occlusion_covers_whole_pixels_exactly_as_often_as_asked(shape, dtype):
    images = np.random.RandomState(0).randint(0, 200, size=shape).astype(dtype)
    given = images.copy()
    for share in (0.0, 0.013, 0.3, 0.5, 0.99, 1.0):
        occluded = occlude(images, share, fill=255, random_state=3)
        assert occluded.shape == shape and occluded.dtype == dtype and not np.shares_memory(occluded, images)
        changed = to_channels_last(occluded) != to_channels_last(given)
        assert (changed.any(axis=3) == changed.all(axis=3)).all()
        assert changed.any(axis=3).sum(axis=(1, 2)).tolist() == [round(share * 63)] * 3
        assert (occluded[occluded != images] == 255).all()
    assert np.array_equal(images, given)


def test_places_differ_between_images_and_seeds_and_grow_with_the_share():
    images = np.zeros((30, 12, 12))
    some, more = (occlude(images, share, fill=1.0, random_state=0) for share in (0.3, 0.6))
    assert (more >= some).all()
    assert len(np.unique(some, axis=0)) == 30
    assert np.array_equal(some, occlude(images, 0.3, fill=1.0, random_state=0))
    assert not np.array_equal(some, occlude(images, 0.3, fill=1.0, random_state=1))
    assert np.array_equal(some[:10], occlude(images[:10], 0.3, fill=1.0, random_state=0))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"share": -0.1}, "share=-0.1 must be a number from 0 to 1"),
        ({"share": 1.01}, "from 0 to 1"),
        ({"share": np.nan}, "share=nan"),
        ({"share": "half"}, "share='half'"),
        ({"patch_size": 0}, "patch_size=0 must be an int from 1 to 6"),
        ({"patch_size": 7}, "from 1 to 6"),
        ({"patch_size": 1.5}, "patch_size=1.5"),
        ({"fill": [1, 2]}, "one for each of 1 channels"),
        ({"fill": np.nan}, "fill=nan must be a value of float64"),
        ({"images": np.zeros((2, 64))}, r"Images have shape \(2, 64\)"),
        ({"images": np.zeros((2, 8, 8, 5))}, "1, 3 or 4 channels"),
        ({"images": np.zeros((2, 1, 3, 8, 8))}, "three axes"),
        ({"images": np.full((2, 8, 8), np.nan)}, "images contains NaN"),
        ({"images": np.zeros((2, 8, 8), dtype=np.uint8), "fill": 256}, "fill=256 must be a value of uint8"),
        ({"images": np.zeros((2, 8, 8), dtype=np.uint8), "fill": -1}, "fill=-1"),
    ],
)
def test_occlusion_says_what_it_needs(options, message):
    with pytest.raises(ValueError, match=message):
        occlude(**{"images": np.zeros((2, 6, 8)), "share": 0.5, **options})


def test_time_under_occlusion_is_that_of_the_occluded_images(fitted, images):
    X, shares = images[0][:20], (0.0, 0.3, 0.7)
    display = OcclusionDisplay.from_estimator(fitted, X, shares=shares, patch_size=3, random_state=4)
    time_used = [fitted.time_used(occlude(X, share, patch_size=3, random_state=4)) for share in shares]
    assert np.array_equal(display.time_used, time_used)
    (line,) = display.ax_.lines
    assert np.allclose(line.get_xydata(), np.stack([shares, np.mean(time_used, axis=1)], axis=1))
    half_width = 1.96 * np.array([np.std(row) / np.sqrt(19) for row in time_used])
    assert np.allclose(display.half_width, half_width)
    band = display.ax_.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx((line.get_ydata() + half_width).max())
    again = OcclusionDisplay.from_predictions(shares, time_used)
    assert np.array_equal(again.mean, display.mean)
    OcclusionDisplay.from_estimator(fitted, X, shares=shares, random_state=np.random.RandomState(0))


@pytest.mark.parametrize(
    "shares, time_used, message",
    [
        ([0.0, 0.5], [[1.0, 2.0]], "time_used has 1 rows"),
        ([0.0, np.nan], [[1.0, 2.0], [1.0, 2.0]], "shares contains NaN"),
        ([0.0], [[1.0]], "There is 1 image, and an interval over images needs at least 2"),
        ([0.0, 50.0], [[1.0, 2.0], [1.0, 2.0]], "between 0 and 50"),
        ([0.0, 0.5], [[1.0, 2.0], [1.0, -1.0]], "steps from -1 on"),
    ],
)
def test_time_under_occlusion_needs_a_row_for_each_share(shares, time_used, message):
    with pytest.raises(ValueError, match=message):
        OcclusionDisplay(shares, time_used)


def test_a_single_image_is_refused_before_anything_is_computed(fitted, images, monkeypatch):
    monkeypatch.setattr(type(fitted), "time_used", lambda self, X: pytest.fail("it was computed"))
    with pytest.raises(ValueError, match="There is 1 image"):
        OcclusionDisplay.from_estimator(fitted, images[0][:1])
