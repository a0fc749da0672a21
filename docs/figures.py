"""What the pages draw when they are built, from the tables in docs/measured."""

from io import StringIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from growlattice.metrics import pareto_front

MEASURED = Path(__file__).parent / "measured"
BLUE, GREY = "#2b6cb0", "#8a8f98"
LINES = {
    "path": dict(color=BLUE, marker="o", label="prices"),
    "path, downsampled": dict(color="#0d2f57", marker="o", label="prices, half the resolution"),
    "grid": dict(color="#dd6b20", marker="s", label="a grid of fixed lattices"),
    "CNN": dict(color=GREY, marker="^", label="a CNN"),
    "CNN, pooling": dict(color="#4a5058", marker="v", label="a CNN with pooling"),
    "torch-pruning": dict(color="#805ad5", marker="D", label="torch-pruning of it"),
    "MLP": dict(color="#2f855a", marker="x", label="a multilayer perceptron"),
}


def draw_claim(claim):
    """A row for each measurement of a claim of the paper: what was found, with its interval of 95 %."""
    claims = pd.read_csv(MEASURED / "claims.csv")
    rows = claims[claims["claim"] == claim]
    inside = (rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])
    if rows.empty or not inside.all():
        raise ValueError(f"{claim!r} has {len(rows)} rows, of which {(~inside).sum()} lie outside their interval.")
    figure, ax = plt.subplots(figsize=(7, 0.9 + 0.28 * len(rows)), layout="constrained")
    places = range(len(rows), 0, -1)
    clear = (rows["low"] > 0) | (rows["high"] < 0)
    colors = ["tab:blue" if is_clear else "0.55" for is_clear in clear]
    ax.hlines(places, rows["low"], rows["high"], colors=colors, linewidth=2)
    ax.scatter(rows["value"], places, c=colors, s=36, zorder=2)
    if rows["low"].min() < 0.5:
        ax.axvline(0, color="0.8", linewidth=1, zorder=0)
    ax.set_yticks(places, rows["label"])
    ax.set(xlabel=rows["panel"].iloc[0], ylim=(0.4, len(rows) + 0.6))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(left=False)


def draw_people():
    """Relation of time used to people's uncertainty: by accuracy, and with other measures taken out."""
    lattices = pd.read_csv(MEASURED / "people.csv")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.2), layout="constrained", width_ratios=[1, 1])
    for question, group in lattices.groupby("question", sort=False):
        left.errorbar(group["accuracy"], group["relation"], yerr=_bars(group, "relation"), fmt="o", label=question)
    left.axhline(0, color="0.8", linewidth=1, zorder=0)
    left.set(xlabel="accuracy on test images", ylabel="time used with people's uncertainty\n(rank correlation)")
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize="small")
    form = "question == 'animal or vehicle' and n_train == 20000 and time_pressure == 0.1 and max_steps == 6"
    best = lattices.query(form)
    taken_out = {
        "relation": "nothing",
        "given_image": "mean and contrast",
        "within_classes": "the class",
        "given_first": "its first uncertainty",
        "given_error": "its error",
    }
    for place, name in enumerate(taken_out):
        places = place + np.linspace(-0.25, 0.25, len(best))
        right.errorbar(best[name], places, xerr=_bars(best, name), fmt="o", color="tab:blue", markersize=4)
    right.axvline(0, color="0.8", linewidth=1, zorder=0)
    right.set_yticks(range(len(taken_out)), taken_out.values())
    right.invert_yaxis()
    right.set(xlabel="rank correlation", ylabel="taken out", title="animal or vehicle, five lattices")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)


def _bars(table, name):
    return [table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]]


def front_of(frame, method):
    """The means over seeds of a method's networks that none of its others beats, from the smallest up."""
    means = frame[frame["method"] == method].groupby("setting", as_index=False)[["macs", "accuracy"]].mean()
    return means[pareto_front(means, minimize=["macs"], maximize=["accuracy"])].sort_values("macs")


def draw_fronts(ax, methods, data="digits"):
    frame = pd.read_csv(MEASURED / "front.csv").query("data == @data")
    for method in [name for name in methods if name in set(frame["method"])]:
        front = front_of(frame, method)
        ax.plot(front["macs"], front["accuracy"], markersize=4, **LINES[method])
    ax.set(xscale="log", ylim=(0.84, 1.0), xlabel="multiply-accumulates per image", ylabel="accuracy on unseen images")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small", loc="lower right")


def shrinking():
    """The channels of a lattice at four epochs of its training."""
    epochs = pd.read_csv(MEASURED / "epochs.csv")
    layers = epochs.filter(like="layer ").to_numpy()
    shown = np.linspace(0, len(epochs) - 1, 4).round().astype(int)
    figure, axes = plt.subplots(2, 2, figsize=(5.6, 3.9), layout="constrained")
    for ax, row in zip(axes.flat, shown, strict=True):
        cells = np.arange(16) < layers[row][:, None]
        ax.pcolormesh(cells, cmap="Blues", vmin=-0.15, vmax=1.3, edgecolor="white", linewidth=1)
        accuracy = epochs["accuracy"][row]
        title = f"epoch {epochs['epoch'][row]}: {cells.sum()} channels,\ntraining accuracy {accuracy:.2f}"
        ax.set_title(title, loc="left")
        ax.set(xticks=[], yticks=np.arange(4) + 0.5, yticklabels=range(1, 5))
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    figure.supxlabel("channels of each layer", fontsize="medium")
    figure.supylabel("layer", fontsize="medium")


def home_front():
    """The networks that prices find, beside a grid of fixed lattices and CNNs."""
    _, ax = plt.subplots(figsize=(5.6, 3.9), layout="constrained")
    draw_fronts(ax, ["path", "path, downsampled", "grid", "CNN", "CNN, pooling"])


def fronts(data="digits"):
    """All methods of the comparison."""
    _, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    draw_fronts(ax, LINES, data)


def tables(path=MEASURED / "benchmarks.inc"):
    """The benchmarks' tables, as data frames by the name of their section."""
    found, lines = {}, path.read_text().split("\n")
    for number, line in enumerate(lines):
        if line and set(line) == {"-"}:
            section = lines[number - 1]
        if line.startswith('   "'):
            found.setdefault(section, []).append(line.strip())
    return {section: table(rows) for section, rows in found.items()}


def table(rows):
    return pd.read_csv(StringIO("\n".join(rows)))


def bars(section, label, value, reference=None, xlabel=None):
    """A bar for each row of a benchmark's table that has the value, with the lowest and highest where it has these."""
    frame = tables()[section].dropna(subset=[value]).iloc[::-1]
    names = frame[label].astype(str).agg(", ".join, axis=1)
    _, ax = plt.subplots(figsize=(7, 0.9 + 0.3 * len(frame)), layout="constrained")
    ax.barh(range(len(frame)), frame[value], color=BLUE, height=0.6)
    if {"lowest", "highest"} <= set(frame):
        spread = [frame[value] - frame["lowest"], frame["highest"] - frame[value]]
        ax.errorbar(frame[value], range(len(frame)), xerr=np.maximum(spread, 0), fmt="none", ecolor="black", capsize=3)
    if reference is not None:
        ax.axvline(reference, color="0.3", linestyle="--", linewidth=1)
    ax.set_yticks(range(len(frame)), names)
    ax.set(xlabel=xlabel or value)
    ax.spines[["top", "right"]].set_visible(False)


def scaling():
    """Time of an epoch against its multiply-accumulates, a line for each axis along which the lattice grows."""
    _, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for axis, rows in tables()["Scaling"].groupby("axis", sort=False):
        ax.plot(rows["GMAC an epoch"], rows["seconds"], "o-", label=axis)
    ax.set(xscale="log", yscale="log", xlabel="billions of multiply-accumulates in an epoch", ylabel="seconds")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)


GALLERY = """fit prune quickstart sweep search halting inspection explain growing regression table folder cost
onnx""".split()


def gallery_order(filename):
    """The order of the gallery: from a first fit to deployment."""
    name = filename.removeprefix("plot_").removesuffix(".py")
    return GALLERY.index(name) if name in GALLERY else len(GALLERY)
