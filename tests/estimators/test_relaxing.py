"""Training without prices after a cut: `relax`, and `keep` and `relax_epochs` in `fit`."""

import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler

from growlattice import LatticeClassifier
from growlattice._estimators import _base
from growlattice._training._net import LatticeNet
from growlattice._training._schedule import rate_share

PRICED = dict(breadth_pressure=3.0, depth_pressure=3.0, time_pressure=0.3)


def parameters_of(clf):
    return {name: tensor.clone() for name, tensor in clf.lattice_.state_dict().items()}


def assert_same_lattice(one, other):
    one, other = parameters_of(one), parameters_of(other)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def make(make_small):
    return lambda **parameters: make_small(**{"keep": 0.6, "relax_epochs": 2, **PRICED, **parameters})


def test_a_deep_cut_with_relaxing_is_smaller_than_without_and_better_than_unrelaxed(digits):
    X_train, X_test, y_train, y_test = digits
    sizes = dict(max_channels=8, max_layers=2, max_steps=2, max_epochs=15, random_state=0)
    clf = LatticeClassifier(**PRICED, **sizes, keep=0.7).fit(X_train, y_train)
    full, cut = clf.resources_.loc["before"], clf.resources_.loc["after"]
    assert clf.macs_per_image_ == cut["macs"] < 0.8 * full["macs"]
    assert cut["accuracy"] < full["accuracy"] - 0.05
    before = clf.score(X_test, y_test)
    clf.relax(X_train, y_train, epochs=10)
    assert clf.macs_per_image_ == cut["macs"]
    assert clf.score(X_test, y_test) > before + 0.05


def test_fit_cuts_and_relaxes_as_the_methods_do(small, make):
    X, y = small
    together = make().fit(X, y)
    apart = make(keep=None, relax_epochs=0).fit(X, y).prune(X, y, keep=0.6).relax(X, y, epochs=2)
    assert_same_lattice(together, apart)
    assert together.costs_ == apart.costs_
    columns = apart.history_.columns.drop("dur")
    assert together.history_[columns].equals(apart.history_[columns])
    assert together.resources_.equals(apart.resources_)


def test_a_warm_start_without_epochs_cuts_and_relaxes_only(small, make):
    X, y = small
    together, apart = make().fit(X, y), make(keep=None, relax_epochs=0).fit(X, y)
    apart.set_params(warm_start=True, max_epochs=0, keep=0.6, relax_epochs=2).fit(X, y)
    assert_same_lattice(together, apart)
    assert apart.history_["relaxing"].tolist() == [True, True]


def test_without_keep_and_relax_epochs_nothing_is_cut_or_relaxed(small, make_small):
    clf = make_small(**PRICED).fit(*small)
    assert clf.history_["relaxing"].tolist() == [False] * 4 and not hasattr(clf, "resources_")


def test_nothing_has_a_price_and_nothing_goes_while_relaxing(small, make_small):
    X, y = small

    def price_of_all(lattice, output):
        return output.activity.sum()

    prices = dict(breadth_pressure=1e5, depth_pressure=1e5, time_pressure=1e3, extra_costs=[(price_of_all, 10.0)])
    free = make_small(max_epochs=0, relax_epochs=3).fit(X, y)
    priced = make_small(max_epochs=0, relax_epochs=3, annealing=(0, 0), **prices).fit(X, y)
    assert priced.history_["error"].equals(free.set_params(annealing=(0, 0)).fit(X, y).history_["error"])
    assert priced.channel_mask_.all() and priced.lattice_.steps_left == 3
    assert priced.history_["train_loss"].equals(priced.history_["error"])


def test_relaxing_starts_a_schedule_of_its_own(small, make, monkeypatch):
    rates = []
    original = LatticeNet.train_epoch

    def train_epoch(net, *args, **kwargs):
        original(net, *args, **kwargs)
        rates.append(net.lr_share)
        assert net.rate_share_ == rate_share(net.module_.channels_left, net.module_.steps_left) > 1

    monkeypatch.setattr(LatticeNet, "train_epoch", train_epoch)
    make(max_epochs=3, relax_epochs=3).fit(*small)
    assert rates[:3] == pytest.approx(rates[3:]) and rates[0] > rates[1] > rates[2]


def test_multiply_accumulates_of_training_are_counted(small, make):
    X, y = small
    clf = make(max_epochs=3, relax_epochs=2).fit(X, y)
    macs = clf.history_["macs_per_image"]
    assert macs.iloc[0] > macs.iloc[-1]
    assert macs.iloc[-1] == clf.macs_per_image_
    assert clf.train_macs_ == 3 * len(X) * macs.sum() == clf.history_["train_macs"].sum()


@pytest.mark.parametrize("stop_at", [3, 4, 5, 7])
def test_an_interrupted_fit_goes_on_to_the_same_result(small, make, tmp_path, monkeypatch, stop_at):
    """Killed in the priced epochs, before the cut, after it, and while relaxing."""
    whole = make(relax_epochs=4).fit(*small)
    original, trained = LatticeNet.train_epoch, []

    def train_epoch(net, *args, **kwargs):
        if len(trained) == stop_at:
            trained.append("stopped")
            raise KeyboardInterrupt
        trained.append(len(net.history))
        return original(net, *args, **kwargs)

    monkeypatch.setattr(LatticeNet, "train_epoch", train_epoch)
    with pytest.raises(KeyboardInterrupt):
        make(relax_epochs=4, memory=tmp_path, checkpoint_seconds=0).fit(*small)
    resumed = make(relax_epochs=4, memory=tmp_path, checkpoint_seconds=0).fit(*small)
    assert trained == [*range(stop_at), "stopped", *range(stop_at, 8)]
    assert_same_lattice(resumed, whole)
    assert resumed.resources_.equals(whole.resources_) and resumed.costs_ == whole.costs_
    monkeypatch.setattr(LatticeNet, "train_epoch", None)
    assert_same_lattice(make(relax_epochs=4, memory=tmp_path).fit(*small), whole)


def test_a_lattice_that_knows_nothing_is_kept_whole_with_a_warning(make_small):
    rng = np.random.RandomState(0)
    X, y = rng.rand(60, 4), np.repeat([0, 1], 30)
    with pytest.warns(UserWarning, match="Nothing was cut: .* not above the chance level"):
        clf = make_small(keep=0.5, max_epochs=1, lr=1e-9, breadth_pressure=1e-9).fit(np.zeros_like(X), y)
    assert clf.channel_mask_.all()


def test_stopping_early_ends_the_phase_and_not_the_other(small, make):
    stop = EarlyStopping(monitor="error", patience=2, threshold=1e9)
    clf = make(max_epochs=9, relax_epochs=9, keep=None, callbacks=[stop]).fit(*small)
    assert 2 <= (~clf.history_["relaxing"]).sum() < 9 and 2 <= clf.history_["relaxing"].sum() < 9


def test_a_scikit_learn_callback_too_ends_the_phase_and_not_the_other(small, make, tmp_path):
    monitor = Stopping()
    clf = make(max_epochs=9, relax_epochs=3, memory=tmp_path, checkpoint_seconds=0).set_callbacks(monitor).fit(*small)
    assert clf.history_["relaxing"].tolist() == [False] * 4 + [True]
    assert clf.macs_per_image_ == clf.resources_.loc["after", "macs"] < clf.resources_.loc["before", "macs"]
    assert not list(tmp_path.iterdir())


class Stopping:
    """A callback of scikit-learn's that asks for an end from the fourth epoch on."""

    n_epochs = 0

    def setup(self, estimator, context):
        pass

    on_fit_task_begin = teardown = setup

    def on_fit_task_end(self, estimator, context):
        self.n_epochs += context.task_name == "epoch"
        return context.task_name == "epoch" and self.n_epochs >= 4


def test_relaxing_that_fails_leaves_the_lattice_as_it_was(small, make, monkeypatch):
    X, y = small
    clf = make(relax_epochs=0).fit(X, y)
    before, history = parameters_of(clf), clf.history_
    for bad in (dict(epochs=0), dict(epochs=1.5), dict(X_val=X), dict(sample_weight=-np.ones(len(X)))):
        with pytest.raises(ValueError):
            clf.relax(X, y, **bad)
    with pytest.raises(ValueError, match="which the lattice was not made for"):
        clf.relax(X, y + 7)
    monkeypatch.setattr(_base, "measure", lambda *args: {"error": np.nan, "time_used": 1.0})
    with pytest.raises(ValueError, match="broke down"):
        clf.relax(X, y, epochs=1)
    assert all(torch.equal(before[name], tensor) for name, tensor in clf.lattice_.state_dict().items())
    assert clf.history_.equals(history)


def test_relaxing_measures_validation_images(small, make):
    X, y = small
    clf = make(relax_epochs=0).fit(X, y).relax(X, y, epochs=2, X_val=X, y_val=y)
    assert clf.history_["valid_accuracy"].iloc[-2:].notna().all()


@pytest.mark.parametrize(
    "parameters, message",
    [
        (dict(keep=1.1), "keep"),
        (dict(keep=-0.1), "keep"),
        (dict(relax_epochs=-1), "relax_epochs"),
        (dict(relax_epochs=1.5), "relax_epochs"),
        (dict(max_epochs=0, relax_epochs=0), "leave nothing to train"),
    ],
)
def test_bad_parameters_are_refused(small, make_small, parameters, message):
    with pytest.raises(ValueError, match=message):
        make_small(**parameters).fit(*small)


def _half(epoch):
    return 0.5**epoch


def test_a_scheduler_goes_on_while_relaxing(small, make):
    scheduler = [LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)]
    clf = make(callbacks=scheduler).fit(*small)
    assert clf.history_["relaxing"].tolist() == [False] * 4 + [True] * 2
    assert len(clf.relax(*small, epochs=1).history_) == 7


class Rates(Callback):
    """Keeps the learning rate of each epoch."""

    def __init__(self):
        self.seen = []

    def on_epoch_begin(self, net, **kwargs):
        self.seen.append(net.optimizer_.param_groups[0]["lr"])


@pytest.mark.parametrize(
    "policy, options",
    [
        (torch.optim.lr_scheduler.ExponentialLR, dict(gamma=0.8)),
        (torch.optim.lr_scheduler.StepLR, dict(step_size=4, gamma=0.1)),
        (torch.optim.lr_scheduler.CosineAnnealingLR, dict(T_max=9)),
        (torch.optim.lr_scheduler.LambdaLR, dict(lr_lambda=_half)),
    ],
)
def test_rates_of_a_scheduler_are_the_same_in_one_phase_and_in_several(small, make_small, policy, options):
    def rates(train, **parameters):
        scheduler = LRScheduler(policy, step_every="epoch", **options)
        return train(make_small(callbacks=[Rates(), scheduler], **parameters)).callbacks[0].seen

    def in_parts(clf):
        for _ in range(6):
            clf = pickle.loads(pickle.dumps(clf.partial_fit(*small)))
        return clf

    at_once = rates(lambda clf: clf.fit(*small), max_epochs=6)
    phases = rates(lambda clf: clf.fit(*small).relax(*small, epochs=1), max_epochs=3, relax_epochs=2)
    assert len(set(at_once)) > 1
    np.testing.assert_allclose([phases, rates(in_parts)], [at_once, at_once])


def test_a_scheduler_may_come_later(small, make_small):
    clf = make_small(max_epochs=1).fit(*small)
    scheduler = LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    later = [Rates(), scheduler]
    rates = clf.set_params(callbacks=later).relax(*small, epochs=2).relax(*small, epochs=1).callbacks[0].seen
    np.testing.assert_allclose(rates, rates[0] * np.array([1, 0.5, 0.25]))


def test_the_best_epoch_is_one_of_those_since_the_cut(small, make, tmp_path):
    X, y = small
    best = Checkpoint(monitor="valid_accuracy_best", dirname=str(tmp_path), load_best=True)
    clf = make(callbacks=[best], max_epochs=8, keep=0.3).fit(X, y, X_val=X, y_val=y)
    assert clf.macs_per_image_ == clf.resources_.loc["after", "macs"] < clf.resources_.loc["before", "macs"]
