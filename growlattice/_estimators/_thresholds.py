"""Which threshold a stopping rule may have: what steps and accuracy follow from each, and which of them is enough.

An image stops after the first step whose confidence exceeds the threshold, and after the last in any case. Thresholds
are tried from the strictest down, up to the first that is not enough. With a guarantee, that is learn-then-test with
fixed-sequence testing (Angelopoulos, Bates, Candès, Jordan and Lei, 2021), where each test is a bet against the
hypothesis that too much is lost (Waudby-Smith and Ramdas, 2024).
"""

import numpy as np

STRICTEST, SPACING = 14.0, 0.1  # of the probabilities tried as thresholds, in logits
LEAST, MOST, N_MOVEMENTS = 1e-4, 10.0, 101  # of the movements tried as thresholds, in standard deviations of y
SHARES = (np.arange(50) + 0.5) / 50  # of the largest bet that can never lose more than all


def probability_thresholds(n_classes):
    """Probabilities to try as thresholds, from 1 down to that of a guess, evenly spaced in logits.

    They depend on no data, as the guarantee asks for.

    Returns
    -------
    ndarray of shape (n_thresholds,)
    """
    lowest = -np.log(max(n_classes - 1, 1))
    logits = np.arange(STRICTEST, lowest, -SPACING)
    return np.concatenate([[1.0], 1 / (1 + np.exp(-logits))])


def movement_thresholds():
    """Movements of an answer to try as thresholds, from 0 up, evenly spaced in logarithms, in standard deviations of y.

    Returns
    -------
    ndarray of shape (n_thresholds,)
    """
    return np.concatenate([[0.0], np.geomspace(LEAST, MOST, N_MOVEMENTS)])


def steps_until(confidence, threshold):
    """How many steps each image runs.

    Parameters
    ----------
    confidence : ndarray of shape (n_images, n_steps)
    threshold : float

    Returns
    -------
    ndarray of int64 of shape (n_images,)
        From 1 to n_steps.

    Examples
    --------
    >>> steps_until(np.array([[0.9, 0.1, 0.1], [0.2, 0.3, 0.1]]), 0.5)
    array([1, 3])
    """
    going = np.maximum.accumulate(confidence[:, :-1], axis=1) <= threshold
    return 1 + going.sum(axis=1)


def gains(value, steps, keep, chance):
    """By how much each image exceeds what is to be kept: their mean is not negative where enough is kept.

    Parameters
    ----------
    value : ndarray of shape (n_images, n_steps)
        What the answer after each step is worth: of a class, 1 if it is right, 0 if not; at most 1.
    steps : ndarray of int of shape (n_images,)
        Steps that each image runs.
    keep : float
        Share of the mean value above chance, after all steps, to keep.
    chance : float
        Value of a guess.

    Returns
    -------
    ndarray of shape (n_images,)
        At least ``(least - chance) - keep * (1 - chance)``, where `least` is the least value there can be.
    """
    stopped = np.take_along_axis(value, steps[:, None] - 1, axis=1)[:, 0]
    return (stopped - chance) - keep * (value[:, -1] - chance)


def log_evidence(gain, lowest):
    """Logarithm of the evidence that gains are above 0 on average; if they are not, it exceeds log(1 / d) at most with
    probability d.

    Someone who bets the same share of what he has on every image has, after all of them, the product of
    ``1 + share * gain / -lowest``. If gains are not above 0 on average, no share makes money on average, and so neither
    does a sum that is spread evenly over shares. What it has come to is the evidence.

    Parameters
    ----------
    gain : ndarray of shape (n_images,)
    lowest : float
        What no gain can be below, whatever the images.

    Returns
    -------
    float
    """
    return _log_capital(_growth(gain, lowest) * len(gain))


def images_needed(gain, lowest, confidence):
    """About how many images like these are evidence enough, to a hundredth; infinity if no number is."""
    counts = np.geomspace(1, 1e9, 2000)
    enough = _log_capital(_growth(gain, lowest)[:, None] * counts) >= -np.log1p(-confidence)
    return int(np.ceil(counts[enough.argmax()])) if enough.any() else np.inf


def lowest_threshold(confidence, value, thresholds, *, keep, chance, least=0.0, weight=None, guarantee=None):
    """The lowest threshold that is enough, if all stricter ones are too.

    Parameters
    ----------
    confidence, value : ndarray of shape (n_images, n_steps)
        See :func:`steps_until` and :func:`gains`.
    thresholds : ndarray of shape (n_thresholds,)
        To try, from the strictest down. For a guarantee they must not depend on the images.
    keep, chance : float
        See :func:`gains`.
    least : float, default=0.0
        The least value there can be, which a guarantee rests on.
    weight : ndarray of shape (n_images,), default=None
        How much each image counts.
    guarantee : float, default=None
        How certain it has to be that enough is kept on all images like these, above 0 and below 1. By default it is
        enough that it is kept on these.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the images are too few to show that even the strictest threshold is enough.
    """
    weight = np.ones(len(value)) if weight is None else weight / weight.mean()
    lowest, found = ((least - chance) - keep * (1 - chance)) * weight.max(), None
    for threshold in thresholds:
        gain = weight * gains(value, steps_until(confidence, threshold), keep, chance)
        if guarantee is None:
            enough = gain.mean() >= -1e-12  # rounding
        else:
            enough = log_evidence(gain, lowest) >= -np.log1p(-guarantee)
        if not enough:
            break
        found = threshold
    if found is None:
        raise ValueError(_too_few(gain, lowest, keep, guarantee))
    return float(found)


def _too_few(gain, lowest, keep, guarantee):
    needed = images_needed(gain, lowest, guarantee)
    kept = f"with a confidence of {guarantee}, that keep={keep} of the score above chance is kept"
    if needed == np.inf and keep < 1:
        return (
            f"No number of images like these can guarantee, {kept}: even if none stops early, their scores are not "
            "above that of a guess on average. Train the lattice further, or halt without confidence."
        )
    remedy = f"about {needed:,} like them, or more" if needed < np.inf else "a keep below 1"
    return (
        f"{len(gain)} images are too few to guarantee, {kept}, even if none stopped early. Give {remedy}, or a lower "
        "keep or confidence."
    )


def _growth(gain, lowest):
    """Mean logarithmic growth per image, for each share."""
    values, counts = np.unique(gain, return_counts=True)  # few, unless images are weighted
    return np.log1p(SHARES[:, None] * values / -lowest) @ counts / len(gain)


def _log_capital(log_growth):
    return np.logaddexp.reduce(log_growth, axis=0) - np.log(len(SHARES))
