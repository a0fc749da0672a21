import pytest
import torch

from growlattice._training import _compaction
from growlattice._training._batches import Batches
from growlattice._training._compaction import channels_above, compact_net, steps_in_use
from growlattice._training._inference import collect
from growlattice._training._net import LatticeNet, seeded_generator
from growlattice._training._training_set import TrainingSet
from growlattice.lattice import compact
from growlattice.lattice._surgery import drop_unreachable_layers

from ..lattices import copy_of, embedded, make_images, make_lattice, part_of, without_use, writers

MASK = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 1, 0]], dtype=torch.bool)


def net_of(lattice, **parameters):
    defaults = dict(pressures={"breadth": 0.5, "depth": 0.5, "time": 0.1}, extra_costs={}, position_power=4.0)
    defaults |= dict(noise=0.0, annealing=(0.0, 0.1), seed=0, precision="float32")
    defaults |= dict(lr=1e-3, verbose=0)
    return LatticeNet(copy_of(lattice), **{**defaults, **parameters}).initialize()


def batches_for(lattice):
    generator = seeded_generator(3)
    images = torch.rand(12, *lattice.config["image_shape"], generator=generator, dtype=torch.float64)
    labels = torch.randint(lattice.config["n_outputs"], (12,), generator=generator)
    return Batches(TrainingSet(images.numpy(), labels.numpy()).upload(torch.device("cpu")), batch_size=4)


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


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_a_lattice_trains_as_one_that_reaches_no_further_than_it_uses(time_selection):
    """The same weights, costs and remaining channels after three epochs under prices, in float64."""
    small = make_lattice(n_channels=3, n_layers=2, n_steps=3, time_selection=time_selection)
    large = embedded(small, n_channels=6, n_layers=5, n_steps=5)
    large = compact(large, large.mask, 3, (3 / 5) ** 0.5)
    batches, nets = batches_for(small), [net_of(small), net_of(large)]
    for epoch in range(3):
        for net in nets:
            net.train_epoch(batches, epoch / 3, (epoch + 1) / 3)
    expected, found = (dict(net.module_.named_parameters()) for net in nets)
    for name, tensor in expected.items():
        part = part_of(name, found[name], small, large)
        torch.testing.assert_close(part, tensor.reshape(part.shape), atol=1e-10, rtol=0)
    for name in ("train_loss", "error", "breadth", "depth", "time", "time_used"):
        assert nets[1].history[:, name] == pytest.approx(nets[0].history[:, name], rel=1e-6), name  # kept in float32
    assert not torch.equal(expected["readout.weight"], small.readout.weight)
    for net in nets:
        compact_net(net)
    assert nets[1].module_.channels_left == nets[0].module_.channels_left


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
    assert torch.equal(channels_above(bar, lattice), drop_unreachable_layers(magnitude >= bar))
    assert channels_above(100.0, lattice).nonzero().tolist() == [[0, int(magnitude[0].argmax())]]
    assert torch.equal(channels_above(0.01, compact(lattice, MASK)), MASK)


@pytest.mark.parametrize(
    "tail_weights, steps_left",
    [([1.0, 0.8, 0.5], 3), ([1.0, 0.4, 0.005], 2), ([1.0, 0.01, 0.006], 2), ([1.0, 0.005, 0.003], 1)],
)
def test_trailing_steps_of_no_weight_go(tail_weights, steps_left):
    assert steps_in_use(torch.tensor(tail_weights)) == steps_left


def test_a_step_that_one_image_uses_stays():
    lattice = make_lattice(n_steps=3).to(torch.float64)
    batches = batches_for(lattice)
    net = net_of(lattice, lr=0.0)
    net.train_epoch(batches, 0.0, 0.0)
    weights = torch.from_numpy(collect(lattice, batches.data.images, lambda output: output.weights))
    assert torch.allclose(net.tail_weights_, weights.flip(1).cumsum(1).flip(1).amax(0))
    assert not torch.allclose(net.tail_weights_[2], weights[:, 2].mean())


@pytest.mark.parametrize("pressure, ramp, steps_left", [(0.1, 1.0, 1), (0.1, 0.9, 3), (0.0, 1.0, 3)])
def test_steps_go_only_at_the_full_price_of_time(pressure, ramp, steps_left):
    net = net_of(make_lattice(n_steps=3), pressures={"breadth": 0.0, "depth": 0.0, "time": pressure})
    net.ramp_, net.tail_weights_ = ramp, torch.tensor([1.0, 0.005, 0.003])
    net.score_norms_ = torch.tensor([0.6, 0.8, 1.0])
    compact_net(net)
    assert net.module_.steps_left == steps_left


def test_channels_go_only_if_they_have_a_price():
    lattice = without_use(make_lattice(), MASK)
    for prices, mask in (((0.1, 0.0), MASK), ((0.0, 0.1), MASK), ((0.0, 0.0), lattice.mask)):
        net = net_of(lattice, pressures=dict(zip(("breadth", "depth", "time"), (*prices, 0.1), strict=True)))
        net.ramp_, net.tail_weights_ = 0.0, torch.ones(3)
        compact_net(net)
        assert torch.equal(net.module_.mask, mask)


def test_the_bar_falls_with_the_learning_rate():
    lattice = make_lattice().to(torch.float64)
    with torch.no_grad():
        for kernel in writers(lattice, 2):
            kernel.weight *= 0.05 / lattice.channel_magnitude()[2].max()
    for end, n_layers in ((0.0, 2), (1.0, 3)):
        net = net_of(lattice, lr=1e-6)
        net.train_epoch(batches_for(lattice), end, end)
        compact_net(net)
        assert len(net.module_.bottom_up) == n_layers


def test_the_lattice_stays_when_channels_and_steps_go():
    """Whoever holds it, as callbacks do, sees the compacted one."""
    net = net_of(without_use(make_lattice(n_steps=3), MASK))
    net.train_epoch(batches_for(net.module_), 0.0, 1.0)
    lattice, optimizer = net.module_, net.optimizer_
    net.ramp_, net.tail_weights_ = 1.0, torch.tensor([1.0, 0.5, 0.003])
    compact_net(net)
    assert net.module_ is lattice and net.optimizer_ is optimizer
    assert torch.equal(lattice.mask, MASK) and lattice.steps_left == 2
    assert lattice.channel_magnitude().shape == (3, 3) and lattice(make_images()).activity.shape == (2, 3, 3, 3)
    for group in optimizer.param_groups:
        assert [id(p) for p in group["params"]] == [id(p) for p in lattice.parameters()]


@pytest.mark.parametrize("scores", [(1.0, 0.2, -3.0), (1.0, 0.0, -1.0)])
def test_a_step_that_goes_in_training_leaves_the_ratios_of_the_others(scores):
    lattice, images = make_lattice(n_steps=3, time_selection="fixed"), make_images()
    with torch.no_grad():
        lattice.step_scores.copy_(torch.tensor(scores))
    net = net_of(lattice, lr=0.0, pressures={"breadth": 0.0, "depth": 0.0, "time": 0.1})
    net.train_epoch(batches_for(lattice), 1.0, 1.0)
    full = net.module_(images).weights
    assert full[0, 2] < _compaction.UNUSED
    compact_net(net)
    assert net.module_.steps_left == 2
    weights = net.module_(images).weights
    torch.testing.assert_close(weights[:, :2], full[:, :2] / full[:, :2].sum(dim=1, keepdim=True))
    assert (weights[:, 2] == 0).all()


def test_steps_that_go_in_adaptive_lattices_change_weights_little():
    """The norm that is kept is that of the average image."""
    lattice, images = make_lattice(n_steps=3), make_images(12)
    with torch.no_grad():  # a last step that hardly counts, and scores that differ between images
        lattice.selector[2].weight.neg_()
        lattice.selector[2].bias.fill_(-1.5)
    full = lattice(images)
    assert full.weights[:, 2].max() < 0.02 and full.scores.std(dim=0).min() > 0.02
    norm = full.scores.square().cumsum(dim=1).sqrt()[:, 1].mean()
    weights = compact(lattice, lattice.mask, 2, norm)(images).weights[:, :2]
    expected = full.weights[:, :2] / full.weights[:, :2].sum(dim=1, keepdim=True)
    naive = compact(lattice, lattice.mask, 2)(images).weights[:, :2]
    assert (weights - expected).abs().max() < (naive - expected).abs().max()
    torch.testing.assert_close(weights, expected, atol=0.05, rtol=0)


def test_costs_of_the_users_own_mean_the_same_before_and_after():
    seen = []

    def energy(lattice, output):
        seen.append((output.activity.mean().item(), lattice.channel_magnitude(["top_down"]).mean().item()))
        return output.activity.mean()

    lattice = without_use(make_lattice(), MASK)
    prices = {"breadth": 0.5, "depth": 0.5, "time": 0.0, "energy": 0.1}
    net = net_of(lattice, lr=1e-15, pressures=prices, extra_costs={"energy": energy})
    net.train_epoch(batches_for(lattice), 0.0, 1.0, decay=False)
    before = net.history[-1]["energy"]
    compact_net(net)
    assert torch.equal(net.module_.mask, MASK)
    net.train_epoch(batches_for(lattice), 0.0, 1.0, decay=False)
    assert net.history[-1]["energy"] == pytest.approx(before, rel=1e-6)
    assert seen[-1][1] == pytest.approx(seen[0][1], rel=1e-12) and seen[0][1] > 0


def test_steps_stay_where_the_images_are_a_part_of_all():
    net = net_of(make_lattice(n_steps=3), pressures={"breadth": 0.0, "depth": 0.0, "time": 0.1})
    net.ramp_, net.tail_weights_ = 1.0, torch.tensor([1.0, 0.005, 0.003])
    net.score_norms_ = torch.tensor([0.6, 0.8, 1.0])
    compact_net(net, trim_steps=False)
    assert net.module_.steps_left == 3


def test_steps_that_have_gone_do_not_come_back():
    lattice = make_lattice(n_steps=3)
    net = net_of(compact(lattice, lattice.mask, 2), pressures={"breadth": 0.0, "depth": 0.0, "time": 0.1})
    net.train_epoch(batches_for(lattice), 1.0, 1.0)
    assert net.tail_weights_[2] == 0
    compact_net(net)
    assert net.module_.steps_left <= 2


def test_the_bar_does_not_rise_above_that_of_the_start():
    """A scheduler's rate of 25 times lr would raise it above all channels."""
    lattice = make_lattice()
    net = net_of(lattice)
    net.train_epoch(batches_for(lattice), 0.0, 0.0)
    net.optimizer_.param_groups[0]["lr"] = 25 * net.lr
    compact_net(net)
    assert net.module_.mask.all()
