"""The documentation site: `make docs`, offline, every warning an error. Pages are Markdown; docs/_site makes the rest."""

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_site"))

project = "attnlab"
author = "The attnlab developers"
copyright = "The attnlab developers, MIT licence"
release = metadata.version("attnlab")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "pages",
]
exclude_patterns = ["examples", "_site", "_build", "gallery", "sg_execution_times.rst", "**/sg_execution_times.rst"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
root_doc = "index"
nitpicky = False

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = True

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": False}
autodoc_typehints = "signature"
autodoc_preserve_defaults = False  # fails on decorated functions
autodoc_inherit_docstrings = False
suppress_warnings = ["ref.python"]  # classes of one name in two subjects, in type hints
napoleon_numpy_docstring = False

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples_executed",
    "filename_pattern": r"/example_",
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("plates.scraper",),
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 10**6,
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_", "__repr__"),
    "reset_modules": (),
    "write_computation_times": False,
}

html_theme = "furo"
html_title = "attnlab"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# formulas without a network: MathJax with its glyphs in one file, from a package of the extra `docs`
_mathjax = next(f for f in metadata.distribution("sphinx-mathjax-offline").files or () if f.name == "tex-svg.js")
mathjax_path = "tex-svg.js"
html_static_path.append(str(Path(_mathjax.locate()).parent / "tex-svg.js"))
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "global"}}
