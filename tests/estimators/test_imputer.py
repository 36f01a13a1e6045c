"""Gaps in tables: values that are there stay, values that are not come from the others."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_denoise import CopiedMaskNoiser, DenoisingImputer, MaskingNoiser

RNG = np.random.default_rng(0)
FACTORS = RNG.normal(size=(240, 2))
ROWS = FACTORS @ RNG.normal(size=(2, 5)) + 0.1 * RNG.normal(size=(240, 5))
GAPS = np.random.default_rng(1).random(ROWS.shape) < 0.2
GIVEN = np.where(GAPS, np.nan, ROWS)


def frame(n=240):
    """Return a frame with a column of each kind, complete."""
    a, b = FACTORS[:n].T
    return pd.DataFrame(
        {
            "number": a,
            "single": (a + b).astype(np.float32),
            "count": pd.array(np.round(5 * a).astype(int), dtype="Int64"),
            "flag": pd.array(b > 0, dtype="boolean"),
            "size": pd.Categorical(np.where(a > 0, "large", "small"), ["small", "large", "huge"]),
            "word": np.where(b > 0.3, "yes", "no"),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(30 * b), unit="D"),
        },
        index=[f"row {number}" for number in range(n)],
    )


def with_gaps(complete, share=0.15):
    """Return a copy with gaps of each column's own kind."""
    given = complete.copy()
    gaps = np.random.default_rng(2).random(given.shape) < share
    for number, name in enumerate(given):
        given.loc[gaps[:, number], name] = None
    return given, gaps


@pytest.fixture(scope="module")
def fitted():
    return DenoisingImputer(random_state=0).fit(GIVEN[:180])


@pytest.fixture(scope="module")
def fitted_to_frame():
    return DenoisingImputer(random_state=0).fit(with_gaps(frame())[0])


def error(filled, truth=ROWS[180:], gaps=GAPS[180:]):
    return float(np.sqrt((((filled - truth) / ROWS.std(axis=0))[gaps] ** 2).mean()))


# Arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_entries_that_are_there_stay_bit_for_bit(fitted, kind):
    given = GIVEN[180:].astype(kind)
    filled = fitted.transform(given)
    assert filled.dtype == kind
    np.testing.assert_array_equal(filled[~GAPS[180:]], given[~GAPS[180:]])
    assert np.isfinite(filled).all()


def test_gaps_of_new_rows_are_predicted_from_the_other_entries(fitted):
    assert error(fitted.transform(GIVEN[180:])) < 0.35
    # A row is filled by itself.
    np.testing.assert_allclose(fitted.transform(GIVEN[200:201]), fitted.transform(GIVEN[180:])[20:21])
    assert 0.05 < fitted.error_ < 0.5
    assert fitted.errors_.shape == (5,)


def test_a_fit_to_complete_rows_fills_gaps_later():
    imputer = DenoisingImputer(random_state=0).fit(ROWS[:180])
    assert error(imputer.transform(GIVEN[180:])) < 0.35
    # Nothing is known of an empty row but the mean.
    np.testing.assert_allclose(
        imputer.transform(np.full((1, 5), np.nan))[0], ROWS[:180].mean(axis=0), atol=0.2 * ROWS.std()
    )


def test_columns_that_are_missing_together_are_not_predicted_from_each_other():
    rng = np.random.default_rng(3)
    a, noise = rng.normal(size=(2, 400))
    X = np.column_stack([a, noise, noise + 0.01 * rng.normal(size=400), a + 0.5 * noise])
    together = rng.random(400) < 0.4
    given = np.where(np.outer(together, [0, 1, 1, 0]), np.nan, X)
    imputer = DenoisingImputer(random_state=0).fit(given)
    filled = imputer.transform(given)
    assert np.corrcoef(filled[together, 1], X[together, 1])[0, 1] > 0.95
    # The intervals are those of rows without both columns, and not those of one column given the other.
    low, high = imputer.predict_interval(given)
    assert ((low <= X) & (high >= X))[together][:, 1].mean() > 0.8


@pytest.mark.parametrize("unit", [1e18, 1e-25])
def test_units_do_not_matter(unit, fitted):
    scaled = DenoisingImputer(random_state=0).fit((GIVEN[:180] * unit).astype("f4"))
    filled = scaled.transform((GIVEN[180:] * unit).astype("f4")).astype(float) / unit
    np.testing.assert_allclose(filled, fitted.transform(GIVEN[180:]), atol=0.05)


def test_sizes_are_not_negative_and_counts_within_their_range():
    X = np.exp(2 * ROWS)
    X[:, 4] = np.clip(np.round(X[:, 4]), 0, 9)
    given = np.where(GAPS, np.nan, X)
    imputer = DenoisingImputer(random_state=0).fit(given)
    for filled in (imputer.transform(given), *imputer.sample(given, 3), *imputer.predict_interval(given)):
        assert (filled >= 0).all()
        assert filled[:, 4].max() <= 9
    assert set(imputer.sample(given, 1)[0][:, 4]) <= set(range(10))


def test_rows_beyond_the_range_of_the_fit_are_followed(fitted):
    far = 1.2 * GIVEN[np.nanargmax(np.abs(GIVEN[:180, 0]))]
    given = far.copy()
    given[0] = np.nan
    filled = fitted.transform(given[None])[0, 0]
    assert abs(filled) > np.nanmax(np.abs(GIVEN[:180, 0]))
    assert abs(filled - far[0]) < 0.1 * abs(far[0])


def test_other_missing_values_are_those_that_are_named():
    given = np.where(GAPS, -99.0, ROWS)
    filled = DenoisingImputer(-99, random_state=0).fit(given).transform(given)
    np.testing.assert_array_equal(filled, DenoisingImputer(random_state=0).fit(GIVEN).transform(GIVEN))
    with pytest.raises(ValueError, match="NaN"):
        DenoisingImputer(-99).fit(GIVEN)
    integers = np.where(GAPS, -1, np.round(10 * np.abs(ROWS)).astype(int))
    assert (DenoisingImputer(-1, random_state=0).fit_transform(integers) >= 0).all()


def test_few_rows_constant_columns_and_single_columns_are_filled():
    few = DenoisingImputer().fit([[1.0, 2.0], [np.nan, 4.0]]).transform([[np.nan, np.nan]])
    np.testing.assert_allclose(few, [[1.0, 3.0]])
    constant = np.column_stack([np.full(240, 7.0), GIVEN])
    constant[::3, 0] = np.nan
    np.testing.assert_array_equal(DenoisingImputer(random_state=0).fit_transform(constant)[:, 0], 7.0)
    single = DenoisingImputer(random_state=0).fit(GIVEN[:, :1]).transform([[np.nan]])
    np.testing.assert_allclose(single, np.nanmean(GIVEN[:, 0]))


def test_a_column_without_entries_is_dropped_with_a_warning_or_kept():
    given = np.column_stack([GIVEN, np.full(240, np.nan)])
    with pytest.warns(UserWarning, match=r"no entry and are dropped: 5\."):
        imputer = DenoisingImputer(random_state=0).fit(given)
    assert imputer.transform(given).shape == (240, 5)
    assert imputer.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3", "x4"]
    kept = clone(imputer).set_params(keep_empty_features=True, add_indicator=True).fit(given)
    filled = kept.transform(given)
    assert (filled[:, 5] == 0).all()
    np.testing.assert_array_equal(filled[:, 6:11].astype(bool), GAPS)
    assert kept.get_feature_names_out()[-1] == "missingindicator_x5"


@pytest.mark.slow
def test_more_columns_than_rows_are_filled():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 200))
    gaps = rng.random(X.shape) < 0.3
    filled = DenoisingImputer(random_state=0).fit_transform(np.where(gaps, np.nan, X))
    assert np.sqrt(((filled - X)[gaps] ** 2).mean()) < 0.2 * X.std()


@pytest.mark.parametrize(
    "noise", [0.3, (0.1, 0.5), CopiedMaskNoiser(GIVEN), MaskingNoiser(0.3)], ids=lambda n: type(n).__name__
)
def test_entries_to_hide_may_be_chosen(noise):
    imputer = DenoisingImputer(noise=noise, random_state=0).fit(GIVEN[:180])
    assert error(imputer.transform(GIVEN[180:])) < 0.35


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise": 1.5}, r"share or a pair of shares between 0 and 1, got 1\.5"),
        ({"noise": (0.5, 0.2)}, "between 0 and 1"),
        ({"noise": "masks"}, "'noise' parameter"),
        ({"max_epochs": -1}, "'max_epochs' parameter"),
        ({"device": "abacus"}, "device='abacus' cannot be used"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DenoisingImputer(**parameters).fit(GIVEN)


def test_infinity_is_no_gap():
    with pytest.raises(ValueError, match="infinity"):
        DenoisingImputer().fit(np.where(GAPS, np.inf, ROWS))
    with pytest.raises(ValueError, match="'number' holds infinity"):
        DenoisingImputer().fit(frame().assign(number=np.inf))


def test_the_same_seed_gives_the_same_values():
    twin = DenoisingImputer(random_state=0).fit(GIVEN[:180])
    again = DenoisingImputer(random_state=0).fit(GIVEN[:180])
    np.testing.assert_array_equal(twin.transform(GIVEN), again.transform(GIVEN))
    np.testing.assert_array_equal(twin.sample(GIVEN, 2), again.sample(GIVEN, 2))


def test_verbose_prints_the_error_of_each_part(capsys):
    DenoisingImputer(random_state=0, verbose=1).fit(GIVEN)
    assert re.search(r"error of hidden entries, all: 0\.\d+ standard deviations", capsys.readouterr().out)


def test_wild_values_stay_and_do_not_move_the_other_entries_of_their_row():
    is_wild = np.random.default_rng(6).random(ROWS.shape) < 0.01
    wild = np.where(is_wild, 1e4 * ROWS, GIVEN)
    filled = DenoisingImputer(random_state=0).fit(wild[:180]).transform(wild[180:])
    np.testing.assert_array_equal(filled[is_wild[180:]], wild[180:][is_wild[180:]])
    # Rows with a wild value lose an entry.
    beside = GAPS[180:] & is_wild[180:].any(axis=1)[:, None] & ~is_wild[180:]
    assert beside.any()
    assert error(filled, gaps=beside) < 1
    ordinary = GAPS[180:] & ~is_wild[180:].any(axis=1)[:, None]
    assert error(filled, gaps=ordinary) < 0.2


def test_the_tail_of_a_skewed_column_is_predicted():
    skewed = np.exp(3 * ROWS / ROWS.std(axis=0))
    given = np.where(GAPS, np.nan, skewed)
    filled = DenoisingImputer(random_state=0).fit(given[:180]).transform(given[180:])
    is_tail = GAPS[180:] & (skewed[180:] > np.quantile(skewed, 0.8, axis=0))
    medians = np.median(skewed, axis=0)
    assert np.median((filled / medians)[is_tail]) > 3


# Uncertainty --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_intervals_hold_their_share_of_the_missing_numbers(coverage):
    X = load_diabetes().data
    gaps = np.random.default_rng(0).random(X.shape) < 0.3
    given = np.where(gaps, np.nan, X)
    low, high = DenoisingImputer(random_state=0).fit(given[:300]).predict_interval(given[300:], coverage)
    inside = ((low <= X[300:] + 1e-12) & (X[300:] <= high + 1e-12))[gaps[300:]].mean()
    assert abs(inside - coverage) < 0.07
    np.testing.assert_array_equal(low[~gaps[300:]], X[300:][~gaps[300:]])


def test_intervals_of_tables_with_few_rows_reach_beyond_the_known_values():
    given = GIVEN[:15]
    imputer = DenoisingImputer(random_state=0).fit(given)
    low, high = imputer.predict_interval(GIVEN[15:])
    assert (high.max(axis=0) > np.nanmax(given, axis=0)).all()
    assert (low.min(axis=0) < np.nanmin(given, axis=0)).all()
    inside = ((low <= ROWS[15:]) & (ROWS[15:] <= high))[GAPS[15:]].mean()
    assert inside > 0.8
    # Ratings come back: their intervals end at the last one.
    ratings = np.where(GAPS, np.nan, np.clip(np.round(ROWS), -2, 2))[:30]
    _, high = DenoisingImputer(random_state=0).fit(ratings).predict_interval(ratings)
    assert (high.max(axis=0) <= 2).all()


def test_samples_spread_as_the_truth_does(fitted):
    truth, gaps = ROWS[180:], GAPS[180:]
    draws = np.array(fitted.sample(GIVEN[180:], 40))
    assert (draws[:, ~gaps] == truth[~gaps]).all()
    spread = draws.std(axis=0)[gaps]
    errors = (fitted.transform(GIVEN[180:]) - truth)[gaps]
    assert 0.6 < np.sqrt((spread**2).mean()) / np.sqrt((errors**2).mean()) < 1.6
    with pytest.raises(ValueError, match="n_imputations must be an integer of at least 1, got 0"):
        fitted.sample(GIVEN, 0)


def test_entries_of_one_row_are_drawn_together():
    a = np.random.default_rng(5).normal(size=300)
    X = np.column_stack([a, a + 0.05 * RNG.normal(size=300), RNG.normal(size=300)])
    given = X.copy()
    given[:100, :2] = np.nan
    draws = DenoisingImputer(random_state=0).fit(given).sample(given, 1)[0]
    assert np.corrcoef(draws[:100, 0], draws[:100, 1])[0, 1] > 0.9


@pytest.mark.parametrize("coverage", [0, 1, 90, "most"])
def test_a_coverage_is_a_share(fitted, coverage):
    with pytest.raises(ValueError, match="coverage must be a number between 0 and 1"):
        fitted.predict_interval(GIVEN, coverage)


# Frames -------------------------------------------------------------------------------------------------


def test_frames_keep_their_types_names_and_known_entries(fitted_to_frame):
    complete = frame()
    given, gaps = with_gaps(complete)
    filled = fitted_to_frame.transform(given)
    pd.testing.assert_series_equal(filled.dtypes, given.dtypes)
    assert filled.index.equals(given.index)
    assert not filled.isna().any(axis=None)
    for number, name in enumerate(complete):
        known = ~gaps[:, number]
        pd.testing.assert_series_equal(filled[name][known], given[name][known])
    for name in ("flag", "size", "word"):
        missing = gaps[:, list(complete).index(name)]
        assert (filled[name] == complete[name])[missing].mean() > 0.8
    days = (filled["day"] - complete["day"])[gaps[:, 6]].abs()
    assert days.mean() < 0.5 * (complete["day"] - complete["day"].mean()).abs().mean()


def test_samples_and_intervals_of_frames_have_values_of_their_kind(fitted_to_frame):
    given, gaps = with_gaps(frame())
    drawn = fitted_to_frame.sample(given, 1)[0]
    pd.testing.assert_series_equal(drawn.dtypes, given.dtypes)
    assert set(drawn["size"]) <= {"small", "large"}
    low, high = fitted_to_frame.predict_interval(given)
    missing = gaps[:, 2]
    assert (low["count"] <= high["count"]).all()
    assert (low["count"] < high["count"])[missing].all()
    assert (low["word"] == high["word"]).all()


def test_categories_that_the_fit_has_not_seen_stay(fitted_to_frame):
    given = frame(10)
    given.loc["row 1", "word"] = "perhaps"
    given.loc["row 1", "number"] = None
    filled = fitted_to_frame.transform(given)
    assert filled.loc["row 1", "word"] == "perhaps"
    assert np.isfinite(filled.loc["row 1", "number"])


def test_columns_that_change_their_kind_are_refused(fitted_to_frame):
    with pytest.raises(ValueError, match="'number' held numbers in fit"):
        fitted_to_frame.transform(with_gaps(frame(30))[0].assign(number="many"))
    with pytest.raises(ValueError, match="'word' held words in fit"):
        fitted_to_frame.transform(with_gaps(frame(30))[0].assign(word=1.0))
    with pytest.raises(ValueError, match="feature names"):
        fitted_to_frame.transform(frame(5).rename(columns={"word": "phrase"}))


def test_arrays_of_objects_hold_words_and_numbers():
    words = with_gaps(frame())[0][["number", "word", "size"]].to_numpy(dtype=object)
    filled = DenoisingImputer(random_state=0).fit_transform(words)
    assert filled.dtype == object
    assert set(filled[:, 1]) == {"yes", "no"}


def test_indicators_have_names_in_frames():
    given = with_gaps(frame()[["number", "single"]])[0].assign(full=1.0)
    imputer = DenoisingImputer(add_indicator=True, random_state=0).set_output(transform="pandas")
    filled = imputer.fit_transform(given)
    names = ["number", "single", "full", "missingindicator_number", "missingindicator_single"]
    assert filled.columns.tolist() == names
    assert imputer.get_feature_names_out().tolist() == names


def test_a_column_with_many_categories_is_filled():
    rng = np.random.default_rng(6)
    given = pd.DataFrame(
        {"city": [f"city {n}" for n in rng.integers(60, size=100)], "x": rng.normal(size=100)}
    )
    given.loc[::4, "city"] = None
    filled = DenoisingImputer(random_state=0).fit_transform(given)
    assert set(filled["city"]) <= set(given["city"].dropna())


# Quality ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_it_is_ahead_of_an_iterative_imputer(share):
    X = load_breast_cancer().data[:, :20]
    X = X / X.std(axis=0)
    gaps = np.random.default_rng(0).random(X.shape) < share
    given = np.where(gaps, np.nan, X)
    errors = []
    for imputer in (DenoisingImputer(random_state=0), IterativeImputer(random_state=0, max_iter=3, tol=9)):
        filled = imputer.fit(given[:400]).transform(given[400:])
        errors.append(np.sqrt(((filled - X[400:])[gaps[400:]] ** 2).mean()))
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.slow
def test_many_rows_have_a_network_that_is_better_than_none():
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(4000, 3)) @ rng.normal(size=(3, 30))) @ rng.normal(size=(30, 12)) / 3
    gaps = rng.random(X.shape) < 0.3
    given = np.where(gaps, np.nan, X)
    errors = []
    for max_epochs in (0, 20):
        imputer = DenoisingImputer(max_epochs=max_epochs, random_state=0).fit(given[:3500])
        errors.append(np.sqrt(((imputer.transform(given[3500:]) - X[3500:])[gaps[3500:]] ** 2).mean()))
    assert errors[1] < 0.97 * errors[0]


def test_it_stands_before_a_classifier():
    X, y = load_breast_cancer(return_X_y=True)
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)[:, :8]
    pipeline = make_pipeline(DenoisingImputer(random_state=0), LogisticRegression(max_iter=5000))
    assert pipeline.fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.88
