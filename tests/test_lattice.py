import math

import numpy as np
import pytest
import torch

from growlattice import _lattice
from growlattice._lattice import Lattice, divisive_normalization, time_selection_weights

from . import reference


def fresh_lattice(
    n_channels=3, n_layers=3, n_steps=3, kernel_size=3, time_selection="adaptive", shape=(2, 4, 3), seed=0
):
    return Lattice(
        shape,
        4,
        n_channels=n_channels,
        n_layers=n_layers,
        n_steps=n_steps,
        kernel_size=kernel_size,
        time_selection=time_selection,
        temperature=5.0,
        generator=torch.Generator().manual_seed(seed),
    ).double()


def make_lattice(seed=0, **parameters):
    lattice = fresh_lattice(seed=seed, **parameters)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():  # biases, normalization and time selection that matter
        for name, tensor in [*lattice.named_parameters(), *lattice.named_buffers()]:
            if name.endswith("bias") or name in ("pixel_mean", "step_scores", "selector.2.weight"):
                tensor.normal_(generator=generator)
            elif name == "pixel_std":
                tensor.uniform_(0.5, 2, generator=generator)
    return lattice


def as_arrays(lattice):
    return {name: tensor.numpy() for name, tensor in lattice.state_dict().items()}


def make_images(n_images=2, shape=(2, 4, 3), seed=2):
    return torch.randn(n_images, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


SIZES = [
    dict(n_channels=1, n_layers=1, n_steps=1, kernel_size=1),
    dict(n_channels=3, n_layers=1, n_steps=3, kernel_size=3),
    dict(n_channels=2, n_layers=2, n_steps=1, kernel_size=5),
    dict(n_channels=3, n_layers=3, n_steps=3, kernel_size=3),
    dict(n_channels=2, n_layers=4, n_steps=2, kernel_size=1),
]


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
@pytest.mark.parametrize("sizes", SIZES)
def test_forward_equals_naive_reference(sizes, time_selection):
    lattice, images = make_lattice(**sizes, time_selection=time_selection), make_images()
    with torch.no_grad():
        output = lattice(images)
    for index, image in enumerate(images.numpy()):
        weights, step_probas, probas = reference.forward(
            as_arrays(lattice), image, sizes["n_layers"], sizes["n_steps"], temperature=5.0
        )
        np.testing.assert_allclose(output.weights[index], weights, atol=1e-10)
        np.testing.assert_allclose(output.step_log_probas[index].exp(), step_probas, atol=1e-10)
        np.testing.assert_allclose(output.log_probas[index].exp(), probas, atol=1e-10)


@pytest.mark.parametrize("term", ["top_down", "lateral", "top_layer", "step_1"])
def test_every_term_matters(term):
    """Without the term the reference gives another answer, so the test above fails if the lattice drops it."""
    lattice, image = make_lattice(), make_images(1)
    with torch.no_grad():
        probas = lattice(image).log_probas[0].exp()
    with_term, without = (
        reference.forward(as_arrays(lattice), image[0].numpy(), 3, 3, temperature=5.0, drop=drop)[2]
        for drop in ((), (term,))
    )
    np.testing.assert_allclose(probas, with_term, atol=1e-10)
    assert np.abs(with_term - without).max() > 1e-4


def test_noise_is_added_to_every_hidden_state_and_accumulates():
    lattice, image = make_lattice(), make_images(1)
    sigma, draws = 0.3, torch.Generator().manual_seed(5)
    noise = np.array(  # drawn as (height, width, channels)
        [
            [torch.randn(4, 3, 3, generator=draws, dtype=torch.float64).permute(2, 0, 1).numpy() for _ in range(3)]
            for _ in range(3)
        ]
    )
    with torch.no_grad():
        output = lattice(image, noise=sigma, generator=torch.Generator().manual_seed(5))
    _, _, probas = reference.forward(as_arrays(lattice), image[0].numpy(), 3, 3, temperature=5.0, noise=sigma * noise)
    np.testing.assert_allclose(output.log_probas[0].exp(), probas, atol=1e-10)


def test_no_noise_unless_asked_for():
    lattice, images = make_lattice(), make_images()
    for training in (True, False):
        lattice.train(training)
        assert torch.equal(lattice(images).log_probas, lattice(images).log_probas)


def test_top_layer_gets_no_top_down_input():
    lattice = make_lattice(n_layers=3)
    assert (len(lattice.bottom_up), len(lattice.lateral), len(lattice.top_down)) == (3, 3, 2)


def test_divisive_normalization_by_hand():
    drive = torch.tensor([[[[2.0]], [[-4.0]], [[0.0]]]])  # one pixel, mean magnitude 2
    assert divisive_normalization(drive, n_channels=3).flatten().tolist() == pytest.approx([2 / 3, -4 / 3, 0.0])


def test_time_selection_by_hand():
    # scores of norm 5 become 0.6 and 0.8, so the weights are a softmax of 3 and 4
    weights = time_selection_weights(torch.tensor([[3.0, 4.0]]), temperature=5.0).exp()
    assert weights.tolist()[0] == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])


def test_time_selection_ignores_the_scale_of_scores():
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(time_selection_weights(scores, 5.0), time_selection_weights(1e-3 * scores, 5.0))


def test_adaptive_weights_differ_between_images_and_fixed_do_not():
    images = make_images(3)
    adaptive, fixed = (make_lattice(time_selection=kind)(images).weights.detach() for kind in ("adaptive", "fixed"))
    assert torch.equal(fixed[0], fixed[1])
    assert not torch.allclose(adaptive[0], adaptive[1])


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_a_fresh_lattice_weighs_all_steps_equally(time_selection):
    weights = fresh_lattice(n_steps=5, time_selection=time_selection)(make_images(3)).weights.detach()
    torch.testing.assert_close(weights, torch.full((3, 5), 0.2, dtype=torch.float64))


def test_channel_magnitude_equals_naive_reference():
    lattice = make_lattice(n_channels=3, n_layers=3)
    fan_in = 3 * 9
    up, side = (
        gain / fan_in**0.5 * (2 / math.pi) ** 0.5 for gain in (_lattice.BOTTOM_UP_GAIN, _lattice.RECURRENT_GAIN)
    )
    expected = [(up + 2 * side) / 3, (up + 2 * side) / 3, (up + side) / 2]
    magnitude = lattice.channel_magnitude().detach()
    np.testing.assert_allclose(magnitude, reference.channel_magnitude(as_arrays(lattice), 3, expected), rtol=1e-12)


@pytest.mark.parametrize("n_channels, kernel_size", [(8, 3), (32, 3), (32, 1)])
def test_channel_magnitude_of_a_fresh_lattice_is_about_one(n_channels, kernel_size):
    magnitude = make_lattice(n_channels=n_channels, n_layers=5, kernel_size=kernel_size).channel_magnitude()
    assert magnitude.shape == (5, n_channels)
    assert magnitude.mean(dim=1).tolist() == pytest.approx([1.0] * 5, abs=0.1)


def test_gradients_reach_every_parameter():
    lattice = make_lattice()
    output = lattice(make_images())
    (output.log_probas[:, 0].sum() + output.weights[:, 0].sum()).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in lattice.parameters())


def test_gradients_pass_gradcheck():
    lattice, images = make_lattice(n_channels=2, n_layers=2, n_steps=2), make_images(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda pixels: lattice(pixels).log_probas, images)


def test_one_pixel_images_have_kernels_of_one():
    lattice = make_lattice(shape=(5, 1, 1))
    assert {kernel.weight.shape[2:] for kernel in lattice.bottom_up} == {(1, 1)}


def test_bytes_and_floats_give_the_same_answer():
    lattice = make_lattice()
    images = torch.randint(0, 256, (2, 2, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(lattice(images).log_probas, lattice(images.double()).log_probas)
