"""Which channels and steps a lattice can do without, and the smaller lattice that is left.

Of a fitted lattice, Butkus, Garzón Gupta and Kriegeskorte (2026), section 3.4: the smallest sub-network that keeps a
share of the accuracy above chance, without fine-tuning. Of one in training, what the pressures have brought to nothing.
"""

import torch

from ._lattice import MEMORY_FORMAT, Lattice

# What has come to nothing in training; measured: docs/choices.
SILENT = 0.1  # magnitude of a channel, which is 1 on average at initialization
UNUSED = 0.01  # time-selection weight of a step and all after it, for every image


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
    steps_left = steps_left or lattice.steps_left
    tensors = cut(lattice.state_dict(), lattice.mask, mask, steps_left) | {"mask": mask.clone()}
    return build(lattice.config | {"steps_left": steps_left}, tensors)


def cut(tensors, had, mask, steps_left):
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


def compact_net(net):
    """Let a net's training go on without what its pressures have brought to nothing.

    The bar for channels falls with the learning rate: what training cannot make up for any more has to be nearer to
    zero to go. Steps wait for the full price, because a lattice takes its time only once it has learned something.

    Parameters
    ----------
    net : LatticeNet
        After an epoch of training.
    """
    lattice, prices = net.module_, net.pressures
    mask, steps_left = lattice.mask, lattice.steps_left
    if prices["breadth"] or prices["depth"]:
        mask = channels_above(SILENT * net.lr_share, lattice)
    if prices["time"] and net.ramp_ == 1:
        steps_left = steps_in_use(net.late_weights_)
    if steps_left < lattice.steps_left or not torch.equal(mask, lattice.mask):
        moments = cut(net.moments(), lattice.mask, mask, steps_left)
        net.take_over(compact(lattice, mask, steps_left), moments)


def channels_above(bar, lattice):
    """The mask of the channels whose magnitude reaches a bar, and of the strongest of the first layer in any case."""
    magnitude = lattice.channel_magnitude().detach()
    mask = lattice.mask & (magnitude >= bar)
    mask[0, magnitude[0].argmax()] = True
    return settle(mask)


def steps_in_use(late_weights):
    """How many steps are left without trailing ones that no image uses; at least 1.

    Parameters
    ----------
    late_weights : Tensor of shape (n_steps,)
        Time-selection weight of each step and all after it together, the largest of the images.

    Examples
    --------
    >>> steps_in_use(torch.tensor([1.0, 0.4, 0.005]))
    2
    """
    return max(1, int((late_weights >= UNUSED).sum()))


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
