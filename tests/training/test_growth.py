import pytest
import torch

from growlattice._training._compaction import compact_net
from growlattice._training._growth import (
    IN_USE,
    as_line,
    edge_use,
    first_form,
    grow_net,
    has_young_steps,
    is_time_to_grow,
    is_time_to_widen,
    plan_move,
    young_channels,
)
from growlattice._training._net import seeded_generator
from growlattice.lattice import Lattice

from ..lattices import make_lattice, writers
from .test_compaction import batches_for, net_of

START = (2, 1, 2)


def small_lattice(grow_from=START, n_channels=6, n_layers=3, n_steps=4):
    """A lattice that may grow, in float64."""
    config = {**make_lattice(n_channels=n_channels, n_layers=n_layers, n_steps=n_steps).config}
    return Lattice(**config, **first_form(config, grow_from), generator=seeded_generator(1)).double()


def growing_net(lattice=None, **parameters):
    net = net_of(lattice or small_lattice(), growth_share=0.5, max_epochs=10, **parameters)
    net.train_epoch(batches_for(net.module_), 0.0, 0.1)
    return net


def move_all(net, seed=0):
    """Extend all edges: the last step counts as in use, whatever the images give it."""
    net.last_step_weight_ = torch.tensor(0.9)
    return grow_net(net, 10, START, seeded_generator(seed))


def scaled(lattice, layer, channel, factor):
    """The lattice after the kernels that write a channel that is left have been scaled."""
    with torch.no_grad():
        for kernel in writers(lattice, layer):
            kernel.weight[channel] *= factor
    return lattice


def resources(move):
    return [(record["resource"], record["layer"], record["before"], record["after"]) for record in move.records]


def test_a_lattice_begins_at_the_start():
    lattice = small_lattice((2, 2, 3))
    assert (lattice.channels_left, lattice.steps_left, lattice.inputs_left) == ([2, 2], 3, 2)


def test_the_use_of_edges_is_in_units_of_what_is_drawn():
    lattice = scaled(small_lattice((3, 2, 2)), 1, 2, 0.25)
    (first, second), top = edge_use(lattice)
    use = lattice.channel_magnitude().detach() / lattice.fresh_magnitude()[:, None]
    assert (first, second) == pytest.approx((float(use[0, :3].min()), float(use[1, 2])))
    assert 0.5 < first < 1.5 and second < 0.4 and top == pytest.approx(float(use[1, :3].mean()))


def test_every_edge_in_use_is_extended_at_once():
    move = plan_move(small_lattice(), 0.6, START, [])
    assert resources(move) == [("channels", 1, 2, 4), ("layers", None, 1, 2), ("steps", None, 2, 3)]
    assert move.mask.sum(dim=1).tolist() == [4, 2, 0] and move.steps_left == 3 and move.inputs_left == 4


def test_an_edge_that_is_not_in_use_stays():
    weak = scaled(small_lattice(), 0, 1, 0.3 * IN_USE)
    assert [record["resource"] for record in plan_move(weak, 0.6, START, []).records] == ["layers", "steps"]
    weaker = scaled(scaled(small_lattice(), 0, 0, 0.01), 0, 1, 0.01)
    assert [record["resource"] for record in plan_move(weaker, 0.6, START, []).records] == ["steps"]
    assert plan_move(weaker, 0.49, START, []) is None


def test_an_edge_that_was_taken_back_since_it_was_extended_stays():
    earlier = [dict(resource="channels", layer=1, after=4), dict(resource="layers", layer=None, after=2)]
    earlier += [dict(resource="steps", layer=None, after=3)]
    assert plan_move(small_lattice(), 0.9, START, earlier) is None


def test_bounds_are_not_passed():
    move = plan_move(small_lattice((5, 3, 4)), 1.0, (5, 3, 4), [])
    assert resources(move) == [("channels", layer, 5, 6) for layer in (1, 2, 3)]
    full = small_lattice((6, 3, 4))
    assert plan_move(full, 1.0, (6, 3, 4), []) is None


@pytest.mark.parametrize("n_epochs, epochs", [(30, [3, 6, 9, 12]), (4, [1]), (1, []), (10, [1, 2, 3, 4])])
def test_moves_come_at_a_tenth_of_training_each_in_its_first_half(n_epochs, epochs):
    assert [epoch for epoch in range(1, n_epochs + 1) if is_time_to_grow(epoch, n_epochs)] == epochs


@pytest.mark.parametrize("n_epochs, epochs", [(30, [1, 2]), (150, [5, 10]), (10, [1, 2]), (4, [1]), (1, [])])
def test_where_they_have_a_price_channels_and_layers_come_before_prices_rise(n_epochs, epochs):
    assert [epoch for epoch in range(1, n_epochs + 1) if is_time_to_widen(epoch, n_epochs, True)] == epochs
    later = [epoch for epoch in range(1, n_epochs + 1) if is_time_to_widen(epoch, n_epochs, False)]
    assert later == [epoch for epoch in range(1, n_epochs + 1) if is_time_to_grow(epoch, n_epochs)]


def test_later_moves_under_prices_are_of_steps_alone():
    assert [record["resource"] for record in plan_move(small_lattice(), 0.6, START, [], widen=False).records] == [
        "steps"
    ]
    net = growing_net()
    net.history.new_epoch()
    net.history.new_epoch()  # the third of ten
    assert [record["resource"] for record in move_all(net)] == ["steps"]


def test_a_net_grows_and_keeps_its_moments_and_its_lattice():
    net = growing_net()
    lattice, optimizer, before = net.module_, net.optimizer_, net.moments()
    old = lattice.lateral[0].weight.detach().clone()
    records = move_all(net)
    assert net.module_ is lattice and net.optimizer_ is optimizer and records == net.growth_
    assert lattice.channels_left == [4, 2] and lattice.steps_left == 3
    assert torch.equal(lattice.lateral[0].weight[:2, :2], old)
    assert (lattice.lateral[0].weight[:2, 2:] != 0).all()  # what was there reads what is new
    after = net.moments()
    assert torch.equal(after["lateral.0.weight.exp_avg"][:2, :2], before["lateral.0.weight.exp_avg"])
    assert "lateral.1.weight.exp_avg" not in after
    net.train_epoch(batches_for(lattice), 0.1, 0.2)
    assert net.history[-1]["channels"] == 6 and net.history[-1]["layers"] == 2 and net.history[-1]["steps"] == 3
    assert net.history[-2]["channels"] == 2


def test_records_say_what_was_added_and_why():
    net = growing_net()
    macs = net.module_.macs()
    first = move_all(net)[0]
    assert (first["epoch"], first["resource"], first["layer"], first["before"], first["after"]) == (
        1,
        "channels",
        1,
        2,
        4,
    )
    assert first["statistic"] >= first["bar"] == IN_USE
    assert first["macs_before"] == macs < first["macs_after"] == net.module_.macs()
    assert first["new_channels"] == [[2, 3], [0, 1], []]
    assert as_line(first).startswith("grown after epoch 1: channels of layer 1 from 2 to 4, for ")


def test_what_is_drawn_depends_on_the_generator_alone():
    one, same, other = growing_net(), growing_net(), growing_net()
    for net, seed in ((one, 0), (same, 0), (other, 1)):
        move_all(net, seed)
    assert torch.equal(one.module_.lateral[1].weight, same.module_.lateral[1].weight)
    assert not torch.equal(one.module_.lateral[1].weight, other.module_.lateral[1].weight)


def test_the_last_steps_mean_weight_is_that_of_the_images():
    net = growing_net(lr=1e-15)
    images = torch.as_tensor(batches_for(net.module_).data.images)
    with torch.no_grad():
        expected = net.module_(images).weights[:, 1].mean()
    assert float(net.last_step_weight_) == pytest.approx(float(expected), rel=1e-6)


def test_young_channels_and_steps_are_safe_from_compaction_until_the_next_move():
    net = growing_net(annealing=(0.0, 0.0))
    net.max_epochs = 20  # a move every other epoch
    move_all(net)
    young = young_channels(net)
    assert young.sum(dim=1).tolist() == [2, 2, 0] and has_young_steps(net)
    with torch.no_grad():
        for layer in range(2):
            for kernel in writers(net.module_, layer):
                kernel.weight.zero_()
    net.ramp_, net.tail_weights_, net.score_norms_ = 1.0, torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.ones(4)
    compact_net(net)
    assert torch.equal(net.module_.mask & young, young) and net.module_.channels_left == [3, 2]
    assert net.module_.steps_left == 3
    net.history.new_epoch()
    compact_net(net)
    assert net.module_.steps_left == 3
    net.history.new_epoch()
    compact_net(net)
    assert net.module_.channels_left == [1] and net.module_.steps_left == 1


def test_the_rate_is_flat_while_a_lattice_without_prices_grows_and_then_falls_to_nothing():
    free = dict(pressures={"breadth": 0.0, "depth": 0.0, "time": 0.1})
    net, plain = net_of(small_lattice(), growth_share=0.5, **free), net_of(small_lattice(), growth_share=0.5)
    net.train_epoch(batches_for(net.module_), 0.0, 0.0)
    plain.train_epoch(batches_for(net.module_), 0.0, 0.0)
    for progress, share in ((0.3, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.0)):
        net._set_progress(progress, decay=True)
        assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(share * net.full_lr_)
    plain._set_progress(0.5, decay=True)
    assert plain.optimizer_.param_groups[0]["lr"] == pytest.approx(0.5 * plain.full_lr_)
