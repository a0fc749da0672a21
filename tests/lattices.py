"""Small lattices in float64, with weights that matter everywhere, and the same without some channels."""

import pickle

import torch

from growlattice.lattice import Lattice


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


def make_images(n_images=2, shape=(2, 4, 3), seed=2):
    return torch.randn(n_images, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def as_arrays(lattice):
    return {name: tensor.numpy() for name, tensor in lattice.state_dict().items()}


def copy_of(lattice):
    return pickle.loads(pickle.dumps(lattice))


def writers(lattice, layer):
    """The convolutions that write a layer's channels."""
    return [lattice.bottom_up[layer], lattice.lateral[layer], *lattice.top_down[layer : layer + 1]]


def masked(lattice, mask):
    """A full-size copy whose channels outside the mask are silent: nothing is written to them."""
    copy = copy_of(lattice)
    for layer in range(len(copy.bottom_up)):
        for kernel in writers(copy, layer):
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
