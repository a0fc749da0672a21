"""The lattice once more, as naive NumPy loops in float64, written from the formulas and not from the code."""

import math

import numpy as np

# The reference size, in whose units everything is counted: channels, layers, steps.
C0, L0, T0 = 16, 4, 4


def convolve(image, kernel, bias=None):
    """Cross-correlation of (inputs, height, width) with (outputs, inputs, k, k), zeros around, one number at a time."""
    n_outputs, n_inputs, k, _ = kernel.shape
    _, height, width = image.shape
    out = np.zeros((n_outputs, height, width))
    for o in range(n_outputs):
        for row in range(height):
            for column in range(width):
                total = 0.0 if bias is None else bias[o]
                for i in range(n_inputs):
                    for dy in range(k):
                        for dx in range(k):
                            y, x = row + dy - k // 2, column + dx - k // 2
                            if 0 <= y < height and 0 <= x < width:
                                total += kernel[o, i, dy, dx] * image[i, y, x]
                out[o, row, column] = total
    return out


def divisive_normalization(drive):
    out = np.empty_like(drive)
    n_channels, height, width = drive.shape
    for row in range(height):
        for column in range(width):
            pool = sum(abs(drive[c, row, column]) for c in range(n_channels)) / C0
            out[:, row, column] = drive[:, row, column] / (1 + pool)
    return out


def block_means(maps, factor):
    """The mean of the pixels that are there in each block of factor x factor, one block at a time."""
    n_channels, height, width = maps.shape
    out = np.zeros((n_channels, math.ceil(height / factor), math.ceil(width / factor)))
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            ys = range(row * factor, min(row * factor + factor, height))
            xs = range(column * factor, min(column * factor + factor, width))
            for c in range(n_channels):
                out[c, row, column] = sum(maps[c, y, x] for y in ys for x in xs) / (len(ys) * len(xs))
    return out


def repeat_pixels(maps, factor, height, width):
    """At each pixel of a map of the size given, the pixel whose block it is in."""
    out = np.zeros((len(maps), height, width))
    for row in range(height):
        for column in range(width):
            out[:, row, column] = maps[:, row // factor, column // factor]
    return out


def softmax(logits):
    exponentials = [math.exp(logit - max(logits)) for logit in logits]
    return np.array([value / sum(exponentials) for value in exponentials])


def forward(
    weights, image, n_layers, n_steps, temperature, noise=None, drop=(), bound=None, factors=None, answer=softmax
):
    """Time-selection weights (n_steps,), step probabilities (n_steps, n_classes), their mixture, and the activity.

    Parameters
    ----------
    weights : dict of str to ndarray
        The lattice's state dict.
    image : ndarray of shape (n_inputs, height, width)
    noise : ndarray of shape (n_steps, n_layers, n_channels, height, width), default=None
        What is added to the hidden states.
    drop : collection of str
        Terms to leave out: "top_down", "lateral", "top_layer" (its readout), "step_1" (its vote).
    bound : int, default=None
        Steps before any were removed; by default n_steps.
    factors : sequence of int, default=None
        By which each layer's maps are smaller than those below; by default 1.
    answer : callable
        What becomes of the readout: softmax, or for numbers nothing.

    Returns
    -------
    Of one image: ndarrays of shape (n_steps,), (n_steps, n_classes), (n_classes,) and (n_steps, n_layers, n_channels).
    """
    image = (image - weights["pixel_mean"]) / weights["pixel_std"]
    u = convolve(image, weights["input.weight"], weights["input.bias"])
    factors = factors or [1] * n_layers
    hidden = [0.0] * n_layers
    previous = None
    step_probas, scores, activity = [], [], []
    for step in range(n_steps):
        active = []
        for layer in range(n_layers):
            below = u if layer == 0 else active[layer - 1]
            below = block_means(below, factors[layer])
            d = divisive_normalization(
                convolve(below, weights[f"bottom_up.{layer}.weight"], weights[f"bottom_up.{layer}.bias"])
            )
            r = np.zeros_like(d)
            if step > 0:
                if "lateral" not in drop:
                    r = r + convolve(previous[layer], weights[f"lateral.{layer}.weight"])
                if layer + 1 < n_layers and "top_down" not in drop:
                    from_above = convolve(previous[layer + 1], weights[f"top_down.{layer}.weight"])
                    r = r + repeat_pixels(from_above, factors[layer + 1], *r.shape[1:])
                r = divisive_normalization(r)
            hidden[layer] = hidden[layer] + d + r
            if noise is not None:
                hidden[layer] = hidden[layer] + noise[step, layer]
            active.append(np.maximum(hidden[layer], 0))
        previous = active
        activity.append([[channel.mean() for channel in layer] for layer in active])
        z = np.array(activity[-1]).flatten()
        readout = weights["readout.weight"].copy()
        if "top_layer" in drop:
            readout[:, -len(u) :] = 0
        step_probas.append(answer(readout @ z + weights["readout.bias"]))
        if "selector.0.weight" in weights:
            inner = np.maximum(weights["selector.0.weight"] @ z + weights["selector.0.bias"], 0)
            scores.append(float(weights["selector.2.weight"][0] @ inner + weights["selector.2.bias"][0]))
        else:
            scores.append(float(weights["step_scores"][step]))
    norm = math.sqrt(sum(score**2 for score in scores))
    scale = temperature * math.sqrt((bound or n_steps) / T0)
    time_weights = softmax([scale * weights["score_norm"] * score / norm for score in scores])
    if "step_1" in drop:
        time_weights[0] = 0
    probas = sum(s * p for s, p in zip(time_weights, step_probas, strict=True))
    return time_weights, np.array(step_probas), probas, np.array(activity)


def channel_magnitude(weights, n_layers, gains):
    """Sum of |w| over every kernel that writes a channel, over its expectation in a fresh reference lattice.

    `gains` are those of bottom-up and of recurrent kernels: a fresh weight is normal, of standard deviation
    gain / sqrt(number of weights that write a channel of the kernel). Of shape (n_layers, n_channels).
    """
    rows = []
    for layer in range(n_layers):
        names = [f"bottom_up.{layer}.weight", f"lateral.{layer}.weight"]
        if layer + 1 < n_layers:
            names.append(f"top_down.{layer}.weight")
        n_channels, _, k, _ = weights[names[0]].shape
        has_layer_above = layer + 1 < L0  # in the reference lattice
        fresh_gains = [gains[0], gains[1], gains[1]] if has_layer_above else [gains[0], gains[1]]
        n_weights = C0 * k * k
        expected = sum(n_weights * gain / math.sqrt(n_weights) * math.sqrt(2 / math.pi) for gain in fresh_gains)
        rows.append(
            [sum(abs(w) for name in names for w in weights[name][c].ravel()) / expected for c in range(n_channels)]
        )
    return np.array(rows)


def breadth_cost(magnitude, position_power):
    unit = sum((rank / C0) ** position_power for rank in range(1, C0 + 1))
    total = 0.0
    for layer in magnitude:
        for rank, value in enumerate(sorted(layer, reverse=True), start=1):
            total += (rank / C0) ** position_power * value / unit
    return total / L0


def depth_cost(magnitude, position_power):
    unit = sum((height / L0) ** position_power for height in range(1, L0 + 1))
    return sum(
        (height / L0) ** position_power * sum(layer) / C0 / unit for height, layer in enumerate(magnitude, start=1)
    )


def time_cost(weights):
    return sum(s * t / T0 for row in weights for t, s in enumerate(row, start=1)) / len(weights)


def squared_error_cost(values, targets):
    """Over images and outputs, of targets whose variance is 1."""
    total = 0.0
    for value, target in zip(values, targets, strict=True):
        total += sum((v - t) ** 2 for v, t in zip(value, target, strict=True)) / len(target)
    return total / len(values)
