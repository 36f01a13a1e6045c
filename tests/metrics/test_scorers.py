from __future__ import annotations

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score, cross_validate
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, make_denoising_scorer, make_robustness_scorer
from sk_denoise.metrics import mse, nmse, prd, psnr, ssim

SPLIT = ShuffleSplit(n_splits=2, test_size=0.3, random_state=0)
ERRORS = {"error_score": "raise"}


class Witness(BaseEstimator):
    """Return the input, and record it."""

    def fit(self, X, y=None):
        self.n_features_in_ = np.shape(X)[1]
        return self

    def predict(self, X):
        self.shown_ = X
        return np.asarray(X)


class Projection(TransformerMixin, BaseEstimator):
    """Denoise by the first principal components."""

    def __init__(self, n_components=2):
        self.n_components = n_components

    def fit(self, X, y=None):
        self.pca_ = PCA(self.n_components, svd_solver="full").fit(np.asarray(X))
        return self

    def predict(self, X):
        return self.pca_.inverse_transform(self.pca_.transform(np.asarray(X)))

    def transform(self, X):
        return self.predict(X)


@pytest.fixture(scope="module")
def X(digits):
    return digits.train[:200]


@pytest.fixture(scope="module")
def labels(digits):
    return digits.train_labels[:200]


@pytest.fixture(scope="module")
def frame(X):
    return pd.DataFrame(X, columns=[f"pixel{i}" for i in range(64)], index=np.arange(200) + 1000)


@pytest.fixture
def scorer():
    return make_denoising_scorer(GaussianNoiser(0.3, random_state=0), data_range=1)


def quick_dae(**parameters) -> DenoisingAutoencoder:
    return DenoisingAutoencoder(latent_dim=16, max_epochs=2, random_state=0).set_params(**parameters)


def shown(scorer, estimator, X, y=None) -> np.ndarray:
    """Return the input of the last step of a fitted estimator in a scorer."""
    scorer(estimator, X, y)
    return estimator[-1].shown_ if isinstance(estimator, Pipeline) else estimator.shown_


# One noise for all candidates ----------------------------------------------------------------------------


def test_every_candidate_gets_the_same_noise_in_the_unit_of_the_raw_fold(scorer, X):
    first = shown(scorer, Witness().fit(X), X)
    assert np.std(first - X) == pytest.approx(0.3, rel=0.02)
    make_denoising_scorer(GaussianNoiser(2.0, random_state=1))(Witness().fit(X), X)
    np.testing.assert_array_equal(shown(scorer, Witness().fit(X), X), first)
    scaled = make_pipeline(MinMaxScaler((0, 100)), Witness()).fit(X)
    np.testing.assert_allclose(scaled[0].inverse_transform(shown(scorer, scaled, X)), first, atol=1e-12)


def test_noisers_in_the_candidate_add_nothing(scorer, X):
    plain = shown(scorer, Witness().fit(X), X)
    for strength in (0.1, 5.0):
        noised = make_pipeline(GaussianNoiser(strength, random_state=3), Witness()).fit(X)
        np.testing.assert_array_equal(shown(scorer, noised, X), plain)


@pytest.mark.parametrize("apply", ["fit", "always"])
def test_the_noiser_of_the_scorer_corrupts_with_any_apply(X, apply):
    noiser = GaussianNoiser(0.3, random_state=0)
    scorer = make_denoising_scorer(clone(noiser).set_params(apply=apply))
    expected = make_denoising_scorer(noiser)(Witness().fit(X), X)
    assert scorer(Witness().fit(X), X) == expected


@pytest.mark.parametrize(
    "random_state", [0, None, np.int64(7), np.random.RandomState(0)], ids=["0", "None", "int64", "instance"]
)
def test_the_score_is_the_same_at_every_call_with_any_random_state(X, random_state):
    scorer = make_denoising_scorer(GaussianNoiser(0.3, random_state=random_state))
    scores = {scorer(Witness().fit(X), X) for _ in range(3)}
    assert len(scores) == 1


def test_random_state_none_counts_as_zero_and_other_seeds_give_other_noise(X):
    scores = [
        make_denoising_scorer(GaussianNoiser(0.3, random_state=seed))(Witness().fit(X), X)
        for seed in (None, 0, 1)
    ]
    assert scores[0] == scores[1] != scores[2]


def test_scoring_leaves_noiser_fold_and_global_states_alone(X):
    noiser = GaussianNoiser(0.3, scale="std", random_state=0)
    fold, state = X.copy(), torch.get_rng_state()
    make_denoising_scorer(noiser)(Witness().fit(X), fold)
    np.testing.assert_array_equal(fold, X)
    assert not hasattr(noiser, "scale_")
    assert torch.equal(torch.get_rng_state(), state)


def test_the_strength_of_relative_noise_comes_from_the_clean_fold(X):
    scorer = make_denoising_scorer(GaussianNoiser(1.0, scale="std", random_state=0))
    fold = X[:100] * 7
    noise = shown(scorer, Witness().fit(X), fold) - fold
    spread = fold.std(axis=0)
    assert (noise[:, spread == 0] == 0).all()
    busy = spread > 1
    np.testing.assert_allclose(noise.std(axis=0)[busy], spread[busy], rtol=0.4)
    assert noise[:, busy].std() == pytest.approx(np.sqrt((spread[busy] ** 2).mean()), rel=0.05)


# What is compared ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("psnr", lambda t, p: psnr(t, p, data_range=1)),
        ("mse", lambda t, p: -mse(t, p)),
        ("nmse", lambda t, p: -nmse(t, p)),
        ("prd", lambda t, p: -prd(t, p)),
    ],
)
def test_a_score_is_the_metric_of_clean_fold_and_prediction_with_greater_as_better(X, name, expected):
    scorer = make_denoising_scorer(GaussianNoiser(0.3, random_state=0), name, data_range=1)
    witness = Witness().fit(X)
    score = scorer(witness, X)
    assert score == pytest.approx(expected(X, witness.shown_))
    weaker = make_denoising_scorer(GaussianNoiser(0.1, random_state=0), name, data_range=1)
    assert weaker(witness, X) > score


def test_psnr_is_the_metric_by_default(X):
    noiser, witness = GaussianNoiser(0.3, random_state=0), Witness().fit(X)
    assert make_denoising_scorer(noiser)(witness, X) == make_denoising_scorer(noiser, "psnr")(witness, X)


def test_the_clean_fold_passes_through_the_earlier_steps_of_a_pipeline(scorer, X):
    pipeline = make_pipeline(StandardScaler(), GaussianNoiser(0.5), MinMaxScaler((0, 2)), Witness()).fit(X)
    score = scorer(pipeline, X)
    truth = pipeline[:-1].transform(X)
    assert score == pytest.approx(psnr(truth, pipeline[-1].shown_, data_range=1))


def test_nested_pipelines_are_followed_to_their_last_step(scorer, X):
    nested = make_pipeline(StandardScaler(), make_pipeline(MinMaxScaler(), Witness())).fit(X)
    flat = make_pipeline(StandardScaler(), MinMaxScaler(), Witness()).fit(X)
    assert scorer(nested, X) == scorer(flat, X)


def test_steps_that_pass_everything_change_nothing(scorer, X):
    assert scorer(make_pipeline("passthrough", Witness()).fit(X), X) == scorer(Witness().fit(X), X)
    assert scorer(make_pipeline(Witness()).fit(X), X) == scorer(Witness().fit(X), X)


def test_a_y_of_the_shape_of_x_takes_the_place_of_the_truth(scorer, X):
    witness, y = Witness().fit(X), X + 0.5
    score = scorer(witness, X, y)
    assert score == pytest.approx(psnr(y, witness.shown_, data_range=1))
    assert score < scorer(witness, X)


def test_a_y_passes_through_the_earlier_steps_too(scorer, X):
    pipeline, y = make_pipeline(StandardScaler(), Witness()).fit(X), X + 0.1
    score = scorer(pipeline, X, y)
    assert score == pytest.approx(psnr(pipeline[0].transform(y), pipeline[-1].shown_, data_range=1))


@pytest.mark.parametrize("kind", ["numbers", "names", "series", "indicators", "other width"])
def test_labels_are_ignored(scorer, X, labels, kind):
    y = {
        "numbers": labels,
        "names": labels.astype(str),
        "series": pd.Series(labels),
        "indicators": (X > 0.5).astype(int),
        "other width": np.eye(10)[labels],
    }[kind]
    assert scorer(Witness().fit(X), X, y) == scorer(Witness().fit(X), X)


def test_the_range_is_by_default_that_of_the_clean_fold_after_the_earlier_steps(X):
    scorer = make_denoising_scorer(GaussianNoiser(0.3, random_state=0))
    pipeline = make_pipeline(StandardScaler(), Witness()).fit(X)
    truth = pipeline[0].transform(X)
    score = scorer(pipeline, X)
    assert score == pytest.approx(psnr(truth, pipeline[-1].shown_, data_range=np.ptp(truth)))


def test_the_range_of_small_integers_is_that_of_their_type(X):
    pixels = (X * 100).astype(np.uint8)
    witness = Witness().fit(pixels)
    score = make_denoising_scorer(GaussianNoiser(20, random_state=0))(witness, pixels)
    assert score == pytest.approx(psnr(pixels, witness.shown_, data_range=255))


def test_ssim_takes_the_shape_of_images_from_the_estimator_or_the_stack(X):
    scorer = make_denoising_scorer(GaussianNoiser(0.1, random_state=0), "ssim", data_range=1)
    flat = make_pipeline("passthrough", quick_dae(image_shape=(8, 8))).fit(X)
    noisy = shown(make_denoising_scorer(GaussianNoiser(0.1, random_state=0)), Witness().fit(X), X)
    expected = ssim(X, flat.predict(noisy), data_range=1, image_shape=(8, 8))
    assert scorer(flat, X) == pytest.approx(expected)
    stack = X.reshape(-1, 8, 8)
    witness = Witness().fit(stack)
    score = scorer(witness, stack)
    assert score == pytest.approx(ssim(stack, witness.shown_, data_range=1))


def test_ssim_of_rows_that_are_no_images_is_refused(X):
    scorer = make_denoising_scorer(GaussianNoiser(0.1, random_state=0), "ssim")
    with pytest.raises(ValueError, match="ssim compares images"):
        scorer(Witness().fit(X), X)


@pytest.mark.parametrize("shape", [(-1, 8, 8), (-1, 4, 4, 4)])
def test_stacks_are_scored_like_rows(scorer, X, shape):
    stack = X.reshape(shape)
    assert scorer(Witness().fit(stack), stack) == pytest.approx(scorer(Witness().fit(X), X))


# What is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_denoising_scorer, make_robustness_scorer])
@pytest.mark.parametrize(
    ("other", "message"), [(GaussianNoiser, r"Did you mean GaussianNoiser\(\)\?"), (0.3, "got 0.3")]
)
def test_a_scorer_needs_a_noiser(make, other, message):
    with pytest.raises(TypeError, match=f"Expected a noiser .*{message}"):
        make(other)


@pytest.mark.parametrize("name", ["pnsr", "PSNR", "psnrr"])
def test_an_unknown_metric_is_refused_with_the_nearest(name):
    with pytest.raises(ValueError, match=r"Unknown metric .*Known: 'psnr', 'ssim', 'mse', 'nmse'"):
        make_denoising_scorer(GaussianNoiser(), name)
    with pytest.raises(ValueError, match="Did you mean 'psnr'"):
        make_denoising_scorer(GaussianNoiser(), "pnsr")


@pytest.mark.parametrize("data_range", [0, -1, np.nan, "1"])
def test_a_data_range_is_checked_before_a_search_has_run_for_hours(data_range):
    with pytest.raises(ValueError, match="data_range"):
        make_denoising_scorer(GaussianNoiser(), data_range=data_range)


def candidates_that_add_noise():
    always = GaussianNoiser(0.2, apply="always", random_state=0)
    return {
        "step": make_pipeline(always, Witness()),
        "nested step": make_pipeline(StandardScaler(), make_pipeline(always, Witness())),
        "part of a union": make_pipeline(FeatureUnion([("a", always)]), Witness()),
        "chosen by a search": GridSearchCV(
            make_pipeline(GaussianNoiser(0.2), Projection()),
            {"gaussiannoiser__apply": ["always"]},
            scoring=lambda estimator, X, y=None: 0.0,
            cv=2,
        ),
    }


@pytest.mark.parametrize("where", candidates_that_add_noise())
def test_a_candidate_that_adds_noise_of_its_own_is_refused(scorer, X, labels, where):
    candidate = candidates_that_add_noise()[where].fit(X)
    for refusing in (scorer, make_robustness_scorer(GaussianNoiser(), scoring=lambda *_: 0.0)):
        with pytest.raises(
            ValueError, match=r"holds GaussianNoiser\(apply='always'.*Give that one apply=\"fit\""
        ):
            refusing(candidate, X, labels)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_folds_that_are_not_finite_are_refused(scorer, X, bad):
    broken = X.copy()
    broken[0, 0] = bad
    with pytest.raises(ValueError, match="Input X contains"):
        scorer(Witness().fit(X), broken)


# In scikit-learn's tools ---------------------------------------------------------------------------------


def test_a_search_finds_the_parameters_that_denoise_best(scorer, X):
    grid = {"projection__n_components": [1, 8, 64]}
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), Projection()), grid, scoring=scorer, cv=SPLIT, **ERRORS
    )
    assert search.fit(X).best_params_ == {"projection__n_components": 8}
    again = clone(search).fit(X)
    np.testing.assert_array_equal(again.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"])


@pytest.mark.slow
def test_a_search_over_noise_does_not_select_the_weakest(X):
    scorer = make_denoising_scorer(GaussianNoiser(0.5, random_state=0), data_range=1)
    pipeline = make_pipeline(GaussianNoiser(), quick_dae(max_epochs=15))
    grid = {"gaussiannoiser__noise_factor": [0.02, 0.5]}
    search = GridSearchCV(pipeline, grid, scoring=scorer, cv=SPLIT, **ERRORS).fit(X)
    assert search.best_params_ == {"gaussiannoiser__noise_factor": 0.5}


def test_a_search_is_scored_as_its_best_estimator_is(scorer, X):
    pipeline = make_pipeline(StandardScaler(), Projection())
    search = GridSearchCV(pipeline, {"projection__n_components": [4, 8]}, scoring=scorer, cv=2, **ERRORS).fit(
        X
    )
    assert scorer(search, X[:50]) == scorer(search.best_estimator_, X[:50])
    assert search.score(X[:50]) == scorer(search.best_estimator_, X[:50])
    nested = cross_val_score(search, X, scoring=scorer, cv=SPLIT, **ERRORS)
    assert np.isfinite(nested).all()


@pytest.mark.slow
@pytest.mark.parametrize("routing", [False, True])
def test_cross_validation_works_with_and_without_labels_and_metadata_routing(scorer, X, labels, routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        for estimator in (Projection(8), make_pipeline(GaussianNoiser(0.2, random_state=0), quick_dae())):
            given = {"scoring": scorer, "cv": SPLIT, "params": {}, **ERRORS}  # 1.6.0 wants params to route
            alone = cross_val_score(estimator, X, **given)
            labelled = cross_val_score(estimator, X, labels, **given)
            np.testing.assert_array_equal(alone, labelled)
            search = GridSearchCV(estimator, {}, scoring=scorer, cv=SPLIT, **ERRORS).fit(X)
            np.testing.assert_allclose(search.best_score_, alone.mean())


def test_clean_data_can_be_routed_beside_the_scorer(scorer, X):
    noisy = X + np.random.default_rng(0).normal(0, 0.3, X.shape)
    with sklearn.config_context(enable_metadata_routing=True):
        dae = quick_dae().set_fit_request(X_clean=True)
        scores = cross_val_score(dae, noisy, params={"X_clean": X}, scoring=scorer, cv=SPLIT, **ERRORS)
    assert np.isfinite(scores).all()


def test_a_regressor_that_learns_pairs_can_be_scored(scorer, X):
    scores = cross_val_score(LinearRegression(), X, X + 0.1, scoring=scorer, cv=SPLIT, **ERRORS)
    assert np.isfinite(scores).all()


def test_several_scorers_work_side_by_side(scorer, X, labels):
    classifier = make_pipeline(Projection(8), LogisticRegression())
    robust = make_robustness_scorer(GaussianNoiser(0.2, random_state=0), n_copies=2)
    results = cross_validate(
        classifier, X, labels, cv=SPLIT, scoring={"robust": robust, "clean": "accuracy"}, **ERRORS
    )
    assert (results["test_robust"] < results["test_clean"]).all()
    both = {"psnr": scorer, "mse": make_denoising_scorer(GaussianNoiser(0.3, random_state=0), "mse")}
    results = cross_validate(Projection(8), X, cv=SPLIT, scoring=both, **ERRORS)
    assert (results["test_psnr"] > 0).all()
    assert (results["test_mse"] < 0).all()


def test_candidates_that_are_scored_at_the_same_time_get_the_same_noise(scorer, X):
    def scores(n_jobs):
        search = GridSearchCV(Projection(), {"n_components": [2, 4, 8]}, scoring=scorer, cv=2, n_jobs=n_jobs)
        with joblib.parallel_config("threading"):
            return search.fit(X).cv_results_["mean_test_score"]

    np.testing.assert_array_equal(scores(n_jobs=3), scores(n_jobs=1))


@pytest.mark.parametrize(
    "make",
    [
        lambda noiser: make_denoising_scorer(noiser, "nmse"),
        lambda noiser: make_robustness_scorer(noiser, "balanced_accuracy", n_copies=2),
    ],
    ids=["denoising", "robustness"],
)
def test_a_scorer_survives_pickling_and_shows_its_parameters(make, X, labels):
    scorer = make(GaussianNoiser(0.3, random_state=0))
    estimator = (
        Witness().fit(X) if "nmse" in repr(scorer) else LogisticRegression(max_iter=200).fit(X, labels)
    )
    assert pickle.loads(pickle.dumps(scorer))(estimator, X, labels) == scorer(estimator, X, labels)
    assert "GaussianNoiser(noise_factor=0.3, random_state=0)" in repr(scorer)


# Frames --------------------------------------------------------------------------------------------------


def test_frames_reach_the_candidate_with_their_names_and_index(scorer, frame):
    noisy = shown(scorer, Witness().fit(frame), frame)
    assert isinstance(noisy, pd.DataFrame)
    assert noisy.columns.equals(frame.columns)
    assert noisy.index.equals(frame.index)
    np.testing.assert_array_equal(noisy, shown(scorer, Witness().fit(frame), frame.to_numpy()))


def test_polars_frames_reach_the_candidate_with_their_names(scorer, frame):
    polars = pl.DataFrame(frame.to_numpy(), schema=list(frame.columns))
    noisy = shown(scorer, Witness().fit(polars), polars)
    assert type(noisy) is pl.DataFrame
    assert noisy.columns == polars.columns


@pytest.mark.slow
@pytest.mark.parametrize("output", ["default", "pandas"])
@pytest.mark.parametrize("y", [None, "frame", "array", "labels"])
def test_frames_are_scored_without_a_warning_about_names(scorer, frame, labels, output, y):
    target = {None: None, "frame": frame + 0.1, "array": frame.to_numpy() + 0.1, "labels": labels}[y]
    pipeline = make_pipeline(StandardScaler(), GaussianNoiser(0.3), quick_dae()).set_output(transform=output)
    fitted = pipeline.fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = scorer(fitted, frame, target)
    plain = clone(pipeline).fit(frame.to_numpy())
    plain_target = target.to_numpy() if isinstance(target, pd.DataFrame) else target
    assert score == pytest.approx(scorer(plain, frame.to_numpy(), plain_target))


# Robustness ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(X, labels):
    return make_pipeline(MinMaxScaler(), LogisticRegression()).fit(X, labels)


def robustness(noise_factor, **parameters):
    return make_robustness_scorer(GaussianNoiser(noise_factor, random_state=0), **parameters)


def test_robustness_is_the_mean_over_noisy_copies_that_differ(classifier, X, labels):
    seen = []

    def accuracy(estimator, X, y):
        seen.append(np.asarray(X))
        return estimator.score(X, y)

    score = robustness(0.5, scoring=accuracy, n_copies=3)(classifier, X, labels)
    assert len(seen) == 3
    assert score == pytest.approx(np.mean([classifier.score(noisy, labels) for noisy in seen]))
    assert not np.array_equal(seen[0], seen[1])
    for noisy in seen:
        assert np.std(noisy - X) == pytest.approx(0.5, rel=0.03)
    assert robustness(0.5, n_copies=3)(classifier, X, labels) == score


def test_robustness_averages_over_five_copies_by_default(classifier, X, labels):
    assert robustness(0.5)(classifier, X, labels) == robustness(0.5, n_copies=5)(classifier, X, labels)
    assert robustness(0.5)(classifier, X, labels) != robustness(0.5, n_copies=4)(classifier, X, labels)


def test_robustness_falls_with_noise_and_without_noise_is_the_score(classifier, X, labels):
    scores = [robustness(strength)(classifier, X, labels) for strength in (0.0, 0.3, 1.0, 5.0)]
    assert scores[0] == pytest.approx(classifier.score(X, labels))
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[1] > scores[2] > scores[3]


def test_robustness_is_the_same_for_the_same_classifier(classifier, X, labels):
    again = pickle.loads(pickle.dumps(classifier))
    assert robustness(0.5)(again, X, labels) == robustness(0.5)(classifier, X, labels)


def test_robustness_takes_the_scores_of_scikit_learn(classifier, X, labels):
    probabilities = robustness(0.5, scoring="neg_log_loss")(classifier, X, labels)
    assert probabilities < 0
    with pytest.raises(ValueError, match="'acuracy' is not a valid scoring value"):
        robustness(0.5, scoring="acuracy")


@pytest.mark.parametrize("n_copies", [0, -1, 2.5, "5"])
def test_the_number_of_copies_is_a_whole_number_of_at_least_one(n_copies):
    with pytest.raises((ValueError, TypeError), match="n_copies must be"):
        robustness(0.5, n_copies=n_copies)


@pytest.mark.slow
def test_a_pipeline_that_denoises_before_it_classifies_can_be_scored_and_searched(X, labels):
    noiser = GaussianNoiser(0.5, random_state=0)
    # The network alone, which two numbers are too few for.
    dae = quick_dae().set_params(blend=None)
    pipeline = make_pipeline(noiser, dae, LogisticRegression(max_iter=300))
    assert 0 < robustness(0.5)(pipeline.fit(X, labels), X, labels) < 1
    grid = {"denoisingautoencoder__latent_dim": [2, 16]}
    search = GridSearchCV(pipeline, grid, scoring=robustness(0.5, n_copies=2), cv=2, **ERRORS)
    assert search.fit(X, labels).best_params_ == {"denoisingautoencoder__latent_dim": 16}


def test_frames_are_classified_without_a_warning_about_names(X, frame, labels):
    pipeline = make_pipeline(MinMaxScaler(), LogisticRegression()).set_output(transform="pandas")
    expected = robustness(0.5)(clone(pipeline).set_output(transform="default").fit(X, labels), X, labels)
    assert robustness(0.5)(pipeline.fit(frame, labels), frame, labels) == expected
