"""Ensembles of networks with different seeds: predictions and their uncertainty."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_denoise import (
    CleanTargetWarning,
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MaskingNoiser,
    WienerDenoiser,
)
from sk_denoise.datasets import ImageFolder, RandomPatches, load_images
from sk_denoise.io import write_image

X = load_digits().data[:600] / 16
TRAIN, TEST = X[:400], X[400:]
NOISE = GaussianNoiser(0.25)
NOISY = TEST + 0.25 * np.random.default_rng(0).normal(size=TEST.shape)


def dae(**parameters) -> DenoisingAutoencoder:
    network = DenseNetwork((64,))
    return DenoisingAutoencoder(network, **{"noise": NOISE, "max_epochs": 15, "latent_dim": 16} | parameters)


def images(**parameters) -> ImageDenoiser:
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    return ImageDenoiser(network, **{"noise": GaussianNoiser(0.1), "max_epochs": 3} | parameters)


def coverage(clean, mean, std) -> float:
    return float(np.mean(np.abs(mean - clean) <= 1.96 * std))


@pytest.fixture(scope="module")
def digits() -> DenoisingEnsemble:
    return DenoisingEnsemble(dae(), n_estimators=3, random_state=0).fit(TRAIN)


@pytest.mark.slow
def test_the_prediction_is_the_mean_of_the_members(digits):
    each = [member.predict(NOISY) for member in digits.estimators_]
    np.testing.assert_allclose(digits.predict(NOISY), np.mean(each, axis=0), rtol=1e-10)
    assert not np.array_equal(each[0], each[1])
    np.testing.assert_array_equal(digits.transform(NOISY), digits.predict(NOISY))


@pytest.mark.slow
def test_it_is_better_than_its_members_on_average(digits):
    each = [member.score(NOISY, TEST) for member in digits.estimators_]
    assert digits.score(NOISY, TEST) > np.mean(each)


def test_it_scores_clean_samples_as_its_members_do(digits):
    member = digits.estimators_[0]
    noisy = member._reference([TEST])[0]
    assert digits.score(TEST) == pytest.approx(digits.score(noisy, TEST))


def test_the_standard_deviation_matches_the_errors(digits):
    mean, std = digits.predict(NOISY, return_std=True)
    assert mean.shape == std.shape == NOISY.shape
    assert 0.88 < coverage(TEST, mean, std) < 0.98
    assert np.mean((mean - TEST) ** 2) == pytest.approx(np.mean(std**2), rel=0.5)
    spread = np.std([member.predict(NOISY) for member in digits.estimators_], axis=0, ddof=1)
    # The spread alone is too small.
    assert coverage(TEST, mean, spread) < 0.7
    np.testing.assert_allclose(std, np.sqrt(digits.floor_**2 + digits.gain_ * spread**2), rtol=1e-6)


@pytest.mark.slow
def test_without_calibration_the_standard_deviation_is_the_spread():
    ensemble = DenoisingEnsemble(dae(), 2, calibration_fraction=None, random_state=0).fit(TRAIN)
    assert (ensemble.floor_, ensemble.gain_) == (0.0, 1.0)
    one, two = (member.predict(NOISY) for member in ensemble.estimators_)
    std = ensemble.predict(NOISY, return_std=True)[1]
    np.testing.assert_allclose(std, np.abs(one - two) / np.sqrt(2), atol=1e-12)


@pytest.mark.slow
def test_given_calibration_samples_are_used_in_place_of_held_out_ones():
    # Members measure the share of the network on the same samples.
    member = dae(blend=None)
    whole = DenoisingEnsemble(member, 2, calibration_fraction=None, random_state=0).fit(TRAIN)
    ensemble = DenoisingEnsemble(member, 2, random_state=0).fit(TRAIN, X_val=NOISY, X_clean_val=TEST)
    np.testing.assert_array_equal(ensemble.predict(NOISY), whole.predict(NOISY))
    mean, std = ensemble.predict(NOISY, return_std=True)
    assert np.mean((mean - TEST) ** 2) == pytest.approx(np.mean(std**2), rel=0.1)


@pytest.mark.slow
def test_columns_of_a_table_are_calibrated_in_their_units():
    table = load_breast_cancer().data
    noiser = GaussianNoiser(0.5, scale="std")
    learner = DenoisingAutoencoder(noise=noiser, max_epochs=30)
    ensemble = DenoisingEnsemble(learner, 3, random_state=0).fit(table[:400])
    noisy = table[400:] + 0.5 * table[:400].std(0) * np.random.default_rng(0).normal(size=(169, 30))
    mean, std = ensemble.predict(noisy, return_std=True)
    assert ensemble.floor_.shape == (30,)
    within = [coverage(table[400:, column], mean[:, column], std[:, column]) for column in range(30)]
    assert np.quantile(within, 0.1) > 0.75
    assert 0.88 < np.mean(within) < 0.98


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["X_clean", "y", "noiser", "X"])
def test_the_clean_side_is_that_of_the_members(rule):
    noisy = TRAIN + 0.25 * np.random.default_rng(1).normal(size=TRAIN.shape)
    auto = DenoisingEnsemble(dae(noise="auto"), 2, random_state=0)
    if rule == "noiser":
        ensemble = auto.fit(GaussianNoiser(0.25, random_state=0).fit_transform(TRAIN))
    elif rule == "X":
        ensemble = DenoisingEnsemble(dae(), 2, random_state=0).fit(TRAIN)
    else:
        ensemble = auto.fit(noisy, **{rule: TRAIN})
    mean, std = ensemble.predict(NOISY, return_std=True)
    assert ensemble.score(NOISY, TEST) > WienerDenoiser(sigma=1.0).fit(TRAIN).score(NOISY, TEST)
    assert 0.85 < coverage(TEST, mean, std) < 0.99


@pytest.mark.slow
def test_other_noise_is_calibrated():
    ensemble = DenoisingEnsemble(dae(noise=MaskingNoiser(0.3)), 2, random_state=0).fit(TRAIN)
    masked = TEST * (np.random.default_rng(0).random(TEST.shape) > 0.3)
    mean, std = ensemble.predict(masked, return_std=True)
    assert 0.85 < coverage(TEST, mean, std) < 0.99


@pytest.mark.slow
def test_integers_keep_their_unit():
    integers = np.rint(TRAIN * 255).astype(np.uint8)
    ensemble = DenoisingEnsemble(dae(noise=GaussianNoiser(64)), 2, random_state=0).fit(integers)
    assert ensemble.data_range_ == 255
    noisy = np.clip(255 * NOISY, 0, 255)
    mean, std = ensemble.predict(noisy, return_std=True)
    assert coverage(255 * TEST, mean, std) > 0.85
    assert std.mean() > 5


@pytest.mark.slow
def test_images_of_any_size():
    photos = load_images("gray")
    ensemble = DenoisingEnsemble(images(), 2, random_state=0).fit(photos.train[:4])
    clean = [photos.test[0][:60, :50], photos.test[1][:41, :33]]
    draw = np.random.default_rng(0)
    noisy = [x + 0.1 * draw.normal(size=x.shape) for x in clean]
    means, stds = ensemble.predict(noisy, return_std=True)
    assert [x.shape for x in means] == [s.shape for s in stds] == [x.shape for x in clean]
    assert 0.8 < coverage(clean[0], means[0], stds[0]) <= 1
    assert ensemble.score(noisy, clean) > 20
    in_bytes = np.rint(255 * noisy[0]).clip(0, 255).astype(np.uint8)[None]
    _, std = ensemble.predict(in_bytes, return_std=True)
    assert 25 < std.mean() / stds[0].mean() < 1000  # in the unit of the image


@pytest.mark.slow
def test_streams_need_images_for_calibration():
    photos = load_images("gray")
    patches = RandomPatches(photos.train, 32, patches_per_image=4)
    with pytest.raises(ValueError, match="X_val"):
        DenoisingEnsemble(images(), 2).fit(patches)
    ensemble = DenoisingEnsemble(images(), 2, random_state=0).fit(patches, X_val=list(photos.test))
    assert ensemble.floor_ > 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_with_any_number_of_jobs():
    serial, again, parallel = (
        DenoisingEnsemble(dae(max_epochs=2), 2, n_jobs=jobs, random_state=0).fit(TRAIN).predict(NOISY)
        for jobs in (None, 1, 2)
    )
    np.testing.assert_array_equal(serial, again)
    np.testing.assert_array_equal(serial, parallel)


@pytest.mark.slow
def test_weights_reach_the_members():
    weights = np.ones(len(TRAIN))
    weights[:200] = 0
    learner = DenoisingEnsemble(dae(max_epochs=2), 2, calibration_fraction=None, random_state=0)
    weighted, alone = learner.fit(TRAIN, sample_weight=weights).predict(NOISY), learner.fit(TRAIN[200:])
    np.testing.assert_array_equal(weighted, alone.predict(NOISY))


@pytest.mark.slow
def test_an_ensemble_works_before_a_classifier():
    digits, labels = load_digits(return_X_y=True)
    pipeline = make_pipeline(
        GaussianNoiser(0.25, random_state=0),
        DenoisingEnsemble(dae(noise="auto"), 2, random_state=0),
        LogisticRegression(),
    )
    assert pipeline.fit(digits[:400] / 16, labels[:400]).score(TEST, labels[400:600]) > 0.6


def test_a_clone_is_unfitted_and_keeps_the_parameters_of_members():
    ensemble = DenoisingEnsemble(dae(latent_dim=5), 2)
    assert clone(ensemble).get_params()["estimator__latent_dim"] == 5
    assert not clone(ensemble).__sklearn_is_fitted__()


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        (DenoisingEnsemble(WienerDenoiser()), "DenoisingAutoencoder or an ImageDenoiser, got WienerDenoiser"),
        (DenoisingEnsemble(dae(output="latent")), 'output="reconstruction"'),
        (DenoisingEnsemble(dae(), 0), "n_estimators"),
        (DenoisingEnsemble(dae(), calibration_fraction=1.0), "calibration_fraction"),
    ],
)
def test_invalid_ensembles_are_refused(ensemble, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ensemble.fit(TRAIN)


# Agreement of members and ensembles --------------------------------------------------------------------


def small_images(n: int = 12) -> list[np.ndarray]:
    photo = load_images("gray").train[0]
    return [photo[24 * i : 24 * i + 24, 30 : 30 + 20 + i % 3].astype(np.float32) for i in range(n)]


@pytest.mark.parametrize("case", ["y as a stack", "y equal to X", "masks", "X_clean", "pairs"])
def test_lists_have_the_clean_side_of_a_member(case):
    clean = [x[:, :20] for x in small_images()]
    noisy = [x + 0.1 for x in clean]
    arguments = {
        "y as a stack": (noisy, np.stack(clean)),
        "y equal to X": (clean, clean),
        "masks": (clean, [(x > 0.5).astype(np.uint8) for x in clean]),
        "X_clean": (noisy,),
        "pairs": (list(zip(noisy, clean, strict=True)),),
    }[case]
    named = {"X_clean": clean} if case == "X_clean" else {}
    noise = GaussianNoiser(0.1) if case in ("y equal to X", "masks") else "auto"
    learner = images(max_epochs=1, patch_size=8, noise=noise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CleanTargetWarning)
        ensemble = DenoisingEnsemble(learner, 2, random_state=0).fit(*arguments, **named)
        member = clone(learner).fit(*arguments, **named)
    assert ensemble.target_source_ == member.target_source_
    assert (ensemble.noiser_ is None) == (member.noiser_ is None)


def test_image_tensors_have_channels_first():
    stack = torch.rand(10, 3, 16, 12)
    ensemble = DenoisingEnsemble(images(max_epochs=1, patch_size=8), 2, random_state=0).fit(stack)
    assert ensemble._sample_shape_ == ensemble.estimators_[0]._sample_shape_
    ensemble.set_params(estimator__noise="auto").fit(list(stack), X_clean=list(stack * 0.9))
    assert ensemble.predict([stack[0]])[0].shape == (16, 12, 3)
    assert ensemble.score(stack) > 0


@pytest.mark.slow
def test_a_new_fit_replaces_the_old_one():
    ensemble = DenoisingEnsemble(images(max_epochs=1, patch_size=8), 2, random_state=0)
    gray, colour = (
        np.random.default_rng(0).random((8, 16, 16)),
        [np.ones((16, 16, 3)) * i / 9 for i in range(8)],
    )
    ensemble.fit(gray).fit(colour)
    assert ensemble.predict(np.stack(colour)).shape == (8, 16, 16, 3)
    ensemble.set_params(estimator=dae(max_epochs=1)).fit(TRAIN)
    assert not hasattr(ensemble, "white_")


@pytest.mark.slow
def test_samples_without_weight_do_not_affect_calibration():
    spoiled, weights = TRAIN.copy(), np.repeat([1.0, 0.0], 200)
    spoiled[200:] = np.random.default_rng(0).normal(0, 500, (200, 64))
    ensemble = DenoisingEnsemble(dae(max_epochs=3), 2, random_state=0)
    floor = ensemble.fit(spoiled, sample_weight=weights).floor_
    np.testing.assert_array_equal(floor, ensemble.fit(TRAIN[:200]).floor_)


@pytest.mark.slow
def test_a_folder_calibrates_like_its_images(tmp_path):
    photos = [np.rint(255 * x).astype(np.uint8) for x in small_images()]
    for index, photo in enumerate(photos):
        write_image(tmp_path / f"{index:02}.png", photo)
    learner = images(max_epochs=2, patch_size=16, patches_per_image=8)
    by_files = DenoisingEnsemble(learner, 2, random_state=0)
    by_files.fit(ImageFolder(tmp_path), X_val=ImageFolder(tmp_path))
    by_arrays = DenoisingEnsemble(learner, 2, random_state=0)
    by_arrays.fit([x / np.float32(255) for x in photos], X_val=[x / np.float32(255) for x in photos])
    assert by_files.floor_ == pytest.approx(by_arrays.floor_, rel=0.5)


@pytest.mark.slow
def test_columns_of_validation_samples_are_checked():
    frame = pd.DataFrame(TRAIN, columns=[f"pixel {i}" for i in range(64)])
    ensemble = DenoisingEnsemble(dae(max_epochs=2), 2, random_state=0)
    with pytest.raises(ValueError, match="feature names"):
        ensemble.fit(frame, X_val=frame.iloc[:50, ::-1])
    assert ensemble.fit(frame, X_val=frame.iloc[:50]).score(frame) > 0


def test_too_few_samples_to_hold_out_are_refused():
    with pytest.raises(ValueError, match="leaves 1 of 3 samples"):
        DenoisingEnsemble(dae()).fit(TRAIN[:3])
