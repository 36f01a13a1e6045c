from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from sk_denoise import ConvNetwork, DenseNetwork
from sk_denoise._resources import cost_of
from sk_denoise.networks.folded_unet import FoldedUNet


def test_a_dense_network_costs_two_operations_for_each_weight():
    cost = cost_of(DenseNetwork((50,)).build((20,), 5), (20,))
    assert cost.flops == 2 * 2 * (20 * 50 + 50 * 5)
    assert cost.widest == 50


def test_a_convolution_costs_two_operations_for_each_weight_and_position():
    cost = cost_of(nn.Conv2d(3, 8, 3, padding=1), (3, 10, 12))
    assert cost.flops == 2 * 10 * 12 * 3 * 8 * 9
    assert cost.widest == 8 * 10 * 12


def test_the_input_may_be_what_is_widest():
    assert cost_of(nn.Linear(30, 2), (30,)).widest == 30


def test_what_happens_inside_of_a_users_module_counts():
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6, 6))

        def forward(self, x):
            return x @ self.weight

    assert cost_of(Product(), (6,)).flops == 2 * 36


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(64, 64), (33, 57), (1, 5), (200, 8)])
@pytest.mark.parametrize("noise_map", [False, True])
def test_a_network_that_knows_its_cost_counts_as_we_do(channels, sides, noise_map):
    network = FoldedUNet(channels, noise_map, widths=(16, 80))
    shape = (channels + noise_map, *sides)
    assert cost_of(network, shape) == cost_of(nn.Sequential(network), shape)


def test_a_module_of_the_user_that_computes_more_than_ours_is_watched():
    class Twice(FoldedUNet):
        def forward(self, x):
            return super().forward(torch.cat([super().forward(x), x[:, 1:]], dim=1))

    assert cost_of(Twice(1, True), (2, 8, 8)).flops == 2 * cost_of(FoldedUNet(1, True), (2, 8, 8)).flops


def test_layers_lie_on_the_processor_whatever_torch_is_set_to():
    with torch.device("meta"):
        assert FoldedUNet(1).tail.weight.device.type == "cpu"


@pytest.mark.slow
def test_networks_in_the_box_are_ready_without_what_torch_compiles_with():
    """Importing that takes two seconds."""
    program = (
        "import sys; import numpy as np; from sk_denoise.restoration import denoise_image; "
        "denoise_image(np.zeros((40, 40)) + np.eye(40)); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_counting_leaves_no_trace():
    module = ConvNetwork((4,)).build((1, 6, 6), 3)
    before = [weight.clone() for weight in module.parameters()]
    cost_of(module, (1, 6, 6))
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert all(weight.grad is None for weight in module.parameters())
    assert not any(part._forward_hooks for part in module.modules())
