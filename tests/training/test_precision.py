from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser
from sk_denoise.estimators import NETWORKS
from sk_denoise.training import LOSSES, has_bfloat16_units, resolve_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LARGE, SMALL = 1e10, 1e8  # operations of a step


@pytest.fixture
def units(monkeypatch):
    """Return a function that sets the units for bfloat16 of the processor, and its name."""

    def set_units(*there, name=""):
        for unit in ("amx_tile", "avx512_bf16"):
            found = unit in there
            monkeypatch.setattr(torch.cpu, f"_is_{unit}_supported", lambda found=found: found, raising=False)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)

    return set_units


class SinglePrecisionOnly(nn.Module):
    """A module of a user that refuses half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return torch.zeros_like(x).index_add_(0, torch.arange(len(x)), self.layer(x))


@pytest.mark.parametrize(
    ("there", "device", "step", "expected"),
    [
        (True, CPU, LARGE, "bfloat16"),
        (False, CPU, LARGE, "float32"),
        (True, CPU, SMALL, "float32"),
        (True, GPU, LARGE, "float32"),
    ],
)
def test_auto_takes_bfloat16_if_it_is_faster(units, there, device, step, expected):
    units(*["amx_tile"] * there)
    assert resolve_precision("auto", nn.Linear(4, 4), (4,), device, step) == expected


def test_auto_takes_float32_for_a_module_that_fails_in_bfloat16(units):
    units("amx_tile")
    assert resolve_precision("auto", SinglePrecisionOnly(), (4,), CPU, LARGE) == "float32"


def test_bfloat16_is_refused_for_a_module_that_fails_in_it():
    with pytest.raises(ValueError, match='Use precision="auto" or "float32"'):
        resolve_precision("bfloat16", SinglePrecisionOnly(), (4,), CPU, SMALL)


# Torch leaves gradients, or outputs, of the first group unwritten in bfloat16 on the CPU.
@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(32, 64, 3, stride=2, padding=1), (32, 64, 1), "float32"),
        (nn.Conv2d(32, 64, 3, stride=2, padding=1), (32, 64, 2), "float32"),
        (nn.Conv2d(32, 64, (1, 5), stride=(1, 2), padding=(0, 2)), (32, 1, 1), "float32"),
        (nn.Conv2d(1, 32, (1, 2), stride=(1, 2)), (1, 32, 2), "float32"),
        (nn.Conv1d(32, 64, 3, stride=2, padding=1), (32, 1), "float32"),
        (nn.ConvTranspose2d(32, 2, 3, stride=2, padding=1, output_padding=(1, 0)), (32, 32, 1), "float32"),
        (nn.ConvTranspose1d(32, 2, 3, stride=2, padding=1), (32, 1), "float32"),
        (nn.Conv2d(32, 64, 3, stride=2, padding=1), (32, 1, 64), "bfloat16"),
        (nn.Conv2d(32, 64, 3, stride=2, padding=1), (32, 64, 3), "bfloat16"),
        (nn.Conv2d(32, 64, 3, padding="same"), (32, 64, 1), "bfloat16"),
        (nn.Conv2d(32, 64, 2, stride=2), (32, 2, 2), "bfloat16"),
        (nn.ConvTranspose2d(64, 32, 2, stride=2), (64, 1, 1), "bfloat16"),
    ],
)
def test_strided_convolutions_to_one_column_train_in_float32(units, layer, shape, expected):
    units("amx_tile")
    assert resolve_precision("auto", nn.Sequential(layer), shape, CPU, LARGE) == expected
    if expected == "float32":
        with pytest.raises(ValueError, match="width of one entry on the CPU"):
            resolve_precision("bfloat16", nn.Sequential(layer), shape, CPU, LARGE)


@pytest.mark.parametrize("shape", [(64, 1, 2), (64, 2), (128, 1)])
def test_narrow_images_train_to_the_same_finite_weights_every_time(units, shape):
    units("amx_tile")
    X = np.sin(np.arange(128) / 6 + np.random.default_rng(0).uniform(0, 6, (60, 1))).reshape(60, *shape)
    outputs = []
    for _ in range(3):
        dae = DenoisingAutoencoder("conv", noise=0.1, max_epochs=1, random_state=0).fit(X)
        outputs.append(dae.predict(X))
        assert dae.precision_ == "float32"
    assert np.isfinite(outputs).all()
    assert (outputs[0] == outputs).all()


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_by_name_is_taken(units, there, precision):
    units(*["amx_tile"] * there)
    for step in (SMALL, LARGE):
        assert resolve_precision(precision, nn.Linear(4, 4), (4,), CPU, step) == precision


@pytest.mark.parametrize(
    ("there", "name", "expected"),
    [
        (["amx_tile", "avx512_bf16"], "Intel Xeon", True),
        (["avx512_bf16"], "Intel Xeon", False),
        (["avx512_bf16"], "AMD EPYC", True),
        ([], "AMD EPYC", False),
    ],
)
def test_units_count_where_they_are_faster(units, there, name, expected):
    units(*there, name=name)
    assert has_bfloat16_units(CPU) is expected


def test_the_units_of_the_processor_are_detected():
    assert isinstance(has_bfloat16_units(CPU), bool)


def types_seen_in_training(n_samples=64, **settings):
    """Fit, and return the types of the output of the first layer in training."""
    seen = set()

    class Watched(DenseNetwork):
        def build(self, input_shape, latent_dim):
            network = super().build(input_shape, latent_dim)
            network.encoder[1].register_forward_hook(
                lambda layer, x, y: seen.add(y.dtype) if layer.training else None
            )
            return network

    X = np.random.default_rng(0).random((n_samples, 100)).astype(np.float32)
    DenoisingAutoencoder(Watched((500,)), max_epochs=1, batch_size=n_samples, random_state=0, **settings).fit(
        X
    )
    return seen


@pytest.mark.slow
def test_layers_compute_in_the_given_precision(units):
    assert types_seen_in_training(precision="bfloat16") == {torch.bfloat16}
    assert types_seen_in_training(precision="float32") == {torch.float32}
    units("amx_tile")
    assert types_seen_in_training(precision="auto") == {torch.float32}  # small steps


@pytest.mark.slow
def test_auto_trains_large_steps_in_bfloat16(units):
    units("amx_tile")
    assert types_seen_in_training(n_samples=1000) == {torch.bfloat16}
    units()
    assert types_seen_in_training(n_samples=1000) == {torch.float32}


@pytest.mark.slow
def test_bfloat16_learns_as_well_as_float32(digits):
    reached = {}
    for precision in ("float32", "bfloat16"):
        dae = DenoisingAutoencoder(
            noise=GaussianNoiser(0.25), max_epochs=30, precision=precision, random_state=0
        ).fit(digits.train)
        reached[precision] = digits.decibels(dae.predict(digits.noisy_test(0.25)))
    assert reached["float32"] > 17
    assert abs(reached["bfloat16"] - reached["float32"]) < 0.15


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_and_outputs_stay_in_single_precision(name, loss, digits):
    X = digits.train[:200].reshape(-1, 8, 8)
    dae = DenoisingAutoencoder(
        name, 8, loss=loss, noise=GaussianNoiser(0.5), max_epochs=2, precision="bfloat16", random_state=0
    ).fit(X)
    assert {weight.dtype for weight in dae.net_.module_.parameters()} == {torch.float32}
    assert np.isfinite(dae.loss_curve_).all()
    assert dae.loss_curve_[-1] < dae.loss_curve_[0]
    assert dae.predict(X).dtype == np.float64
    single = dae.predict(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, dae.predict(X), atol=1e-4)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="'precision' parameter"):
        DenoisingAutoencoder(precision="float16").fit(np.random.default_rng(0).random((5, 3)))
