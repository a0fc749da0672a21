import copy
import inspect
import re

import numpy as np
import pytest
import torch
from numpydoc.docscrape import ClassDoc
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    StratifiedKFold,
    cross_val_score,
)

from growlattice import LatticeClassifier
from growlattice.lattice import Lattice


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
    clf = LatticeClassifier(max_layers=3, max_steps=3, max_epochs=8, random_state=0)
    clf.fit(X_train[:1000], y_train[:1000])
    assert clf.score(X_test, y_test) > 0.95


@pytest.mark.parametrize(
    "load, n_epochs, n_seeds, at_least", [(load_wine, 30, 2, 0.95), (load_breast_cancer, 20, 1, 0.94)]
)
def test_it_learns_tables(load, n_epochs, n_seeds, at_least):
    X, y = load(return_X_y=True)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    fits = [LatticeClassifier(max_layers=2, max_epochs=n_epochs, random_state=seed) for seed in range(n_seeds)]
    scores = [cross_val_score(clf, X, y, cv=folds) for clf in fits]
    assert np.mean(scores) > at_least


def test_an_answer_does_not_depend_on_its_company(small, make_small):
    X, y = small
    clf = make_small().fit(X, y)
    together = clf.predict_proba(X)
    alone = np.concatenate([clf.predict_proba(X[[row]]) for row in range(10)])
    np.testing.assert_allclose(alone, together[:10], rtol=1e-5)  # in a batch of another size
    order = np.random.RandomState(0).permutation(120)
    assert np.array_equal(clf.predict_proba(X[order]), together[order])


def test_predict_takes_the_labels_from_few_batches(small, make_small, monkeypatch):
    X, y = small
    clf, sizes, forward = make_small(max_epochs=8).fit(X, y), [], Lattice.forward

    def count(lattice, images, **kwargs):
        sizes.append(len(images))
        return forward(lattice, images, **kwargs)

    monkeypatch.setattr(Lattice, "forward", count)
    labels = clf.predict(X)
    assert sizes == [128]
    assert np.array_equal(labels, clf.classes_[clf.predict_proba(X).argmax(axis=1)])
    assert (labels == y).mean() == clf.score(X, y) > 0.9


def test_logarithms_of_probabilities_keep_what_probabilities_lose(small, make_small):
    X, y = small
    clf = make_small(precision="float64").fit(X, y)
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(X)), clf.predict_proba(X), rtol=1e-12)
    with torch.no_grad():
        clf.lattice_.readout.weight.mul_(1e4)
    log_probas = clf.predict_log_proba(X)
    assert np.isfinite(log_probas).all() and log_probas.min() < -1000
    assert np.array_equal(clf.predict_proba(X), np.exp(log_probas))


def test_no_probability_is_above_one(small, make_small):
    """scikit-learn's log_loss refuses such, and sums over steps are rounded."""
    clf = make_small(max_steps=8, max_epochs=1).fit(*small)
    with torch.no_grad():  # as sure as a lattice can be
        clf.lattice_.readout.bias.copy_(torch.tensor([60.0, -60.0]))
        clf.lattice_.readout.weight.zero_()
    assert clf._collect(small[0], lambda output: output.answer).max() > 0  # in short: there is what to mend
    assert clf.predict_log_proba(small[0]).max() == 0
    assert log_loss(small[1], clf.predict_proba(small[0])) > 1


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
@pytest.mark.parametrize("removed_by", ["training", "prune"])
def test_answers_keep_their_shapes_when_what_they_come_from_goes(
    small, make_small, compacting, time_selection, removed_by
):
    X, y = small
    parameters = compacting if removed_by == "training" else dict(time_pressure=0.5, max_epochs=8)
    clf = make_small(time_selection=time_selection, **parameters).fit(X, y)
    if removed_by == "prune":
        clf.prune(X, y, keep=0.5)
    left = clf.lattice_.steps_left
    assert left < 3 and not clf.channel_mask_.all()
    weights, stages = clf.time_weights(X), list(clf.staged_predict_proba(X))
    assert weights.shape == (120, 3) and [stage.shape for stage in stages] == [(120, 2)] * 3
    assert not weights[:, left:].any() and (weights[:, :left] > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert all(np.array_equal(stage, stages[left - 1]) for stage in stages[left:])
    mixture = sum(weights[:, [step]] * stage for step, stage in enumerate(stages))
    np.testing.assert_allclose(clf.predict_proba(X), mixture, rtol=1e-5)
    np.testing.assert_allclose(clf.time_used(X), weights @ [1, 2, 3], rtol=1e-6)
    assert clf.channel_magnitude_.shape == clf.channel_mask_.shape == (2, 4)
    assert clf.costs_["time"] == pytest.approx(clf.time_used(X).mean() / 4, rel=1e-5)


def test_float64_computes_in_float64(small, make_small):
    X, y = small
    clf = make_small(precision="float64").fit(X, y)
    assert clf.predict_proba(X).dtype == np.float64
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1, rtol=1e-14)


def test_bfloat16_learns_too(small, make_small):
    X, y = small
    assert make_small(precision="bfloat16", max_epochs=10).fit(X, y).score(X, y) > 0.9


def test_documented_defaults_are_the_real_ones():
    documented = {}
    for parameter in ClassDoc(LatticeClassifier)["Parameters"]:
        documented[parameter.name] = re.search(r"default=(.*)$", parameter.type).group(1)
    real = {name: p.default for name, p in inspect.signature(LatticeClassifier).parameters.items()}
    assert list(documented) == list(real)
    assert {name: eval(text) for name, text in documented.items()} == real


def test_class_weight_moves_the_balance(digits, make_small):
    X, y = digits[0][:200], digits[2][:200] % 2
    predicted = [
        (make_small(class_weight=weights).fit(X, y).predict(X) == 1).mean()
        for weights in ({0: 20, 1: 1}, {0: 1, 1: 20})
    ]
    assert predicted[0] < 0.4 < 0.6 < predicted[1]


DAYS = np.array(["2026-11-21", "2026-11-22"], dtype="datetime64[D]")


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [3, 7], [-1.0, 1.0], DAYS])
def test_labels_come_back_as_they_were(small, make_small, labels):
    X, y = small
    labels = np.array(labels)
    clf = make_small().fit(X, labels[y])
    assert np.array_equal(clf.classes_, labels)
    assert clf.predict(X).dtype == labels.dtype
    assert clf.score(X, labels[y]) > 0.8


def test_labels_of_more_than_double_precision_can_be_copied(small, make_small):
    X, y = small
    clf = make_small(max_epochs=1).fit(X, np.array([1, 2], dtype=np.longdouble)[y])
    assert np.array_equal(copy.deepcopy(clf).predict(X), clf.predict(X)) and clf.classes_.tolist() == [1, 2]


def test_dates_of_another_byte_order_can_be_copied(small, make_small):
    X, y = small
    clf = make_small(max_epochs=1).fit(X, np.array(["1970", "2021"], dtype=">M8[s]")[y])
    assert np.array_equal(copy.deepcopy(clf).classes_, np.array(["1970", "2021"], dtype="M8[s]"))


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
