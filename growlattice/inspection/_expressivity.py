"""Where a lattice lacks expressivity, as a table and a display."""

from ._drawing import Display
from ._inputs import fitted_attribute

COLUMNS = ("layer", "resource", "unreachable", "gain")


def expressivity_bottleneck(estimator, X, y, sample_weight=None, *, n_channels=8):
    """What each layer's readers want and no weight of theirs can bring about, and what new channels would gain.

    Parameters
    ----------
    estimator : LatticeClassifier or LatticeRegressor
        Fitted.
    X, y, sample_weight
        As in `fit`. All activities of all images are held at once, so some hundreds are a good number.
    n_channels : int, default=8
        How many new channels `gain` is of.

    Returns
    -------
    DataFrame
        See :meth:`growlattice.LatticeClassifier.expressivity`, which computes it.

    Raises
    ------
    TypeError
        If the estimator is of another kind.

    References
    ----------
    Verbockhaven, Rudkiewicz, Chevallier, Charpiat (2024). Growing Tiny Networks: Spotting Expressivity Bottlenecks and
    Fixing Them Optimally. Transactions on Machine Learning Research.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from growlattice import LatticeClassifier
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> small = dict(max_channels=2, max_layers=2, max_steps=2, max_epochs=1)
    >>> clf = LatticeClassifier(**small, random_state=0).fit(X, y)
    >>> expressivity_bottleneck(clf, X[:50], y[:50])["resource"].tolist()
    ['channels', 'channels']
    """
    return fitted_attribute(estimator, "expressivity")(X, y, sample_weight, n_channels=n_channels)


class ExpressivityDisplay(Display):
    """What each layer's readers want and cannot have, beside what new channels there would gain.

    Parameters
    ----------
    table : DataFrame
        What :func:`expressivity_bottleneck` returns.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = ["layer", "resource", "unreachable", "gain"]
    >>> table = pd.DataFrame([(1, "channels", 0.4, 0.01)], columns=columns)
    >>> ExpressivityDisplay(table).plot().ax_.get_ylabel()
    'wanted and unreachable, share'
    """

    def __init__(self, table):
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise ValueError(f"table lacks the columns {missing}. Give what expressivity_bottleneck returns.")
        self.table = table

    @classmethod
    def from_estimator(cls, estimator, X, y, sample_weight=None, *, n_channels=8, ax=None):
        """Compute and draw; the parameters are those of :func:`expressivity_bottleneck`."""
        return cls(expressivity_bottleneck(estimator, X, y, sample_weight, n_channels=n_channels)).plot(ax)

    @classmethod
    def from_frame(cls, table, *, ax=None):
        """Draw a table that is already computed."""
        return cls(table).plot(ax)

    def _draw(self, ax):
        table = self.table
        names = [
            f"layer {layer}" if resource == "channels" else f"layer {layer}\n(new)"
            for layer, resource in zip(table["layer"], table["resource"], strict=True)
        ]
        places = range(len(table))
        ax.bar([place - 0.2 for place in places], table["unreachable"], 0.4, color="0.5")
        ax.set(xticks=list(places), xticklabels=names, ylim=(0, 1), ylabel="wanted and unreachable, share")
        gains = ax.twinx()
        gains.bar([place + 0.2 for place in places], table["gain"], 0.4, color="tab:red")
        gains.set_ylabel("gain of new channels, to first order", color="tab:red")
