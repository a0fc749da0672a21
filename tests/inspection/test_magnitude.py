import numpy as np
import pytest

from growlattice import LatticeClassifier
from growlattice.inspection import MagnitudeDisplay


def test_magnitudes_are_drawn_by_rank_with_survivors_left_of_the_boundary(fitted, images):
    pruned = LatticeClassifier(max_channels=6, max_layers=3, max_epochs=6, random_state=0).fit(*images)
    magnitude = pruned.channel_magnitude_
    pruned.prune(*images, keep=0.5)
    display = MagnitudeDisplay(magnitude, pruned.channel_mask_).plot()
    assert np.array_equal(display.ranked, -np.sort(-magnitude, axis=1))
    assert np.array_equal(display.ax_.images[0].get_array(), display.ranked)
    assert 0 < display.survivors.sum() < 18
    for layer, survivors in enumerate(display.survivors):
        left = display.ranked[layer, :survivors]
        assert np.array_equal(np.sort(left), np.sort(magnitude[layer, pruned.channel_mask_[layer]]))
    boundary = display.ax_.patches[-1].get_data()
    assert np.array_equal(boundary.values, pruned.channel_mask_.sum(axis=1) + 0.5)
    after = MagnitudeDisplay.from_estimator(pruned)
    assert np.array_equal(after.channel_magnitude, pruned.channel_magnitude_)
    assert np.array_equal(after.survivors, display.survivors)
    assert MagnitudeDisplay.from_estimator(fitted).ax_.get_legend() is None  # nothing pruned, no boundary
    with pytest.raises(ValueError, match=r"shape \(3, 6\), and channel_mask is of bool and shape \(6,\)"):
        MagnitudeDisplay(magnitude, pruned.channel_mask_[0])


@pytest.mark.parametrize(
    "magnitude, mask, message",
    [
        ([[1.0, np.nan]], [[True, False]], "channel_magnitude contains NaN"),
        ([[True, False]], [[1.0, 0.5]], "of float64"),
        ([[1.0, 0.5]], [[True]], r"shape \(1, 1\)"),
        ([1.0, 0.5], [True, False], r"\(n_layers, n_channels\)"),
    ],
)
def test_magnitudes_and_mask_must_be_of_one_shape(magnitude, mask, message):
    with pytest.raises(ValueError, match=message):
        MagnitudeDisplay(magnitude, mask)


@pytest.mark.parametrize("n_layers", [1, 2, 9])
def test_layers_are_counted_in_whole_numbers(n_layers):
    display = MagnitudeDisplay(np.ones((n_layers, 3)), np.ones((n_layers, 3), dtype=bool)).plot()
    ticks = [tick for tick in display.ax_.get_yticks() if 0.5 <= tick <= n_layers + 0.5]
    assert ticks and all(tick == round(tick) for tick in ticks)
