"""How the site is made of docs/: Sphinx, numpydoc, MyST for the Markdown pages, an executed gallery.

`make docs` builds it with warnings as errors. Nothing is fetched: no intersphinx, no fonts, no scripts from outside.
"""

import logging
import re
import sys
from pathlib import Path
from typing import Any

import cmbinpaint

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
for noisy in ("healpy", "cmbinpaint"):  # the first tells the beam of every transform
    logging.getLogger(noisy).setLevel(logging.WARNING)
import generated_pages  # noqa: E402  (lies beside this file)

project = "cmbinpaint"
author = "The cmbinpaint developers"
copyright = f"2026, {author}"
version = release = cmbinpaint.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
exclude_patterns = ["_build", "examples", "templates", "generated/front.md"]
templates_path = ["templates"]
highlight_language = "text"
default_role = "obj"  # `inpaint_map` in a docstring links to it; what is no object stays as it is

html_theme = "furo"
html_title = f"cmbinpaint {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]

myst_heading_anchors = 3

autosummary_generate = True
autosummary_imported_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88

numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# Parameters that do not exist or have no word, returns without one, sections that are none or in the wrong order.
numpydoc_validation_checks = {"PR02", "PR05", "PR07", "RT03", "GL06", "GL07", "SS01"}


sphinx_gallery_conf = {
    "examples_dirs": ["examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"\.py$",
    "within_subsection_order": "generated_pages.gallery_order",
    "image_scrapers": ("gallery_setup.show_figures",),
    "run_stale_examples": True,  # of an older package they would show what is no longer so
    "reset_modules": (),
    "capture_repr": (),
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "thumbnail_size": (240, 168),
    "min_reported_time": 10_000,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}


def plain_types(app: Any, what: str, name: str, obj: Any, options: Any, signature: Any, returns: Any) -> Any:
    """Signatures with `ndarray` in place of its parameters, which say no more than the docstring does."""
    return [text and re.sub(r"ndarray\[tuple\[[^]]*\], ~?(?:numpy\.)?dtype\[[^]]*\]\]", "ndarray", text)
            for text in (signature, returns)]  # fmt: skip


def setup(app: Any) -> None:
    """Write the pages that are made of the package itself, before Sphinx looks for pages."""
    generated_pages.write(HERE / "generated")
    app.connect("autodoc-process-signature", plain_types)
