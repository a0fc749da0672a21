"""Figure 5 of Butkus et al. (2026): breadth, depth and time together.

Lattices are trained over a grid of all three pressures and pruned on the training images, except for their steps.
Everything else is measured on test images, and of the pruned lattices. They are those of figure 3 and others that pay
for time too: with the same folder for --memory, what figure 3 has trained is not trained again.

    python examples/experiments/figure_5.py --scale small

writes figure_5.png, figure_5_accuracy.png and figure_5_errors.png; figure_5_models.csv (a row for each model),
figure_5_pressures.csv (means over seeds), figure_5_errors.csv (error consistency of all pairs of models) and
figure_5_claims.csv.
"""

from functools import partial
from itertools import combinations, product

import common
import figure_3
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from growlattice import LatticeClassifier
from growlattice.analysis import embed_models, error_consistency_matrix, output_divergence
from growlattice.inspection import ParetoDisplay, PressureGridDisplay
from growlattice.metrics import pareto_front

# Breadth and depth pressures, time pressures, and the accuracy that the Pareto set must reach.
SETTINGS = {
    "small": {"space": [0.3, 3.0, 30.0], "time": [0.0, 0.3, 1.0], "threshold": 0.85},
    "full": {"space": figure_3.SETTINGS["full"]["pressures"], "time": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], "threshold": 0.7},
    "smoke": {"space": [0.1, 1.0], "time": [0.0, 1.0], "threshold": 0.1},
}
PRESSURES = ["breadth_pressure", "depth_pressure", "time_pressure"]
RESOURCES = ["channels_used", "layers_used", "time_used"]
ABOVE = {
    "loc": "lower left",
    "bbox_to_anchor": (0, 1),
    "ncols": 2,
    "frameon": False,
    "fontsize": "small",
    "columnspacing": 1,
}
LABELS = {"channels_used": "channels used", "layers_used": "layers used", "time_used": "time used (steps)"}


def measure(lattice, data):
    """What a fitted lattice came to: a row of the table, and its probabilities for the test images."""
    pruned = common.prune(lattice, data.X_train, data.y_train)
    row = {name: getattr(lattice, name) for name in PRESSURES} | {"seed": lattice.random_state}
    row |= {"channels_used": 0.0, "layers_used": 0}
    if pruned is not None:
        row |= {"channels_used": pruned.channels_used_, "layers_used": pruned.layers_used_}
    left = pruned or lattice
    probas = left.predict_proba(data.X_test).astype(np.float32)
    row["time_used"] = left.time_used(data.X_test).mean()
    row["accuracy"] = np.mean(left.classes_[probas.argmax(axis=1)] == data.y_test)
    return row, probas


def consistency_of_groups(consistency, resource, seeds):
    """Mean error consistency within the third of the models that uses least of a resource, the most, and between.

    Models of one seed start from the same weights and are alike for that reason too, so models of different seeds are
    compared; there is a row for each pair of seeds. Which of the models that use the same come first is drawn.
    """
    drawn = np.random.default_rng(0).permutation(len(resource))
    thirds = []
    for seed in np.unique(seeds):
        rows = np.flatnonzero(seeds == seed)
        order, third = rows[np.lexsort((drawn[rows], resource[rows]))], max(len(rows) // 3, 1)
        thirds.append((order[:third], order[-third:]))

    def mean(one, other):
        return consistency[np.ix_(one, other)].mean()

    rows = []
    for (least, most), (others_least, others_most) in combinations(thirds, 2):
        between = (mean(least, others_most) + mean(most, others_least)) / 2
        rows.append((mean(least, others_least), mean(most, others_most), between))
    return np.array(rows)


def explained(inputs, output):
    """Share of the variance of ranks that a linear model explains."""
    inputs, output = pd.DataFrame(inputs).rank(), pd.Series(output).rank()
    return LinearRegression().fit(inputs, output).score(inputs, output) if output.nunique() > 1 else np.nan


def table_of_claims(models, consistency, divergence):
    """What the figure is to show, as numbers with intervals over seeds; each seed has a map of its own."""
    seeds = [np.flatnonzero(models["seed"] == seed) for seed in models["seed"].unique()]
    rows = []
    for pressure in PRESSURES:
        by_pressure = models.groupby(["seed", pressure])["accuracy"].mean().unstack()
        gap = by_pressure.iloc[:, 0] - by_pressure.iloc[:, -1]
        rows.append(common.claim(f"accuracy, lowest minus highest {pressure}", gap))
    fronts = [models.iloc[seed].query("pareto_of_seed") for seed in seeds]
    rows.append(common.claim("Pareto set: models", [len(front) for front in fronts]))
    for name in RESOURCES:
        ranges = [front[name].max() - front[name].min() for front in fronts]
        rows.append(common.claim(f"Pareto set: {name}, largest minus smallest", ranges))
    for a, b in combinations(RESOURCES, 2):
        correlations = [common.rank_correlation(front[a], front[b]) for front in fronts]
        rows.append(common.claim(f"Pareto set: rank correlation of {a} and {b}", correlations, limits=(-1, 1)))
    for name in RESOURCES:
        least, most, between = consistency_of_groups(consistency, models[name].to_numpy(), models["seed"].to_numpy()).T
        rows += [
            common.claim_over_pairs(f"error consistency{of} {name}", values, len(seeds))
            for of, values in {
                " within least": least,
                " within most": most,
                " between least and most": between,
                ", within least minus between,": least - between,
            }.items()
        ]
    places = [pd.DataFrame(embed_models(divergence[np.ix_(s, s)], random_state=0), columns=["x", "y"]) for s in seeds]
    for name in ["accuracy", *RESOURCES]:
        values = [models[name].to_numpy()[s] for s in seeds]
        of_map = [explained(*pair) for pair in zip(places, values, strict=True)]
        rows.append(
            common.claim(
                f"map explains of the ranks of {name} (chance: {2 / (len(seeds[0]) - 1):.2f})", of_map, limits=(0, 1)
            )
        )
        if name != "accuracy":
            gain = []
            for seed, place, value in zip(seeds, places, values, strict=True):
                accuracy = models[["accuracy"]].iloc[seed].reset_index(drop=True)
                gain.append(explained(place.join(accuracy), value) - explained(accuracy, value))
            rows.append(common.claim(f"map explains of the ranks of {name}, beyond accuracy", gain))
    return pd.DataFrame(rows)


def draw_accuracy(means):
    """Accuracy over breadth and depth pressures, for each time pressure."""
    levels = means["time_pressure"].unique()
    figure, axes = plt.subplots(1, len(levels), figsize=(4.6 * len(levels), 3.8), layout="constrained", squeeze=False)
    style = {"vmin": means["accuracy"].min(), "vmax": means["accuracy"].max()}
    for ax, (level, rows) in zip(axes.flat, means.groupby("time_pressure"), strict=True):
        PressureGridDisplay.from_frame(rows, x="depth_pressure", y="breadth_pressure", value="accuracy", ax=ax, **style)
        ax.set_title(f"time pressure {level:g}")
    return figure


def draw_trade_offs(models, places, threshold):
    """The Pareto set by pairs of resources, and the map of outputs shaded by accuracy and by each resource."""
    figure, axes = plt.subplots(2, 4, figsize=(17, 8), layout="constrained")
    enough = models[models["accuracy"] >= threshold].rename(columns=LABELS)
    pairs = [] if enough.empty else combinations(LABELS.values(), 2)  # none may be accurate enough for the set
    for ax, (a, b) in zip(axes[0], pairs, strict=False):
        ParetoDisplay.from_frame(enough, a, b, "pareto", ax=ax, line=False)  # the set is a surface over three resources
        ax.legend(["beaten by another", "Pareto set"], **ABOVE)
        ax.locator_params(integer=True)
    points = axes[0, 3].scatter(models["channels_used"], models["accuracy"], c=models["layers_used"], cmap="viridis")
    figure.colorbar(points, ax=axes[0, 3], label=LABELS["layers_used"])
    axes[0, 3].axhline(threshold, color="0.6", linestyle="--", label="Pareto set: from here upwards")
    axes[0, 3].set(xlabel=LABELS["channels_used"], ylabel="accuracy")
    axes[0, 3].legend(**ABOVE)
    for ax, name in zip(axes[1], ["accuracy", *RESOURCES], strict=True):
        points = ax.scatter(*places.T, c=models[name], cmap="viridis", edgecolor="0.5", linewidth=0.5)
        figure.colorbar(points, ax=ax, label=LABELS.get(name, name))
        ax.set(xlabel="MDS of outputs, first axis (√bit)", ylabel="second axis (√bit)")
        ax.set_aspect("equal", adjustable="datalim")
    return figure


def draw_errors(consistency, models):
    """Error consistency of all pairs of models, sorted by each resource."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    unequal = consistency[~np.eye(len(consistency), dtype=bool)]
    for ax, name in zip(axes, RESOURCES, strict=True):
        order = np.argsort(models[name], kind="stable").to_numpy()
        picture = ax.imshow(consistency[np.ix_(order, order)], vmin=unequal.min(), vmax=unequal.max(), cmap="viridis")
        ax.set(title=f"sorted by {LABELS[name]}", xlabel="model, least to most", ylabel="model, least to most")
    figure.colorbar(picture, ax=axes, label="error consistency (Cohen's kappa)")
    return figure


def main():
    """Train, measure, draw."""
    options = common.arguments(__doc__)
    shared, settings = figure_3.SETTINGS[options.scale], SETTINGS[options.scale]
    data = common.images(scale=options.scale, **shared["data"])
    cells = product(settings["space"], settings["space"], settings["time"], range(shared["n_seeds"]))
    lattices = [
        LatticeClassifier(
            **dict(zip(PRESSURES, pressures, strict=True)),
            random_state=seed,
            compact_every=None,  # as in figure 3
            **common.where(options),
            **shared["lattice"],
        )
        for *pressures, seed in cells
    ]
    lattices = common.train(lattices, data.X_train, data.y_train, options.n_jobs)
    rows, probas = zip(
        *common.in_parallel(partial(measure, data=data), lattices, options.n_jobs, "measured"), strict=True
    )
    models, probas = pd.DataFrame(rows), np.stack(probas)  # probas: (n_models, n_images, n_classes)
    models[["pareto", "pareto_of_seed"]] = False
    enough = models[models["accuracy"] >= settings["threshold"]]
    models.loc[enough.index, "pareto"] = pareto_front(enough, minimize=RESOURCES)
    for _, group in enough.groupby("seed"):
        models.loc[group.index, "pareto_of_seed"] = pareto_front(group, minimize=RESOURCES)
    consistency = error_consistency_matrix(probas.argmax(axis=2) == np.searchsorted(lattices[0].classes_, data.y_test))
    divergence = output_divergence(probas)
    places = embed_models(divergence, random_state=0)
    means = common.over_seeds(models, PRESSURES, ["accuracy", *RESOURCES])
    common.report(models.assign(map_x=places[:, 0], map_y=places[:, 1]), options.out, "figure_5_models")
    common.report(means, options.out, "figure_5_pressures")
    common.report(table_of_claims(models, consistency, divergence), options.out, "figure_5_claims")
    pd.DataFrame(consistency).to_csv(options.out / "figure_5_errors.csv", index=False)
    common.save(draw_trade_offs(models, places, settings["threshold"]), options.out, "figure_5")
    common.save(draw_accuracy(means), options.out, "figure_5_accuracy")
    common.save(draw_errors(consistency, models), options.out, "figure_5_errors")


if __name__ == "__main__":
    main()
