"""Clean sources of noisy columns that a step joins with others."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    NoiserChain,
    RegionNoiser,
    SwapNoiser,
)
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.noise import carried_source

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
FRAME = pd.DataFrame(X, columns=list("abc"))
FRAME["flag"], FRAME["text"] = RNG.integers(2, size=200), RNG.choice(["u", "v"], 200)
NOISER = GaussianNoiser(0.5, random_state=0)
ONE_HOT = OneHotEncoder(sparse_output=False)


def noised(data=X):
    return GaussianNoiser(0.5, random_state=0).fit_transform(data)


def fitted(X, *steps):
    return make_pipeline(*steps, DenoisingAutoencoder(max_epochs=1, random_state=0)).fit(X)[-1]


@pytest.mark.parametrize("container", ["default", "pandas"])
@pytest.mark.parametrize(
    ("transformers", "expected"),
    [
        ([("noise", NOISER, ["b", "a"])], [0, 1]),
        ([("noise", NOISER, ["a"]), ("text", ONE_HOT, ["text"])], [0]),
        ([("scaled", make_pipeline(StandardScaler(), NOISER), ["c", "a"])], [0, 1]),
    ],
    ids=["numbers", "beside categories", "behind a scaler"],
)
def test_noise_of_some_columns_is_drawn_afresh_behind_a_column_transformer(container, transformers, expected):
    step = clone(ColumnTransformer(transformers, remainder="passthrough")).set_output(transform=container)
    dae = fitted(FRAME if transformers[-1][0] == "text" else FRAME.drop(columns="text"), step)
    assert dae.target_source_ == "noiser"
    assert dae.noiser_.columns_.tolist() == expected


@pytest.mark.parametrize("container", ["default", "pandas"])
def test_several_noisers_become_a_chain(container):
    # One of them may return frames and the other arrays.
    gaussian = clone(NOISER).set_output(transform=container)
    step = ColumnTransformer(
        [("text", make_pipeline(ONE_HOT, SwapNoiser(0.3)), ["text"]), ("rest", gaussian, ["a", "c"])]
    )
    dae = fitted(FRAME, step)
    swap, gaussian = dae.noiser_.noisers_
    assert swap.blocks_ == [[0, 1]]
    assert gaussian.columns_.tolist() == [2, 3]


def test_noise_before_the_choice_of_columns_moves_with_its_columns():
    noiser = NoiserChain([GaussianNoiser(0.5, columns=["c"]), SwapNoiser(0.3, blocks=[["a", "b"]])])
    union = FeatureUnion([("same", "passthrough"), ("noise", noiser)])
    dae = fitted(FRAME[["a", "b", "c"]], union)
    gaussian, swap = dae.noiser_.noisers_
    assert gaussian.columns_.tolist() == [5]
    assert swap.columns_.tolist() == [3, 4, 5]
    assert swap.blocks_ == [[3, 4]]


def test_the_joined_clean_data_are_those_before_the_noiser():
    joined = np.hstack([X[:, :1], noised()])
    source = carried_source(joined)
    np.testing.assert_array_equal(source.clean, np.hstack([X[:, :1], X]))
    assert source.describes(joined)
    assert carried_source(pickle.loads(pickle.dumps(joined))).describes(joined)


@pytest.mark.parametrize(
    "join",
    [
        lambda noisy: np.concatenate([noisy, X], axis=1),
        lambda noisy: np.hstack([X, noisy]),
        lambda noisy: np.c_[noisy, X[:, 0]],
        lambda noisy: np.column_stack([X[:, 0], noisy]),
        lambda noisy: np.append(noisy, X, axis=-1),
        lambda noisy: np.concatenate([noisy, noisy]),
        lambda noisy: np.vstack([noisy, noised(2 * X)]),
    ],
)
def test_functions_of_numpy_join_sources(join):
    assert fitted(join(noised())).target_source_ == "noiser"


@pytest.mark.parametrize(
    "join",
    [
        lambda noisy: np.vstack([noisy, X]),
        lambda noisy: np.insert(noisy, 0, 0, axis=1),
        lambda noisy: np.hstack([RegionNoiser(NOISER).fit_transform(X), X]),
    ],
    ids=["clean rows below", "inserted", "noise of a region"],
)
def test_joined_data_without_a_common_source_are_refused(join):
    with pytest.raises(ValueError, match="joined with other data"):
        fitted(join(noised()))


@pytest.mark.slow
def test_frames_join_their_sources_in_concat():
    noisy = clone(NOISER).set_output(transform="pandas").fit_transform(FRAME[["a", "b"]])
    for other in (FRAME[["flag"]], FRAME[["flag"]] == 1, FRAME[["flag"]].astype("Int64"), FRAME[["c"]]):
        assert fitted(pd.concat([noisy, other], axis=1)).target_source_ == "noiser"
    again = pickle.loads(pickle.dumps(noisy))
    assert fitted(pd.concat([again, FRAME[["flag"]]], axis=1)).target_source_ == "noiser"
    shuffled = FRAME[["flag"]].sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match="joined with other data"):
        fitted(pd.concat([shuffled, noisy, shuffled][1:], axis=1))


def test_a_noised_frame_is_a_frame_of_pandas():
    noisy = GaussianNoiser(0, random_state=0).set_output(transform="pandas").fit_transform(FRAME[["a", "b"]])
    pd.testing.assert_frame_equal(noisy, FRAME[["a", "b"]])
    pd.testing.assert_frame_equal(FRAME[["a", "b"]], noisy)
    assert isinstance(noisy, pd.DataFrame)


@pytest.mark.parametrize("container", ["pandas, noise last", "polars"])
def test_a_source_that_is_lost_on_the_way_warns(container):
    last = [("same", "passthrough", ["c"]), ("noise", NOISER, ["a", "b"])]
    step = clone(ColumnTransformer(last)).set_output(transform=container.partition(",")[0])
    X_clean = FRAME if container != "polars" else pl.DataFrame(X, schema=list("abc"))
    with pytest.warns(CleanTargetWarning, match="a step that joins columns"):
        fitted(X_clean, step)
