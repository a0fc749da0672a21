"""Measurements of growlattice. ``python -m benchmarks`` runs the suite; each file is a script of its own, too."""
