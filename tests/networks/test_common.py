"""Properties of every network in the table."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_denoise import DenoisingAutoencoder, GaussianNoiser
from sk_denoise.estimators import IMAGE_NETWORKS, NETWORKS
from sk_denoise.networks import ACTIVATIONS, SeededModule

SIDES = [(1, 1), (1, 2), (2, 1), (3, 3), (1, 57), (33, 1), (8, 8), (7, 10), (28, 28), (33, 57)]
SHAPES = [(channels, *sides) for sides in SIDES for channels in (1, 3)]
LENGTHS = [1, 2, 3, 5, 8, 57, 64, 101]


def built(name, shape, latent_dim=3, seed=0, **parameters):
    network = NETWORKS[name](**parameters).build(shape, latent_dim)
    network.reset_parameters(torch.Generator().manual_seed(seed))
    return network


def shapes_for(name):
    """Return shapes of samples as the network receives them: rows, signals, images."""
    rows = [(1, length) if hasattr(NETWORKS[name], "rows_are_signals") else (length,) for length in LENGTHS]
    return [*rows, *SHAPES]


CASES = [pytest.param(name, shape, id=f"{name}-{shape}") for name in NETWORKS for shape in shapes_for(name)]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_the_output_has_the_shape_of_the_input(name, shape):
    network = built(name, shape)
    x = torch.randn(2, *shape)
    code = network.encoder(x)
    assert network.decoder(code).shape == x.shape
    torch.testing.assert_close(network(x), network.decoder(code), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_an_estimator_denoises_images_of_any_size(name, sides, channels):
    shape = sides if channels is None else (*sides, channels)
    X = np.random.default_rng(0).random((6, *shape))
    X[0] = 0  # not all alike, at a size of one pixel
    dae = DenoisingAutoencoder(name, 4, max_epochs=1, random_state=0).fit(X)
    denoised = dae.predict(X)
    assert denoised.shape == X.shape
    assert np.isfinite(denoised).all()
    flat = clone(dae).set_params(image_shape=shape).fit(X.reshape(len(X), -1))
    np.testing.assert_array_equal(flat.predict(X.reshape(len(X), -1)), denoised.reshape(len(X), -1))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(9,), (5, 7), (6, 5, 3)])
def test_latents_are_rows_that_decode_to_the_reconstruction(name, shape):
    X = np.random.default_rng(0).random((8, *shape))
    dae = DenoisingAutoencoder(name, 4, max_epochs=1, blend=None, random_state=0).fit(X)
    restored = dae.predict(X)
    latents = dae.set_params(output="latent").transform(X)
    assert latents.shape == (8, len(dae.get_feature_names_out()))
    np.testing.assert_allclose(dae.inverse_transform(latents), restored, rtol=1e-10)
    with pytest.raises(ValueError, match=rf"Z holds vectors of length {latents.shape[1] + 1}, the latent"):
        dae.inverse_transform(np.ones((2, latents.shape[1] + 1)))


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_the_name_of_a_network_for_images_is_refused_with_its_estimator(name):
    with pytest.raises(ValueError, match=r"is a network for ImageDenoiser.* takes 'dense', 'conv'"):
        DenoisingAutoencoder(name).fit(np.ones((4, 3)))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_learns(name):
    network = built(name, (1, 9, 9))
    network(torch.randn(4, 1, 9, 9)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_the_table_works_everywhere(name, activation):
    names = dict.fromkeys(("activation", "latent_activation", "output_activation"), activation)
    x = torch.randn(2, 1, 5, 6)
    assert built(name, (1, 5, 6), **names)(x).shape == x.shape


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("which", ["activation", "latent_activation", "output_activation"])
def test_an_unknown_activation_is_refused_with_the_known_ones(name, which):
    with pytest.raises(ValueError, match=rf"Unknown {which} 'rellu'. Did you mean 'relu'"):
        built(name, (1, 5, 6), **{which: "rellu"})


@pytest.mark.parametrize("name", NETWORKS)
def test_the_latent_activation_acts_on_the_code(name):
    x = torch.randn(50, 1, 8, 8)
    assert built(name, (1, 8, 8), latent_activation="relu").encoder(x).min() == 0
    assert built(name, (1, 8, 8)).encoder(x).min() < 0


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_come_from_the_generator_alone(name):
    state = torch.get_rng_state()
    one, same, other = (
        torch.nn.utils.parameters_to_vector(built(name, (2, 7, 6), seed=seed).parameters())
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", NETWORKS)
def test_signals_keep_their_strength_through_fresh_weights(name):
    """A network learns late if its outputs explode or vanish at the start."""
    network = built(name, (1, 32, 32), latent_dim=64, activation="relu")
    code = network.encoder(torch.randn(20, 1, 32, 32))
    spread = network.decoder(torch.randn_like(code)).std().item()
    assert 0.3 < code.std().item() < 5
    assert 0.03 < spread < 0.3  # the last layer starts at a tenth


@pytest.mark.parametrize("name", NETWORKS)
def test_samples_of_a_batch_do_not_influence_each_other(name):
    network = built(name, (1, 7, 9))
    x = torch.randn(5, 1, 7, 9)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_works_in_double_precision_and_survives_pickling(name):
    network = built(name, (1, 7, 9)).double()
    x = torch.randn(3, 1, 7, 9, dtype=torch.float64)
    assert isinstance(network, SeededModule)
    assert network(x).dtype == torch.float64
    assert torch.equal(pickle.loads(pickle.dumps(network))(x), network(x))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_a_fit_beats_the_noisy_input(name, digits):
    X = digits.train[:600].reshape(-1, 8, 8)
    network = NETWORKS[name]()
    dae = DenoisingAutoencoder(network, 32, noise=GaussianNoiser(0.5), max_epochs=15, random_state=0).fit(X)
    clean = digits.test.reshape(-1, 8, 8)
    noisy = digits.noisy_test(0.5).reshape(-1, 8, 8)
    before, after = (float(np.mean((x - clean) ** 2)) for x in (noisy, dae.predict(noisy)))
    assert 10 * math.log10(before / after) > 4


GRIDS = [name for name in NETWORKS if hasattr(NETWORKS[name], "rows_are_signals")]


@pytest.mark.parametrize("name", GRIDS)
def test_rows_without_an_image_shape_are_signals(name):
    X = np.random.default_rng(0).random((20, 31))
    dae = DenoisingAutoencoder(name, 4, max_epochs=1, random_state=0).fit(X)
    assert dae.image_shape_ is None
    convolutions = [m for m in dae.net_.module_.modules() if isinstance(m, torch.nn.Conv1d)]
    assert convolutions
    assert dae.predict(X).shape == X.shape
    assert dae.noiser_.scale == "absolute"  # all entries share one unit, and one noise
    assert dae.score(X) == pytest.approx(
        DenoisingAutoencoder("dense", 4, max_epochs=1, blend=None, random_state=0).fit(X).score(X), abs=6
    )


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"channels": ()}, "channels must hold integers of at least 1, at least one of them"),
        ({"channels": (8, 0)}, "channels must hold integers of at least 1"),
        ({"channels": (8.5,)}, "channels must hold integers of at least 1"),
        ({"channels": 8}, "The 'channels' parameter"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"kernel_size": 0}, "The 'kernel_size' parameter"),
        ({"kernel_size": "3"}, "The 'kernel_size' parameter"),
    ],
)
def test_impossible_sizes_are_refused_by_name(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        built(name, (1, 8, 8), **parameters)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("shape", [(8,), (1, 8, 8, 8), (1, 0, 8)])
def test_samples_that_are_no_grid_are_refused_with_their_shape(name, shape):
    with pytest.raises(ValueError, match=r"\(8,\)|\(1, 8, 8, 8\)|\(1, 0, 8\)"):
        built(name, shape)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_kernels_of_any_odd_size_work(name, kernel_size):
    x = torch.randn(2, 1, 9, 4)
    assert built(name, (1, 9, 4), kernel_size=kernel_size)(x).shape == x.shape


def test_the_sides_of_an_image_are_halved_by_every_convolution():
    conv = built("conv", (1, 28, 28), latent_dim=16, channels=(32, 64), hidden_layer_sizes=(40,))
    x, shapes = torch.randn(2, 1, 28, 28), []
    for layer in (*conv.encoder, *conv.decoder):
        x = layer(x)
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear | torch.nn.ConvTranspose2d):
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [(32, 14, 14), (64, 7, 7), (40,), (16,), (40,), (3136,), (32, 14, 14), (1, 28, 28)]


def test_a_pooling_network_has_as_many_weights_for_any_size():
    small, large = (
        sum(weight.numel() for weight in built("pooling", shape).parameters())
        for shape in ((1, 8, 8), (1, 33, 57))
    )
    assert small == large


def test_pooling_and_upsampling_meet_at_the_same_pixels():
    """Position i of a map is made of positions 2i and 2i + 1, at odd sizes too."""
    network = built("pooling", (1, 7), 1, channels=[1], kernel_size=1, activation="identity")
    for name, weight in network.named_parameters():
        torch.nn.init.constant_(weight, float("weight" in name))  # every convolution is the identity
    assert network(torch.arange(7.0)[None, None]).flatten().tolist() == [1, 1, 3, 3, 5, 5, 6]
