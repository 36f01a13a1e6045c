"""The receptive radius, computed from the layers of a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sk_denoise.networks._base import measure_receptive_radius

PLAIN = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2), nn.ReLU(), nn.Conv2d(1, 1, 3, padding=1))
DILATED = nn.Sequential(nn.Conv2d(1, 1, 3, padding=4, dilation=4), nn.Conv2d(1, 1, 1))
STRIDED = nn.Sequential(
    nn.Conv2d(1, 1, 2, stride=2),
    nn.Conv2d(1, 1, 3, padding=1),
    nn.ConvTranspose2d(1, 1, 2, stride=2),
    nn.Conv2d(1, 1, 3, padding=1),
)


@pytest.mark.parametrize(
    ("network", "stride", "radius"),
    [(PLAIN, 1, 3), (DILATED, 1, 4), (STRIDED, 2, 4)],
    ids=["plain", "dilated", "strided"],
)
def test_it_is_the_distance_to_the_farthest_pixel_with_a_gradient(network, stride, radius):
    assert measure_receptive_radius(network, 1, stride) == radius
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_().add_(0.1)  # so that no gradients cancel
    farthest = 0
    for place in range(16, 16 + stride):
        x = torch.ones(1, 1, 32, 32, requires_grad=True)
        network(x)[0, 0, place, place].backward()
        farthest = max(farthest, (x.grad[0, 0].nonzero() - place).abs().max().item())
    assert farthest == radius


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_of_the_network_and_its_hooks_stay(training):
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)).train(training)
    before = network[1].running_mean.clone()
    assert measure_receptive_radius(network, 1, 1) == 1
    assert network.training is network[1].training is training
    assert torch.equal(network[1].running_mean, before)
    assert not network[0]._forward_hooks
