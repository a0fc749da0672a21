import math

import pytest
import torch

from growlattice.lattice import breadth_cost, depth_cost, error_cost, time_cost


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


def test_breadth_cost_by_hand():
    # layer 1 ranks 3, 2, 1 and layer 2 ranks 4, 0, 0 at prices 1/9, 4/9, 1
    magnitude = torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 4.0]])
    prices = [1 / 9, 4 / 9, 1]
    first = (3 * prices[0] + 2 * prices[1] + 1 * prices[2]) / sum(prices)
    second = 4 * prices[0] / sum(prices)
    assert breadth_cost(magnitude, position_power=2).item() == pytest.approx((first + second) / 2)


def test_breadth_cost_does_not_depend_on_the_order_of_channels():
    magnitude = uniform(3, 7)
    assert breadth_cost(magnitude, 4.0).item() == pytest.approx(breadth_cost(magnitude.flip(1), 4.0).item())


def test_breadth_cost_takes_ranks_as_constant():
    magnitude = torch.tensor([[0.2, 0.9]], requires_grad=True)
    breadth_cost(magnitude, position_power=1).backward()
    # the weaker channel ranks second and pays 1 against 1/2
    assert magnitude.grad.tolist()[0] == pytest.approx([1 / 1.5, 0.5 / 1.5])


def test_depth_cost_by_hand():
    magnitude = torch.tensor([[1.0, 3.0], [2.0, 0.0], [5.0, 7.0]])
    prices = [(1 / 3) ** 4, (2 / 3) ** 4, 1.0]
    expected = (2 * prices[0] + 1 * prices[1] + 6 * prices[2]) / sum(prices)
    assert depth_cost(magnitude, position_power=4).item() == pytest.approx(expected)


def test_time_cost_by_hand():
    weights = torch.tensor([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
    assert time_cost(weights).item() == pytest.approx((2.25 + 1) / 2 / 3)


@pytest.mark.parametrize("n_channels, n_layers, power", [(4, 2, 4.0), (64, 8, 4.0), (16, 1, 0.0)])
def test_space_costs_of_unit_magnitudes_are_one_at_any_size(n_channels, n_layers, power):
    ones = torch.ones(n_layers, n_channels)
    assert breadth_cost(ones, power).item() == pytest.approx(1.0)
    assert depth_cost(ones, power).item() == pytest.approx(1.0)


def test_costs_pass_gradcheck():
    magnitude = uniform(3, 4).requires_grad_()
    weights = uniform(5, 4).softmax(dim=1).requires_grad_()
    log_probas = uniform(5, 3).log_softmax(dim=1).requires_grad_()
    labels, sample_weight = torch.tensor([0, 2, 1, 1, 0]), uniform(5)
    assert torch.autograd.gradcheck(lambda x: breadth_cost(x, 4.0), magnitude)
    assert torch.autograd.gradcheck(lambda x: depth_cost(x, 4.0), magnitude)
    assert torch.autograd.gradcheck(time_cost, weights)
    assert torch.autograd.gradcheck(lambda x: error_cost(x, labels, sample_weight), log_probas)
