import copy
import json
import random

import numpy as np
import pandas as pd
import pytest
import torch

from growlattice import LatticeClassifier
from growlattice._storage._file import pack, read, write
from growlattice._storage._fit import describe_estimator, describe_trained, read_params, read_trained
from growlattice._storage._json import as_json, from_json


def test_what_is_loaded_equals_what_was_saved(fitted, saved, assert_equal_models):
    clf, X = fitted
    loaded = LatticeClassifier.load(saved)
    assert_equal_models(clf, loaded, X)
    assert loaded.classes_.tolist() == ["long", "short"]
    assert loaded.feature_names_in_.tolist() == ["length", "width", "height"]
    assert len(loaded.partial_fit(X, clf.predict(X)).history_) == 3


def test_what_was_trained_is_described_and_read(fitted):
    clf, X = fitted
    trained = clf._trained()
    back = read_trained("here", *describe_trained(trained))
    assert (back.seed, back.costs, back.time_used) == (trained.seed, trained.costs, trained.time_used)
    assert back.history == trained.history and back.lattice.config == trained.lattice.config
    assert (back.form.input_shape, back.form.image_size) == (trained.form.input_shape, trained.form.image_size)
    expected = trained.lattice.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in back.lattice.state_dict().items())


def test_parameters_that_are_code_or_local_are_left_out():
    clf = LatticeClassifier(lr=0.1, augment=flat, extra_costs=[(flat, 0.5)], memory="/here", annealing=(0.1, 0.5))
    described = json.loads(json.dumps(describe_estimator(clf)))
    assert described["class"] == "LatticeClassifier"
    assert described["left_out"] == {"augment": "flat", "extra_costs": "[[flat, 0.5]]"}
    params = read_params(described)
    assert params["lr"] == 0.1 and params["annealing"] == (0.1, 0.5)
    assert not {"augment", "extra_costs", "memory"} & set(params)


def flat(lattice, output):
    return output.log_probas.sum()


@pytest.mark.parametrize(
    "labels",
    [
        [1, 2],
        [True, False],
        [1.0, 3.0],
        ["a", "b"],
        np.array(["a", "b"], object),
        np.array([1, 2], "f2"),
        np.array(["2026-11-21", "2026-11-22"], "datetime64[D]"),
    ],
)
def test_labels_keep_their_type(fitted, tmp_path, labels):
    X, labels = fitted[1], np.asarray(labels)
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=1).fit(X, labels[np.arange(40) % 2])
    clf.save(tmp_path / "clf")
    loaded = LatticeClassifier.load(tmp_path / "clf")
    assert loaded.classes_.dtype == clf.classes_.dtype and np.array_equal(loaded.classes_, clf.classes_)
    assert np.array_equal(loaded.predict(X), clf.predict(X))


def test_a_pruned_lattice_comes_back_pruned(tmp_path, digits, assert_equal_models):
    X, y = digits[0][:400], digits[2][:400]
    clf = LatticeClassifier(max_channels=11, max_layers=3, max_epochs=3, depth_pressure=1.0, random_state=0).fit(X, y)
    clf.prune(X, y, keep=0.7).save(tmp_path / "clf")
    loaded = LatticeClassifier.load(tmp_path / "clf")
    assert_equal_models(clf, loaded, X)
    assert np.array_equal(loaded.channel_mask_, clf.channel_mask_)
    assert loaded.macs_per_image_ == clf.macs_per_image_
    assert loaded.lattice_.inputs_left == clf.lattice_.inputs_left < 11
    pd.testing.assert_frame_equal(loaded.resources_, clf.resources_)


def test_float64_stays_float64(fitted, tmp_path, assert_equal_models):
    X = fitted[1]
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=1, precision="float64").fit(X, np.arange(40) % 2)
    clf.save(tmp_path / "clf")
    assert_equal_models(clf, LatticeClassifier.load(tmp_path / "clf"), X)


def test_moments_come_back(fitted, tmp_path):
    X, y = fitted[1], fitted[0].predict(fitted[1])
    clf = LatticeClassifier(max_channels=2, max_layers=2, max_steps=2, random_state=0).partial_fit(X, y)
    clf.save(tmp_path / "clf")
    loaded = LatticeClassifier.load(tmp_path / "clf")
    assert np.array_equal(loaded.partial_fit(X, y).predict_proba(X), clf.partial_fit(X, y).predict_proba(X))


def test_a_history_with_gaps_is_kept(fitted, tmp_path):
    X = fitted[1]
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=1).fit(X, np.arange(40) % 2)
    clf.net_.history.record("mine", np.nan)
    clf.partial_fit(X, np.arange(40) % 2).save(tmp_path / "clf")
    pd.testing.assert_frame_equal(LatticeClassifier.load(tmp_path / "clf").history_, clf.history_)


# --- files that are not what they should be ---


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


def form_with(index, value):
    def change(description):
        form = from_json(description["form"])
        form[index] = value
        description["form"] = as_json(form)

    return change


def parameter(name, value):
    return lambda description: description["params"]["dict"].append([name, value])


def inputs(n_inputs):
    """Tensors of so many input channels that fit each other."""
    weights = {"input.weight": (n_inputs, 3, 1, 1), "bottom_up.0.weight": (3, n_inputs, 1, 1)}
    return {name: torch.zeros(shape) for name, shape in weights.items()} | {"input.bias": torch.zeros(n_inputs)}


BAD_TENSORS = {
    "wrong shape": set_in("readout.weight", value=torch.zeros(2, 5)),
    "wrong dtype": set_in("readout.weight", value=torch.zeros(2, 6, dtype=torch.float16)),
    "integers": set_in("readout.bias", value=torch.zeros(2, dtype=torch.int64)),
    "too many": set_in("extra", value=torch.zeros(1)),
    "too few": lambda tensors: tensors.pop("readout.bias"),
    "no input convolution": lambda tensors: tensors.pop("input.weight"),
    "no input channels": lambda tensors: tensors.update(inputs(0)),
    "more input channels than there were": lambda tensors: tensors.update(inputs(4)),
    "fewer input channels than layer 1 reads": set_in("input.weight", value=torch.zeros(2, 3, 1, 1)),
    "an input convolution of one number": set_in("input.weight", value=torch.tensor(1.0)),
    "no mask": lambda tensors: tensors.pop("mask"),
    "mask of floats": set_in("mask", value=torch.ones(2, 3)),
    "mask of another shape": set_in("mask", value=torch.ones(3, 3, dtype=torch.bool)),
    "empty mask": set_in("mask", value=torch.zeros(2, 3, dtype=torch.bool)),
    "mask of more layers": set_in("mask", value=torch.eye(2, 3).bool() | torch.tensor([[True], [False]])),
    "deviation of 0": set_in("pixel_std", value=torch.zeros(3, 1, 1)),
    "shares of another number of steps": set_in("log_step_share", value=torch.zeros(3)),
    "norm of 0": set_in("score_norm", value=torch.tensor(0.0)),
    "not finite": set_in("readout.bias", value=torch.full((2,), torch.nan)),
    "mask with a gap": set_in("mask", value=torch.tensor([[False] * 3, [True] * 3])),
    "no step mask": lambda tensors: tensors.pop("step_mask"),
    "steps of integers": set_in("step_mask", value=torch.ones(2, dtype=torch.int64)),
    "no steps": set_in("step_mask", value=torch.zeros(2, dtype=torch.bool)),
    "steps with a gap": set_in("step_mask", value=torch.tensor([False, True])),
    "more steps than there were": set_in("step_mask", value=torch.ones(9, dtype=torch.bool)),
    "moments of no parameter": set_in("moments.elsewhere.exp_avg", value=torch.zeros(2)),
    "moments of another shape": lambda tensors: tensors.update(
        {f"moments.readout.bias.{kind}": torch.zeros(7) for kind in ("step", "exp_avg", "exp_avg_sq")}
    ),
}
BAD_DESCRIPTIONS = {
    "not a dict": lambda description: description.update(params=[1, 2]),
    "missing classes": lambda description: description.pop("target_form"),
    "missing form": lambda description: description.pop("form"),
    "unknown parameter": set_in("params", value={"dict": [["breath_pressure", 1.0]]}),
    "bad parameter": set_in("params", value={"dict": [["max_channels", 0]]}),
    "threads without end": parameter("n_threads", 2**31 - 1),
    "code for a parameter": set_in("params", value={"dict": [["augment", "os.system"]]}),
    "classes of another number": set_in("target_form", value=[as_json(np.arange(3))]),
    "unknown dtype": set_in("target_form", value=[{"array": [0, 1], "dtype": "U99999999999"}]),
    "unknown unit of time": set_in("target_form", value=[{"array": [0, 1], "dtype": "datetime64[parsec]"}]),
    "labels out of order": set_in("target_form", value=[as_json(np.array(["short", "long"]))]),
    "labels in a list": set_in("target_form", value=[["long", "short"]]),
    "no history": set_in("history", value="none"),
    "rows of text": set_in("history", value=["none"]),
    "no growth": lambda description: description.pop("growth"),
    "growth of text": set_in("growth", value=["none"]),
    "growth of channels out of range": set_in("growth", value=[{"epoch": 1, "new_channels": [[99], []]}]),
    "huge channels": config_with(n_channels=10**12),
    "huge layers": config_with(n_layers=10**12),
    "huge image": config_with(image_shape=(10**6, 10**6, 10**6)),
    "unknown selection": config_with(time_selection={"a": 1}),
    "unknown option": config_with(color="red"),
    "endless steps": config_with(n_steps=10**12),
    "steps below 0": config_with(n_steps=-1),
    "part of a step": config_with(n_steps=1.5),
    "more steps than tensors": config_with(n_steps=9),
    "steps of text": config_with(n_steps="2"),
    "temperature of text": config_with(temperature="x"),
    "kernel of text": config_with(kernel_size="x"),
    "even kernel": config_with(kernel_size=2),
    "no resolution": lambda description: description["config"]["dict"].remove(["downsample", {"tuple": [1, 1]}]),
    "resolutions of another number of layers": config_with(downsample=(1, 1, 1)),
    "resolutions in a list": config_with(downsample=[1, 1]),
    "resolution of text": config_with(downsample="2"),
    "resolution of 0": config_with(downsample=(1, 0)),
    "half a resolution": config_with(downsample=(1, 1.5)),
    "a factor larger than the image": config_with(downsample=(1, 2)),
    "seed of text": set_in("seed", value="x"),
    "seed below 0": set_in("seed", value=-5),
    "costs of text": set_in("costs", value="x"),
    "other costs": set_in("costs", value=as_json({"error": 1.0})),
    "no costs": lambda description: description.update(costs=None, time_used=None),
    "time of text": set_in("time_used", value="x"),
    "table of text": set_in("resources", value="x"),
    "ragged table": set_in(
        "resources", value={"frame": {"dict": [["index", [0] * 9], ["columns", [0] * 9], ["data", 0.0]]}}
    ),
    "names of another number": form_with(2, np.array(["a"])),
    "names of numbers": form_with(2, np.arange(3)),
    "huge images": form_with(1, (9000, 9000)),
    "size of text": form_with(1, "8"),
    "two axes": form_with(0, (3, 1)),
    "other channels": form_with(0, (4, 1, 1)),
    "text that pads to gigabytes": lambda description: description["form"].__setitem__(
        2, {"array": ["a" * 10**5] + [""] * 10**4, "dtype": "str"}
    ),
}


@pytest.mark.parametrize("kind", BAD_TENSORS)
def test_tensors_that_do_not_fit(saved, rewrite, kind):
    rewrite(saved, change_tensors=BAD_TENSORS[kind])
    with pytest.raises(ValueError, match=r"Cannot load '.*clf.safetensors': .*\. Give a file"):
        LatticeClassifier.load(saved)


@pytest.mark.parametrize("kind", BAD_DESCRIPTIONS)
def test_descriptions_that_do_not_fit(saved, rewrite, kind):
    rewrite(saved, change_description=BAD_DESCRIPTIONS[kind])
    with pytest.raises(ValueError, match=r"Cannot load '.*clf.safetensors': "):
        LatticeClassifier.load(saved)


def test_a_strangers_file_names_no_folder_to_write_to(saved, rewrite):
    rewrite(saved, change_description=parameter("memory", "/elsewhere"))
    assert LatticeClassifier.load(saved).memory is None


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
        write(broken, pack(tensors, changed))
        try:
            loaded = LatticeClassifier.load(broken)
        except ValueError as error:
            assert str(broken) in str(error)
        else:
            X = fitted[1].set_axis(getattr(loaded, "feature_names_in_", [0, 1, 2]), axis=1)
            assert loaded.predict_proba(X).shape == (40, len(loaded.classes_)), seed
