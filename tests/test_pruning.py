import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from skorch.callbacks import Callback
from torch.utils.flop_counter import FlopCounterMode

from growlattice._batches import Batches
from growlattice._net import LatticeNet, seeded_generator
from growlattice._pruning import (
    channels_above,
    compact,
    compact_net,
    prune_lattice,
    search_mask,
    search_steps,
    settle,
    steps_in_use,
)

from .test_lattice import make_images, make_lattice

MASKS = arrays(bool, (3, 3)).map(torch.from_numpy)


def masked(lattice, mask):
    """A full-size copy whose channels outside the mask are silent: nothing is written to them."""
    copy = pickle.loads(pickle.dumps(lattice))
    for family in (copy.bottom_up, copy.lateral, copy.top_down):
        for layer, kernel in enumerate(family):
            with torch.no_grad():
                kernel.weight[~mask[layer]] = 0
                if kernel.bias is not None:
                    kernel.bias[~mask[layer]] = 0
    return copy


def without_use(lattice, mask):
    """A masked copy in which nothing is read from the silent channels either."""
    copy = masked(lattice, mask)
    with torch.no_grad():
        for family, offset in ((copy.bottom_up, -1), (copy.lateral, 0), (copy.top_down, 1)):
            for layer, kernel in enumerate(family):
                if layer + offset >= 0:
                    kernel.weight[:, ~mask[layer + offset]] = 0
        copy.readout.weight[:, ~mask.flatten()] = 0
        if copy.selector is not None:
            copy.selector[0].weight[:, ~mask.flatten()] = 0
    return copy


@given(MASKS, st.sampled_from(["adaptive", "fixed"]), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=60, deadline=None)
def test_a_compacted_lattice_computes_what_the_masked_one_does(mask, time_selection, dtype):
    lattice = make_lattice(time_selection=time_selection).to(dtype)
    images = make_images().to(dtype)
    mask = settle(mask)
    if not mask.any():
        with pytest.raises(ValueError, match="removes every channel"):
            compact(lattice, mask)
        return
    with torch.no_grad():
        expected, output = masked(lattice, mask)(images), compact(lattice, mask)(images)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    for name in ("log_probas", "step_log_probas", "weights"):
        torch.testing.assert_close(getattr(output, name), getattr(expected, name), atol=tolerance, rtol=0)


@given(MASKS, MASKS)
@settings(max_examples=30, deadline=None)
def test_compacting_twice_is_compacting_once(first, second):
    lattice, images = make_lattice(), make_images()
    both = settle(first & second)
    if not both.any():
        return
    twice = compact(compact(lattice, first), second)
    assert torch.equal(twice.mask, both)
    assert torch.equal(twice(images).log_probas, compact(lattice, both)(images).log_probas)


def test_an_empty_layer_empties_those_above():
    mask = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    assert settle(mask).tolist() == [[True, False, True], [False] * 3, [False] * 3]
    assert len(compact(make_lattice(), mask).bottom_up) == 1


def test_one_channel_can_survive():
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[0, 1] = True
    lattice = compact(make_lattice(), mask)
    assert lattice.lateral[0].weight.shape == (1, 1, 3, 3)
    assert len(lattice.top_down) == 0


def test_everything_can_survive():
    lattice, images = make_lattice(), make_images()
    assert torch.equal(compact(lattice, lattice.mask)(images).log_probas, lattice(images).log_probas)


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_trimmed_steps_are_the_first_ones(time_selection):
    lattice, images = make_lattice(time_selection=time_selection), make_images()
    shorter = compact(lattice, lattice.mask, steps_left=2)
    torch.testing.assert_close(shorter(images).step_log_probas, lattice(images).step_log_probas[:, :2])


def test_magnitudes_keep_their_place_and_unit():
    lattice = make_lattice()
    mask = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    torch.testing.assert_close(
        compact(lattice, mask).channel_magnitude(), without_use(lattice, mask).channel_magnitude()
    )


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
@pytest.mark.parametrize("sizes", [dict(), dict(n_layers=1), dict(kernel_size=1), dict(n_steps=1)])
def test_macs_equal_those_that_torch_counts(sizes, time_selection):
    lattice = make_lattice(time_selection=time_selection, **sizes)
    mask = torch.rand(lattice.mask.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    mask[0, 0] = True
    for counted in (lattice, compact(lattice, mask, steps_left=max(1, lattice.n_steps - 1))):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            counted(make_images(1))
        assert counted.macs() == counter.get_total_flops() / 2


@pytest.mark.parametrize("n_needed", [1, 2, 5, 8, 9])
def test_the_search_finds_the_smallest_mask_in_few_evaluations(n_needed):
    lattice, lines = make_lattice(), []
    with torch.no_grad():  # magnitudes fall with the layer, so that no layer empties before one above it
        for layer in range(3):
            for kernel in lattice._writers(layer):
                kernel.weight *= 10.0**-layer
    mask = search_mask(lattice, lambda smaller: int(smaller.mask.sum()) >= n_needed, lines.append)
    assert mask.sum() == n_needed
    magnitude = lattice.channel_magnitude()
    assert n_needed == 9 or magnitude[mask].min() > magnitude[~mask].max()
    assert len(lines) <= 4


@pytest.mark.parametrize("n_needed", [1, 2, 3])
def test_the_search_finds_the_fewest_steps(n_needed):
    lattice, lines = make_lattice(n_steps=3), []
    assert search_steps(lattice, lattice.mask, lambda shorter: shorter.steps_left >= n_needed, lines.append) == n_needed
    assert len(lines) <= 2


@pytest.mark.parametrize("first", ["channels", "steps"])
def test_the_cheaper_order_of_removal_is_taken(first):
    """A criterion that has room for two removals of one kind, or one of the other, but not for both."""
    lattice = make_lattice(n_steps=3)

    def is_enough(smaller):
        channels, steps = int((lattice.mask & ~smaller.mask).sum()), 3 - smaller.steps_left
        allowed = {"channels": 6, "steps": 0} if first == "channels" else {"channels": 1, "steps": 2}
        return channels <= allowed["channels"] and steps <= allowed["steps"] and channels * steps <= 1

    left = prune_lattice(lattice, is_enough, True, lambda line: None)
    assert is_enough(left)
    assert left.steps_left == (3 if first == "channels" else 1)
    assert left.macs() < lattice.macs()
    assert prune_lattice(lattice, is_enough, False, lambda line: None).steps_left == 3


MASK = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 1, 0]], dtype=torch.bool)


def net_of(lattice, **parameters):
    defaults = dict(pressures={"breadth": 0.5, "depth": 0.5, "time": 0.1}, extra_costs={}, position_power=4.0)
    defaults |= dict(noise=0.0, annealing=(0.0, 0.1), seed=0, lr=1e-3, verbose=0)
    return LatticeNet(pickle.loads(pickle.dumps(lattice)), **{**defaults, **parameters}).initialize()


def batches_for(lattice):
    generator = seeded_generator(3)
    images = torch.rand(12, *lattice.config["image_shape"], generator=generator, dtype=torch.float64)
    labels = torch.randint(lattice.config["n_classes"], (12,), generator=generator)
    return Batches(images.numpy(), labels.numpy(), None, batch_size=4, device="cpu")


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
@pytest.mark.parametrize("mask", [MASK, MASK & torch.tensor([[True], [True], [False]])])
def test_training_goes_on_as_if_what_is_silent_were_still_there(time_selection, mask):
    """The same weights and moments, in float64, after three epochs with compaction and without."""
    silent = without_use(make_lattice(time_selection=time_selection).to(torch.float64), mask)
    batches = batches_for(silent)
    with_all, compacted = net_of(silent), net_of(silent)
    for epoch in range(3):
        for net in (with_all, compacted):
            net.train_epoch(batches, epoch / 3, (epoch + 1) / 3)
        compact_net(compacted)
        assert torch.equal(compacted.module_.mask, mask)
    expected = net_of(compact(with_all.module_, mask))
    for name, tensor in expected.module_.state_dict().items():
        torch.testing.assert_close(compacted.module_.state_dict()[name], tensor, atol=1e-12, rtol=0)
    assert compacted.history[:, "train_loss"] == pytest.approx(with_all.history[:, "train_loss"], abs=1e-12)
    assert not torch.equal(compacted.module_.readout.weight, silent.readout.weight[:, mask.flatten()])


def test_the_optimizer_stays_and_its_moments_are_those_of_what_is_left():
    lattice = make_lattice().to(torch.float64)
    net = net_of(without_use(lattice, MASK))
    net.train_epoch(batches_for(lattice), 0.0, 1.0, decay=False)
    optimizer, before = net.optimizer_, net.moments()
    compact_net(net)
    after = net.moments()
    assert net.optimizer_ is optimizer
    assert optimizer.param_groups[0]["params"][0] is next(net.module_.parameters())
    up, cut = before["bottom_up.1.weight.exp_avg"], after["bottom_up.1.weight.exp_avg"]
    assert torch.equal(cut, up[MASK[1]][:, MASK[0]])
    assert torch.equal(after["readout.weight.exp_avg_sq"], before["readout.weight.exp_avg_sq"][:, MASK.flatten()])
    assert after["lateral.0.weight.step"] == before["lateral.0.weight.step"] == 3


def test_channels_below_the_bar_go_but_one_stays():
    lattice = make_lattice()
    magnitude = lattice.channel_magnitude().detach()
    bar = float(magnitude.median())
    assert torch.equal(channels_above(bar, lattice), settle(magnitude >= bar))
    assert channels_above(100.0, lattice).nonzero().tolist() == [[0, int(magnitude[0].argmax())]]
    assert torch.equal(channels_above(0.01, compact(lattice, MASK)), MASK)


@pytest.mark.parametrize(
    "late_weights, steps_left",
    [([1.0, 0.8, 0.5], 3), ([1.0, 0.4, 0.005], 2), ([1.0, 0.01, 0.006], 2), ([1.0, 0.005, 0.003], 1)],
)
def test_trailing_steps_of_no_weight_go(late_weights, steps_left):
    assert steps_in_use(torch.tensor(late_weights)) == steps_left


def test_a_step_that_one_image_uses_stays():
    lattice = make_lattice(n_steps=3).to(torch.float64)
    batches = batches_for(lattice)
    net = net_of(lattice, lr=0.0)
    net.train_epoch(batches, 0.0, 0.0)
    weights = torch.cat([output.weights for output in net.outputs(batches, lattice)])
    assert torch.allclose(net.late_weights_, weights.flip(1).cumsum(1).flip(1).amax(0))
    assert not torch.allclose(net.late_weights_[2], weights[:, 2].mean())


@pytest.mark.parametrize("pressure, ramp, steps_left", [(0.1, 1.0, 1), (0.1, 0.9, 3), (0.0, 1.0, 3)])
def test_steps_go_only_at_the_full_price_of_time(pressure, ramp, steps_left):
    net = net_of(make_lattice(n_steps=3), pressures={"breadth": 0.0, "depth": 0.0, "time": pressure})
    net.ramp_, net.late_weights_ = ramp, torch.tensor([1.0, 0.005, 0.003])
    compact_net(net)
    assert net.module_.steps_left == steps_left


def test_channels_go_only_if_they_have_a_price():
    lattice = without_use(make_lattice(), MASK)
    for prices, mask in (((0.1, 0.0), MASK), ((0.0, 0.1), MASK), ((0.0, 0.0), lattice.mask)):
        net = net_of(lattice, pressures=dict(zip(("breadth", "depth", "time"), (*prices, 0.1), strict=True)))
        net.ramp_, net.late_weights_ = 0.0, torch.ones(3)
        compact_net(net)
        assert torch.equal(net.module_.mask, mask)


def test_the_bar_falls_with_the_learning_rate():
    lattice = make_lattice().to(torch.float64)
    with torch.no_grad():
        for kernel in lattice._writers(2):
            kernel.weight *= 0.05 / lattice.channel_magnitude()[2].max()
    for end, n_layers in ((0.0, 2), (1.0, 3)):
        net = net_of(lattice, lr=1e-6)
        net.train_epoch(batches_for(lattice), end, end)
        compact_net(net)
        assert len(net.module_.bottom_up) == n_layers


PRESSURES = dict(breadth_pressure=3.0, depth_pressure=3.0, max_channels=8, max_layers=3, max_epochs=12, random_state=0)


def test_a_fit_loses_what_its_pressures_empty_and_stays_as_accurate(pressed, digits):
    from growlattice import LatticeClassifier

    epochs = []
    clf = LatticeClassifier(**PRESSURES).set_params(callbacks=[_Watch(epochs)]).fit(digits[0], digits[2])
    assert epochs == sorted(epochs, reverse=True) and epochs[0] == 24
    assert clf.channel_mask_.sum() <= epochs[-1] < 20
    assert clf.macs_per_image_ < 0.6 * pressed.macs_per_image_
    assert abs(clf.score(digits[1], digits[3]) - pressed.score(digits[1], digits[3])) < 0.02
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
    from growlattice import LatticeClassifier

    clf = LatticeClassifier(**{**parameters, "max_epochs": 3, "random_state": 0}).fit(*small)
    assert clf.channel_mask_.all() and clf.lattice_.steps_left == 4


def test_compaction_comes_after_every_so_many_epochs_also_of_partial_fit(small, monkeypatch):
    from growlattice import LatticeClassifier, _classifier

    compacted_after = []
    monkeypatch.setattr(_classifier, "compact_net", lambda net: compacted_after.append(len(net.history)))
    clf = LatticeClassifier(max_channels=2, max_layers=1, max_epochs=5, compact_every=2, random_state=0)
    clf.fit(*small)
    for _ in range(3):
        clf.partial_fit(*small)
    assert compacted_after == [2, 4, 6, 8]


@pytest.fixture(scope="module")
def pressed(digits):
    from growlattice import LatticeClassifier

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
    assert fitted.time_weights(digits[1]).shape[1] == 4


def test_a_pruned_lattice_goes_on(fitted, digits):
    X, y = digits[0][:300], digits[2][:300]
    fitted.prune(X, y)
    mask, accuracy = fitted.channel_mask_, fitted.score(digits[1], digits[3])
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict_proba(X), fitted.predict_proba(X))
    copy.partial_fit(X, y)
    assert np.array_equal(copy.channel_mask_, mask)
    assert len(copy.history_) == 13
    copy.set_params(warm_start=True, max_epochs=3).fit(X, y)
    assert np.array_equal(copy.channel_mask_, mask)
    assert copy.score(digits[1], digits[3]) > accuracy - 0.1
    copy.prune(X, y, keep=0.8)
    assert not (copy.channel_mask_ & ~mask).any()
    fresh = clone(fitted).set_params(max_epochs=1).fit(X, y)
    assert fresh.channel_mask_.all()


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
