"""LatentDisplay: positions, reducers, classes and values, and errors."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sk_denoise import ConvNetwork, DenoisingAutoencoder
from sk_denoise.plots import LatentDisplay
from sk_denoise.restoration import load_pretrained

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def dae(digits):
    return DenoisingAutoencoder(latent_dim=6, max_epochs=2, random_state=0).fit(digits.train)


@pytest.fixture(scope="module")
def flat(digits):
    return DenoisingAutoencoder(latent_dim=2, max_epochs=2, random_state=0).fit(digits.train)


@pytest.fixture
def latents():
    return RNG.normal(size=(60, 2))


def with_output(dae, output):
    return copy.copy(dae).set_params(output=output)


def latents_of(dae, X):
    return with_output(dae, "latent").transform(X)


def drawn(display):
    return np.concatenate([points.get_offsets() for points in display.scatters_.values()])


def test_two_numbers_are_drawn_as_they_are(digits, flat):
    display = LatentDisplay.from_estimator(flat, digits.test)
    np.testing.assert_array_equal(display.points, latents_of(flat, digits.test))
    np.testing.assert_array_equal(drawn(display), display.points)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("latent 1", "latent 2")
    assert display.reducer is None
    assert display.legend_ is None
    assert display.colorbar_ is None


def test_more_are_reduced_to_principal_components_with_their_variance(digits, dae):
    display = LatentDisplay.from_estimator(dae, digits.test)
    pca = PCA(2, random_state=0)
    np.testing.assert_allclose(drawn(display), pca.fit_transform(latents_of(dae, digits.test)), rtol=1e-4)
    first, second = pca.explained_variance_ratio_
    assert display.ax_.get_xlabel() == f"component 1 ({100 * first:.0f} % of the variance)"
    assert display.ax_.get_ylabel() == f"component 2 ({100 * second:.0f} % of the variance)"
    np.testing.assert_allclose(display.reducer.explained_variance_ratio_, (first, second), rtol=1e-4)


def test_another_reducer_is_fitted_in_a_copy(digits, dae):
    tsne = TSNE(perplexity=5, max_iter=250, random_state=0, init="random")
    display = LatentDisplay.from_estimator(dae, digits.test[:30], reducer=tsne)
    assert not hasattr(tsne, "embedding_")
    np.testing.assert_array_equal(drawn(display), display.reducer.embedding_)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("TSNE 1", "TSNE 2")


@pytest.mark.parametrize("output", ["reconstruction", "latent", "activations"])
def test_latents_are_shown_for_any_output_which_stays(digits, flat, output):
    dae = with_output(flat, output)
    display = LatentDisplay.from_estimator(dae, digits.test)
    np.testing.assert_array_equal(display.points, latents_of(flat, digits.test))
    assert dae.output == output


def test_in_a_pipeline_data_pass_through_the_earlier_steps(digits):
    steps = [
        ("none", None),
        ("outer", MinMaxScaler()),
        (
            "inner",
            make_pipeline(StandardScaler(), DenoisingAutoencoder(latent_dim=2, max_epochs=1, random_state=0)),
        ),
        ("clf", LogisticRegression(max_iter=500)),
    ]
    X, y = digits.train[:200], digits.train_labels[:200]
    pipe = Pipeline(steps).fit(X, y)
    scaled = pipe["inner"][0].transform(pipe["outer"].transform(X))
    display = LatentDisplay.from_estimator(pipe, X, y)
    np.testing.assert_allclose(display.points, latents_of(pipe["inner"][-1], scaled))


def test_latents_of_frames_and_of_convolutions_are_rows_too(digits):
    frame = pd.DataFrame(digits.train[:100], columns=[f"pixel{i}" for i in range(64)])
    dae = DenoisingAutoencoder(latent_dim=2, max_epochs=1, random_state=0).set_output(transform="pandas")
    assert LatentDisplay.from_estimator(dae.fit(frame), frame).points.shape == (100, 2)
    images = digits.train[:50].reshape(-1, 8, 8)
    conv = DenoisingAutoencoder(ConvNetwork((4,)), latent_dim=3, max_epochs=1, random_state=0)
    assert LatentDisplay.from_estimator(conv.fit(images), images).points.shape == (50, 2)


def test_classes_have_a_colour_each_and_a_legend(latents, assert_legible):
    y = np.arange(60) % 3
    display = LatentDisplay.from_latents(latents, y)
    assert list(display.scatters_) == [0, 1, 2]
    for name, points in display.scatters_.items():
        np.testing.assert_array_equal(points.get_offsets(), latents[y == name])
    assert len({tuple(points.get_facecolor()[0]) for points in display.scatters_.values()}) == 3
    assert [text.get_text() for text in display.legend_.get_texts()] == ["0", "1", "2"]
    assert_legible(display.figure_)


@pytest.mark.parametrize("n", [11, 21, 45])
def test_many_classes_can_be_told_apart_and_their_legend_is_not_cut(n, assert_legible):
    points = RNG.normal(size=(4 * n, 2))
    display = LatentDisplay.from_latents(points, [f"a class of number {i % n}" for i in range(4 * n)])
    looks = {
        (tuple(scatter.get_facecolor()[0]), str(scatter.get_paths()[0].vertices.round(2).tolist()))
        for scatter in display.scatters_.values()
    }
    assert len(looks) == n
    assert len(display.legend_.get_texts()) == n
    assert_legible(display.figure_)
    width = display.ax_.get_window_extent().width / display.figure_.dpi
    assert width > 4  # inches: the legend leaves the map its room
    legend, axes = display.legend_.get_window_extent(), display.ax_.get_window_extent()
    assert legend.x0 > axes.x1
    assert legend.y0 > axes.y0 - 40


def test_values_have_a_colour_bar(latents):
    y = RNG.random(60)
    display = LatentDisplay.from_latents(latents, y)
    (points,) = display.scatters_.values()
    np.testing.assert_array_equal(points.get_array(), y)
    assert display.colorbar_.mappable is points
    assert display.legend_ is None


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.arange(60) % 20, "classes"),
        (np.arange(60) % 21, "values"),
        (np.arange(60) % 4.0, "classes"),
        (np.arange(60) / 2, "values"),
        (np.arange(60) % 2 == 0, "classes"),
        ([f"{i % 30}" for i in range(60)], "classes"),
        (pd.Series(["a", "b"] * 30, dtype="category"), "classes"),
        (np.array([1, 2] * 30, dtype=object), "classes"),
    ],
)
def test_the_kind_of_y_is_inferred(latents, y, kind):
    assert LatentDisplay.from_latents(latents, y).target == kind


@pytest.mark.parametrize("kind", [pd.Series, pd.Categorical, pd.CategoricalIndex])
@pytest.mark.parametrize("categories", [["z", "a", "unused", "b"], [2.5, 30, 4, 7.0]])
def test_categories_of_pandas_are_classes_in_their_order(latents, kind, categories):
    present = [category for category in categories if category not in ("unused", 4)]
    y = kind(pd.Categorical(present * 20, categories=categories))
    display = LatentDisplay.from_latents(latents, y)
    assert list(display.scatters_) == present
    np.testing.assert_array_equal(display.scatters_[present[1]].get_offsets(), latents[1::3])
    assert list(copy.deepcopy(display).plot().scatters_) == present


def test_texts_that_are_numbers_are_sorted_by_number(latents):
    names = ["10", "9", "2", "1.5"]
    assert list(LatentDisplay.from_latents(latents, names * 15).scatters_) == ["1.5", "2", "9", "10"]
    names = ["10", "9", "b"]
    assert list(LatentDisplay.from_latents(latents, names * 20).scatters_) == ["10", "9", "b"]


def test_vectors_that_are_all_one_have_no_shares_of_variance():
    display = LatentDisplay.from_latents(np.ones((60, 4)))
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("component 1", "component 2")


def test_the_kind_of_y_may_be_given(latents):
    many = np.arange(60) % 25
    assert len(LatentDisplay.from_latents(latents, many, target="classes").scatters_) == 25
    three = np.arange(60) % 3
    assert LatentDisplay.from_latents(latents, three, target="values").colorbar_ is not None


def test_the_name_of_a_series_is_the_title_of_the_legend_or_the_colour_bar(latents):
    y = pd.Series(np.arange(60) % 3, name="digit")
    assert LatentDisplay.from_latents(latents, y).legend_.get_title().get_text() == "digit"
    bar = LatentDisplay.from_latents(latents, y / 2).colorbar_
    assert bar.ax.get_ylabel() == "digit"


def test_an_estimator_without_latents_is_refused(digits):
    with pytest.raises(TypeError, match=r"ImageDenoiser has no latent vectors \(its network keeps the size"):
        LatentDisplay.from_estimator(load_pretrained("gray"), digits.test)
    with pytest.raises(TypeError, match="ImageDenoiser has no latent vectors"):
        LatentDisplay.from_estimator(make_pipeline(load_pretrained("gray")), digits.test)
    with pytest.raises(TypeError, match=r"StandardScaler has no latent vectors: .* go to from_latents"):
        LatentDisplay.from_estimator(StandardScaler().fit(digits.test), digits.test)


def test_invalid_latents_and_labels_are_refused(latents):
    draw = LatentDisplay.from_latents
    with pytest.raises(ValueError, match=r"at least two numbers, got 60 of 1"):
        draw(latents[:, :1])
    with pytest.raises(ValueError, match="y has length 9, there are 60 samples"):
        draw(latents, np.arange(9))
    with pytest.raises(ValueError, match=r"single class, 1, .*leave y out"):
        draw(latents, np.ones(60, int))
    with pytest.raises(ValueError, match=r"single value, 0\.5"):
        draw(latents, np.full(60, 0.5))
    with pytest.raises(ValueError, match="y holds missing values"):
        draw(latents, ["a", None] * 30)
    with pytest.raises(ValueError, match="y contains NaN"):
        draw(latents, np.where(np.arange(60) == 3, np.nan, RNG.random(60)))
    with pytest.raises(ValueError, match=r"Unknown target 'class'. Did you mean 'classes'"):
        draw(latents, np.arange(60), target="class")
    with pytest.raises(ValueError, match="1d array"):
        draw(latents, np.zeros((60, 3)))
    with pytest.raises(ValueError, match="Expected 2D array"):
        draw(latents[0])
    with pytest.raises(ValueError, match="latents contains NaN"):
        draw(latents * np.nan)
    for reducer in ("tsne", None, TSNE):
        with pytest.raises(TypeError, match='reducer must be "auto" or a transformer with fit_transform'):
            draw(latents, reducer=reducer)
    with pytest.raises(ValueError, match=r"PCA made an array of shape \(60, 1\).*n_components=2"):
        draw(latents, reducer=PCA(1))
