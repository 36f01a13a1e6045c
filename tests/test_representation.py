"""Diagrams in notebooks: links to the pages of the documentation, and the network below."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

import sk_denoise
from sk_denoise import (
    DenoisingAutoencoder,
    DenseNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    _compat,
)
from sk_denoise._compat import documentation_address

SITE = "https://example.org/denoise"
PUBLIC = [
    name
    for name in sk_denoise.__all__
    if isinstance(getattr(sk_denoise, name), type) and issubclass(getattr(sk_denoise, name), BaseEstimator)
]
VOID = {"br", "input", "img", "link", "meta", "hr"}


class Page(HTMLParser):
    """Parser that refuses tags closed out of order, and collects links, tags and text."""

    def __init__(self, text):
        super().__init__()
        self.links, self.tags, self.text, self._open = [], [], "", []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "a":
            self.links.append(dict(attributes).get("href", ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def network_of(html):
    """Return the part below the diagram of scikit-learn."""
    (section,) = re.findall(r'<details class="sk-denoise-summary">.*</details>', html, re.DOTALL)
    return section


@pytest.fixture
def published(monkeypatch):
    monkeypatch.setenv("SK_DENOISE_DOCS", SITE + "/")


@pytest.fixture(scope="module")
def dae():
    X = np.random.default_rng(0).random((30, 8))
    return DenoisingAutoencoder(DenseNetwork((6,)), latent_dim=2, max_epochs=1).fit(X)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_diagram_links_to_the_page_of_its_estimator(name, published, make_estimator):
    estimator = make_estimator(name)
    address = f"{SITE}/api/generated/sk_denoise.{name}.html"
    assert estimator._get_doc_link() == address
    assert f'href="{address}"' in estimator._repr_html_()


@pytest.mark.parametrize("name", PUBLIC)
def test_where_there_is_no_site_there_is_no_link(name, monkeypatch, make_estimator):
    monkeypatch.setenv("SK_DENOISE_DOCS", "")
    estimator = make_estimator(name)
    assert estimator._get_doc_link() == ""
    assert "sk_denoise." not in "".join(Page(estimator._repr_html_()).links)


def test_the_address_is_the_one_that_the_metadata_name(monkeypatch):

    class Metadata:
        def get_all(self, name):
            assert name == "Project-URL"
            return ["Changelog, https://a.org/changes", "Documentation, https://a.org/docs/"]

    monkeypatch.delenv("SK_DENOISE_DOCS", raising=False)
    _compat._published_address.cache_clear()
    monkeypatch.setattr(_compat, "metadata", lambda package: Metadata())
    assert documentation_address() == "https://a.org/docs"
    monkeypatch.undo()
    _compat._published_address.cache_clear()


def test_a_class_of_the_users_has_no_page_of_ours(published):
    class Mine(GaussianNoiser):
        pass

    assert Mine()._get_doc_link() == ""


def test_a_fitted_network_stands_folded_below_the_diagram(dae):
    html = dae._repr_html_()
    Page(html)
    section = Page(network_of(html))
    assert "details" in section.tags
    assert not {"script", "style", "img"} & set(section.tags)
    assert "DenseAutoencoder, for one sample of shape (8,)" in section.text
    assert f"parameters: {dae.summary().n_parameters}, all trainable" in section.text
    assert section.tags.count("tr") == 1 + len(dae.summary().layers)
    assert dae._repr_mimebundle_()["text/html"].count('<details class="sk-denoise') == 1
    assert dae._repr_mimebundle_()["text/plain"] == repr(dae)


def test_without_a_fit_there_is_the_diagram_alone():
    for estimator in (DenoisingAutoencoder(), ImageDenoiser(FoldedUNetNetwork((8, 8)))):
        assert "sk-denoise-summary" not in estimator._repr_html_()


def test_texts_are_shown_where_diagrams_are_turned_off(dae):
    with sklearn.config_context(display="text"):
        assert not hasattr(dae, "_repr_html_")
        assert dae._repr_mimebundle_() == {"text/plain": repr(dae)}


def test_pipelines_and_searches_that_hold_it_are_shown(dae, published):
    pipeline = make_pipeline(GaussianNoiser(), dae)
    search = GridSearchCV(pipeline, {"denoisingautoencoder__latent_dim": [2, 3]}, cv=2)
    search.fit(np.random.default_rng(0).random((30, 8)))
    for shown in (pipeline, search):
        page = Page(shown._repr_html_())
        assert f"{SITE}/api/generated/sk_denoise.DenoisingAutoencoder.html" in page.links
        assert f"{SITE}/api/generated/sk_denoise.GaussianNoiser.html" in page.links


class Named(nn.Module):
    def __init__(self, shape, latent_dim):
        super().__init__()
        self.add_module("<b>bold</b> & 'quoted'", nn.Linear(*shape, *shape))

    def forward(self, x):
        (layer,) = self.children()
        return layer(x)


def test_names_are_escaped():
    dae = DenoisingAutoencoder(Named, max_epochs=1).fit(np.random.default_rng(0).random((30, 8)))
    section = network_of(dae._repr_html_())
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &#x27;quoted&#x27;" in section
    assert "b" not in Page(section).tags


def test_a_network_that_cannot_be_summed_up_does_not_hide_its_estimator(dae, monkeypatch):
    def summary(self):
        raise RuntimeError

    monkeypatch.setattr(DenoisingAutoencoder, "summary", summary)
    assert "sk-denoise-summary" not in dae._repr_html_()
    assert "latent_dim" in dae._repr_html_()
