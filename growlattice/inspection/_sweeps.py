"""Displays of tables of models, such as sweeps: a value over a grid of two pressures, and the Pareto front."""

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length

from ._drawing import Display, legend_above

TITLES = {"time_used": "time used (steps)", "macs_per_image": "multiply-accumulates per image", "dur": "seconds"}


def _checked_columns(frame, *names):
    frame = pd.DataFrame(frame)
    missing = [name for name in names if name not in frame]
    if missing or frame.empty:
        raise ValueError(
            f"The frame has {len(frame)} rows and lacks the columns {missing}. Give a row for each model, and names "
            f"among {list(frame.columns)}."
        )
    return frame


def _axis_title(name):
    """Title of the axis for a column of a sweep or of `cv_results_`."""
    name = str(name).removeprefix("param_").removeprefix("mean_test_").rsplit("__", 1)[-1]
    return TITLES.get(name, name.replace("_", " "))


class PressureGridDisplay(Display):
    """A value, such as accuracy or a resource, over a grid of two pressures.

    Parameters
    ----------
    grid : DataFrame
        A row for each value of one pressure, a column for each value of the other. The two axes are named after the
        pressures. Cells that are nan stay blank. With up to 8 columns, each cell shows its number.
    value : str
        What the cells hold.

    Examples
    --------
    >>> rows = [(0, 0, 0.9), (0, 1, 0.8), (1, 0, 0.9), (1, 1, 0.7)]
    >>> frame = pd.DataFrame(rows, columns=["a", "b", "accuracy"])
    >>> display = PressureGridDisplay.from_frame(frame, x="a", y="b", value="accuracy")
    >>> display.grid.to_numpy()
    array([[0.9, 0.9],
           [0.8, 0.7]])
    """

    def __init__(self, grid, value):
        self.grid, self.value = grid, value

    @classmethod
    def from_frame(cls, frame, x, y, value, *, ax=None, vmin=None, vmax=None):
        """Draw the column `value` of a table of models, such as `read_sweep` and `cv_results_` give.

        The columns x and y hold the pressures; vmin and vmax are the limits of the colour scale. Columns that are
        missing, pressures that are nan, and several rows for one cell raise a ValueError.
        """
        frame = _checked_columns(frame, x, y, value)
        if frame[[x, y]].isna().any(axis=None):
            raise ValueError(f"Columns {x!r} and {y!r} hold nan, so that a row has no cell. Drop such rows.")
        duplicates = frame[frame.duplicated([x, y])]
        if len(duplicates):
            cell = f"{x}={duplicates[x].iloc[0]} and {y}={duplicates[y].iloc[0]}"
            raise ValueError(
                f"Several rows have {cell}, but a cell shows one. Select among the rows, or average them with "
                f"frame.groupby([{x!r}, {y!r}], as_index=False)[{value!r}].mean()."
            )
        return cls(frame.pivot(index=y, columns=x, values=value).astype(float), value).plot(ax, vmin=vmin, vmax=vmax)

    def _draw(self, ax, vmin=None, vmax=None):
        from matplotlib.ticker import EngFormatter

        values = np.ma.masked_invalid(self.grid.to_numpy(dtype=float))
        annotated = np.ma.ndenumerate(values) if values.shape[1] <= 8 else ()
        image = ax.imshow(values, origin="lower", aspect="auto", cmap="viridis", vmin=vmin, vmax=vmax)
        self.figure_.colorbar(image, ax=ax, label=_axis_title(self.value))
        for (row, column), value in annotated:
            color = "black" if np.dot(image.to_rgba(value)[:3], [0.299, 0.587, 0.114]) > 0.5 else "white"
            text = f"{value:.3g}" if abs(value) < 1000 else EngFormatter(places=1)(value)
            ax.text(column, row, text, ha="center", va="center", color=color)
        ax.set_xticks(range(len(self.grid.columns)), self.grid.columns)
        ax.set_yticks(range(len(self.grid.index)), self.grid.index)
        ax.set(xlabel=_axis_title(self.grid.columns.name), ylabel=_axis_title(self.grid.index.name))


class ParetoDisplay(Display):
    """Models by two measures, with the Pareto front marked: the models that no other beats.

    Parameters
    ----------
    x, y : Series
        The two measures of the models. The names of the series label the axes.
    front : Series of bool
        Which models are on the front.

    Examples
    --------
    >>> from growlattice.metrics import pareto_front
    >>> frame = pd.DataFrame({"time_used": [1.0, 2.0, 3.0], "accuracy": [0.90, 0.95, 0.94]})
    >>> front = pareto_front(frame, minimize=["time_used"], maximize=["accuracy"])
    >>> display = ParetoDisplay.from_frame(frame, x="time_used", y="accuracy", front=front)
    """

    def __init__(self, x, y, front):
        check_consistent_length(x, y, front)
        self.x, self.y, self.front = x, y, front

    @classmethod
    def from_frame(cls, frame, x, y, front, *, ax=None, line=True):
        """Draw two columns of a table of models.

        The front is what :func:`growlattice.metrics.pareto_front` returns, or the name of a column that holds it.
        Columns that are missing, and a front that is not of bools for the rows of the frame, raise a ValueError.
        """
        is_column = isinstance(front, str)
        frame = _checked_columns(frame, x, y, *([front] if is_column else []))
        on_front = frame[front] if is_column else frame.assign(front=front)["front"]
        if on_front.dtype != bool:
            raise ValueError(
                f"front gives {on_front.dtype} for the rows of frame, not bool. Give what pareto_front(frame) returns."
            )
        return cls(frame[x], frame[y], on_front).plot(ax, line=line)

    def _draw(self, ax, line=True):
        ax.plot(self.x[~self.front], self.y[~self.front], "o", color="0.6", label="beaten by another")
        order = self.x[self.front].argsort()
        x, y = self.x[self.front].iloc[order], self.y[self.front].iloc[order]
        ax.plot(x, y, "D-" if line else "D", color="tab:red", linewidth=1, label="Pareto front")
        ax.set(xlabel=_axis_title(self.x.name), ylabel=_axis_title(self.y.name))
        legend_above(ax)
