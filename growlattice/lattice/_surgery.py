"""Smaller lattices from larger ones, without some channels, layers and trailing steps, and larger ones from smaller.

Only weights and what belongs to them have the stored form that is cut and extended here; see :class:`Lattice`.
"""

import math

import torch

from ._network import Lattice
from ._weights import CONNECTIONS

STEP_SHARE = 0.05  # of the weight that a new step would have


def drop_unreachable_layers(mask):
    """The mask without layers that get no bottom-up signal, because a layer below them is empty.

    Parameters
    ----------
    mask : tensor of bool of shape (n_layers, n_channels)

    Returns
    -------
    tensor of bool of the same shape

    Examples
    --------
    >>> mask = torch.tensor([[True, False], [False, False], [True, True]])
    >>> drop_unreachable_layers(mask).int().tolist()
    [[1, 0], [0, 0], [0, 0]]
    """
    reached = mask.any(dim=1).int().cumprod(dim=0).bool()
    return mask & reached[:, None]


def compact(lattice, mask, steps_left=None, score_norm=None):
    """A smaller lattice that computes what the lattice computes when the channels outside the mask are silent.

    Parameters
    ----------
    lattice : Lattice
        Itself compacted or not.
    mask : tensor of bool of shape (n_layers, n_channels)
        Channels to keep, among those that the lattice still has.
    steps_left : int, default=None
        Steps to keep, from the first on; by default as many as there are.
    score_norm : float or tensor of shape (), default=None
        Norm of the time-selection scores of the steps kept, as `score_norms` gives it. By default
        that of the lattice.

    Returns
    -------
    Lattice
        With tensors of its own, on the same device.

    Raises
    ------
    ValueError
        If the mask removes everything or has another shape, or if there are fewer steps to keep.
    """
    if mask.shape != lattice.mask.shape or mask.dtype != torch.bool:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)} and holds {mask.dtype}. Give truth values of shape "
            f"{tuple(lattice.mask.shape)}: layers, channels."
        )
    steps_left = lattice.steps_left if steps_left is None else steps_left
    if not 1 <= steps_left <= lattice.steps_left:
        raise ValueError(f"steps_left={steps_left} must be from 1 to {lattice.steps_left}, the steps that are left.")
    state = cut_state(lattice, mask, steps_left, score_norm)
    return lattice_from_tensors(lattice.config, state)


def cut_state(lattice, mask, steps_left, score_norm=None):
    """The state of a lattice without channels and steps; parameters as in :func:`compact`.

    Returns
    -------
    dict of str to tensor
        Copies, for `load_state_dict`.
    """
    mask = drop_unreachable_layers(mask.to(lattice.mask.device) & lattice.mask)
    if not mask.any():
        raise ValueError(
            "The mask removes every channel that the image can reach. Keep at least one in the first layer."
        )
    state = cut_tensors(lattice.state_dict(), lattice.mask, mask, steps_left)
    steps = torch.arange(lattice.n_steps, device=mask.device)
    form = {"mask": mask.clone(), "step_mask": steps < steps_left}
    if score_norm is not None:
        device, dtype = state["score_norm"].device, state["score_norm"].dtype
        form["score_norm"] = torch.as_tensor(score_norm, device=device, dtype=dtype)
    return state | form


def score_norms(output):
    """Norm of the time-selection scores of the first 1, 2, ... steps.

    Scores are normalized over all steps. When trailing steps are removed, those left are scaled to the norm that they
    had among all, on average over images, so that the ratios between their weights stay about the same.

    Parameters
    ----------
    output : LatticeOutput

    Returns
    -------
    tensor of shape (n_images, n_steps)
    """
    return output.scores.square().cumsum(dim=1).sqrt()


def lattice_from_tensors(config, tensors):
    """A lattice from its configuration and its state, which it takes over as it is."""
    left = dict(steps_left=int(tensors["step_mask"].sum()), inputs_left=len(tensors["input.weight"]))
    lattice = Lattice(**config, mask=tensors["mask"], **left)
    lattice.load_state_dict(tensors, assign=True)
    return lattice


def extend(lattice, mask=None, steps_left=None, inputs_left=None, *, generator, outgoing=0.0):
    """A lattice with more channels, layers or steps, within the bounds of its logical form: the inverse of `compact`.

    Kernels that write new channels are drawn as in a fresh lattice. With ``outgoing=0`` nothing that was there reads a
    new channel, so a new layer on top changes no answer. A new channel in a layer that was there changes one thing: it
    joins the pool of divisive normalization, so where it adds x to a pool of S, the other channels of its layer get
    ``(16 + S) / (16 + S + x)`` of what they got. A new step has the weight that its score gives it times 0.05, which
    ``age_steps`` raises to 1; the ratios between the weights of the others stay, if its score is the root
    of the mean square of theirs, as it is with fixed time selection.

    Parameters
    ----------
    lattice : Lattice
    mask : tensor of bool of shape (n_layers, n_channels), default=None
        Channels to have: all that there are, and new ones. By default no new ones.
    steps_left : int, default=None
        Steps to have, at least as many as there are; by default as many.
    inputs_left : int, default=None
        Channels of the input convolution to have, likewise.
    generator : torch.Generator
        Source of the new weights, on the CPU.
    outgoing : float, default=0.0
        Weights with which what was there reads new channels, in units of those of a fresh lattice.

    Returns
    -------
    Lattice
        With tensors of its own, on the same device.

    Raises
    ------
    ValueError
        If something that is there would go, a layer would be empty below another, or a bound is passed.

    Examples
    --------
    A lattice of 2 channels in one layer for 2 steps, and one of 4 channels in two layers for 3:

    >>> sizes = dict(n_channels=4, n_layers=2, n_steps=3, kernel_size=3)
    >>> time = dict(time_selection="fixed", temperature=5.0)
    >>> mask = torch.tensor([[True, True, False, False], [False, False, False, False]])
    >>> left = dict(mask=mask, steps_left=2, inputs_left=2)
    >>> seeded = torch.Generator().manual_seed(0)
    >>> small = Lattice((1, 8, 8), 2, **sizes, **time, **left, generator=seeded)
    >>> everything = torch.ones(2, 4, dtype=torch.bool)
    >>> large = extend(small, everything, steps_left=3, generator=seeded)
    >>> small.channels_left, large.channels_left, large.steps_left
    ([2], [4, 4], 3)
    """
    state = extended_state(lattice, mask, steps_left, inputs_left, generator=generator, outgoing=outgoing)
    return lattice_from_tensors(lattice.config, state)


@torch.no_grad()
def extended_state(lattice, mask=None, steps_left=None, inputs_left=None, *, generator, outgoing=0.0):
    """The state of an extended lattice; parameters as in :func:`extend`.

    Returns
    -------
    dict of str to tensor
        Copies, for `load_state_dict`.
    """
    had, had_steps = lattice.mask.cpu(), lattice.steps_left
    mask = had if mask is None else mask.cpu()
    steps_left, inputs_left = steps_left or had_steps, inputs_left or lattice.inputs_left
    _check_extension(lattice, mask, steps_left, inputs_left)
    fresh = Lattice(
        **lattice.config, mask=mask, steps_left=steps_left, inputs_left=inputs_left, generator=generator
    ).to(lattice.pixel_mean)
    old, new = dict(lattice.named_parameters()), dict(fresh.named_parameters())
    _scale_what_old_reads_of_new(new, _rows(had, mask), lattice.inputs_left, outgoing)
    if "step_scores" in new:
        new["step_scores"].fill_(old["step_scores"].square().mean().sqrt())
    log_step_share = lattice.log_step_share.clone()
    log_step_share[had_steps:steps_left] = math.log(STEP_SHARE)
    form = {"score_norm": lattice.score_norm * (steps_left / had_steps) ** 0.5, "log_step_share": log_step_share}
    kept = {name: getattr(lattice, name).clone() for name in ("pixel_mean", "pixel_std")}
    return fresh.state_dict() | extend_tensors(old, new, had, mask) | form | kept


def extend_tensors(tensors, larger, had, mask):
    """Tensors that belong to an extended lattice's parameters, with those of the lattice before at their places.

    Parameters
    ----------
    tensors : dict of str to tensor
        As for :func:`cut_tensors`.
    larger : dict of str to tensor
        Under the same names, those that the new entries are taken from.
    had, mask : tensor of bool of shape (n_layers, n_channels)
        Channels that the lattice had, and has.

    Returns
    -------
    dict of str to tensor
        Copies.
    """
    rows, extended = _rows(had.cpu(), mask.cpu()), {}
    for name, tensor in tensors.items():
        places = [
            torch.arange(size, device="cpu") if kept is None else kept.nonzero().squeeze(1)
            for size, kept in zip(tensor.shape[:2], _kept(name, rows), strict=False)
        ]
        extended[name] = large = larger[name].detach().clone()
        large[torch.meshgrid(*places, indexing="ij") if places else ...] = tensor.detach()
    return extended


def extend_moments(moments, lattice, had):
    """Moments of an optimizer for an extended lattice: for new entries the first is 0, the second the tensor's mean.

    Parameters
    ----------
    moments : dict of str to tensor
        Under the names of the parameters and "step", "exp_avg" and "exp_avg_sq".
    lattice : Lattice
        Extended.
    had : tensor of bool of shape (n_layers, n_channels)
        Channels that it had.

    Returns
    -------
    dict of str to tensor
        A parameter that is new as a whole has none.
    """
    parameters = dict(lattice.named_parameters())
    larger = {}
    for name, tensor in moments.items():
        parameter, _, kind = name.rpartition(".")
        fill = tensor.mean() if kind == "exp_avg_sq" else tensor.new_zeros(())
        larger[name] = tensor if kind == "step" else fill.expand(parameters[parameter].shape)
    return extend_tensors(moments, larger, had, lattice.mask)


def cut_tensors(tensors, had, mask, steps_left):
    """Tensors that belong to a lattice's parameters, without what belongs to channels, layers and steps that go.

    Parameters
    ----------
    tensors : dict of str to tensor
        Under the names of the parameters, or under those and a suffix, such as the moments of an optimizer.
    had, mask : tensor of bool of shape (n_layers, n_channels)
        Channels that the lattice has, and those of them to keep.
    steps_left : int
        Steps to keep.

    Returns
    -------
    dict of str to tensor
        Copies. A number, which belongs to a parameter as a whole, stays as it is.
    """
    rows = _rows(mask, had)
    depth = int(mask.any(dim=1).sum())
    left = {}
    for name, tensor in tensors.items():
        if _highest_layer(name) >= depth:
            continue
        for axis, kept in enumerate(_kept(name, rows)[: tensor.dim()]):
            if kept is not None:
                tensor = tensor[kept] if axis == 0 else tensor[:, kept]
        if name.startswith("step_scores") and tensor.dim():
            tensor = tensor[:steps_left]
        left[name] = tensor.clone()
    return left


def _rows(fewer, more):
    """For each layer, which of the channels of the larger mask are in the smaller one."""
    return [few[many] for few, many in zip(fewer, more, strict=True)]


def _kept(name, rows):
    """Of the first two axes of a parameter, which channels are in `rows`; None where an axis is not of channels."""
    if name.startswith(("readout.weight", "selector.0.weight")):
        return [None, torch.cat(rows)]
    source, layer = _ends(name)
    return [None if end is None else rows[end] for end in (layer, source)]


def _ends(name):
    """The layers that a kernel reads and writes; None for the images and for parameters that are no such kernels."""
    family, *place = name.split(".")
    if family not in CONNECTIONS:
        return None, None
    layer = int(place[0])
    source = {"bottom_up": layer - 1, "lateral": layer, "top_down": layer + 1}[family]
    return (source if source >= 0 else None), layer


def _highest_layer(name):
    return max((end for end in _ends(name) if end is not None), default=-1)


def _scale_what_old_reads_of_new(parameters, rows, inputs_left, factor):
    """Scale the entries of an extended lattice's weights that are written to what was there and read what was not."""
    for name, tensor in parameters.items():
        written, read = _kept(name, rows)
        if name == "bottom_up.0.weight":
            read = torch.arange(tensor.shape[1], device="cpu") < inputs_left
        if read is not None and tensor.dim() > 1:
            written = torch.ones(len(tensor), dtype=torch.bool, device="cpu") if written is None else written
            tensor[(written[:, None] & ~read).to(tensor.device)] *= factor


def _check_extension(lattice, mask, steps_left, inputs_left):
    """Raise a ValueError unless the form is one that the lattice can be extended to."""
    if mask.shape != lattice.mask.shape or not torch.equal(mask, drop_unreachable_layers(mask)):
        raise ValueError(
            f"mask must be of shape {tuple(lattice.mask.shape)}, without an empty layer below one with channels. Give "
            "bounds that hold what is added when the lattice is made, and fill layers from the first up."
        )
    if (lattice.mask.cpu() & ~mask).any():
        raise ValueError("mask lacks channels that the lattice has. Give those and new ones; compact removes channels.")
    for name, size, most in (
        ("steps_left", steps_left, lattice.n_steps),
        ("inputs_left", inputs_left, lattice.n_channels),
    ):
        had = getattr(lattice, name)
        if not had <= size <= most:
            raise ValueError(f"{name}={size} must be from {had}, those that are there, to {most}, the bound.")
