"""Noise by column: strengths, a choice of columns, blocks of a one-hot encoding."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    GaussianNoiser,
    MaskingNoiser,
    NoiserChain,
    PoissonNoiser,
    SaltAndPepperNoiser,
    SpeckleNoiser,
    SwapNoiser,
    UniformNoiser,
    make_denoising_scorer,
)
from sk_denoise.noise import carried_source
from sk_denoise.persistence import load, save

X = np.random.default_rng(0).uniform(size=(2000, 3))
FRAME = pd.DataFrame(X, columns=list("abc"))
BY_COLUMN = {
    "gaussian": GaussianNoiser([0, 0.2, 0.4], random_state=0),
    "uniform": UniformNoiser([0, 0.2, 0.4], random_state=0),
    "speckle": SpeckleNoiser([0, 0.2, 0.4], random_state=0),
    "poisson": PoissonNoiser([1e9, 20, 5], random_state=0),
    "salt and pepper": SaltAndPepperNoiser([0, 0.2, 0.4], random_state=0),
    "masking": MaskingNoiser([0, 0.2, 0.4], random_state=0),
    "swap": SwapNoiser([0, 0.2, 0.4], random_state=0),
}


@pytest.fixture(params=BY_COLUMN.values(), ids=BY_COLUMN)
def noiser(request):
    return clone(request.param)


def noise_of(noiser, data=X):
    return np.asarray(noiser.fit_transform(data)) - np.asarray(data)


def test_each_column_has_a_strength_of_its_own(noiser):
    none, weak, strong = noise_of(noiser).std(axis=0)
    assert none < 1e-4
    assert 0.02 < weak < 0.8 * strong


def test_a_list_and_an_array_mean_the_same(noiser):
    (name,) = noiser._column_strengths[:1]
    array = clone(noiser).set_params(**{name: np.array(getattr(noiser, name))})
    np.testing.assert_array_equal(noise_of(noiser), noise_of(array))


def test_chosen_columns_get_the_strengths_in_their_order(noiser):
    (name,) = noiser._column_strengths[:1]
    noiser.set_params(**{name: np.array(getattr(noiser, name))[:2], "columns": ["c", "a"]})
    deviations = noise_of(noiser, FRAME).std(axis=0)
    assert deviations[1] == 0
    assert deviations[2] < 1e-4 < deviations[0]


def test_a_list_of_two_is_refused_with_both_meanings(noiser):
    (name,) = noiser._column_strengths[:1]
    with pytest.raises(ValueError, match=r"the tuple \(0.1, 0.2\).* numpy.array\(\[0.1, 0.2\]\)"):
        noiser.set_params(**{name: [0.1, 0.2]}).fit(X[:, :2])
    by_column = noise_of(noiser.set_params(**{name: np.array([0.1, 0.2])}), X[:, :2])
    assert by_column.shape == (2000, 2)


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ([0.1, 0.2, 0.3, 0.4], "holds 4 strengths, one for each column, and X has 3 columns"),
        (np.array([0.1, 0.2]), "holds 2 strengths"),
        ((0.1, 0.2, 0.3), "pair"),
        ([0.1, np.nan, 0.3], "at least 0"),
        ([0.1, -0.2, 0.3], "at least 0"),
        (np.full((1, 3), 0.1), "at least 0"),
        ([], "at least 0"),
        ([True, False, True], "at least 0"),
    ],
    ids=str,
)
def test_other_strengths_by_column_are_refused(strengths, message):
    with pytest.raises(ValueError, match=message):
        GaussianNoiser(strengths).fit(X)


def test_images_have_no_strength_by_column():
    with pytest.raises(ValueError, match="one for each column of a table"):
        GaussianNoiser([0.1, 0.2, 0.3]).fit(X[:30].reshape(10, 3, 3))
    with pytest.raises(ValueError, match="columns of a table"):
        GaussianNoiser(columns=[0]).fit(X[:30].reshape(10, 3, 3))


def id_of(value: object) -> str:
    """Return a name without an address, the same in each process of the tests."""
    return "a selector" if callable(value) else str(value)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("b", [1]),
        (["c", "a"], [2, 0]),
        (-1, [2]),
        ([True, False, True], [0, 2]),
        (slice("a", "b"), [0, 1]),
        (slice(1, None), [1, 2]),
        (make_column_selector(pattern="[ab]"), [0, 1]),
        (FRAME.columns[1:], [1, 2]),
    ],
    ids=id_of,
)
def test_columns_are_names_indices_masks_or_functions(columns, expected):
    noiser = GaussianNoiser(0.5, columns=columns, random_state=0)
    noise = noise_of(noiser, FRAME)
    assert noiser.columns_.tolist() == expected
    assert [bool(column.all()) for column in noise.T] == [place in expected for place in range(3)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["z"], "no column of the name 'z'"),
        ([3], "goes beyond the 3 columns"),
        ([0, -3], "names a column twice"),
        ([], "selects no column"),
        ([1.5], "must be names, indices"),
        ([True], "mask of 1 truth values"),
        (make_column_selector(dtype_include=object), "selects no column"),
    ],
    ids=id_of,
)
def test_columns_that_are_not_there_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        GaussianNoiser(columns=columns).fit(FRAME)


def test_names_need_a_frame():
    with pytest.raises(ValueError, match="array without names"):
        GaussianNoiser(columns=["a"]).fit(X)


@pytest.mark.parametrize("way", ["noise=", "before", "in a chain"])
def test_names_reach_the_noise_of_an_estimator(way):
    frame = FRAME[:100].assign(flag=np.arange(100) % 2 == 0)
    # A selector by type needs the frame of the user, not the numbers that a network gets.
    noiser = GaussianNoiser(0.3, columns=make_column_selector(dtype_exclude=bool))
    if way == "in a chain":
        noiser = NoiserChain([noiser, SwapNoiser(columns="flag")])
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0)
    if way == "before":
        dae.fit(noiser.fit_transform(frame))
    else:
        dae.set_params(noise=noiser).fit(frame)
    fitted = dae.noiser_.noisers_[0] if way == "in a chain" else dae.noiser_
    assert fitted.columns_.tolist() == [0, 1, 2]
    if way == "in a chain":
        assert dae.noiser_.noisers_[1].columns_.tolist() == [3]


def test_names_reach_ensembles_and_scorers():
    noiser = GaussianNoiser(0.3, columns=make_column_selector(pattern="[ab]"))
    dae = DenoisingAutoencoder(noise=noiser, max_epochs=1)
    ensemble = DenoisingEnsemble(dae, n_estimators=2, random_state=0).fit(FRAME[:100])
    assert ensemble.estimators_[0].noiser_.columns_.tolist() == [0, 1]
    assert np.isfinite(make_denoising_scorer(noiser)(ensemble, FRAME[:100]))


def test_an_array_is_noise_of_an_estimator():
    dae = DenoisingAutoencoder(noise=np.array([0.1, 0.2, 0.3]), max_epochs=1, random_state=0).fit(X[:100])
    assert isinstance(dae.noiser_, GaussianNoiser)
    assert clone(dae).fit(X[:100]).loss_curve_ == dae.loss_curve_
    assert "array([0.1, 0.2, 0.3])" in repr(dae)


def test_the_noise_by_column_is_that_which_is_in_noisy_data():
    noiser = GaussianNoiser(np.array([0.1, 0.3]), columns=["a", "c"], random_state=0)
    noisy = noiser.set_output(transform="pandas").fit_transform(FRAME)
    dae = DenoisingAutoencoder(objective="recorrupt", max_epochs=1, random_state=0).fit(noisy)
    assert dae.noise_model_.channel_sigmas == pytest.approx((0.1, 0, 0.3))


@pytest.mark.slow
def test_a_search_goes_over_strengths_and_columns():
    pipeline = Pipeline([("noise", GaussianNoiser()), ("dae", DenoisingAutoencoder(max_epochs=1))])
    grid = {
        "noise__noise_factor": [[0.1, 0.2, 0.3], np.array([0.3, 0.2, 0.1]), (0.1, 0.2)],
        "noise__columns": [["a", "b", "c"]],
    }
    search = GridSearchCV(pipeline, grid, cv=2, scoring=make_denoising_scorer(GaussianNoiser(0.2)))
    search.fit(FRAME[:40])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_file_keeps_strengths_columns_and_blocks(tmp_path):
    onehot = np.column_stack([X, np.eye(3)[np.arange(2000) % 3]])
    noiser = NoiserChain(
        [GaussianNoiser(np.array([0.1, 0.2]), columns=[2, 0]), SwapNoiser(0.5, blocks=[[3, 4, 5]])],
        random_state=0,
        apply="always",
    ).fit(onehot)
    save(noiser, tmp_path / "noise.safetensors")
    loaded = load(tmp_path / "noise.safetensors")
    np.testing.assert_array_equal(loaded.transform(onehot), noiser.transform(onehot))


# Blocks --------------------------------------------------------------------------------------------------


def encoded(n=600, seed=0):
    """Return two numbers and two categories of three and four, the second often that of the first."""
    rng = np.random.default_rng(seed)
    first = rng.integers(3, size=n)
    second = np.where(rng.random(n) < 0.9, first, 3)
    return np.column_stack([rng.normal(size=(n, 2)), np.eye(3)[first], np.eye(4)[second]])


@pytest.mark.parametrize("noiser", [SwapNoiser(0.5, random_state=0), MaskingNoiser(0.5, 7, random_state=0)])
def test_blocks_are_found_and_corrupted_as_a_whole(noiser):
    table = encoded()
    noisy = np.asarray(noiser.fit_transform(table))
    assert noiser.blocks_ == [[2, 3, 4], [5, 6, 7, 8]]
    whole = {1.0} if isinstance(noiser, SwapNoiser) else {1.0, 21.0}
    assert set(noisy[:, 2:5].sum(axis=1)) == whole
    # A swapped category is often the same one.
    changed = (noisy[:, 2:5] != table[:, 2:5]).any(axis=1).mean()
    assert 0.25 < changed < 0.55
    assert (noisy[:, :2] != table[:, :2]).mean() == pytest.approx(0.5, abs=0.05)
    alone = np.asarray(clone(noiser).set_params(blocks=None).fit_transform(table))
    assert set(alone[:, 2:5].sum(axis=1)) > whole


@pytest.mark.parametrize(
    "table",
    [
        np.eye(3)[np.arange(6) % 3],
        np.random.default_rng(0).integers(2, size=(100, 5)).astype(float),
        np.random.default_rng(0).dirichlet(np.ones(3), size=100),
        np.ones((50, 1)),
        np.tile([1.0, 0.0], (50, 1)),
    ],
    ids=["few rows", "independent flags", "shares", "constant", "constants"],
)
def test_other_columns_are_no_blocks(table):
    assert SwapNoiser().fit(table).blocks_ == []


def test_a_rare_category_belongs_to_its_block():
    table = np.zeros((5000, 3))
    table[:, 0] = 1
    table[4321] = [0, 0, 1]
    table[77] = [0, 1, 0]
    assert SwapNoiser().fit(table).blocks_ == [[0, 1, 2]]


def test_blocks_are_given_by_name_and_need_not_be_neighbours():
    frame = pd.DataFrame(encoded()[:, [2, 0, 3, 4]], columns=["red", "size", "green", "blue"])
    noiser = SwapNoiser(0.5, blocks=[["red", "green", "blue"]], random_state=0)
    noisy = noiser.set_output(transform="pandas").fit_transform(frame)
    assert (noisy[["red", "green", "blue"]].sum(axis=1) == 1).all()
    assert carried_source(noisy).noiser.blocks == [[0, 2, 3]]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"blocks": [[2, 3, 4], [4, 5]]}, "a column in two blocks"),
        ({"blocks": [[2, 3, 4]], "columns": [0, 2, 3]}, "which columns=.* leaves out"),
        ({"blocks": [["red"]]}, "without names"),
        ({"fraction": np.linspace(0, 0.8, 9)}, "several strengths for the columns"),
    ],
)
def test_blocks_that_cannot_be_corrupted_together_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        SwapNoiser(**parameters).fit(encoded())
