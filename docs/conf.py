"""Sphinx builds the site with this; see `make docs`."""

from __future__ import annotations

from importlib import import_module

import sk_denoise

project = "sk_denoise"
author = "The sk_denoise developers"
version = release = sk_denoise.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]

# Pages
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# API: what __all__ lists, each name where it is shortest, as numpydoc reads it
MODULES = (
    "sk_denoise",
    "sk_denoise.app",
    "sk_denoise.datasets",
    "sk_denoise.io",
    "sk_denoise.metrics",
    "sk_denoise.noise",
    "sk_denoise.persistence",
    "sk_denoise.plots",
    "sk_denoise.preprocessing",
    "sk_denoise.restoration",
)
autosummary_context = {
    "public": {
        module: set(import_module(module).__all__) - (set(sk_denoise.__all__) if "." in module else set())
        for module in MODULES
    }
}
autosummary_ignore_module_all = False
autosummary_imported_members = True
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_default_options = {
    # what scikit-learn adds to every estimator, and describes
    "exclude-members": "fit_transform, get_metadata_routing, set_output, set_fit_request, "
    "set_inverse_transform_request, set_partial_fit_request, set_predict_request, set_score_request, "
    "set_transform_request",
}

# Every reference inside the site must lead somewhere; those to other projects would need the network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!sk_denoise).*")]

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "api/backreferences",
    "doc_module": ("sk_denoise",),
    "within_subsection_order": "FileNameSortKey",
    "reference_url": {"sk_denoise": None},
    "abort_on_example_error": True,
    "copyfile_regex": r".*\.rst",
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
}

# Looks
html_theme = "pydata_sphinx_theme"
html_title = f"sk_denoise {version}"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
templates_path = ["_templates"]
