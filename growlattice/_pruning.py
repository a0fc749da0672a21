"""Which channels and steps a fitted lattice can do without, and the smaller lattice that is left.

Butkus, Garzón Gupta and Kriegeskorte (2026), section 3.4: the smallest sub-network that keeps a share of the accuracy
above chance, without fine-tuning.
"""

import torch

from ._lattice import MEMORY_FORMAT, Lattice


def settle(mask):
    """The mask without layers that get no bottom-up signal, because a layer below them is empty.

    Parameters
    ----------
    mask : tensor of bool of shape (n_layers, n_channels)

    Returns
    -------
    tensor of bool of the same shape

    Examples
    --------
    >>> settle(torch.tensor([[True, False], [False, False], [True, True]])).int().tolist()
    [[1, 0], [0, 0], [0, 0]]
    """
    reached = mask.any(dim=1).int().cumprod(dim=0).bool()
    return mask & reached[:, None]


def compact(lattice, mask, steps_left=None):
    """A smaller lattice that computes what the lattice computes when the channels outside the mask are silent.

    Parameters
    ----------
    lattice : Lattice
        Itself compacted or not.
    mask : tensor of bool of shape (n_layers, n_channels)
        Channels to keep, among those that the lattice still has.
    steps_left : int, default=None
        Steps to keep, from the first on; by default as many as there are.

    Returns
    -------
    Lattice
        With tensors of its own, on the same device.

    Raises
    ------
    ValueError
        If the mask removes everything.
    """
    mask = settle(mask.to(lattice.mask.device) & lattice.mask)
    if not mask.any():
        raise ValueError(
            "The mask removes every channel that the image can reach. Keep at least one in the first layer."
        )
    rows = [kept[had] for kept, had in zip(mask, lattice.mask, strict=True)]  # which of the channels there are
    depth = int(mask.any(dim=1).sum())
    active = torch.cat(rows)
    old, new = lattice.state_dict(), {}
    for name, tensor in old.items():
        family, *position = name.split(".")
        if family in ("bottom_up", "lateral", "top_down"):
            layer = int(position[0])
            source = {"bottom_up": layer - 1, "lateral": layer, "top_down": layer + 1}[family]
            if max(layer, source) >= depth:
                continue
            tensor = tensor[rows[layer]]
            if name.endswith("weight") and source >= 0:
                tensor = tensor[:, rows[source]]
        elif name in ("readout.weight", "selector.0.weight"):
            tensor = tensor[:, active]
        elif name == "step_scores":
            tensor = tensor[:steps_left]
        new[name] = tensor.clone()
    new["mask"] = mask.clone()
    return build(lattice.config | {"steps_left": steps_left or lattice.steps_left}, new)


def build(config, tensors):
    """A lattice from its configuration and its tensors, which it takes over as they are."""
    lattice = Lattice(**config, mask=tensors["mask"])
    lattice.load_state_dict(tensors, assign=True)
    return lattice.to(memory_format=MEMORY_FORMAT)


def prune_lattice(lattice, is_enough, trim_steps, report):
    """The cheapest lattice that is enough, of those that remove channels and then steps, or steps and then channels.

    Whichever goes first may use up all the accuracy that can be spared: a lattice under a time pressure has steps that
    it hardly needs, and one under pressures of breadth and depth such channels.

    Parameters
    ----------
    lattice : Lattice
    is_enough : callable
        Takes a lattice and says whether it is good enough. The lattice itself must be.
    trim_steps : bool
        Whether to remove steps at all.
    report : callable
        Takes a line of text for each evaluation.

    Returns
    -------
    Lattice
    """
    mask = search_mask(lattice, is_enough, report)
    if not trim_steps:
        return compact(lattice, mask)
    narrower = compact(lattice, mask, search_steps(lattice, mask, is_enough, report))
    shorter = compact(lattice, lattice.mask, search_steps(lattice, lattice.mask, is_enough, report))
    shorter = compact(shorter, search_mask(shorter, is_enough, report))
    return min(narrower, shorter, key=Lattice.macs)


def search_mask(lattice, is_enough, report):
    """The smallest mask, of those that one threshold on the magnitude makes, that is enough.

    Bisection over the sorted magnitudes: as many evaluations as the number of channels has binary digits, and one.

    Parameters
    ----------
    lattice : Lattice
    is_enough : callable
        Takes a lattice and says whether it is good enough. The lattice itself must be.
    report : callable
        Takes a line of text for each evaluation.

    Returns
    -------
    tensor of bool of shape (n_layers, n_channels)
    """
    magnitude = lattice.channel_magnitude().detach()
    ranked = magnitude[lattice.mask].sort().values

    def mask_without(n_removed):
        return lattice.mask & (magnitude > ranked[n_removed - 1]) if n_removed else lattice.mask

    removed, too_many = 0, len(ranked)
    while too_many - removed > 1:
        middle = (removed + too_many) // 2
        mask = settle(mask_without(middle))
        enough = bool(mask.any()) and is_enough(compact(lattice, mask))
        report(f"{int(mask.sum())} of {len(ranked)} channels are {'enough' if enough else 'not enough'}")
        removed, too_many = (middle, too_many) if enough else (removed, middle)
    return settle(mask_without(removed))


def search_steps(lattice, mask, is_enough, report):
    """The fewest steps, counted from the first, that are enough; bisection as in :func:`search_mask`."""
    too_few, steps = 0, lattice.steps_left
    while steps - too_few > 1:
        middle = (too_few + steps) // 2
        enough = is_enough(compact(lattice, mask, middle))
        report(f"{middle} of {lattice.steps_left} steps are {'enough' if enough else 'not enough'}")
        too_few, steps = (too_few, middle) if enough else (middle, steps)
    return steps
