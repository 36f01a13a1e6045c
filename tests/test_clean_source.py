from __future__ import annotations

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.model_selection import train_test_split
from sklearn.utils import shuffle

from sk_denoise import GaussianNoiser
from sk_denoise.noise import CleanSource, NoisedArray, carried_source

X = np.random.default_rng(0).normal(size=(8, 3))
FRAME = pd.DataFrame(X, columns=["a", "b", "c"], index=range(20, 28))


@pytest.fixture
def noised() -> NoisedArray:
    return GaussianNoiser(0.5, random_state=0).fit_transform(X)


@pytest.fixture
def noised_frame() -> pd.DataFrame:
    return GaussianNoiser(0.5, random_state=0).set_output(transform="pandas").fit_transform(FRAME)


def matches_its_source(data) -> bool:
    """Whether data carry a source that still describes them."""
    source = carried_source(data)
    return source is not None and source.describes(data)


def saved_and_loaded(data, **how):
    file = io.BytesIO()
    joblib.dump(data, file, **how)
    file.seek(0)
    return joblib.load(file)


# What a noiser returns ---------------------------------------------------------------------------------


def test_the_array_that_a_noiser_returns_carries_the_clean_data_and_the_noiser(noised):
    source = carried_source(noised)
    assert isinstance(noised, NoisedArray)
    np.testing.assert_array_equal(source.clean, X)
    assert source.describes(noised)
    assert isinstance(source.noiser, GaussianNoiser)
    assert source.noiser.noise_factor == 0.5


def test_the_frame_that_a_noiser_returns_carries_it_too(noised_frame):
    source = carried_source(noised_frame)
    assert isinstance(noised_frame, pd.DataFrame)
    np.testing.assert_array_equal(source.clean, X)
    assert source.describes(noised_frame)


def test_a_polars_frame_carries_it_as_long_as_it_is_the_same_object():
    noiser = GaussianNoiser(0.5).set_output(transform="polars")
    frame = noiser.fit_transform(pl.DataFrame(X, schema=["a", "b", "c"]))
    assert type(frame) is pl.DataFrame
    np.testing.assert_array_equal(carried_source(frame).clean, X)
    assert matches_its_source(frame)
    assert carried_source(frame.clone()) is None


@pytest.mark.parametrize(
    "data", [X, FRAME, pl.DataFrame(X), X.tolist(), None, X.view(NoisedArray)], ids=lambda x: type(x).__name__
)
def test_other_data_carry_nothing(data):
    assert carried_source(data) is None


def test_the_noiser_in_the_source_is_an_unfitted_copy():
    noiser = GaussianNoiser(0.5, scale="std")
    held = carried_source(noiser.fit_transform(X)).noiser
    assert held is not noiser
    assert held.get_params() == noiser.get_params()
    assert not hasattr(held, "scale_")
    noiser.set_params(noise_factor=0.1)
    assert held.noise_factor == 0.5


def test_the_clean_data_keep_the_type_they_came_in():
    integers = (10 * X).astype(np.int16)
    noised = GaussianNoiser(0.5).fit_transform(integers)
    assert noised.dtype == np.float32
    assert carried_source(noised).clean.dtype == np.int16
    assert matches_its_source(noised)


# The clean data cannot be changed ----------------------------------------------------------------------


def test_the_clean_data_are_independent_of_the_array_they_came_from():
    mine = X.copy()
    noised = GaussianNoiser(0.5).fit_transform(mine)
    mine[:] = 0
    np.testing.assert_array_equal(carried_source(noised).clean, X)


def test_the_clean_data_are_independent_of_the_noised_array_without_noise():
    noised = GaussianNoiser(0.0).fit_transform(X)
    noised[:] = 0
    np.testing.assert_array_equal(carried_source(noised).clean, X)


def test_the_clean_data_are_read_only(noised):
    with pytest.raises(ValueError, match="read-only"):
        carried_source(noised).clean[0, 0] = 1


def test_the_clean_data_are_read_only_after_pickling(noised):
    with pytest.raises(ValueError, match="read-only"):
        carried_source(pickle.loads(pickle.dumps(noised))).clean[0, 0] = 1


# What keeps the source, and what is noticed -------------------------------------------------------------


KEEPING = {
    "copy": lambda x: x.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "view": lambda x: x[:],
    "all columns": lambda x: x[:, [0, 1, 2]],
    "asanyarray": np.asanyarray,
    "pickle 2": lambda x: pickle.loads(pickle.dumps(x, 2)),
    "pickle 5": lambda x: pickle.loads(pickle.dumps(x, 5)),
    "joblib": saved_and_loaded,
    "joblib, compressed": lambda x: saved_and_loaded(x, compress=3),
    "adding nothing": lambda x: x + 0.0,
    "fortran order": lambda x: x.copy(order="F"),
}


@pytest.mark.parametrize("keep", KEEPING.values(), ids=KEEPING)
def test_steps_that_keep_the_values_keep_the_source(noised, keep):
    kept = keep(noised)
    assert matches_its_source(kept)
    np.testing.assert_array_equal(carried_source(kept).clean, X)
    np.testing.assert_array_equal(kept, noised)


EDITS = {
    "slice of rows": lambda x: x[:4],
    "slice of columns": lambda x: x[:, :2],
    "one row": lambda x: x[0],
    "mask": lambda x: x[np.arange(8) % 2 == 0],
    "reversal": lambda x: x[::-1],
    "take": lambda x: x.take([1, 0, 2, 3, 4, 5, 6, 7], axis=0),
    "transposition": lambda x: x.T,
    "other shape": lambda x: x.reshape(8, 3, 1),
    "addition": lambda x: x + 1e-12,
    "reflected addition": lambda x: np.ones((8, 3)) + x,
    "product": lambda x: 2 * x,
    "ufunc": np.exp,
    "clip": lambda x: np.clip(x, 0, 1),
    "comparison": lambda x: x > 0,
    "sorting": lambda x: np.sort(x, axis=0),
    "other precision": lambda x: x.astype(np.float32),
    "mean": lambda x: x.mean(axis=0),
    "shuffle": lambda x: shuffle(x, random_state=0),
    "split": lambda x: train_test_split(x, random_state=0)[0],
    "rounding": lambda x: x.round(2),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_changes_of_values_or_rows_are_noticed(noised, edit):
    edited = edit(noised)
    assert carried_source(edited) is not None
    assert not matches_its_source(edited)
    assert matches_its_source(noised)


EDITS_IN_PLACE = {
    "one entry": lambda x: x.__setitem__((7, 2), 1.0),
    "smallest change": lambda x: x.__setitem__((0, 0), np.nextafter(x[0, 0], 9)),
    "swapped rows": lambda x: x.__setitem__([0, 1], x[[1, 0]]),
    "addition": lambda x: x.__iadd__(1),
    "ufunc": lambda x: np.multiply(x, 2, out=x),
    "sorting": lambda x: x.sort(axis=0),
    "shuffle": lambda x: np.random.default_rng(0).shuffle(x),
    "edit of a view": lambda x: x[:, :1].fill(0),
    "edit of the memory": lambda x: np.asarray(x).fill(0),
}


@pytest.mark.parametrize("edit", EDITS_IN_PLACE.values(), ids=EDITS_IN_PLACE)
def test_edits_in_place_are_noticed(noised, edit):
    edit(noised)
    assert carried_source(noised) is not None
    assert not matches_its_source(noised)


def test_an_edit_that_was_undone_is_forgiven(noised):
    value = noised[0, 0]
    noised[0, 0] = 5
    noised[0, 0] = value
    assert matches_its_source(noised)


@pytest.mark.parametrize("convert", [np.asarray, np.array, lambda x: pd.DataFrame(x).to_numpy()])
def test_plain_arrays_drop_the_source(noised, convert):
    assert type(convert(noised)) is np.ndarray
    assert carried_source(convert(noised)) is None


def test_single_values_and_sums_are_plain_numbers(noised):
    assert type(noised[0, 0]) is np.float64
    assert type(noised.sum()) is np.float64
    assert type(noised.max()) is np.float64
    assert noised.sum() == np.asarray(noised).sum()


KEEPING_FRAMES = {
    "copy": lambda f: f.copy(),
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda f: pickle.loads(pickle.dumps(f)),
    "joblib": saved_and_loaded,
    "all rows": lambda f: f.iloc[:],
    "other index": lambda f: f.reset_index(drop=True),
    "parts put together": lambda f: pd.concat([f.iloc[:3], f.iloc[3:]]),
}


@pytest.mark.parametrize("keep", KEEPING_FRAMES.values(), ids=KEEPING_FRAMES)
def test_steps_that_keep_the_values_of_a_frame_keep_the_source(noised_frame, keep):
    assert matches_its_source(keep(noised_frame))


def test_copies_of_a_frame_share_the_clean_data(noised_frame):
    source = carried_source(noised_frame)
    assert carried_source(noised_frame.copy()) is source
    assert carried_source(copy.deepcopy(noised_frame)) is source
    assert carried_source(noised_frame.iloc[:2]) is source


FRAME_EDITS = {
    "rows": lambda f: f.iloc[:4],
    "sample": lambda f: f.sample(frac=1, random_state=0),
    "columns": lambda f: f[["b", "a", "c"]],
    "dropped column": lambda f: f.drop(columns="a"),
    "product": lambda f: f * 2,
    "new values": lambda f: f.assign(a=0.0),
    "ufunc": np.exp,
    "repetition": lambda f: f.iloc[[*range(len(f)), 0]],
    "other precision": lambda f: f.astype(np.float32),
    "split": lambda f: train_test_split(f, random_state=0)[1],
}


@pytest.mark.parametrize("edit", FRAME_EDITS.values(), ids=FRAME_EDITS)
def test_changes_of_values_or_rows_of_a_frame_are_noticed(noised_frame, edit):
    edited = edit(noised_frame)
    assert carried_source(edited) is not None
    assert not matches_its_source(edited)


def test_edits_of_a_frame_in_place_are_noticed(noised_frame):
    noised_frame.iloc[0, 0] = 3.0
    assert carried_source(noised_frame) is not None
    assert not matches_its_source(noised_frame)


def test_a_frame_with_another_kind_of_column_is_noticed(noised_frame):
    assert not carried_source(noised_frame).describes(noised_frame.assign(a=list("abcdefgh")))


@pytest.mark.parametrize("write", ["to_parquet", "to_feather", "to_pickle", "to_csv"])
def test_a_noised_frame_can_be_written_to_a_file(noised_frame, write, tmp_path):
    file = tmp_path / "noised"
    getattr(noised_frame.reset_index(drop=True), write)(file)
    assert file.stat().st_size > 0


def test_a_frame_read_from_a_file_is_a_plain_frame(noised_frame, tmp_path):
    noised_frame.to_parquet(tmp_path / "noised")
    loaded = pd.read_parquet(tmp_path / "noised")
    pd.testing.assert_frame_equal(loaded, noised_frame)
    assert carried_source(loaded) is None


def test_frames_of_two_sources_put_together_are_no_longer_described(noised_frame):
    other = GaussianNoiser(0.5, random_state=1).set_output(transform="pandas").fit_transform(FRAME)
    together = pd.concat([noised_frame, other])
    assert not matches_its_source(together)


def test_a_source_describes_values_in_any_container(noised):
    source = carried_source(noised)
    for same in (np.asarray(noised), noised.tolist(), pd.DataFrame(noised), pl.DataFrame(np.asarray(noised))):
        assert source.describes(same)


def test_sources_distinguish_shapes_and_types():
    zeros = np.zeros((2, 3))
    source = CleanSource.of(X, GaussianNoiser(), zeros)
    assert source.describes(zeros)
    for other in (np.zeros((3, 2)), np.zeros(6), np.zeros((2, 3), dtype=np.int64), zeros.astype(np.float32)):
        assert not source.describes(other)
