"""Channels drawn so that they lower the error cost of some images; the table is tested with its display."""

import numpy as np
import pytest
import torch

from growlattice._training import _expressivity
from growlattice._training._expressivity import draw_by_gain, expressivity
from growlattice._training._growth import Move, first_form, grow_net
from growlattice._training._net import seeded_generator
from growlattice._training._training_set import TrainingSet
from growlattice.lattice import Lattice

from ..lattices import fresh_lattice
from .test_growth import START, growing_net, small_lattice


def regressing_lattice():
    config = fresh_lattice(task="regression", n_channels=6, n_steps=4).config
    return Lattice(**config, **first_form(config, START), generator=seeded_generator(1)).double()


def training_set(lattice, weights=None):
    rng, n_outputs = np.random.RandomState(0), lattice.config["n_outputs"]
    images = rng.rand(12, *lattice.config["image_shape"])
    numbers = lattice.config["task"] == "regression"
    targets = rng.randn(12, n_outputs) if numbers else rng.randint(n_outputs, size=12)
    return TrainingSet(images, targets, weights).upload(torch.device("cpu"))


def move_of(lattice, steps_left=None):
    """Two channels in the first layer, and a second one."""
    mask = lattice.mask.clone()
    mask[0, :4] = True
    mask[1, :2] = True
    return Move(mask, steps_left or lattice.steps_left, 4, [])


def error(lattice, data):
    with torch.no_grad():
        output = lattice(torch.as_tensor(data.images))
        targets = data.targets.double() if data.targets.is_floating_point() else data.targets
        return float(lattice.task.error(output, targets, data.sample_weight))


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 1, 12)])
@pytest.mark.parametrize("make", [small_lattice, regressing_lattice])
def test_channels_drawn_by_gain_lower_the_error_of_the_images(make, weights):
    lattice = make()
    data = training_set(lattice, weights)
    larger = draw_by_gain(data, lattice, move_of(lattice), seeded_generator(0))
    assert larger.channels_left == [4, 2] and larger.inputs_left == 4
    assert error(larger, data) < error(lattice, data)
    assert lattice.channels_left == [2]


def test_the_unit_of_weights_does_not_matter_and_no_weight_is_absence():
    lattice, weights = regressing_lattice(), np.arange(12.0)
    tables = [expressivity(lattice, training_set(lattice, unit * weights), 2) for unit in (1, 100)]
    data = training_set(lattice, weights)
    without = TrainingSet(data.images[1:], data.targets[1:], data.sample_weight[1:])
    for row, other, third in zip(*tables, expressivity(lattice, without, 2), strict=True):
        assert row == pytest.approx(other) and row["unreachable"] == pytest.approx(third["unreachable"])


def test_steps_of_the_move_are_added_too():
    lattice = small_lattice()
    larger = draw_by_gain(training_set(lattice), lattice, move_of(lattice, 3), seeded_generator(0))
    assert larger.steps_left == 3 and larger.log_step_share[2] < 0


def test_some_images_stand_for_all(monkeypatch):
    monkeypatch.setattr(_expressivity, "PIXELS", 4 * 3 * 8)
    monkeypatch.setattr(_expressivity, "FEWEST", 5)
    lattice = small_lattice()
    data = training_set(lattice)
    some, same = (_expressivity.some_images(data, seeded_generator(0)) for _ in range(2))
    assert len(some) == 8 and np.array_equal(some.images, same.images)
    for image, target in zip(some.images, some.targets, strict=True):
        (row,) = np.flatnonzero((data.images == image).all(axis=(1, 2, 3)))
        assert target == data.targets[row]


def test_a_record_of_what_was_not_added_is_not_kept():
    net = growing_net()
    net.last_step_weight_ = torch.tensor(0.9)

    def only_the_layer(lattice, move, generator):
        return draw_by_gain(training_set(lattice), lattice, move, generator, find=only_on_top)

    def only_on_top(lattice, runs, layer, n_candidates):
        found = _expressivity.best_channels(lattice, runs, layer, n_candidates)
        return found if layer else type(found)(found.incoming[:0], found.outgoing[:0], found.gain[:0])

    records = grow_net(net, 10, START, seeded_generator(0), only_the_layer)
    assert [record["resource"] for record in records] == ["layers", "steps"]
    assert net.module_.channels_left == [2, 2] and records[0]["new_channels"] == [[], [0, 1], []]
    assert net.module_.inputs_left == 2
    net.last_step_weight_ = torch.tensor(0.0)
    assert grow_net(net, 10, START, seeded_generator(0), lambda lattice, move, generator: lattice) == []
