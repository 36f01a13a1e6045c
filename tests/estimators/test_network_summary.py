"""Summaries of networks, which leave their estimators unchanged."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.random import RandomState
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

from sk_denoise import (
    ConvNetwork,
    DenoisingAutoencoder,
    DenseNetwork,
    DnCNNNetwork,
    FoldedUNetNetwork,
    ImageDenoiser,
    RIDNetNetwork,
    UNetNetwork,
)
from sk_denoise.estimators import IMAGE_NETWORKS, NETWORKS

SMALL = FoldedUNetNetwork((8, 12), blocks=(1, 1))
IMAGES = np.random.default_rng(0).random((6, 16, 24)).astype(np.float32)


def totals(rows):
    return (
        sum(row.n_parameters for row in rows),
        sum(row.n_trainable for row in rows),
        sum(row.macs for row in rows),
    )


def test_the_summary_of_a_dense_network_has_its_layers():
    summary = DenoisingAutoencoder(DenseNetwork((50,), activation="relu"), latent_dim=5).summary((20,))
    linear = [row for row in summary.layers if row.kind == "Linear"]
    assert [row.name for row in linear] == ["encoder.1", "encoder.3", "decoder.0", "decoder.2"]
    assert [row.output_shape for row in linear] == [(50,), (5,), (50,), (20,)]
    assert [row.n_parameters for row in linear] == [21 * 50, 51 * 5, 6 * 50, 51 * 20]
    assert [row.macs for row in linear] == [20 * 50, 50 * 5, 5 * 50, 50 * 20]
    assert summary.n_bytes == 4 * summary.n_parameters
    assert (summary.macs_per_pixel, summary.receptive_radius, summary.stride) == (None, None, None)


SMALL_NETWORKS = {
    **{name: kind() for name, kind in IMAGE_NETWORKS.items()},
    "folded_unet": SMALL,
    "unet": UNetNetwork((8, 16), normalization="batch"),
    "dncnn": DnCNNNetwork(3, width=8),
    "ridnet": RIDNetNetwork(16, blocks=1, reduction=4),
}
NETWORKS_AND_SHAPES = [
    *((DenoisingAutoencoder(name), shape) for name in NETWORKS for shape in [(36,), (8, 12), (8, 12, 3)]),
    *((ImageDenoiser(spec), (32, 48)) for spec in SMALL_NETWORKS.values()),
    *((ImageDenoiser(spec, sigma="map"), (32, 48, 3)) for spec in SMALL_NETWORKS.values()),
    (ImageDenoiser(SMALL_NETWORKS["dncnn"]), (90,)),
    (ImageDenoiser(SMALL, loss="bce"), (32, 48)),
]


@pytest.mark.parametrize(("estimator", "shape"), NETWORKS_AND_SHAPES, ids=repr)
def test_rows_of_any_depth_add_up_to_the_network(estimator, shape):
    whole = estimator.summary(shape)
    for depth in (None, 0, 1, 2, 9):
        summary = estimator.summary(shape, depth=depth)
        assert totals(summary.layers) == (whole.n_parameters, whole.n_trainable, whole.macs)
        assert max(map(len, repr(summary).splitlines())) <= 100
    assert len(estimator.summary(shape, depth=0).layers) == 1


def test_the_summary_is_the_same_before_and_after_a_fit():
    dae = DenoisingAutoencoder(ConvNetwork((4,)), latent_dim=3, max_epochs=1)
    assert dae.summary((16, 24)) == dae.fit(IMAGES).summary() == dae.summary((16, 24))
    assert dae.summary().n_parameters == sum(weight.numel() for weight in dae.net_.module_.parameters())
    denoiser = ImageDenoiser(SMALL, sigma="map", patch_size=16, max_epochs=1)
    assert denoiser.summary((16, 16)) == denoiser.fit(IMAGES).summary()
    assert denoiser.summary((40, 56)) == clone(denoiser).summary((40, 56))


def test_the_cost_of_a_pixel_does_not_depend_on_the_size():
    denoiser = ImageDenoiser(SMALL, sigma="map")
    small, large = denoiser.summary((64, 64)), denoiser.summary((20_000, 30_000))
    assert small.macs_per_pixel == large.macs_per_pixel
    assert large.layers[-1].output_shape == (4, 10_000, 15_000)
    assert (large.receptive_radius, large.stride) == (24, 4)
    assert f"{large.macs_per_pixel:,.0f} for each pixel" in repr(large)
    assert "receptive radius: 24 pixels" in repr(large)


def test_attention_has_the_receptive_radius_all():
    summary = ImageDenoiser(SMALL_NETWORKS["ridnet"]).summary((32, 32))
    assert summary.receptive_radius == "all"
    assert "receptive radius: the whole image" in repr(summary)


def test_flat_rows_and_images_have_the_same_summary():
    flat = ImageDenoiser(SMALL, image_shape=(16, 24)).summary((384,))
    assert flat.layers == ImageDenoiser(SMALL).summary((16, 24)).layers
    flat = DenoisingAutoencoder("conv", image_shape=(16, 24)).summary((384,))
    assert flat.layers == DenoisingAutoencoder("conv").summary((16, 24)).layers


# No side effects ---------------------------------------------------------------------------------------


class DependsOnValues(nn.Module):
    """A network that depends on a value of its input, with normalization and dropout."""

    def __init__(self, shape, latent_dim):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(*shape, latent_dim),
            nn.BatchNorm1d(latent_dim),
            nn.Dropout(0.5),
            nn.Linear(latent_dim, *shape),
        )

    def forward(self, x):
        return self.layers(x) + torch.rand(1) if x.max() > 1e9 else self.layers(x)


class DependsOnShapes(DependsOnValues):
    def forward(self, x):
        return self.layers(x) + 0 * torch.rand(1)


@pytest.mark.parametrize("network", [DependsOnValues, DependsOnShapes])
def test_a_summary_leaves_the_estimator_unchanged(network):
    X = np.random.default_rng(0).random((40, 6))
    dae = DenoisingAutoencoder(network, latent_dim=4, max_epochs=1, random_state=0).fit(X)
    module = dae.net_.module_
    module.layers.train()
    module.layers[2].eval()
    loss = module(torch.rand(5, 6)).sum()
    loss.backward()

    def state():
        return [
            [part.training for part in module.modules()],
            [tensor.clone() for tensor in (*module.state_dict().values(), torch.get_rng_state())],
            [weight.grad.clone() for weight in module.parameters()],
            [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()],
        ]

    before, attributes = state(), set(vars(dae))
    summary = dae.summary()
    assert summary.macs == 2 * 4 * 6
    assert [row.kind for row in summary.layers] == ["Linear", "BatchNorm1d", "Dropout", "Linear"]
    torch.testing.assert_close(state(), before, rtol=0, atol=0)
    assert set(vars(dae)) == attributes


def test_a_summary_neither_fits_the_estimator_nor_draws_numbers():
    random_state, noise = RandomState(3), torch.get_rng_state()
    for estimator in (DenoisingAutoencoder("conv"), ImageDenoiser(SMALL)):
        estimator.set_params(random_state=random_state)
        attributes = dict(vars(estimator))
        estimator.summary((16, 24))
        assert vars(estimator) == attributes
    assert random_state.randint(2**31) == RandomState(3).randint(2**31)
    assert torch.equal(torch.get_rng_state(), noise)


# Networks of users -------------------------------------------------------------------------------------


class Unusual(nn.Module):
    """A network with a shared layer and weight, a tuple, a list, and bare parameters."""

    def __init__(self, shape, latent_dim):
        super().__init__()
        self.shared = nn.Linear(*shape, *shape)
        self.tied = nn.Linear(*shape, *shape, bias=False)
        self.tied.weight = self.shared.weight
        self.memory = nn.LSTM(*shape, latent_dim, batch_first=True)
        self.items = nn.ModuleList([nn.Linear(latent_dim, latent_dim) for _ in range(2)])
        self.never = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.weight = nn.Parameter(torch.zeros(latent_dim, *shape))
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)

    def forward(self, x):
        states, _ = self.memory(self.tied(self.shared(self.shared(x)))[:, None])
        for item in self.items:
            states = item(states)
        return (states @ self.weight)[:, 0]


def test_the_summary_of_a_user_network_counts_calls():
    summary = DenoisingAutoencoder(Unusual, latent_dim=4).summary((6,))
    rows = {row.name: row for row in summary.layers}
    assert list(rows) == ["", "shared", "tied", "memory", "items.0", "items.1", "never"]
    assert (rows["shared"].n_calls, rows["shared"].n_parameters, rows["shared"].macs) == (2, 42, 72)
    assert (rows["tied"].n_calls, rows["tied"].n_parameters, rows["tied"].macs) == (1, 0, 36)
    assert rows["memory"].output_shape == (1, 4)
    assert rows["memory"].macs == 4 * 4 * (6 + 4)
    assert (rows[""].n_parameters, rows[""].n_trainable, rows[""].macs) == (24 + 7, 24, 24)
    assert (rows["never"].n_calls, rows["never"].output_shape, rows["never"].n_parameters) == (0, None, 12)
    assert summary.n_trainable == summary.n_parameters - 7
    text = repr(summary)
    assert "(network)" in text
    assert "not called" in text
    assert text.splitlines()[2].split() == ["layer", "kind", "output", "parameters", "MACs", "calls"]
    assert f"parameters: {summary.n_parameters}, {summary.n_trainable} trainable" in text


def test_lists_of_modules_do_not_count_as_a_level():
    rows = DenoisingAutoencoder(Unusual, latent_dim=4).summary((6,), depth=1).layers
    assert [row.name for row in rows if row.name.startswith("items")] == ["items.0", "items.1"]


def test_fused_attention_is_counted():
    class Attentive(nn.Module):
        def __init__(self, shape, latent_dim):
            super().__init__()
            self.attention = nn.MultiheadAttention(shape[-1], 2, batch_first=True)

        def forward(self, x):
            return self.attention(x[:, None], x[:, None], x[:, None])[0][:, 0]

    (row,) = DenoisingAutoencoder(Attentive).summary((8,)).layers
    assert (row.kind, row.output_shape) == ("MultiheadAttention", (1, 8))
    assert row.macs == 4 * 8 * 8 + 2 * 8  # four projections; scores and mean of one position
    assert row.n_parameters == 4 * (8 * 8 + 8)


def test_modules_may_return_dictionaries_or_nothing():
    class Split(nn.Module):
        def forward(self, x):
            return {"kept": x, "sum": x.sum()}

    class Silent(nn.Module):
        def forward(self, x):
            return None

    class Parts(nn.Module):
        def __init__(self, shape, latent_dim):
            super().__init__()
            self.split, self.silent, self.last = Split(), Silent(), nn.Linear(*shape, *shape)

        def forward(self, x):
            self.silent(x)
            return self.last(self.split(x)["kept"])

    split, silent, _ = DenoisingAutoencoder(Parts).summary((6,)).layers
    assert split.output_shape == (6,)
    assert (silent.output_shape, silent.n_calls) == (None, 1)


def test_a_deep_network_is_shown_as_blocks():
    class Nest(nn.Module):
        def __init__(self, depth):
            super().__init__()
            names = [f"a_rather_long_name_of_part_{number}" for number in range(3)]
            self.parts = [Nest(depth - 1) if depth else nn.Linear(6, 6) for _ in names]
            for name, part in zip(names, self.parts, strict=True):
                self.add_module(name, part)

        def forward(self, x):
            for part in self.parts:
                x = part(x)
            return x

    dae = DenoisingAutoencoder(lambda input_shape, latent_dim: Nest(3))
    summary = dae.summary((6,))  # 81 layers
    assert len(summary.layers) == 27
    assert {row.n_parameters for row in summary.layers} == {3 * 42}
    assert max(map(len, repr(summary).splitlines())) <= 100
    assert "…" in repr(summary)
    assert "…" not in summary._repr_html_()
    assert len(dae.summary((6,), depth=4).layers) == 81
    many = nn.Sequential(*[nn.Linear(6, 6) for _ in range(65)])  # without blocks
    assert len(dae.set_params(network=lambda input_shape, latent_dim: many).summary((6,)).layers) == 65


# Refusals, and other output ----------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [DenoisingAutoencoder(), ImageDenoiser()], ids=repr)
def test_a_shape_is_required_before_fit(estimator):
    with pytest.raises(NotFittedError, match=r"summary\(input_shape="):
        estimator.summary()


@pytest.mark.parametrize("shape", [784, (), (8, 0), (8, 8.0), "8", (1, 2, 3, 4), np.zeros((3, 4))])
@pytest.mark.parametrize("estimator", [DenoisingAutoencoder(), ImageDenoiser()], ids=repr)
def test_invalid_shapes_are_refused(estimator, shape):
    with pytest.raises(ValueError, match="input_shape must be the shape of one sample"):
        estimator.summary(shape)


@pytest.mark.parametrize("depth", [-1, 1.5, "all"])
def test_invalid_depths_are_refused(depth):
    with pytest.raises(ValueError, match="depth must be a number of levels"):
        DenoisingAutoencoder().summary((6,), depth=depth)


def test_a_fitted_network_refuses_other_samples():
    dae = DenoisingAutoencoder(max_epochs=1).fit(IMAGES)
    with pytest.raises(ValueError, match=r"fitted to samples of shape \(16, 24\)"):
        dae.summary((24, 16))
    denoiser = ImageDenoiser(SMALL, patch_size=16, max_epochs=1).fit(IMAGES)
    with pytest.raises(ValueError, match="fitted to images with 1 channels"):
        denoiser.summary((16, 16, 3))
    assert denoiser.summary((16, 16, 1)).n_parameters == denoiser.summary().n_parameters


def test_parameters_are_checked_as_in_fit():
    with pytest.raises(ValueError, match="Did you mean 'conv'"):
        DenoisingAutoencoder("convv").summary((6,))
    with pytest.raises(ValueError, match="patch_size"):
        ImageDenoiser(patch_size=0).summary((16, 16))


def test_a_summary_converts_to_a_frame_and_can_be_pickled(monkeypatch):
    summary = DenoisingAutoencoder(DenseNetwork((8,)), latent_dim=2).summary((6,))
    frame = summary.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame["macs"].sum() == summary.macs
    assert frame.columns.to_list()[:3] == ["name", "kind", "output_shape"]
    assert pickle.loads(pickle.dumps(summary)) == summary
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"\[compare\]"):
        summary.to_frame()
