import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from growlattice import LatticeClassifier
from growlattice._storage._file import UnusableFile, pack, read, write

PARAMETERS = dict(time_pressure=0.05, max_channels=8, max_layers=2, max_epochs=10, batch_size=64, random_state=0)


@pytest.fixture(scope="module")
def trained(digits):
    return LatticeClassifier(compact_every=None, **PARAMETERS).fit(digits[0][:800], digits[2][:800])


@pytest.fixture
def fitted(trained):
    return copy.copy(trained)


@pytest.fixture
def halted(fitted, digits):
    return fitted.halt(digits[1], digits[3], keep=0.95)


def test_predictions_stop_early_and_keep_what_was_asked_for(fitted, digits):
    _, X, _, y = digits
    full = fitted.score(X, y)
    assert fitted.halt(X, y, keep=0.95) is fitted
    halting, steps = fitted.halting_, fitted.steps_run(X)
    assert halting["accuracy_all_steps"] == pytest.approx(full)
    assert fitted.score(X, y) == pytest.approx(halting["accuracy"])
    assert halting["accuracy"] >= 0.1 + 0.95 * (full - 0.1) - 1e-9
    assert steps.mean() == pytest.approx(halting["mean_steps"]) and 1 < steps.mean() < 3
    assert steps.dtype == np.int64 and set(steps) <= {1, 2, 3, 4} and len(set(steps)) > 1
    assert (halting["keep"], halting["confidence"], halting["n_images"]) == (0.95, None, len(X))
    macs = [fitted.lattice_.macs(n) for n in steps]
    assert halting["macs"] == pytest.approx(np.mean(macs)) and halting["macs"] < 0.8 * fitted.macs_per_image_


def test_an_image_stops_when_it_is_sure_and_not_before(halted, digits):
    X = digits[1]
    steps, proba = halted.steps_run(X), halted.predict_proba(X)
    surest = proba.max(axis=1)
    assert (surest[steps < 4] > halted.halting_["threshold"]).all()
    # after one step there is one answer; after all, the answer of all
    stages = np.stack(list(halted.staged_predict_proba(X)), axis=1)
    np.testing.assert_allclose(proba[steps == 1], stages[steps == 1, 0], rtol=1e-4, atol=1e-6)
    assert (stages[steps > 1, 0].max(axis=1) <= halted.halting_["threshold"]).all()
    full = copy.copy(halted).halt(None).predict_proba(X)
    np.testing.assert_allclose(proba[steps == 4], full[steps == 4], rtol=1e-4, atol=1e-6)


def test_all_three_predictions_agree(halted, digits):
    X = digits[1]
    proba = halted.predict_proba(X)
    np.testing.assert_allclose(np.log(proba), halted.predict_log_proba(X), rtol=1e-5)
    assert np.array_equal(halted.predict(X), halted.classes_[proba.argmax(axis=1)])
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)


def test_what_is_of_all_steps_stays(fitted, digits):
    X = digits[1][:50]
    before = [*fitted.staged_predict_proba(X), fitted.time_weights(X), fitted.time_used(X)]
    fitted.halt(digits[1], digits[3])
    after = [*fitted.staged_predict_proba(X), fitted.time_weights(X), fitted.time_used(X)]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert fitted.macs_per_image_ == fitted.lattice_.macs()


def test_halting_is_taken_back(fitted, digits):
    X = digits[1]
    full = fitted.predict_proba(X)
    assert (fitted.steps_run(X) == 4).all()
    fitted.halt(X, digits[3], keep=0.9)
    assert not np.allclose(fitted.predict_proba(X), full, atol=1e-3)
    assert fitted.halt(None) is fitted
    assert np.array_equal(fitted.predict_proba(X), full)
    assert not hasattr(fitted, "halting_") and not hasattr(fitted, "resources_")
    assert fitted.halt(None) is fitted


def test_a_lower_keep_takes_fewer_steps(fitted, digits):
    steps = [fitted.halt(digits[1], digits[3], keep=keep).halting_["mean_steps"] for keep in (1.0, 0.95, 0.8)]
    assert steps == sorted(steps, reverse=True) and len(set(steps)) == 3


def test_order_and_company_of_images_do_not_matter(halted, digits):
    X = digits[1]
    together, order = halted.predict_proba(X), np.random.RandomState(0).permutation(len(X))
    np.testing.assert_allclose(halted.predict_proba(X[order]), together[order], rtol=1e-5, atol=1e-6)
    alone = np.concatenate([halted.predict_proba(X[row : row + 1]) for row in range(20)])
    np.testing.assert_allclose(alone, together[:20], rtol=1e-4, atol=1e-6)


# --- weights, classes, labels ---


def test_a_weight_of_two_is_the_image_twice_and_of_zero_its_absence(fitted, digits):
    X, y = digits[1], digits[3]
    weights = np.random.RandomState(0).randint(0, 3, size=len(X))
    weighted = copy.copy(fitted).halt(X, y, keep=0.95, sample_weight=weights).halting_
    repeated = fitted.halt(X.repeat(weights, axis=0), y.repeat(weights), keep=0.95).halting_
    assert {**weighted, "n_images": 0} == pytest.approx({**repeated, "n_images": 0})


def test_class_weights_count_as_in_fit(fitted, digits):
    X, y = digits[1], digits[3]
    fitted.set_params(class_weight={3: 50.0})
    accuracy = np.average(fitted.predict(X) == y, weights=np.where(y == 3, 50.0, 1.0))
    assert fitted.halt(X, y, keep=0.9).halting_["accuracy_all_steps"] == pytest.approx(accuracy)


def test_string_labels_and_a_single_class(digits):
    X, y = digits[0][:60], np.array(["even", "odd"])[digits[2][:60] % 2]
    clf = LatticeClassifier(max_channels=4, max_layers=1, max_epochs=8, random_state=0).fit(X, y)
    assert set(clf.halt(X, y, keep=0.5).predict(X)) <= {"even", "odd"}
    one = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=1, random_state=0).fit(X, np.ones(60))
    assert (one.halt(X, np.ones(60)).predict_proba(X) == 1).all()


# --- the guarantee ---


def test_a_guarantee_is_stricter(fitted, digits):
    X, y = np.concatenate(digits[:2]), np.concatenate(digits[2:])
    plain = dict(fitted.halt(X, y, keep=0.95).halting_)
    sure = fitted.halt(X, y, keep=0.95, confidence=0.95).halting_
    assert sure["confidence"] == 0.95
    assert sure["threshold"] > plain["threshold"] and sure["mean_steps"] > plain["mean_steps"]


def test_images_that_are_too_few_for_a_guarantee_leave_everything_as_it_was(fitted, digits):
    X, y = digits[1], digits[3]
    before = fitted.halt(X, y).halting_
    with pytest.raises(ValueError, match=r"50 images are too few to guarantee.* Give about \d+ like them"):
        fitted.halt(X[:50], y[:50], confidence=0.95)
    assert fitted.halting_ is before and "halted" in fitted.resources_.index


def test_too_few_images_to_lose_one_of_draw_a_warning(fitted, digits):
    with pytest.warns(UserWarning, match="leaves less than one image to lose"):
        fitted.halt(digits[1][:40], digits[3][:40])


# --- fits, copies and files ---


def test_pickles_files_and_copies_keep_it_and_clones_do_not(halted, digits, tmp_path):
    X = digits[1]
    halted.save(tmp_path / "halted")
    copies = [LatticeClassifier.load(tmp_path / "halted"), pickle.loads(pickle.dumps(halted)), copy.deepcopy(halted)]
    for copied in copies:
        assert copied.halting_ == halted.halting_
        assert np.array_equal(copied.predict_proba(X), halted.predict_proba(X))
        assert np.array_equal(copied.steps_run(X), halted.steps_run(X))
        assert copied.resources_.equals(halted.resources_)
    assert not hasattr(clone(halted), "halting_")


def test_a_file_with_a_threshold_that_is_none_is_refused(halted, tmp_path):
    halted.save(tmp_path / "halted")
    tensors, description = read(tmp_path / "halted")
    for threshold in (0.0, 1.5, "high"):
        rows = [[name, threshold if name == "threshold" else value] for name, value in description["halting"]["dict"]]
        write(tmp_path / "broken", pack(tensors, description | {"halting": {"dict": rows}}))
        with pytest.raises(UnusableFile, match="halting cannot be so"):
            LatticeClassifier.load(tmp_path / "broken")


@pytest.mark.parametrize("again", ["fit", "warm", "partial_fit", "relax"])
def test_training_forgets_it(halted, digits, again):
    X, y = digits[0][:100], digits[2][:100]
    halted.set_params(max_epochs=1, warm_start=again == "warm")
    if again in ("relax", "partial_fit"):
        with pytest.warns(UserWarning, match=f"{again} takes back what halt did.* Call halt again"):
            halted.relax(X, y, epochs=1) if again == "relax" else halted.partial_fit(X, y)
    else:
        halted.fit(X, y)
    assert not hasattr(halted, "halting_") and not hasattr(halted, "resources_")
    assert (halted.steps_run(X) == 4).all()


def test_pruning_takes_it_back_and_says_so(halted, digits):
    X, y = digits[1], digits[3]
    full = copy.copy(halted).halt(None).score(X, y)
    with pytest.warns(UserWarning, match="prune takes back what halt did.* Call halt again"):
        halted.prune(X, y, keep=0.9)
    assert not hasattr(halted, "halting_")
    assert halted.resources_.index.tolist() == ["before", "after"]
    assert halted.resources_.loc["before", "accuracy"] == pytest.approx(full)
    halted.halt(X, y, keep=0.95)
    assert halted.steps_run(X).max() <= halted.lattice_.steps_left
    assert halted.resources_.index.tolist() == ["before", "after", "halted"]
    halted.halt(X, y).halt(None)
    assert halted.resources_.index.tolist() == ["before", "after"]


def test_a_prune_that_fails_leaves_it(halted, digits):
    before = halted.halting_
    with pytest.warns(UserWarning, match="takes back"), pytest.raises(ValueError, match="not above the chance"):
        halted.prune(digits[1], (digits[3] + 1) % 10)
    assert halted.halting_ is before and "halted" in halted.resources_.index


def test_resources_have_a_row_for_it(halted):
    table = halted.resources_
    assert table.index.tolist() == ["before", "halted"]
    assert table.loc["before", ["steps", "macs"]].tolist() == [4, halted.macs_per_image_]
    assert table.loc["halted", ["steps", "macs", "accuracy"]].tolist() == pytest.approx(
        [halted.halting_[name] for name in ("mean_steps", "macs", "accuracy")]
    )


def test_resources_are_again_as_pruning_with_another_score_left_them(fitted, digits):
    X, y = digits[1], digits[3]
    clf = copy.deepcopy(fitted).prune(X, y, keep=0.9, scoring="balanced_accuracy")
    before = clf.resources_
    clf.halt(X, y, keep=0.9)
    assert "accuracy" in clf.resources_
    pd.testing.assert_frame_equal(clf.halt(None).resources_, before)


def test_it_works_in_a_pipeline(fitted, digits):
    X, y = digits[1], digits[3]
    pipe = make_pipeline(FunctionTransformer(), fitted)
    pipe[-1].halt(pipe[:-1].transform(X), y, keep=0.95)
    assert pipe.score(X, y) == pytest.approx(fitted.halting_["accuracy"])


@pytest.mark.parametrize("parameters", [dict(time_pressure=0.0), dict(time_selection="fixed"), dict(max_steps=1)])
def test_it_works_without_a_time_pressure_with_fixed_selection_and_with_one_step(small, make_small, parameters):
    X, y = small
    clf = make_small(**{"time_pressure": 0.1, **parameters}).fit(X, y)
    halting = clf.halt(X, y, keep=0.9).halting_
    assert clf.score(X, y) == pytest.approx(halting["accuracy"])
    assert 1 <= halting["mean_steps"] <= clf.lattice_.steps_left


# --- the curve ---


def test_the_curve_holds_the_threshold_chosen_and_all_numbers_of_steps(halted, digits):
    X, y = digits[1], digits[3]
    curve = halted.halting_curve(X, y)
    rules = dict(list(curve.groupby("rule")))
    chosen = rules["halted"].iloc[(rules["halted"]["threshold"] - halted.halting_["threshold"]).abs().argmin()]
    for name in ("mean_steps", "macs", "accuracy"):
        assert chosen[name] == pytest.approx(halted.halting_[name])
    assert rules["trimmed"]["mean_steps"].tolist() == [1, 2, 3, 4]
    assert rules["trimmed"]["macs"].tolist() == [halted.lattice_.macs(n) for n in (1, 2, 3, 4)]
    assert rules["trimmed"]["accuracy"].iloc[-1] == pytest.approx(halted.halting_["accuracy_all_steps"])
    assert (rules["halted"]["mean_steps"].diff().dropna() <= 0).all()


# --- what makes no sense ---


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(keep=1.1), "keep=1.1 must be a number from 0 to 1"),
        (dict(keep="all"), "keep='all' must be a number"),
        (dict(confidence=1), "confidence=1 must be a number above 0 and below 1"),
        (dict(confidence=95), "confidence=95 must be"),
        (dict(sample_weight=[1.0]), "inconsistent"),
    ],
)
def test_arguments_that_make_no_sense_leave_it_as_it_was(halted, digits, arguments, message):
    before = halted.halting_
    with pytest.raises(ValueError, match=message):
        halted.halt(digits[1], digits[3], **arguments)
    assert halted.halting_ is before


def test_nothing_above_chance_unknown_labels_and_no_fit_are_errors(fitted, digits):
    with pytest.raises(ValueError, match="not above the chance level of 0.100"):
        fitted.halt(digits[1], (digits[3] + 1) % 10)
    with pytest.raises(ValueError, match=r"y holds the classes array\(\['three'\]"):
        fitted.halt(digits[1][:5], ["three"] * 5)
    with pytest.raises(ValueError, match="requires y"):
        fitted.halt(digits[1])
    with pytest.raises(ValueError, match="is not fitted yet"):
        clone(fitted).halt(None)
    assert not hasattr(fitted, "halting_")


def test_a_heavy_image_is_still_one_image(fitted, digits):
    X, y = digits[1][:60], digits[3][:60]
    with pytest.raises(ValueError, match="60 images are too few"):
        fitted.halt(X, y, keep=0.98, confidence=0.95, sample_weight=np.full(60, 10))
    fitted.halt(X, y, keep=0.5, sample_weight=np.full(60, 10))
    assert fitted.halting_["n_images"] == 60
    with pytest.raises(ValueError, match="sample_weight|could not convert"):
        fitted.halt(X, y, sample_weight=["heavy"] * 60)
    fitted.halt(None)


def test_of_one_class_everything_is_kept_for_certain(digits):
    X = digits[0][:50]
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_steps=2, max_epochs=1, random_state=0)
    clf.fit(X, np.zeros(len(X)))
    assert clf.halt(X, np.zeros(len(X)), confidence=0.9).halting_["accuracy"] == 1
