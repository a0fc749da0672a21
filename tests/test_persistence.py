import copy
import json
import os
import pickle
import random
import struct

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from growlattice import LatticeClassifier, _persistence
from growlattice._persistence import as_json, digest_of, from_json, read, write


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.RandomState(0)
    X = pd.DataFrame(rng.rand(40, 3), columns=["length", "width", "height"])
    y = np.where(X["length"] > 0.5, "long", "short")
    clf = LatticeClassifier(
        max_channels=3, max_layers=2, max_steps=2, max_epochs=2, class_weight={"long": 2, "short": 1.5}
    )
    return clf.set_params(random_state=0, annealing=(0.2, 0.6)).fit(X, y), X


@pytest.fixture
def saved(fitted, tmp_path):
    path = tmp_path / "clf.safetensors"
    fitted[0].save(path)
    return path


def assert_equal_models(one, other, X):
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))
    assert np.array_equal(one.predict(X), other.predict(X))
    assert np.array_equal(one.time_weights(X), other.time_weights(X))
    assert {**one.get_params(), "device": None} == {**other.get_params(), "device": None}
    assert one.costs_ == other.costs_ and one.time_used_ == other.time_used_
    assert one.n_features_in_ == other.n_features_in_
    pd.testing.assert_frame_equal(one.history_, other.history_)


def test_what_is_loaded_equals_what_was_saved(fitted, saved):
    clf, X = fitted
    loaded = LatticeClassifier.load(saved)
    assert_equal_models(clf, loaded, X)
    assert loaded.classes_.tolist() == ["long", "short"]
    assert loaded.feature_names_in_.tolist() == ["length", "width", "height"]
    assert len(loaded.partial_fit(X, clf.predict(X)).history_) == 3


@pytest.mark.parametrize(
    "labels", [[1, 2], [True, False], [1.0, 3.0], ["a", "b"], np.array(["a", "b"], object), np.array([1, 2], "f2")]
)
def test_labels_keep_their_type(fitted, tmp_path, labels):
    X, labels = fitted[1], np.asarray(labels)
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=1).fit(X, labels[np.arange(40) % 2])
    clf.save(tmp_path / "clf")
    classes = LatticeClassifier.load(tmp_path / "clf").classes_
    assert classes.dtype == clf.classes_.dtype and np.array_equal(classes, clf.classes_)


def test_a_pruned_lattice_comes_back_pruned(tmp_path, digits):
    X, y = digits[0][:400], digits[2][:400]
    clf = LatticeClassifier(max_channels=6, max_layers=3, max_epochs=6, depth_pressure=1.0, random_state=0).fit(X, y)
    clf.prune(X, y, keep=0.7).save(tmp_path / "clf")
    loaded = LatticeClassifier.load(tmp_path / "clf")
    assert_equal_models(clf, loaded, X)
    assert np.array_equal(loaded.channel_mask_, clf.channel_mask_)
    assert loaded.macs_per_image_ == clf.macs_per_image_
    pd.testing.assert_frame_equal(loaded.resources_, clf.resources_)


def test_float64_stays_float64(fitted, tmp_path):
    X = fitted[1]
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=1, precision="float64").fit(X, np.arange(40) % 2)
    clf.save(tmp_path / "clf")
    assert_equal_models(clf, LatticeClassifier.load(tmp_path / "clf"), X)


def test_code_is_left_out_with_a_warning(fitted, tmp_path):
    X = fitted[1]
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=1, augment=lambda images: images)
    clf.fit(X, np.arange(40) % 2)
    with pytest.warns(UserWarning, match="Not saved, because they are code or hold it: augment"):
        clf.save(tmp_path / "clf")
    assert LatticeClassifier.load(tmp_path / "clf").augment is None


def test_an_unfitted_classifier_cannot_be_saved(tmp_path):
    with pytest.raises(Exception, match="not fitted yet"):
        LatticeClassifier().save(tmp_path / "clf")
    assert not (tmp_path / "clf").exists()


def test_what_could_not_be_loaded_is_not_saved(fitted, tmp_path):
    clf = pickle.loads(pickle.dumps(fitted[0])).set_params(max_channels=-1)
    with pytest.raises(ValueError, match="max_channels"):
        clf.save(tmp_path / "clf")
    with pytest.raises(TypeError):
        as_json(np.array(["2026-11-21"], dtype="datetime64[D]"))


def test_a_crash_while_saving_leaves_the_old_file(fitted, saved, monkeypatch):
    before = saved.read_bytes()

    def crash(tensors, path, metadata):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(_persistence, "save_file", crash)
    with pytest.raises(OSError, match="No space left"):
        fitted[0].save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.1, "text", (1, (2.0,)), [1, "a"], {1: "a", "b": (1,)}, {}, np.float64(0.5), np.int8(3)],
)
def test_json_keeps_values_and_their_kinds(value):
    back = from_json(json.loads(json.dumps(as_json(value))))
    assert back == value and (isinstance(value, np.generic) or type(back) is type(value))


def test_json_refuses_code():
    for value in (len, object(), np.random.RandomState(0), [lambda: 0]):
        with pytest.raises(TypeError):
            as_json(value)


# --- files that are not what they should be ---


def rewritten(path, change_tensors=None, change_description=None, **header):
    """Write a file whose digest is right, as an attacker could, with something in it changed."""
    tensors, description = read(path)
    for change, target in ((change_tensors, tensors), (change_description, description)):
        if change is not None:
            change(target)
    if not header:
        write(path, tensors, description)
        return
    text, versions = header.get("description", json.dumps(description)), "{}"
    full = {"format": "1", "versions": versions, "description": text, "digest": digest_of(tensors, text, versions)}
    save_file(tensors, path, metadata={**full, **header})


def set_in(*keys, value):
    def change(target):
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value

    return change


def config_with(**values):
    def change(description):
        config = from_json(description["config"])
        description["config"] = as_json({**config, **values})

    return change


def fitted_with(**values):
    return lambda description: description.update(fitted=as_json({**from_json(description["fitted"]), **values}))


def set_fitted(name, value):
    return lambda description: description["fitted"]["dict"].append([name, value])


BAD_TENSORS = {
    "wrong shape": set_in("readout.weight", value=torch.zeros(2, 5)),
    "wrong dtype": set_in("readout.weight", value=torch.zeros(2, 6, dtype=torch.float16)),
    "integers": set_in("readout.bias", value=torch.zeros(2, dtype=torch.int64)),
    "too many": set_in("extra", value=torch.zeros(1)),
    "too few": lambda tensors: tensors.pop("readout.bias"),
    "no mask": lambda tensors: tensors.pop("mask"),
    "mask of floats": set_in("mask", value=torch.ones(2, 3)),
    "mask of another shape": set_in("mask", value=torch.ones(3, 3, dtype=torch.bool)),
    "empty mask": set_in("mask", value=torch.zeros(2, 3, dtype=torch.bool)),
    "mask of more layers": set_in("mask", value=torch.eye(2, 3).bool() | torch.tensor([[True], [False]])),
    "deviation of 0": set_in("pixel_std", value=torch.zeros(3, 1, 1)),
    "not finite": set_in("readout.bias", value=torch.full((2,), torch.nan)),
    "mask with a gap": set_in("mask", value=torch.tensor([[False] * 3, [True] * 3])),
}
BAD_DESCRIPTIONS = {
    "not a dict": lambda description: description.update(params=[1, 2]),
    "missing": lambda description: description.pop("fitted"),
    "unknown parameter": set_in("params", value={"dict": [["breath_pressure", 1.0]]}),
    "bad parameter": set_in("params", value={"dict": [["max_channels", 0]]}),
    "code for a parameter": set_in("params", value={"dict": [["augment", "os.system"]]}),
    "classes of another number": set_in("fitted", value=as_json({"classes_": np.arange(3)})),
    "unknown dtype": set_in("fitted", value={"dict": [["classes_", {"array": [0, 1], "dtype": "U99999999999"}]]}),
    "no history": set_in("history", value="none"),
    "huge channels": config_with(n_channels=10**12),
    "huge layers": config_with(n_layers=10**12),
    "huge image": config_with(image_shape=(10**6, 10**6, 10**6)),
    "unknown selection": config_with(time_selection={"a": 1}),
    "unknown option": config_with(color="red"),
    "seed of text": set_in("seed", value="x"),
    "seed below 0": set_in("seed", value=-5),
    "endless steps": config_with(n_steps=10**12, steps_left=10**12),
    "steps below 0": config_with(steps_left=-1),
    "part of a step": config_with(steps_left=1.5),
    "more steps than there were": config_with(steps_left=9),
    "steps of text": config_with(n_steps="2"),
    "temperature of text": config_with(temperature="x"),
    "kernel of text": config_with(kernel_size="x"),
    "even kernel": config_with(kernel_size=2),
    "costs of text": fitted_with(costs_="x"),
    "other costs": fitted_with(costs_={"error": 1.0}),
    "table of text": fitted_with(resources_="x"),
    "time of text": fitted_with(time_used_="x"),
    "names of another number": fitted_with(feature_names_in_=np.array(["a"])),
    "huge images": fitted_with(image_size_=(9000, 9000)),
    "labels out of order": fitted_with(classes_=np.array(["short", "long"])),
    "ragged table": set_fitted(
        "resources_", {"frame": {"dict": [["index", [0] * 9], ["columns", [0] * 9], ["data", 0.0]]}}
    ),
    "text that pads to gigabytes": set_fitted(
        "feature_names_in_", {"array": ["a" * 10**5] + [""] * 10**4, "dtype": "str"}
    ),
}


@pytest.mark.parametrize("kind", BAD_TENSORS)
def test_tensors_that_do_not_fit(saved, kind):
    rewritten(saved, change_tensors=BAD_TENSORS[kind])
    with pytest.raises(ValueError, match=r"Cannot load '.*clf.safetensors': .*\. Give a file"):
        LatticeClassifier.load(saved)


@pytest.mark.parametrize("kind", BAD_DESCRIPTIONS)
def test_descriptions_that_do_not_fit(saved, kind):
    rewritten(saved, change_description=BAD_DESCRIPTIONS[kind])
    with pytest.raises(ValueError, match=r"Cannot load '.*clf.safetensors': "):
        LatticeClassifier.load(saved)


@pytest.mark.parametrize(
    "header, message",
    [
        ({"format": "2"}, "its format version is '2', and this growlattice reads 1"),
        ({"digest": "0"}, "its content is not what was written"),
        ({"description": "{"}, "its description is no JSON"),
        ({"description": "[" * 10**5}, "its description is no JSON"),
    ],
)
def test_headers_that_do_not_fit(saved, header, message):
    rewritten(saved, **header)
    with pytest.raises(ValueError, match=message):
        LatticeClassifier.load(saved)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_strangers_file_names_no_folder_to_write_to(saved):
    def point_elsewhere(description):
        description["params"]["dict"].append(["memory", "/elsewhere"])

    rewritten(saved, change_description=point_elsewhere)
    assert LatticeClassifier.load(saved).memory is None


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clf").write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), tmp_path / "other")
    for name in ("clf", "other"):
        with pytest.raises(ValueError, match=f"Cannot load '{name}': it is no whole safetensors file"):
            LatticeClassifier.load(name)
    assert not (tmp_path / "exploded").exists()


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "clf")
    with pytest.raises(ValueError, match="it was not written by growlattice"):
        LatticeClassifier.load(tmp_path / "clf")


@pytest.mark.parametrize("size", [2**63, 2**40, 10**8])
def test_a_huge_declared_header_is_refused(saved, size):
    saved.write_bytes(struct.pack("<Q", size) + saved.read_bytes()[8:])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        LatticeClassifier.load(saved)


def test_a_device_that_is_not_there_is_named(saved):
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used here"):
        LatticeClassifier.load(saved, device="cuda:99")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"Cannot load '{tmp_path}'"):
        LatticeClassifier.load(tmp_path)


def test_a_loaded_model_does_not_change_with_its_file(fitted, saved):
    loaded = LatticeClassifier.load(saved)
    with open(saved, "r+b") as file:
        file.seek(-500, os.SEEK_END)
        file.write(b"\xff" * 500)
    assert np.array_equal(loaded.predict_proba(fitted[1]), fitted[0].predict_proba(fitted[1]))


def test_a_history_with_gaps_is_kept(fitted, tmp_path):
    X = fitted[1]
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=1).fit(X, np.arange(40) % 2)
    clf.net_.history.record("mine", np.nan)
    clf.partial_fit(X, np.arange(40) % 2).save(tmp_path / "clf")
    pd.testing.assert_frame_equal(LatticeClassifier.load(tmp_path / "clf").history_, clf.history_)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        LatticeClassifier.load(tmp_path / "nowhere")


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_corruption_is_an_error_or_an_equal_model(fitted, saved, data):
    """Cut the file, flip bytes, put bytes in or take them out."""
    content = bytearray(saved.read_bytes())
    n_header = 8 + struct.unpack("<Q", content[:8])[0]
    kind = data.draw(st.sampled_from(["cut", "flip", "insert", "delete"]))
    place = data.draw(st.one_of(st.integers(0, n_header - 1), st.integers(0, len(content) - 1)))
    if kind == "cut":
        content = content[:place]
    elif kind == "flip":
        content[place] ^= data.draw(st.integers(1, 255))
    elif kind == "insert":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
    else:
        del content[place : place + data.draw(st.integers(1, 9))]
    broken = saved.parent / "broken"
    broken.write_bytes(content)
    try:
        loaded = LatticeClassifier.load(broken)
    except ValueError as error:
        assert str(broken) in str(error)
    else:
        assert_equal_models(fitted[0], loaded, fitted[1])


def places(value):
    """Every (container, key) in a nest of dicts and lists."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


ODDITIES = """
    [null, true, -1, 0, 3, 1e15, 0.5, -1e300, "", "x", [], {}, {"tuple": [1]}, {"dict": [["a", 1]]}, {"float": "nan"}]
"""


@pytest.mark.parametrize("block", range(5))
def test_any_description_under_a_right_digest_is_an_error_or_a_model(fitted, saved, block):
    """As an attacker would write it: one to three places of the JSON replaced or removed, and the digest made anew."""
    broken = saved.parent / "broken"
    tensors, description = read(saved)
    for seed in range(100 * block, 100 * (block + 1)):
        rng, changed = random.Random(seed), copy.deepcopy(description)
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(list(places(changed)))
            if rng.random() < 0.7:
                container[key] = rng.choice(json.loads(ODDITIES))
            else:
                del container[key]
        write(broken, tensors, changed)
        try:
            loaded = LatticeClassifier.load(broken)
        except ValueError as error:
            assert str(broken) in str(error)
        else:
            X = fitted[1].set_axis(getattr(loaded, "feature_names_in_", [0, 1, 2]), axis=1)
            assert loaded.predict_proba(X).shape == (40, len(loaded.classes_)), seed
