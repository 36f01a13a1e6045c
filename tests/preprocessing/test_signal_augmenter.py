from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_denoise import Augmenter, DenoisingAutoencoder, SignalDenoiser, SignalUNetNetwork
from sk_denoise.preprocessing import Augmentation, SignalAugmenter


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def signals(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator())


STEPS = {
    "shift": SignalAugmenter(scale=None, shift=0.3),
    "scale": SignalAugmenter(scale=(0.5, 2.0)),
    "offset": SignalAugmenter(scale=None, offset=2.0),
    "stretch": SignalAugmenter(scale=None, stretch=(0.5, 2.0), fill="edge"),
    "flip": SignalAugmenter(scale=None, flip=True),
    "invert": SignalAugmenter(scale=None, invert=True),
    "everything": SignalAugmenter(
        shift=3, scale=(0.5, 2.0), offset=1.0, stretch=(0.7, 1.4), flip=True, invert=True, fill=0.0
    ),
}


@pytest.fixture(params=STEPS.values(), ids=STEPS)
def augmenter(request) -> SignalAugmenter:
    return clone(request.param)


def test_each_signal_gets_its_own_movement_from_the_generator(augmenter):
    x, state = signals(1, 2, 1, 30).repeat(40, 1, 1, 1), torch.get_rng_state()
    before = x.clone()
    moved = augmenter.augment(x, generator(1))
    assert isinstance(augmenter, Augmentation)
    assert len(torch.unique(moved.flatten(1), dim=0)) >= 2
    assert torch.equal(moved, augmenter.augment(x, generator(1)))
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_both_sides_and_all_channels_move_together(augmenter):
    x = signals(20, 1, 1, 30).repeat(1, 3, 1, 1)
    augmenter.offset = 0.0
    noisy, clean = augmenter.augment(2 * x, generator(), x.double())
    torch.testing.assert_close(noisy.double(), 2 * clean, rtol=1e-4, atol=1e-5)
    assert (noisy.dtype, clean.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(clean[:, :1].expand(-1, 3, -1, -1), clean)


def test_time_may_be_the_height(augmenter):
    x = signals(6, 2, 1, 30)
    torch.testing.assert_close(augmenter.augment(x.mT, generator()).mT, augmenter.augment(x, generator()))


def test_an_offset_is_drawn_for_each_channel_and_added_to_both_sides():
    x = signals(500, 2, 1, 10)
    noisy, clean = SignalAugmenter(scale=None, offset=[3.0, 0.5]).augment(x + 1, generator(), x)
    torch.testing.assert_close(noisy - clean, torch.ones_like(x), rtol=0, atol=1e-5)
    offsets = (clean - x)[:, :, 0]
    assert offsets.std(dim=2).max() < 1e-5
    largest = offsets.abs().amax(dim=(0, 2))
    assert largest.tolist() == pytest.approx([3.0, 0.5], rel=0.02)
    assert abs(np.corrcoef(offsets[:, :, 0].T)[0, 1]) < 0.15


def test_scales_are_uniform_on_a_logarithmic_scale():
    x = torch.ones(4000, 2, 1, 3)
    scales = SignalAugmenter(scale=(0.25, 4.0)).augment(x, generator())[:, :, 0, 0]
    assert torch.equal(scales[:, 0], scales[:, 1])
    quantiles = torch.quantile(scales[:, 0].log2(), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert quantiles.tolist() == pytest.approx([-2, -1, 0, 1, 2], abs=0.1)


def test_a_stretch_is_that_of_numpy_about_the_middle():
    x, time = signals(1, 1, 1, 41), np.arange(41.0)
    moved = SignalAugmenter(scale=None, stretch=(2.0, 2.0), fill="edge").augment(x, generator())
    expected = np.interp(20 + (time - 20) / 2, time, x.numpy().ravel())
    np.testing.assert_allclose(moved.numpy().ravel(), expected, atol=1e-4)
    # A wave of 10 samples has 20.
    wave = torch.sin(2 * np.pi * torch.arange(400) / 10).expand(1, 1, 1, 400)
    longer = SignalAugmenter(scale=None, stretch=(2.0, 2.0)).augment(wave, generator())
    assert np.abs(np.fft.rfft(longer.numpy().ravel())).argmax() == 20


def test_interpolation_smooths_noise_and_other_steps_keep_it():
    x = signals(200, 1, 1, 200)
    steps = SignalAugmenter(scale=None, shift=0.2, flip=True, invert=True)
    assert float(steps.augment(x, generator()).std()) == pytest.approx(1, rel=0.02)
    smooth = SignalAugmenter(scale=None, stretch=(1.05, 1.2)).augment(x, generator())
    assert 0.7 < float(smooth.std()) < 0.9


@pytest.mark.parametrize("name", ["flip", "invert"])
def test_half_of_the_signals_are_turned(name):
    x = signals(4000, 1, 1, 5)
    moved = SignalAugmenter(scale=None, **{name: True}).augment(x, generator())
    turned = x.flip(-1) if name == "flip" else -x
    is_turned = (moved == turned).flatten(1).all(1)
    assert ((moved == x).flatten(1).all(1) ^ is_turned).all()
    assert is_turned.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_shifts_are_whole_samples_up_to_the_largest():
    x = torch.zeros(3000, 1, 1, 20)
    x[..., 10] = 1
    moved = SignalAugmenter(scale=None, shift=0.15, fill=0.0).augment(x, generator())
    places, counts = torch.unique(moved.flatten(1).argmax(1), return_counts=True)
    assert places.tolist() == list(range(7, 14))
    assert counts.min() > 300


def test_with_all_steps_off_it_returns_a_copy_and_draws_nothing():
    x, source = signals(3, 2, 1, 9), generator()
    state = source.get_state()
    moved = SignalAugmenter(scale=None).augment(x, source)
    assert torch.equal(moved, x)
    assert moved.data_ptr() != x.data_ptr()
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 1, 1), (2, 1, 1, 2)], ids=str)
def test_signals_of_a_sample_or_two_pass(shape):
    full = SignalAugmenter(offset=1.0, stretch=(0.5, 2.0), flip=True, invert=True)
    full.check(shape[1:])
    assert full.augment(signals(*shape), generator()).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        (
            {},
            (3, 8, 8),
            r"for signals \(channels, 1, length\), got samples of shape \(3, 8, 8\). Use Augmenter",
        ),
        ({}, (50,), "Use Augmenter for images"),
        ({"shift": 0.01}, (1, 1, 20), "less than a sample of signals of length 20"),
        ({"shift": 20}, (1, 1, 20), "can move all of a signal of length 20 out of it"),
        ({"shift": -1}, (1, 1, 20), "'shift' parameter of SignalAugmenter"),
        ({"scale": (2, 1)}, (1, 1, 20), "scale must be None or a pair"),
        ({"scale": 0.5}, (1, 1, 20), "'scale' parameter of SignalAugmenter"),
        ({"stretch": (0, 1)}, (1, 1, 20), "stretch must be None or a pair"),
        ({"offset": [1.0, 2.0]}, (3, 1, 20), r"one for each channel of the signals \(3\)"),
        ({"offset": -1.0}, (3, 1, 20), "'offset' parameter of SignalAugmenter"),
        ({"offset": [1, np.nan, 1]}, (3, 1, 20), "offset must be a finite number of at least 0"),
        ({"fill": "wrap"}, (1, 1, 20), "'fill' parameter of SignalAugmenter"),
    ],
)
def test_wrong_parameters_and_samples_are_refused(settings, shape, message):
    with pytest.raises(ValueError, match=message):
        SignalAugmenter(**settings).check(shape)


def denoiser(**settings):
    return SignalDenoiser(SignalUNetNetwork((4, 8)), max_epochs=1, random_state=0, **settings)


def test_signals_and_their_augmentation_find_each_other():
    X = np.random.default_rng(0).normal(size=(20, 64))
    with pytest.raises(ValueError, match="Signals have SignalAugmenter"):
        denoiser(augment=Augmenter(shift=3)).fit(X)
    with pytest.raises(ValueError, match=r"use SignalDenoiser, or image_shape=\(1, 64\)"):
        DenoisingAutoencoder(augment=SignalAugmenter()).fit(X)
    augment = SignalAugmenter(shift=0.1, offset=[1.0, 2.0], stretch=(0.8, 1.2), flip=True, invert=True)
    leads = X.reshape(10, 2, 64)
    assert denoiser(augment=augment).fit(leads).predict(leads).shape == leads.shape


def test_training_augments_first_and_corrupts_then():
    class Recorder:
        """A noiser that keeps the range of its input."""

        def fit(self, X, y=None):
            return self

        def get_params(self, deep=True):
            return {}

        def set_params(self):
            return self

        def corrupt(self, x, generator):
            ranges.append((float(x.min()), float(x.max())))
            return x + 1

    ranges: list[tuple[float, float]] = []
    X = np.tile(np.sin(np.arange(64) / 3), (20, 1))
    denoiser(noise=Recorder(), augment=SignalAugmenter(scale=(5.0, 5.0))).fit(X)
    assert min(low for low, _ in ranges) == pytest.approx(-5, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "augment", "message"),
    [
        ({"objective": "blind"}, {"scale": None, "stretch": (0.8, 1.2)}, "interpolates.*stretch"),
        ({"objective": "recorrupt", "noise": 0.5}, {}, "changes it with the amplitude. Pass scale=None"),
        ({"loss": "bce"}, {"scale": None, "invert": True}, "changes values, and the loss.*Pass scale=None"),
    ],
)
def test_an_augmentation_that_harms_the_objective_or_the_loss_is_refused(settings, augment, message):
    X = np.random.default_rng(0).uniform(size=(20, 64))
    with pytest.raises(ValueError, match=message):
        denoiser(augment=SignalAugmenter(**augment), **settings).fit(X)
    steps = SignalAugmenter(scale=None, shift=0.1, flip=True)
    denoiser(augment=steps, **settings).fit(X)
