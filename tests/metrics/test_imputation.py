"""The scorer of imputers hides known entries, the same ones for every candidate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_denoise import DenoisingImputer, make_imputation_scorer

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(300, 2)) @ RNG.normal(size=(2, 5)) + 0.1 * RNG.normal(size=(300, 5))
GIVEN = np.where(RNG.random(ROWS.shape) < 0.2, np.nan, ROWS)
FRAME = pd.DataFrame(GIVEN, columns=list("abcde")).assign(
    word=pd.Series(np.where(ROWS[:, 0] > 0, "high", "low")).mask(np.isnan(GIVEN[:, 1]))
)


def test_the_mean_has_minus_one_and_a_better_imputer_more():
    scorer = make_imputation_scorer(0.3)
    assert scorer(SimpleImputer().fit(GIVEN), GIVEN) == pytest.approx(-1, abs=0.05)
    knn, ours = (scorer(imputer.fit(GIVEN), GIVEN) for imputer in (KNNImputer(), DenoisingImputer()))
    assert -0.8 < knn < ours < 0


def test_units_do_not_count():
    unit = np.array([1e-3, 1.0, 10.0, 1e3, 1e6])
    scorer = make_imputation_scorer()
    scores = [scorer(SimpleImputer().fit(X), X) for X in (GIVEN, GIVEN * unit + unit)]
    assert scores[0] == pytest.approx(scores[1])


def test_all_candidates_have_the_same_hidden_entries():
    seen = []

    class Spy(SimpleImputer):
        def transform(self, X):
            seen.append(np.isnan(X))
            return super().transform(X)

    scorer = make_imputation_scorer(0.4)
    for strategy in ("mean", "median"):
        scorer(Spy(strategy=strategy).fit(GIVEN), GIVEN)
    first, second = seen
    np.testing.assert_array_equal(first, second)
    assert (first & ~np.isnan(GIVEN)).sum() / (~np.isnan(GIVEN)).sum() == pytest.approx(0.4, abs=0.05)
    make_imputation_scorer(0.4, random_state=1)(Spy().fit(GIVEN), GIVEN)
    assert (seen[2] != first).any()


def test_it_chooses_in_a_search_with_gaps_through_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), KNNImputer(), StandardScaler())
    search = GridSearchCV(
        pipeline, {"knnimputer__n_neighbors": [1, 8]}, scoring=make_imputation_scorer(), cv=3
    ).fit(GIVEN)
    assert search.best_params_ == {"knnimputer__n_neighbors": 8}
    # Steps behind the imputer are not part of it.
    y = ROWS[:, 0] > 0
    behind = make_pipeline(KNNImputer(), LogisticRegression())
    alone = make_imputation_scorer()(KNNImputer().fit(GIVEN), GIVEN)
    assert make_imputation_scorer()(behind.fit(GIVEN, y), GIVEN, y) == pytest.approx(alone)


def test_frames_with_categories_indicators_and_dropped_columns_are_scored():
    scores = cross_val_score(DenoisingImputer(random_state=0), FRAME, scoring=make_imputation_scorer(), cv=2)
    assert -0.8 < min(scores) <= max(scores) < 0
    plain, with_indicator = (
        make_imputation_scorer()(SimpleImputer(add_indicator=flag).fit(GIVEN), GIVEN)
        for flag in (False, True)
    )
    assert plain == with_indicator
    empty = np.insert(GIVEN, 1, np.nan, axis=1)
    imputer = SimpleImputer().fit(empty)
    with pytest.warns(UserWarning, match="Skipping features without any observed values"):
        score = make_imputation_scorer()(imputer, empty)
    assert -1.2 < score < -0.8


def test_gaps_that_were_drawn_from_the_same_seed_leave_entries_to_hide():
    gaps = np.random.default_rng(0).random(ROWS.shape) < 0.3
    given = np.where(gaps, np.nan, ROWS)
    assert make_imputation_scorer(0.2)(SimpleImputer().fit(given), given) == pytest.approx(-1, abs=0.1)


def test_masks_are_copied_from_other_rows():
    together = ROWS.copy()
    together[::2, :2] = np.nan
    seen = []

    class Spy(SimpleImputer):
        def transform(self, X):
            seen.append(np.isnan(X))
            return super().transform(X)

    make_imputation_scorer("copied")(Spy().fit(together), together)
    np.testing.assert_array_equal(seen[0][:, 0], seen[0][:, 1])
    assert not seen[0][:, 2:].any()
    with pytest.raises(ValueError, match="no row of X lacks what another has"):
        make_imputation_scorer("copied")(Spy().fit(ROWS), ROWS)


def test_other_missing_values_and_weights():
    marked = np.where(np.isnan(GIVEN), -99, GIVEN)
    scorer = make_imputation_scorer(missing_values=-99)
    expected = make_imputation_scorer()(SimpleImputer().fit(GIVEN), GIVEN)
    assert scorer(SimpleImputer(missing_values=-99).fit(marked), marked) == pytest.approx(expected)
    weights = (np.arange(300) < 150).astype(float)
    weighted = make_imputation_scorer()(SimpleImputer().fit(GIVEN), GIVEN, sample_weight=weights)
    assert weighted != pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("share", [0, 1, 20, "all", True])
def test_a_share_is_between_zero_and_one(share):
    with pytest.raises(ValueError, match="share must be a number between 0 and 1"):
        make_imputation_scorer(share)


def test_an_estimator_that_leaves_gaps_is_refused():
    with pytest.raises(ValueError, match="StandardScaler leaves gaps"):
        make_imputation_scorer()(StandardScaler().fit(GIVEN), GIVEN)
    with pytest.raises(ValueError, match="random_state must be an integer"):
        make_imputation_scorer(random_state=None)
