"""Where a lattice lacks expressivity: what its readers want and no weight that is there can bring about.

The readers of a layer are the kernels above, beside and below it, the readout and time selection. What they want is
minus the gradient of the loss at their drives, before divisive normalization. To first order, a new channel with
incoming weights k and outgoing weights w lowers the loss by the sum, over images, steps and pixels, of ReLU(k'z) w'y: z
holds patches of what the channel would read, accumulated over steps as hidden states are, times the scale of divisive
normalization; y holds patches of what its readers want. With N = sum z y' and S = mean z z', the singular vectors of
(S + ridge)^(-1/2) N give the k and w that would lower it most if the channel had no ReLU; both signs of k are tried.

References
----------
Verbockhaven, Rudkiewicz, Chevallier, Charpiat (2024). Growing Tiny Networks: Spotting Expressivity Bottlenecks and
Fixing Them Optimally. Transactions on Machine Learning Research.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from ._costs import REFERENCE_CHANNELS
from ._operations import convolve, spatial_mean
from ._resolution import pool, upsample

RELATIVE_RANK = 1e-6  # singular values below that of the largest are rounding
RIDGE = 1.0  # of the mean square of what is read


@dataclass
class Trace:
    """A run of a lattice on a batch of images, and what the loss wants of it.

    Attributes
    ----------
    below : tensor of shape (n_images, inputs_left, height, width)
        The input channels.
    active : list of list of tensor
        Activity at each step of each layer.
    scales : list of list of (tensor, tensor)
        At each step, for each layer, 1 / (1 + pool) of the bottom-up and of the recurrent drive; 0 for the latter at
        the first step.
    wanted : list of dict of (str, int) to tensor
        At each step, minus the gradient of the loss at what each kernel, by its name and the layer that it writes,
        makes of the activity.
    read_wanted : dict of str to tensor of shape (n_images, n_steps, n_outputs)
        The same for "readout" and, with adaptive time selection, "selector".
    weights : tensor of shape (n_images,)
        How much each image counts in the loss, above 0, in any unit.
    """

    below: torch.Tensor
    active: list
    scales: list
    wanted: list
    read_wanted: dict
    weights: torch.Tensor


def trace(lattice, images, loss, weights=None):
    """Run a lattice without noise.

    Parameters
    ----------
    lattice : Lattice
    images : tensor of shape (n_images, n_inputs, height, width)
    loss : callable
        Takes the output, returns a scalar tensor.
    weights : tensor of shape (n_images,), default=None
        How much each image counts in the loss; by default they count alike.

    Returns
    -------
    Trace
    """
    read, steps = {}, range(lattice.steps_left)
    hooks = [reader.register_forward_hook(_keeper(read, name)) for name, reader in read_modules(lattice).items()]
    try:
        with torch.enable_grad():
            state, activity, active, drives = lattice.start(images), [], [], []
            for step in steps:
                activity.append(lattice.step(state, bottom_up_only=step == steps[-1]))
                active.append([torch.relu(hidden).detach() for hidden in state.hidden])
                drives.append(state.drives)
            output = lattice._read_out(torch.stack(activity, dim=1))
            at = [*read.values(), *(drive for of_step in drives for drive in of_step.values())]
            gradients = iter(torch.autograd.grad(loss(output), at, allow_unused=True))
    finally:
        for hook in hooks:
            hook.remove()
    read_wanted = {name: _negative(next(gradients), tensor) for name, tensor in read.items()}
    wanted = [{name: _negative(next(gradients), drive) for name, drive in of_step.items()} for of_step in drives]
    with torch.no_grad():
        normalized = lattice.normalize(images)
        below = convolve(normalized, lattice.input.weight, lattice.input.bias)
        first = convolve(pool(below, lattice.factors[0]), lattice.bottom_up[0].weight, lattice.bottom_up[0].bias)
        scales = [_scales(lattice, first, drives, step) for step in steps]
    weights = below.new_ones(len(below)) if weights is None else weights
    weights = weights.to(below).clamp(min=torch.finfo(below.dtype).tiny)  # an image without any wants nothing
    return Trace(below, active, scales, wanted, read_wanted, weights)


def inputs_of(lattice, run, layer):
    """What a new channel of a layer would read at each step, accumulated and normalized as its hidden state is.

    Parameters
    ----------
    lattice : Lattice
    run : Trace
    layer : int
        From 0 to the number of layers that are left: the last is a new layer on top.

    Returns
    -------
    list of tensor of shape (n_images, n_read, height, width)
        Patches of the layer below, a 1 for the bias, and patches of the layer itself and of the one above.
    """
    accumulated, total = [], 0.0
    for step, active in enumerate(run.active):
        below = pool(run.below if layer == 0 else active[layer - 1], lattice.factors[layer])
        bottom_up = torch.cat([_patches(below, lattice.kernel_size), torch.ones_like(below[:, :1])], dim=1)
        if layer == len(active):  # the pool of a new layer is of new channels alone
            total = total + bottom_up
        else:
            up, over = run.scales[step][layer]
            recurrent = _recurrent_patches(lattice, run.active[step - 1], layer)  # scaled by 0 at the first step
            total = total + torch.cat([bottom_up * up, recurrent * over], dim=1)
        accumulated.append(total)
    return accumulated


def wanted_of(lattice, run, layer):
    """What the readers of a layer want at each step, at the pixels of the layer: a number for each outgoing weight.

    Returns
    -------
    list of tensor of shape (n_images, n_wanted, height, width)
        In the order of :func:`readers`.
    """
    return [
        torch.cat([_wanted(lattice, run, layer, step, *reader) for reader in readers(lattice, layer)], dim=1)
        for step in range(len(run.active))
    ]


def readers(lattice, layer):
    """What reads a layer: names of kernels, with the layer that they write, and of readouts."""
    return [*lattice.outgoing_kernels(layer), *((name, None) for name in read_modules(lattice))]


def read_modules(lattice):
    """What reads the activity of all layers: the readout and, with adaptive time selection, the selector."""
    return {"readout": lattice.readout} | ({} if lattice.selector is None else {"selector": lattice.selector[0]})


@dataclass
class Candidates:
    """The channels that would lower the loss most, to first order, if they were added to a layer.

    Attributes
    ----------
    incoming : tensor of shape (n_candidates, n_read)
        Weights, such that the mean square of what a channel is driven by is 1.
    outgoing : tensor of shape (n_candidates, n_wanted)
        Weights of norm 1.
    gain : tensor of shape (n_candidates,)
        By how much a small factor of the outgoing weights lowers the loss, per unit of the factor.
    """

    incoming: torch.Tensor
    outgoing: torch.Tensor
    gain: torch.Tensor


@torch.no_grad()
def best_channels(lattice, runs, layer, n_candidates, ridge=RIDGE):
    """The best new channels of a layer.

    Parameters
    ----------
    lattice : Lattice
    runs : list of Trace
        Over batches whose losses add up to the loss.
    layer : int
        As for :func:`inputs_of`.
    n_candidates : int
    ridge : float
        Added to S, in units of the mean of its diagonal.

    Returns
    -------
    Candidates
        At most as many as there are singular vectors, the best first.
    """
    products, moment, count = 0.0, 0.0, 0
    for z, y, weight in _pixels(lattice, runs, layer):
        products, moment, count = products + z.T @ y, moment + z.T @ (weight * z), count + weight.sum()
    moment = moment / count
    values, vectors = torch.linalg.eigh(moment + ridge * moment.diagonal().mean() * _identity(moment))
    root = vectors @ (vectors / values.clamp(min=torch.finfo(values.dtype).tiny).sqrt()).T
    left, singular_values, _ = torch.linalg.svd(root @ products, full_matrices=False)
    rank = int((singular_values > RELATIVE_RANK * singular_values[0]).sum())
    directions = (root @ left)[:, : min(n_candidates, rank)].T
    directions = directions / (directions @ moment * directions).sum(dim=1, keepdim=True).sqrt()
    directions = torch.cat([directions, -directions])
    effect = sum(torch.relu(z @ directions.T).T @ y for z, y, _ in _pixels(lattice, runs, layer))
    gain = effect.norm(dim=1)
    n_tried = len(directions) // 2
    better = torch.arange(n_tried, device="cpu") + n_tried * (gain[n_tried:] > gain[:n_tried]).cpu()  # of the two signs
    best = better[gain[better].argsort(descending=True).cpu()]
    return Candidates(directions[best], effect[best] / gain[best, None], gain[best])


@torch.no_grad()
def unreachable(lattice, runs, layer, ridge=1e-6):
    """Share of what the readers of a layer want that no weights of theirs could bring about.

    Parameters
    ----------
    lattice, runs, layer
        As for :func:`best_channels`.
    ridge : float
        In units of the mean square of what is read, against directions that no image shows.

    Returns
    -------
    float
        From 0 to 1: what is left, in units of its sum of squares, after the regression on what is read, over all steps.
    """
    wanted = brought = 0.0
    for name, written in readers(lattice, layer):
        moment = products = 0.0
        for x, y, weight in _readings(lattice, runs, name, written):
            moment, products = moment + x.T @ (weight * x), products + x.T @ y
            wanted += float((y.square() / weight).sum())  # y has the weight of its image already
        if torch.is_tensor(moment) and moment.any():  # silence brings nothing
            damped = moment + ridge * moment.diagonal().mean() * _identity(moment)
            brought += float((products * torch.linalg.solve(damped, products)).sum())
    return max(1 - brought / wanted, 0.0) if wanted else 0.0


@torch.no_grad()
def put_channels(lattice, had, inputs_left, layer, found, amplitude, balance=1.0):
    """Give new channels of a layer the weights that were found, and 0 between new channels.

    Parameters
    ----------
    lattice : Lattice
        Extended; changed in place. New channels beyond those found keep their weights.
    had : tensor of bool of shape (n_layers, n_channels)
        Channels of the lattice that the weights were found for.
    inputs_left : int
        Its channels of the input convolution.
    layer : int
    found : Candidates
    amplitude : float
        Factor of the outgoing weights.
    balance : float
        Factor of the incoming weights, by which the outgoing ones are divided. The smaller it is, the smaller is the
        part of the new channels in the pool of divisive normalization.
    """
    old = [was[there].nonzero().squeeze(1) for was, there in zip(had, lattice.mask, strict=True)]
    new = [(there & ~was)[there].nonzero().squeeze(1) for was, there in zip(had, lattice.mask, strict=True)]
    columns = (lattice.mask & ~had)[layer].new_zeros(lattice.mask.shape)
    columns[layer] = (lattice.mask & ~had)[layer]
    columns = columns[lattice.mask].nonzero().squeeze(1)  # of the layer's new channels among all
    n_new = min(len(found.gain), len(new[layer]))
    at, columns = new[layer][:n_new], columns[:n_new]
    k = lattice.kernel_size
    below = torch.arange(inputs_left, device="cpu") if layer == 0 else old[layer - 1]
    bottom_up, lateral = lattice.bottom_up[layer], lattice.lateral[layer]
    written = [(bottom_up.weight, below), (bottom_up.bias, None), (lateral.weight, old[layer])]
    written += [(kernel.weight, old[layer + 1]) for kernel in lattice.top_down[layer : layer + 1]]
    sizes = [1 if sources is None else len(sources) * k * k for _, sources in written]
    for (weight, sources), part in zip(written, (balance * found.incoming[:n_new]).split(sizes, dim=1), strict=True):
        weight[at] = 0
        if sources is None:
            weight[at] = part[:, 0]
        else:
            weight[at[:, None], sources] = part.unflatten(1, (-1, k, k))
    outgoing = amplitude / balance * found.outgoing[:n_new]
    for name, target in readers(lattice, layer):
        weight = read_modules(lattice)[name].weight if target is None else getattr(lattice, name)[target].weight
        size = len(weight) if target is None else len(old[target]) * k * k
        part, outgoing = outgoing[:, :size], outgoing[:, size:]
        if target is None:
            weight[:, columns] = part.T
        elif size:
            weight[:, at] = 0
            weight[old[target][:, None], at] = part.unflatten(1, (-1, k, k)).transpose(0, 1)


def _pixels(lattice, runs, layer):
    """Inputs and wanted changes as rows and the weight of each row, for each run and step."""
    for run in runs:
        for z, y in zip(inputs_of(lattice, run, layer), wanted_of(lattice, run, layer), strict=True):
            yield _as_rows(z), _as_rows(y), _row_weights(run, z)


def _readings(lattice, runs, name, written):
    """What the weights of one drive read, what is wanted of it, and weights, as rows, for each run and step."""
    for run in runs:
        for step, active in enumerate(run.active):
            if written is None:
                means = torch.cat([spatial_mean(layer) for layer in active], dim=1)
                x, wanted = torch.cat([means, torch.ones_like(means[:, :1])], dim=1), run.read_wanted[name][:, step]
                yield x, wanted, run.weights[:, None]
            elif name == "bottom_up":
                x = _patches(pool(active[written - 1], lattice.factors[written]), lattice.kernel_size)
                x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
                yield _as_rows(x), _as_rows(run.wanted[step][name, written]), _row_weights(run, x)
            elif step + 1 < len(run.active):
                x = _recurrent_patches(lattice, active, written)
                yield _as_rows(x), _as_rows(run.wanted[step]["lateral", written]), _row_weights(run, x)


def _wanted(lattice, run, layer, step, name, written):
    """What one reader of a layer wants at one step, as patches at the pixels of the layer."""
    size, k = lattice.layer_sizes[layer], lattice.kernel_size
    if written is None:
        each = run.read_wanted[name][:, step] / (size[0] * size[1])  # they read the mean over pixels
        return each[:, :, None, None].expand(-1, -1, *size)
    if name == "bottom_up":
        factor = lattice.factors[layer + 1]
        patches = _patches(run.wanted[step][name, written], k, reverse=True)
        return upsample(patches / _block_sizes(size, factor).to(patches), factor, size)
    # Lateral and top-down kernels write one drive. No step reads what they make of the last.
    wanted = run.wanted[step].get(("lateral", written), torch.zeros_like(run.active[step][written]))
    if name == "top_down":
        factor = lattice.factors[layer]
        wanted = pool(wanted, factor) * _block_sizes(lattice.layer_sizes[written], factor).to(wanted)
    return _patches(wanted, k, reverse=True)


def _recurrent_patches(lattice, active, layer):
    """What the recurrent drive of a layer reads of the activity of a step."""
    patches = [_patches(active[layer], lattice.kernel_size)]
    if layer + 1 < len(active):
        above = _patches(active[layer + 1], lattice.kernel_size)
        patches.append(upsample(above, lattice.factors[layer + 1], lattice.layer_sizes[layer]))
    return torch.cat(patches, dim=1)


def _patches(maps, k, reverse=False):
    """The k x k patch around each pixel, as channels; reversed, what a pixel gives to each place of such patches."""
    patches = functional.unfold(maps, k, padding=k // 2)  # (n_images, n_channels * k * k, height * width)
    if reverse:
        patches = patches.unflatten(1, (-1, k * k)).flip(2).flatten(1, 2)
    return patches.unflatten(2, maps.shape[2:])


def _block_sizes(size, factor):
    """Pixels in each block that is averaged to one pixel, of shape (ceil(height / factor), ceil(width / factor))."""
    height, width = (
        torch.tensor([min(factor, side - start) for start in range(0, side, factor)], device="cpu") for side in size
    )
    return height[:, None] * width


def _identity(moment):
    return torch.eye(len(moment), dtype=moment.dtype, device=moment.device)


def _as_rows(maps):
    return maps.movedim(1, 3).flatten(0, 2)  # (images * height * width, numbers)


def _row_weights(run, maps):
    """The weight of each of the rows of maps, of shape (images * height * width, 1)."""
    return run.weights.repeat_interleave(maps[0, 0].numel())[:, None]


def _scales(lattice, first, drives, step):
    """1 / (1 + pool) of the bottom-up and the recurrent drive of each layer; 0 for the latter at the first step."""
    scales = []
    for layer in range(len(lattice.bottom_up)):
        up = drives[step]["bottom_up", layer] if layer else first
        over = _scale(lattice.recurrent_drive(drives[step - 1], layer)) if step else 0.0
        scales.append((_scale(up), over))
    return scales


def _scale(drive):
    return 1 / (1 + drive.abs().sum(dim=1, keepdim=True) / REFERENCE_CHANNELS)


def _negative(gradient, tensor):
    return torch.zeros_like(tensor) if gradient is None else -gradient


def _keeper(read, name):
    return lambda module, inputs, output: read.update({name: output})
