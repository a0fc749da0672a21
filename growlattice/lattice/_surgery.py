"""Smaller lattices from larger ones: what is left when channels, layers and trailing steps go.

Only weights and what belongs to them have the stored form that is cut here; see :class:`Lattice`.
"""

import torch

from ._network import Lattice


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
        If the mask removes everything.
    """
    state = cut_state(lattice, mask, steps_left or lattice.steps_left, score_norm)
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
    had among all, so that the ratios between their weights stay the same.

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
    rows = [kept[there] for kept, there in zip(mask, had, strict=True)]
    depth = int(mask.any(dim=1).sum())
    left = {}
    for name, tensor in tensors.items():
        family, *place = name.split(".")
        if family in ("bottom_up", "lateral", "top_down"):
            layer = int(place[0])
            source = {"bottom_up": layer - 1, "lateral": layer, "top_down": layer + 1}[family]
            if max(layer, source) >= depth:
                continue
            if tensor.dim():
                tensor = tensor[rows[layer]]
            if tensor.dim() > 1 and source >= 0:
                tensor = tensor[:, rows[source]]
        elif name.startswith(("readout.weight", "selector.0.weight")) and tensor.dim():
            tensor = tensor[:, torch.cat(rows)]
        elif family == "step_scores" and tensor.dim():
            tensor = tensor[:steps_left]
        left[name] = tensor.clone()
    return left
