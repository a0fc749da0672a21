"""Small lattices in float64, with weights that matter everywhere, and the same without some channels."""

import pickle

import torch

from growlattice.lattice import Lattice


def fresh_lattice(
    n_channels=3,
    n_layers=3,
    n_steps=3,
    kernel_size=3,
    time_selection="adaptive",
    shape=(2, 4, 3),
    downsample=1,
    task="classification",
    seed=0,
):
    return Lattice(
        shape,
        4,
        task=task,
        n_channels=n_channels,
        n_layers=n_layers,
        n_steps=n_steps,
        kernel_size=kernel_size,
        time_selection=time_selection,
        temperature=5.0,
        downsample=downsample,
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


def part_of(name, tensor, small, large):
    """The part of a parameter of a large lattice, or of its gradient, that belongs to a small one in its corner.

    A view; None if all of it belongs to layers that the small one lacks.
    """
    family, *place = name.split(".")
    c, n_layers = small.n_channels, small.n_layers
    if family == "input":
        return tensor[:c]
    if family in ("bottom_up", "lateral", "top_down"):
        if int(place[0]) >= n_layers - (family == "top_down"):
            return None
        return tensor[:c, :c] if tensor.dim() > 1 else tensor[:c]
    if name in ("readout.weight", "selector.0.weight"):
        return tensor.unflatten(1, (large.n_layers, large.n_channels))[:, :n_layers, :c]
    return tensor[: small.n_steps] if family == "step_scores" else tensor


def embedded(small, n_channels, n_layers, n_steps, other_scores=0.0):
    """A lattice that reaches further, in which the small one is the corner and everything else is silent.

    No kernel writes or reads what is silent; readout and time selection read it as everything else. With fixed time
    selection, `other_scores` are the scores of the steps that the small one lacks.
    """
    sizes = dict(n_channels=n_channels, n_layers=n_layers, n_steps=n_steps)
    selection = "fixed" if small.selector is None else "adaptive"
    shape, kernel_size = small.config["image_shape"], small.config["kernel_size"]
    large = make_lattice(seed=11, **sizes, kernel_size=kernel_size, time_selection=selection, shape=shape)
    large.config["temperature"] = large.temperature = small.temperature
    values = dict(small.named_parameters())
    with torch.no_grad():
        for name, parameter in large.named_parameters():
            if parameter.dim() == 4 or name.startswith(("input", "bottom_up")):
                parameter.zero_()
            if name == "step_scores":
                parameter.fill_(other_scores)
            part = part_of(name, parameter, small, large)
            if part is not None:
                part.copy_(values[name].reshape(part.shape))
        for name in ("pixel_mean", "pixel_std"):
            getattr(large, name).copy_(getattr(small, name))
    return large
