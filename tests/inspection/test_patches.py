import numpy as np
import pytest

from growlattice.inspection import occlude

from .conftest import SHAPES, to_channels_last


def covered_by_patches_one_after_another(rng, height, width, side, n_covered):
    """Pixels that are covered, by dropping patches one at a time and counting one pixel at a time."""
    columns = width + side - 1
    covered = np.zeros((height, width), dtype=bool)
    turns = rng.permutation((height + side - 1) * columns)
    for place in np.argsort(turns):
        for row in range(place // columns - side + 1, place // columns + 1):
            for column in range(place % columns - side + 1, place % columns + 1):
                inside = 0 <= row < height and 0 <= column < width
                if inside and covered.sum() < n_covered:
                    covered[row, column] = True
    return covered


@pytest.mark.parametrize("side", [1, 2, 5, 7])
@pytest.mark.parametrize("share", [0.2, 0.55, 0.9])
def test_occlusion_equals_patches_that_fall_one_after_another(side, share):
    occluded = occlude(np.zeros((4, 9, 7)), share, patch_size=side, fill=1.0, random_state=5)
    rng = np.random.RandomState(5)
    for image in occluded:
        expected = covered_by_patches_one_after_another(rng, 9, 7, side, round(share * 63))
        assert np.array_equal(image == 1, expected)


def test_patches_have_a_quarter_of_the_shorter_side_unless_told():
    images = np.random.RandomState(0).rand(2, 16, 9)
    assert np.array_equal(occlude(images, 0.3, random_state=0), occlude(images, 0.3, patch_size=2, random_state=0))
    assert np.array_equal(
        occlude(images[:, :3, :3], 0.3, random_state=0), occlude(images[:, :3, :3], 0.3, patch_size=1, random_state=0)
    )


def test_pixels_near_the_border_are_covered_about_as_often_as_others():
    covered = occlude(np.zeros((4000, 8, 8)), 0.5, patch_size=2, fill=1.0, random_state=0).mean(axis=0)
    assert covered.mean() == 0.5
    assert covered.min() > 0.85 * covered.max()


@pytest.mark.parametrize("shape", SHAPES)
def test_what_covers_is_the_mean_pixel_of_each_image(shape):
    images = np.random.RandomState(0).randint(0, 255, size=shape).astype(np.uint8)
    occluded, pixels = to_channels_last(occlude(images, 1.0)), to_channels_last(images)
    for image, given in zip(occluded, pixels, strict=True):
        for channel in range(given.shape[2]):
            assert (image[..., channel] == round(given[..., channel].mean())).all()
    assert np.allclose(occlude(images / 7, 1.0).mean(), (images / 7).mean())


def test_each_channel_can_be_covered_by_a_value_of_its_own():
    occluded = occlude(np.zeros((2, 3, 8, 8), dtype=np.uint8), 0.5, fill=[1, 2, 3], random_state=0)
    assert occluded.sum(axis=(2, 3)).tolist() == [[32, 64, 96]] * 2
