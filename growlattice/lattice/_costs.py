"""The costs of Butkus, Garzón Gupta and Kriegeskorte (2026), section 3.3: tensors in, a scalar out.

Every cost is without unit and about 1 for a fresh lattice of the reference size. Prices depend on the rank of a
channel, the height of a layer and the number of a step alone, so raising `max_channels`, `max_layers` or `max_steps`
does not change what the parts that are there already cost. Nothing here holds state.
"""

import math

import torch

# The unit of prices, magnitudes, the pool of divisive normalization and the scores of time selection. It is the
# estimators' default size, at which the other defaults were measured.
REFERENCE_CHANNELS, REFERENCE_LAYERS, REFERENCE_STEPS = 16, 4, 4


def error_cost(log_probas, labels, sample_weight=None):
    """Cross-entropy in units of the logarithm of the number of classes: 1 is chance level.

    Parameters
    ----------
    log_probas : tensor of shape (n_images, n_classes)
        Log-probabilities of the classes.
    labels : tensor of int64 of shape (n_images,)
        Index of the right class of each image.
    sample_weight : tensor of shape (n_images,), default=None
        Weight of each image, 1 on average over the training set.

    Returns
    -------
    tensor of shape ()

    References
    ----------
    Butkus et al. (2026), section 3.3, "Errors".

    Examples
    --------
    >>> chance = torch.full((2, 4), 1 / 4).log()
    >>> error_cost(chance, torch.tensor([0, 3]))
    tensor(1.)
    """
    n_classes = log_probas.shape[1]
    surprise = -log_probas.gather(1, labels.unsqueeze(1)).squeeze(1)
    return weighted_mean(surprise, sample_weight) / math.log(n_classes)


def squared_error_cost(values, targets, sample_weight=None):
    """Mean squared error of standardized numbers, averaged over outputs: 1 is what predicting their mean comes to.

    Parameters
    ----------
    values : tensor of shape (n_images, n_outputs)
        What is answered, on the scale of the targets.
    targets : tensor of shape (n_images, n_outputs)
        The right numbers of each image. Each output has mean 0 and variance 1 over the training set.
    sample_weight : tensor of shape (n_images,), default=None
        Weight of each image, 1 on average over the training set.

    Returns
    -------
    tensor of shape ()

    Examples
    --------
    >>> targets = torch.tensor([[-1.0], [1.0]])
    >>> squared_error_cost(torch.zeros(2, 1), targets)
    tensor(1.)
    """
    return weighted_mean((values - targets).square().mean(dim=1), sample_weight)


def breadth_cost(magnitude, position_power):
    """The channels' magnitudes, the dearer the lower a channel ranks in its layer, summed over layers.

    Parameters
    ----------
    magnitude : tensor of shape (n_layers, n_channels)
        Of each channel, 1 on average in a fresh lattice of the reference size.
    position_power : float
        How sharply the price rises with rank; 0 charges every channel alike.

    Returns
    -------
    tensor of shape ()
        In units of a fresh lattice of the reference size, of 4 layers of 16 channels. The ranks are a constant for the
        gradient.

    References
    ----------
    Butkus et al. (2026), section 3.3, "Breadth".

    Examples
    --------
    Two of 16 channels' worth, in one of 4 layers; and a fresh lattice of the reference size:

    >>> breadth_cost(torch.tensor([[0.0, 2.0]]), position_power=0)
    tensor(0.0312)
    >>> breadth_cost(torch.ones(4, 16), position_power=4)
    tensor(1.)
    """
    ranked = magnitude.sort(dim=1, descending=True).values
    prices = _position_prices(ranked, REFERENCE_CHANNELS, position_power)
    return (ranked @ prices).sum() / REFERENCE_LAYERS


def depth_cost(magnitude, position_power):
    """Magnitude of the layers, the dearer the higher a layer stands.

    Parameters
    ----------
    magnitude : tensor of shape (n_layers, n_channels)
        Of each channel, 1 on average in a fresh lattice of the reference size.
    position_power : float
        How sharply the price rises with depth; 0 charges every layer alike.

    Returns
    -------
    tensor of shape ()
        In units of a fresh lattice of the reference size, of 4 layers of 16 channels.

    References
    ----------
    Butkus et al. (2026), section 3.3, "Depth".

    Examples
    --------
    Two of four layers of full magnitude, (1 + 2) of 1 + 2 + 3 + 4:

    >>> depth_cost(torch.tensor([[8.0, 8.0], [16.0, 0.0]]), position_power=1)
    tensor(0.3000)
    """
    layers = magnitude.sum(dim=1) / REFERENCE_CHANNELS
    return layers @ _position_prices(layers, REFERENCE_LAYERS, position_power)


def time_cost(weights, sample_weight=None):
    """Expected step under the time-selection weights, in units of the 4 steps of the reference size.

    Parameters
    ----------
    weights : tensor of shape (n_images, n_steps)
        Time-selection weights; each row sums to 1.
    sample_weight : tensor of shape (n_images,), default=None
        Weight of each image, 1 on average over the training set.

    Returns
    -------
    tensor of shape ()
        Between 1/4 and n_steps/4.

    References
    ----------
    Butkus et al. (2026), section 3.3, "Time".

    Examples
    --------
    >>> time_cost(torch.tensor([[0.5, 0.5], [0.0, 1.0]]))  # steps 1.5 and 2
    tensor(0.4375)
    """
    return weighted_mean(mean_step(weights), sample_weight) / REFERENCE_STEPS


def mean_step(weights):
    """The mean step of each image under its time-selection weights, of shape (n_images,)."""
    return weights @ torch.arange(1, weights.shape[1] + 1, device=weights.device, dtype=weights.dtype)


def weighted_mean(values, sample_weight=None):
    """Mean over images of value times weight, the weights being 1 on average over the training set."""
    return values.mean() if sample_weight is None else (values * sample_weight).mean()


def _position_prices(values, n_reference, position_power):
    """Prices proportional to position ** position_power along the last axis, those up to the reference summing to 1."""
    n_positions = max(values.shape[-1], n_reference)
    prices = torch.arange(1, n_positions + 1, device=values.device, dtype=values.dtype) / n_reference
    prices = prices**position_power
    return prices[: values.shape[-1]] / prices[:n_reference].sum()
