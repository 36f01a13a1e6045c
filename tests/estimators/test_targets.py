"""A y that is no clean side: targets of a regressor, other names of columns."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_linnerud, load_wine
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_denoise import (
    CleanTargetWarning,
    DenoisingAutoencoder,
    GaussianNoiser,
    ImageDenoiser,
    WienerDenoiser,
    WienerMixtureDenoiser,
    make_denoising_scorer,
)


def autoencoder(**settings):
    return DenoisingAutoencoder(max_epochs=2, random_state=0, **settings)


def test_targets_with_other_names_are_no_clean_side():
    X, Y = load_linnerud(as_frame=True, return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe = make_pipeline(autoencoder(), Ridge()).fit(X, Y)
        assert pipe[0].target_source_ == "X"
        assert WienerDenoiser(5.0).fit(X, Y).target_source_ == "X"
        assert WienerMixtureDenoiser(5.0, n_components=1).fit(X, Y).target_source_ == "noisy"
        # Not a truth to compare with either
        assert pipe[0].score(X, Y) == pipe[0].score(X)
        scorer = make_denoising_scorer(GaussianNoiser(0.3, scale="std", random_state=0))
        assert scorer(pipe[0], X, Y) == scorer(pipe[0], X)


def test_several_targets_without_names_warn_with_the_way_to_say_so():
    X, Y = load_linnerud(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), autoencoder(), Ridge())
    with pytest.warns(CleanTargetWarning, match=r"targets of a regressor, set ignore_y=True.*X_clean="):
        pipe.fit(X, Y)
    pipe.set_params(denoisingautoencoder__ignore_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pipe.fit(X, Y)[1].target_source_ == "X"
        assert np.isfinite(cross_val_score(pipe, X, Y, cv=2, scoring="r2")).all()
        scaled = pipe[0].transform(X)
        assert pipe[1].score(scaled, Y) == pipe[1].score(scaled)
        mixture = WienerMixtureDenoiser(5.0, n_components=1, ignore_y=True)
        make_pipeline(mixture, Ridge()).fit(X, Y)


def test_a_pair_of_frames_with_other_names_is_not_taken_and_warns():
    clean = pd.DataFrame(load_wine().data).add_prefix("x")
    noisy = clean + 0.3 * clean.std().to_numpy() * np.random.default_rng(0).normal(size=clean.shape)
    with pytest.warns(CleanTargetWarning, match="its columns have other names"):
        assert autoencoder().fit(noisy, clean.add_suffix(" clean")).target_source_ == "X"


@pytest.mark.parametrize(
    "noise", ["weak", "strong", "masked", "other unit", "spectra", "few rows", "far from one", "binary"]
)
def test_noisy_and_clean_rows_are_taken_as_a_pair_in_silence(noise):
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 8)) + 5
    if noise == "spectra":
        clean = np.cumsum(rng.normal(size=(40, 300)), axis=1)
    if noise == "few rows":
        clean = clean[:5]
    noisy = clean + rng.normal(0, 4 if noise == "strong" else 0.5, clean.shape)
    if noise == "masked":
        noisy = clean * (rng.random(clean.shape) > 0.5)
    elif noise == "other unit":
        noisy = 1000 * noisy + 5
    elif noise == "far from one":
        clean, noisy = 1e18 * clean, 1e18 * noisy
    elif noise == "binary":
        clean = (load_digits().data[:, 20:44] > 8).astype(float)
        noisy = np.where(rng.random(clean.shape) < 0.2, 1 - clean, clean)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CleanTargetWarning)
        assert WienerDenoiser().fit(noisy, clean).target_source_ == "y"


@pytest.mark.parametrize("denoiser", [ImageDenoiser(max_epochs=1), autoencoder(), WienerDenoiser()])
def test_signals_of_different_lengths_are_answered_in_words(denoiser):
    signals = [np.sin(np.arange(n) / 9) for n in (300, 400, 500)]
    for given in (signals, [list(signal) for signal in signals]):
        with pytest.raises(ValueError, match=r"lengths, 300 to 500.*take SignalDenoiser"):
            denoiser.fit(given)


def test_signals_of_different_lengths_as_images_of_height_one():
    signals = [np.sin(np.arange(n) / 9)[None] for n in (80, 100, 120)]
    dae = ImageDenoiser(max_epochs=1, random_state=0).fit(signals)
    assert [x.shape for x in dae.predict(signals)] == [(1, 80), (1, 100), (1, 120)]
