"""Halting of a regressor: what differs from a classifier's. Both share the code that test_halting.py is about."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.datasets import make_friedman1
from sklearn.metrics import r2_score

from growlattice import LatticeRegressor
from growlattice._storage._file import UnusableFile, pack, read, write
from growlattice.inspection import HaltingDisplay
from growlattice.metrics import resource_scorers


@pytest.fixture(scope="module")
def friedman():
    X, y = make_friedman1(600, random_state=0)
    return X[:240], X[240:], y[:240], y[240:]


@pytest.fixture(scope="module")
def trained(friedman):
    reg = LatticeRegressor(max_channels=6, max_layers=2, max_steps=4, max_epochs=25, lr=3e-3, random_state=0)
    return reg.fit(friedman[0], friedman[2])


@pytest.fixture
def fitted(trained):
    return copy.copy(trained)


@pytest.fixture
def halted(fitted, friedman):
    return fitted.halt(friedman[1], friedman[3], keep=0.99)


def answers_so_far(reg, X):
    """After each step, the mean of the steps' numbers by the softmax of their scores alone, on the scale of y."""
    stages = np.stack(list(reg.staged_predict(X)), axis=1)
    scores = reg._collect(X, lambda output: output.scores).astype(float)
    left, answers = scores.shape[1], []
    for n_run in range(1, left + 1):
        raw = scores[:, :n_run]
        exponents = 5.0 * np.sqrt(n_run / left) * raw / np.linalg.norm(raw, axis=1, keepdims=True)
        weights = np.exp(exponents) / np.exp(exponents).sum(axis=1, keepdims=True)
        answers.append((weights * stages[:, :n_run]).sum(axis=1))
    return np.stack(answers, axis=1)


def test_predictions_stop_where_the_answer_has_moved_little_and_keep_what_was_asked_for(fitted, friedman):
    _, X, _, y = friedman
    full = r2_score(y, fitted.predict(X))
    assert fitted.halt(X, y, keep=0.99) is fitted
    halting, steps = fitted.halting_, fitted.steps_run(X)
    answers = answers_so_far(fitted, X)
    movement = np.abs(np.diff(answers, axis=1)) / fitted.target_std_
    for moved, n_run in zip(movement, steps, strict=True):
        assert n_run == next((n for n in (2, 3) if moved[n - 2] < halting["threshold"]), 4)
    np.testing.assert_allclose(fitted.predict(X), answers[np.arange(len(X)), steps - 1], rtol=1e-4)
    assert halting["r2_all_steps"] == pytest.approx(full)
    assert halting["r2"] == pytest.approx(r2_score(y, fitted.predict(X))) and halting["r2"] >= 0.99 * full - 1e-6
    assert halting["mean_steps"] == pytest.approx(steps.mean()) and 2 < steps.mean() < 4
    assert halting["macs"] == pytest.approx(np.mean([fitted.lattice_.macs(n) for n in steps]))


def test_a_lower_keep_takes_fewer_steps_and_no_loss_is_possible(fitted, friedman):
    _, X, _, y = friedman
    steps = [fitted.halt(X, y, keep=keep).halting_["mean_steps"] for keep in (0.998, 0.99, 0.0)]
    assert steps == sorted(steps, reverse=True) and len(set(steps)) == 3 and steps[-1] == 2


def test_halting_is_taken_back_and_resources_are_as_they_were(fitted, friedman):
    _, X, _, y = friedman
    full = fitted.predict(X)
    fitted.prune(X, y, keep=0.99)
    before, pruned = fitted.resources_, fitted.predict(X)
    fitted.halt(X, y, keep=0.9)
    table = fitted.resources_
    assert table.index.tolist() == ["before", "after", "halted"] and "inputs" in table
    assert table.loc["halted", ["steps", "r2"]].tolist() == [fitted.halting_["mean_steps"], fitted.halting_["r2"]]
    fitted.halt(None)
    assert fitted.resources_.equals(before) and (fitted.resources_.dtypes == before.dtypes).all()
    assert np.array_equal(fitted.predict(X), pruned) and not np.array_equal(pruned, full)


def test_pruning_and_training_take_it_back(halted, friedman):
    _, X, _, y = friedman
    changes = {"prune": {"keep": 0.9}, "relax": {"epochs": 1}, "partial_fit": {}}
    for method, options in changes.items():
        other = copy.copy(halted)
        with pytest.warns(UserWarning, match=f"{method} takes back what halt did"):
            getattr(other, method)(X, y, **options)
        assert not hasattr(other, "halting_") and (other.steps_run(X) == other.lattice_.steps_left).all()
    assert hasattr(halted, "halting_")


def test_a_weight_of_two_is_the_row_twice(fitted, friedman):
    _, X, _, y = friedman
    weights = np.random.RandomState(0).randint(0, 3, size=len(X))
    weighted = copy.copy(fitted).halt(X, y, keep=0.9, sample_weight=weights).halting_
    repeated = fitted.halt(X.repeat(weights, axis=0), y.repeat(weights), keep=0.9).halting_
    assert {**weighted, "n_images": 0} == pytest.approx({**repeated, "n_images": 0})


def test_several_outputs_move_together(friedman):
    X, _, y, _ = friedman
    y = np.stack([y, 100 * X[:, 0], X[:, 1]], axis=1)
    reg = LatticeRegressor(max_channels=4, max_layers=1, max_steps=4, max_epochs=15, random_state=0).fit(X, y)
    reg.halt(X, y, keep=0.9)
    assert reg.halting_["r2"] == pytest.approx(reg.score(X, y))
    stages = reg._collect(X, lambda output: output.step_values)
    assert reg.predict(X).shape == y.shape == stages[:, 0].shape


def test_files_and_pickles_keep_it(halted, friedman, tmp_path):
    X = friedman[1]
    halted.save(tmp_path / "halted")
    for copied in (LatticeRegressor.load(tmp_path / "halted"), pickle.loads(pickle.dumps(halted))):
        assert copied.halting_ == halted.halting_ and copied.resources_.equals(halted.resources_)
        assert np.array_equal(copied.predict(X), halted.predict(X))
    tensors, description = read(tmp_path / "halted")
    for threshold in (-0.1, float("inf"), "high"):
        rows = [[name, threshold if name == "threshold" else value] for name, value in description["halting"]["dict"]]
        with pytest.raises((UnusableFile, ValueError)):
            write(tmp_path / "broken", pack(tensors, description | {"halting": {"dict": rows}}))
            LatticeRegressor.load(tmp_path / "broken")


def test_a_guarantee_is_stricter_and_needs_images(fitted, friedman):
    X, y = np.concatenate(friedman[:2]), np.concatenate(friedman[2:])
    plain = dict(fitted.halt(X, y, keep=0.95).halting_)
    sure = fitted.halt(X, y, keep=0.95, confidence=0.95).halting_
    assert sure["threshold"] < plain["threshold"] and sure["mean_steps"] > plain["mean_steps"]
    with pytest.raises(ValueError, match=r"50 images are too few to guarantee.* Give about [\d,]+ like them"):
        fitted.halt(X[:50], y[:50], keep=0.98, confidence=0.95)
    assert fitted.halting_ is sure


def test_a_guarantee_counts_errors_up_to_four_variances(fitted, friedman):
    """However wild a target is: the least that a score can be is what the bet rests on."""
    _, X, _, y = friedman
    data = fitted._training_set(X, np.where(np.arange(len(y)) == 3, 1e6, y), None, learn=False)
    answers = np.zeros((len(y), 4, 1), dtype=np.float32)
    scores, least = fitted._bounded_scores(answers, data)
    row = np.abs(data.targets).argmax()
    assert least == -3 and (scores[row] == -3).all() and scores.min() == -3 and scores.max() <= 1
    others = np.arange(len(y)) != row
    expected = 1 - np.minimum(data.targets[others, 0] ** 2, 4)
    np.testing.assert_allclose(scores[others], expected[:, None].repeat(4, axis=1))


def test_nothing_above_the_mean_is_an_error(fitted, friedman):
    _, X, _, y = friedman
    with pytest.raises(ValueError, match="The r2 on the images given is .* not above the chance level of 0.000"):
        fitted.halt(X, -y)
    with pytest.raises(ValueError, match="keep=2 must be a number from 0 to 1"):
        fitted.halt(X, y, keep=2)
    assert not hasattr(fitted, "halting_")


def test_the_scorer_and_the_display_take_it(halted, friedman):
    _, X, _, y = friedman
    assert resource_scorers(score="r2")["steps_run"](halted, X, y) == halted.steps_run(X).mean()
    display = HaltingDisplay.from_estimator(halted, X, y)
    assert display.ax_.get_ylabel() == "R2"
    assert display.marked[["mean_steps", "r2"]].tolist() == pytest.approx(
        [halted.halting_["mean_steps"], halted.halting_["r2"]]
    )
    assert display.trimmed["r2"].iloc[-1] == pytest.approx(halted.halting_["r2_all_steps"])


def test_an_output_that_is_always_the_same_is_worth_nothing_with_a_guarantee_too(friedman):
    """As in `score`; were it worth 1, half of what is lost would not count."""
    X, X_test, y, y_test = friedman
    columns = [np.column_stack([numbers, np.full_like(numbers, 3.0)]) for numbers in (y, y_test)]
    reg = LatticeRegressor(max_channels=6, max_layers=2, max_steps=3, max_epochs=12, lr=3e-3, random_state=0)
    reg.fit(X, columns[0])
    answers, data = reg._answers_so_far(X_test, columns[1], None)
    least_sure = reg._bounded_scores(answers, data)[0].mean(axis=0)
    assert least_sure[-1] == pytest.approx(reg._step_scores(answers, data).mean(axis=0)[-1], abs=0.05)
    assert 0.2 < least_sure[-1] < 0.5
    measured = r2_score(columns[0], reg.predict(X))
    assert reg.history_["r2"].iloc[-1] == pytest.approx(measured, abs=0.05) and measured < 0.5
