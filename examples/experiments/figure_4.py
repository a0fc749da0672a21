"""Figure 4: does a lattice take its time where time is needed?

First, lattices with fixed and with adaptive time selection are trained under time pressures from 0 to 1, without
space pressures and without compaction, so that steps that training images do not use are there for others. Then the
steps that adaptive lattices use are set against occlusion, which they never saw in training, and against people's
uncertainty about the same photographs (CIFAR-10H).

figure_4_pressures.csv    cost of time, steps used and accuracy, by time selection and pressure
figure_4_equal_time.csv   accuracy of adaptive less that of fixed selection at equal steps used
figure_4_occlusion.csv    steps used by time pressure and share occluded, and the rise from images that are whole
figure_4_people.csv       rank correlation of steps used with people's uncertainty and reaction times
figure_4_images.csv       what that is computed from: each test image of CIFAR-10
"""

from functools import partial
from itertools import product
from pathlib import Path

import common
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from growlattice import LatticeClassifier
from growlattice.analysis import correlate, seed_interval
from growlattice.datasets import fetch_cifar10h
from growlattice.inspection import ExtremesDisplay, occlude

CHOICES = ["fixed", "adaptive"]
STYLES = {"fixed": dict(color="0.5", marker="s", linestyle="--"), "adaptive": dict(color="tab:blue", marker="o")}
N_OCCLUDED = 2000  # test images of the sweep that are occluded
SHARES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
MEASURES = {"entropy": "people's uncertainty (nats)", "reaction_time": "people's reaction time (ms)"}
# sweep: data set and number of its training images. photographs: the lattices that people are compared with
SETTINGS = {
    "smoke": dict(
        sweep=("digits", 200),
        lattice=dict(max_channels=4, max_layers=1, max_steps=3, max_epochs=3),
        time_pressures=[0.0, 1.0],
        pressure_shown=1.0,
        seeds=[0, 1],
        photographs=dict(
            n_train=200, n_occluded=50, seeds=[0], max_channels=4, max_layers=1, max_steps=3, max_epochs=1
        ),
    ),
    "small": dict(
        sweep=("mnist", 4000),
        lattice=dict(image_size=14, max_channels=16, max_layers=1, max_steps=6, max_epochs=40),
        time_pressures=[0.0, 0.1, 0.2, 0.4, 0.7, 1.0],
        pressure_shown=0.2,
        seeds=[0, 1, 2],
        photographs=dict(
            n_train=10000, n_occluded=2000, seeds=[0], image_size=16, max_channels=16, max_layers=3, max_steps=5,
            max_epochs=12, time_pressure=0.2,
        ),
    ),
    "full": dict(
        sweep=("cifar10", None),
        lattice=dict(max_channels=32, max_layers=8, max_steps=8, max_epochs=150),
        time_pressures=[round(0.1 * step, 1) for step in range(11)],
        pressure_shown=0.2,
        seeds=[0, 1, 2, 3, 4],
        photographs=dict(
            n_train=None, n_occluded=None, seeds=[0, 1, 2, 3, 4], max_channels=32, max_layers=8, max_steps=8,
            max_epochs=150, time_pressure=0.2,
        ),
    ),
}  # fmt: skip


def train_sweep(data, settings, options):
    """Lattices with both kinds of time selection under every time pressure, as a table with a row for each."""
    cells = product(CHOICES, settings["time_pressures"], settings["seeds"])
    sweep = pd.DataFrame(cells, columns=["time_selection", "time_pressure", "seed"])
    make = partial(LatticeClassifier, **settings["lattice"], compact_every=None, **common.where(options))
    lattices = [
        make(time_selection=how, time_pressure=price, random_state=seed) for how, price, seed in sweep.to_numpy()
    ]
    sweep["lattice"] = lattices = common.train(lattices, data.X_train, data.y_train, options.n_jobs)
    sweep["time_cost"] = [lattice.costs_["time"] for lattice in lattices]
    sweep["time_used"] = [lattice.time_used(data.X_test).mean() for lattice in lattices]
    sweep["accuracy"] = [lattice.score(data.X_test, data.y_test) for lattice in lattices]
    return sweep


def compare_at_equal_time(sweep, n_levels=8):
    """Accuracy of either selection at levels of time that both reach with every seed, interpolated between lattices."""
    groups = sweep.groupby(["time_selection", "seed"])["time_used"]
    low, high = groups.min().max(), groups.max().min()
    levels = np.linspace(low, high, n_levels if low < high else 0)
    accuracy = {}
    for how, lattices in sweep.sort_values("time_used").groupby("time_selection"):
        curves = [np.interp(levels, one["time_used"], one["accuracy"]) for _, one in lattices.groupby("seed")]
        accuracy[how] = np.array(curves)  # (n_seeds, n_levels)
    difference = seed_interval(accuracy["adaptive"] - accuracy["fixed"])
    columns = {how: accuracy[how].mean(axis=0) for how in CHOICES}
    columns |= {"difference": difference.mean, "difference_low": difference.low, "difference_high": difference.high}
    return pd.DataFrame({"time_used": levels, **columns})


def time_by_occlusion(lattices, images):
    """Steps used for each image at each share occluded; of shape (n_shares, n_lattices, n_images)."""
    occluded = [occlude(images, share, random_state=0) for share in SHARES]
    return np.array([[lattice.time_used(some) for lattice in lattices] for some in occluded])


def occlusion_table(name, time_used, unit):
    """Mean steps and their rise from share 0 on, with intervals over the second axis of `time_used`, the `unit`."""
    table = pd.DataFrame({"data": name, "interval_over": unit, "n": time_used.shape[1], "share": SHARES})
    for column, values in {"time_used": time_used, "rise": time_used - time_used[0]}.items():
        table[column], table[f"{column}_low"], table[f"{column}_high"] = seed_interval(values, axis=1)
    return table


def by_class(images, columns):
    """Means of some columns over the images of each class, and bounds of their intervals over images."""
    return common.over_seeds(images, "label", columns).rename(columns={"n_seeds": "n_images"})


def correlate_with_people(images, measures):
    """Rank correlation of steps used with what was measured on people, over images and over classes."""
    rows = []
    for measure in measures:
        for unit, frame in {"image": images, "class": by_class(images, ["time_used", measure])}.items():
            pairs = frame[["time_used", measure]].dropna()
            found = correlate(pairs["time_used"], pairs[measure], random_state=0)
            rows.append({"measure": measure, "unit": unit, "n": len(pairs), "correlation": found.statistic})
            rows[-1] |= {"low": found.low, "high": found.high}
    return pd.DataFrame(rows)


def photographs(options, settings):
    """Photographs, a table of them, and time used by occlusion, all of CIFAR-10; None where that is not there."""
    settings = dict(settings)
    n_train, n_occluded, seeds = (settings.pop(name) for name in ("n_train", "n_occluded", "seeds"))
    data = common.images("cifar10", options.scale, n_train, optional=True)
    if data is None:
        return None
    if options.lattice:
        lattices = [LatticeClassifier.load(path, device=options.device) for path in options.lattice]
    else:
        make = partial(LatticeClassifier, **settings, compact_every=None, **common.where(options))
        lattices = [make(random_state=seed) for seed in seeds]
        lattices = common.train(lattices, data.X_train, data.y_train, options.n_jobs)
    images = pd.DataFrame({"row": data.test_rows, "label": np.array(data.target_names)[data.y_test]})
    images["time_used"] = np.mean([lattice.time_used(data.X_test) for lattice in lattices], axis=0)
    images["right"] = np.mean([lattice.predict(data.X_test) == data.y_test for lattice in lattices], axis=0)
    time_used = time_by_occlusion(lattices, data.X_test[:n_occluded]).mean(axis=1)  # (n_shares, n_occluded)
    return data, images, occlusion_table("cifar10", time_used, "images")


def what_people_did(options):
    """Measures of people on test images of CIFAR-10, a row for each; None where there are no such data."""
    if options.scale == "smoke":  # digits stand in for photographs, and noise for people
        return pd.DataFrame({"entropy": np.random.default_rng(0).uniform(size=2000)})
    try:
        people = fetch_cifar10h(raw_trials=options.reaction_times).frame
    except OSError as error:
        if options.reaction_times:
            raise SystemExit(f"{options.reaction_times} cannot be read: {error}") from error
        print(f"People are left out: {error}")
        return None
    return people[people.columns.intersection(list(MEASURES))]


def draw_pressures(axes, pressures, sweep):
    """Panels a to c: cost of time and steps used by pressure, and accuracy by steps used."""
    for how in CHOICES:
        of_kind = pressures[pressures["time_selection"] == how]
        style = STYLES[how] | {"label": f"{how} time selection"}
        common.curve(axes["cost"], of_kind, "time_pressure", "time_cost", **style)
        common.curve(axes["time"], of_kind, "time_pressure", "time_used", **style)
        common.curve(axes["accuracy"], of_kind.sort_values("time_used"), "time_used", "accuracy", **style)
        single = sweep[sweep["time_selection"] == how]
        axes["accuracy"].plot(single["time_used"], single["accuracy"], ".", color=style["color"], alpha=0.5)
    axes["cost"].set(xlabel="time pressure", ylabel="cost of time (1 = 4 steps)")
    axes["time"].set(xlabel="time pressure", ylabel="time used (steps)")
    axes["accuracy"].set(xlabel="time used (steps)", ylabel="accuracy on test images")
    axes["cost"].legend(frameon=False, fontsize="small")


def draw_people(axes, images, measure, people):
    """Panels f and g: what people did against steps used, by class and, in tenths of the images, by image."""
    classes = by_class(images, ["time_used", measure])
    bins = pd.qcut(images["time_used"].rank(method="first"), 10, labels=False)
    tenths = common.over_seeds(images.assign(bin=bins), "bin", ["time_used", measure])
    for unit, table in {"class": classes, "image": tenths}.items():
        ax = axes[f"{unit}_{measure}"]
        common.curve(ax, table, "time_used", measure, color="0.3", linestyle="none" if unit == "class" else "-")
        found = people[(people["measure"] == measure) & (people["unit"] == unit)].iloc[0]
        what = {"class": "means of the classes", "image": "means of tenths of the images"}[unit]
        rho = f"rank correlation {found.correlation:.2f} [{found.low:.2f}, {found.high:.2f}]"
        ax.set_title(f"{what}\n{rho}, n = {found.n}", fontsize="small")
        ax.set(xlabel="time used (steps)", ylabel=MEASURES[measure])
    axes[f"class_{measure}"].margins(x=0.2)  # room for the names
    for number, row in enumerate(classes.sort_values("time_used").itertuples()):
        place, side = (row.time_used, getattr(row, measure)), ("left", 4) if number % 2 else ("right", -4)
        style = dict(textcoords="offset points", ha=side[0], fontsize="x-small")
        axes[f"class_{measure}"].annotate(row.label, place, (side[1], 3), **style)


def main():
    """Train, measure, and write the tables and the figure."""
    options = common.arguments(
        __doc__,
        lattice=dict(type=Path, nargs="+", help="saved lattices trained on CIFAR-10, to compare with people"),
        reaction_times=dict(type=Path, help="cifar10h-raw.zip, or the cifar10h-raw.csv in it"),
    )
    settings = SETTINGS[options.scale]
    people = what_people_did(options)  # first of all: what is wrong with their file is said before training
    name, n_train = settings["sweep"]
    data = common.images(name, options.scale, n_train, 5000 if options.scale == "small" else None)
    sweep = train_sweep(data, settings, options)
    pressures = common.over_seeds(sweep, ["time_selection", "time_pressure"], ["time_cost", "time_used", "accuracy"])
    common.report(pressures, options.out, "figure_4_pressures")
    common.report(compare_at_equal_time(sweep), options.out, "figure_4_equal_time")
    occlusion = []
    for price, shown in sweep.query("time_selection == 'adaptive'").groupby("time_pressure"):
        time_used = time_by_occlusion(shown["lattice"], data.X_test[:N_OCCLUDED]).mean(axis=2)
        occlusion.append(occlusion_table(name, time_used, "seeds").assign(time_pressure=price))

    found, measures = photographs(options, settings["photographs"]), []
    if found:
        photos, images, occluded = found
        occlusion.append(occluded)
        if people is not None:
            images, measures = images.join(people, on="row"), list(people)
        people = correlate_with_people(images.dropna(), measures)
        common.report(people, options.out, "figure_4_people")
        images.to_csv(options.out / "figure_4_images.csv", index=False)
    occlusion = pd.concat(occlusion)
    common.report(occlusion, options.out, "figure_4_occlusion")
    occlusion = occlusion[occlusion["time_pressure"].isin([settings["pressure_shown"], np.nan])]

    layout = [["cost", "time", "accuracy", "occlusion"]]
    layout += [["extremes", "extremes", f"class_{measure}", f"image_{measure}"] for measure in measures]
    figure, axes = plt.subplot_mosaic(layout, figsize=(15, 3.8 * len(layout)), layout="constrained")
    draw_pressures(axes, pressures, sweep)
    for (label, table), style in zip(occlusion.groupby("data", sort=False), ("o-", "s--"), strict=False):
        kind = dict(marker=style[0], linestyle=style[1:], label=f"{label}, over {table['interval_over'].iloc[0]}")
        common.curve(axes["occlusion"], table, "share", "rise", **kind)
    axes["occlusion"].set(xlabel="share of the image occluded", ylabel="rise in time used (steps)")
    axes["occlusion"].axhline(0, color="0.7", linewidth=0.8, zorder=0)
    axes["occlusion"].legend(frameon=False, fontsize="small")
    if measures:
        ExtremesDisplay.from_predictions(photos.X_test, images["time_used"], images["label"], ax=axes["extremes"])
    for measure in measures:
        draw_people(axes, images.dropna(), measure, people)
    common.save(figure, options.out, "figure_4")


if __name__ == "__main__":
    main()
