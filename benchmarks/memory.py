"""Peak memory of fit and predict on images of 32x32x3 bytes, each measured in a process of its own.

    python benchmarks/memory.py

`fit` is stopped after 40 batches, when every buffer that training will ever need is there.
"""

import resource
import subprocess
import sys

import numpy as np
from skorch.callbacks import Callback

from growlattice import LatticeClassifier


class StopAfter(Callback):
    def __init__(self, n_batches):
        self.n_batches = n_batches

    def on_batch_end(self, net, **kwargs):
        if len(net.history[-1]["batches"]) == self.n_batches:
            raise KeyboardInterrupt


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def images(n_images):
    return np.random.RandomState(0).randint(0, 256, size=(n_images, 32, 32, 3), dtype=np.uint8)


def measure_fit(n_images):
    X, y = images(n_images), np.arange(n_images) % 10
    before = peak_mb()
    try:
        LatticeClassifier(callbacks=[StopAfter(40)], random_state=0).fit(X, y)
    except KeyboardInterrupt:
        pass
    print(f"fit on {n_images} images: {peak_mb() - before:.0f} MB beside the caller's {X.nbytes / 2**20:.0f} MB")


def measure_predict(n_images):
    X = images(n_images)
    clf = LatticeClassifier(max_channels=4, max_layers=2, max_steps=2, max_epochs=1).fit(X[:64], np.arange(64) % 10)
    clf.predict_proba(X[:1000])
    before = peak_mb()
    probas = clf.predict_proba(X)
    print(f"predict_proba on {n_images} images: {peak_mb() - before:.0f} MB, outputs {probas.nbytes / 2**20:.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"fit": measure_fit, "predict": measure_predict}[sys.argv[1]](int(sys.argv[2]))
    else:
        for arguments in (["fit", "50000"], ["predict", "5000"], ["predict", "50000"]):
            subprocess.run([sys.executable, __file__, *arguments], check=True)
