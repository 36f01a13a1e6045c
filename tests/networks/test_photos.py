"""What is true of the networks for photos: any size, nothing lost, noise level minded, tiles that agree."""

from __future__ import annotations

import pytest
import torch

from sk_denoise.networks.folded_unet import FoldedUNet

HALO = FoldedUNet(1, noise_map=True).reach


def pictures(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def told(x, sigma):
    """Return pictures with the level of their noise as a last channel."""
    return torch.cat([x, torch.full_like(x[:, :1], sigma)], dim=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (2, 3), (4, 4), (5, 9), (37, 50), (64, 64)])
def test_pictures_of_any_size_keep_it(channels, sides):
    network = FoldedUNet(channels, widths=(8, 12), blocks=(1, 1), noise_map=True)
    x = pictures(2, channels, *sides)
    assert network(told(x, 0.1)).shape == x.shape


def test_the_network_has_the_size_it_is_known_for():
    gray, colour = FoldedUNet(1, noise_map=True), FoldedUNet(3, noise_map=True)
    assert sum(weight.numel() for weight in gray.parameters()) == 848_228
    assert sum(weight.numel() for weight in colour.parameters()) == 857_452


def test_it_starts_close_to_the_identity():
    x = pictures(1, 1, 64, 64)
    change = FoldedUNet(1, noise_map=True)(told(x, 0.1)) - x
    assert 0 < change.std() < 0.1 * x.std()


def test_the_level_matters_where_it_is_told():
    network, x = FoldedUNet(1, noise_map=True), pictures(2, 1, 37, 50)
    assert not torch.allclose(network(told(x, 0.1)), network(told(x, 0.2)))
    assert FoldedUNet(1)(x).shape == x.shape


def test_a_level_is_told_place_by_place():
    network, x = FoldedUNet(1, noise_map=True), pictures(1, 1, 256, 64)
    two = told(x, 0.1)
    two[:, 1, 128:] = 0.2
    answer = network(two)
    torch.testing.assert_close(answer[..., :80, :], network(told(x, 0.1))[..., :80, :], rtol=0, atol=1e-5)
    torch.testing.assert_close(answer[..., 176:, :], network(told(x, 0.2))[..., 176:, :], rtol=0, atol=1e-5)


def test_a_picture_is_answered_whatever_stands_beside_it():
    network, x = FoldedUNet(1, noise_map=True), pictures(3, 1, 24, 24)
    together = network(told(x, 0.1))
    torch.testing.assert_close(network(told(x[:1], 0.1)), together[:1], rtol=0, atol=1e-5)


def test_tiles_with_a_halo_give_what_the_whole_gives():
    network, x = FoldedUNet(1, noise_map=True), pictures(1, 1, 192, 192)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for block in (*network.before, *network.inside, *network.after):  # they start almost silent
            block.second.weight.normal_(0, 0.05, generator=generator)
        whole = network(told(x, 0.1))
        inner = slice(72, 120)
        outer = slice(72 - HALO, 120 + HALO)
        tile = network(told(x[..., outer, outer], 0.1))[..., HALO:-HALO, HALO:-HALO]
    torch.testing.assert_close(tile, whole[..., inner, inner], rtol=1e-5, atol=1e-5)


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    networks = [FoldedUNet(1, widths=(8, 8), noise_map=True) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        network.reset_parameters(torch.Generator().manual_seed(seed))
    weights = [torch.cat([w.flatten() for w in network.parameters()]) for network in networks]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_every_layer_learns():
    network = FoldedUNet(1, widths=(8, 12), noise_map=True)
    network(told(pictures(2, 1, 16, 16), 0.1)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_a_pixel_sees_as_far_as_the_reach_and_no_farther():
    network = FoldedUNet(1, noise_map=True)
    assert network.reach == 48
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()  # so that nothing that is seen cancels
    for place in (96, 97, 98, 99):
        x = pictures(1, 1, 200, 200).requires_grad_()
        network(told(x, 0.1))[0, 0, place, place].backward()
        seen = x.grad[0, 0].nonzero()
        distance = (seen - place).abs().max()
        assert network.reach - 12 < distance <= network.reach
