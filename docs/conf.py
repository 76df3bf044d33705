"""Sphinx: pages, reference from docstrings, notebooks executed. Neither the build nor a reader needs a network."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the command line: the tensors are small

project = "covop"
author = "the authors of covop"
html_title = "covop"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "generated",  # the rest lives in _ext
    "docstrings",
    "formulas",
]
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["covop.css"]
html_copy_source = False
html_show_copyright = False

# Formulas are converted to MathML at build time (_ext/formulas.py): no script, no font, no server.
html_math_renderer = "mathml"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_merge_streams = True

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Source", ("Errors", "Raises")]
# Names of parameters in types are no links: several classes may have an attribute of that name.
suppress_warnings = ["ref.python"]
