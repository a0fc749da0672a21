"""Figure 6: do harder tasks grow larger lattices?

Lattices of one form are trained on MNIST, CIFAR-10 and Tiny ImageNet under the same pressures on space (breadth and
depth) and time, with images of one size, as many of them, and as many epochs. Channels and layers used are those that
pruning on the training images leaves. Efficiency is accuracy above chance for each of them.

figure_6_models.csv           each lattice: accuracy, channels, layers and steps used, and efficiency
figure_6_space_pressures.csv  means by data set and space pressure, over all time pressures
figure_6_time_pressures.csv   means by data set and time pressure, over all space pressures
figure_6_differences.csv      what the harder tasks use less what the first does, by pair of pressures and on average
"""

from functools import partial
from itertools import product

import common
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from growlattice import LatticeClassifier
from growlattice.analysis import efficiency, seed_interval
from growlattice.inspection import MagnitudeDisplay

TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "tiny_imagenet": "Tiny ImageNet"}
STYLES = {
    "mnist": dict(color="tab:blue", marker="o"),
    "cifar10": dict(color="tab:orange", marker="s", linestyle="--"),
    "tiny_imagenet": dict(color="tab:green", marker="^", linestyle=":"),
}
PRESSURES = ["space_pressure", "time_pressure"]
# column: unit, and the pressure that it is drawn against
RESOURCES = {
    "channels_used": ("channel", "space_pressure"),
    "layers_used": ("layer", "space_pressure"),
    "time_used": ("step", "time_pressure"),
}
MEASURES = ["accuracy", "accuracy_pruned", *RESOURCES, *(f"per_{unit}" for unit, _ in RESOURCES.values())]
SETTINGS = {
    "smoke": dict(
        n_train=300,
        n_test=100,
        lattice=dict(max_channels=4, max_layers=2, max_steps=2, max_epochs=4),
        space_pressures=[0.01, 0.1],
        time_pressures=[0.1],
        shown=(0.1, 0.1),
        seeds=[0, 1],
    ),
    "small": dict(
        n_train=2000,  # so few that the lattices can be trained until errors cost little
        n_test=2000,
        lattice=dict(
            image_size=12,
            max_channels=16,
            max_layers=6,
            max_steps=2,
            max_epochs=120,
            batch_size=64,
            annealing=(0.5, 0.9),  # a price that comes before the task is learned takes what it will need
        ),
        space_pressures=[5.0, 10.0, 20.0],
        time_pressures=[0.01],
        shown=(10.0, 0.01),
        seeds=[1, 2, 3],  # the settings were chosen with seed 0
    ),
    "full": dict(
        n_train=None,
        n_test=None,
        lattice=dict(image_size=32, max_channels=32, max_layers=8, max_steps=8, max_epochs=150, annealing=(0.5, 0.9)),
        space_pressures=[0.001, 0.01, 0.1, 1.0, 10.0, 100.0],
        time_pressures=[0.01, 0.1, 0.3, 1.0],
        shown=(0.1, 0.1),
        seeds=[0, 1, 2, 3, 4],
    ),
}


def grow(name, settings, options):
    """Lattices on one data set under all pressures, as a table with a row for each; None without the data set."""
    data = common.images(name, options.scale, settings["n_train"], settings["n_test"], optional=True)
    if data is None:
        return None
    cells = product(settings["space_pressures"], settings["time_pressures"], settings["seeds"])
    models = pd.DataFrame(cells, columns=[*PRESSURES, "seed"])
    make = partial(LatticeClassifier, **settings["lattice"], **common.where(options))
    lattices = [
        make(breadth_pressure=space, depth_pressure=space, time_pressure=time, random_state=seed)
        for space, time, seed in zip(*(models[column] for column in models), strict=True)
    ]
    lattices = common.train(lattices, data.X_train, data.y_train, options.n_jobs)
    rows = common.in_parallel(partial(measured, data=data), lattices, options.n_jobs, f"pruned on {name}")
    models = pd.concat([models, pd.DataFrame(rows)], axis=1)
    models["lattice"] = lattices
    models.insert(0, "data", name)
    return models


def measured(lattice, data):
    """Accuracy and time used on test images, and what is left when the lattice is pruned on the training images."""
    pruned = common.prune(lattice, data.X_train, data.y_train)
    if pruned is None:  # at chance no channel is of use
        left = {"channels_used": 0.0, "layers_used": 0, "mask": np.zeros_like(lattice.channel_mask_)}
    else:
        left = {
            "channels_used": pruned.channels_used_,
            "layers_used": pruned.layers_used_,
            "mask": pruned.channel_mask_,
        }
    row = left | {
        "time_used": lattice.time_used(data.X_test).mean(),
        "accuracy": lattice.score(data.X_test, data.y_test),
        "accuracy_pruned": (pruned or lattice).score(data.X_test, data.y_test),
    }
    for name, (unit, _) in RESOURCES.items():
        accuracy = row["accuracy" if name == "time_used" else "accuracy_pruned"]  # of the network that used it
        row[f"per_{unit}"] = efficiency(accuracy, row[name], len(data.target_names)) if row[name] else 0.0
    return row


def means(models, pressure):
    """Means by data set and one pressure; those over the other pressure are taken first, for each seed."""
    of_seeds = models.groupby(["data", pressure, "seed"], as_index=False, sort=False)[MEASURES].mean()
    return common.over_seeds(of_seeds, ["data", pressure], MEASURES)


def differences(models):
    """What the harder tasks use less what the first one does, over seeds: by pair of pressures, and on average."""
    first, *harder = models["data"].unique()
    average = models.groupby(["data", "seed"], as_index=False)[MEASURES].mean()
    cells = [*models.groupby(PRESSURES), (("all", "all"), average)]
    rows = []
    for name, (pair, cell), column in product(harder, cells, MEASURES[2:]):
        values = cell.pivot(index="seed", columns="data", values=column)
        mean, low, high = seed_interval(values[name] - values[first])
        compared = {"data": name, "less": first, **dict(zip(PRESSURES, pair, strict=True)), "of": column}
        rows.append(compared | {"difference": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def draw(models, tables, settings):
    """Magnitude maps with the line of pruning; resources used; and efficiency, each by data set."""
    names = list(models["data"].unique())
    figure = plt.figure(figsize=(13, 11), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 2])
    space, time = settings["shown"]
    shown = models.query("space_pressure == @space and time_pressure == @time").groupby("data", sort=False).first()
    strongest = max(lattice.channel_magnitude_.max() for lattice in shown["lattice"])
    for ax, model in zip(np.atleast_1d(above.subplots(1, len(names))), shown.itertuples(), strict=True):
        MagnitudeDisplay(model.lattice.channel_magnitude_, model.mask).plot(ax, vmax=strongest)
        ax.set_title(f"{TITLES[model.Index]} at space pressure {space:g}", fontsize="medium", pad=24)
    panels = below.subplots(2, len(RESOURCES))
    for used, ratio, (column, (unit, pressure)) in zip(*panels, RESOURCES.items(), strict=True):
        for name in names:
            table = tables[pressure].query("data == @name")
            common.curve(used, table, pressure, column, **STYLES[name], label=TITLES[name])
            common.curve(ratio, table, pressure, f"per_{unit}", **STYLES[name])
        label = "space pressure (breadth and depth)" if pressure == "space_pressure" else "time pressure"
        prices = settings[f"{pressure}s"]
        for ax, measure in ((used, f"{unit}s used"), (ratio, f"accuracy above chance per {unit}")):
            ax.set(xscale="log", xlabel=label, ylabel=measure)
            ax.set_xticks(prices, [f"{price:g}" for price in prices])
            ax.minorticks_off()
    panels[0, 0].legend(frameon=False, fontsize="small")
    return figure


def main():
    """Train, measure, and write the tables and the figure."""
    options = common.arguments(__doc__)
    settings = SETTINGS[options.scale]
    grown = [grow(name, settings, options) for name in TITLES]
    models = pd.concat([table for table in grown if table is not None], ignore_index=True)
    common.report(models.drop(columns=["lattice", "mask"]), options.out, "figure_6_models")
    tables = {pressure: means(models, pressure) for pressure in PRESSURES}
    for pressure, table in tables.items():
        common.report(table, options.out, f"figure_6_{pressure}s")
    if models["data"].nunique() > 1:
        common.report(differences(models), options.out, "figure_6_differences")
    common.save(draw(models, tables, settings), options.out, "figure_6")


if __name__ == "__main__":
    main()
