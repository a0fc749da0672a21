"""What the pages draw when they are built, from the tables in docs/measured."""

from pathlib import Path

import matplotlib.pyplot as plt
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
