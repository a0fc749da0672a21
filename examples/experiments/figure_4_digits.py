"""Figure 4d on scikit-learn's digits: does time used rise with occlusion never seen in training?

    python figure_4_digits.py --n-jobs 2

Lattices of one layer, whose depth is in its time, under a time pressure of 0.2 and without compaction, and test
images occluded by patches of the background's black and of each image's mean pixel. Writes figure_4_digits.csv: the
rise in steps from images that are whole, over seeds.
"""

import common
import numpy as np
import pandas as pd

from growlattice import LatticeClassifier
from growlattice.analysis import seed_interval
from growlattice.inspection import occlude

SHARES = [0.25, 0.5, 0.75]
SETTINGS = dict(max_channels=16, max_layers=1, max_steps=6, time_pressure=0.2, compact_every=None)
EPOCHS = {"smoke": 1, "small": 40, "full": 150}
SEEDS = range(11, 19)  # the settings were chosen with others


def main():
    """Train, measure, and write the table."""
    options = common.arguments(__doc__)
    data = common.images("digits", options.scale)
    make = dict(SETTINGS, max_epochs=EPOCHS[options.scale], **common.where(options))
    lattices = [LatticeClassifier(**make, random_state=seed) for seed in SEEDS]
    lattices = common.train(lattices, data.X_train, data.y_train, options.n_jobs)
    whole = np.array([lattice.time_used(data.X_test).mean() for lattice in lattices])
    accuracy = np.mean([lattice.score(data.X_test, data.y_test) for lattice in lattices])
    rows = []
    for fill, name in ((0, "black"), (None, "mean pixel")):
        for share in SHARES:
            occluded = occlude(data.X_test, share, fill=fill, random_state=0)
            rise = seed_interval(np.array([lattice.time_used(occluded).mean() for lattice in lattices]) - whole)
            rows.append({"fill": name, "share": share, "rise": rise.mean, "low": rise.low, "high": rise.high})
    frame = pd.DataFrame(rows).assign(time_used_whole=whole.mean(), accuracy=accuracy, n_seeds=len(SEEDS))
    common.report(frame, options.out, "figure_4_digits")


if __name__ == "__main__":
    main()
