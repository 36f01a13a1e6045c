"""Tests of ImageDenoiser with clean images that are larger than the noisy ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_denoise import (
    DenoisingAutoencoder,
    DownscaleNoiser,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    SignalDenoiser,
)
from sk_denoise.datasets import load_images
from sk_denoise.metrics import psnr
from sk_denoise.persistence import export_onnx, load, save
from sk_denoise.restoration import denoise_image

QUICK: dict[str, Any] = {"max_epochs": 2, "patch_size": 32, "random_state": 0}


def network() -> FoldedUNetNetwork:
    return FoldedUNetNetwork((8, 12), blocks=(1, 1))


@pytest.fixture(scope="module")
def photos() -> NDArray[np.float32]:
    images = [image for image in load_images("gray").train if min(image.shape) >= 188]
    return np.stack([image[60:188, 60:188] for image in images]).astype(np.float32)


@pytest.fixture(scope="module")
def small(photos: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(DownscaleNoiser(2).fit_transform(photos))


@pytest.fixture(scope="module")
def enlarger(photos: NDArray[np.float32]) -> ImageDenoiser:
    return ImageDenoiser(network(), noise=DownscaleNoiser(2), **QUICK).fit(photos)


def test_pairs_give_the_factor_and_predictions_its_size(
    photos: NDArray[np.float32], small: NDArray[np.float32]
) -> None:
    denoiser = ImageDenoiser(network(), **QUICK).fit(small, X_clean=photos)
    assert denoiser.scale_ == 2
    assert denoiser.predict(small[:2]).shape == (2, 128, 128)
    assert [x.shape for x in denoiser.predict([small[0][:31, :17]])] == [(62, 34)]


def test_lists_of_different_sizes_and_pairs_are_enlarged(photos: NDArray[np.float32]) -> None:
    clean = [photos[0], photos[1][:96, :120]]
    low = [
        np.asarray(DownscaleNoiser(3).fit_transform(x[None, : x.shape[0] // 3 * 3, : x.shape[1] // 3 * 3]))[0]
        for x in clean
    ]
    clean = [c[: 3 * x.shape[0], : 3 * x.shape[1]] for c, x in zip(clean, low, strict=True)]
    options = QUICK | {"patch_size": 30}
    by_lists = ImageDenoiser(network(), **options).fit(low, X_clean=clean)
    by_pairs = ImageDenoiser(network(), **options).fit(list(zip(low, clean, strict=True)))
    assert by_lists.scale_ == by_pairs.scale_ == 3
    np.testing.assert_array_equal(by_lists.predict(low[:1])[0], by_pairs.predict(low[:1])[0])


@pytest.mark.slow
def test_more_training_beats_cubic_interpolation(photos: NDArray[np.float32]) -> None:
    wide = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    options = QUICK | {"max_epochs": 60}
    denoiser = ImageDenoiser(wide, noise=DownscaleNoiser(2), **options).fit(photos[:-2])
    clean = photos[-2:]
    low = np.asarray(DownscaleNoiser(2).fit_transform(clean))
    # At this learning rate, the network leaves the interpolated image as it is.
    options = QUICK | {"max_epochs": 1, "learning_rate": 1e-9}
    untrained = ImageDenoiser(wide, noise=DownscaleNoiser(2), **options).fit(photos[:-2])
    trained_psnr, cubic_psnr = (psnr(clean, d.predict(low), data_range=1) for d in (denoiser, untrained))
    assert trained_psnr > cubic_psnr + 0.3


def test_scores_compare_with_the_large_images(
    enlarger: ImageDenoiser, photos: NDArray[np.float32], small: NDArray[np.float32]
) -> None:
    given = enlarger.score(small, photos)
    assert given == pytest.approx(psnr(photos, enlarger.predict(small), data_range=1), abs=1e-4)
    # Clean images are reduced, and the output of a noiser carries its clean source.
    assert enlarger.score(photos) == pytest.approx(given, abs=1e-6)
    assert enlarger.score(DownscaleNoiser(2).fit_transform(photos)) == pytest.approx(given, abs=1e-6)
    assert enlarger.score(list(small), list(photos)) == pytest.approx(given, abs=1e-6)


def test_the_output_of_a_noiser_brings_its_clean_side(
    enlarger: ImageDenoiser, photos: NDArray[np.float32], small: NDArray[np.float32]
) -> None:
    pipeline = Pipeline([("low", DownscaleNoiser(2)), ("net", ImageDenoiser(network(), **QUICK))]).fit(photos)
    assert pipeline[-1].scale_ == 2
    assert pipeline[-1].noise == "auto"
    np.testing.assert_array_equal(pipeline.predict(small), enlarger.predict(small))


def test_searches_choose_by_the_large_images(photos: NDArray[np.float32]) -> None:
    denoiser = ImageDenoiser(network(), noise=DownscaleNoiser(2), **QUICK)
    search = GridSearchCV(denoiser, {"learning_rate": [1e-9, 2e-3]}, cv=2).fit(photos)
    assert search.best_params_ == {"learning_rate": 2e-3}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_tiles_equal_the_whole_image(enlarger: ImageDenoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    image = (
        np.random.default_rng(0)
        .random(
            (
                1,
                333,
                270,
            )
        )
        .astype(np.float32)
    )
    whole = enlarger.predict(image)
    monkeypatch.setattr("sk_denoise.estimators._tiled_prediction.TILE_MEMORY", 2**19)
    np.testing.assert_allclose(enlarger.predict(image), whole, atol=1e-6)


@pytest.mark.slow
def test_files_and_graphs_enlarge_too(
    enlarger: ImageDenoiser, small: NDArray[np.float32], tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    save(enlarger, tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    assert loaded.scale_ == 2
    np.testing.assert_array_equal(loaded.predict(small), enlarger.predict(small))
    export_onnx(enlarger, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    # Images in dark tones are stretched by ``predict``, and not by the graph.
    part = small[:3, :30, :21]
    (output,) = session.run(None, {"X": part})
    np.testing.assert_allclose(output, enlarger.predict(part), atol=1e-6)


def test_integers_are_enlarged_in_their_unit(photos: NDArray[np.float32], small: NDArray[np.float32]) -> None:
    clean, low = ((255 * x).round().clip(0, 255).astype(np.uint8) for x in (photos, small))
    denoiser = ImageDenoiser(network(), **QUICK).fit(low, X_clean=clean)
    assert denoiser.predict(low).max() > 128
    assert denoiser.predict(small).max() < 2


def test_warm_starts_keep_the_factor(photos: NDArray[np.float32], small: NDArray[np.float32]) -> None:
    denoiser = ImageDenoiser(network(), **QUICK).fit(small, X_clean=photos)
    denoiser.partial_fit(small, X_clean=photos)
    with pytest.raises(ValueError, match="enlarged 2 times, and now it is 1"):
        denoiser.partial_fit(photos)


def test_images_of_one_size_have_the_factor_one(photos: NDArray[np.float32]) -> None:
    assert ImageDenoiser(network(), noise=GaussianNoiser(0.1), **QUICK).fit(photos).scale_ == 1


@pytest.mark.parametrize(
    ("options", "X", "X_clean", "message"),
    [
        ({}, np.zeros((2, 32, 32)), np.zeros((2, 63, 64)), "times a whole number"),
        ({}, np.zeros((2, 32, 32)), np.zeros((2, 64, 96)), "times a whole number"),
        ({}, np.zeros((2, 4, 4)), np.zeros((2, 64, 64)), "one factor up to 4"),
        ({}, np.zeros((2, 32, 32)), np.zeros((3, 64, 64)), "inconsistent numbers of samples"),
        ({"patch_size": 33}, np.zeros((2, 32, 32)), np.zeros((2, 64, 64)), "multiple of 2"),
        ({"sigma": "map"}, np.zeros((2, 32, 32)), np.zeros((2, 64, 64)), 'sigma="blind"'),
        ({"noise": DownscaleNoiser(2)}, np.zeros((2, 32, 32)), np.zeros((2, 64, 64)), "noise given twice"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(
    options: dict[str, Any], X: NDArray[Any], X_clean: NDArray[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ImageDenoiser(network(), **QUICK | options).fit(X, X_clean=X_clean)


@pytest.mark.parametrize("estimator", [DenoisingAutoencoder(max_epochs=1), SignalDenoiser(max_epochs=1)])
def test_networks_of_one_size_refuse_smaller_images(estimator: Any, photos: NDArray[np.float32]) -> None:
    X = photos if isinstance(estimator, DenoisingAutoencoder) else photos[:, 0]
    with pytest.raises(ValueError, match="ImageDenoiser, which enlarges"):
        clone(estimator).set_params(noise=DownscaleNoiser(2)).fit(X)
    if isinstance(estimator, DenoisingAutoencoder):
        with pytest.raises(ValueError, match="ImageDenoiser, which enlarges"):
            clone(estimator).fit(DownscaleNoiser(2).fit_transform(photos))


def test_denoise_image_refuses_a_network_that_enlarges(
    enlarger: ImageDenoiser, small: NDArray[np.float32]
) -> None:
    with pytest.raises(ValueError, match="enlarges images 2 times"):
        denoise_image(small[0], model=enlarger)
