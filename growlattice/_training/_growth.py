"""Growing a lattice in training: where the edge of the piece that is there is in use, the piece is extended.

A lattice is a finite piece of an infinite one. The edge of the piece is the weakest channel of each layer, the layer
on top and the last step. A move extends all edges that are in use at once. An edge that prices have taken back since it
was last extended stays where it is.
"""

from dataclasses import dataclass

import pandas as pd
import torch

from ..lattice._surgery import extend

GROW_UNTIL = 0.5  # share of training in which a lattice grows
MOVES_EVERY = 0.1  # share of training from one move to the next, in which what is new is safe from compaction
EARLY_MOVES = 1 / 30, 1 / 15  # shares of training after which it grows where prices will take back what comes later
IN_USE = 0.5  # magnitude of a channel in units of its expectation when drawn


@dataclass(frozen=True)
class Move:
    """What is added to a lattice after an epoch: the form that it then has, and a record for each edge.

    Attributes
    ----------
    mask : tensor of bool of shape (n_layers, n_channels)
    steps_left, inputs_left : int
    records : list of dict
        See `growth_` of the estimators.
    """

    mask: torch.Tensor
    steps_left: int
    inputs_left: int
    records: list


def first_form(config, grow_from):
    """The form that a lattice begins with, as arguments of :class:`Lattice`."""
    n_channels, n_layers, n_steps = grow_from
    mask = torch.zeros(config["n_layers"], config["n_channels"], dtype=torch.bool, device="cpu")
    mask[:n_layers, :n_channels] = True
    return dict(mask=mask, steps_left=n_steps, inputs_left=n_channels)


def moves_every(n_epochs):
    """Epochs from one move to the next, out of so many."""
    return max(1, round(MOVES_EVERY * n_epochs))


def is_time_to_grow(epoch, n_epochs):
    """Whether a lattice may grow after so many epochs.

    Examples
    --------
    >>> [epoch for epoch in range(1, 31) if is_time_to_grow(epoch, 30)]
    [3, 6, 9, 12]
    """
    return epoch % moves_every(n_epochs) == 0 and epoch < GROW_UNTIL * n_epochs


def is_time_to_widen(epoch, n_epochs, priced):
    """Whether it may get channels and layers too: where they are priced, early, before prices rise.

    Examples
    --------
    >>> [epoch for epoch in range(1, 31) if is_time_to_widen(epoch, 30, priced=True)]
    [1, 2]
    """
    if not priced:
        return is_time_to_grow(epoch, n_epochs)
    first, second = (max(1, round(share * n_epochs)) for share in EARLY_MOVES)
    return epoch in (first, max(second, first + 1)) and epoch < GROW_UNTIL * n_epochs


def edge_use(lattice):
    """Magnitude of the weakest channel of each layer, and the mean of the layer on top, in units of a fresh one.

    Returns
    -------
    weakest : list of float
        Of each layer that is left.
    top : float
    """
    use = lattice.channel_magnitude().detach() / lattice.fresh_magnitude()[:, None]
    use = [layer[there] for layer, there in zip(use, lattice.mask, strict=True) if there.any()]
    return [float(layer.min()) for layer in use], float(use[-1].mean())


def plan_move(lattice, last_step_weight, grow_from, earlier, widen=True):
    """What to add to a lattice, or None.

    Parameters
    ----------
    lattice : Lattice
    last_step_weight : float
        Mean time-selection weight of the last step that is left.
    grow_from : tuple of int
        Channels, layers and steps of the start. A move adds so many channels to a layer.
    earlier : list of dict
        Records of earlier moves.
    widen : bool, default=True
        Whether channels and layers may be added, or steps alone.

    Returns
    -------
    Move or None
    """
    n_channels, n_layers, n_steps = grow_from
    channels, mask, steps, records = lattice.channels_left, lattice.mask.clone(), lattice.steps_left, []
    weakest, top = edge_use(lattice)

    def record(resource, layer, before, after, statistic, bar):
        records.append(dict(resource=resource, layer=layer, before=before, after=after, statistic=statistic, bar=bar))

    for layer, (count, use) in enumerate(zip(channels, weakest, strict=True)):
        reached = _reached(earlier, "channels", layer + 1, n_channels)
        after = min(count + n_channels, lattice.n_channels)
        if widen and reached <= count < after and use >= IN_USE:
            _fill(mask, layer, after - count)
            record("channels", layer + 1, count, after, use, IN_USE)
    depth = len(channels)
    if widen and _reached(earlier, "layers", None, n_layers) <= depth < lattice.n_layers and top >= IN_USE:
        _fill(mask, depth, n_channels)
        record("layers", None, depth, depth + 1, top, IN_USE)
    if _reached(earlier, "steps", None, n_steps) <= steps < lattice.n_steps and last_step_weight >= 1 / steps:
        record("steps", None, steps, steps + 1, last_step_weight, 1 / steps)
        steps += 1
    inputs = max(lattice.inputs_left, int(mask[0].sum()))
    return Move(mask, steps, inputs, records) if records else None


def draw_fresh(lattice, move, generator):
    """A lattice extended by a move, with new weights as in a fresh one."""
    return extend(lattice, move.mask, move.steps_left, move.inputs_left, generator=generator, outgoing=1.0)


def grow_net(net, n_epochs, grow_from, generator, draw=draw_fresh):
    """Extend the lattice of a net after an epoch of training, if it is time to, where its edge is in use.

    Parameters
    ----------
    net : LatticeNet
    n_epochs : int
        Of the whole training.
    grow_from : tuple of int
        Channels, layers and steps of the start.
    generator : torch.Generator
        Source of the new weights.
    draw : callable
        Takes the lattice, the move and the generator, and returns an extended lattice. It may leave out channels.

    Returns
    -------
    list of dict
        Records of what was added, which are in `net.growth_` too.
    """
    epoch, lattice = len(net.history), net.module_
    widen = is_time_to_widen(epoch, n_epochs, net.has_priced_space)
    if not (widen or is_time_to_grow(epoch, n_epochs)):
        return []
    move = plan_move(lattice, float(net.last_step_weight_), grow_from, net.growth_, widen)
    if move is None:
        return []
    had, macs = lattice.mask.clone(), lattice.macs()
    larger = draw(lattice, move, generator)
    added = [record for record in move.records if _is_added(record, larger)]
    if not added:
        return []
    net.extend(larger)
    new = [[int(slot) for slot in layer.nonzero()] for layer in (lattice.mask & ~had).cpu()]
    more = dict(macs_before=macs, macs_after=lattice.macs(), new_channels=new)
    records = [dict(epoch=epoch, **record, **more) for record in added]
    net.growth_.extend(records)
    return records


def young_channels(net):
    """The mask of channels that were added so lately that compaction leaves them."""
    mask = torch.zeros_like(net.module_.mask)
    for record in _young(net):
        for layer, slots in enumerate(record["new_channels"]):
            mask[layer, slots] = True
    return mask


def has_young_steps(net):
    return any(record["resource"] == "steps" for record in _young(net))


def as_line(record):
    """A record in words."""
    of_layer = f" of layer {record['layer']}" if record["layer"] else ""
    return (
        f"grown after epoch {record['epoch']}: {record['resource']}{of_layer} from {record['before']} to "
        f"{record['after']}, for {record['statistic']:.2f} of the edge is in use, and {record['bar']:.2f} suffices"
    )


def growth_frame(net):
    """The records of a net as a table."""
    columns = "epoch resource layer before after statistic bar macs_before macs_after".split()
    return pd.DataFrame(net.growth_, columns=columns).astype({"layer": "Int64"})


def _young(net):
    age = moves_every(net.max_epochs)
    return [record for record in net.growth_ if len(net.history) - record["epoch"] < age]


def _is_added(record, lattice):
    """Whether what a record says is there."""
    sizes = {"layers": len(lattice.channels_left), "steps": lattice.steps_left}
    size = sizes[record["resource"]] if record["layer"] is None else lattice.channels_left[record["layer"] - 1]
    return size == record["after"]


def _reached(records, resource, layer, start):
    """The size that a resource had after it was last extended."""
    sizes = [record["after"] for record in records if (record["resource"], record["layer"]) == (resource, layer)]
    return sizes[-1] if sizes else start


def _fill(mask, layer, n_channels):
    """Add channels to a layer of a mask: the first that are free."""
    mask[layer, (~mask[layer]).nonzero().squeeze(1)[:n_channels]] = True
