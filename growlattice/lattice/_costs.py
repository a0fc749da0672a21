"""The four costs of Butkus, Garzón Gupta and Kriegeskorte (2026), section 3.3: tensors in, a scalar out.

Every cost is without unit and about 1 for a fresh lattice of full size, whatever its number of classes, channels,
layers and steps, so that one set of pressures means the same thing everywhere. Nothing here holds state.
"""

import math

import torch


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


def breadth_cost(magnitude, position_power):
    """Mean over layers of the channels' magnitudes, the dearer the lower a channel ranks in its layer.

    Parameters
    ----------
    magnitude : tensor of shape (n_layers, n_channels)
        Mean absolute weight of each channel, 1 on average at initialization.
    position_power : float
        How sharply the price rises with rank; 0 charges every channel alike.

    Returns
    -------
    tensor of shape ()
        The ranks are a constant for the gradient.

    References
    ----------
    Butkus et al. (2026), section 3.3, "Breadth".

    Examples
    --------
    >>> breadth_cost(torch.tensor([[0.0, 2.0]]), position_power=1)  # (1/2 * 2 + 1 * 0) / (1/2 + 1)
    tensor(0.6667)
    """
    ranked = magnitude.sort(dim=1, descending=True).values
    return (ranked @ _shares(ranked, position_power)).mean()


def depth_cost(magnitude, position_power):
    """Mean magnitude of the layers, the dearer the higher a layer stands.

    Parameters
    ----------
    magnitude : tensor of shape (n_layers, n_channels)
        Mean absolute weight of each channel, 1 on average at initialization.
    position_power : float
        How sharply the price rises with depth; 0 charges every layer alike.

    Returns
    -------
    tensor of shape ()

    References
    ----------
    Butkus et al. (2026), section 3.3, "Depth".

    Examples
    --------
    >>> depth_cost(torch.tensor([[1.0, 1.0], [4.0, 0.0]]), position_power=1)  # (1/2 * 1 + 1 * 2) / (1/2 + 1)
    tensor(1.6667)
    """
    layers = magnitude.mean(dim=1)
    return layers @ _shares(layers, position_power)


def time_cost(weights, n_steps=None, sample_weight=None):
    """Expected step under the time-selection weights, as a share of all steps.

    Parameters
    ----------
    weights : tensor of shape (n_images, n_steps)
        Time-selection weights; each row sums to 1.
    n_steps : int, default=None
        Steps of the lattice before any were removed; by default as many as there are weights.
    sample_weight : tensor of shape (n_images,), default=None
        Weight of each image, 1 on average over the training set.

    Returns
    -------
    tensor of shape ()
        Between 1 / n_steps and 1.

    References
    ----------
    Butkus et al. (2026), section 3.3, "Time".

    Examples
    --------
    >>> time_cost(torch.tensor([[0.5, 0.5], [0.0, 1.0]]))  # steps 1.5 and 2, of 2
    tensor(0.8750)
    """
    steps = torch.arange(1, weights.shape[1] + 1, device=weights.device, dtype=weights.dtype)
    return weighted_mean(weights @ steps, sample_weight) / (n_steps or weights.shape[1])


def weighted_mean(values, sample_weight=None):
    """Mean over images of value times weight, the weights being 1 on average over the training set."""
    return values.mean() if sample_weight is None else (values * sample_weight).mean()


def _shares(values, position_power):
    """Prices (position / n) ** position_power along the last axis, scaled to sum to 1."""
    n = values.shape[-1]
    prices = (torch.arange(1, n + 1, device=values.device, dtype=values.dtype) / n) ** position_power
    return prices / prices.sum()
