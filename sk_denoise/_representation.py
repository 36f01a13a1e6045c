"""How estimators are shown in notebooks: their diagrams link to the pages that describe them."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

__all__ = ["DocumentationLinkMixin", "documentation_address"]

VARIABLE = "SK_DENOISE_DOCS"  # the address of a site of one's own, which `make docs` built
LABEL = "Documentation"  # of the address among the project's, in pyproject.toml


def documentation_address() -> str:
    """Return where the documentation is, without a slash at the end; "" where it is nowhere.

    That of the environment variable ``SK_DENOISE_DOCS``, else what the metadata of the package say, under
    "Documentation" in ``[project.urls]``.
    """
    return os.environ.get(VARIABLE, _published_address()).rstrip("/")


@cache
def _published_address() -> str:
    try:
        addresses = metadata("sk-denoise").get_all("Project-URL") or []
    except PackageNotFoundError:  # a source tree that is not installed
        return ""
    labelled = (entry.partition(",") for entry in addresses)
    return next((address.strip() for label, _, address in labelled if label.strip() == LABEL), "")


class DocumentationLinkMixin:
    """A link from the diagram of an estimator to its page, as those of scikit-learn have it.

    There is none where the documentation has no address: a link that leads nowhere is worse.
    """

    _doc_link_module = "sk_denoise"

    @property
    def _doc_link_template(self) -> str:
        return documentation_address() + "/api/generated/sk_denoise.{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": type(self).__name__}

    def _get_doc_link(self) -> str:
        public = type(self).__name__ in sys.modules["sk_denoise"].__all__
        link: str = super()._get_doc_link() if public and documentation_address() else ""  # type: ignore[misc]
        return link
