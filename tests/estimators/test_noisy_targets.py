"""Warnings about a clean side that is noisy itself."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from skimage import data
from sklearn.datasets import load_digits, load_sample_images

from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
)
from sk_denoise.datasets import RandomPatches, load_images
from sk_denoise.exceptions import CleanTargetWarning

TINY = FoldedUNetNetwork((8, 12), blocks=(1, 1))
NOISY = r"seems to hold noise.*no_clean_data\.md"
LEVEL = 20 / 255


def photos(n=4, side=128):
    return np.stack([photo[:side, :side] for photo in load_images("gray").train[:n]])


def noisy(images, level=LEVEL):
    return images + np.random.default_rng(0).normal(0, level, np.shape(images)).astype(np.float32)


def denoiser(**parameters):
    return ImageDenoiser(TINY, patch_size=32, max_epochs=1, random_state=0, **parameters)


def test_noisy_stack_is_named_with_its_level_and_the_page():
    with pytest.warns(CleanTargetWarning, match=NOISY) as record:
        denoiser().fit(noisy(photos()))
    message = str(record[0].message)
    level = float(message.partition("about ")[2].partition(",")[0])
    assert abs(level - LEVEL) < 0.1 * LEVEL
    assert message.startswith("X counts as clean")
    assert "fit(X, X)" in message
    assert len(record) == 1


@pytest.mark.parametrize("level", [15, 25])
@pytest.mark.parametrize("container", ["list", "patches", "uint8", "color", "flat"])
def test_noise_is_seen_in_every_container(container, level):
    X = noisy(photos(), level / 255)
    model = denoiser()
    if container == "list":
        X = list(X[:, :, : 128 - 8])
    elif container == "patches":
        X = RandomPatches(list(X), 32, patches_per_image=8)
    elif container == "uint8":
        X = np.rint(255 * X.clip(0, 1)).astype(np.uint8)
    elif container == "color":
        X = noisy(np.repeat(photos()[..., None], 3, axis=-1), level / 255)
    else:
        X, model = X.reshape(len(X), -1), denoiser(image_shape=(128, 128))
    with pytest.warns(CleanTargetWarning, match=NOISY):
        model.fit(X)


def test_noise_of_a_given_clean_side_is_named_too():
    X = photos()
    for arguments, name in (({"X_clean": noisy(X)}, "X_clean"), ({"y": noisy(X)}, "y")):
        with pytest.warns(CleanTargetWarning, match=f"^{name} counts.*X_second"):
            denoiser().fit(noisy(X, 0.1), **arguments)


def test_noise_below_the_noise_of_a_noiser_is_named():
    with pytest.warns(CleanTargetWarning, match=NOISY):
        denoiser().fit(GaussianNoiser(0.2, random_state=0).fit_transform(noisy(photos())))


def test_images_declared_as_clean_cause_no_warning():
    X = noisy(photos())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoiser().fit(X, X)
        denoiser().fit(list(X), list(X))
        denoiser(objective="neighbours").fit(X)
        denoiser().fit(X, X_second=noisy(X))
    # The filter is the other way, for a clean side that is as clean as it can be.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", CleanTargetWarning)
        denoiser().fit(X, X_clean=noisy(photos(), 0.06))


def test_ensembles_warn_once():
    for X in (noisy(photos()), list(noisy(photos()))):
        with pytest.warns(CleanTargetWarning) as record:
            DenoisingEnsemble(denoiser(), n_estimators=2, random_state=0).fit(X)
        assert len(record) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            DenoisingEnsemble(denoiser(), n_estimators=2, random_state=0).fit(X, X)


def textures():
    """Images with fine texture, drawings, dithering and film grain."""
    rng = np.random.default_rng(0)
    camera = data.camera()
    thresholds = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    dithered = (camera > 16 * np.tile(thresholds, (128, 128)) + 8).astype(np.uint8)
    checks = np.indices((128, 128)).sum(0) % 2 * 255
    return {
        "grass": data.grass(),
        "gravel": data.gravel(),
        "brick": data.brick(),
        "text": data.text(),
        "page": data.page(),
        "stars": data.hubble_deep_field().mean(axis=2),
        "china": load_sample_images().images[0],
        "flower": load_sample_images().images[1],
        "grain": camera + rng.normal(0, 2, camera.shape),
        "drawing": data.horse(),
        "checks": checks.astype(np.uint8),
        "dithered": 255 * dithered,
        "chance": rng.random((4, 64, 64)),
        "chance in colour": rng.random((10, 24, 20, 3)),
    }


@pytest.mark.parametrize("name", textures())
def test_clean_images_with_fine_detail_cause_no_warning(name):
    X = textures()[name]
    X = X if "chance" in name else X[None]
    with warnings.catch_warnings():
        warnings.simplefilter("error", CleanTargetWarning)
        denoiser().fit(X)


def spectra(n=60):
    """Return rows of six peaks of different widths."""
    rng, place = np.random.default_rng(0), np.linspace(0, 1, 300)
    centres, widths = rng.uniform(0, 1, (n, 6, 1)), rng.uniform(0.01, 0.04, (n, 6, 1))
    return np.exp(-0.5 * ((place - centres) / widths) ** 2).sum(axis=1)


def steps(n=60):
    return np.repeat(np.random.default_rng(0).normal(size=(n, 15)), 20, axis=1)


@pytest.mark.parametrize("signals", [spectra, steps])
@pytest.mark.slow
def test_noisy_signals_are_named(signals):
    X = signals()
    learner = DenoisingAutoencoder(latent_dim=4, max_epochs=1, random_state=0)
    with pytest.warns(CleanTargetWarning, match=NOISY) as record:
        learner.fit(noisy(X, 0.2 * np.ptp(X)))
    level = float(str(record[0].message).partition("about ")[2].partition(",")[0])
    assert abs(level - 0.2 * np.ptp(X)) < 0.03 * np.ptp(X)
    with pytest.warns(CleanTargetWarning, match=NOISY):
        denoiser().fit(noisy(X, 0.2 * np.ptp(X)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CleanTargetWarning)
        for few in (0, 0.01, 0.02):
            learner.fit(noisy(X, few * np.ptp(X)))
        learner.fit(noisy(X, 0.2), noisy(X, 0.2))


@pytest.mark.slow
def test_small_images_and_tables_cause_no_warning():
    digits = load_digits()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CleanTargetWarning)
        for X in (digits.images, digits.data, noisy(digits.data / 16, 0.25)):
            DenoisingAutoencoder(latent_dim=4, max_epochs=1, random_state=0).fit(X)
