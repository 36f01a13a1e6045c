from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch import nn

from sk_denoise import DenoisingAutoencoder, DenseNetwork
from sk_denoise.networks import ACTIVATIONS


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(input_shape=(6,), latent_dim=2, hidden_layer_sizes=(5, 4), seed=0, **activations):
    built = DenseNetwork(hidden_layer_sizes, **activations).build(input_shape, latent_dim)
    built.reset_parameters(generator(seed))
    return built


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(7))


def linear_layers(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("input_shape", [(6,), (1,), (1, 2, 3), (3, 4, 5)])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,), (5, 4, 3)])
def test_a_batch_goes_through_the_latent_vector_and_back_to_its_shape(input_shape, hidden_layer_sizes):
    dense = network(input_shape, 2, hidden_layer_sizes)
    x = batch(7, *input_shape)
    latents = dense.encoder(x)
    assert latents.shape == (7, 2)
    assert dense.decoder(latents).shape == x.shape
    assert torch.equal(dense(x), dense.decoder(dense.encoder(x)))


def test_the_decoder_mirrors_the_encoder():
    dense = network((784,), 100, (500, 300))
    widths = [(layer.in_features, layer.out_features) for layer in linear_layers(dense)]
    assert widths == [(784, 500), (500, 300), (300, 100), (100, 300), (300, 500), (500, 784)]


def test_the_number_of_weights_is_that_of_its_layers():
    count = sum(parameter.numel() for parameter in network((6,), 2, (5,)).parameters())
    assert count == (6 * 5 + 5) + (5 * 2 + 2) + (2 * 5 + 5) + (5 * 6 + 6)


def test_each_activation_is_at_its_place():
    dense = network(activation="gelu", latent_activation="tanh", output_activation="sigmoid")
    layers = [type(layer) for layer in (*dense.encoder, *dense.decoder)]
    activations = [kind for kind in layers if kind in (nn.GELU, nn.Tanh, nn.Sigmoid)]
    assert activations == [nn.GELU, nn.GELU, nn.Tanh, nn.GELU, nn.GELU, nn.Sigmoid]
    assert layers[-1] is nn.Sigmoid


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_the_table_works_everywhere(name):
    dense = network(activation=name, latent_activation=name, output_activation=name)
    x = batch(3, 6)
    output = dense(x)
    assert output.shape == x.shape
    output.square().sum().backward()
    assert all(parameter.grad is not None for parameter in dense.parameters())
    assert dense.activations(x).shape == (3, 5 + 4 + 2 + 4 + 5)


def test_a_sigmoid_output_lies_in_the_unit_interval():
    output = network(output_activation="sigmoid")(100 * batch(50, 6))
    assert output.min() >= 0
    assert output.max() <= 1


@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,), (5, 4)])
def test_activations_are_the_outputs_of_hidden_and_latent_layers_in_order(hidden_layer_sizes):
    dense = network((1, 2, 3), 2, hidden_layer_sizes, activation="relu", latent_activation="identity")
    x = batch(4, 1, 2, 3)
    expected, value = [], x.flatten(1)
    inner = ["relu"] * len(hidden_layer_sizes)
    for layer, name in zip(linear_layers(dense)[:-1], [*inner, "identity", *inner], strict=True):
        value = ACTIVATIONS[name]()(value @ layer.weight.T + layer.bias)
        expected.append(value)
    torch.testing.assert_close(dense.activations(x), torch.cat(expected, dim=1))
    latents = dense.activations(x)[:, sum(hidden_layer_sizes) :][:, :2]
    torch.testing.assert_close(latents, dense.encoder(x))


def test_weights_are_kaiming_uniform_the_last_a_tenth_of_it_and_biases_zero():
    dense = network((400,), 300, (500,))
    layers = linear_layers(dense)
    for layer in layers:
        bound = math.sqrt(6 / layer.in_features) * (0.1 if layer is layers[-1] else 1)
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert abs(layer.weight.mean()) < 0.01 * bound
        assert (layer.bias == 0).all()


def test_weights_come_from_the_generator_alone():
    one, same, other = (network() for _ in range(3))
    state = torch.get_rng_state()
    for dense, seed in ((one, 1), (same, 1), (other, 2)):
        dense.reset_parameters(generator(seed))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(linear_layers(one), linear_layers(same), linear_layers(other), strict=True):
        assert torch.equal(a.weight, b.weight)
        assert not torch.equal(a.weight, c.weight)


def test_a_network_starts_from_finite_weights_of_its_own():
    """Also without a call of reset_parameters: memory that happened to be free is no initialisation."""
    poison = [torch.full((100, 100), math.nan) for _ in range(50)]
    del poison
    dense = DenseNetwork((100,)).build((100,), 100)
    for layer in linear_layers(dense):
        assert layer.weight.isfinite().all()
        assert layer.weight.std() > 0.01


class OwnSpec(DenseNetwork):
    """A spec of a user, to change a default."""


class FixedSpec(DenseNetwork):
    """A spec of a user with a parameter of its own and without those of its base."""

    def __init__(self, width=5):
        super().__init__((width,), output_activation="identity")
        self.width = width


@pytest.mark.parametrize(
    "network",
    [
        DenseNetwork((5,)),
        OwnSpec((5,)),
        FixedSpec(),
        lambda input_shape, latent_dim: DenseNetwork((5,)).build(input_shape, latent_dim),
    ],
    ids=["spec", "subclass of the spec", "subclass with other parameters", "function"],
)
def test_the_random_state_of_an_estimator_decides_the_weights(network):
    def first_weights(random_state):
        barely = {"max_epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
        dae = DenoisingAutoencoder(network, latent_dim=2, random_state=random_state, **barely)
        return linear_layers(dae.fit(batch(20, 6).numpy()).encoder_)[0].weight.detach().clone()

    assert torch.equal(first_weights(0), first_weights(0))
    assert (first_weights(0) - first_weights(1)).abs().max() > 0.01


def test_weights_are_of_single_precision_with_any_default_type_of_torch():
    torch.set_default_dtype(torch.float64)
    try:
        dtypes = {parameter.dtype for parameter in network().parameters()}
    finally:
        torch.set_default_dtype(torch.float32)
    assert dtypes == {torch.float32}


def test_samples_of_a_batch_do_not_influence_each_other():
    dense = network()
    x = batch(5, 6)
    torch.testing.assert_close(dense(x)[2:3], dense(x[2:3]))


def test_a_network_works_in_double_precision_and_survives_pickling():
    dense = network().double()
    x = batch(5, 6).double()
    assert dense(x).dtype == torch.float64
    assert torch.equal(pickle.loads(pickle.dumps(dense))(x), dense(x))


def test_zeros_of_input_give_zeros_at_the_start():
    """Biases are zero, and the activations keep zero."""
    assert (network(activation="silu", latent_activation="identity")(torch.zeros(2, 6)) == 0).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"latent_dim": 0}, r"shape \(6,\) and latent_dim=0"),
        ({"latent_dim": -1}, r"shape \(6,\) and latent_dim=-1"),
        ({"input_shape": (0,)}, r"shape \(0,\) and latent_dim=2"),
        ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes must hold integers .* got \(5, 0\)"),
    ],
)
def test_layers_without_units_are_refused_with_the_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        network(**sizes)
