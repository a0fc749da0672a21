import math

import pytest
import torch

from growlattice._costs import breadth_cost, depth_cost, error_cost, time_cost
from growlattice._lattice import Lattice
from growlattice._net import LatticeNet, cosine_decay, ramp, seeded_generator


def make_net(pressures=(0.0, 0.0, 0.0), extra=None, **parameters):
    lattice = Lattice(
        (1, 4, 4),
        3,
        n_channels=3,
        n_layers=2,
        n_steps=2,
        kernel_size=3,
        time_selection="adaptive",
        temperature=5.0,
        generator=seeded_generator(0),
    )
    names = ("breadth", "depth", "time")
    defaults = dict(position_power=4.0, noise=0.1, annealing=(0.1, 0.5), seed=0, lr=0.1, verbose=0)
    return LatticeNet(
        lattice,
        pressures=dict(zip(names, pressures, strict=True))
        | {name: price for name, (_, price) in (extra or {}).items()},
        extra_costs={name: cost for name, (cost, _) in (extra or {}).items()},
        **{**defaults, **parameters},
    ).initialize()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 1, 4, 4, generator=generator), torch.tensor([0, 1, 2, 1, 0])


@pytest.mark.parametrize("progress, expected", [(0.0, 0.0), (0.1, 0.0), (0.2, 0.25), (0.5, 1.0), (1.0, 1.0)])
def test_ramp_is_flat_then_linear_then_flat(progress, expected):
    assert ramp(progress, 0.1, 0.5) == pytest.approx(expected)


def test_ramp_without_length_is_a_step():
    assert [ramp(progress, 0.3, 0.3) for progress in (0.2, 0.3, 0.4)] == [0.0, 1.0, 1.0]
    assert ramp(0.0, 0.0, 0.0) == 1.0


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_cosine_decay_equals_that_of_torch(progress):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for _ in range(round(100 * progress)):
        optimizer.step()
        schedule.step()
    assert cosine_decay(progress) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)


def test_streams_differ_and_repeat():
    draws = {
        stream: torch.rand(4, generator=seeded_generator(*stream)) for stream in [(0,), (0, 1), (0, 2), (1,), (0, 0, 0)]
    }
    assert len({tuple(draw.tolist()) for draw in draws.values()}) == 5
    assert torch.equal(draws[0, 1], torch.rand(4, generator=seeded_generator(0, 1)))


def test_loss_in_training_is_the_error_and_every_annealed_price(batch):
    images, labels = batch
    net = make_net((0.3, 0.5, 0.7), extra={"energy": (lambda lattice, output: output.activity.mean(), 0.9)})
    net.ramp_, net.sums_, net.late_weights_ = 0.25, {}, torch.zeros(())
    output = net.module_(images)
    magnitude = net.module_.channel_magnitude()
    prices = (
        0.3 * breadth_cost(magnitude, 4.0)
        + 0.5 * depth_cost(magnitude, 4.0)
        + 0.7 * time_cost(output.weights)
        + 0.9 * output.activity.mean()
    )
    expected = error_cost(output.log_probas, labels) + 0.25 * prices
    loss = net.get_loss(output, (labels, None), training=True)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_prices_are_charged_in_training_only(batch):
    images, labels = batch
    net = make_net((1.0, 1.0, 1.0))
    output = net.module_(images)
    assert net.get_loss(output, (labels, None), training=False).item() == pytest.approx(
        error_cost(output.log_probas, labels).item()
    )


def test_schedule_moves_learning_rate_noise_and_pressures():
    net = make_net()
    net._set_progress(0.3, decay=True)
    assert net.ramp_ == pytest.approx(0.5)
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(0.1 * (1 + math.cos(0.3 * math.pi)) / 2)
    net._set_progress(0.3, decay=False)
    assert net.optimizer_.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("value", [torch.zeros(3), 0.5, None])
def test_an_extra_cost_must_be_a_scalar_tensor(batch, value):
    images, labels = batch
    net = make_net(extra={"energy": (lambda lattice, output: value, 1.0)})
    net.ramp_, net.sums_, net.late_weights_ = 1.0, {}, torch.zeros(())
    with pytest.raises(ValueError, match="The extra cost 'energy' returned .* Return a scalar tensor"):
        net.get_loss(net.module_(images), (labels, None), training=True)
