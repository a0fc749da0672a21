import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import BaseEstimator
from torchvision.datasets import FakeData, ImageFolder

from growlattice._training._input_form import InputForm

RNG = np.random.RandomState(0)
PIXELS = RNG.randint(0, 256, (6, 9, 8, 3), dtype=np.uint8)


def learn(X, image_shape=None, image_size=None):
    estimator = BaseEstimator()
    form, images = InputForm.learn(X, image_shape, image_size, estimator)
    return form, images, estimator


def pictures():
    return [Image.fromarray(pixels) for pixels in PIXELS]


KINDS = {
    "rows": (RNG.randn(6, 13), (13, 1, 1)),
    "square rows": (RNG.randint(0, 17, (6, 64)), (1, 8, 8)),
    "lists of numbers": ([[1.0, -2.0], [0.5, 3.0]], (2, 1, 1)),
    "a data frame": (pd.DataFrame(RNG.randn(6, 2), columns=["a", "b"]), (2, 1, 1)),
    "grey images": (PIXELS[..., 0], (1, 9, 8)),
    "channels last": (PIXELS, (3, 9, 8)),
    "channels first": (PIXELS.transpose(0, 3, 1, 2), (3, 9, 8)),
    "a tensor": (torch.from_numpy(PIXELS), (3, 9, 8)),
    "pictures": (pictures(), (3, 9, 8)),
    "a column of pictures": (pd.Series(pictures()), (3, 9, 8)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_is_learned_and_reads_the_same_again(kind):
    X, shape = KINDS[kind]
    form, images, estimator = learn(X)
    assert (form.input_shape, form.image_shape, form.image_size) == (shape, shape, None)
    assert form.n_features == estimator.n_features_in_ == np.prod(shape)
    assert images.shape == (len(X), *shape)
    if shape == (3, 9, 8):
        assert np.array_equal(images, PIXELS.transpose(0, 3, 1, 2))
    assert np.array_equal(form.read(X, estimator), images)
    form.check()


@pytest.mark.parametrize("kind", ["square rows", "grey images", "channels last", "channels first", "a tensor"])
def test_one_image_without_an_axis_of_images_is_told(kind):
    X, shape = KINDS[kind]
    form, _, estimator = learn(X)
    single = X[0].reshape(8, 8) if kind == "square rows" else X[0]
    with pytest.raises(ValueError, match=r"as one image has. Give images: X\[None\]"):
        form.read(single, estimator)


def test_one_row_of_pixels_is_an_image():
    rows = RNG.randn(6, 13)
    form, images, estimator = learn(rows, image_shape=(1, 1, 13))
    assert np.array_equal(form.read(rows[:1], estimator), images[:1])


def test_lists_that_are_no_array_and_other_axes_are_told():
    with pytest.raises(ValueError, match="X is a list that is no array: .* Give an array of shape"):
        learn([np.zeros((8, 8)), np.zeros((9, 8))])
    with pytest.raises(ValueError, match="X has 5 axes. Give an array of shape"):
        learn(np.zeros((2, 1, 3, 8, 8)))
    with pytest.raises(TypeError, match=r"X is one image. Give a list of images: \[X\]"):
        learn(pictures()[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_reads_one_image_as_it_reads_many(kind):
    X, _ = KINDS[kind]
    form, images, estimator = learn(X)
    assert np.array_equal(form.read(X[1:2], estimator), images[1:2])


def test_what_fit_learned_decides_how_rows_are_read():
    """Rows that would be pixels by themselves stay numbers, and others stay pixels, without a warning."""
    pixels, numbers = RNG.randint(0, 17, (6, 64)).astype(float), RNG.randn(6, 64)
    form, _, estimator = learn(pixels)
    assert form.read(numbers, estimator).shape == (6, 1, 8, 8)
    with pytest.warns(UserWarning, match="image_shape"):
        form, _, estimator = learn(numbers)
    assert form.read(pixels, estimator).shape == (6, 64, 1, 1)


@pytest.mark.parametrize("n_features, side", [(64, 8), (81, 9), (100, 10), (256, 16)])
def test_square_tables_of_other_numbers_than_pixels_are_tables(n_features, side):
    X = RNG.randn(6, n_features)
    message = rf"taken as one pixel.*image_shape=\(1, {side}, {side}\).*image_shape=\({n_features}, 1, 1\) says so"
    with pytest.warns(UserWarning, match=message):
        form, images, _ = learn(X)
    assert form.image_shape == (n_features, 1, 1)
    assert np.array_equal(images[:, :, 0, 0], X)
    for shape in ((1, side, side), (n_features, 1, 1)):
        form, images, _ = learn(X, image_shape=shape)
        assert form.image_shape == shape and np.array_equal(images.reshape(X.shape), X)
    form, _, _ = learn(np.abs(X).round())
    assert form.image_shape == (1, side, side)


@pytest.mark.parametrize("image_size", [4, (5, 4)])
@pytest.mark.parametrize("kind", ["square rows", "grey images", "channels first", "pictures"])
def test_images_are_resized(kind, image_size):
    X, shape = KINDS[kind]
    form, images, estimator = learn(X, image_size=image_size)
    size = (4, 4) if image_size == 4 else image_size
    assert form.image_size == size
    assert form.image_shape == (shape[0], *size) == images.shape[1:]
    assert np.array_equal(form.read(X, estimator), images)
    form.check()


def test_pictures_of_other_sizes_and_modes_are_read_as_fit_learned():
    form, _, estimator = learn(pictures(), image_size=4)
    assert form.read([Image.new("L", (30, 20))], estimator).shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    "X, image_shape, image_size, message",
    [
        (PIXELS, (3, 8, 8), None, r"X holds images of shape \(3, 9, 8\), but image_shape=\(3, 8, 8\)"),
        (RNG.randn(6, 13), None, 4, r"image_size=4 cannot resize rows of 13 features"),
        (np.zeros((6, 0, 4)), None, None, r"X holds images of shape \(1, 0, 4\).*without pixels"),
        (RNG.randn(6, 13), (1, 3, 4), None, r"image_shape=\(1, 3, 4\) holds 12 values, but X has 13 features"),
    ],
)
def test_what_does_not_fit_the_parameters_is_told(X, image_shape, image_size, message):
    with pytest.raises(ValueError, match=message):
        learn(X, image_shape, image_size)


@pytest.mark.parametrize("kind, X", [("channels last", PIXELS[:, :8]), ("grey images", PIXELS)])
def test_images_of_another_shape_than_in_fit_are_refused(kind, X):
    form, _, estimator = learn(KINDS[kind][0])
    with pytest.raises(ValueError, match=r"X holds images of shape .*, but BaseEstimator was fitted on"):
        form.read(X, estimator)


def test_names_of_columns_are_kept_and_forgotten():
    frame = pd.DataFrame(RNG.randn(6, 2), columns=["a", "b"])
    form, _, estimator = learn(frame)
    assert form.feature_names.tolist() == estimator.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        form.read(frame[["b", "a"]], estimator)
    form, _ = InputForm.learn(PIXELS, None, None, estimator)
    assert form.feature_names is None and not hasattr(estimator, "feature_names_in_")


# --- what is no array ---


class Samples(torch.utils.data.Dataset):
    """As ImageFolder: pairs of a picture and its class, and the pairs of paths and classes in `samples`."""

    def __init__(self):
        self.samples = [(f"{index}.png", index % 2) for index in range(4)]

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return Image.fromarray(PIXELS[index]), index % 2


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(Samples())


def image_folder(path):
    for index, picture in enumerate(pictures()[:4]):
        folder = path / str(index % 2)
        folder.mkdir(exist_ok=True)
        picture.save(folder / f"{index}.png")
    return ImageFolder(path)


@pytest.mark.parametrize(
    "make, named",
    [
        (lambda path: Samples(), "X is a Samples"),
        (image_folder, "X is a ImageFolder"),
        (lambda path: FakeData(4), "X is a FakeData"),
        (lambda path: torch.utils.data.TensorDataset(torch.from_numpy(PIXELS)), "X is a TensorDataset"),
        (lambda path: torch.utils.data.Subset(Samples(), [0, 1]), "X is a Subset"),
        (lambda path: torch.utils.data.DataLoader(Samples()), "X is a DataLoader"),
        (lambda path: torch.utils.data.DataLoader(Stream()), "X is a DataLoader"),
        (lambda path: Stream(), "X is a Stream"),
        (lambda path: str(path), r"X is the path '.*'"),
        (lambda path: path, r"X is the path '.*'"),
        (lambda path: path / "some.png", r"X is the path '.*some.png'"),
    ],
)
@pytest.mark.parametrize("method", ["learn", "read"])
def test_what_is_no_array_is_told_with_what_to_give(make, named, method, tmp_path):
    X = make(tmp_path)
    form, _, estimator = learn(PIXELS)
    with pytest.raises(TypeError, match=rf"{named}.*Give an array of shape .*X, y = zip\(\*.*samples\)"):
        learn(X) if method == "learn" else form.read(X, estimator)


def test_the_line_for_an_image_folder_works(tmp_path):
    folder = image_folder(tmp_path)
    X, y = zip(*folder.samples, strict=True)
    form, images, _ = learn(X)
    assert images.shape == (4, 3, 9, 8) and y == (0, 0, 1, 1)
    assert np.array_equal(images[0], PIXELS[0].transpose(2, 0, 1))


def test_read_only_arrays_draw_no_warning_and_stay_as_they_are():
    for X in (PIXELS.copy(), PIXELS[..., 0].copy(), RNG.randn(6, 13), RNG.randint(0, 9, (6, 64)).astype("f4")):
        X.flags.writeable = False
        before = X.copy()
        for image_size in (None, 4) if X.shape != (6, 13) else (None,):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                form, _, estimator = learn(X, image_size=image_size)
                form.read(X, estimator)
        assert np.array_equal(X, before)


# --- forms from files ---


@pytest.mark.parametrize(
    "parts",
    [
        dict(input_shape=(3, 9)),
        dict(input_shape=(3, 9, 0)),
        dict(input_shape=(3, 9, -8)),
        dict(input_shape=(3, 9, 8.0)),
        dict(input_shape=(True, 9, 8)),
        dict(input_shape=(3, 9, "8")),
        dict(image_size=(4,)),
        dict(image_size=(4, 0)),
        dict(image_size=(4, None)),
        dict(feature_names=np.array(["a", "b"])),
        dict(feature_names=["a"] * 216),
        dict(feature_names=np.arange(216)),
    ],
)
def test_forms_that_no_input_has_are_refused(parts):
    form = InputForm(**{"input_shape": (3, 9, 8), "image_size": None, "feature_names": None, **parts})
    with pytest.raises(ValueError, match="no input has the form InputForm"):
        form.check()


def test_sound_forms_pass():
    InputForm((3, 9, 8), None, None).check()
    InputForm((3, 9, 8), (4, 4), None).check()
    InputForm((2, 1, 1), None, None, np.array(["a", "b"], dtype=object)).check()
