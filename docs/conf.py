"""Sphinx configuration. Nothing here reaches the network."""

import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

from growlattice import __version__

sys.path.insert(0, str(Path(__file__).parent))  # figures.py draws what the pages show

project = "growlattice"
author = "The growlattice developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_design",
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
    "parallel": 2,
    "capture_repr": ("_repr_html_",),  # a display or an axis at the end of a cell is drawn, not printed
    "remove_config_comments": True,
    "backreferences_dir": "api/backreferences",
    "doc_module": ("growlattice",),
    "reference_url": {"growlattice": None},
    "within_subsection_order": "figures.gallery_order",
    "plot_gallery": "True",
}

plot_formats = [("png", 160)]
plot_rcparams = {"font.size": 9}
plot_apply_rcparams = True
plot_html_show_formats = False
plot_html_show_source_link = False

html_math_renderer = "mathml"  # browsers draw it without a script from elsewhere
html_theme = "pydata_sphinx_theme"
html_title = "growlattice"
# These pages have no pages below them to navigate to.
ALONE = "index start sweeps results tried people elsewhere benchmarks benchmark_tables choices maintainers"
html_sidebars = {page: [] for page in ALONE.split()}
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False, "header_links_before_dropdown": 6}


def write_inline(translator, node):
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def write_block(translator, node):
    text = node.astext()
    if "\\\\" in text and "\\begin" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    translator.body.append(tex2mathml(text, as_block=True))
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(write_inline, None), block_renderers=(write_block, None))
