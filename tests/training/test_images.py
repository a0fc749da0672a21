import numpy as np
import pandas as pd
import pytest
from PIL import Image

from growlattice._training._images import (
    as_pixels,
    channels_first,
    is_image_list,
    read_images,
    resize,
    shape_of_rows,
)


@pytest.fixture
def picture_files(tmp_path, random_images):
    paths = []
    for index, pixels in enumerate(random_images[0][:4]):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.mark.parametrize(
    "n_features, expected", [(64, (1, 8, 8)), (784, (1, 28, 28)), (49, (49, 1, 1)), (65, (65, 1, 1)), (1, (1, 1, 1))]
)
def test_rows_are_square_grey_images_from_eight_by_eight_up(n_features, expected):
    assert shape_of_rows(np.full((3, n_features), 2.0)) == expected
    assert shape_of_rows(np.full((3, n_features), 2, dtype=np.uint8)) == expected


def test_image_shape_must_multiply_out():
    with pytest.raises(ValueError, match=r"image_shape=\(3, 32, 32\) holds 3072 values, but X has 3073 features"):
        shape_of_rows(np.zeros((1, 3073)), (3, 32, 32))


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan])
@pytest.mark.parametrize("row", [0, 2, 6])
def test_one_number_that_is_no_pixel_makes_squares_one_pixel(monkeypatch, value, row):
    monkeypatch.setattr("growlattice._training._images.IMAGES_AT_ONCE", 3)
    rows = np.full((7, 64), 255.0)
    assert shape_of_rows(rows) == (1, 8, 8)
    rows[row, 63] = value
    with pytest.warns(UserWarning, match=r"64 numbers.*image_shape=\(1, 8, 8\).*image_shape=\(64, 1, 1\)") as caught:
        assert shape_of_rows(rows) == (64, 1, 1)
    assert len(caught) == 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, float])
def test_squares_of_0_and_1_alone_may_be_a_table(dtype):
    rows = np.zeros((5, 64), dtype=dtype)
    assert shape_of_rows(rows) == (1, 8, 8)
    rows[2, 3] = 1
    with pytest.warns(UserWarning, match=r"all 0 or 1.*image_shape=\(1, 8, 8\).*image_shape=\(64, 1, 1\)"):
        assert shape_of_rows(rows) == (1, 8, 8)
    assert shape_of_rows(rows, (64, 1, 1)) == (64, 1, 1)


@pytest.mark.parametrize("n_features", [49, 63, 65])
def test_other_rows_that_are_no_pixels_draw_no_warning(n_features):
    assert shape_of_rows(np.full((3, n_features), -0.5)) == (n_features, 1, 1)


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (64, 1, 1), (4, 4, 4)])
def test_a_shape_that_is_given_draws_no_warning(image_shape):
    assert shape_of_rows(np.full((3, 64), -0.5), image_shape) == image_shape


def test_the_numbers_of_integers_count_and_not_their_dtype():
    assert shape_of_rows(np.arange(128).reshape(2, 64)) == (1, 8, 8)
    with pytest.warns(UserWarning, match="image_shape"):
        assert shape_of_rows(-np.arange(128).reshape(2, 64)) == (64, 1, 1)


def test_channels_may_be_first_or_last(random_images):
    images = random_images[0]
    first = images.transpose(0, 3, 1, 2)
    assert np.array_equal(channels_first(images), first)
    assert np.array_equal(channels_first(np.ascontiguousarray(first)), first)
    assert np.shares_memory(channels_first(images), images)


def test_image_shape_settles_which_axis_is_channels():
    both = np.zeros((2, 3, 5, 4))
    assert channels_first(both).shape == (2, 4, 3, 5)
    assert channels_first(both, image_shape=(3, 5, 4)).shape == (2, 3, 5, 4)


@pytest.mark.parametrize("n_channels", [2, 7])
def test_other_numbers_of_channels_are_refused(n_channels):
    with pytest.raises(ValueError, match="images need 1, 3 or 4 channels"):
        channels_first(np.zeros((5, 8, 8, n_channels)))


def test_files_and_pil_images_are_read_alike(picture_files, random_images):
    expected = random_images[0][:4].transpose(0, 3, 1, 2)
    columns = [
        picture_files,
        [str(path) for path in picture_files],
        [Image.fromarray(pixels) for pixels in random_images[0][:4]],
        pd.Series([str(path) for path in picture_files]),
        pd.DataFrame({"file": picture_files}),
        np.array([str(path) for path in picture_files]),
    ]
    for column in columns:
        assert is_image_list(column)
        assert np.array_equal(read_images(column), expected)


def test_numbers_are_no_image_list():
    for X in (np.zeros((3, 1)), [[1.0, 2.0]], pd.DataFrame({"a": [1.0]}), np.zeros((3, 2), dtype=object), []):
        assert not is_image_list(X)


@pytest.mark.parametrize(
    "modes, n_channels",
    [(["L", "1"], 1), (["L", "RGB"], 3), (["P"], 3), (["CMYK"], 3), (["RGBA", "L"], 4), (["LA"], 4)],
)
def test_the_richest_image_sets_the_channels(modes, n_channels):
    pictures = [Image.new("RGB", (5, 6), (200, 100, 0)).convert(mode) for mode in modes]
    assert read_images(pictures).shape == (len(modes), n_channels, 6, 5)


def test_a_transparent_colour_is_an_alpha_channel(tmp_path):
    """Of a palette, as GIF and small PNG files have it, and of one grey value."""
    picture = Image.new("RGBA", (5, 6), (200, 100, 0, 0))
    picture.paste((200, 100, 0, 255), (0, 0, 2, 6))
    picture.quantize(8).save(tmp_path / "palette.png")
    Image.new("L", (5, 6), 7).save(tmp_path / "grey.png", transparency=7)
    pixels = read_images([tmp_path / "palette.png", tmp_path / "grey.png"])
    assert pixels.shape == (2, 4, 6, 5)
    assert (pixels[0, 3, :, :2] == 255).all() and (pixels[0, 3, :, 2:] == 0).all() and (pixels[1, 3] == 0).all()
    assert read_images([tmp_path / "palette.png"], n_channels=3).shape == (1, 3, 6, 5)


def test_sixteen_bit_images_are_refused():
    with pytest.raises(ValueError, match="mode 'I;16', more than 8 bits"):
        read_images([Image.new("I;16", (5, 6))])


def test_images_of_mixed_sizes_need_image_size():
    pictures = [Image.new("L", (8, 8)), Image.new("L", (9, 8))]
    with pytest.raises(ValueError, match=r"image 1 is 8 by 9 pixels. Give image_size"):
        read_images(pictures)
    assert read_images(pictures, image_size=(4, 6)).shape == (2, 1, 4, 6)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="Cannot read the image .*nowhere.png"):
        read_images([tmp_path / "nowhere.png"])


@pytest.mark.parametrize("length", [0, 3, 60, 90])
def test_a_damaged_file_is_named(picture_files, length):
    content = picture_files[2].read_bytes()
    assert length < len(content)
    picture_files[2].write_bytes(content[:length])
    with pytest.raises(ValueError, match=r"Cannot read the image .*2.png"):
        read_images(picture_files)


def test_numbers_beyond_single_precision_are_refused():
    as_pixels(np.full((1, 1, 2, 2), 3e38))
    with pytest.raises(ValueError, match="X holds numbers from -1e[+]39 to -1e[+]39, which single precision cannot"):
        as_pixels(np.full((1, 1, 2, 2), -1e39))


def test_resize_averages_what_it_shrinks():
    """Antialiasing: a checkerboard shrinks to its mean, while plain sampling would keep blacks and whites."""
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 200).astype(np.uint8)[None, None]
    small = resize(board, (4, 4))
    assert small.dtype == np.uint8
    assert np.abs(small.astype(int) - 100).max() < 15


def test_resize_goes_through_many_images_in_parts(monkeypatch, random_images):
    images = random_images[0].transpose(0, 3, 1, 2)
    whole = resize(images, (3, 3))
    monkeypatch.setattr("growlattice._training._images.IMAGES_AT_ONCE", 7)
    assert np.array_equal(resize(images, (3, 3)), whole)


@pytest.mark.parametrize(
    "dtype, kept",
    [("u1", "u1"), ("f4", "f4"), ("f8", "f8"), (">f4", "f4"), ("f2", "f4"), ("i2", "f4"), ("i8", "f8"), ("?", "f4")],
)
def test_pixels_keep_a_dtype_that_torch_holds(dtype, kept):
    pixels = np.array([0, 1, 1], dtype=dtype)
    assert as_pixels(pixels).dtype == np.dtype(kept)
    assert np.array_equal(as_pixels(pixels), [0, 1, 1])
    assert dtype != kept or np.shares_memory(as_pixels(pixels), pixels)
