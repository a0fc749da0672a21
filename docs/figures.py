"""What the pages draw when they are built, from the tables in docs/measured."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

MEASURED = Path(__file__).parent / "measured"


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
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=[1, 1])
    for (question, n_train, layers), group in lattices.groupby(["question", "n_train", "max_layers"], sort=False):
        label = f"{question}, {n_train:,} images, {layers} layer{'s'[: layers > 1]}"
        left.errorbar(group["accuracy"], group["relation"], yerr=_bars(group, "relation"), fmt="o", label=label)
    left.axhline(0, color="0.8", linewidth=1, zorder=0)
    left.set(xlabel="accuracy on test images", ylabel="time used with people's uncertainty\n(rank correlation)")
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize="small")
    best = lattices[(lattices["question"] == "animal or vehicle") & (lattices["n_train"] == 20000)]
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
    right.set(xlabel="rank correlation", ylabel="taken out", title="animal or vehicle, 20,000 images, five lattices")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)


def _bars(table, name):
    return [table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]]
