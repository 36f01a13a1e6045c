"""Estimators that learn from noisy data alone, or from two noisy measurements."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from sk_denoise import (
    Augmenter,
    BlindSpotObjective,
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    DnCNNNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    PoissonNoiser,
    RecorruptObjective,
    WienerMixtureDenoiser,
)
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.noise import GrainNoiser
from sk_denoise.restoration import NoiseModel
from sk_denoise.training import TrainingPair

SIGMA = 0.25
CLEAN = load_digits().data / 16


def noise(seed, shape=CLEAN.shape, sigma=SIGMA):
    return np.random.default_rng(seed).normal(0, sigma, shape)


SMALL = FoldedUNetNetwork((12, 16), blocks=(1, 1))
NOISY, SECOND = CLEAN + noise(0), CLEAN + noise(1)
TRAIN, TEST = slice(1200), slice(1200, None)


def autoencoder(objective="supervised", **parameters):
    parameters = {"max_epochs": 15, "random_state": 0, **parameters}
    return DenoisingAutoencoder(DenseNetwork((128,)), 16, objective=objective, **parameters)


def remaining(denoiser, noisy=NOISY, clean=CLEAN):
    """Return the mean squared error on new rows, as a share of that of the noise."""
    return np.mean((denoiser.predict(noisy[TEST]) - clean[TEST]) ** 2) / SIGMA**2


def images(n=12, side=24, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    places = rng.random((n, 4, 1, 1))
    return np.sin(6 * places[:, 0] * x + 6 * places[:, 1]) * np.cos(6 * places[:, 2] * y + places[:, 3])


# Learning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "level", "most"),
    [
        ("recorrupt", SIGMA, 0.5),
        ("recorrupt", GaussianNoiser(SIGMA), 0.5),
        ("recorrupt", NoiseModel("white", SIGMA), 0.5),
        ("recorrupt", [SIGMA] * 64, 0.5),
        ("recorrupt", "auto", 0.5),
        (RecorruptObjective(0.3, n_copies=4), SIGMA, 0.5),
        ("blind", "auto", 0.8),
        (BlindSpotObjective(0.4), "auto", 0.8),
    ],
)
def test_an_autoencoder_learns_from_noisy_rows_alone(objective, level, most):
    dae = autoencoder(objective, noise=level).fit(NOISY[TRAIN])
    assert dae.target_source_ == "noisy"
    assert remaining(dae) < most


@pytest.mark.slow
def test_a_target_of_noisy_rows_keeps_more_noise_than_an_objective_for_them():
    taken_for_clean = autoencoder(noise=None, max_epochs=60).fit(NOISY[TRAIN])
    alone = autoencoder("recorrupt", noise=SIGMA, max_epochs=60).fit(NOISY[TRAIN])
    assert remaining(alone) < 0.75 * remaining(taken_for_clean)


@pytest.mark.slow
def test_two_measurements_are_better_than_one():
    both = autoencoder(max_epochs=60).fit(NOISY[TRAIN], X_second=SECOND[TRAIN])
    one = autoencoder("recorrupt", noise=SIGMA, max_epochs=60).fit(NOISY[TRAIN])
    assert both.target_source_ == "X_second"
    assert remaining(both) < remaining(one)
    assert both.noise_model_.sigma == pytest.approx(SIGMA, rel=0.03)


@pytest.mark.slow
def test_the_direction_of_two_measurements_does_not_matter():
    one = autoencoder().fit(NOISY[TRAIN], X_second=SECOND[TRAIN])
    other = autoencoder().fit(SECOND[TRAIN], X_second=NOISY[TRAIN])
    assert remaining(one) == pytest.approx(remaining(other), rel=0.1)


def test_a_second_measurement_with_another_offset_warns():
    with pytest.warns(UserWarning, match="another offset or unit"):
        autoencoder(max_epochs=1).fit(NOISY[TRAIN], X_second=SECOND[TRAIN] + 1)


def test_the_noise_of_two_measurements_may_be_correlated():
    clean = images(16)
    first, second = (
        np.asarray(GrainNoiser(0.5, 1.5, random_state=seed).fit_transform(clean)) for seed in (0, 1)
    )
    denoiser = ImageDenoiser(SMALL, patch_size=16, max_epochs=60, random_state=0)
    denoised = denoiser.fit(first, X_second=second).predict(first)
    assert denoiser.noise_model_ is None
    assert np.mean((denoised - clean) ** 2) < 0.8 * np.mean((first - clean) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["recorrupt", "neighbours"])
def test_an_image_denoiser_learns_from_noisy_images_alone(objective):
    clean = 0.5 + 0.5 * images(16)
    noisy = clean + noise(0, clean.shape, 0.3)
    level = 0.3 if objective == "recorrupt" else "auto"
    denoiser = ImageDenoiser(SMALL, objective=objective, noise=level, max_epochs=120, random_state=0)
    denoised = denoiser.fit(list(noisy)).predict(noisy)
    assert denoiser.target_source_ == "noisy"
    assert np.mean((denoised - clean) ** 2) < 0.75 * 0.3**2


@pytest.mark.slow
def test_counts_are_thinned():
    clean = 4 * CLEAN + 0.5
    counts = np.random.default_rng(0).poisson(clean).astype(float)
    model = NoiseModel("counts", 2.0, gain=1.0)
    dae = autoencoder("recorrupt", noise=model, max_epochs=30).fit(counts[TRAIN])
    error = np.mean((dae.predict(counts[TEST]) - clean[TEST]) ** 2)
    assert error < 0.6 * np.mean((counts[TEST] - clean[TEST]) ** 2)


def test_signals_are_learned_from_neighbours():
    t = np.linspace(0, 1, 96)
    clean = np.sin(2 * np.pi * (3 * t + np.random.default_rng(0).random((60, 1))))
    noisy = clean + noise(0, clean.shape, 0.5)
    network = DnCNNNetwork(3, width=12)
    denoiser = ImageDenoiser(network, objective="neighbours", max_epochs=40, random_state=0)
    assert np.mean((denoiser.fit(noisy).predict(noisy) - clean) ** 2) < 0.5 * 0.5**2


# The noise ----------------------------------------------------------------------------------------------


def test_the_output_of_a_noiser_is_noisy_data_with_known_noise():
    pipe = make_pipeline(GaussianNoiser(SIGMA, random_state=0), autoencoder("recorrupt", max_epochs=2))
    dae = pipe.fit(CLEAN)[-1]
    assert (dae.target_source_, dae.noise_model_.sigma) == ("noisy", SIGMA)


def test_estimated_noise_is_stored():
    clean = np.repeat(np.repeat(images(8), 2, 1), 2, 2)
    denoiser = ImageDenoiser(DnCNNNetwork(2, width=4), objective="recorrupt", max_epochs=1)
    denoiser.fit(clean + noise(0, clean.shape, 0.2))
    assert denoiser.noise_model_.kind == "white"
    assert denoiser.noise_model_.sigma == pytest.approx(0.2, rel=0.15)


@pytest.mark.slow
def test_noise_stronger_than_a_column_warns():
    units = NOISY * np.r_[0.01, np.ones(63)]
    for denoiser in (autoencoder("recorrupt", noise=0.25, max_epochs=1), WienerMixtureDenoiser(0.25)):
        with pytest.warns(NoiseMismatchWarning, match="1 of the 64 columns of X, such as column 0"):
            denoiser.fit(units[:300])


def test_counts_of_uneven_light_are_estimated():
    light = 50 + 40 * np.sin(np.arange(64) / 9)[None, :, None] * np.ones((10, 64, 64))
    counts = np.random.default_rng(0).poisson(light).astype(np.uint16)
    denoiser = ImageDenoiser(DnCNNNetwork(2, width=4), objective="recorrupt", max_epochs=1).fit(counts)
    assert denoiser.noise_model_.kind == "counts"
    assert denoiser.noise_model_.gain == pytest.approx(1, rel=0.1)


def test_white_of_counts_is_read_from_the_clean_source():
    noised = PoissonNoiser(30, random_state=0).fit_transform(CLEAN[:, 20:40])
    dae = autoencoder("recorrupt", max_epochs=1).fit(noised)
    assert dae.noise_model_.gain == pytest.approx(1 / 30, rel=0.1)


def test_a_poisson_noiser_gives_the_gain():
    counts = np.random.default_rng(0).poisson(30 * CLEAN) / 30
    dae = autoencoder("recorrupt", noise=PoissonNoiser(30, white=1.0), max_epochs=1).fit(counts)
    assert dae.noise_model_.kind == "counts"
    assert dae.noise_model_.gain == pytest.approx(1 / 30, rel=0.05)


# Prediction and score -----------------------------------------------------------------------------------


def test_predictions_do_not_depend_on_the_other_samples():
    dae = autoencoder("recorrupt", noise=SIGMA, max_epochs=2).fit(NOISY[TRAIN])
    np.testing.assert_allclose(dae.predict(NOISY[5:6]), dae.predict(NOISY[:9])[5:6], rtol=1e-9)


@pytest.mark.slow
def test_the_mean_over_copies_is_better_than_one_output():
    errors = [
        remaining(autoencoder(RecorruptObjective(n_copies=n), noise=SIGMA, max_epochs=30).fit(NOISY[TRAIN]))
        for n in (0, 8)
    ]
    assert errors[1] < errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["recorrupt", "blind"])
def test_the_score_needs_no_truth(objective):
    level = SIGMA if objective == "recorrupt" else "auto"
    short, long = (autoencoder(objective, noise=level, max_epochs=n).fit(NOISY[TRAIN]) for n in (1, 20))
    assert short.score(NOISY[TEST]) < long.score(NOISY[TEST])
    assert long.score(NOISY[TEST], CLEAN[TEST]) > 0


def test_the_score_without_truth_is_near_that_with_truth():
    dae = autoencoder("recorrupt", noise=SIGMA).fit(NOISY[TRAIN])
    assert dae.score(NOISY[TEST]) == pytest.approx(dae.score(NOISY[TEST], CLEAN[TEST]), abs=0.7)


def test_the_score_of_the_training_data_warns():
    dae = autoencoder("recorrupt", noise=SIGMA, max_epochs=2).fit(NOISY[TRAIN])
    with pytest.warns(UserWarning, match="Hold out a part of X"):
        dae.score(NOISY[TRAIN])


def test_no_distance_to_noisy_data_is_called_psnr(capsys):
    dae = autoencoder("recorrupt", noise=SIGMA, max_epochs=2, early_stopping=True, verbose=1)
    dae.fit(NOISY[TRAIN])
    assert dae.validation_scores_ is None
    assert not any("psnr" in name for epoch in dae.net_.history for name in epoch)
    printed = capsys.readouterr()
    assert "psnr" not in (printed.out + printed.err).lower()
    assert "no clean side" in printed.out


# State --------------------------------------------------------------------------------------------------


def test_a_fit_is_reproducible_and_survives_pickles():
    dae = autoencoder("recorrupt", noise=SIGMA, max_epochs=2)
    one, other = dae.fit(NOISY[TRAIN]), clone(dae).fit(NOISY[TRAIN])
    predicted = one.predict(NOISY[TEST])
    np.testing.assert_array_equal(predicted, other.predict(NOISY[TEST]))
    np.testing.assert_array_equal(predicted, pickle.loads(pickle.dumps(one)).predict(NOISY[TEST]))


def test_a_fit_goes_on():
    dae = autoencoder("recorrupt", noise=SIGMA, max_epochs=2, warm_start=True).fit(NOISY[TRAIN])
    before = remaining(dae)
    assert remaining(dae.set_params(max_epochs=15).fit(NOISY[TRAIN])) < before
    dae = autoencoder("recorrupt", noise=SIGMA)
    for _ in range(2):
        dae.partial_fit(NOISY[TRAIN])
    assert dae.n_iter_ == 2


def test_sample_weights_count():
    weights = np.r_[np.ones(600), np.zeros(600)]
    dae = autoencoder("recorrupt", noise=SIGMA, max_epochs=2)
    weighted = dae.fit(NOISY[TRAIN], sample_weight=weights).predict(NOISY[TEST])
    np.testing.assert_allclose(weighted, dae.fit(NOISY[:600]).predict(NOISY[TEST]), atol=1e-5)


@pytest.mark.slow
def test_an_ensemble_learns_from_noisy_rows():
    ensemble = DenoisingEnsemble(autoencoder("recorrupt", noise=SIGMA), 2, random_state=0)
    ensemble.fit(NOISY[TRAIN])
    denoised, std = ensemble.predict(NOISY[TEST], return_std=True)
    assert ensemble.target_source_ == "noisy"
    assert (ensemble.floor_, ensemble.gain_) == (0.0, 1.0)
    assert np.mean((denoised - CLEAN[TEST]) ** 2) < 0.5 * SIGMA**2
    assert std.shape == denoised.shape
    pairs = DenoisingEnsemble(autoencoder(), 2, random_state=0).fit(NOISY[TRAIN], X_second=SECOND[TRAIN])
    assert pairs.target_source_ == "X_second"


# A protocol ---------------------------------------------------------------------------------------------


class OddAndEven:
    """Objective of a user: rows of repeated columns, each of which has the clean value of its neighbour."""

    needs_noise = False
    kinds = ("table",)

    def make_pair(self, samples):
        swapped = samples.values.reshape(len(samples.values), -1, 2).flip(2).flatten(1)
        return TrainingPair(samples.values, swapped)


class Whole(OddAndEven):
    def make_pair(self, samples):
        return samples.values


def test_an_objective_of_a_user_trains():
    clean = np.repeat(CLEAN[:, ::2], 2, 1)
    noisy = clean + noise(0)
    dae = autoencoder(OddAndEven(), max_epochs=30).fit(noisy[TRAIN])
    assert remaining(dae, noisy, clean) < 0.6


def test_an_objective_must_return_a_pair():
    with pytest.raises(ValueError, match="must return a TrainingPair with an input and a target"):
        autoencoder(Whole()).fit(NOISY[TRAIN])


# Refused combinations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"objective": "recorrupt", "noise": 0.2}, {"y": CLEAN}, "y seems to be a clean side"),
        ({"objective": "blind"}, {"X_clean": CLEAN}, "X_clean seems to be a clean side"),
        ({"objective": "blind"}, {"X_second": SECOND}, "X_second is a second measurement"),
        ({}, {"X_second": SECOND, "X_clean": CLEAN}, "Pass one of them"),
        ({}, {"X_second": NOISY}, "X_second equals X"),
        ({}, {"X_second": SECOND[:5]}, "X_second"),
        ({"noise": 0.1}, {"X_second": SECOND}, "noise given twice"),
        ({"loss": "bce"}, {"X_second": SECOND}, "compares with a clean target"),
        ({"objective": "recorrupt", "noise": None}, {}, "noise must be the noise that is in X"),
        ({"objective": "recorrupt", "noise": -1.0}, {}, "finite standard deviations above 0"),
        ({"objective": "recorrupt", "noise": [0.1, 0.2]}, {}, "one for each column"),
        ({"objective": "recorrupt", "noise": GaussianNoiser((0.1, 0.2))}, {}, "another strength"),
        ({"objective": "recorrupt", "noise": PoissonNoiser(30)}, {}, "white from noisy numbers"),
        ({"objective": "recorrupt", "noise": NoiseModel("camera", 0.1)}, {}, "correlated"),
        ({"objective": "recorrupt", "noise": "poison"}, {}, "Did you mean 'poisson'"),
        ({"objective": "blind", "noise": 0.1}, {}, "needs no noise"),
        ({"objective": "neighbours"}, {}, "Use ImageDenoiser"),
        ({"objective": "blnd"}, {}, "Did you mean 'blind'"),
        ({"objective": RecorruptObjective}, {}, "objective must be one of"),
        ({"objective": RecorruptObjective(1.0), "noise": 0.1}, {}, "'share' parameter"),
        ({"objective": "blind", "loss": "bce"}, {}, "compares with a clean target"),
        ({"objective": "blind", "emphasis": (1, 0.5)}, {}, "emphasis"),
        ({"objective": "blind"}, {"X_val": NOISY, "X_clean_val": CLEAN}, "no clean side"),
        ({}, {"X_second": SECOND, "X_val": NOISY}, "holds out pairs"),
        ({"objective": "blind", "augment": Augmenter(rotation=3), "image_shape": (8, 8)}, {}, "interpolates"),
    ],
)
def test_wrong_combinations_are_refused(parameters, arguments, message):
    dae = DenoisingAutoencoder(DenseNetwork(()), 4, max_epochs=1).set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        dae.fit(NOISY, **arguments)
    assert not hasattr(dae, "net_")


def test_a_table_has_no_neighbours():
    class OfImages(OddAndEven):
        kinds = ("images",)

    with pytest.raises(ValueError, match="a table of 64 columns"):
        autoencoder(OfImages()).fit(NOISY)
