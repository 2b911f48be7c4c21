"""Settings of Sphinx: ``sphinx-build -W -b html docs docs/_build/html``."""

import re
from importlib.metadata import version as version_of

project = "Outgrad"
author = "The Outgrad developers"
copyright = author
version = release = version_of("outgrad")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "tutorials",
    "auto_tutorials/index.rst",
    "sg_execution_times.rst",
    "**/sg_execution_times.rst",
]
templates_path = ["_templates"]

html_theme = "furo"
html_title = f"Outgrad {version}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = False

autodoc_typehints = "none"  # the docstrings tell types, with shapes
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "auto_tutorials",
    "filename_pattern": r"\.py$",
    "copyfile_regex": r"$^",
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_", "__repr__"),
    "download_all_examples": False,
    "backreferences_dir": None,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 60,
}


def escape_shapes(app, what, name, obj, options, lines):
    """Keep the stars of shapes like (S, *C, P), which would begin emphasis."""
    lines[:] = [re.sub(r"(?<!\\)\*(?=[CK]\b)", r"\\*", line) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", escape_shapes)
