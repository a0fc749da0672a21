"""New channels that lower the loss most, to first order: the draw of "Growing Tiny Networks".

References
----------
Verbockhaven, Rudkiewicz, Chevallier, Charpiat (2024). Growing Tiny Networks: Spotting Expressivity Bottlenecks and
Fixing Them Optimally. Transactions on Machine Learning Research.
"""

from ._bottleneck import Candidates, best_channels, put_channels, read_modules, readers
from ._surgery import extend
from ._weights import BOTTOM_UP_GAIN, READOUT_GAIN, RECURRENT_GAIN, fan_in, n_weights

GAINS = {"bottom_up": BOTTOM_UP_GAIN, "lateral": RECURRENT_GAIN, "top_down": RECURRENT_GAIN}
READ_GAINS = {"readout": READOUT_GAIN, "selector": 1.0}  # of uniform weights, whose variance is a third of that
AMPLITUDES = tuple(2.0**-power for power in range(7))  # beside 0


def extend_by_gain(lattice, mask, inputs_left, traces_of, loss_of, *, generator, find=best_channels):
    """A lattice with new channels that lower the loss most, to first order, where they do lower it.

    Layers get theirs one after the other, from the first up, each for the lattice as it then is. All weights of a
    layer's new channels have a factor, the best of 0, 1/64, 1/32, ..., 1 on the images given. Where that is 0, nothing
    is added.

    Parameters
    ----------
    lattice : Lattice
    mask, inputs_left
        As for :func:`growlattice.lattice.extend`.
    traces_of : callable
        Takes a lattice, returns a list of Trace over batches whose losses add up to the loss.
    loss_of : callable
        Takes a lattice, returns the loss as a float.
    generator : torch.Generator
        Source of new weights of the input convolution.
    find : callable
        Finds candidates, as :func:`best_channels` does, given the lattice, the traces, the layer and their number.

    Returns
    -------
    Lattice
        Whose loss is no larger.
    """
    mask = mask.to(lattice.mask)
    lowest = loss_of(lattice)
    for layer in (mask & ~lattice.mask).any(dim=1).nonzero().squeeze(1).tolist():
        here = lattice.mask.clone()
        here[layer] = mask[layer]
        if not here[: layer + 1].any(dim=1).all():  # a layer below was not added
            break
        n_new = int(here.sum() - lattice.mask.sum())
        candidates = find(lattice, traces_of(lattice), layer, n_new)
        if not len(candidates.gain):
            continue
        larger = extend(lattice, here, inputs_left=None if layer else inputs_left, generator=generator)
        candidates = capped(candidates, *fresh_norms(larger, layer))
        losses = {0.0: lowest}
        for amplitude in AMPLITUDES:
            put_channels(larger, lattice.mask, lattice.inputs_left, layer, times(candidates, amplitude), 1.0)
            losses[amplitude] = loss_of(larger)
        best = min(losses, key=losses.get)
        if best:
            put_channels(larger, lattice.mask, lattice.inputs_left, layer, times(candidates, best), 1.0)
            lattice, lowest = larger, losses[best]
    return lattice


def fresh_norms(lattice, layer):
    """Norms of all weights that write a channel and of all that read it, as expected when they are drawn.

    Returns
    -------
    incoming, outgoing : float
    """
    kernels = [lattice.bottom_up[layer], lattice.lateral[layer], *lattice.top_down[layer : layer + 1]]
    gains = BOTTOM_UP_GAIN, RECURRENT_GAIN, RECURRENT_GAIN
    incoming = sum(gain**2 * n_weights(kernel) / fan_in(kernel) for gain, kernel in zip(gains, kernels, strict=False))
    outgoing = 0.0
    for name, written in readers(lattice, layer):
        if written is None:
            weight = read_modules(lattice)[name].weight
            outgoing += READ_GAINS[name] ** 2 / 3 * weight.shape[0] / weight.shape[1]
        else:
            kernel = getattr(lattice, name)[written]
            outgoing += GAINS[name] ** 2 * kernel.weight[:, 0].numel() / fan_in(kernel)
    return incoming**0.5, outgoing**0.5


def capped(candidates, incoming, outgoing):
    """Candidates whose incoming weights have at most a norm; outgoing ones that of the best, the others by their gains.

    Parameters
    ----------
    candidates : Candidates
    incoming, outgoing : float
        Norms.

    Returns
    -------
    Candidates
    """
    norms = candidates.incoming.norm(dim=1, keepdim=True)
    share = candidates.gain[:, None] / candidates.gain.max()
    return Candidates(
        candidates.incoming * (incoming / norms).clamp(max=1), outgoing * share * candidates.outgoing, candidates.gain
    )


def times(candidates, factor):
    """Candidates with a factor of all weights."""
    return Candidates(factor * candidates.incoming, factor * candidates.outgoing, candidates.gain)
