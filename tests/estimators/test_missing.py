"""Missing entries of tables in ``DenoisingAutoencoder(missing="mask")``."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_denoise import (
    CopiedMaskNoiser,
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenoisingImputer,
    DenseNetwork,
    GaussianNoiser,
    MaskingNoiser,
    NoiserChain,
    SwapNoiser,
    TableEncoder,
    WienerDenoiser,
    make_denoising_scorer,
    make_robustness_scorer,
)

SIGMA = 0.5


def make_rows(n=160, p=6, share=0.3, seed=0):
    """Return clean and noisy rows of rank 2, and the same with gaps."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(n, 2)) @ rng.normal(size=(2, p))
    clean /= clean.std(axis=0)
    noisy = clean + rng.normal(0, SIGMA, clean.shape)
    with_gaps = (np.where(rng.random(clean.shape) < share, np.nan, side) for side in (clean, noisy))
    return clean, noisy, *with_gaps


CLEAN, NOISY, CLEAN_GAPS, NOISY_GAPS = make_rows()


def autoencoder(**parameters):
    defaults = {"missing": "mask", "max_epochs": 2, "random_state": 0}
    return DenoisingAutoencoder(DenseNetwork((16,)), 8, **{**defaults, **parameters})


def known_error(prediction, clean, noisy):
    known = ~np.isnan(noisy)
    return np.square(prediction - clean)[known].mean() / np.square(noisy - clean)[known].mean()


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [False, True])
def test_known_entries_of_rows_with_gaps_are_denoised_better_than_behind_means(pairs):
    X = load_breast_cancer().data
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    rng = np.random.default_rng(0)
    noisy = X + rng.normal(0, SIGMA, X.shape)
    clean, noisy_gaps = (np.where(rng.random(X.shape) < 0.3, np.nan, side) for side in (X, noisy))
    train, test = slice(0, 400), slice(400, None)
    given = noisy_gaps[test]
    dae = DenoisingAutoencoder(
        DenseNetwork((32,)),
        16,
        missing="mask",
        max_epochs=5,
        random_state=0,
        noise="auto" if pairs else SIGMA,
    )
    mean, mean_clean = SimpleImputer().fit(noisy_gaps[train]), SimpleImputer().fit(clean[train])
    if pairs:
        dae.fit(noisy_gaps[train], X_clean=clean[train])
        wiener = WienerDenoiser().fit(
            mean.transform(noisy_gaps[train]), X_clean=mean_clean.transform(clean[train])
        )
    else:
        dae.fit(clean[train])
        wiener = WienerDenoiser(sigma=SIGMA).fit(mean_clean.transform(clean[train]))
    restored = dae.predict(given)
    ours = known_error(restored, X[test], given)
    assert ours < 0.85 * known_error(wiener.predict(mean.transform(given)), X[test], given)
    # Gaps are filled from correlated columns, far better than by means, with an error of about 1.
    gaps = np.isnan(given)
    assert np.square(restored - X[test])[gaps].mean() < 0.4


def test_a_row_with_gaps_is_predicted_as_by_the_gaussian_of_its_known_entries():
    rng = np.random.default_rng(1)
    covariance = np.array([[1.0, 0.9, 0.6], [0.9, 1.0, 0.7], [0.6, 0.7, 1.0]])
    clean = rng.multivariate_normal(np.zeros(3), covariance, 3000)
    gaps = rng.random(clean.shape) < 0.2
    dae = autoencoder(noise=SIGMA).fit(np.where(gaps, np.nan, clean))
    row = np.array([[1.5, np.nan, 0.5]])
    known = [0, 2]
    noisy = covariance[np.ix_(known, known)] + SIGMA**2 * np.eye(2)
    expected = covariance[:, known] @ np.linalg.solve(noisy, row[0, known])
    np.testing.assert_allclose(dae.predict(row)[0], expected, atol=0.15)


def test_scaling_and_noise_are_those_of_known_entries():
    relative = autoencoder(noise=GaussianNoiser(0.5, scale="std"))
    rng = np.random.default_rng(0)
    clean = rng.normal(0, [1.0, 10.0, 100.0], (2000, 3))
    gaps = rng.random(clean.shape) < [0.0, 0.4, 0.7]
    whole, part = (clone(relative).fit(side) for side in (clean, np.where(gaps, np.nan, clean)))
    # Means in 70 % of the gaps would leave .55 of the deviation.
    assert part.data_range_ == pytest.approx(whole.data_range_, rel=0.2)
    zeros = np.zeros((2000, 3))
    draws = [dae.noiser_.set_params(apply="always").transform(zeros).std(axis=0) for dae in (whole, part)]
    np.testing.assert_allclose(draws[1], draws[0], rtol=0.1)


def test_entries_without_a_clean_side_do_not_count_in_the_loss():
    first = autoencoder().partial_fit(NOISY, X_clean=CLEAN)
    few = np.where(np.arange(len(CLEAN))[:, None] < 20, CLEAN, np.nan)
    other = np.where(np.arange(len(CLEAN))[:, None] < 20, NOISY, NOISY[::-1])
    one, two = (pickle.loads(pickle.dumps(first)).partial_fit(X, X_clean=few) for X in (NOISY, other))
    np.testing.assert_array_equal(one.predict(NOISY), two.predict(NOISY))
    assert (one.predict(NOISY) != first.predict(NOISY)).any()
    one, two = (pickle.loads(pickle.dumps(first)).partial_fit(X, X_clean=CLEAN) for X in (NOISY, other))
    assert (one.predict(NOISY) != two.predict(NOISY)).any()


def test_the_score_counts_known_entries_only():
    dae = autoencoder().fit(CLEAN_GAPS)
    one, restored = CLEAN[:1].copy(), dae.predict(NOISY[:1])
    one[0, 3:] = np.nan
    gains = dae._score_gains_
    errors = ((restored - one) * gains)[0, :3]
    assert dae.score(NOISY[:1], one) == pytest.approx(-10 * np.log10(np.mean(errors**2)))
    # A row without truth has no score.
    nothing = CLEAN_GAPS.copy()
    nothing[0] = np.nan
    assert dae.score(NOISY, nothing) == pytest.approx(dae.score(NOISY[1:], CLEAN_GAPS[1:]))
    with pytest.raises(ValueError, match="nothing to score"):
        dae.score(NOISY, np.full_like(NOISY, np.nan))
    assert dae.score(CLEAN_GAPS) > 0


@pytest.mark.slow
def test_copied_masks_train_the_network_to_fill_gaps():
    rng = np.random.default_rng(2)
    angle = rng.uniform(0, 2 * np.pi, 800)
    # No Gaussian fills these: x and x ** 2 are not correlated.
    x = np.sin(angle)
    clean = np.column_stack([x, x**2, np.cos(3 * x)])
    with_gaps = np.where(rng.random(clean.shape) < 0.15, np.nan, clean)
    row = np.column_stack([x, np.full((800, 2), np.nan)])
    errors = []
    for noise in (0.05, NoiserChain([GaussianNoiser(0.05), CopiedMaskNoiser(with_gaps, fill=np.nan)])):
        dae = DenoisingAutoencoder(noise=noise, missing="mask", blend=None, max_epochs=25, random_state=0)
        errors.append(np.square(dae.fit(with_gaps).predict(row) - clean)[:, 1].mean())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(
    "noise",
    ["swap", "poisson", CopiedMaskNoiser(fill=np.nan), MaskingNoiser(0.2, fill="mean")],
    ids=["swap", "poisson", "copied", "masking"],
)
def test_noise_that_depends_on_values_or_rows_takes_rows_with_gaps(noise):
    dae = autoencoder(noise=noise).fit(np.abs(CLEAN_GAPS))
    assert np.isfinite(dae.predict(np.abs(NOISY_GAPS))).all()
    assert np.isfinite(dae.loss_curve_).all()


def test_predictions_are_finite_and_do_not_depend_on_other_rows():
    dae = autoencoder().fit(NOISY_GAPS, X_clean=CLEAN_GAPS)
    given = NOISY_GAPS.copy()
    given[0] = np.nan
    given[:, 1] = np.nan
    restored = dae.predict(given)
    assert np.isfinite(restored).all()
    np.testing.assert_allclose(dae.predict(given[:3]), restored[:3], atol=1e-12)
    assert dae.predict(given.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(dae.predict(NOISY), pickle.loads(pickle.dumps(dae)).predict(NOISY))


def test_a_table_without_gaps_trains_the_same_with_and_without_the_mask():
    one, other = (autoencoder(missing=missing).fit(NOISY, X_clean=CLEAN) for missing in ("mask", "error"))
    np.testing.assert_array_equal(one.predict(NOISY), other.predict(NOISY))


@pytest.mark.slow
def test_validation_rows_have_gaps_of_their_own():
    held = autoencoder(early_stopping=True).fit(CLEAN_GAPS).validation_scores_
    few = autoencoder().fit(NOISY_GAPS, X_clean=CLEAN_GAPS, X_val=NOISY_GAPS[:4], X_clean_val=CLEAN_GAPS[:4])
    complete = autoencoder().fit(NOISY_GAPS, X_clean=CLEAN_GAPS, X_val=NOISY, X_clean_val=CLEAN)
    empty = np.where(np.arange(6) == 2, np.nan, CLEAN)
    column = autoencoder().fit(CLEAN_GAPS, X_val=empty)
    for scores in (held, *(dae.validation_scores_ for dae in (few, complete, column))):
        assert len(scores) == 2
        assert np.isfinite(scores).all()
    # Validation is over known entries: other values behind the gaps would have changed it.
    assert few.validation_scores_ != complete.validation_scores_


def test_weights_and_further_calls():
    weights = np.arange(len(CLEAN))
    dae = autoencoder().fit(CLEAN_GAPS, sample_weight=weights)
    assert np.isfinite(dae.predict(NOISY_GAPS)).all()
    dae = autoencoder().partial_fit(CLEAN[:80]).partial_fit(CLEAN_GAPS[80:])
    dae.partial_fit(NOISY_GAPS, X_clean=CLEAN_GAPS)
    assert np.isfinite(dae.predict(NOISY_GAPS)).all()
    warm = autoencoder(warm_start=True).fit(CLEAN_GAPS).set_params(max_epochs=4).fit(CLEAN_GAPS)
    assert warm.n_iter_ == 4


def test_frames_pipelines_and_callbacks():
    frame = pd.DataFrame(CLEAN_GAPS, columns=list("abcdef"))
    frame["a"] = pd.array(np.round(10 * CLEAN[:, 0]), dtype="Int64")
    frame.loc[::4, "a"] = pd.NA
    scores = []
    dae = autoencoder(callbacks=[lambda fitted, _: scores.append(fitted.score(frame))])
    labels = CLEAN[:, 0] > 0
    pipe = make_pipeline(dae.set_output(transform="pandas"), LogisticRegression()).fit(frame, labels)
    restored = pipe[0].transform(frame)
    assert list(restored.columns) == list("abcdef")
    assert not restored.isna().any().any()
    assert pipe.score(frame, labels) > 0.8
    assert len(scores) == 2
    noisy = make_pipeline(CopiedMaskNoiser(fill=np.nan, random_state=0), autoencoder()).fit(frame)
    assert noisy[-1].target_source_ == "noiser"


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "mixed"])
def test_missing_categories_are_filled_from_the_others(loss):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 600)
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(np.array(["low", "middle", "high"])[kind]),
            "size": kind + 0.2 * rng.normal(size=600),
            "flag": pd.array(kind > 1, dtype="boolean"),
        }
    )
    with_gaps = frame.copy()
    hidden = rng.random(frame.shape) < 0.2
    for number, name in enumerate(frame):
        with_gaps.loc[hidden[:, number], name] = pd.NA
    encoder = TableEncoder().fit(with_gaps)
    dae = DenoisingAutoencoder(
        noise=SwapNoiser(0.2), loss=loss, missing="mask", blend=None, max_epochs=30, random_state=0
    ).fit(encoder.transform(with_gaps))
    # Of a one-hot encoding with gaps, too.
    assert dae.noiser_.blocks_ == [[0, 1, 2]]
    restored = encoder.inverse_transform(dae.predict(encoder.transform(with_gaps)))
    assert (restored.dtypes == frame.dtypes).all()
    known_size = hidden[:, 0] & ~hidden[:, 1]
    assert (restored["kind"] == frame["kind"])[known_size].mean() > 0.9


def test_gaps_are_refused_by_default_with_the_remedy():
    for fit in (
        lambda dae: dae.fit(CLEAN_GAPS),
        lambda dae: dae.fit(NOISY, X_clean=CLEAN_GAPS),
        lambda dae: dae.fit(CLEAN).predict(NOISY_GAPS),
    ):
        with pytest.raises(ValueError, match=r'NaN.*missing="mask".*DenoisingImputer'):
            fit(autoencoder(missing="error"))
    with pytest.raises(ValueError, match='fitted with missing="error"'):
        autoencoder(missing="error").fit(CLEAN).set_params(missing="mask").predict(NOISY_GAPS)
    with pytest.raises(ValueError, match="leaves NaN"):
        autoencoder(missing="error", noise=CopiedMaskNoiser(fill=np.nan)).fit(CLEAN)
    with pytest.raises(ValueError, match="as noise="):
        GaussianNoiser(0.1).fit(CLEAN_GAPS)
    assert autoencoder().__sklearn_tags__().input_tags.allow_nan
    assert not autoencoder(missing="error").__sklearn_tags__().input_tags.allow_nan


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"missing": "mean"}, {}, "missing"),
        ({"loss": {"mse": 1.0, "ssim": 0.1}}, {}, "mean over entries"),
        ({"loss": lambda output, target: (output - target).square().mean()}, {}, "mean over entries"),
        ({"objective": "recorrupt"}, {}, "noisy data alone"),
        ({}, {"X_second": NOISY_GAPS}, "second noisy measurement"),
        ({"image_shape": (2, 3)}, {}, "these samples are images"),
        ({"network": "conv"}, {}, "these samples are signals"),
    ],
)
def test_data_and_losses_without_missing_entries_are_refused(parameters, arguments, message):
    with pytest.raises(ValueError, match=message):
        autoencoder().set_params(**parameters).fit(CLEAN_GAPS, **arguments)


def test_a_column_without_any_known_entry_is_named():
    frame = pd.DataFrame(np.where(np.arange(6) == 4, np.nan, CLEAN), columns=list("abcdef"))
    with pytest.raises(ValueError, match="without any known entry: 'e'"):
        autoencoder().fit(frame)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 5), (30, 1), (20, 200), (12, 2050)])
def test_tables_of_odd_shapes(shape):
    rng = np.random.default_rng(0)
    clean = np.where(rng.random(shape) < 0.3, np.nan, rng.normal(size=shape))
    clean[0] = 0.1
    dae = autoencoder().fit(clean)
    assert np.isfinite(dae.predict(np.full((2, shape[1]), np.nan))).all()


@pytest.mark.parametrize("unit", [1e18, 1e-20])
def test_single_precision_far_from_one(unit):
    near, far = (
        autoencoder().fit((CLEAN_GAPS * u).astype("f4")).predict((NOISY_GAPS * u).astype("f4")).astype(float)
        / u
        for u in (1.0, unit)
    )
    assert known_error(far, CLEAN, NOISY_GAPS) == pytest.approx(
        known_error(near, CLEAN, NOISY_GAPS), rel=0.05
    )


@pytest.mark.parametrize("pairs", [False, True])
def test_ensembles_take_gaps(pairs):
    ensemble = DenoisingEnsemble(autoencoder(noise="auto" if pairs else SIGMA), 2, random_state=0)
    if pairs:
        ensemble.fit(NOISY_GAPS, X_clean=CLEAN_GAPS)
    else:
        ensemble.fit(CLEAN_GAPS)
    denoised, std = ensemble.predict(NOISY_GAPS, return_std=True)
    assert np.isfinite(denoised).all()
    np.testing.assert_allclose(
        denoised, np.mean([member.predict(NOISY_GAPS) for member in ensemble.estimators_], axis=0), atol=1e-9
    )
    # The standard deviation is that of the errors of known entries.
    errors = (denoised - CLEAN)[~np.isnan(NOISY_GAPS)]
    assert 0.5 < np.sqrt(np.mean(std**2)) / np.sqrt(np.mean(errors**2)) < 2
    assert np.isfinite(ensemble.score(NOISY_GAPS, CLEAN_GAPS))
    with pytest.raises(ValueError, match="contains NaN"):
        DenoisingEnsemble(autoencoder(missing="error"), 2).fit(CLEAN_GAPS)


@pytest.mark.parametrize("metric", ["psnr", "mse", "nmse"])
def test_gaps_do_not_count_in_a_denoising_scorer(metric):
    dae = autoencoder().fit(CLEAN_GAPS)
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA, random_state=0), metric)
    score = scorer(dae, CLEAN_GAPS)
    assert np.isfinite(score)
    # Rows without any entry change nothing, and the truth of y counts where it is known.
    longer = np.vstack([CLEAN_GAPS, np.full((1, 6), np.nan)])
    assert scorer(dae, longer) == pytest.approx(score, rel=0.1)
    assert scorer(dae, CLEAN_GAPS, CLEAN) != score
    # Values that an imputer fills in are no truth.
    behind = make_pipeline(DenoisingImputer(random_state=0), autoencoder(missing="error")).fit(CLEAN_GAPS)
    assert np.isfinite(scorer(behind, CLEAN_GAPS))
    with pytest.raises(ValueError, match="NaN"):
        scorer(autoencoder(missing="error").fit(CLEAN), CLEAN_GAPS)


def test_a_denoising_scorer_has_the_error_of_known_entries():
    class Exact(DenoisingAutoencoder):
        def predict(self, X):
            return np.where(np.isnan(CLEAN_GAPS), 100.0, CLEAN + np.arange(6) / 10)

    exact = Exact(DenseNetwork((16,)), 8, missing="mask", max_epochs=1, random_state=0).fit(CLEAN_GAPS)
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA), "mse", units="data")
    known = ~np.isnan(CLEAN_GAPS)
    expected = [np.mean((np.arange(6) / 10)[row] ** 2) for row in known if row.any()]
    assert scorer(exact, CLEAN_GAPS) == pytest.approx(-np.mean(expected))


@pytest.mark.slow
def test_a_search_over_a_pipeline_takes_gaps():
    labels = (CLEAN[:, 0] > 0).astype(int)
    pipe = make_pipeline(StandardScaler(), autoencoder(), LogisticRegression())
    robust = make_robustness_scorer(GaussianNoiser(SIGMA, random_state=0), n_copies=2)
    grid = {"denoisingautoencoder__latent_dim": [2, 8]}
    search = GridSearchCV(pipe, grid, scoring=robust, cv=2, error_score="raise").fit(CLEAN_GAPS, labels)
    assert search.best_score_ > 0.6
    denoising = make_pipeline(StandardScaler(), autoencoder())
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA, random_state=0))
    search = GridSearchCV(denoising, grid, scoring=scorer, cv=2, error_score="raise").fit(CLEAN_GAPS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.isfinite(search.predict(NOISY_GAPS)).all()
