"""The benchmark suite: about a minute an entry on two cores, without downloads.

    python -m benchmarks [ENTRY ...] [--out FILE] [--rst FILE]

Runs the entries named, or all, prints a table of each, and writes everything as JSON (--out) and as a page of the
documentation (--rst). The scripts in this folder measure the same at full length.
"""

import argparse
import csv
import datetime
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from . import (
    bare_loop,
    bounds,
    compaction,
    gpu,
    halting,
    many_lattices,
    memory,
    predict,
    pruned_predict,
    scaling,
    search,
)

# What measures, with what for about a minute, and with what for a second or a few.
ENTRIES = {
    "bare_loop": (
        bare_loop.measure,
        dict(repeats=3, n_epochs=3, n_images=160),
        dict(repeats=1, n_epochs=1, n_images=32),
    ),
    "compaction": (compaction.on_digits, dict(n_epochs=15, n_seeds=1), dict(n_epochs=4, n_seeds=1, n_images=200)),
    "pruned_predict": (
        pruned_predict.measure,
        dict(n_channels=16, n_epochs=8, repeats=3, n_images=64),
        dict(n_channels=4, n_epochs=1, repeats=1, n_images=4),
    ),
    "predict": (predict.measure, dict(repeats=3, n_images=10000), dict(repeats=1, n_images=20)),
    "halting": (
        halting.measure,
        dict(repeats=3, n_epochs=15),
        dict(repeats=1, n_images=60, n_epochs=1),
    ),
    "bounds": (
        bounds.measure,
        dict(data=["digits"], prices=[5], n_seeds=1, bounds=((16, 4, 4),)),
        dict(data=["digits"], prices=[5], n_seeds=1, bounds=((2, 1, 2),), n_epochs=1),
    ),
    "scaling": (scaling.measure, dict(repeats=2, n_images=96), dict(repeats=1, n_images=8)),
    "search": (search.measure, dict(repeats=1, n_epochs=2), dict(repeats=1, n_epochs=1, n_images=1000)),
    "memory": (memory.measure, dict(n_images=50000), dict(n_images=100)),
    "many_lattices": (
        many_lattices.measure,
        dict(n_lattices=(1, 8), n_layers=4, n_steps=4, size=8, batch_size=32, repeats=5, n_processes=2),
        dict(n_lattices=(2,), n_layers=2, n_steps=2, size=8, batch_size=4, repeats=1, n_processes=2),
    ),
    "gpu": (gpu.measure, dict(batch_sizes=(512,)), gpu.TINY),
}
NEEDS_GPU = {"gpu"}


def machine():
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    return {
        "CPU": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def versions():
    own = {"Python": platform.python_version(), "torch": str(torch.__version__)}
    return own | {name: version(name) for name in ("growlattice", "numpy", "scikit-learn", "skorch")}


def commit():
    """The commit, with "-dirty" behind it where files have changed since, or None outside of a repository."""
    if shutil.which("git") is None:
        return None
    command = ["git", "describe", "--always", "--dirty", "--match="]
    run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    return run.stdout.strip() or None


def run(names, tiny=False):
    """Run entries and print a table of each; returns everything that is known of the run."""
    entries = {}
    for name in names:
        measure, minute, second = ENTRIES[name]
        if name in NEEDS_GPU and not (tiny or torch.cuda.is_available()):
            print(f"\n{name}: left out, needs a GPU")
            continue
        print(f"\n{name}: {about(measure)}", flush=True)
        start = time.perf_counter()
        rows = measure(**(second if tiny else minute))
        entries[name] = {"about": about(measure), "seconds": time.perf_counter() - start, "rows": rows}
        print(pd.DataFrame(rows).to_string(index=False, na_rep="", float_format="{:.3g}".format))
        print(f"{entries[name]['seconds']:.0f} s", flush=True)
    return {
        "tiny": tiny,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "entries": entries,
    }


def about(measure):
    """The first sentence of the script that a measurement is from."""
    return " ".join(sys.modules[measure.__module__].__doc__.split("\n\n")[0].split())


def as_rst(results):
    """The part of the documentation's page that each run replaces."""
    of_machine = results["machine"]
    command = " ".join(["python -m benchmarks", *results["entries"], "--rst docs/measured/benchmarks.inc"])
    used = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    parts = [
        f"Measured on {results['date']} with ``{command}``: {of_machine['CPU']}, {of_machine['cores']} cores, "
        f"{of_machine['threads']} {'thread' if of_machine['threads'] == 1 else 'threads'}, "
        f"{of_machine['GPU'] or 'no GPU'}; {used}" + (f"; commit {results['commit']}." if results["commit"] else ".")
    ]
    if results["tiny"]:
        parts.append("It ran with ``--tiny``, only to see whether everything works: no figure here means anything.")
    if not of_machine["GPU"]:
        parts.append("No GPU was at hand. What needs one is left out, and nothing here says what a GPU would do.")
    for name, entry in results["entries"].items():
        title = name.replace("_", " ").capitalize()
        parts.append(f"{title}\n{'-' * len(title)}\n\n{entry['about']}\n``python -m benchmarks {name}``, ")
        parts[-1] += f"{entry['seconds']:.0f} s.\n\n{csv_table(entry['rows'])}"
    return "\n\n".join(parts) + "\n"


def csv_table(rows):
    lines = io.StringIO()
    frame = pd.DataFrame(rows).map(lambda cell: f"{cell:.3g}" if isinstance(cell, float) else cell)
    frame.replace("nan", "").to_csv(lines, index=False, quoting=csv.QUOTE_ALL)
    return ".. csv-table::\n   :header-rows: 1\n\n" + "".join(f"   {line}\n" for line in lines.getvalue().splitlines())


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help=f"any of {', '.join(ENTRIES)}; by default all")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the run as JSON")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="write the run as reStructuredText")
    parser.add_argument("--tiny", action="store_true", help="only see whether it runs: no figure means anything")
    args = parser.parse_args(argv)
    unknown = [name for name in args.entries if name not in ENTRIES]
    if unknown:
        parser.error(f"there is no entry {unknown[0]!r}; choose from {', '.join(ENTRIES)}")
    results = run(args.entries or list(ENTRIES), args.tiny)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    if args.rst:
        args.rst.write_text(as_rst(results))


if __name__ == "__main__":
    main()
