import math

import pytest
import torch

from growlattice.lattice import breadth_cost, depth_cost, error_cost, squared_error_cost, time_cost

from .. import reference
from ..lattices import fresh_lattice, make_images


def uniform(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_error_cost_by_hand():
    log_probas = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).log()
    expected = -(math.log(0.5) + math.log(0.1)) / 2 / math.log(3)
    assert error_cost(log_probas, torch.tensor([0, 1])).item() == pytest.approx(expected)


@pytest.mark.parametrize("n_classes", [2, 10, 200])
def test_error_cost_is_one_at_chance(n_classes):
    log_probas = torch.full((3, n_classes), -math.log(n_classes))
    assert error_cost(log_probas, torch.tensor([0, 1, 1])).item() == pytest.approx(1.0)


def test_error_cost_weighs_images():
    log_probas = torch.tensor([[0.5, 0.5], [0.2, 0.8]]).log()
    weights = torch.tensor([1.5, 0.5])
    expected = -(1.5 * math.log(0.5) + 0.5 * math.log(0.8)) / 2 / math.log(2)
    assert error_cost(log_probas, torch.tensor([0, 1]), weights).item() == pytest.approx(expected)


def test_squared_error_cost_by_hand():
    values, targets = torch.tensor([[1.0, 2.0], [0.0, 0.5]]), torch.tensor([[0.0, 4.0], [3.0, 0.5]])
    assert squared_error_cost(values, targets).item() == pytest.approx((1 + 4 + 9 + 0) / 4)
    weights = torch.tensor([1.5, 0.5])
    assert squared_error_cost(values, targets, weights).item() == pytest.approx((1.5 * 2.5 + 0.5 * 4.5) / 2)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_squared_error_cost_of_the_mean_is_one(n_outputs):
    numbers = uniform(50, n_outputs)
    targets = (numbers - numbers.mean(dim=0)) / numbers.std(dim=0, correction=0)
    assert squared_error_cost(torch.zeros_like(targets), targets).item() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("n_images, n_outputs", [(1, 1), (5, 1), (7, 3)])
def test_squared_error_cost_equals_naive_reference_and_passes_gradcheck(n_images, n_outputs):
    values, targets = uniform(n_images, n_outputs).requires_grad_(), uniform(n_images, n_outputs, seed=1)
    expected = reference.squared_error_cost(values.tolist(), targets.tolist())
    assert squared_error_cost(values, targets).item() == pytest.approx(expected, rel=1e-12)
    weights = uniform(n_images, seed=2)
    assert torch.autograd.gradcheck(lambda x: squared_error_cost(x, targets, weights), values)


# Sums of the prices rank ** power over 16 ranks and height ** power over 4 layers.
RANKS, HEIGHTS = {0: 16, 1: 136, 4: 243_848}, {0: 4, 1: 10, 4: 354}
BELOW = torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 4.0]], dtype=torch.float64)  # 2 layers of 3 channels
AT = torch.arange(1.0, 5, dtype=torch.float64)[:, None].expand(4, 16)  # every channel of layer l is l
ABOVE = torch.ones(6, 20, dtype=torch.float64)


@pytest.mark.parametrize(
    "magnitude, power, expected",
    [
        (BELOW, 0, (3 + 2 + 1 + 4) / RANKS[0] / 4),
        (BELOW, 1, (3 * 1 + 2 * 2 + 1 * 3 + 4 * 1) / RANKS[1] / 4),
        (BELOW, 4, (3 * 1 + 2 * 16 + 1 * 81 + 4 * 1) / RANKS[4] / 4),
        (AT, 0, 2.5),
        (AT, 1, 2.5),
        (AT, 4, 2.5),
        (ABOVE, 0, 6 / 4 * 20 / RANKS[0]),
        (ABOVE, 1, 6 / 4 * 210 / RANKS[1]),
        (ABOVE, 4, 6 / 4 * 722_666 / RANKS[4]),
    ],
)
def test_breadth_cost_by_hand(magnitude, power, expected):
    assert breadth_cost(magnitude, position_power=power).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "magnitude, power, expected",
    [
        (BELOW, 0, (6 * 1 + 4 * 1) / 16 / HEIGHTS[0]),
        (BELOW, 1, (6 * 1 + 4 * 2) / 16 / HEIGHTS[1]),
        (BELOW, 4, (6 * 1 + 4 * 16) / 16 / HEIGHTS[4]),
        (AT, 0, 2.5),
        (AT, 1, (1 + 4 + 9 + 16) / HEIGHTS[1]),
        (AT, 4, (1 * 1 + 16 * 2 + 81 * 3 + 256 * 4) / HEIGHTS[4]),
        (ABOVE, 0, 1.25 * 6 / HEIGHTS[0]),
        (ABOVE, 1, 1.25 * 21 / HEIGHTS[1]),
        (ABOVE, 4, 1.25 * 2275 / HEIGHTS[4]),
    ],
)
def test_depth_cost_by_hand(magnitude, power, expected):
    assert depth_cost(magnitude, position_power=power).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "weights, expected",
    [
        ([[0.25, 0.75]], 1.75 / 4),
        ([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]], (2.25 + 1) / 2 / 4),
        ([[0.25, 0.25, 0.25, 0.25]], 2.5 / 4),
        ([[0.0, 0.0, 0.0, 1.0]], 1.0),
        ([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 0.0, 0.0, 0.5, 0.0]], (6 + 3.5) / 2 / 4),
    ],
)
def test_time_cost_by_hand(weights, expected):
    assert time_cost(torch.tensor(weights)).item() == pytest.approx(expected)


def test_time_cost_weighs_images():
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert time_cost(weights, torch.tensor([1.5, 0.5])).item() == pytest.approx((1.5 * 1 + 0.5 * 2) / 2 / 4)


SIZES = pytest.mark.parametrize("n_layers, n_channels", [(2, 3), (4, 16), (6, 20), (1, 20), (6, 1)])


@SIZES
@pytest.mark.parametrize("power", [0.0, 1.0, 2.5, 4.0])
def test_space_costs_equal_naive_reference(n_layers, n_channels, power):
    magnitude = uniform(n_layers, n_channels)
    for cost in (breadth_cost, depth_cost):
        expected = getattr(reference, cost.__name__)(magnitude.tolist(), power)
        assert cost(magnitude, power).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_steps", [1, 2, 4, 6])
def test_time_cost_equals_naive_reference(n_steps):
    weights = uniform(5, n_steps).softmax(dim=1)
    assert time_cost(weights).item() == pytest.approx(reference.time_cost(weights.tolist()), rel=1e-12)


@pytest.mark.parametrize("power", [0.0, 1.0, 4.0])
def test_at_the_reference_size_costs_are_means_over_all_that_there_is(power):
    magnitude, weights = uniform(4, 16), uniform(5, 4).softmax(dim=1)

    def shares(n):
        prices = (torch.arange(1, n + 1, dtype=torch.float64) / n) ** power
        return prices / prices.sum()

    breadth = (magnitude.sort(dim=1, descending=True).values @ shares(16)).mean()
    depth = magnitude.mean(dim=1) @ shares(4)
    time = (weights @ torch.arange(1.0, 5, dtype=torch.float64)).mean() / 4
    torch.testing.assert_close(breadth_cost(magnitude, power), breadth, rtol=1e-12, atol=0)
    torch.testing.assert_close(depth_cost(magnitude, power), depth, rtol=1e-12, atol=0)
    torch.testing.assert_close(time_cost(weights), time, rtol=1e-12, atol=0)


@SIZES
@pytest.mark.parametrize("power", [0.0, 4.0])
def test_channels_and_layers_of_no_magnitude_cost_nothing(n_layers, n_channels, power):
    magnitude = uniform(n_layers, n_channels)
    wider = torch.nn.functional.pad(magnitude, (0, 13, 0, 3))
    for cost in (breadth_cost, depth_cost):
        torch.testing.assert_close(cost(wider, power), cost(magnitude, power), rtol=1e-12, atol=0)


def test_what_a_channel_costs_more_depends_on_its_rank_and_height_alone():
    for n_layers, n_channels in ((3, 4), (4, 16), (8, 40)):
        magnitude = torch.zeros(n_layers, n_channels, dtype=torch.float64)
        magnitude[0, :3], magnitude[2, :2] = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([5.0, 4.0])
        magnitude.requires_grad_()
        (breadth_cost(magnitude, 1.0) + depth_cost(magnitude, 4.0)).backward()
        by_rank, by_height = [r / RANKS[1] / 4 for r in (1, 2, 3)], [h**4 / HEIGHTS[4] / 16 for h in (1, 2, 3)]
        assert magnitude.grad[0, :3].tolist() == pytest.approx([price + by_height[0] for price in by_rank])
        assert magnitude.grad[2, :2].tolist() == pytest.approx([price + by_height[2] for price in by_rank[:2]])


def test_breadth_cost_does_not_depend_on_the_order_of_channels():
    magnitude = uniform(3, 7)
    assert breadth_cost(magnitude, 4.0).item() == pytest.approx(breadth_cost(magnitude.flip(1), 4.0).item())


def test_breadth_cost_takes_ranks_as_constant():
    magnitude = torch.tensor([[0.2, 0.9]], requires_grad=True)
    breadth_cost(magnitude, position_power=1).backward()
    # the weaker channel ranks second and pays 2 against 1
    assert magnitude.grad.tolist()[0] == pytest.approx([2 / 136 / 4, 1 / 136 / 4])


@pytest.mark.parametrize("power", [0.0, 1.0, 4.0])
def test_space_costs_of_unit_magnitudes_are_one_at_the_reference_size(power):
    ones = torch.ones(4, 16)
    assert breadth_cost(ones, power).item() == pytest.approx(1.0)
    assert depth_cost(ones, power).item() == pytest.approx(1.0)


@pytest.mark.parametrize("power, tolerance", [(0.0, 0.01), (1.0, 0.03), (4.0, 0.05)])
def test_fresh_lattices_of_the_reference_size_cost_one_on_average(power, tolerance):
    """In breadth a little less, the more so the dearer the last ranks are, which are those of the smallest channels."""
    lattices = [fresh_lattice(n_channels=16, n_layers=4, n_steps=4, seed=seed) for seed in range(6)]
    magnitudes = [lattice.channel_magnitude().detach() for lattice in lattices]
    breadth, depth = (
        sum(cost(magnitude, power).item() for magnitude in magnitudes) / len(magnitudes)
        for cost in (breadth_cost, depth_cost)
    )
    assert breadth == pytest.approx(1.0, abs=tolerance)
    assert depth == pytest.approx(1.0, abs=0.01)
    # all steps begin with the same weight
    assert time_cost(lattices[0](make_images()).weights.detach()).item() == pytest.approx((1 + 2 + 3 + 4) / 4 / 4)


@SIZES
def test_space_costs_pass_gradcheck(n_layers, n_channels):
    magnitude = uniform(n_layers, n_channels).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: breadth_cost(x, 4.0), magnitude)
    assert torch.autograd.gradcheck(lambda x: depth_cost(x, 4.0), magnitude)


@pytest.mark.parametrize("n_steps", [3, 4, 6])
def test_time_and_error_cost_pass_gradcheck(n_steps):
    weights = uniform(5, n_steps).softmax(dim=1).requires_grad_()
    log_probas = uniform(5, 3).log_softmax(dim=1).requires_grad_()
    labels, sample_weight = torch.tensor([0, 2, 1, 1, 0]), uniform(5)
    assert torch.autograd.gradcheck(time_cost, weights)
    assert torch.autograd.gradcheck(lambda x: time_cost(x, sample_weight), weights)
    assert torch.autograd.gradcheck(lambda x: error_cost(x, labels, sample_weight), log_probas)
