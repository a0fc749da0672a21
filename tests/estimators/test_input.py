import pathlib
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

from growlattice import LatticeClassifier
from growlattice._version import DOCUMENTATION

# --- what X may be ---


def test_images_of_any_layout_give_the_same_lattice(random_images, make_small, tmp_path):
    images, y = random_images
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    paths = []
    for index, pixels in enumerate(images):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels).save(paths[-1])
    layouts = {
        "last": (images, {}),
        "first": (first, {}),
        "float": (images.astype(np.float32), {}),
        "int64": (images.astype(np.int64), {}),
        "flat": (first.reshape(40, -1), {"image_shape": (3, 6, 5)}),
        "frame": (pd.DataFrame(first.reshape(40, -1)), {"image_shape": (3, 6, 5)}),
        "pil": ([Image.fromarray(pixels) for pixels in images], {}),
        "paths": (paths, {}),
        "column": (pd.Series([str(path) for path in paths]), {}),
    }
    probas = {}
    for name, (X, parameters) in layouts.items():
        clf = make_small(**parameters).fit(X, y)
        assert (clf.image_shape_, clf.n_features_in_) == ((3, 6, 5), 90), name
        probas[name] = clf.predict_proba(X)
    assert all(np.array_equal(proba, probas["last"]) for proba in probas.values())


def test_grey_images_have_one_channel(make_small, small):
    X, y = small
    flat, square = (make_small().fit(images, y).predict_proba(images) for images in (X, X.reshape(-1, 8, 8)))
    assert np.array_equal(flat, square)


def test_a_layout_in_doubt_is_read_alike_in_fit_and_predict(make_small):
    images = np.random.RandomState(0).rand(30, 3, 3, 3)
    clf = make_small(max_epochs=1).fit(images, np.arange(30) % 2)
    flat = images.transpose(0, 3, 1, 2).reshape(30, -1)
    assert np.array_equal(clf.predict_proba(images), clf.predict_proba(flat))


def test_names_of_columns_are_forgotten_with_the_frame(small, make_small, recwarn):
    X, y = small
    frame = pd.DataFrame(X, columns=[f"pixel{column}" for column in range(64)])
    clf = make_small(max_epochs=1).fit(frame, y)
    assert np.array_equal(clf.predict_proba(frame), make_small(max_epochs=1).fit(X, y).predict_proba(X))
    clf.fit(X.reshape(-1, 8, 8), y).predict(X)
    assert not hasattr(clf, "feature_names_in_")


def test_text_shows_what_is_used(small, make_small):
    clf = make_small(max_epochs=1)
    unfitted = repr(clf)
    clf.fit(*small)
    assert repr(clf).startswith(unfitted)
    assert f"2 of 2 layers, 4.0 of 4 channels, {clf.time_used_:.2f} of 3 steps" in repr(clf)
    assert f"{clf.n_parameters_:,} parameters, {clf.macs_per_image_:,} multiply-accumulates" in repr(clf)
    html = clf._repr_html_()
    assert all(name in html for name in ("channels_used_", "layers_used_", "macs_per_image_", "time_used_"))


def test_the_html_of_an_estimator_links_to_published_pages_only(monkeypatch):
    assert DOCUMENTATION or "href=" not in LatticeClassifier()._repr_html_()
    monkeypatch.setattr(LatticeClassifier, "_doc_link_module", "growlattice")
    monkeypatch.setattr(LatticeClassifier, "_doc_link_template", "https://here/{estimator_module}.{estimator_name}")
    assert 'href="https://here/growlattice.LatticeClassifier' in LatticeClassifier()._repr_html_()


def test_image_size_resizes_in_fit_and_predict(random_images, make_small):
    images, y = random_images
    clf = make_small(image_size=(4, 3)).fit(images, y)
    assert clf.image_shape_ == (3, 4, 3)
    big = images.repeat(2, axis=1).repeat(2, axis=2)
    assert clf.predict_proba(big).shape == (40, 2)
    pictures = [Image.fromarray(pixels) for pixels in images]
    np.testing.assert_array_equal(clf.predict_proba(pictures), clf.predict_proba(images))


def test_bytes_are_not_copied_by_validation(make_small):
    for shape in [(20, 8, 8, 3), (20, 3, 8, 8), (20, 8, 8), (20, 64)]:
        images = np.zeros(shape, dtype=np.uint8)
        clf = make_small(max_epochs=1).fit(images, np.arange(20) % 2)
        assert np.shares_memory(clf._images(images), images), shape


class FakeSet(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.zeros(1, 8, 8), 0


def test_a_column_of_arrays_gets_an_error_that_says_how_to_stack_it(small, make_small):
    images = pd.Series(list(small[0].reshape(-1, 8, 8)))
    clf = make_small(max_epochs=1)
    for column in (images, images.to_frame("image"), images.to_numpy()):
        with pytest.raises(ValueError, match="X is a column of arrays, the first of shape .8, 8.. Give numpy.stack"):
            clf.fit(column, small[1])
    assert clf.fit(np.stack(images), small[1]).image_shape_ == (1, 8, 8)


@pytest.mark.parametrize(
    "X, message",
    [
        (FakeSet(), "X is a FakeSet, and fit takes arrays. .*ImageFolder: X, y = zip"),
        (torch.utils.data.DataLoader(FakeSet()), "X is a DataLoader, and fit takes arrays"),
        (torch.utils.data.TensorDataset(torch.zeros(4, 64)), "X is a TensorDataset, and fit takes arrays"),
        ("some/folder", "X is the path 'some/folder'. Give .*ImageFolder.path..samples"),
        (pathlib.Path("one.png"), "X is the path 'one.png'. Give an array"),
    ],
    ids=lambda X: type(X).__name__,
)
def test_what_is_no_array_gets_an_error_that_says_what_to_give(small, make_small, X, message):
    clf = make_small(max_epochs=1)
    with pytest.raises(TypeError, match=message):
        clf.fit(X, np.zeros(4))
    assert vars(clf) == vars(make_small(max_epochs=1))
    clf.fit(*small)
    with pytest.raises(TypeError, match=message):
        clf.predict(X)


@pytest.mark.parametrize(
    "kind, shape, warned",
    [
        ("whole", (1, 8, 8), False),
        ("bytes", (1, 8, 8), False),
        ("negative", (64, 1, 1), True),
        ("parts", (64, 1, 1), True),
        ("named", (1, 8, 8), False),
        ("pixel", (64, 1, 1), False),
    ],
)
def test_only_rows_that_can_be_pixels_become_square_images(small, make_small, kind, shape, warned):
    X, y = small
    rows = {"whole": X, "bytes": X.astype(np.uint8), "parts": X / 16}.get(kind, X - 1)
    image_shape = {"named": (1, 8, 8), "pixel": (64, 1, 1)}.get(kind)
    clf = make_small(max_epochs=1, image_shape=image_shape)
    warning = r"taken as one pixel with 64 channels. If they are images, give image_shape=\(1, 8, 8\)"
    with pytest.warns(UserWarning, match=warning) if warned else nullcontext():
        clf.fit(rows, y)
    assert clf.image_shape_ == shape
    assert f"images of {' x '.join(map(str, shape))}," in repr(clf)
    clf.predict(rows[:1] + 0.5 if kind == "whole" else rows[:1])  # read as in fit, and without a warning


def test_other_columns_that_are_no_square_draw_no_warning(small, make_small):
    X, y = small
    assert make_small(max_epochs=1).fit(X[:, :49] - 0.5, y).image_shape_ == (49, 1, 1)


@pytest.mark.parametrize("shape", [(120, 64), (120, 8, 8)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_what_is_read_only_draws_no_warning(small, make_small, shape, dtype):
    X, y = small
    X = X.reshape(shape).astype(dtype)
    X.flags.writeable = y.flags.writeable = False
    clf = make_small(max_epochs=1, augment=torch.neg).fit(X, y, sample_weight=np.ones(120))
    clf.predict(X)
    clf.prune(X, clf.predict(X), keep=0)
