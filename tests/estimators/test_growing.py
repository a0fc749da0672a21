"""Fits that begin small: `grow_from`."""

import itertools
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from growlattice import LatticeClassifier, LatticeRegressor, pressure_path
from growlattice._training._net import LatticeNet

GROWN = ["channels", "layers", "steps"]


@pytest.fixture
def make(make_small):
    """A lattice that grows after each of its first four epochs."""
    defaults = dict(max_channels=6, max_layers=3, grow_from=(2, 1, 1), max_epochs=10, batch_size=64)
    return lambda **parameters: make_small(**{**defaults, **parameters})


def assert_equal_fits(one, other, X):
    for method in ("predict_proba", "time_weights"):
        assert np.array_equal(getattr(one, method)(X), getattr(other, method)(X))
    assert one.costs_ == other.costs_
    pd.testing.assert_frame_equal(one.history_.drop(columns="dur"), other.history_.drop(columns="dur"))
    pd.testing.assert_frame_equal(one.growth_, other.growth_)


def test_a_lattice_grows_to_its_bounds_where_nothing_has_a_price(small, make):
    X, y = small
    clf = make().fit(X, y)
    assert clf.history_[GROWN].iloc[0].tolist() == [2, 1, 1]
    assert clf.history_["channels"].is_monotonic_increasing and clf.history_["layers"].iloc[-1] == 3
    assert set(clf.growth_["resource"]) == set(GROWN) and clf.growth_["epoch"].max() <= 4
    assert clf.channel_mask_.shape == (3, 6) and clf.score(X, y) > 0.9
    assert (clf.growth_["statistic"] >= clf.growth_["bar"]).all()
    assert (clf.growth_["macs_after"] > clf.growth_["macs_before"]).all()
    last = clf.growth_[clf.growth_["resource"] == "layers"].iloc[-1]
    assert last["after"] == 3 and clf.history_["layers"].iloc[last["epoch"]] == 3
    assert clf.train_macs_ < 3 * clf.macs_per_image_ * len(X) * 10


def test_what_begins_at_its_bounds_does_not_grow(small, make):
    X, y = small
    clf = make(grow_from=(6, 3, 3)).fit(X, y)
    assert clf.growth_.empty and list(clf.growth_.columns)[:3] == ["epoch", "resource", "layer"]
    assert clf.history_["channels"].eq(18).all()
    assert make(grow_from=None, max_epochs=1).fit(X, y).growth_.empty


def test_channels_are_drawn_by_what_they_gain(small, make):
    X, y = small
    clf = make(growth="tiny").fit(X, y)
    assert clf.score(X, y) > 0.9 and clf.growth_["resource"].isin(["channels", "layers"]).any()
    fresh = make().fit(X, y)
    assert not np.array_equal(clf.predict_proba(X), fresh.predict_proba(X))
    assert make(growth="tiny", downsample=(1, 2, 2)).fit(X, y).layers_used_ > 1


def test_growing_is_told_in_progress(small, make, capsys):
    make(verbose=1).fit(*small)
    assert "grown after epoch 1: channels of layer 1 from 2 to 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    "stop_at, parameters",
    [
        *itertools.product([1, 2, 3, 6], [{}, dict(breadth_pressure=300.0, time_pressure=1.0)]),
        (2, dict(growth="tiny")),
    ],
)
def test_a_fit_killed_while_it_grows_ends_bit_for_bit_the_same(small, make, tmp_path, monkeypatch, stop_at, parameters):
    X, y = small
    whole = make(**parameters).fit(X, y)
    original = LatticeNet.train_epoch

    def train_epoch(net, *args, **kwargs):
        if len(net.history) == stop_at:
            raise KeyboardInterrupt
        return original(net, *args, **kwargs)

    killed = make(memory=tmp_path, checkpoint_seconds=0, **parameters)
    with monkeypatch.context() as patched:
        patched.setattr(LatticeNet, "train_epoch", train_epoch)
        with pytest.raises(KeyboardInterrupt):
            clone(killed).fit(X, y)
    (left,) = os.listdir(tmp_path)
    assert left.endswith(".checkpoint")
    resumed = killed.fit(X, y)
    assert_equal_fits(resumed, whole, X)
    assert_equal_fits(clone(killed).fit(X, y), whole, X)  # read


def test_the_key_of_a_fit_knows_where_it_began(small, make, tmp_path):
    for grow_from in ((2, 1, 1), (3, 1, 1), None):
        make(memory=tmp_path, max_epochs=1, grow_from=grow_from).fit(*small)
    assert len(os.listdir(tmp_path)) == 3


def test_files_and_pickles_hold_what_has_grown(small, make, tmp_path):
    X, y = small
    clf = make(max_epochs=5).fit(X, y)
    clf.save(tmp_path / "clf")
    for again in (LatticeClassifier.load(tmp_path / "clf"), pickle.loads(pickle.dumps(clf))):
        assert_equal_fits(again, clf, X)
        assert again.grow_from == (2, 1, 1)


def test_a_step_that_is_young_in_the_end_is_so_in_files_too(small, make, tmp_path):
    X, y = small
    clf = make(max_epochs=3).fit(X, y)  # grows after epoch 1
    assert clf.lattice_.log_step_share.min() < 0
    clf.save(tmp_path / "clf")
    assert np.array_equal(LatticeClassifier.load(tmp_path / "clf").time_weights(X), clf.time_weights(X))


def test_what_has_grown_can_be_pruned_relaxed_and_trained_further(small, make):
    X, y = small
    clf = make().fit(X, y)
    before = clf.macs_per_image_
    clf.prune(X, y, keep=0.9).relax(X, y, epochs=2)
    assert clf.macs_per_image_ < before and clf.history_["relaxing"].sum() == 2
    channels = clf.lattice_.channels_left
    clf.partial_fit(X, y)
    assert clf.lattice_.channels_left == channels


def test_a_warm_start_goes_on_growing(small, make):
    X, y = small
    clf = make(max_epochs=2, warm_start=True).fit(X, y)
    first = clf.lattice_.channels_left
    clf.set_params(max_epochs=10).fit(X, y)
    assert sum(clf.lattice_.channels_left) > sum(first) and clf.growth_["epoch"].min() == 1
    reached = clf.lattice_.channels_left
    clf.set_params(grow_from=None, max_epochs=1).fit(X, y)
    assert clf.lattice_.channels_left == reached and clf.growth_.empty


def test_partial_fit_says_that_it_cannot_grow(small, make):
    with pytest.raises(ValueError, match=r"grow_from=\(2, 1, 1\) does not work with partial_fit"):
        make().partial_fit(*small)


def test_layers_of_their_own_resolution_grow(small, make):
    clf = make(downsample=(1, 2, 2)).fit(*small)
    assert clf.layers_used_ == 3 and clf.score(*small) > 0.9


def test_a_path_grows_at_its_first_price_alone(small, make):
    X, y = small
    path = pressure_path(
        make(max_epochs=4), X, y, X, y, pressures=[1.0, 30.0], keeps=[0.5], step_epochs=4, relax_epochs=1
    )
    fitted = [load() for load in path["load"]]
    assert [clf.growth_.empty for clf in fitted] == [False, True, True, True]
    assert all(clf.grow_from == (2, 1, 1) for clf in fitted)


def test_a_grid_searches_over_starts(small, make):
    search = GridSearchCV(make(max_epochs=3), {"grow_from": [(2, 1, 1), (4, 2, 2), None]}, cv=2).fit(*small)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("growth", ["fresh", "tiny"])
def test_a_regressor_grows(growth):
    X = np.random.RandomState(0).randn(100, 4)
    sizes = dict(max_channels=6, max_layers=2, max_steps=2, grow_from=(2, 1, 1), growth=growth)
    reg = LatticeRegressor(**sizes, max_epochs=10, random_state=0).fit(X, X[:, 0] - X[:, 1])
    assert reg.layers_used_ == 2 and reg.channels_used_ > 2 and not reg.growth_.empty
    assert reg.score(X, X[:, 0] - X[:, 1]) > 0.5


def test_every_copy_of_a_seed_is_the_same_and_other_seeds_are_others(small, make):
    X, y = small
    assert_equal_fits(make(max_epochs=4).fit(X, y), make(max_epochs=4).fit(X, y), X)
    other = make(max_epochs=4, random_state=1).fit(X, y)
    assert not np.array_equal(other.predict_proba(X), make(max_epochs=4).fit(X, y).predict_proba(X))


BAD = {
    "too many channels": (dict(grow_from=(7, 1, 1)), r"grow_from=\(7, 1, 1\) is larger than .*\(6, 3, 3\)"),
    "too many layers": (dict(grow_from=(2, 4, 1)), "larger than"),
    "too many steps": (dict(grow_from=(2, 1, 4)), "larger than"),
    "zero": (dict(grow_from=(2, 0, 1)), r"grow_from=\(2, 0, 1\) must be \(channels, layers, steps\)"),
    "two": (dict(grow_from=(2, 1)), r"must be \(channels, layers, steps\)"),
    "fractions": (dict(grow_from=(2, 1.5, 1)), "in whole numbers"),
    "a number": (dict(grow_from=3), "grow_from"),
    "misspelled": (dict(growth="frehs"), "'growth' parameter .* must be a str among .*Got 'frehs'"),
}


@pytest.mark.parametrize("parameters, message", BAD.values(), ids=BAD)
def test_starts_that_cannot_be_are_refused(small, make, parameters, message):
    clf = make(**parameters)
    with pytest.raises(ValueError, match=message):
        clf.fit(*small)
    assert not hasattr(clf, "net_")
