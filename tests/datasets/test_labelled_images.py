import re

import numpy as np
import pytest
from sklearn.utils import Bunch

from .conftest import CASES, KEYS, assert_refused, some_arrays, store


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("subset, parts", [("train", ["train"]), ("test", ["test"]), ("all", ["train", "test"])])
def test_a_subset_is_its_images_and_labels_in_order(case, subset, parts, save, tmp_path):
    arrays = some_arrays(case)
    store(tmp_path, case, arrays, save)
    dataset = case.fetch(data_home=tmp_path, subset=subset)
    assert np.array_equal(dataset.images, np.concatenate([arrays[f"x_{part}"] for part in parts]))
    assert np.array_equal(dataset.target, np.concatenate([arrays[f"y_{part}"] for part in parts]))


def test_the_default_subset_is_train(case, tmp_path):
    store(tmp_path, case)
    assert case.fetch(data_home=tmp_path).target.tolist() == [3, 2, 1]


def test_a_bunch_has_images_target_names_and_description(case, tmp_path):
    store(tmp_path, case)
    dataset = case.fetch(data_home=tmp_path)
    assert isinstance(dataset, Bunch)
    assert set(dataset) == {"images", "target", "target_names", "DESCR"}
    assert dataset.images.dtype == np.uint8 and dataset.images.shape == (3, *case.image_shape)
    assert dataset.images.flags.writeable
    assert dataset.target.dtype == np.int64
    assert dataset.target_names.tolist() == case.names
    assert dataset.target_names[dataset.target].tolist() == [case.names[label] for label in (3, 2, 1)]
    for word in ("What:", "Origin:", "Sizes:", "Licence:", "Citation:", "10,000 test images"):
        assert word in dataset.DESCR


def test_return_X_y_gives_images_and_target_alone(case, tmp_path):
    store(tmp_path, case)
    dataset = case.fetch(data_home=tmp_path, subset="all")
    images, target = case.fetch(data_home=tmp_path, subset="all", return_X_y=True)
    assert np.array_equal(images, dataset.images) and images.dtype == np.uint8
    assert np.array_equal(target, dataset.target) and target.dtype == np.int64


@pytest.mark.parametrize("dtype", ["int8", "uint64", ">i4"])
def test_labels_of_any_integer_dtype_become_int64(case, dtype, tmp_path):
    arrays = some_arrays(case)
    store(tmp_path, case, arrays | {"y_train": arrays["y_train"].astype(dtype)})
    target = case.fetch(data_home=tmp_path).target
    assert target.dtype == np.int64 and target.tolist() == [3, 2, 1]


def test_one_image_is_enough(case, tmp_path):
    store(tmp_path, case, some_arrays(case, n_train=1, n_test=1))
    assert case.fetch(data_home=tmp_path, subset="all").images.shape == (2, *case.image_shape)


def test_every_label_is_in_range(case, tmp_path):
    n_classes = len(case.names)
    arrays = some_arrays(case, n_train=n_classes)
    store(tmp_path, case, arrays | {"y_train": np.arange(n_classes)})
    assert case.fetch(data_home=tmp_path).target.tolist() == list(range(n_classes))


def test_other_keys_are_let_be(case, tmp_path):
    store(tmp_path, case, some_arrays(case) | {"remark": np.array("mine")})
    assert len(case.fetch(data_home=tmp_path).images) == 3


@pytest.mark.parametrize("subset, other", [("train", "test"), ("test", "train")])
def test_only_the_arrays_asked_for_are_read(case, subset, other, tmp_path):
    path = store(tmp_path, case, some_arrays(case) | {f"x_{other}": np.zeros(3), f"y_{other}": np.zeros(3)})
    assert case.fetch(data_home=tmp_path, subset=subset).images.shape[1:] == case.image_shape
    assert_refused(case, path, f"x_{other} has dtype float64")


def test_data_home_may_be_a_string_and_is_scikit_learns_by_default(case, tmp_path, monkeypatch):
    store(tmp_path, case)
    assert len(case.fetch(data_home=str(tmp_path)).images) == 3
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    assert len(case.fetch(download_if_missing=False).images) == 3


@pytest.mark.parametrize("subset", ["validation", "Train", "", None, ["train"]])
def test_an_unknown_subset_is_named_before_anything_is_downloaded(case, subset, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"subset={subset!r}") + ".*'train', 'test' or 'all'"):
        case.fetch(data_home=tmp_path, subset=subset)


@pytest.mark.parametrize("subset", ["train", "test", "all"])
@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named_whatever_the_subset(case, key, subset, tmp_path):
    arrays = some_arrays(case)
    del arrays[key]
    assert_refused(case, store(tmp_path, case, arrays), f"lacks {key};", subset)


def test_all_missing_keys_are_named_at_once(case, tmp_path):
    arrays = {"x_train": some_arrays(case)["x_train"]}
    assert_refused(case, store(tmp_path, case, arrays), "lacks y_train, x_test, y_test, label_names")


WRONG_ARRAYS = {
    "images as floats": ("x_train", lambda x: x / 255, "x_train has dtype float64, but uint8"),
    "images as int64": ("x_test", lambda x: x.astype(np.int64), "x_test has dtype int64, but uint8"),
    "images as booleans": ("x_test", lambda x: x > 9, "x_test has dtype bool, but uint8"),
    "images flattened": ("x_train", lambda x: x.reshape(len(x), -1), r"x_train has shape \(3, \d+\)"),
    "images too small": ("x_train", lambda x: x[:, 1:], "x_train has shape"),
    "images with one axis more": ("x_test", lambda x: x[..., None], "x_test has shape"),
    "another order of axes": ("x_train", lambda x: np.moveaxis(x, 0, -1), "x_train has shape"),
    "one image without its axis": ("x_train", lambda x: x[0], "x_train has shape"),
    "a number for images": ("x_train", lambda x: np.uint8(7), r"x_train has shape \(\), but \(n_images, "),
    "no images": ("x_train", lambda x: x[:0], r"x_train has shape \(0, .*n_images >= 1"),
    "an image too few": ("x_train", lambda x: x[1:], r"y_train has shape \(3,\).*2 images"),
    "a label too few": ("y_test", lambda y: y[1:], r"y_test has shape \(1,\).*2 images"),
    "a label too many": ("y_train", lambda y: np.append(y, y), r"y_train has shape \(6,\).*3 images"),
    "labels in a column": ("y_train", lambda y: y[:, None], r"y_train has shape \(3, 1\)"),
    "labels as floats": ("y_train", lambda y: y.astype(float), "y_train has dtype float64, but integers"),
    "labels as booleans": ("y_train", lambda y: y > 1, "y_train has dtype bool, but integers"),
    "labels as strings": ("y_test", lambda y: y.astype(str), "y_test has dtype <U3, but integers"),
    "a label below 0": (
        "y_train",
        lambda y: y.astype(int) - 2,
        "y_train goes from -1 to 1, but labels from 0 to {last}",
    ),
    "a huge label": ("y_test", lambda y: np.array([2**63, 0], np.uint64), f"y_test goes from 0 to {2**63}"),
    "a name too few": (
        "label_names",
        lambda names: names[1:],
        r"label_names has .* shape \({last},\), but {n} strings",
    ),
    "names as numbers": ("label_names", lambda names: np.arange(len(names)), "label_names has dtype int64"),
    "names as bytes": ("label_names", lambda names: names.astype("S"), r"label_names has dtype \|S"),
    "pickled images": ("x_train", lambda x: x.astype(object), "x_train cannot be read .*Object arrays"),
    "pickled labels": ("y_test", lambda y: y.astype(object), "y_test cannot be read .*Object arrays"),
    "pickled names": ("label_names", lambda names: names.astype(object), "label_names cannot be read .*Object arrays"),
}


@pytest.mark.parametrize("key, change, problem", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_a_wrong_array_is_refused(case, key, change, problem, tmp_path):
    arrays = some_arrays(case)
    arrays[key] = change(arrays[key])
    assert_refused(case, store(tmp_path, case, arrays), problem.format(n=len(case.names), last=len(case.names) - 1))


def test_labels_from_1_are_refused(case, tmp_path):
    n_classes = len(case.names)
    path = store(tmp_path, case, some_arrays(case) | {"y_test": np.array([1, n_classes])})
    assert_refused(case, path, f"y_test goes from 1 to {n_classes}, but labels from 0 to {n_classes - 1}")


def test_the_file_of_another_data_set_is_refused(tmp_path):
    mnist, cifar10 = CASES["mnist"], CASES["cifar10"]
    path = store(tmp_path, mnist, some_arrays(cifar10))
    assert_refused(mnist, path, r"x_train has shape \(3, 32, 32, 3\), but \(n_images, 28, 28\)")
