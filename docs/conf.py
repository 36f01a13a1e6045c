"""Sphinx builds the site with this; see `make docs`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import sk_denoise
from sk_denoise import ImageDenoiser, _registry

sys.path.insert(0, str(Path(__file__).parent))  # for command_reference.py

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
    "command_reference",
]
exclude_patterns = ["_build"]

# Pages
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3


def table(*rows):
    """Return a table in Markdown, whose first row is its head."""
    head, *rest = rows
    return "\n".join(
        f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest)
    )


def link(entry):
    """Return a link to the page of a class."""
    return f"{{class}}`~sk_denoise.{entry.name}`"


def image_network(name, network):
    """Return the row of a network for images of any size."""
    summary = ImageDenoiser(name).summary((64, 64))
    radius = (
        "the whole image"
        if summary.receptive_radius is None
        else str(summary.receptive_radius)
    )
    return (
        f'`"{name}"`',
        f"{link(network)}: {network.description}",
        radius,
        str(summary.stride),
    )


# Tables of everything that has a name. A page contains {{ noises }}, so that a new
# noise needs no edit of the page.
myst_substitutions = {
    "networks": table(
        ("`network=`", "Architecture", "For"),
        *(
            (
                f'`"{name}"`',
                f"{link(network)}: {network.description}",
                network.use_cases,
            )
            for name, network in _registry.networks_of("DenoisingAutoencoder").items()
        ),
    ),
    "image_networks": table(
        ("`network=`", "Architecture", "Receptive radius", "Stride"),
        *(
            image_network(*item)
            for item in _registry.networks_of("ImageDenoiser").items()
        ),
    ),
    "noises": table(
        ("Name", "Class", "Effect", "For"),
        *(
            (f'`"{name}"`', link(noise), noise.description, noise.use_cases)
            for name, noise in _registry.NOISES.items()
        ),
    ),
    "amounts": table(
        ("NAME", "AMOUNT"),
        *(
            (f"`{name}`", noise.amount.description)
            for name, noise in _registry.NOISES.items()
            if noise.amount is not None
        ),
    ),
    "losses": table(
        ("`loss=`", "Minimises", "For"),
        *(
            (f'`"{name}"`', loss.description, loss.use_cases)
            for name, loss in _registry.LOSSES.items()
        ),
        ('`{"mae": 0.2, "ms_ssim": 0.8}`', "a mix", "both"),
        ("a function of output and target", "its value", "anything"),
    ),
    "optimizers": table(
        ("`optimizer=`", "Class in torch", "Default learning rate"),
        *(
            (f'`"{name}"`', f"`{optimizer.name}`", f"{optimizer.learning_rate:g}")
            for name, optimizer in _registry.OPTIMIZERS.items()
        ),
    ),
    "schedules": table(
        ("`learning_rate_schedule=`", "Learning rate"),
        *(
            (f'`"{name}"`', schedule.description)
            for name, schedule in _registry.SCHEDULES.items()
        ),
    ),
    "filters": table(
        ("Filter", "Effect", "For"),
        *(
            (
                link(chosen),
                chosen.description
                + (f"; needs the extra `{chosen.extra}`" if chosen.extra else ""),
                chosen.use_cases,
            )
            for chosen in _registry.FILTERS.values()
        ),
    ),
    "restorers": table(
        ("Filter", "Effect", "For"),
        *(
            (link(chosen), chosen.description, chosen.use_cases)
            for chosen in _registry.RESTORERS.values()
        ),
    ),
    "filter_names": ", ".join(
        f"`{name}`" + (f" (needs the extra `{chosen.extra}`)" if chosen.extra else "")
        for name, chosen in _registry.FILTERS.items()
    ),
}

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
        module: set(import_module(module).__all__)
        - (set(sk_denoise.__all__) if "." in module else set())
        for module in MODULES
    }
}
autosummary_ignore_module_all = False
autosummary_imported_members = True
numpydoc_show_class_members = False
# The docstrings describe the types in words.
autodoc_typehints = "none"
autodoc_default_options = {
    # scikit-learn adds these to every estimator, and describes them
    "exclude-members": "fit_transform, get_metadata_routing, set_output, "
    "set_fit_request, set_inverse_transform_request, set_partial_fit_request, "
    "set_predict_request, set_score_request, set_transform_request",
}

# Every reference inside the site must lead somewhere. Those to other projects would
# need the network.
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
smartquotes = False  # they would turn --option into a dash
html_theme = "pydata_sphinx_theme"
html_title = f"sk_denoise {version}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["columns.css"]
html_theme_options = {
    "navigation_with_keys": False,
    # the code of gallery/ needs the width of the right side bar
    "secondary_sidebar_items": {"[!g]**": ["page-toc"]},
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
templates_path = ["_templates"]
