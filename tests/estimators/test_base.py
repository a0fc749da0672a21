import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from skorch.callbacks import (
    EarlyStopping,
)
from torchvision.transforms import v2

from growlattice import LatticeClassifier
from growlattice._estimators import _base
from growlattice._training._training_set import TrainingSet

# --- training ---


def fit_at_prices(digits, **pressures):
    sizes = dict(max_channels=8, max_layers=3, max_steps=3, max_epochs=10, batch_size=100)
    return LatticeClassifier(**sizes, **pressures, random_state=0).fit(digits[0][:400], digits[2][:400])


@pytest.fixture(scope="module")
def without_prices(digits):
    return fit_at_prices(digits)


@pytest.mark.parametrize("name, pressures", [("breadth", (0.3, 1, 3)), ("depth", (0.3, 1, 3)), ("time", (0.1, 0.3, 1))])
def test_raising_the_pressure_on_one_resource_lowers_its_cost(name, pressures, digits, without_prices):
    """Real fits on digits: each cost falls with its own pressure, over four values."""
    fits = [without_prices, *(fit_at_prices(digits, **{f"{name}_pressure": pressure}) for pressure in pressures)]
    costs = [clf.costs_[name] for clf in fits]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) == 4


def test_a_strong_depth_pressure_empties_the_top_layer(digits):
    X_train, X_test, y_train, y_test = digits
    sizes = dict(max_channels=8, max_steps=2, max_epochs=12, random_state=0)
    free, pressed = (
        LatticeClassifier(depth_pressure=pressure, **sizes).fit(X_train[:800], y_train[:800]) for pressure in (0.0, 3.0)
    )
    layers = pressed.channel_magnitude_.mean(axis=1)
    assert layers[-1] < 0.05 * layers[0]
    assert pressed.score(X_test, y_test) > free.score(X_test, y_test) - 0.03


def test_time_pressure_takes_time_used_from_near_all_steps_to_under_half(digits):
    X, y = digits[0][:400], digits[2][:400]
    sizes = dict(max_channels=8, max_layers=2, max_epochs=15, random_state=0)
    free, pressed = (LatticeClassifier(time_pressure=pressure, **sizes).fit(X, y) for pressure in (0.0, 1.0))
    assert free.time_used_ > 0.9 * free.max_steps
    assert pressed.time_used_ < 0.5 * pressed.max_steps


def test_extra_costs_are_charged_and_recorded(small, make_small):
    def energy(lattice, output):
        return output.activity.mean()

    runs = [make_small(max_epochs=10, extra_costs=[(energy, price)]).fit(*small).history_ for price in (0.0, 1.0)]
    assert runs[1]["energy"].iloc[-1] < 0.7 * runs[0]["energy"].iloc[-1]


def test_extra_costs_of_one_name_are_told_apart(small, make_small):
    costs = [
        (lambda lattice, output: output.activity.mean(), 0.1),
        (lambda lattice, output: output.activity.max(), 0.1),
    ]
    history = make_small(max_epochs=1, extra_costs=costs).fit(*small).history_
    assert history["<lambda>_0"].item() < history["<lambda>_1"].item()


def test_partial_fit_trains_an_epoch_a_call_and_keeps_the_optimizer(small, make_small):
    X, y = small
    clf = make_small(max_epochs=4)
    for call in range(1, 9):
        clf.partial_fit(X, y, classes=[0, 1])
        assert clf.history_["epoch"].tolist() == list(range(1, call + 1))
        moments = clf.net_.optimizer_.state_dict()["state"][0]
        batches_of_an_epoch = 4
        assert moments["step"].item() == batches_of_an_epoch * call
    assert clf.score(X, y) > 0.95


def test_partial_fit_needs_all_classes_first(small, make_small):
    X, y = small
    clf = make_small().partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
    assert clf.classes_.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"y holds the classes array\(\[2\]\)"):
        clf.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="differ from those of the first call"):
        clf.partial_fit(X, y, classes=[0, 1, 2])


def test_warm_start_goes_on_from_the_weights_with_the_new_parameters(small, make_small):
    X, y = small
    clf = make_small(warm_start=True, lr=1e-12, weight_decay=0.0).fit(X, y)
    before = {name: weight.clone() for name, weight in clf.lattice_.state_dict().items()}
    clf.set_params(max_epochs=1, breadth_pressure=2.0).fit(X, y)
    for name, weight in clf.lattice_.state_dict().items():
        torch.testing.assert_close(weight, before[name], msg=name)
    assert clf.net_.pressures["breadth"] == 2.0
    assert len(clf.history_) == 1
    cold = clf.set_params(warm_start=False, random_state=1).fit(X, y).lattice_.state_dict()
    assert not torch.allclose(cold["readout.weight"], before["readout.weight"])


def test_augment_takes_a_torchvision_transform(small, make_small):
    X, y = small
    seen = []

    def watch(images):
        seen.append((images.dtype, tuple(images.shape[1:])))
        return images

    transform = v2.Compose([v2.RandomAffine(degrees=10), watch])
    fits = [make_small(augment=transform, max_epochs=2).fit(X.astype(np.uint8), y).predict_proba(X) for _ in range(2)]
    assert set(seen) == {(torch.uint8, (1, 8, 8))}
    assert np.array_equal(*fits)
    assert not np.array_equal(fits[0], make_small(max_epochs=2).fit(X, y).predict_proba(X))


# --- weights ---


def test_history_counts_weights(small, make_small):
    X, y = small
    weights = np.where(y, 1000.0, 0.5)
    history = make_small(max_epochs=10).fit(X, y, sample_weight=weights).history_
    assert history["accuracy"].iloc[-1] > 0.98  # nearly all weight is on one class


def test_few_different_rows_train_as_long_as_many(make_small):
    X = np.array([[0.0, 1.0], [1.0, 0.0]]).repeat(400, axis=0)
    clf = make_small(max_epochs=1).fit(X, [0] * 400 + [1] * 400)
    assert len(clf.net_.history[-1]["batches"]) == 25


def test_weight_zero_is_absence_and_weight_two_is_twice(small, make_small):
    X, y = small
    weights = np.random.RandomState(0).randint(0, 3, size=len(X))
    weighted = make_small().fit(X, y, sample_weight=weights)
    repeated = make_small().fit(X.repeat(weights, axis=0), y.repeat(weights))
    assert np.array_equal(weighted.predict_proba(X), repeated.predict_proba(X))
    assert weighted.costs_ == repeated.costs_
    assert weighted.time_used_ == pytest.approx(repeated.time_used_, rel=1e-6)


# --- reproducibility ---


def test_same_seed_same_result_and_global_generators_untouched(small, make_small):
    X, y = small
    results = []
    for noise_before in (0, 5):
        torch.rand(noise_before), np.random.rand(noise_before)
        states = torch.random.get_rng_state(), np.random.get_state()[1].copy()
        clf = make_small().fit(X, y)
        assert torch.equal(torch.random.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state()[1], states[1])
        results.append(clf)
    first, second = (clf.lattice_.state_dict() for clf in results)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not np.array_equal(make_small(random_state=1).fit(X, y).predict_proba(X), results[0].predict_proba(X))


def test_random_state_none_follows_numpy(small, make_small):
    np.random.seed(7)
    first = make_small(random_state=None, max_epochs=1).fit(*small)
    second = make_small(random_state=None, max_epochs=1).fit(*small)
    np.random.seed(7)
    again = make_small(random_state=None, max_epochs=1).fit(*small)
    X = small[0]
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
    assert not np.array_equal(first.predict_proba(X), second.predict_proba(X))


# --- resolutions ---


def test_layers_of_other_resolutions_are_trained_cut_and_kept(digits, tmp_path):
    X, X_test, y, y_test = digits
    parameters = dict(max_channels=8, max_layers=3, max_steps=2, downsample=(1, 2, 3), max_epochs=8, random_state=0)
    clf = LatticeClassifier(breadth_pressure=1.0, lr=3e-2, memory=tmp_path, **parameters)
    assert clf.fit(X, y).score(X_test, y_test) > 0.9
    assert clf.lattice_.layer_sizes == [(8, 8), (4, 4), (2, 2)]
    again = clone(clf).fit(X, y)  # read from memory
    assert np.array_equal(clf.predict_proba(X_test), again.predict_proba(X_test))
    again.prune(X, y, keep=0.9)
    again.save(tmp_path / "clf")
    loaded, pickled = LatticeClassifier.load(tmp_path / "clf"), pickle.loads(pickle.dumps(again))
    for other in (loaded, pickled):
        assert np.array_equal(other.predict_proba(X_test), again.predict_proba(X_test))
        assert other.macs_per_image_ == again.macs_per_image_ < clf.macs_per_image_
        assert other.partial_fit(X[:50], y[:50]).lattice_.layer_sizes == clf.lattice_.layer_sizes


def test_a_table_has_no_resolution(make_small):
    clf = make_small(downsample=(1, 2))
    with pytest.raises(ValueError, match="layer 2 cannot average 2 x 2 pixels, because 1 x 1 are left"):
        clf.fit(np.eye(10, 5), np.arange(10) % 2)
    assert vars(clf) == vars(make_small(downsample=(1, 2)))


# --- partial_fit and warm_start ---


def test_part_of_the_data_never_takes_steps_away(small, make_small, compacting):
    X, y = small
    clf = make_small(**compacting)
    for _ in range(4):
        clf.partial_fit(X, y)
    assert clf.lattice_.steps_left == 3 and not clf.channel_mask_.all()
    assert make_small(**compacting).fit(X, y).lattice_.steps_left < 3


def test_class_weights_may_name_a_class_that_a_part_lacks(small, make_small):
    X, y = small
    weighted = make_small(class_weight={0: 2.0, 1: 3.0})
    plain = make_small()
    for part in (y == 0, y == 1):
        weighted.partial_fit(X[part], y[part], classes=[0, 1])
        plain.partial_fit(X[part], y[part], classes=[0, 1])
    np.testing.assert_allclose(weighted.predict_proba(X), plain.predict_proba(X), rtol=1e-4)  # one class at a time
    with pytest.raises(ValueError, match=r"class_weight holds \[7\], which are none of the classes"):
        make_small(class_weight={7: 1.0}).partial_fit(X, y)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(temperature=4.0), r"'temperature': 5.0.*'temperature': 4.0"),
        (dict(time_selection="fixed"), "'time_selection': 'adaptive'.*'time_selection': 'fixed'"),
        (dict(max_channels=5), "'n_channels': 4.*'n_channels': 5"),
        (dict(max_layers=3), "'n_layers': 2.*'n_layers': 3"),
        (dict(max_steps=2), "'n_steps': 3.*'n_steps': 2"),
        (dict(kernel_size=5), "'kernel_size': 3.*'kernel_size': 5"),
        (dict(downsample=2), r"'downsample': \(1, 1\).*'downsample': \(2, 2\)"),
        (dict(image_size=4), r"'image_size': None.*'image_size': \(4, 4\)"),
        (dict(image_shape=(64, 1, 1)), r"'image_shape': \(1, 8, 8\).*'image_shape': \(64, 1, 1\)"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_goes_on_with_no_other_form_and_keeps_the_lattice(small, make_small, method, change, words):
    X, y = small
    clf = make_small(warm_start=True, max_epochs=1).fit(X, y)
    lattice, before = clf.lattice_, clf.predict_proba(X)
    clf.set_params(**change)
    with pytest.raises(ValueError, match=f"Training goes on from a lattice with .*{words}"):
        getattr(clf, method)(X, y)
    assert clf.lattice_ is lattice and np.array_equal(clf.predict_proba(X), before)
    clf.set_params(warm_start=False).fit(X, y)


def test_relaxing_refuses_another_form(small, make_small):
    clf = make_small(max_epochs=1).fit(*small).set_params(temperature=1.0)
    with pytest.raises(ValueError, match="'temperature': 5.0.*'temperature': 1.0"):
        clf.relax(*small)
    assert len(clf.history_) == 1


def test_relaxing_between_calls_of_partial_fit_does_not_raise_prices(small, make_small):
    X, y = small
    plain, relaxed = (make_small(max_epochs=10, time_pressure=1.0).partial_fit(X, y) for _ in range(2))
    relaxed.relax(X, y, epochs=9)
    assert plain.partial_fit(X, y).net_.ramp_ == relaxed.partial_fit(X, y).net_.ramp_ < 0.2


# --- images to measure it on ---


def test_measured_columns_are_those_of_the_lattice_after_the_epoch(small, make_small):
    X, y = small
    X_val, y_val = X[:50], y[:50]
    clf = make_small(max_epochs=3).fit(X[50:], y[50:], X_val=X_val, y_val=y_val)
    last = clf.history_.iloc[-1]
    assert last["valid_accuracy"] == pytest.approx(clf.score(X_val, y_val))
    truth = clf.predict_proba(X_val)[np.arange(50), y_val]
    assert last["valid_error"] == pytest.approx(-np.log(truth).mean() / np.log(2), rel=1e-4)
    assert clf.history_["valid_error"].notna().all()
    without = make_small(max_epochs=3).fit(X[50:], y[50:])
    assert np.array_equal(clf.predict_proba(X), without.predict_proba(X))
    assert not {"valid_error", "valid_accuracy"} & set(without.history_)


def test_one_of_the_two_is_an_error(small, make_small):
    X, y = small
    clf = make_small()
    for given, missing in (("X_val", "y_val"), ("y_val", "X_val")):
        with pytest.raises(ValueError, match=f"{given} is given, but {missing} is not. Give both or neither"):
            clf.fit(X, y, **{given: {"X_val": X, "y_val": y}[given]})
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clf.fit(X, y, X_val=X, y_val=y[1:])
    with pytest.raises(ValueError, match="X_val and y_val do not fit: y holds the classes"):
        clf.fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="63 features"):
        clf.fit(X, y, X_val=X[:, 1:], y_val=y)
    assert vars(clf) == vars(make_small())


def test_early_stopping_monitors_the_measured_error(small, make_small):
    X, y = small
    stop = EarlyStopping(monitor="valid_error", patience=2, threshold=10.0, threshold_mode="abs")
    clf = make_small(callbacks=[stop], max_epochs=9).fit(X, y, X_val=X[:9], y_val=y[:9])
    assert len(clf.history_) == 3


def valid_accuracy(estimator, X, y):
    return estimator.history_["valid_accuracy"].iloc[-1]


def test_scoring_monitor_reads_the_measured_accuracy(small, make_small):
    X, y = small
    monitor = ScoringMonitor(scoring={"score": valid_accuracy})
    clf = make_small(max_epochs=3).set_callbacks(monitor).fit(X, y, X_val=X[:50], y_val=y[:50])
    log = monitor.get_logs().data_as_pandas
    epochs = log[log["task_name"] == "epoch"]
    assert epochs["score"].tolist() == clf.history_["valid_accuracy"].tolist()


# --- what a fit survives ---


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), RuntimeError("device"), MemoryError("full")])
def test_what_was_trained_is_kept_if_it_cannot_be_measured(small, make_small, monkeypatch, tmp_path, error):
    X, y = small

    def fail(*args):
        raise error

    monkeypatch.setattr(_base, "measure", fail)
    clf = make_small(memory=tmp_path / "memory")
    with pytest.warns(UserWarning, match="could not be measured on the training images: .* those of the last epoch"):
        clf.fit(X, y)
    monkeypatch.undo()
    last = clf.history_.iloc[-1]
    assert (clf.costs_["error"], clf.time_used_) == (last["error"], last["time_used"])
    assert clf.costs_["depth"] == pytest.approx(last["depth"])
    assert np.array_equal(clf.predict_proba(X), make_small().fit(X, y).predict_proba(X))
    clf.save(tmp_path / "clf")
    assert "fitted" in repr(LatticeClassifier.load(tmp_path / "clf"))
    assert len(os.listdir(tmp_path / "memory")) == 1


def test_training_data_are_uploaded_once(small, make_small, monkeypatch):
    X, y = small
    uploads, upload = [], TrainingSet.upload

    def count(data, *args):
        uploads.append(len(data))
        return upload(data, *args)

    monkeypatch.setattr(TrainingSet, "upload", count)
    clf = make_small(max_epochs=8).fit(X, y)
    assert uploads == [120]
    clf.fit(X, y, X_val=X[:30], y_val=y[:30])
    assert uploads[1:] == [120, 30]
    clf.prune(X, y, keep=0.9)
    assert uploads[3:] == [120]


def test_a_default_precision_of_the_users_changes_nothing(small, make_small):
    expected = make_small(max_epochs=1).fit(*small).predict_proba(small[0])
    try:
        torch.set_default_dtype(torch.float64)
        found = make_small(max_epochs=1).fit(*small).predict_proba(small[0])
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("growth", ["fresh", "tiny"])
def test_a_default_device_of_the_users_changes_nothing(small, make_small, tmp_path, growth):
    X, y = small

    def run(folder):
        clf = make_small(max_epochs=8, time_pressure=0.1, augment=torch.abs, memory=tmp_path / folder)
        clf.fit(X, y, X_val=X[:9], y_val=y[:9])
        clf.prune(X, y, keep=0.9).set_params(augment=None).save(tmp_path / f"{folder}.file")
        clf.partial_fit(X, y)
        copied = pickle.loads(pickle.dumps(clf))
        loaded = LatticeClassifier.load(tmp_path / f"{folder}.file")
        again = make_small(max_epochs=8, time_pressure=0.1, augment=torch.abs, memory=tmp_path / folder)
        again.fit(X, y, X_val=X[:9], y_val=y[:9])
        grown = make_small(max_epochs=8, max_layers=3, grow_from=(2, 1, 2), growth=growth, lr=0.05).fit(X, y)
        fits = (clf, copied, loaded, again, grown)
        return [fit.predict_proba(X) for fit in fits] + [clf.time_weights(X), grown.growth_["after"].to_numpy()]

    expected = run("plain")
    torch.set_default_device("meta")
    try:
        found = run("meta")
    finally:
        torch.set_default_device(None)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("n_fits", [2, 5])
def test_fits_in_threads_leave_torchs_number_of_threads(small, make_small, n_fits):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(n_fits) as pool:
            list(pool.map(lambda seed: make_small(max_epochs=1, random_state=seed).fit(*small), range(n_fits)))
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def test_classes_count_alike_in_what_is_measured(small, make_small):
    X, y = small
    clf = make_small(class_weight={0: 10, 1: 1}, max_epochs=2).fit(X, y, X_val=X[:50], y_val=y[:50])
    assert clf.history_["valid_accuracy"].iloc[-1] == pytest.approx(clf.score(X[:50], y[:50]))
    nothing = make_small(class_weight={0: 0, 1: 1}, max_epochs=1).fit(X, y, X_val=X, y_val=y)
    assert nothing.history_["valid_accuracy"].iloc[-1] == pytest.approx(nothing.score(X, y))


@pytest.mark.parametrize("value", [-1.0, np.nan])
@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, list])
def test_an_image_of_weight_zero_is_not_even_looked_at(small, make_small, kind, value):
    X, y = small
    more, weights = kind(np.concatenate([X, np.full((1, 64), value)])), [1.0] * len(X) + [0.0]
    expected, found = make_small(max_epochs=1).fit(X, y), make_small(max_epochs=1).fit(more, [*y, 7], weights)
    assert found.classes_.tolist() == [0, 1]
    assert found.image_shape_ == expected.image_shape_ == (1, 8, 8)
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def test_what_is_loaded_in_inference_mode_can_be_differentiated(small, make_small, tmp_path):
    X, y = small
    clf = make_small(max_epochs=1).fit(X, y)
    clf.save(tmp_path / "fit")
    with torch.inference_mode():
        found = [pickle.loads(pickle.dumps(clf)), LatticeClassifier.load(tmp_path / "fit")]
    for other in found:
        images = torch.ones(2, 1, 8, 8, requires_grad=True)
        other.lattice_.log_probas(images)[:, 0].sum().backward()
        assert images.grad.abs().sum() > 0


def test_pixels_far_from_all_in_training_give_an_answer():
    """As what stands for "no data" in rasters does, on a channel whose deviation is below 1."""
    rng = np.random.RandomState(0)
    rows, labels = rng.normal(0, 0.1, size=(60, 5)).astype(np.float32), np.arange(60) % 2
    clf = LatticeClassifier(max_channels=3, max_layers=2, max_epochs=1, random_state=0).fit(rows, labels)
    rows[:2, 3] = np.finfo(np.float32).min, np.finfo(np.float32).max
    assert np.isfinite(clf.predict_proba(rows)).all() and np.isfinite(clf.time_used(rows)).all()
    np.testing.assert_allclose(clf.predict_proba(rows)[2:], clf.predict_proba(rows[2:]), atol=1e-6)


@pytest.mark.parametrize("mode", [autocast, torch.inference_mode, torch.no_grad])
def test_a_fit_does_not_depend_on_the_modes_of_torch_that_it_is_called_in(small, make_small, mode):
    X, y = small
    expected, clf = make_small().fit(X, y), make_small()
    with mode():
        clf.fit(X, y)
        assert np.array_equal(clf.predict_proba(X), expected.predict_proba(X))
        clf.prune(X, y, keep=0.9).relax(X, y, epochs=1).partial_fit(X, y)
    expected.prune(X, y, keep=0.9).relax(X, y, epochs=1).partial_fit(X, y)
    assert np.array_equal(clf.predict_proba(X), expected.predict_proba(X))
