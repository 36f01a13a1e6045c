"""Fits: defaults, stopping, continuation, validation, interruption, progress, networks."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser
from sk_denoise.persistence import load, save
from sk_denoise.training import LOSSES, OPTIMIZERS, SCHEDULES


def small(**settings):
    defaults = {"network": DenseNetwork((32,)), "latent_dim": 8, "max_epochs": 5, "random_state": 0}
    return DenoisingAutoencoder(**defaults | settings)


@pytest.fixture
def X():
    return np.random.default_rng(0).random((80, 6))


@pytest.mark.slow
def test_the_defaults_denoise_digits_well(digits):
    noisy = digits.noisy_test(0.25)
    dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), random_state=0).fit(digits.train)
    assert digits.decibels(noisy) < 12.2
    assert digits.decibels(dae.predict(noisy)) > 17.7


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_to_denoise(digits, loss):
    dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), loss=loss, max_epochs=15, random_state=0)
    noisy = digits.noisy_test(0.25)
    dae.set_params(image_shape=(8, 8)).fit(digits.train)
    assert digits.decibels(dae.predict(noisy)) > digits.decibels(noisy) + 2


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, torch.optim.Adamax])
@pytest.mark.slow
def test_every_optimizer_learns_to_denoise_at_its_default_rate(digits, optimizer):
    dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), optimizer=optimizer, max_epochs=15, random_state=0)
    noisy = digits.noisy_test(0.25)
    assert digits.decibels(dae.fit(digits.train).predict(noisy)) > digits.decibels(noisy) + 2


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_follows_its_schedule(X, schedule):
    dae = small(learning_rate_schedule=schedule, learning_rate=0.01, batch_size=8).fit(X)
    rate = dae.net_.optimizer_.param_groups[0]["lr"]
    assert rate == 0.01 if schedule == "constant" else 0 < rate < 0.001


def test_the_loss_curve_has_an_entry_for_each_epoch(X):
    dae = small(max_epochs=7).fit(X)
    assert dae.n_iter_ == len(dae.loss_curve_) == 7
    assert dae.loss_curve_[-1] < dae.loss_curve_[0]
    assert dae.validation_scores_ is None


@pytest.mark.slow
def test_automatic_epochs_make_as_many_steps_for_few_samples_as_for_many(X):
    small_fit, large_fit = (small(max_epochs="auto", blend=None).fit(np.tile(X, (k, 1))) for k in (1, 4))
    assert small_fit.n_iter_ == 500
    assert small_fit.n_iter_ > large_fit.n_iter_ == 250


def test_early_stopping_ends_early_with_the_best_weights(X):
    dae = small(max_epochs=500, early_stopping=True, n_iter_no_change=5, learning_rate=0.02).fit(X)
    assert dae.n_iter_ < 500
    assert len(dae.validation_scores_) == dae.n_iter_

    held_out = X[:20]
    dae.set_params(max_epochs=200).fit(X[20:], X_val=held_out)
    losses = [epoch["valid_loss"] for epoch in dae.net_.history]
    assert len(losses) - np.argmin(losses) > 5  # the best epoch was not among the last ones
    assert dae.n_iter_ == len(dae.validation_scores_)


def test_validation_rows_do_not_change_the_scaling(X):
    outlier = X.copy()
    outlier[:40] += 3
    # Validation rows determine the share of the network.
    calm = small(blend=None).fit(X[40:], X_val=X[:40])
    wild = small(blend=None).fit(X[40:], X_val=outlier[:40])
    np.testing.assert_array_equal(calm.predict(X), wild.predict(X))


@pytest.mark.filterwarnings("ignore:.*were constant in all samples so far")
def test_partial_fit_learns_a_little_more_at_each_call(digits):
    dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), random_state=0)
    noisy = digits.noisy_test(0.25)
    errors = []
    for _ in range(3):
        for chunk in np.array_split(digits.train, 4):
            dae.partial_fit(chunk)
        errors.append(np.mean((dae.predict(noisy) - digits.test) ** 2))
    assert errors[0] > errors[1] > errors[2]
    assert dae.n_iter_ == 12


@pytest.mark.slow
def test_warm_start_continues_the_last_fit(X):
    cold = small(max_epochs=30).fit(X)
    first = cold.loss_curve_[0]
    assert cold.fit(X).loss_curve_[0] == first
    warm = small(max_epochs=30, warm_start=True).fit(X).set_params(max_epochs=60).fit(X)
    assert warm.n_iter_ == 60
    assert warm.loss_curve_[30] < first
    with pytest.raises(ValueError, match="features"):
        warm.fit(X[:, :3])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("done", [1, 4, 7])
def test_a_continued_fit_has_the_learning_rates_of_one_run(X, schedule, done):
    parameters = {"batch_size": 20, "learning_rate_schedule": schedule, "max_epochs": 8}
    whole = small(**parameters).fit(X)
    rest = small(**{**parameters, "max_epochs": done}).fit(X)
    rest.set_params(max_epochs=8, warm_start=True).fit(X)
    rates = [[epoch["lr"] for epoch in dae.net_.history] for dae in (whole, rest)]
    assert rates[1][done:] == rates[0][done:]


@pytest.mark.slow
@pytest.mark.parametrize("max_epochs", [3, 2, "auto"])
def test_a_complete_fit_warns_and_is_not_continued(X, max_epochs):
    dae = small(max_epochs=3 if max_epochs != "auto" else "auto", warm_start=True, batch_size=1).fit(X)
    before, done = dae.predict(X), dae.n_iter_
    with pytest.warns(UserWarning, match=rf"{done} are done\. Raise max_epochs to more than {done}"):
        dae.set_params(max_epochs=max_epochs).fit(X)
    assert dae.n_iter_ == done
    np.testing.assert_array_equal(dae.predict(X), before)


EARLY = {"early_stopping": True, "n_iter_no_change": 12, "learning_rate": 0.05, "max_epochs": 60}


@pytest.fixture
def stopped(X):
    """Return a fit that stopped early, and its copies after each epoch."""
    copies = []
    dae = small(**EARLY, callbacks=[lambda estimator, epoch: copies.append(estimator)])
    return dae.set_params(learning_rate_schedule="constant").fit(X), copies


@pytest.mark.slow
def test_resumed_early_stopping_keeps_the_best_weights(X, stopped, tmp_path):
    whole, copies = stopped
    losses = [epoch["valid_loss"] for epoch in whole.net_.history]
    best = int(np.argmin(losses))
    assert best + 3 < whole.n_iter_ < 60
    save(copies[-2].set_params(callbacks=None), tmp_path / "resumed")
    resumed = load(tmp_path / "resumed")
    assert resumed.n_iter_ == whole.n_iter_ - 1  # long after the best epoch
    resumed.set_params(warm_start=True).fit(X)
    assert whole.n_iter_ <= resumed.n_iter_ < 60
    if min(epoch["valid_loss"] for epoch in resumed.net_.history) == losses[best]:
        np.testing.assert_array_equal(resumed.predict(X), whole.predict(X))


@pytest.mark.slow
def test_a_fit_that_stopped_early_continues_only_with_other_validation_rows(X, stopped):
    whole, _ = stopped
    before, done = whole.predict(X), whole.n_iter_
    whole.set_params(warm_start=True, callbacks=None)
    with pytest.warns(UserWarning, match=rf"stopped early after {done} epochs.* Raise n_iter_no_change"):
        whole.fit(X)
    np.testing.assert_array_equal(whole.predict(X), before)
    other = np.random.default_rng(5).random((20, 6))
    # Losses on other samples do not compare with the earlier ones.
    whole.set_params(max_epochs=done + 2).fit(X, X_val=other)
    assert whole.n_iter_ == done + 2


@pytest.mark.slow
def test_a_clean_source_is_corrupted_afresh_in_every_epoch(digits):
    noiser = GaussianNoiser(0.25, random_state=0)
    dae = DenoisingAutoencoder(max_epochs=40, random_state=0)
    fresh = clone(dae).fit(noiser.fit_transform(digits.train))
    pairs = clone(dae).fit(np.asarray(noiser.fit_transform(digits.train)), X_clean=digits.train)
    noisy = digits.noisy_test(0.25)
    # The noise of pairs is drawn anew from their residuals, and so nearly as good. Noise that is frozen, by a
    # weight of entries, is learned by heart.
    assert digits.decibels(fresh.predict(noisy)) > digits.decibels(pairs.predict(noisy)) - 0.1
    frozen = clone(dae).set_params(emphasis=(1.0, 1.0))
    frozen.fit(np.asarray(noiser.fit_transform(digits.train)), X_clean=digits.train)
    assert digits.decibels(fresh.predict(noisy)) > digits.decibels(frozen.predict(noisy)) + 0.5


@pytest.mark.slow
def test_units_and_offsets_make_no_difference(digits):
    noisy = digits.noisy_test(0.25)
    results = []
    for scale, offset in ((1, 0), (1000, 5)):
        dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25 * scale), max_epochs=20, random_state=0)
        restored = dae.fit(scale * digits.train[:600] + offset).predict(scale * noisy + offset)
        results.append(digits.decibels((restored - offset) / scale))
    assert results[0] == pytest.approx(results[1], abs=0.1)


@pytest.mark.slow
def test_columns_of_very_different_units_are_all_denoised():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(500, 1))
    X = np.hstack([t, -t, t + 1, 1e6 * t, 2e6 * t])  # one quantity in five columns
    noise = GaussianNoiser(0.5, scale="std")
    dae = small(noise=noise, max_epochs=60).fit(X)
    noisy = X + 0.5 * X.std(axis=0) * rng.normal(size=X.shape)
    before, after = (np.mean((Z - X) ** 2, axis=0) for Z in (noisy, dae.predict(noisy)))
    assert (after < 0.5 * before).all()


@pytest.mark.slow
def test_constant_and_near_constant_columns_do_no_harm(digits):
    rng = np.random.default_rng(0)

    def widen(X):
        extra = np.zeros((len(X), 4))
        extra[:, 1] = 5 + 1e-9 * rng.normal(size=len(X))
        extra[:, 2] = -1e9
        extra[0, 3] = 1e-3  # zero in all other samples
        return np.hstack([X, extra])

    dae = DenoisingAutoencoder(noise=None, max_epochs=20, random_state=0)
    plain = dae.fit(digits.train[:600]).predict(digits.test)
    wide = dae.fit(widen(digits.train[:600])).predict(widen(digits.test))
    assert digits.decibels(wide[:, :64]) > digits.decibels(plain) - 0.5
    np.testing.assert_allclose(wide[:, 64:67], [[0, 5, -1e9]] * len(wide), rtol=1e-6, atol=1e-12)

    spiked = widen(digits.test)
    # Features that were constant in training.
    spiked[:, [64, 66]] += 0.1
    assert digits.decibels(dae.predict(spiked)[:, :64]) > digits.decibels(plain) - 0.5
    # A hundred million deviations of the training: in double precision, as timestamps have it, they count.
    spiked[:, 65] += 0.1
    assert digits.decibels(dae.predict(spiked)[:, :64]) > 20
    # A hundred times the largest value of the training.
    spiked[:, 67] += 0.1
    assert digits.decibels(dae.predict(spiked)[:, :64]) > 12


@pytest.mark.slow
def test_an_outlier_hardly_affects_other_features(digits):
    dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=20, random_state=0).fit(digits.train)
    wild = digits.test.copy()
    wild[:, 20] = 1e6
    restored = dae.predict(wild)
    restored[:, 20] = digits.test[:, 20]
    assert digits.decibels(restored) > 10


class Interrupt(GaussianNoiser):
    """A noiser that raises KeyboardInterrupt after a number of batches."""

    def __init__(self, noise_factor=0.1, *, batches=10, random_state=None):
        super().__init__(noise_factor, random_state=random_state)
        self.batches = batches

    def corrupt(self, x, generator):
        self.count_ = getattr(self, "count_", 0) + 1
        if self.count_ == self.batches:
            raise KeyboardInterrupt
        return super().corrupt(x, generator)


@pytest.mark.usefixtures("batches_drawn_alone")
@pytest.mark.parametrize(("batches", "epochs"), [(2, 0), (3, 0), (14, 4)])
def test_an_interrupted_fit_is_usable_and_raises_again(X, batches, epochs):
    # Three batches an epoch.
    dae = small(noise=Interrupt(batches=batches), batch_size=32, max_epochs=100, blend=None)
    with pytest.raises(KeyboardInterrupt):
        dae.fit(X)
    assert dae.n_iter_ == len(dae.loss_curve_) == epochs
    assert np.isfinite(dae.predict(X)).all()
    assert dae.net_.callbacks_ == []


@pytest.mark.slow
@pytest.mark.usefixtures("batches_drawn_alone")
def test_an_interruption_restores_the_best_weights(X):
    dae = small(noise=Interrupt(batches=2 + 3 * 50), batch_size=32, max_epochs=100, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        dae.fit(X, X_val=X[:30])
    scores = [epoch["valid_loss"] for epoch in dae.net_.history]
    best = int(np.argmin(scores)) + 1
    twin = small(batch_size=32, max_epochs=100).set_params(noise=Interrupt(batches=-1))
    twin.set_params(learning_rate_schedule="flat_cosine").fit(X, X_val=X[:30])
    assert [e["valid_loss"] for e in twin.net_.history][: len(scores)] == pytest.approx(scores, rel=1e-5)
    assert best <= dae.n_iter_


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_control_c_ends_a_search_without_a_result(X):
    dae = small(max_epochs=100_000)
    search = GridSearchCV(dae, {"latent_dim": [2, 4]}, cv=2)
    pressed = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    # Shells ignore the signal in background processes.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pressed.start()
        with pytest.raises(KeyboardInterrupt):
            search.fit(X)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not hasattr(search, "best_params_")


def test_progress_is_one_line_that_updates(X, capsys):
    small(verbose=1, max_epochs=3).fit(X, X_val=X[:20])
    captured = capsys.readouterr()
    assert captured.out.startswith("[DenoisingAutoencoder] the clean side is X, corrupted afresh by Gaussian")
    assert captured.err.count("\n") == 1
    last = captured.err.rstrip().split("\r")[-1]
    assert len(last) <= 80
    for text in ("epoch 3/3", "00:00 left", "loss=", "val_loss=", "val_psnr=", "dB"):
        assert text in last
    small().fit(X)
    assert capsys.readouterr() == ("", "")


def test_progress_shows_the_training_psnr_without_validation(X, capsys):
    small(verbose=1).fit(X)
    assert " psnr=" in capsys.readouterr().err


class Residual(nn.Module):
    """A network of a user with dropout, which draws from the global state of torch."""

    def __init__(self, input_shape, latent_dim):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(input_shape[0], latent_dim), nn.ReLU(), nn.Dropout(0.1))
        self.decoder = nn.Linear(latent_dim, input_shape[0])

    def forward(self, x):
        return x + self.decoder(self.encoder(x))


def build_residual(input_shape, latent_dim):
    return Residual(input_shape, latent_dim)


@pytest.mark.slow
@pytest.mark.parametrize("network", [Residual, build_residual])
def test_networks_of_users(digits, network):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    settings = {"noise": GaussianNoiser(0.25), "latent_dim": 64, "max_epochs": 15, "random_state": 0}
    dae = DenoisingAutoencoder(network, **settings).fit(digits.train)
    assert torch.equal(torch.get_rng_state(), state)
    noisy = digits.noisy_test(0.25)
    assert digits.decibels(dae.predict(noisy)) > digits.decibels(noisy) + 2
    np.testing.assert_array_equal(dae.predict(noisy), dae.predict(noisy))  # no dropout in prediction
    torch.manual_seed(2)
    np.testing.assert_array_equal(clone(dae).fit(digits.train).predict(noisy), dae.predict(noisy))
    assert dae.set_params(output="latent").transform(noisy).shape == (500, 64)


def test_the_spec_shapes_the_network(X):
    dae = small(network=DenseNetwork((12, 10), activation="relu"), latent_dim=3).fit(X)
    shapes = [tuple(p.shape) for p in dae.net_.module_.parameters() if p.ndim == 2]
    assert shapes == [(12, 6), (10, 12), (3, 10), (10, 3), (12, 10), (6, 12)]
    assert isinstance(dae.encoder_[2], nn.ReLU)
    assert isinstance(small(loss="bce").fit(X).decoder_[-1], nn.Sigmoid)


@pytest.mark.slow
def test_the_spec_can_be_searched(X):
    grid = {"network__hidden_layer_sizes": [(4,), (64,)], "latent_dim": [2]}
    search = GridSearchCV(small(max_epochs=20), grid, cv=2).fit(X)
    assert search.best_params_["network__hidden_layer_sizes"] in [(4,), (64,)]


def test_encoder_and_decoder_make_the_network(X):
    dae = small(output="latent", blend=None).fit(X)
    Z = dae.transform(X)
    assert Z.shape == (80, 8)
    np.testing.assert_allclose(dae.inverse_transform(Z), dae.predict(X), rtol=1e-6)
    scaled = torch.zeros(2, 6)
    assert torch.equal(dae.decoder_(dae.encoder_(scaled)), dae.net_.module_(scaled))


def test_activations_are_those_of_all_hidden_layers(X):
    dae = small(output="activations").fit(X)
    assert dae.transform(X).shape == (80, 32 + 8 + 32)
    assert len(dae.get_feature_names_out()) == 72
    np.testing.assert_array_equal(dae.transform(X)[:, 32:40], dae.set_params(output="latent").transform(X))


def test_a_fit_leaves_no_threads_behind():
    before = threading.active_count()
    small().fit(np.random.default_rng(0).random((30, 3)))
    time.sleep(0)
    assert threading.active_count() == before
