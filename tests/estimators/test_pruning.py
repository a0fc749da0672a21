import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from skorch.callbacks import Callback

from growlattice import LatticeClassifier
from growlattice._estimators import _base, _fitted
from growlattice._estimators._pruning import narrow_input, prune_lattice, search_mask
from growlattice.lattice import compact
from growlattice.lattice._input_cut import input_products
from growlattice.lattice._surgery import score_norms

from ..lattices import make_images, make_lattice, writers


def norms_of(lattice):
    return score_norms(lattice(make_images())).detach().mean(dim=0)


def moment_of(lattice):
    return input_products(lattice, make_images(shape=lattice.config["image_shape"])).mean(dim=0)


@pytest.mark.parametrize("n_needed", [1, 2, 5, 8, 9])
def test_the_search_finds_the_smallest_mask_in_few_evaluations(n_needed):
    lattice, lines = make_lattice(), []
    with torch.no_grad():  # magnitudes fall with the layer, so that no layer empties before one above it
        for layer in range(3):
            for kernel in writers(lattice, layer):
                kernel.weight *= 10.0**-layer
    mask = search_mask(lattice, lambda smaller: int(smaller.mask.sum()) >= n_needed, lines.append)
    assert mask.sum() == n_needed
    magnitude = lattice.channel_magnitude()
    assert n_needed == 9 or magnitude[mask].min() > magnitude[~mask].max()
    assert len(lines) <= 4


@pytest.mark.parametrize("n_needed", [1, 2, 7, 10, 11])
def test_the_search_finds_the_fewest_input_channels(n_needed):
    """Of 12, of which 10 suffice exactly; all stay where the criterion cannot bear even the rounding of that."""
    lattice, lines = make_lattice(n_channels=12, shape=(1, 5, 4)), []
    left = narrow_input(lattice, lambda narrower: narrower.inputs_left >= n_needed, moment_of(lattice), lines.append)
    assert left.inputs_left == (n_needed if n_needed <= 10 else 12)
    assert (left is lattice) == (n_needed > 10)
    assert len(lines) <= 4


def test_an_only_input_channel_stays():
    lattice = make_lattice(n_channels=1, shape=(1, 5, 4))
    assert narrow_input(lattice, lambda narrower: True, moment_of(lattice), lambda line: None) is lattice


@pytest.mark.parametrize("n_needed", [1, 2, 3])
def test_the_fewest_steps_are_found_where_no_channel_can_go(n_needed):
    lattice = make_lattice(n_steps=3)

    def is_enough(smaller):
        return smaller.steps_left >= n_needed and bool(smaller.mask.all())

    assert prune_lattice(lattice, is_enough, norms_of, moment_of, True, lambda line: None).steps_left == n_needed


def test_channels_and_steps_are_chosen_together():
    """No number of steps is left out: the cheapest of all that meet the criterion is found."""
    lattice = make_lattice(n_steps=3)
    needed = {3: 2, 2: 4, 1: 9}  # channels, at each number of steps

    def is_enough(smaller):
        return int(smaller.mask.sum()) >= needed[smaller.steps_left] and smaller.inputs_left == 3

    left = prune_lattice(lattice, is_enough, norms_of, moment_of, True, print)

    def cheapest_of(steps):
        mask = search_mask(lattice, lambda smaller: int(smaller.mask.sum()) >= needed[steps], print)
        return compact(lattice, mask, steps).macs()

    costs = {steps: cheapest_of(steps) for steps in needed}
    assert left.macs() == min(costs.values()) and len(set(costs.values())) == 3
    assert prune_lattice(lattice, lambda smaller: True, norms_of, moment_of, False, print).steps_left == 3


PRESSURES = dict(
    breadth_pressure=100.0,
    depth_pressure=40.0,
    max_channels=8,
    max_layers=3,
    max_epochs=12,
    batch_size=64,
    random_state=0,
)


def test_a_fit_loses_what_its_pressures_empty_and_stays_as_accurate(pressed, digits):
    epochs = []
    clf = LatticeClassifier(**PRESSURES).set_params(callbacks=[_Watch(epochs)]).fit(digits[0], digits[2])
    assert epochs == sorted(epochs, reverse=True) and epochs[0] == 24
    assert clf.channel_mask_.sum() <= epochs[-1] < 20
    assert clf.macs_per_image_ < 0.6 * pressed.macs_per_image_
    other = LatticeClassifier(**{**PRESSURES, "random_state": 1})  # two trainings differ by chance, two pairs less
    pairs = [(clf, pressed)]
    pairs.append([clone(other).set_params(compact_every=every).fit(digits[0], digits[2]) for every in (1, None)])
    differences = [one.score(digits[1], digits[3]) - two.score(digits[1], digits[3]) for one, two in pairs]
    assert abs(np.mean(differences)) < 0.02
    left = clf.channel_mask_
    assert pressed.channel_magnitude_[~left].max() < 0.5 * pressed.channel_magnitude_[left].mean()
    survivors = clf.prune(digits[0], digits[2]).channel_mask_
    assert (survivors <= left).all()


class _Watch(Callback):
    """Writes down how many channels there are at the end of each epoch."""

    def __init__(self, counts):
        self.counts = counts

    def on_epoch_end(self, net, **kwargs):
        self.counts.append(int(net.module_.mask.sum()))


@pytest.mark.parametrize("parameters", [dict(compact_every=None, **PRESSURES), dict(max_channels=4, max_epochs=3)])
def test_nothing_goes_without_pressure_or_without_compaction(parameters, small):
    clf = LatticeClassifier(**{**parameters, "max_epochs": 3, "random_state": 0}).fit(*small)
    assert clf.channel_mask_.all() and clf.lattice_.steps_left == 4


def test_compaction_comes_after_every_so_many_epochs_also_of_partial_fit(small, monkeypatch):
    compacted_after = []
    monkeypatch.setattr(
        _base, "compact_net", lambda net, trim_steps: compacted_after.append((len(net.history), trim_steps))
    )
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=5, compact_every=2, random_state=0)
    clf.fit(*small)
    for _ in range(3):
        clf.partial_fit(*small)
    assert compacted_after == [(2, True), (4, True), (6, False), (8, False)]


@pytest.fixture(scope="module")
def pressed(digits):
    return LatticeClassifier(compact_every=None, **PRESSURES).fit(digits[0], digits[2])


@pytest.fixture
def fitted(pressed):
    return pickle.loads(pickle.dumps(pressed))


def test_before_pruning_the_attributes_describe_the_full_lattice(fitted):
    assert fitted.channel_mask_.all() and fitted.channel_mask_.shape == (3, 8)
    assert (fitted.layers_used_, fitted.channels_used_) == (3, 8.0)


def test_prune_makes_it_smaller_and_keeps_accuracy(fitted, digits):
    X, y = digits[0], digits[2]
    accuracy, macs, parameters = fitted.score(X, y), fitted.macs_per_image_, fitted.n_parameters_
    assert fitted.prune(X, y) is fitted
    assert fitted.score(X, y) >= 0.1 + 0.98 * (accuracy - 0.1)
    assert fitted.macs_per_image_ < 0.7 * macs
    assert fitted.n_parameters_ < parameters
    assert fitted.channels_used_ == pytest.approx(fitted.channel_mask_.sum() / fitted.layers_used_)
    assert fitted.channel_magnitude_[~fitted.channel_mask_].max() == 0
    table = fitted.resources_
    assert table.loc["before", "accuracy"] == accuracy
    assert table.loc["after", "accuracy"] == fitted.score(X, y)
    assert table.loc["after", "channels"] == fitted.channel_mask_.sum(axis=1)[: fitted.layers_used_].tolist()
    assert table["macs"].tolist() == [macs, fitted.macs_per_image_]
    assert fitted.lattice_.inputs_left < fitted.lattice_.n_channels == 8


def test_after_pruning_time_and_costs_are_those_of_what_is_left(fitted, digits):
    X, y = digits[0][:300], digits[2][:300]
    fitted.prune(X, y, keep=0.5)
    assert fitted.time_used_ == pytest.approx(fitted.time_used(X).mean(), rel=1e-5)
    truth = fitted.predict_proba(X)[np.arange(300), y]
    assert fitted.costs_["error"] == pytest.approx(-np.log(truth).mean() / np.log(10), rel=1e-4)
    assert fitted.costs_["time"] == pytest.approx(fitted.time_used_ / 4)


def test_a_fresh_fit_forgets_the_report_of_pruning(fitted, digits):
    X, y = digits[0][:100], digits[2][:100]
    fitted.prune(X, y).set_params(max_epochs=1).fit(X, y)
    assert not hasattr(fitted, "resources_")


def test_labels_that_the_fit_did_not_see_are_named(fitted, digits):
    with pytest.raises(ValueError, match=r"y holds the classes array\(\['three'\]"):
        fitted.prune(digits[0][:5], ["three"] * 5)


def test_trimming_can_be_switched_off(fitted, digits):
    fitted.prune(digits[0], digits[2], trim_steps=False)
    assert fitted.lattice_.steps_left == 4
    assert (fitted.time_weights(digits[1]) > 0).all()


def test_a_pruned_lattice_goes_on(fitted, digits):
    X, y = digits[0][:300], digits[2][:300]
    fitted.prune(X, y)
    mask = fitted.channel_mask_
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict_proba(X), fitted.predict_proba(X))
    copy.partial_fit(X, y)
    assert np.array_equal(copy.channel_mask_, mask)
    assert len(copy.history_) == 13
    copy.set_params(warm_start=True, max_epochs=3).fit(X, y)
    assert np.array_equal(copy.channel_mask_, mask)
    fresh = clone(fitted).set_params(max_epochs=3).fit(X, y)
    assert fresh.channel_mask_.all()
    assert copy.score(digits[1], digits[3]) > fresh.score(digits[1], digits[3]) + 0.2  # it did not begin anew
    copy.prune(X, y, keep=0.8)
    assert not (copy.channel_mask_ & ~mask).any()


def test_prune_prints_its_progress_when_verbose(fitted, digits, capsys):
    fitted.set_params(verbose=1).prune(digits[0][:300], digits[2][:300])
    assert "of 24 channels are" in capsys.readouterr().out


@pytest.mark.parametrize("keep", [-0.1, 1.1, np.nan, "all"])
def test_keep_is_a_share(fitted, digits, keep):
    with pytest.raises(ValueError, match="must be a number from 0 to 1"):
        fitted.prune(digits[0], digits[2], keep=keep)


def test_nothing_above_chance_is_an_error(fitted, digits):
    weights = fitted.lattice_.state_dict()["readout.weight"].clone()
    with pytest.raises(ValueError, match=r"not above the chance level of 0.100"):
        fitted.prune(digits[0], (digits[2] + 1) % 10)
    assert torch.equal(fitted.lattice_.state_dict()["readout.weight"], weights)


# --- what counts in what is kept ---


@pytest.fixture(scope="module")
def unbalanced(digits):
    """Digits of which one class is rare, and a lattice that was fitted with balanced weights."""
    X, y = digits[0], (digits[2] == 3).astype(int)
    X, y = np.concatenate([X[y == 0][:360], X[y == 1][:40]]), np.repeat([0, 1], [360, 40])
    clf = LatticeClassifier(
        class_weight="balanced", max_channels=6, max_layers=2, max_steps=2, max_epochs=10, random_state=0
    )
    return clf.fit(X, y), X, y


def test_what_is_kept_is_weighted_as_in_fit(unbalanced):
    clf, X, y = pickle.loads(pickle.dumps(unbalanced[0])), *unbalanced[1:]
    before = balanced_accuracy_score(y, clf.predict(X))
    clf.prune(X, y, keep=0.9)
    after = balanced_accuracy_score(y, clf.predict(X))
    assert clf.resources_["accuracy"].tolist() == pytest.approx([before, after], rel=1e-6)
    assert after >= 0.5 + 0.9 * (before - 0.5) - 1e-9
    assert clf.macs_per_image_ < unbalanced[0].macs_per_image_


def test_a_dict_of_class_weights_counts(unbalanced):
    clf, X, y = pickle.loads(pickle.dumps(unbalanced[0])), *unbalanced[1:]
    clf.set_params(class_weight={0: 1.0, 1: 5.0})
    before = accuracy_score(y, clf.predict(X), sample_weight=np.where(y, 5.0, 1.0))
    assert clf.prune(X, y, keep=0.9).resources_.loc["before", "accuracy"] == pytest.approx(before)
    only = pickle.loads(pickle.dumps(unbalanced[0])).set_params(class_weight={0: 1.0, 1: 5.0})
    assert only.prune(X[y == 0], y[y == 0], keep=0.5).resources_ is not None  # images that lack a class


def assert_pruned_alike(one, other):
    assert np.array_equal(one.channel_mask_, other.channel_mask_)
    assert one.lattice_.steps_left == other.lattice_.steps_left
    assert one.resources_.drop(columns="channels").to_numpy() == pytest.approx(
        other.resources_.drop(columns="channels").to_numpy()
    )
    assert one.costs_ == pytest.approx(other.costs_)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("scoring", [None, "balanced_accuracy"])
def test_a_weight_of_two_is_the_row_twice_and_of_zero_its_absence(unbalanced, class_weight, scoring):
    clf, X, y = unbalanced
    weights = np.random.RandomState(0).randint(0, 3, size=len(X))
    weighted, repeated = (pickle.loads(pickle.dumps(clf)).set_params(class_weight=class_weight) for _ in range(2))
    weighted.prune(X, y, keep=0.8, sample_weight=weights, scoring=scoring)
    repeated.prune(X.repeat(weights, axis=0), y.repeat(weights), keep=0.8, scoring=scoring)
    assert_pruned_alike(weighted, repeated)


def test_an_image_of_weight_zero_is_not_looked_at(unbalanced):
    clf, X, y = unbalanced
    weights, X = np.ones(len(X)), X.astype(float)
    weights[0], X[0] = 0, np.nan
    pruned, without = (pickle.loads(pickle.dumps(clf)) for _ in range(2))
    pruned.prune(X, y, keep=0.8, sample_weight=weights, scoring="balanced_accuracy")
    without.prune(X[1:], y[1:], keep=0.8, scoring="balanced_accuracy")
    assert_pruned_alike(pruned, without)


def test_weights_decide_what_is_kept(unbalanced):
    """All weight on images that a lattice gets right, and on those that it gets wrong."""
    clf, X, y = unbalanced
    right = clf.predict(X) == y
    assert 0 < (~right).sum()
    pruned = pickle.loads(pickle.dumps(clf)).set_params(class_weight=None)
    pruned.prune(X, y, keep=0.9, sample_weight=right.astype(float))
    assert pruned.resources_.loc["before", "accuracy"] == 1.0
    with pytest.raises(ValueError, match="The accuracy on the images given is 0.000, not above the chance level"):
        pickle.loads(pickle.dumps(clf)).prune(X, y, sample_weight=(~right).astype(float))


@pytest.mark.parametrize(
    "weights, message", [(-np.ones(400), "Negative values"), (np.ones(7), "inconsistent"), (np.zeros(400), "zero")]
)
def test_weights_that_make_no_sense_leave_the_lattice(unbalanced, weights, message):
    clf, X, y = unbalanced
    lattice = clf.lattice_
    with pytest.raises(ValueError, match=message):
        clf.prune(X, y, sample_weight=weights)
    assert clf.lattice_ is lattice and not hasattr(clf, "resources_")


def minus_log_loss(estimator, X, y):
    return -log_loss(y, estimator.predict_proba(X))


@pytest.mark.parametrize(
    "scoring, measure, chance",
    [
        ("balanced_accuracy", lambda clf, X, y: balanced_accuracy_score(y, clf.predict(X)), 0.5),
        ("accuracy", lambda clf, X, y: accuracy_score(y, clf.predict(X)), 0.9),  # of the most frequent class
        (minus_log_loss, minus_log_loss, -log_loss([0] * 9 + [1], [[0.9, 0.1]] * 10)),
    ],
)
def test_another_score_can_be_kept(unbalanced, scoring, measure, chance):
    clf, X, y = pickle.loads(pickle.dumps(unbalanced[0])), *unbalanced[1:]
    before = measure(clf, X, y)
    clf.prune(X, y, keep=0.8, scoring=scoring)
    after = measure(clf, X, y)
    assert clf.resources_["score"].tolist() == pytest.approx([before, after], rel=1e-5)
    assert "accuracy" not in clf.resources_
    assert after >= chance + 0.8 * (before - chance) - 1e-6
    assert clf.macs_per_image_ < unbalanced[0].macs_per_image_


def test_a_score_at_its_chance_level_is_an_error(unbalanced):
    clf, X, y = unbalanced
    with pytest.raises(ValueError, match="The score on the images given is .*, not above the chance level of 0.500"):
        clf.prune(X, 1 - y, scoring="balanced_accuracy")
    with pytest.raises(ValueError, match="scoring"):
        clf.prune(X, y, scoring="nothing")
    assert not hasattr(clf, "resources_")


@pytest.mark.parametrize("n_images, warned", [(60, True), (400, False)])
def test_too_few_images_to_lose_one_of_draw_a_warning(unbalanced, n_images, warned):
    clf, X, y = pickle.loads(pickle.dumps(unbalanced[0])), *unbalanced[1:]
    rows = np.random.RandomState(0).permutation(400)[:n_images]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf.prune(X[rows], y[rows])
    texts = [str(warning.message) for warning in caught]
    assert bool(texts) is warned
    assert all("leaves less than one image to lose, so the criterion is as strict as keep=1" in text for text in texts)


def test_rounding_does_not_ask_for_more_than_there_was(small, make_small):
    """-2.84 + (-0.76 + 2.84) is more than -0.76."""
    clf = make_small(max_epochs=1).fit(*small)
    clf.prune(*small, keep=1.0, scoring=lambda model, X, y: -0.76 if hasattr(model, "lattice_") else -2.84)
    assert clf.channel_mask_.sum() == 1  # for every lattice has the same score


def test_asking_for_all_of_the_accuracy_draws_no_warning(unbalanced):
    clf, X, y = pickle.loads(pickle.dumps(unbalanced[0])), *unbalanced[1:]
    before = clf.score(X, y)
    assert clf.set_params(class_weight=None).prune(X, y, keep=1).score(X, y) >= before


def test_candidates_of_a_score_are_neither_compiled_nor_pickled(small, make_small, monkeypatch):
    clf = make_small(max_epochs=8).fit(*small).set_params(compile=True)
    clf.lattice_.register_forward_hook(lambda *_: None)  # which no pickle can hold
    ways = set()
    monkeypatch.setattr(_fitted, "compiled_run", lambda compile, *_: ways.add(compile))
    clf.prune(*small, keep=0.5, scoring="accuracy")
    assert ways == {False}
