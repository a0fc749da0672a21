"""Peak memory of fit and predict on images of 32x32x3 bytes, each measured in a process of its own.

    python benchmarks/memory.py

On Linux, which tells the peak of a program apart from that of the one that started it. `fit` is stopped after 40
batches, when every buffer that training will ever need is there.
"""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
from skorch.callbacks import Callback

from growlattice import LatticeClassifier


class StopAfter(Callback):
    def __init__(self, n_batches):
        self.n_batches = n_batches

    def on_batch_end(self, net, **kwargs):
        if len(net.history[-1]["batches"]) == self.n_batches:
            raise KeyboardInterrupt


def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def images(n_images):
    return np.random.RandomState(0).randint(0, 256, size=(n_images, 32, 32, 3), dtype=np.uint8)


def measure_fit(n_images):
    X, y = images(n_images), np.arange(n_images) % 10
    before = peak_mb()
    try:
        LatticeClassifier(callbacks=[StopAfter(40)], max_epochs=1, random_state=0).fit(X, y)
    except KeyboardInterrupt:
        pass
    return {"call": "fit", "images": n_images, "peak, MB": peak_mb() - before, "caller's images, MB": X.nbytes / 2**20}


def measure_predict(n_images):
    X = images(n_images)
    clf = LatticeClassifier(max_channels=4, max_layers=2, max_steps=2, max_epochs=1).fit(X[:64], np.arange(64) % 10)
    clf.predict_proba(X[:1000])
    before = peak_mb()
    probas = clf.predict_proba(X)
    return {
        "call": "predict_proba",
        "images": n_images,
        "peak, MB": peak_mb() - before,
        "caller's images, MB": X.nbytes / 2**20,
        "outputs, MB": probas.nbytes / 2**20,
    }


def measure(n_images=50000):
    """Rows of fit, and of predict on a tenth of the images and on all; peaks come on top of the caller's images."""
    rows = []
    for call, number in (("fit", n_images), ("predict", n_images // 10), ("predict", n_images)):
        command = [sys.executable, __file__, call, str(number)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"fit": measure_fit, "predict": measure_predict}[sys.argv[1]](int(sys.argv[2]))))
    else:
        print(pd.DataFrame(measure()).to_string(index=False, na_rep="", float_format="{:.3g}".format))
