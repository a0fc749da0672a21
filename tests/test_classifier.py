import inspect
import pickle
import re

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpydoc.docscrape import ClassDoc
from PIL import Image
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from torchvision.transforms import v2

from growlattice import LatticeClassifier

# --- what it answers ---


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_answer_is_the_mixture_of_the_stages(small, make_small, time_selection):
    X, y = small
    clf = make_small(time_selection=time_selection).fit(X, y)
    weights, stages = clf.time_weights(X), list(clf.staged_predict_proba(X))
    assert weights.shape == (120, 3) and [stage.shape for stage in stages] == [(120, 2)] * 3
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    mixture = sum(weights[:, [step]] * stage for step, stage in enumerate(stages))
    np.testing.assert_allclose(clf.predict_proba(X), mixture, rtol=1e-5)
    np.testing.assert_allclose(clf.time_used(X), weights @ [1, 2, 3], rtol=1e-6)
    assert np.array_equal(clf.predict(X), clf.classes_[clf.predict_proba(X).argmax(axis=1)])


def test_it_learns_digits(digits):
    X_train, X_test, y_train, y_test = digits
    clf = LatticeClassifier(max_epochs=10, random_state=0).fit(X_train, y_train)
    assert clf.score(X_test, y_test) > 0.95


@pytest.mark.parametrize("load, n_seeds, at_least", [(load_wine, 2, 0.95), (load_breast_cancer, 1, 0.94)])
def test_it_learns_tables(load, n_seeds, at_least):
    X, y = load(return_X_y=True)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    scores = [cross_val_score(LatticeClassifier(random_state=seed), X, y, cv=folds) for seed in range(n_seeds)]
    assert np.mean(scores) > at_least


def test_an_answer_does_not_depend_on_its_company(small, make_small):
    X, y = small
    clf = make_small().fit(X, y)
    together = clf.predict_proba(X)
    alone = np.concatenate([clf.predict_proba(X[[row]]) for row in range(10)])
    assert np.array_equal(alone, together[:10])


def test_float64_computes_in_float64(small, make_small):
    X, y = small
    clf = make_small(precision="float64").fit(X, y)
    assert clf.predict_proba(X).dtype == np.float64
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1, rtol=1e-14)


def test_bfloat16_learns_too(small, make_small):
    X, y = small
    assert make_small(precision="bfloat16", max_epochs=10).fit(X, y).score(X, y) > 0.9


# --- attributes ---


def test_attributes_describe_the_fitted_lattice(small, make_small):
    X, y = small
    clf = make_small(time_pressure=0.1).fit(X, y)
    assert clf.n_features_in_ == 64
    assert clf.image_shape_ == (1, 8, 8)
    assert clf.device_ == "cpu"
    assert clf.channel_magnitude_.shape == (2, 4)
    assert (
        clf.n_parameters_ == sum(weight.size for weight in map(np.asarray, clf.lattice_.state_dict().values())) - 2 - 8
    )
    assert clf.time_used_ == pytest.approx(clf.time_used(X).mean(), rel=1e-5)
    assert set(clf.costs_) == {"error", "breadth", "depth", "time"}
    truth = clf.predict_proba(X)[np.arange(len(y)), y]
    assert clf.costs_["error"] == pytest.approx(-np.log(truth).mean() / np.log(2), rel=1e-4)
    assert clf.costs_["time"] == pytest.approx(clf.time_used_ / 3)


def test_history_has_a_row_for_each_epoch(small, make_small):
    history = make_small(max_epochs=3).fit(*small).history_
    assert set(history) == {
        "epoch", "accuracy", "train_loss", "error", "breadth", "depth", "time", "time_used", "dur"
    }  # fmt: skip
    assert history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(history["time_used"], 3 * history["time"], rtol=1e-6)
    assert history.drop(columns="dur").notna().all(axis=None)


def test_verbose_prints_a_line_for_each_epoch(small, make_small, capsys):
    make_small(verbose=1, max_epochs=3).fit(*small)
    header, _, *lines = capsys.readouterr().out.strip().splitlines()
    assert header.split() == ["epoch", "accuracy", "breadth", "depth", "error", "time", "time_used", "dur"]
    assert len(lines) == 3
    make_small(max_epochs=1).fit(*small)
    assert capsys.readouterr().out == ""


def test_documented_defaults_are_the_real_ones():
    documented = {}
    for parameter in ClassDoc(LatticeClassifier)["Parameters"]:
        documented[parameter.name] = re.search(r"default=(.*)$", parameter.type).group(1)
    real = {name: p.default for name, p in inspect.signature(LatticeClassifier).parameters.items()}
    assert list(documented) == list(real)
    assert {name: eval(text) for name, text in documented.items()} == real


# --- training ---


def test_raising_the_pressure_on_one_resource_lowers_its_cost(digits):
    """Real fits on digits: each cost falls with its own pressure, over four values."""
    X, y = digits[0][:600], digits[2][:600]
    for name, pressures in {"breadth": (0, 0.3, 1, 3), "depth": (0, 0.3, 1, 3), "time": (0, 0.1, 0.3, 1)}.items():
        costs = []
        for pressure in pressures:
            clf = LatticeClassifier(max_channels=8, max_epochs=15, random_state=0, **{f"{name}_pressure": pressure})
            costs.append(clf.fit(X, y).costs_[name])
        assert costs == sorted(costs, reverse=True) and len(set(costs)) == 4, (name, costs)


def test_a_strong_depth_pressure_empties_the_top_layer(digits):
    X_train, X_test, y_train, y_test = digits
    free, pressed = (
        LatticeClassifier(max_epochs=12, depth_pressure=pressure, random_state=0).fit(X_train, y_train)
        for pressure in (0.0, 3.0)
    )
    layers = pressed.channel_magnitude_.mean(axis=1)
    assert layers[-1] < 0.05 * layers[0]
    assert pressed.score(X_test, y_test) > free.score(X_test, y_test) - 0.03


def test_time_pressure_takes_time_used_from_near_all_steps_to_under_half(digits):
    X, y = digits[0][:800], digits[2][:800]
    free, pressed = (
        LatticeClassifier(max_epochs=15, time_pressure=pressure, random_state=0).fit(X, y) for pressure in (0.0, 1.0)
    )
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
    assert clf.net_.optimizer_.state_dict()["state"][0]["step"] == 25


def test_class_weight_moves_the_balance(digits, make_small):
    X, y = digits[0][:200], digits[2][:200] % 2
    predicted = [
        (make_small(class_weight=weights).fit(X, y).predict(X) == 1).mean()
        for weights in ({0: 20, 1: 1}, {0: 1, 1: 20})
    ]
    assert predicted[0] < 0.4 < 0.6 < predicted[1]


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
        assert np.shares_memory(clf._images(images, reset=False), images), shape


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [3, 7], [-1.0, 1.0]])
def test_labels_come_back_as_they_were(small, make_small, labels):
    X, y = small
    labels = np.array(labels)
    clf = make_small().fit(X, labels[y])
    assert np.array_equal(clf.classes_, labels)
    assert clf.predict(X).dtype == labels.dtype
    assert clf.score(X, labels[y]) > 0.8


def test_one_class_is_predicted_with_certainty(small, make_small):
    X, _ = small
    clf = make_small(max_epochs=1).fit(X, ["only"] * len(X))
    assert set(clf.predict(X)) == {"only"}
    assert np.array_equal(clf.predict_proba(X), np.ones((len(X), 1)))
    assert [stage.shape for stage in clf.staged_predict_proba(X)] == [(len(X), 1)] * 3
    assert clf.lattice_.readout.out_features == 2


def test_one_image_is_enough(small, make_small):
    X, y = small
    assert make_small().fit(X[:1], y[:1]).predict(X[:1]) == y[:1]


# --- with the rest of scikit-learn ---


def test_clone_pickle_and_joblib(small, make_small, tmp_path):
    X, y = small
    clf = make_small().fit(X, y)
    assert not hasattr(clone(clf), "net_")
    joblib.dump(clf, tmp_path / "clf.joblib")
    copies = []
    for copy in (pickle.loads(pickle.dumps(clf)), joblib.load(tmp_path / "clf.joblib")):
        assert np.array_equal(copy.predict_proba(X), clf.predict_proba(X))
        assert copy.net_.module is copy.net_.module_
        copies.append(copy.partial_fit(X, y).predict_proba(X))
    clf.partial_fit(X, y)
    assert all(np.array_equal(probas, clf.predict_proba(X)) for probas in copies)


def test_composes_with_meta_estimators(small, make_small):
    X, y = small
    clf = make_small()
    assert make_pipeline(StandardScaler(), clf).fit(X, y).score(X, y) > 0.8
    assert (cross_val_predict(clf, X, y, cv=3) == y).mean() > 0.8
    assert CalibratedClassifierCV(clf, cv=2).fit(X, y).predict_proba(X).shape == (120, 2)
    voting = VotingClassifier([("lattice", clf), ("line", LogisticRegression())], voting="soft")
    assert voting.fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches_over_pressures(small, make_small, search):
    X, y = small
    options = dict(min_resources=60) if search is HalvingGridSearchCV else {}
    found = search(make_small(), {"time_pressure": [0.0, 0.5]}, cv=2, **options).fit(X, y)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert found.best_estimator_.time_pressure == found.best_params_["time_pressure"]
    assert found.score(X, y) > 0.8


def test_randomized_search_on_images_and_paths(random_images, make_small, tmp_path):
    images, y = random_images
    paths = [tmp_path / f"{index}.png" for index in range(len(images))]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path)
    scores = []
    for X in (images, paths):
        search = RandomizedSearchCV(make_small(max_epochs=10), {"breadth_pressure": [0.0, 0.1]}, n_iter=2, cv=2)
        scores.append(search.fit(X, y).best_score_)
    assert scores[0] == scores[1] > 0.9


def test_sample_weight_is_routed(small, make_small):
    X, y = small
    weights = np.where(np.arange(len(X)) < 60, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        clf = make_small().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler(with_std=False).set_fit_request(sample_weight=False), clf)
        routed = pipeline.fit(X, y, sample_weight=weights)[-1]
        plain = make_small().fit(X - X.mean(axis=0), y, sample_weight=weights)
        assert np.array_equal(routed.predict_proba(X), plain.predict_proba(X))
        clf.partial_fit(X, y, sample_weight=weights)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_scores_do_not_depend_on_n_jobs(small, make_small, backend):
    X, y = small
    grid = GridSearchCV(make_small(), {"time_pressure": [0.0, 0.5]}, cv=2, scoring="neg_log_loss")
    alone = clone(grid).fit(X, y).cv_results_
    with joblib.parallel_config(backend=backend, n_jobs=2):
        together = clone(grid).fit(X, y).cv_results_
    assert np.array_equal(alone["mean_test_score"], together["mean_test_score"])


# --- callbacks ---


class Count(Callback):
    def __init__(self):
        self.events = []

    def on_epoch_end(self, net, **kwargs):
        self.events.append(len(net.history))


def test_skorch_callbacks_are_called(small, make_small):
    count = Count()
    make_small(callbacks=[count, ("clip", GradientNormClipping(1.0))], max_epochs=3).fit(*small)
    assert count.events == [1, 2, 3]


def test_a_skorch_scheduler_takes_the_place_of_the_cosine(small, make_small):
    frozen = ("lr", LRScheduler(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 0.0, step_every="batch"))
    trained, fresh = (make_small(callbacks=[frozen], max_epochs=epochs).fit(*small).lattice_ for epochs in (3, 1))
    assert torch.equal(trained.readout.weight, fresh.readout.weight)


def test_skorch_early_stopping_ends_the_fit_and_leaves_it_fitted(small, make_small):
    stop = EarlyStopping(monitor="accuracy", lower_is_better=False, threshold=10.0, threshold_mode="abs", patience=2)
    clf = make_small(callbacks=[stop], max_epochs=9).fit(*small)
    assert len(clf.history_) == 3
    assert clf.predict(small[0]).shape == (120,)


def test_progress_bar_shows_epochs(small, make_small, capsys):
    make_small(max_epochs=3).set_callbacks(ProgressBar()).fit(*small)
    assert "LatticeClassifier - fit" in capsys.readouterr().out
    log = Epochs()
    make_small(max_epochs=3).set_callbacks(log).fit(*small)
    assert log.tasks == ["fit", "epoch", "epoch", "epoch"]


class Epochs:
    """A callback of scikit-learn's kind that writes down what begins."""

    def __init__(self):
        self.tasks = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.tasks.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        return context.task_name == "epoch" and getattr(self, "stop", False)

    def teardown(self, estimator, context):
        pass


def test_scikit_learn_callbacks_can_end_training(small, make_small):
    log = Epochs()
    log.stop = True
    assert len(make_small(max_epochs=5).set_callbacks(log).fit(*small).history_) == 1


def test_progress_bar_shows_epochs_of_nested_fits(small, make_small, capsys):
    grid = GridSearchCV(make_small(max_epochs=3), {"time_pressure": [0.0, 0.5]}, cv=2, n_jobs=2)
    grid.set_callbacks(ProgressBar()).fit(*small)
    out = capsys.readouterr().out
    assert "GridSearchCV - fit" in out
    assert "LatticeClassifier - fit" in out


def test_scoring_monitor_sees_every_epoch(small, make_small):
    monitor = ScoringMonitor(scoring="accuracy")
    clf = make_small(max_epochs=3).set_callbacks(monitor).fit(*small)
    log = monitor.get_logs().data_as_pandas
    epochs = log[log["task_name"] == "epoch"]
    assert len(epochs) == 3
    assert epochs["accuracy"].iloc[-1] == clf.score(*small)
