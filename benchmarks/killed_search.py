"""A search that is killed at random moments, against the same search left alone.

    python benchmarks/killed_search.py [--kills 20]

A GridSearchCV of 24 fits on digits with n_jobs=2 and a memory runs once undisturbed. Then it runs again on an empty
memory; its whole process group gets SIGKILL at random moments, and it is started again each time until it ends.
Printed: whether the two `cv_results_` are equal, how many finished fits were trained twice, and the ratio of training
times, in which every epoch counts that was begun, to its end or to the kill, and of the numbers of epochs begun.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from growlattice import LatticeClassifier

GRID = {"time_pressure": [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5]}


class EpochLog:
    """A callback of scikit-learn's that appends the begin and end of each epoch to a file."""

    def __init__(self, path):
        self.path = str(path)

    def _write(self, what, context):
        if context.task_name == "epoch":
            with open(self.path, "a") as file:
                file.write(f"{what} {os.getpid()} {time.time()}\n")

    def setup(self, estimator, context):
        """Nothing to prepare."""

    def teardown(self, estimator, context):
        """Nothing to clear up."""

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self._write("begin", context)

    def on_fit_task_end(self, estimator, context, **kwargs):
        self._write("end", context)


def search(folder, epochs, seconds):
    X, y = load_digits(return_X_y=True)
    clf = LatticeClassifier(
        max_epochs=epochs, random_state=0, memory=folder / "memory", checkpoint_seconds=seconds
    ).set_callbacks(EpochLog(folder / "epochs"))
    results = GridSearchCV(clf, GRID, cv=3, n_jobs=2, refit=False).fit(X, y).cv_results_
    scores = {name: value.tolist() for name, value in results.items() if "test" in name and "time" not in name}
    (folder / "scores").write_text(json.dumps(scores))


def start(folder, args):
    command = [sys.executable, __file__, "--epochs", str(args.epochs), "--seconds", str(args.seconds)]
    return subprocess.Popen([*command, "--folder", str(folder)], start_new_session=True)


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def finished(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("memory/*.safetensors")}


def epochs_begun(folder):
    return (folder / "epochs").read_text().count("begin")


def training_seconds(folder, kills):
    """Seconds between the begin and the end of each epoch, or the first kill after its begin."""
    begun, total = {}, 0.0
    for what, pid, moment in map(str.split, (folder / "epochs").read_text().splitlines()):
        if what == "begin":
            begun[pid] = float(moment)
        else:
            total += float(moment) - begun.pop(pid)
    return total + sum(min(kill for kill in kills if kill > begin) - begin for begin in begun.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=LatticeClassifier().checkpoint_seconds)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder is not None:
        return search(args.folder, args.epochs, args.seconds)
    alone, killed = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    before = time.time()
    assert start(alone, args).wait() == 0
    seconds_alone = time.time() - before
    rng, kills, seen, twice = random.Random(0), [], {}, 0
    while len(kills) < args.kills:
        process = start(killed, args)
        begun = size_of(killed / "epochs")
        while process.poll() is None and size_of(killed / "epochs") == begun:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1.2 * seconds_alone / args.kills))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        kills.append(time.time())
        process.wait()
        now = finished(killed)
        twice += sum(seen.get(name, moment) != moment for name, moment in now.items())
        seen |= now
        print(f"killed {len(kills)} times; {len(now)} fits are finished", flush=True)
    assert start(killed, args).wait() == 0
    twice += sum(seen.get(name, moment) != moment for name, moment in finished(killed).items())
    equal = json.loads((alone / "scores").read_text()) == json.loads((killed / "scores").read_text())
    undisturbed, disturbed = training_seconds(alone, []), training_seconds(killed, kills)
    print(
        f"{len(finished(killed))} fits, {len(kills)} kills, checkpoint_seconds={args.seconds}: cv_results_ equal: "
        f"{equal}; finished fits trained twice: {twice}; training time {undisturbed:.0f} s undisturbed, "
        f"{disturbed:.0f} s killed, ratio {disturbed / undisturbed:.3f}; epochs begun {epochs_begun(alone)} and "
        f"{epochs_begun(killed)}, ratio {epochs_begun(killed) / epochs_begun(alone):.3f}"
    )


if __name__ == "__main__":
    main()
