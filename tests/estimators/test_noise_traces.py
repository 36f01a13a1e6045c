"""Noisy data that lost their clean source are detected, and no other data."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection

from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    GrainNoiser,
    ImageDenoiser,
    MaskingNoiser,
    MedianDenoiser,
    NoiserChoice,
    PoissonNoiser,
    RecordedNoiser,
    SaltAndPepperNoiser,
    SpeckleNoiser,
    SwapNoiser,
    WienerDenoiser,
    make_denoising_scorer,
)
from sk_denoise.datasets import RandomPatches, load_images
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.preprocessing import Centerer, PixelScaler

LOST = r"X holds the noise of GaussianNoiser.*Put the noiser directly before the denoiser"
STEPS = {
    "standard": StandardScaler(),
    "minmax": MinMaxScaler(),
    "robust": RobustScaler(),
    "quantile": QuantileTransformer(n_quantiles=50),
    "power": PowerTransformer(),
    "normalizer": Normalizer(),
    "pca": PCA(10),
    "whitened pca": PCA(5, whiten=True),
    "projection": GaussianRandomProjection(10, random_state=0),
    "imputer": SimpleImputer(),
    "absolute": FunctionTransformer(lambda X: np.log1p(np.abs(X)), validate=True),
    "identity": FunctionTransformer(validate=True),
    "union": make_union(StandardScaler(), PCA(3)),
    "some columns": make_column_transformer((MinMaxScaler(), slice(0, 5)), remainder="drop"),
    "all columns": make_column_transformer((StandardScaler(), [13, 10]), remainder="passthrough"),
    "selection": VarianceThreshold(0.01),
    "bins": KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
    "products": PolynomialFeatures(2),
    "three": make_pipeline(StandardScaler(), PCA(5), MinMaxScaler()),
}
NOISES = {
    "gaussian": GaussianNoiser(0.25),
    "range": GaussianNoiser((0, 0.5)),
    "relative": GaussianNoiser(0.1, scale="std"),
    "masking": MaskingNoiser(0.25),
    "salt and pepper": SaltAndPepperNoiser(0.05),
    "photons": PoissonNoiser(30),
    "speckle": SpeckleNoiser(0.2),
    "swap": SwapNoiser(0.1),
    "grain": GrainNoiser(0.2, 1.5),
    "recorded": RecordedNoiser(np.sin(np.arange(1000.0)), 5),
    "choice": NoiserChoice([GaussianNoiser(0.2), GaussianNoiser(0.0)]),
}
PHOTOS = np.stack([photo[:32, :40] for photo in load_images("gray").train[:6]])


def autoencoder(**settings):
    return DenoisingAutoencoder(DenseNetwork((8,)), latent_dim=4, max_epochs=1, random_state=0, **settings)


def for_images(**settings):
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    return ImageDenoiser(network, max_epochs=1, patch_size=16, random_state=0, **settings)


@pytest.fixture
def X(digits):
    return digits.train[:200, 18:46]


def noised(X, noiser=None):
    return (noiser or GaussianNoiser(0.25)).fit_transform(X)


def plain(X):
    return np.asarray(noised(X))


# What is between noiser and denoiser -------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_behind_a_noiser_is_detected(X, step):
    with pytest.warns(CleanTargetWarning, match=LOST):
        make_pipeline(GaussianNoiser(0.25), clone(step), WienerDenoiser()).fit(X)


@pytest.mark.parametrize("noiser", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("step", ["standard", "pca", "union"])
def test_noise_of_all_kinds_is_detected(X, noiser, step):
    with pytest.warns(CleanTargetWarning, match="X holds the noise of"):
        make_pipeline(clone(noiser), clone(STEPS[step]), WienerDenoiser()).fit(X)


@pytest.mark.filterwarnings("ignore:Feature .* is constant")
@pytest.mark.parametrize("noise", ["gaussian", "masking", "choice"])
@pytest.mark.parametrize("step", sorted(set(STEPS) - {"power"}))  # slow
@pytest.mark.slow
def test_clean_data_and_other_draws_pass_after_the_same_steps(X, noise, step):
    noised(X, clone(NOISES[noise]))
    WienerDenoiser().fit(clone(STEPS[step]).fit_transform(X))
    other = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
    WienerDenoiser().fit(clone(STEPS[step]).fit_transform(other))


def test_a_step_before_the_noiser_passes(X):
    make_pipeline(StandardScaler(), GaussianNoiser(0.25), autoencoder()).fit(X)


def test_frames_are_detected_too(X):
    with sklearn.config_context(transform_output="pandas"):
        pipe = make_pipeline(GaussianNoiser(0.25), StandardScaler(), WienerDenoiser())
        with pytest.warns(CleanTargetWarning, match=LOST):
            pipe.fit(pd.DataFrame(X).add_prefix("pixel "))


def test_labels_and_a_noise_parameter_make_no_difference(X, digits):
    labels = digits.train_labels[:200]
    for denoiser in (autoencoder(), autoencoder(noise=0.1), autoencoder(noise=None)):
        with pytest.warns(CleanTargetWarning, match=LOST):
            make_pipeline(GaussianNoiser(0.25), StandardScaler(), denoiser).fit(X, labels)


# Who notices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "denoiser",
    [autoencoder(), WienerDenoiser(), DenoisingEnsemble(autoencoder(), n_estimators=2, random_state=0)],
    ids=["autoencoder", "wiener", "ensemble"],
)
def test_all_estimators_on_clean_rows_detect_noise(X, denoiser):
    with pytest.warns(CleanTargetWarning, match=LOST):
        make_pipeline(GaussianNoiser(0.25), StandardScaler(), denoiser).fit(X)


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("scaler", [PixelScaler(input_range=(0, 2)), Centerer()], ids=["scaler", "centerer"])
def test_an_image_denoiser_detects_noise(n, scaler):
    with pytest.warns(CleanTargetWarning, match=LOST):
        make_pipeline(GaussianNoiser(0.1), clone(scaler), for_images()).fit(PHOTOS[:n])
    noised(PHOTOS[:n])
    make_pipeline(clone(scaler), for_images()).fit(PHOTOS[:n])


def test_lists_and_patches_of_images_are_detected():
    with pytest.warns(CleanTargetWarning, match=LOST):
        for_images().fit(list(plain(PHOTOS)))
    for fit in (for_images().fit, autoencoder().fit_patches):
        with pytest.warns(CleanTargetWarning, match="The stack of images holds the noise"):
            fit(RandomPatches(plain(PHOTOS), 16))
        for images in (noised(PHOTOS), list(noised(PHOTOS))):
            with pytest.raises(ValueError, match="patches are of images that came out of GaussianNoiser"):
                fit(RandomPatches(images, 16))
        fit(RandomPatches(list(zip(plain(PHOTOS), PHOTOS.astype(np.float32), strict=True)), 16))


@pytest.mark.filterwarnings("ignore:.*were constant in all samples so far")
def test_partial_fits_scores_and_validation_detect_noise(X):
    fitted = autoencoder().fit(X)
    for use in (fitted.partial_fit, fitted.score):
        with pytest.warns(CleanTargetWarning, match=LOST):
            use(plain(X))
    with pytest.warns(CleanTargetWarning, match="X_val holds the noise"):
        autoencoder().fit(X, X_val=plain(X[:100]))


def test_a_second_noiser_detects_noise(X):
    with pytest.warns(CleanTargetWarning, match=LOST):
        make_pipeline(GaussianNoiser(0.25), StandardScaler(), GaussianNoiser(0.1)).fit_transform(X)


def test_every_fold_detects_noise(X):
    pipe = make_pipeline(GaussianNoiser(0.25), StandardScaler(), WienerDenoiser())
    with pytest.warns(CleanTargetWarning, match=LOST) as record:
        cross_val_score(pipe, X, cv=2)
    assert sum(issubclass(w.category, CleanTargetWarning) for w in record) == 2


def test_one_fit_gets_one_warning(X):
    with pytest.warns(CleanTargetWarning) as record:
        make_pipeline(GaussianNoiser(0.25), StandardScaler(), autoencoder(noise=0.1)).fit(X)
    assert len(record) == 1
    assert record[0].filename == __file__


def test_threads_detect_their_own_noise(X):
    messages = []

    def fit():
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            WienerDenoiser().fit(StandardScaler().fit_transform(noised(X)))
            messages.extend(str(warning.message) for warning in record)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert len(messages) == 1
    WienerDenoiser().fit(StandardScaler().fit_transform(X))


# What is meant -----------------------------------------------------------------------------------------


def test_noisy_data_may_be_declared_clean(X):
    noisy = plain(X)
    with pytest.warns(CleanTargetWarning, match=r"say so by fit\(X, X\)"):
        autoencoder().fit(noisy)
    assert autoencoder().fit(noisy, noisy).target_source_ == "X"
    assert autoencoder(noise=0.1).fit(noisy, noisy.copy()).target_source_ == "X"
    GaussianNoiser(0.1).fit(noisy, noisy)
    images = list(plain(PHOTOS))
    assert for_images().fit(images, images).target_source_ == "X"


@pytest.mark.slow
def test_given_pairs_pass(X):
    noisy = plain(X)
    for X_noisy in (noisy, noisy.astype(np.float32)):
        assert autoencoder().fit(X_noisy, X_clean=X).target_source_ == "X_clean"
        assert autoencoder().fit(X_noisy, X).target_source_ == "y"
    scaler = StandardScaler().fit(X)
    assert autoencoder().fit(scaler.transform(noisy), scaler.transform(X)).target_source_ == "y"


def test_a_clean_side_without_a_step_is_detected(X):
    with pytest.warns(CleanTargetWarning, match="y is the clean side from before that change"):
        make_pipeline(GaussianNoiser(0.25), StandardScaler(), autoencoder()).fit(X, X)


# Ordinary work that has to do with noisers -------------------------------------------------------------


def a_noisy_copy_to_look_at(X):
    noised(X)
    autoencoder().fit(X)


def a_noisy_copy_of_scaled_data(X):
    noised(StandardScaler().fit_transform(X))
    autoencoder().fit(X)


def filters_of_noisy_data(X):
    MedianDenoiser().fit_transform(plain(X))


def scores_of_noisy_data(X):
    noisy = plain(X)
    autoencoder().fit(X).score(noisy, X)
    make_denoising_scorer(GaussianNoiser(0.25))(WienerDenoiser().fit(X), X)


def several_noises(X):
    noised(X)
    noised(X, MaskingNoiser(0.2))
    noised(StandardScaler().fit_transform(X))


def two_stages(X):
    noised(X)
    first = WienerDenoiser().fit(X)
    WienerDenoiser().fit(first.transform(X))


def parts_one_after_another(X):
    denoiser = autoencoder()
    for part in np.split(X, 4):
        noised(part)
        denoiser.partial_fit(part)


def without_noise(X):
    WienerDenoiser().fit(StandardScaler().fit_transform(noised(X, GaussianNoiser(0.0))))


def a_pipeline_with_a_denoised_validation(X):
    pipe = make_pipeline(StandardScaler(), GaussianNoiser(0.25), autoencoder()).fit(X)
    pipe.predict(plain(X[:50]))
    pipe.score(X)


def constant_features(X):
    constant = np.column_stack([X, np.ones(len(X))])
    noised(constant, GaussianNoiser(0.1, scale="std"))
    WienerDenoiser().fit(MinMaxScaler().fit_transform(constant))


def few_samples(X):
    for n in (2, 3, 9):
        noised(X[:n])
        WienerDenoiser().fit(StandardScaler().fit_transform(X[:n]))


@pytest.mark.parametrize(
    "work",
    [
        a_noisy_copy_to_look_at,
        a_noisy_copy_of_scaled_data,
        filters_of_noisy_data,
        scores_of_noisy_data,
        several_noises,
        two_stages,
        parts_one_after_another,
        without_noise,
        a_pipeline_with_a_denoised_validation,
        constant_features,
        few_samples,
    ],
)
def test_ordinary_work_passes(X, work):
    work(X)
