"""Figure 4d over more seeds: does time used rise with occlusion never seen in training?

    python figure_4_occlusion.py --n-jobs 2

Lattices of one layer, whose depth is in its time, under a time pressure of 0.2 and without compaction, on digits and on
MNIST, and test images occluded by patches of the background's black and of each image's mean pixel. Writes
figure_4_seeds.csv: the rise in steps from images that are whole, over seeds.
"""

import common
import numpy as np
import pandas as pd

from growlattice import LatticeClassifier
from growlattice.analysis import seed_interval
from growlattice.inspection import occlude

SHARES = [0.25, 0.5, 0.75]
SETTINGS = dict(max_channels=16, max_layers=1, max_steps=6, time_pressure=0.2, compact_every=None)
# data set: its training and test images, and what its lattices are told of them
DATA = {"digits": (None, None, {}), "mnist": (4000, 2000, {"image_size": 14})}
EPOCHS = {"smoke": 1, "small": 40, "full": 150}
N_SEEDS = {"smoke": 2, "small": 8, "full": 8}
FIRST_SEED = 11  # the settings were chosen with others


def rises(name, options):
    """Rise in steps by what covers the images and how much of them, as a table with intervals over seeds."""
    n_train, n_test, told = DATA[name]
    data = common.images(name, options.scale, n_train, n_test)
    make = dict(SETTINGS, max_epochs=EPOCHS[options.scale], **told, **common.where(options))
    seeds = range(FIRST_SEED, FIRST_SEED + N_SEEDS[options.scale])
    lattices = [LatticeClassifier(**make, random_state=seed) for seed in seeds]
    lattices = common.train(lattices, data.X_train, data.y_train, options.n_jobs)
    whole = np.array([lattice.time_used(data.X_test).mean() for lattice in lattices])
    accuracy = np.mean([lattice.score(data.X_test, data.y_test) for lattice in lattices])
    rows = []
    for fill, title in ((0, "black"), (None, "mean pixel")):
        for share in SHARES:
            occluded = occlude(data.X_test, share, fill=fill, random_state=0)
            rise = seed_interval(np.array([lattice.time_used(occluded).mean() for lattice in lattices]) - whole)
            rows.append({"fill": title, "share": share, "rise": rise.mean, "low": rise.low, "high": rise.high})
    return pd.DataFrame(rows).assign(data=name, time_used_whole=whole.mean(), accuracy=accuracy, n_seeds=len(seeds))


def main():
    """Train, measure, and write the table."""
    options = common.arguments(__doc__)
    common.report(pd.concat([rises(name, options) for name in DATA]), options.out, "figure_4_seeds")


if __name__ == "__main__":
    main()
