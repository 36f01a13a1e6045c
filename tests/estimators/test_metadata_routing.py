"""Clean sides, validation data and weights in pipelines and searches."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    make_denoising_scorer,
    make_robustness_scorer,
)
from sk_denoise.metrics import psnr

CLEAN, LABELS = load_digits(return_X_y=True)
CLEAN, LABELS = CLEAN[:300] / 16, LABELS[:300]
NOISY = CLEAN + 0.25 * np.random.default_rng(0).normal(size=CLEAN.shape)
WEIGHTS = np.linspace(0.1, 3, len(CLEAN))


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def dae(**parameters) -> DenoisingAutoencoder:
    settings = {"latent_dim": 16, "max_epochs": 10, "random_state": 0} | parameters
    return DenoisingAutoencoder(DenseNetwork((64,)), **settings)


class Spy(DenoisingAutoencoder):
    """Keeps the arguments of its fit."""

    def fit(self, X, y=None, *, X_clean=None, X_val=None, X_clean_val=None, sample_weight=None):
        self.arguments_ = {"X": X, "X_clean": X_clean, "X_val": X_val, "X_clean_val": X_clean_val}
        self.arguments_["sample_weight"] = sample_weight
        arguments = self.arguments_
        super().fit(X, y, X_clean=X_clean, X_val=X_val, X_clean_val=X_clean_val, sample_weight=sample_weight)
        self.arguments_ = arguments
        return self


def spy(**requests) -> Spy:
    return Spy(DenseNetwork((32,)), 8, max_epochs=2, random_state=0).set_fit_request(**requests)


def test_a_pipeline_of_scaler_noiser_estimator_and_classifier():
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),
            ("noise", GaussianNoiser(0.1, random_state=0)),
            ("dae", dae().set_fit_request(X_clean=True)),
            ("clf", LogisticRegression(max_iter=500)),
        ],
        transform_input=["X_clean"],
    )
    pipeline.fit(NOISY[:200], LABELS[:200], X_clean=CLEAN[:200])
    assert pipeline["dae"].target_source_ == "X_clean"
    assert pipeline.score(NOISY[200:], LABELS[200:]) > 0.6
    denoised = pipeline["scale"].inverse_transform(pipeline[:-1].transform(NOISY[200:]))
    assert psnr(CLEAN[200:], denoised, data_range=1) > 2 + psnr(CLEAN[200:], NOISY[200:], data_range=1)


def test_the_clean_side_is_scaled_by_earlier_steps():
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("dae", spy(X_clean=True))], transform_input=["X_clean"]
    )
    pipeline.fit(NOISY, LABELS, X_clean=CLEAN)
    np.testing.assert_allclose(pipeline["dae"].arguments_["X_clean"], pipeline["scale"].transform(CLEAN))


def test_validation_data_are_scaled_by_earlier_steps():
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("dae", spy(X_clean=True, X_val=True, X_clean_val=True))],
        transform_input=["X_clean", "X_val", "X_clean_val"],
    )
    sides = {"X_clean": CLEAN[:200], "X_val": NOISY[200:], "X_clean_val": CLEAN[200:]}
    pipeline.fit(NOISY[:200], None, **sides)
    for name, side in sides.items():
        np.testing.assert_allclose(pipeline["dae"].arguments_[name], pipeline["scale"].transform(side))
    assert len(pipeline["dae"].validation_scores_) == 2


@pytest.mark.slow
def test_a_search_splits_the_clean_side_and_the_weights_with_the_samples():
    arguments = []

    class Recording(Spy):
        def fit(self, X, y=None, *, X_clean=None, sample_weight=None):
            arguments.append((np.asarray(X), X_clean, sample_weight))
            return super().fit(X, y, X_clean=X_clean, sample_weight=sample_weight)

    recording = Recording(DenseNetwork((32,)), max_epochs=1, random_state=0)
    recording.set_fit_request(X_clean=True, sample_weight=True)
    pipeline = Pipeline([("dae", recording)])
    scorer = make_denoising_scorer(GaussianNoiser()).set_score_request(sample_weight=True)
    search = GridSearchCV(pipeline, {"dae__latent_dim": [4, 8]}, cv=3, refit=False, scoring=scorer)
    search.fit(NOISY, X_clean=CLEAN, sample_weight=WEIGHTS)
    assert len(arguments) == 6
    for noisy, clean, weights in arguments:
        rows = [int(np.flatnonzero((row == NOISY).all(axis=1))[0]) for row in noisy[:5]]
        np.testing.assert_array_equal(clean[:5], CLEAN[rows])
        np.testing.assert_array_equal(weights[:5], WEIGHTS[rows])


def test_denoising_scorers_request_weights():
    scorer = make_denoising_scorer(GaussianNoiser(0.25), data_range=1).set_score_request(sample_weight=True)
    learner = dae().set_fit_request(sample_weight=False)
    results = cross_validate(
        learner,
        CLEAN,
        cv=[(np.arange(200), np.arange(200, 300))],
        scoring=scorer,
        params={"sample_weight": WEIGHTS},
        return_estimator=True,
    )
    fitted, fold = results["estimator"][0], CLEAN[200:]
    assert results["test_score"][0] == scorer(fitted, fold, sample_weight=WEIGHTS[200:])
    assert results["test_score"][0] != scorer(fitted, fold)


def test_the_robustness_scorer_passes_weights_to_the_score():
    scorer = make_robustness_scorer(GaussianNoiser(0.25))
    classifier = LogisticRegression(max_iter=500).fit(CLEAN, LABELS)
    wrong = classifier.predict(NOISY) != LABELS
    assert scorer(classifier, CLEAN, LABELS) < 1
    weighted = scorer(classifier, CLEAN, LABELS, sample_weight=np.where(wrong, 5.0, 1.0))
    assert weighted < scorer(classifier, CLEAN, LABELS)


def test_a_scorer_takes_requests_with_routing_only():
    with sklearn.config_context(enable_metadata_routing=False), pytest.raises(RuntimeError, match="routing"):
        make_denoising_scorer(GaussianNoiser()).set_score_request(sample_weight=True)


def test_a_score_weights_samples():
    fitted = dae().fit(CLEAN)
    each = np.array([fitted.score(NOISY[i : i + 1], CLEAN[i : i + 1]) for i in range(20)])
    weighted = fitted.score(NOISY[:20], CLEAN[:20], sample_weight=WEIGHTS[:20])
    assert weighted == pytest.approx(np.average(each, weights=WEIGHTS[:20]))


def test_ensembles_take_part_in_routing():
    ensemble = DenoisingEnsemble(dae(max_epochs=2), 2, random_state=0).set_fit_request(X_clean=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("dae", ensemble)], transform_input=["X_clean"])
    assert pipeline.fit(NOISY, LABELS, X_clean=CLEAN)["dae"].target_source_ == "X_clean"


def test_image_denoisers_take_part_in_routing():
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    denoiser = ImageDenoiser(network, max_epochs=1, random_state=0)
    denoiser.set_fit_request(X_clean=True, sample_weight=True)
    scorer = make_denoising_scorer(GaussianNoiser()).set_score_request(sample_weight=True)
    noisy, clean = NOISY.reshape(-1, 8, 8), CLEAN.reshape(-1, 8, 8)
    pipeline = Pipeline([("denoise", denoiser)])
    search = GridSearchCV(pipeline, {"denoise__max_epochs": [1]}, cv=2, scoring=scorer)
    search.fit(noisy, X_clean=clean, sample_weight=WEIGHTS)
    assert search.best_estimator_["denoise"].target_source_ == "X_clean"


# Weights of samples ------------------------------------------------------------------------------------


def contradicting_samples() -> tuple[np.ndarray, np.ndarray]:
    """Return samples that contradict each other: the same X with two clean sides."""
    noisy = np.random.default_rng(0).normal(size=(200, 4))
    return np.concatenate([noisy, noisy]), np.concatenate([noisy + 1, noisy - 1])


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_samples_contribute_by_their_weight(loss):
    X, clean = contradicting_samples()
    weights = np.repeat([3.0, 1.0], 200)
    learner = DenoisingAutoencoder(DenseNetwork(()), 4, loss=loss, weight_decay=0.0, random_state=0)
    offset = (learner.fit(X, X_clean=clean, sample_weight=weights).predict(X) - X).mean()
    expected = {"mse": 0.5, "huber": 0.5}[loss]  # (3 - 1) / 4
    assert offset == pytest.approx(expected, abs=0.1)


def test_only_ratios_of_weights_matter():
    one, ten = (dae(max_epochs=2).fit(CLEAN, sample_weight=scale * WEIGHTS) for scale in (1, 10))
    np.testing.assert_allclose(one.predict(NOISY), ten.predict(NOISY), rtol=1e-4, atol=1e-5)


def test_equal_weights_change_nothing():
    weighted, unweighted = (
        dae(max_epochs=2).fit(CLEAN, sample_weight=np.full(300, 7.0)),
        dae(max_epochs=2).fit(CLEAN),
    )
    np.testing.assert_array_equal(weighted.predict(NOISY), unweighted.predict(NOISY))


def test_samples_of_weight_zero_are_dropped():
    weights = np.repeat([1.0, 0.0], 150)
    spoiled = CLEAN.copy()
    spoiled[150:] *= 1000
    learner = dae(max_epochs=2, noise=GaussianNoiser(0.2))
    fitted = learner.fit(spoiled, sample_weight=weights).predict(NOISY)
    np.testing.assert_array_equal(fitted, learner.fit(CLEAN[:150]).predict(NOISY))


def test_samples_of_weight_zero_do_not_determine_range_or_noise():
    weights, spoiled = np.repeat([1.0, 0.0], 50), CLEAN[:100].reshape(-1, 8, 8).copy()
    spoiled[50:] *= 100
    learner = dae(max_epochs=1)
    weighted, alone = learner.fit(spoiled, sample_weight=weights), clone(learner).fit(spoiled[:50])
    assert weighted.data_range_ == alone.data_range_ == 1
    assert repr(weighted.noiser_) == repr(alone.noiser_)
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    images = ImageDenoiser(network, max_epochs=1, patch_size=8, random_state=0)
    weights[0] = 0.5
    assert images.fit(list(spoiled), sample_weight=weights).data_range_ == 1


@pytest.mark.slow
def test_weights_apply_to_training_samples_only():
    weights = np.r_[np.full(50, 1e-6), np.ones(50)]
    validation = CLEAN[100:200]
    learner = dae(early_stopping=True, max_epochs=2)
    whole = learner.fit(CLEAN[:100], X_val=validation, sample_weight=weights).validation_scores_
    losses = [epoch["valid_loss"] for epoch in learner.net_.history]
    learner.fit(CLEAN[:100], X_val=np.r_[np.zeros((50, 64)), validation[50:]], sample_weight=weights)
    assert len(whole) == 2
    assert abs(learner.net_.history[-1]["valid_loss"] - losses[-1]) > 0.01
    learner.fit(CLEAN[:100], X_val=CLEAN[100:150], sample_weight=weights)


def test_patches_take_weights_with_any_loss():
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    learner = ImageDenoiser(network, max_epochs=1, patch_size=8, loss=lambda p, t: (p - t).abs().mean())
    stack = np.random.default_rng(0).random((6, 16, 16))
    learner.fit(stack, sample_weight=np.arange(6.0)).fit(list(stack), sample_weight=np.arange(6.0))


def test_similarity_losses_weight_images():
    images = CLEAN.reshape(-1, 8, 8)
    learner = dae(max_epochs=2, loss={"mse": 1.0, "ssim": 0.1})
    assert learner.fit(images, sample_weight=WEIGHTS).n_iter_ == 2


def test_images_are_drawn_by_their_weight():
    dark, bright = np.zeros((40, 40), np.float32), np.ones((40, 40), np.float32)
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    learner = ImageDenoiser(network, noise=None, patch_size=8, max_epochs=1, random_state=0)
    means = []
    learner = learner.set_params(
        loss=lambda output, target: means.append(target.mean().item()) or (output - target).square().mean()
    )
    learner.fit([dark, bright] * 20, sample_weight=[1.0, 3.0] * 20)
    assert np.mean(means) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(7), "shape"),
        (np.full(300, -1.0), "[Nn]egative"),
        (np.zeros(300), "non-zero|at least"),
        (np.eye(300)[0], "at least 2"),
        (np.full(300, np.nan), "NaN"),
    ],
)
def test_invalid_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        dae().fit(CLEAN, sample_weight=weights)


def test_a_function_of_output_and_target_takes_no_weights():
    learner = dae(loss=lambda output, target: (output - target).square().mean())
    with pytest.raises(ValueError, match="a function of output and target"):
        learner.fit(CLEAN, sample_weight=WEIGHTS)
