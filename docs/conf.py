"""Sphinx configuration. Nothing here reaches the network."""

import sys
from pathlib import Path

from growlattice import __version__

sys.path.insert(0, str(Path(__file__).parent))  # figures.py, for the plots of the pages

project = "growlattice"
author = "The growlattice developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

# Every cross reference to this package must resolve; those to others cannot, without the network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(sklearn|skorch|torch|numpy|pandas|PIL)\..*")]

autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the class template lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "plot_gallery": "True",
}

plot_formats = [("png", 160)]
plot_html_show_formats = False
plot_html_show_source_link = False

html_theme = "pydata_sphinx_theme"
html_title = "growlattice"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
