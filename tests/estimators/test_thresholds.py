"""Thresholds against loops over images and thresholds, and the bet against all that can happen."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import beta, binom

from growlattice._estimators._thresholds import (
    SHARES,
    gains,
    images_needed,
    log_evidence,
    lowest_threshold,
    movement_thresholds,
    probability_thresholds,
    steps_until,
)


def random_answers(n_images, n_steps=4, seed=0):
    """Confidences, and answers that are right more often the surer and the later they are."""
    rng = np.random.RandomState(seed)
    confidence = rng.uniform(0.1, 1, size=(n_images, n_steps))
    step = np.linspace(0.6, 1, n_steps)
    return confidence, (rng.uniform(size=(n_images, n_steps)) < confidence**0.2 * step).astype(float)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.8, 1.0])
def test_an_image_stops_after_the_first_step_above_the_threshold(threshold):
    confidence, _ = random_answers(50)
    for image, steps in zip(confidence, steps_until(confidence, threshold), strict=True):
        assert steps == next((t for t in range(1, 4) if image[t - 1] > threshold), 4)


def test_a_confidence_equal_to_the_threshold_does_not_stop():
    assert steps_until(np.array([[0.5, 0.6, 0.1]]), 0.5).tolist() == [2]


def test_gains_are_not_negative_on_average_exactly_where_enough_is_kept():
    confidence, right = random_answers(200)
    for keep, threshold in itertools.product((0.5, 0.9, 0.98, 1.0), (0.2, 0.5, 0.9)):
        steps = steps_until(confidence, threshold)
        accuracy = sum(right[image, steps[image] - 1] for image in range(200)) / 200
        target = 0.1 + keep * (right[:, -1].mean() - 0.1)
        gain = gains(right, steps, keep, 0.1)
        assert gain.mean() == pytest.approx(accuracy - target)
        assert gain.min() >= -0.1 - keep * 0.9 - 1e-12


def test_thresholds_are_probabilities_from_one_down_to_a_guess():
    thresholds = probability_thresholds(10)
    assert thresholds[0] == 1 and 0.1 <= thresholds[-1] < 0.11
    assert (np.diff(thresholds) < 0).all()
    logits = np.log(thresholds[1:] / (1 - thresholds[1:]))
    assert np.diff(logits) == pytest.approx(np.full(len(logits) - 1, -0.1), abs=1e-6)
    assert probability_thresholds(1)[-1] > 0.5


def test_movements_begin_at_none_and_end_where_all_stop():
    thresholds = movement_thresholds()
    assert thresholds[:2].tolist() == [0, 1e-4] and thresholds[-1] == pytest.approx(10)
    ratios = thresholds[2:] / thresholds[1:-1]
    assert ratios == pytest.approx(np.full(len(ratios), 10**0.05))


# --- evidence ---


def test_evidence_is_the_mean_capital_of_all_who_bet():
    gain, lowest = np.array([0.018, -0.002, -0.98, 0.018, 1.0]), -0.982
    capitals = []
    for share in SHARES:
        capital = 1.0
        for one in gain:
            capital *= 1 + share * one / 0.982
        capitals.append(capital)
    assert log_evidence(gain, lowest) == pytest.approx(math.log(sum(capitals) / len(capitals)))


@pytest.mark.parametrize("n_images", [1, 2, 3])
def test_evidence_is_one_on_average_where_gains_are_nothing_on_average(n_images):
    """So that it exceeds 1 / d at most with probability d. Over everything that can happen, with its probability."""
    outcomes = {0.018: 0.5, -0.002: 0.2, 1.0: 0.05, -0.98: 0.0, -0.5: None}
    outcomes[-0.5] = 1 - 0.75
    mean = sum(value * probability for value, probability in outcomes.items())
    outcomes = {value - mean: probability for value, probability in outcomes.items()}
    expected = 0.0
    for happened in itertools.product(outcomes, repeat=n_images):
        probability = math.prod(outcomes[value] for value in happened)
        expected += probability * math.exp(log_evidence(np.array(happened), lowest=-1.0))
    assert expected == pytest.approx(1)


def test_a_bet_finds_nearly_as_much_as_the_exact_bound_of_a_binomial():
    """Where images can only be lost, the exact bound on the share that is lost is that of Clopper and Pearson."""
    n_images, chance, keep = 2000, 0.1, 0.98
    allowed = {"exact": [], "bet": []}
    for lost in range(40):
        gain = np.where(np.arange(n_images) < lost, -chance - keep * (1 - chance), (1 - keep) * (1 - chance))
        if log_evidence(gain, -chance - keep * (1 - chance)) >= math.log(20):
            allowed["bet"].append(lost)
        # all images are right after the last step, so a share of (1 - keep) * (1 - chance) may be lost
        if beta.ppf(0.95, lost + 1, n_images - lost) <= (1 - keep) * (1 - chance):
            allowed["exact"].append(lost)
    assert allowed["bet"] == list(range(len(allowed["bet"])))
    assert 0.75 * len(allowed["exact"]) <= len(allowed["bet"]) <= len(allowed["exact"])


def test_the_number_of_images_needed_is_the_smallest_that_is_enough():
    gain, lowest = np.array([0.018] * 19 + [-0.002]), -0.982  # 95 % are right, and nothing changes
    needed = images_needed(gain, lowest, 0.95)
    assert 150 < needed < 400
    for n_images, enough in ((1.02 * needed, True), (0.96 * needed, False)):
        some = np.concatenate([np.full(round(0.95 * n_images), 0.018), np.full(round(0.05 * n_images), -0.002)])
        assert (log_evidence(some, lowest) >= math.log(20)) == enough
    assert images_needed(np.zeros(5), lowest, 0.95) == np.inf


# --- the choice ---


def naive_choice(confidence, right, thresholds, keep, chance, weight):
    """The lowest threshold that keeps enough, if all stricter ones do, by loops."""
    found, target = None, chance + keep * (np.average(right[:, -1], weights=weight) - chance)
    for threshold in thresholds:
        kept = 0.0
        for image in range(len(right)):
            steps = next((t for t in range(right.shape[1] - 1) if confidence[image, t] > threshold), -1)
            kept += weight[image] * right[image, steps]
        if kept / weight.sum() < target - 1e-9:
            break
        found = threshold
    return found


@pytest.mark.parametrize("keep", [0.8, 0.95, 0.98, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_threshold_is_the_lowest_that_keeps_enough(keep, weighted):
    confidence, right = random_answers(300)
    thresholds = probability_thresholds(10)
    weight = np.random.RandomState(1).uniform(0.1, 3, size=300) if weighted else None
    found = lowest_threshold(confidence, right, thresholds, keep=keep, chance=0.1, weight=weight)
    assert found == naive_choice(confidence, right, thresholds, keep, 0.1, np.ones(300) if weight is None else weight)


def test_a_guarantee_is_stricter_and_the_stricter_the_fewer_images():
    thresholds, found = probability_thresholds(10), []
    for n_images in (500, 2000, 8000):
        confidence, right = random_answers(n_images)
        found.append(lowest_threshold(confidence, right, thresholds, keep=0.9, chance=0.1, guarantee=0.95))
    found.append(lowest_threshold(confidence, right, thresholds, keep=0.9, chance=0.1))
    assert found == sorted(found, reverse=True) and len(set(found)) > 2


def test_a_guarantee_holds_as_often_as_it_says():
    """Over draws of the images that the threshold is chosen on; the truth is that of very many images."""
    thresholds, many = probability_thresholds(10)[::4], random_answers(50_000, seed=9)
    kept = np.array([many[1][np.arange(50_000), steps_until(many[0], t) - 1].mean() for t in thresholds])
    enough = dict(zip(thresholds, kept >= 0.1 + 0.9 * (many[1][:, -1].mean() - 0.1), strict=True))
    broken = {None: 0, 0.95: 0}
    for seed in range(100):
        confidence, right = random_answers(300, seed=seed)
        for guarantee in broken:
            chosen = lowest_threshold(confidence, right, thresholds, keep=0.9, chance=0.1, guarantee=guarantee)
            broken[guarantee] += not enough[chosen]
    assert broken[0.95] <= 5
    # thresholds that nothing guarantees break it significantly more often than 1 in 20
    assert binom.sf(broken[None] - 1, 100, 0.05) < 0.001


def test_where_no_number_of_images_can_guarantee_anything_the_error_says_so():
    right, confidence = np.zeros((40, 2)), np.full((40, 2), 0.5)
    with pytest.raises(ValueError, match="No number of images like these can guarantee, .* not above that of a guess"):
        lowest_threshold(confidence, right, probability_thresholds(10), keep=0.9, chance=0.1, guarantee=0.95)


def test_too_few_images_for_a_guarantee_are_an_error_that_says_how_many():
    confidence, right = random_answers(40)
    with pytest.raises(ValueError, match=r"40 images are too few to guarantee, .* keep=0.98 .* Give about [\d,]+ like"):
        lowest_threshold(confidence, right, probability_thresholds(10), keep=0.98, chance=0.1, guarantee=0.95)
    with pytest.raises(ValueError, match="Give a keep below 1"):
        lowest_threshold(confidence, right, probability_thresholds(10), keep=1.0, chance=0.1, guarantee=0.95)
