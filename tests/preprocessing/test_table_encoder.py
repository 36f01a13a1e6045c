"""Frames with columns of every kind as numbers, and back."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal
from polars.testing import assert_frame_equal as assert_polars_equal
from sklearn.pipeline import make_pipeline

from sk_denoise import DenoisingAutoencoder, SwapNoiser, TableEncoder
from sk_denoise.persistence import load, save

N = 40
RNG = np.random.default_rng(0)
GAPS = RNG.random(N) < 0.2


def with_gaps(values, dtype):
    return pd.array([None if gap else value for gap, value in zip(GAPS, values, strict=True)], dtype=dtype)


COLUMNS = {
    "float32": RNG.normal(size=N).astype("f4"),
    "float64 with gaps": np.where(GAPS, np.nan, RNG.normal(size=N)),
    "int64": RNG.integers(-5, 300, N),
    "uint8": RNG.integers(0, 255, N).astype("u1"),
    "bool": RNG.random(N) < 0.5,
    "Int64": with_gaps(RNG.integers(0, 9, N), "Int64"),
    "boolean": with_gaps(RNG.random(N) < 0.5, "boolean"),
    "Float64": with_gaps(RNG.normal(size=N), "Float64"),
    "ordered": pd.Categorical(RNG.choice(list("pqr"), N), categories=list("zrpq"), ordered=True),
    "numbers as categories": pd.Categorical(RNG.integers(3, 6, N)),
    "text": np.where(GAPS, None, RNG.choice(["red", "blue"], N)),
    "string": with_gaps(RNG.choice(["a", "b"], N), "string"),
    "mixed": np.array([1, True, "a", 2.5] * (N // 4), dtype=object),
    "objects": pd.Series([1.0, 2.5, None, 3.0] * (N // 4), dtype=object),
    "days": pd.date_range("2020-03-01", periods=N),
    "moments": pd.date_range("2020-03-01 12:34:56.789", periods=N, freq="h", tz="Europe/Berlin"),
    "fixed offset": pd.date_range("2020", periods=N, tz="UTC+01:00"),
    "nanoseconds": pd.Series(pd.date_range("2020", periods=N, freq="37ns")).astype("datetime64[ns]"),
    "seconds": pd.Series(pd.date_range("1800", periods=N, freq="YE")).astype("datetime64[s]"),
    "spans": pd.to_timedelta(RNG.integers(-(10**6), 10**6, N), unit="s"),
    "one category": ["same"] * N,
    "constant": [3] * N,
    "all missing": [np.nan] * N,
    "all None": pd.Series([None] * N, dtype=object),
    "no category seen": pd.Categorical([None] * N, categories=["a"]),
}
FRAME = pd.DataFrame(COLUMNS, index=RNG.integers(0, 5, N))
FRAME.iloc[3, FRAME.columns.get_loc("days")] = pd.NaT


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_kind_comes_back(name):
    frame = FRAME[[name]].assign(other=1.5)
    encoder = TableEncoder().fit(frame)
    numbers = encoder.transform(frame)
    assert numbers.dtype == np.float64
    assert_frame_equal(encoder.inverse_transform(numbers), frame.reset_index(drop=True))
    for before, after in zip(frame[name], encoder.inverse_transform(numbers)[name], strict=True):
        assert type(before) is type(after)


def test_a_frame_comes_back_with_its_duplicate_index_from_a_file(tmp_path):
    encoder = TableEncoder().set_output(transform="pandas").fit(FRAME)
    save(encoder, tmp_path / "encoder.safetensors")
    loaded = load(tmp_path / "encoder.safetensors")
    assert_frame_equal(loaded.inverse_transform(loaded.transform(FRAME)), FRAME)
    assert loaded.blocks_ == encoder.blocks_


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("array_dtype_", "no type"), ("library_", "cobol"), ("column_codes_", []), ("column_codes_", [1])],
)
def test_broken_files_are_refused(attribute, value, tmp_path):
    encoder = TableEncoder().fit(FRAME[["days"]])
    setattr(encoder, attribute, value)
    with pytest.raises(ValueError, match=attribute):
        save(encoder, tmp_path / "encoder.safetensors")


def test_a_polars_frame_comes_back():
    frame = pl.DataFrame(
        {
            "number": [1.5, None, 3.0],
            "whole": [1, 2, None],
            "flag": [True, None, False],
            "text": ["a", "b", None],
            "day": [date(2020, 1, 1), None, date(2021, 5, 6)],
            "moment": [datetime(2020, 1, 1, 3, 4, 5, 678), None, datetime(2022, 1, 1)],
            "span": [timedelta(seconds=3), None, timedelta(days=1)],
            "nothing": [None, None, None],
        }
    ).with_columns(
        pl.col("text").cast(pl.Categorical).alias("category"),
        pl.col("text").cast(pl.Enum(["b", "a", "z"])).alias("enum"),
        pl.col("whole").cast(pl.UInt8).alias("short"),
        pl.col("moment").dt.replace_time_zone("Europe/Berlin").alias("local"),
    )
    encoder = TableEncoder().set_output(transform="polars").fit(frame)
    numbers = encoder.transform(frame)
    assert isinstance(numbers, pl.DataFrame)
    assert_polars_equal(encoder.inverse_transform(numbers), frame)


@pytest.mark.parametrize(
    "array",
    [
        RNG.normal(size=(5, 2)).astype("f4"),
        RNG.integers(-5, 5, (5, 2)),
        np.array([["a", "b"], ["c", "long"]]),
        np.array([["a", 1], ["b", 2.5], [None, 3]], dtype=object),
        np.array([["2020-01", "2021-02"]], dtype="M8[M]"),
        np.array([[True, False], [False, True]]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_an_array_comes_back(array):
    encoder = TableEncoder().fit(array)
    back = encoder.inverse_transform(encoder.transform(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_blocks_are_the_columns_of_categories():
    frame = pd.DataFrame({"x": [1.0, 2], "c": ["q", "p"], "b": [True, False], "d": ["u", "u"]})
    encoder = TableEncoder().fit(frame)
    assert encoder.blocks_ == [[1, 2], [4]]
    assert encoder.get_feature_names_out().tolist() == ["x", "c_p", "c_q", "b", "d_u"]
    np.testing.assert_array_equal(encoder.transform(frame), [[1, 0, 1, 1, 1], [2, 1, 0, 0, 1]])
    # Two columns of one name would be one to a noiser.
    assert TableEncoder().fit(frame.assign(c_p=0)).get_feature_names_out().tolist()[-1] == "c_p_"


def test_missing_values_are_missing_in_the_whole_block():
    numbers = TableEncoder().fit_transform(pd.DataFrame({"c": ["a", None, "b"], "x": [None, 1, 2]}))
    np.testing.assert_array_equal(np.isnan(numbers), [[0, 0, 1], [1, 1, 0], [0, 0, 0]])


def test_restored_values_are_the_nearest_ones_of_their_kind():
    frame = pd.DataFrame(
        {
            "k": np.array([0, 200], "u1"),
            "b": [True, False],
            "c": ["p", "q"],
            "t": pd.to_datetime(["2020-01-01", "2020-01-03"]),
        }
    )
    encoder = TableEncoder().fit(frame)
    back = encoder.inverse_transform([[3.6, 0.4, 0.2, 0.3, 1.00001], [999, 7, -1, -2, -1e9]])
    assert back["k"].tolist() == [4, 255]
    assert back["b"].tolist() == [False, True]
    assert back["c"].tolist() == ["q", "p"]
    # Whole seconds, as in the training rows
    assert back["t"][0] == pd.Timestamp("2020-01-02 00:00:01")
    assert (back.dtypes == frame.dtypes).all()


def test_unknown_categories_are_an_error_or_zeros():
    train, new = pd.DataFrame({"c": ["a", "b"]}), pd.DataFrame({"c": ["z", "a", None]})
    with pytest.raises(ValueError, match=r"column 'c'.*\['z'\].*unknown=\"zeros\""):
        TableEncoder().fit(train).transform(new)
    encoder = TableEncoder(unknown="zeros").fit(train)
    numbers = encoder.transform(new)
    np.testing.assert_array_equal(numbers, [[0, 0], [1, 0], [np.nan, np.nan]])
    assert encoder.inverse_transform(numbers)["c"].isna().tolist() == [True, False, True]


def test_a_column_of_another_type_than_in_fit_is_read_by_its_values():
    train = pd.DataFrame({"k": [1, 2, 3], "c": pd.Categorical(["a", "b", "a"]), "b": [True, False, True]})
    new = pd.DataFrame({"k": [1.5, None, 3], "c": ["b", None, "a"], "b": [None, True, False]})
    numbers = TableEncoder().fit(train).transform(new)
    np.testing.assert_array_equal(numbers, [[1.5, 0, 1, np.nan], [np.nan, np.nan, np.nan, 1], [3, 1, 0, 0]])


@pytest.mark.parametrize(
    ("train", "new", "message"),
    [
        ([1, 2], ["one", "two"], "column 'x'.*'one' now, which is no number"),
        (["a", "b"], [1, 2], r"categories \[1, 2\] are not those"),
        (pd.to_datetime(["2020", "2021"]), [1, 2], "no time"),
        (pd.to_datetime(["2020", "2021"]), pd.to_datetime(["2020", "2021"], utc=True), "a time zone now"),
        ([1.0, 2.0], [np.inf, 1.0], "infinity"),
    ],
    ids=["texts", "numbers", "no times", "zone", "infinite"],
)
def test_a_column_of_another_kind_than_in_fit_is_refused(train, new, message):
    encoder = TableEncoder().fit(pd.DataFrame({"x": train}))
    with pytest.raises(ValueError, match=message):
        encoder.transform(pd.DataFrame({"x": new}))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.period_range("2020", periods=2), "has no encoding"),
        ([[1], [2]], "no categories"),
        (pd.Series([date(2020, 1, 1), date(2020, 1, 2)], dtype=object), "pandas.to_datetime"),
        (pd.Series([None, None], dtype=object), "All values in X are missing"),
        ([1 + 2j, 3j], "has no encoding"),
    ],
    ids=["periods", "lists", "dates", "nothing", "complex"],
)
def test_values_without_an_encoding_are_refused(column, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(pd.DataFrame({"x": column}))


def test_numbers_that_do_not_fit_are_refused():
    encoder = TableEncoder().fit(pd.DataFrame({"k": [1, 2], "c": ["a", "b"]}))
    with pytest.raises(ValueError, match="X has 2 columns, and TableEncoder made 3 of the 2"):
        encoder.inverse_transform([[1, 2]])
    with pytest.raises(ValueError, match=r"'k' has the type int64.*Int64"):
        encoder.inverse_transform([[np.nan, 1, 0]])


def test_identifiers_and_large_integers_warn():
    with pytest.warns(UserWarning, match="200 categories in 200 rows"):
        TableEncoder().fit(pd.DataFrame({"id": [f"user {i}" for i in range(200)]}))
    with pytest.warns(UserWarning, match=r"beyond 2\*\*53"):
        TableEncoder().fit(pd.DataFrame({"id": [2**60 + 1, 1]}))


def test_a_denoiser_between_the_encoder_and_its_inverse():
    rng = np.random.default_rng(0)
    colour = rng.integers(3, size=300)
    frame = pd.DataFrame(
        {
            "colour": np.array(["red", "green", "blue"])[colour],
            "size": 10 * colour + rng.integers(0, 3, 300),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(100 * colour, unit="D"),
        }
    )
    pipeline = make_pipeline(
        TableEncoder(), DenoisingAutoencoder(noise=SwapNoiser(0.2), max_epochs=30, random_state=0)
    ).fit(frame)
    assert pipeline[1].noiser_.blocks_ == pipeline[0].blocks_
    wrong = frame.assign(colour=np.roll(frame["colour"], 1))
    swapped = (wrong["colour"] != frame["colour"]).to_numpy()
    restored = pipeline[0].inverse_transform(pipeline.predict(wrong))
    assert (restored.dtypes == frame.dtypes).all()
    assert (restored["colour"][swapped] == frame["colour"][swapped]).mean() > 0.9
