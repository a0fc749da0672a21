import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.callback import ScoringMonitor
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from growlattice import LatticeClassifier
from growlattice.metrics import cheapest, pareto_front, resource_scorers

NAMES = ["accuracy", "time_used", "steps_run", "accuracy_pruned", "channels_used", "layers_used", "macs_per_image"]


@pytest.fixture
def fitted(small):
    X, y = small
    return LatticeClassifier(max_channels=6, max_layers=3, max_steps=3, max_epochs=10, random_state=0).fit(X, y)


def test_scores_are_those_of_a_pruned_copy_and_the_estimator_stays(fitted, small):
    X, y = small
    scores = {name: scorer(fitted, X, y) for name, scorer in resource_scorers(keep=0.9).items()}
    assert fitted.channel_mask_.all()
    pruned = pickle.loads(pickle.dumps(fitted)).prune(X, y, keep=0.9)
    assert list(scores) == NAMES
    assert scores["accuracy"] == fitted.score(X, y)
    assert scores["time_used"] == pytest.approx(fitted.time_used(X).mean())
    assert scores["accuracy_pruned"] == pruned.score(X, y)
    halted = copy.copy(fitted).halt(X, y, keep=0.9)
    assert scores["steps_run"] == halted.steps_run(X).mean() == pytest.approx(halted.halting_["mean_steps"])
    assert not hasattr(fitted, "halting_")
    for name in NAMES[4:]:
        assert scores[name] == getattr(pruned, f"{name}_")
    assert scores["macs_per_image"] < fitted.macs_per_image_


def test_pruning_is_done_once_for_all_scores(fitted, small, monkeypatch):
    calls = []
    prune = LatticeClassifier.prune
    monkeypatch.setattr(
        LatticeClassifier, "prune", lambda self, *args, **kw: calls.append(1) or prune(self, *args, **kw)
    )
    scorers = resource_scorers(keep=0.9)
    X, y = small
    for scorer in scorers.values():
        scorer(fitted, X, y)
    assert len(calls) == 1
    fitted.partial_fit(X, y)
    scorers["layers_used"](fitted, X, y)
    assert len(calls) == 2


def test_other_images_are_pruned_on_anew(fitted, small):
    X, y = small
    scorer = resource_scorers(keep=0.7)["macs_per_image"]
    parts = [slice(start, start + 12) for start in range(0, 120, 12)]
    remembered = [scorer(fitted, X[part], y[part]) for part in parts]
    fresh = [resource_scorers(keep=0.7)["macs_per_image"](fitted, X[part], y[part]) for part in parts]
    assert remembered == fresh
    assert len(set(fresh)) > 1


def test_a_lattice_that_was_trained_further_is_pruned_on_anew(fitted, small):
    """Training changes the net in place, as it does while a callback scores each epoch."""
    scorers = resource_scorers(keep=0.9)
    before = scorers["accuracy_pruned"](fitted, *small)
    with torch.no_grad():
        fitted.lattice_.readout.weight.neg_()
    after = scorers["accuracy_pruned"](fitted, *small)
    assert after == resource_scorers(keep=0.9)["accuracy_pruned"](fitted, *small) < before


def test_a_callback_can_follow_training_with_them(small, make_small):
    monitor = ScoringMonitor(scoring=resource_scorers(keep=0.9))
    clf = make_small(max_epochs=6).set_callbacks(monitor).fit(*small)
    logs = monitor.get_logs().data_as_pandas
    of_epochs = logs[logs["task_name"] == "epoch"]
    assert len(of_epochs) == 6 and set(NAMES) <= set(logs)
    assert of_epochs["macs_per_image"].iloc[-1] == resource_scorers(keep=0.9)["macs_per_image"](clf, *small)
    assert of_epochs["macs_per_image"].nunique() > 1


def test_an_estimator_that_halts_is_scored_as_it_halts_and_pruned_without(fitted, small):
    X, y = small
    fitted.halt(X, y, keep=0.5)
    scorers = resource_scorers(keep=0.9)
    assert scorers["steps_run"](fitted, X[:30], y[:30]) == fitted.steps_run(X[:30]).mean()
    scorers["macs_per_image"](fitted, X, y)  # no warning that halting is taken back
    assert hasattr(fitted, "halting_")


def test_a_lattice_at_chance_counts_in_full(fitted, small):
    X, y = small
    assert resource_scorers()["steps_run"](fitted, X, 1 - y) == 3
    assert resource_scorers()["channels_used"](fitted, X, 1 - y) == 6


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_searches_take_them(small, make_small, search, steps):
    X, y = small
    estimator, name = make_small(max_epochs=8, image_shape=(1, 8, 8)), "time_pressure"
    if steps:
        estimator, name = make_pipeline(StandardScaler(with_std=False), estimator), "latticeclassifier__time_pressure"
    options = dict(scoring=resource_scorers(keep=0.8), refit=cheapest("time_used", 0.1, "accuracy"), cv=2, n_jobs=2)
    if search is RandomizedSearchCV:
        options["n_iter"] = 2
    found = search(estimator, {name: [0.0, 1.0]}, **options).fit(X, y)
    results = found.cv_results_
    assert all(np.isfinite(results[f"mean_test_{score}"]).all() for score in NAMES)
    accuracy = results["mean_test_accuracy"]
    near = np.flatnonzero(accuracy >= accuracy.max() - 0.1)
    assert found.best_index_ == near[results["mean_test_time_used"][near].argmin()]


def test_cross_validate_takes_them(small, make_small):
    scores = cross_validate(make_small(), *small, scoring=resource_scorers(keep=0.8), cv=2, n_jobs=2)
    assert {f"test_{name}" for name in NAMES} < set(scores)


def test_cheapest_by_hand():
    results = {
        "mean_test_accuracy_pruned": np.array([0.90, 0.89, 0.89, 0.80, np.nan, 0.885]),
        "mean_test_macs": np.array([50.0, 20.0, 20.0, 1.0, 0.0, np.nan]),
    }
    results["mean_test_accuracy_pruned"][2] = 0.895
    assert cheapest("macs")(results) == 2  # as cheap as 1, and more accurate; 3 is too far below the best
    assert cheapest("macs", within=0.0)(results) == 0
    assert cheapest("macs", within=0.5)(results) == 3
    exact = {"mean_test_accuracy": np.array([0.93, 0.83]), "mean_test_macs": np.array([4.0, 1.0])}
    assert cheapest("macs", within=0.1, accuracy="accuracy")(exact) == 1  # 0.93 - 0.1 is above 0.83 in floats
    with pytest.raises(ValueError, match=r"lacks the scores \['accuracy'\]. Give the search scoring=resource_scorers"):
        cheapest("macs", accuracy="accuracy")(results)
    failed = {"mean_test_accuracy_pruned": np.array([np.nan, 0.9]), "mean_test_macs": np.array([1.0, np.nan])}
    with pytest.raises(ValueError, match="No candidate has both scores"):
        cheapest("macs")(failed)
    failed = {"mean_test_accuracy_pruned": np.array([0.5, 0.9]), "mean_test_macs": np.array([1.0, np.nan])}
    with pytest.raises(ValueError, match="No candidate that is accurate enough has the score 'macs'"):
        cheapest("macs")(failed)


@pytest.mark.parametrize("keep", [2, -0.1, "a", None])
def test_a_share_that_is_none_is_refused_before_a_search(keep):
    with pytest.raises(ValueError, match="must be a number from 0 to 1"):
        resource_scorers(keep=keep)


def test_the_pareto_front_equals_what_comparing_all_pairs_gives():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(rng.randint(0, 5, size=(60, 3)), columns=["error", "time", "accuracy"], index=range(7, 67))
    front = pareto_front(frame, minimize=["error", "time"], maximize=["accuracy"])
    for index, row in frame.iterrows():
        beaten = False
        for _, other in frame.iterrows():
            gains = [row.error - other.error, row.time - other.time, other.accuracy - row.accuracy]
            beaten = beaten or (min(gains) >= 0 and max(gains) > 0)
        assert front[index] == (not beaten)
    assert front.index.equals(frame.index) and 0 < front.sum() < 60


def test_rows_without_a_number_are_not_on_the_front():
    frame = pd.DataFrame({"accuracy": [0.9, np.nan, 0.9], "time": [1.0, 0.5, 1.0]})
    assert pareto_front(frame, minimize=["time"], maximize=["accuracy"]).tolist() == [True, False, True]
    assert pareto_front(frame[:0], minimize=["time"]).tolist() == []


@pytest.mark.parametrize(
    "columns, message",
    [({}, "lacks \\[\\]"), ({"minimize": ["cost"]}, "lacks \\['cost'\\]"), ({"maximize": "time"}, "lists")],
)
def test_columns_of_the_front_must_be_named(columns, message):
    with pytest.raises(ValueError, match=message):
        pareto_front(pd.DataFrame({"time": [1.0]}), **columns)
