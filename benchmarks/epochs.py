"""How a lattice comes to its size: what is left of it after each epoch, as the csv that the home page draws.

python benchmarks/epochs.py --out docs/measured/epochs.csv
"""

import argparse

import pandas as pd
from sklearn.datasets import load_digits
from skorch.callbacks import Callback

from growlattice import LatticeClassifier


class Sizes(Callback):
    """Remembers the channels of each layer at the end of each epoch, before compaction."""

    def initialize(self):
        self.rows_ = []
        return self

    def on_epoch_end(self, net, **kwargs):
        channels, row = net.module_.channels_left, net.history[-1]
        layers = {f"layer {number}": n for number, n in enumerate(channels, start=1)}
        self.rows_.append({"epoch": row["epoch"], **layers, "steps": net.module_.steps_left})


def epochs(seed=0):
    X, y = load_digits(return_X_y=True)
    sizes = Sizes()
    clf = LatticeClassifier(
        breadth_pressure=5.0,
        depth_pressure=5.0,
        time_pressure=0.2,
        downsample=(2, 1, 1, 1),
        callbacks=[sizes],
        random_state=seed,
    )
    clf.fit(X[:900], y[:900])
    frame = pd.DataFrame(sizes.rows_).fillna(0).astype(int)
    return frame.assign(accuracy=clf.history_["accuracy"].round(4), time_used=clf.history_["time_used"].round(3))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    epochs().to_csv(parser.parse_args().out, index=False)
