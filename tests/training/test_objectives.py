"""Self-supervised objectives as functions: statistics of the pairs, masks, shapes, protocol."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_denoise import BlindSpotObjective, NeighboursObjective, RecorruptObjective
from sk_denoise._noise_model import NoiseSplitter
from sk_denoise.noise import GrainNoiser
from sk_denoise.restoration import NoiseModel
from sk_denoise.training import NoisySamples, TrainingPair, resolve_objective

SIGMA = 0.2
SHAPES = [(40, 64, 64), (40, 32, 32, 3), (40, 1, 600), (40, 33, 47), (40, 65, 1)]


def samples_of(values, kind="images", noise=None, *, seed=0, training=True, **options):
    values = torch.as_tensor(values, dtype=torch.float64)
    return NoisySamples(
        values,
        kind,
        torch.Generator().manual_seed(seed),
        0.0,
        denoise=(lambda x: x) if training else None,
        noise=noise,
        **options,
    )


def smooth(shape):
    """Return images that a cubic interpolation has exactly, away from the edges."""
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    image = 0.5 + 0.2 * np.sin(rows / 30) * np.cos(columns / 25)
    image = image[..., None] if len(shape) == 4 else image
    return np.broadcast_to(image, shape).copy()


def correlation(a, b):
    a, b = (x - x.mean() for x in (np.asarray(a).ravel(), np.asarray(b).ravel()))
    return float((a * b).mean() / np.sqrt((a**2).mean() * (b**2).mean()))


def white(shape, seed=1):
    return np.random.default_rng(seed).normal(0, SIGMA, shape)


# Recorrupted samples -----------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_recorrupted_parts_have_independent_noise_and_one_mean(share, training):
    noise = NoiseSplitter(NoiseModel("white", SIGMA))
    clean = smooth((64, 64, 64))
    pair = RecorruptObjective(share).make_pair(
        samples_of(clean + white(clean.shape), noise=noise, training=training)
    )
    first, second = pair.input.numpy() - clean, pair.target.numpy() - clean
    assert abs(correlation(first, second)) < 0.01
    assert first.std() == pytest.approx(SIGMA / np.sqrt(1 - share), rel=0.02)
    assert second.std() == pytest.approx(SIGMA / np.sqrt(share), rel=0.02)
    assert abs(first.mean()) < 0.002
    assert abs(second.mean()) < 0.01
    assert pair.level.numpy() == pytest.approx(SIGMA / np.sqrt(1 - share))


def test_second_patches_get_the_opposite_noise():
    noise = NoiseSplitter(NoiseModel("white", SIGMA))
    noisy = white((7, 16, 16))
    pair = RecorruptObjective().make_pair(samples_of(noisy, noise=noise))
    middle = (pair.input[:6:2] + pair.input[1:6:2]) / 2
    np.testing.assert_allclose(middle, noisy[:6:2], atol=1e-12)
    assert pair.input.shape == noisy.shape
    # Validation and weights keep each sample in its place; tables have few rows.
    plain = samples_of(noisy, noise=noise)
    for kept in (replace(plain, denoise=None), replace(plain, is_weighted=True)):
        pair = RecorruptObjective().make_pair(kept)
        errors = (pair.input.numpy() - noisy).reshape(7, -1)
        assert np.abs(np.corrcoef(errors) - np.eye(7)).max() < 0.4
        assert errors.std() == pytest.approx(SIGMA / 3, rel=0.1)
    table = RecorruptObjective().make_pair(samples_of(noisy.reshape(7, -1), "table", noise))
    assert (table.input.numpy() - noisy.reshape(7, -1)).std() == pytest.approx(SIGMA, rel=0.1)


@pytest.mark.parametrize("in_opposites", [True, False])
def test_parts_of_counts_are_uncorrelated(in_opposites):
    gain, share = 0.05, 0.2
    light = smooth((200, 32, 32))
    counts = np.random.default_rng(0).poisson(light / gain)
    noise = NoiseSplitter(NoiseModel("counts", 0.1, gain=gain))
    pair = RecorruptObjective(share).make_pair(samples_of(gain * counts, noise=noise, training=in_opposites))
    first, second = pair.input.numpy() - light, pair.target.numpy() - light
    assert abs(correlation(first, second)) < 0.02
    assert np.mean(first**2) == pytest.approx(gain * light.mean() / (1 - share), rel=0.05)
    # The noise of the other thinning comes on top, which has nearly opposite signs in the two of a pair.
    factor = 1 / share + (1 / (share * (1 - share)) if in_opposites else 0)
    assert np.mean(second**2) == pytest.approx(gain * light.mean() * factor, rel=0.05)
    assert (correlation(second[::2], second[1::2]) < -0.7) == in_opposites


def test_correlated_noise_is_split_with_its_correlation():
    noiser = GrainNoiser(SIGMA)
    zeros = np.zeros((64, 48, 48))
    noisy = noiser.fit_transform(zeros + 0.5)
    pair = RecorruptObjective(0.5).make_pair(
        samples_of(np.asarray(noisy), noise=NoiseSplitter.of(noiser, zeros + 0.5))
    )
    first, second = pair.input.numpy() - 0.5, pair.target.numpy() - 0.5
    assert abs(correlation(first, second)) < 0.05
    assert correlation(first[:, 1:], first[:, :-1]) > 0.2


# Neighbours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_neighbours_are_independent_and_have_one_mean(shape):
    clean = smooth(shape)
    noisy = clean + white(shape)
    objective = NeighboursObjective()
    pair = objective.make_pair(samples_of(noisy))
    # The same draws, on the clean images
    truth = objective.make_pair(samples_of(clean))
    source, target = pair.input - truth.input, pair.target - truth.target
    assert abs(correlation(source, target)) < 0.02
    assert source.std() == pytest.approx(SIGMA, rel=0.05)
    # The mean over two axes of kernels with squares that sum to 82 / 128; one axis for signals
    n_axes = sum(side > 1 for side in shape[1:3])
    assert target.std() == pytest.approx(SIGMA * np.sqrt(82 / 128 / n_axes), rel=0.05)
    inner = np.s_[:, 2:-2, 2:-2] if n_axes == 2 else np.s_[:, :, 2:-2] if shape[1] == 1 else np.s_[:, 2:-2]
    np.testing.assert_allclose(truth.target[inner], truth.input[inner], atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_neighbours_halve_images_of_odd_sides(shape):
    pair = NeighboursObjective().make_pair(samples_of(np.random.default_rng(0).random(shape)))
    halved = [side // 2 if side > 1 else 1 for side in shape[1:3]]
    assert list(pair.input.shape) == [shape[0], *halved, *shape[3:]]


def test_no_pixel_of_the_input_is_in_the_target():
    values = torch.rand(3, 7, 10, dtype=torch.float64, requires_grad=True)
    pair = NeighboursObjective().make_pair(NoisySamples(values, "images", torch.Generator(), 0.0))
    for image in range(3):
        (used,) = torch.autograd.grad(pair.input[image].sum(), values, retain_graph=True)
        (aimed,) = torch.autograd.grad(pair.target[image].sum(), values, retain_graph=True)
        assert used[image].count_nonzero() == 15
        assert not (used.bool() & aimed.bool()).any()


def test_channels_of_a_pixel_are_taken_together():
    values = np.repeat(np.random.default_rng(0).random((4, 12, 12, 1)), 3, axis=-1)
    for objective in (NeighboursObjective(), BlindSpotObjective()):
        pair = objective.make_pair(samples_of(values))
        assert (pair.input[..., :1] == pair.input).all()
        assert (pair.target[..., :1] == pair.target).all()


@pytest.mark.parametrize("objective", [NeighboursObjective(), BlindSpotObjective()])
@pytest.mark.parametrize("shape", [(2, 1, 2), (2, 2, 1), (2, 2, 2), (2, 3, 3, 3), (2, 1, 3)])
def test_tiny_images_have_finite_pairs(objective, shape):
    pair = objective.make_pair(samples_of(np.random.default_rng(0).random(shape)))
    assert pair.input.isfinite().all()
    assert pair.target.isfinite().all()
    assert 0 not in pair.input.shape


@pytest.mark.parametrize("objective", [NeighboursObjective(), BlindSpotObjective()])
def test_single_pixels_are_refused(objective):
    with pytest.raises(ValueError, match="at least 2 entries"):
        objective.make_pair(samples_of(np.zeros((4, 1, 1))))


def test_correction_moves_targets_by_the_error_of_the_interpolation():
    stripes = np.broadcast_to(np.tile([0.0, 1.0, 1.0, 0.0], 4), (8, 16, 16)).copy()

    def pair(objective, progress):
        return objective.make_pair(replace(samples_of(stripes), progress=progress))

    plain = pair(NeighboursObjective(0.0), 1.0)
    corrected = pair(NeighboursObjective(0.5), 1.0).target
    errors = plain.input - plain.target
    assert errors.abs().mean() > 0.1
    # Every fourth sample, with four times the weight
    torch.testing.assert_close((corrected - plain.target)[::4], 4 * 0.5 * errors[::4])
    torch.testing.assert_close(corrected[1:4], plain.target[1:4])
    torch.testing.assert_close(pair(NeighboursObjective(0.5), 0.0).target, plain.target)


# Hidden entries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.05, 0.3])
@pytest.mark.parametrize("shape", [*SHAPES, (500, 30)])
def test_hidden_entries_do_not_reach_the_input(shape, fraction):
    values = white(shape)
    kind = "table" if len(shape) == 2 else "images"
    pair = BlindSpotObjective(fraction).make_pair(samples_of(values, kind))
    hidden = pair.weight.numpy() > 0
    # Each sample hides at least one entry, which counts in short ones.
    assert fraction - 0.02 < hidden.mean() < fraction + 0.02
    assert pair.weight.mean().item() == pytest.approx(1)
    np.testing.assert_array_equal(pair.target, values)
    np.testing.assert_array_equal(pair.input.numpy()[~hidden], values[~hidden])
    assert (pair.input.numpy()[hidden] != values[hidden]).all()
    assert abs(correlation(pair.input.numpy()[hidden], values[hidden])) < 4 / np.sqrt(hidden.sum())


def test_hidden_pixels_look_as_noisy_as_others():
    # A network that recognizes hidden pixels, such as by their smoothness, keeps the noise of all others.
    values = white((20, 64, 64))
    pair = BlindSpotObjective().make_pair(samples_of(values))
    hidden = pair.weight.numpy() > 0
    assert pair.input.numpy()[hidden].std() == pytest.approx(SIGMA, rel=0.05)


def test_each_sample_hides_an_entry():
    pair = BlindSpotObjective(1e-9).make_pair(samples_of(white((50, 8, 8))))
    assert ((pair.weight > 0).flatten(1).sum(1) == 1).all()


# Protocol ----------------------------------------------------------------------------------------------


class Doubled:
    """Smallest object with the protocol."""

    needs_noise = False
    kinds = ("images",)

    def make_pair(self, samples):
        return TrainingPair(samples.values, samples.values)


def test_objects_with_the_protocol_are_taken():
    made = resolve_objective(Doubled())
    assert isinstance(made, Doubled)
    assert resolve_objective("supervised") is None
    assert isinstance(resolve_objective("blind"), BlindSpotObjective)


@pytest.mark.parametrize("wrong", ["neighbors", Doubled, 3, None, object()])
def test_other_objectives_are_refused_with_the_names(wrong):
    with pytest.raises(ValueError, match="recorrupt"):
        resolve_objective(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        RecorruptObjective(0.0),
        RecorruptObjective(1.0),
        RecorruptObjective("half"),
        RecorruptObjective(n_copies=-1),
        NeighboursObjective(-0.1),
        NeighboursObjective(2.0),
        BlindSpotObjective(1.0),
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="parameter of"):
        resolve_objective(wrong)


def test_a_fit_does_not_see_later_changes():
    objective = RecorruptObjective(0.3)
    made = resolve_objective(objective)
    objective.share = 0.7
    assert made.share == 0.3
    assert clone(objective).share == 0.7
