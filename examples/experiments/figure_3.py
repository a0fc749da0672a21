"""Figure 3 of Butkus et al. (2026): breadth against depth.

Lattices are trained over a grid of breadth and depth pressures, without a time pressure, and pruned on the training
images; everything else is measured on test images. The small scale takes MNIST at 8 by 8 pixels.

    python examples/experiments/figure_3.py --scale small

writes figure_3.png, figure_3_magnitudes.png and figure_3_attributions.png; figure_3_models.csv (a row for each model),
figure_3_pressures.csv (means over seeds) and figure_3_claims.csv.
"""

from functools import partial
from itertools import product

import common
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from growlattice import LatticeClassifier
from growlattice.inspection import (
    AttributionDisplay,
    MagnitudeDisplay,
    PressureGridDisplay,
    attribution_entropy,
    attribution_map,
)

SETTINGS = {
    "small": {
        "data": {"name": "mnist", "n_train": 2000, "n_test": 2000},
        "lattice": {"image_size": 8, "max_layers": 4, "max_steps": 3, "max_epochs": 20, "batch_size": 64},
        "pressures": [0.03, 0.3, 3.0, 30.0],
        "n_seeds": 3,
        "patch_size": 4,
    },
    "full": {
        "data": {"name": "cifar10"},
        "lattice": {"max_channels": 32, "max_layers": 6, "max_steps": 6, "max_epochs": 150, "batch_size": 128},
        "pressures": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0],
        "n_seeds": 5,
        "patch_size": 4,
    },
    "smoke": {
        "data": {"name": "digits", "n_train": 200, "n_test": 100},
        "lattice": {"max_channels": 4, "max_layers": 2, "max_steps": 2, "max_epochs": 3, "batch_size": 50},
        "pressures": [0.1, 1.0],
        "n_seeds": 2,
        "patch_size": 2,
    },
}
PRESSURES = ["breadth_pressure", "depth_pressure"]
VALUES = (
    "breadth_cost depth_cost channels_used layers_used accuracy accuracy_pruned kept_train kept_test "
    "attribution_entropy"
).split()
N_ATTRIBUTED, N_SHOWN = 200, 6  # images


def measure(lattice, data, patch_size):
    """What a fitted lattice came to: a row of the table, and its magnitudes with the mask that pruning leaves."""
    pruned = common.prune(lattice, data.X_train, data.y_train)
    chance, mask = 1 / len(lattice.classes_), np.zeros_like(lattice.channel_mask_)
    row = {name: getattr(lattice, name) for name in PRESSURES} | {"seed": lattice.random_state}
    row |= {"breadth_cost": lattice.costs_["breadth"], "depth_cost": lattice.costs_["depth"]}
    row |= {"channels_used": 0.0, "layers_used": 0, "kept_train": 1.0, "kept_test": 1.0}
    row["attribution_entropy"] = np.nan  # a lattice at chance attributes to nothing but rounding
    row["accuracy"] = row["accuracy_pruned"] = lattice.score(data.X_test, data.y_test)
    if pruned is not None:
        mask, trained = pruned.channel_mask_, pruned.resources_["accuracy"]
        row |= {"channels_used": pruned.channels_used_, "layers_used": pruned.layers_used_}
        row["accuracy_pruned"] = pruned.score(data.X_test, data.y_test)
        row["kept_train"] = (trained["after"] - chance) / (trained["before"] - chance)
        if row["accuracy"] > chance:
            row["kept_test"] = (row["accuracy_pruned"] - chance) / (row["accuracy"] - chance)
        maps = attribution_map(lattice, data.X_test[:N_ATTRIBUTED], patch_size=patch_size)
        row["attribution_entropy"] = np.nanmean(attribution_entropy(maps[:, ::patch_size, ::patch_size]))
    return row, (lattice.channel_magnitude_, mask)


def table_of_claims(models):
    """What the figure is to show, as numbers with intervals over seeds."""

    def at(breadth, depth, value):
        return models.query("breadth_pressure == @breadth and depth_pressure == @depth").set_index("seed")[value]

    low, high = models["breadth_pressure"].min(), models["breadth_pressure"].max()
    rows = []
    for pressure, value in product(PRESSURES, ["breadth_cost", "depth_cost", "channels_used", "layers_used"]):
        by_pressure = models.groupby(["seed", pressure])[value].mean().unstack()
        rows.append(common.claim(f"{value}, lowest minus highest {pressure}", by_pressure[low] - by_pressure[high]))
        falls = (by_pressure.mean().diff().iloc[1:] < 0).mean()
        rows[-1]["claim"] += f" (falls at {falls:.0%} of the steps between)"
    for value in ("kept_train", "kept_test"):
        rows.append(common.claim(value, models.groupby("seed")[value].mean()))
    for value in ("accuracy", "channels_used", "layers_used"):
        gap = at(low, high, value) - at(high, low, value)
        rows.append(common.claim(f"{value}, shallow and wide minus narrow and deep", gap))
    gap = at(high, high, "attribution_entropy") - at(low, low, "attribution_entropy")
    rows.append(common.claim("attribution entropy, most minus least constrained", gap))
    for value in ("accuracy", "layers_used"):
        by_seed = models.groupby("seed")
        correlations = [common.rank_correlation(seed["attribution_entropy"], seed[value]) for _, seed in by_seed]
        rows.append(common.claim(f"rank correlation of attribution entropy with {value}", correlations, limits=(-1, 1)))
    return pd.DataFrame(rows)


def draw_summary(cells):
    """Costs and resources against the pressures, and accuracy and attribution entropy over the grid."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 7.5), layout="constrained")
    panels = [("breadth_cost", *PRESSURES), ("depth_cost", *PRESSURES[::-1])]
    panels += [("channels_used", *PRESSURES), ("layers_used", *PRESSURES[::-1])]
    for ax, (value, x, other) in zip(axes[:, :2].flat, panels, strict=True):
        shades = np.linspace(0.8, 0, cells[other].nunique())
        for i, (level, rows) in enumerate(cells.groupby(other)):
            beside = rows.assign(**{x: rows[x] * 1.07**i})  # so that intervals do not hide each other
            common.curve(ax, beside, x, value, color=str(shades[i]), label=f"{level:g}")
        ax.set(xscale="log", xlabel=x.replace("_", " "), ylabel=value.replace("_", " "), ylim=(0, None))
        ax.legend(title=other.replace("_", " "), fontsize="small")
    for ax, value in zip(axes[:, 2], ("accuracy", "attribution_entropy"), strict=True):
        PressureGridDisplay.from_frame(cells, x="depth_pressure", y="breadth_pressure", value=value, ax=ax)
    return figure


def draw_magnitudes(grid, pressures):
    """Magnitude maps with the pruning boundary, one for each pair of pressures."""
    n = len(pressures)
    figure, axes = plt.subplots(n, n, figsize=(2.1 * n + 1, 1.7 * n), sharex=True, sharey=True, layout="constrained")
    for (breadth, depth), ax in zip(product(pressures[::-1], pressures), axes.flat, strict=True):
        display = MagnitudeDisplay(*grid[breadth, depth])
        n_layers, n_channels = display.ranked.shape
        shares = display.ranked / (display.ranked.max() or 1)
        extent = (0.5, n_channels + 0.5, 0.5, n_layers + 0.5)
        picture = ax.imshow(shares, origin="lower", aspect="auto", extent=extent, vmin=0, vmax=1, cmap="viridis")
        edges = np.arange(n_layers + 1) + 0.5
        line = {"edges": edges, "orientation": "horizontal", "baseline": None, "clip_on": False}
        ax.stairs(display.survivors + 0.5, color="white", linewidth=3.5, **line)
        ax.stairs(display.survivors + 0.5, color="red", linewidth=1.5, **line)
        ax.set_title(f"breadth {breadth:g}, depth {depth:g}", fontsize="small")
        ax.locator_params(integer=True, nbins=4)
    figure.colorbar(picture, ax=axes, label="weight magnitude (share of the strongest)")
    figure.supxlabel("channel, by rank (red: pruning boundary)")
    figure.supylabel("layer")
    return figure


def draw_attributions(lattices, data, patch_size):
    """Attribution maps of the same images from the lattices at the corners of the grid."""
    figure, axes = plt.subplots(2, 2, figsize=(17, 7), layout="constrained")
    shown = data.X_test[:N_SHOWN]
    for ax, (breadth, depth) in zip(axes.flat, lattices, strict=True):
        AttributionDisplay.from_estimator(lattices[breadth, depth], shown, patch_size=patch_size, ax=ax)
        names = [data.target_names[label] for label in lattices[breadth, depth].predict(shown)]
        ax.set_xticks(ax.get_xticks(), names)
        ax.set_title(f"breadth pressure {breadth:g}, depth pressure {depth:g}")
    return figure


def main():
    """Train, measure, draw."""
    options = common.arguments(__doc__)
    settings = SETTINGS[options.scale]
    pressures, patch_size = settings["pressures"], settings["patch_size"]
    data = common.images(scale=options.scale, **settings["data"])
    cells = list(product(pressures, pressures, range(settings["n_seeds"])))
    lattices = [
        LatticeClassifier(
            breadth_pressure=breadth,
            depth_pressure=depth,
            random_state=seed,
            compact_every=None,  # as in the paper, nothing is removed before training ends
            **common.where(options),
            **settings["lattice"],
        )
        for breadth, depth, seed in cells
    ]
    lattices = common.train(lattices, data.X_train, data.y_train, options.n_jobs)
    measured = common.in_parallel(
        partial(measure, data=data, patch_size=patch_size), lattices, options.n_jobs, "measured"
    )
    models = pd.DataFrame([row for row, _ in measured])
    common.report(models, options.out, "figure_3_models")
    means = common.over_seeds(models, PRESSURES, VALUES)
    common.report(means, options.out, "figure_3_pressures")
    common.report(table_of_claims(models), options.out, "figure_3_claims")
    common.save(draw_summary(means), options.out, "figure_3")
    grid = {cell[:2]: maps for cell, (_, maps) in zip(cells, measured, strict=True) if cell[2] == 0}
    common.save(draw_magnitudes(grid, pressures), options.out, "figure_3_magnitudes")
    corners = list(product(pressures[:: len(pressures) - 1], repeat=2))
    corners = {
        cell[:2]: lattice for cell, lattice in zip(cells, lattices, strict=True) if cell[:2] in corners and cell[2] == 0
    }
    common.save(draw_attributions(corners, data, patch_size), options.out, "figure_3_attributions")


if __name__ == "__main__":
    main()
