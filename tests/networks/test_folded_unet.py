"""The folded U-Net: any size, its noise map, tiles that equal the whole image."""

from __future__ import annotations

import pytest
import torch

from sk_denoise import FoldedUNetNetwork
from sk_denoise._resources import cost_of

TWO, THREE = {}, {"widths": (64, 96, 32), "blocks": (2, 3, 1)}
BY_LEVELS = pytest.mark.parametrize("sizes", [TWO, THREE], ids=["two levels", "three levels"])


def folded(channels, noise_map=False, **parameters):
    return FoldedUNetNetwork(**parameters).build(channels, noise_map)


def images(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def with_map(x, sigma):
    """Return images with the level of their noise as a last channel."""
    return torch.cat([x, torch.full_like(x[:, :1], sigma)], dim=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("widths", [(8, 12), (8, 12, 16)])
@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (2, 3), (4, 4), (5, 9), (37, 50), (64, 64)])
def test_images_of_any_size_keep_their_size(channels, widths, sides):
    network = folded(channels, widths=widths, blocks=(1,) * len(widths), noise_map=True)
    x = images(2, channels, *sides)
    assert network(with_map(x, 0.1)).shape == x.shape


def test_the_default_has_its_known_number_of_weights():
    gray, colour = folded(1, noise_map=True), folded(3, noise_map=True)
    assert sum(weight.numel() for weight in gray.parameters()) == 848_228
    assert sum(weight.numel() for weight in colour.parameters()) == 857_452


@BY_LEVELS
def test_it_starts_close_to_the_identity(sizes):
    x = images(1, 1, 64, 64)
    change = folded(1, noise_map=True, **sizes)(with_map(x, 0.1)) - x
    assert 0 < change.std() < 0.1 * x.std()


def test_the_noise_map_changes_the_output():
    network, x = folded(1, noise_map=True), images(2, 1, 37, 50)
    assert not torch.allclose(network(with_map(x, 0.1)), network(with_map(x, 0.2)))
    assert folded(1)(x).shape == x.shape


def test_the_noise_map_acts_place_by_place():
    network, x = folded(1, noise_map=True), images(1, 1, 256, 64)
    two = with_map(x, 0.1)
    two[:, 1, 128:] = 0.2
    output = network(two)
    torch.testing.assert_close(output[..., :80, :], network(with_map(x, 0.1))[..., :80, :], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        output[..., 176:, :], network(with_map(x, 0.2))[..., 176:, :], rtol=0, atol=1e-5
    )


def test_the_output_for_an_image_does_not_depend_on_the_others():
    network, x = folded(1, noise_map=True), images(3, 1, 24, 24)
    together = network(with_map(x, 0.1))
    torch.testing.assert_close(network(with_map(x[:1], 0.1)), together[:1], rtol=0, atol=1e-5)


@BY_LEVELS
def test_tiles_with_a_halo_equal_the_whole_image(sizes):
    network, x = folded(1, noise_map=True, **sizes), images(1, 1, 240, 240)
    generator, halo = torch.Generator().manual_seed(1), network.receptive_radius
    with torch.no_grad():
        for name, weight in network.named_parameters():  # branches start almost silent
            if name.endswith("second.weight") or name.startswith("bottom"):
                weight.normal_(0, 0.05, generator=generator)
        whole = network(with_map(x, 0.1))
        inner = slice(96, 144)
        outer = slice(96 - halo, 144 + halo)
        tile = network(with_map(x[..., outer, outer], 0.1))[..., halo:-halo, halo:-halo]
    torch.testing.assert_close(tile, whole[..., inner, inner], rtol=1e-5, atol=1e-5)


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    networks = [folded(1, widths=(8, 8), noise_map=True) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        network.reset_parameters(torch.Generator().manual_seed(seed))
    weights = [torch.cat([w.flatten() for w in network.parameters()]) for network in networks]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("widths", [(8, 12), (8, 12, 16)])
def test_every_layer_learns(widths):
    network = folded(1, widths=widths, blocks=(2, 3, 1)[: len(widths)], noise_map=True)
    network(with_map(images(2, 1, 16, 16), 0.1)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "receptive_radius", "stride"), [(TWO, 48, 4), (THREE, 72, 8)])
def test_a_pixel_depends_on_the_receptive_field_and_no_more(sizes, receptive_radius, stride):
    network = folded(1, noise_map=True, **sizes)
    assert (network.receptive_radius, network.stride) == (receptive_radius, stride)
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()  # so that no gradients cancel
    for place in range(96, 96 + stride, stride // 4):
        x = images(1, 1, 200, 200).requires_grad_()
        network(with_map(x, 0.1))[0, 0, place, place].backward()
        seen = x.grad[0, 0].nonzero()
        distance = (seen - place).abs().max()
        assert network.receptive_radius - 3 * stride < distance <= network.receptive_radius


def test_a_third_level_costs_little():
    two, three = (folded(3, True, **sizes) for sizes in (TWO, {**THREE, "widths": (64, 96, 128)}))
    costs = [cost_of(network, (4, 64, 64)).flops / (2 * 64 * 64) for network in (two, three)]
    assert costs == [111_504, 117_648]  # multiplications for each pixel
    assert set(two.state_dict()) < set(three.state_dict())


@pytest.mark.parametrize(
    ("widths", "blocks", "message"),
    [
        ((8,), (1,), "two or three widths"),
        ((8, 8), (1, 1, 1), "two or three widths"),
        ((8,) * 4, (1,) * 4, "two or three widths"),
        ((8, 8, 8), (1, 1, 0), "blocks must hold integers of at least 1"),
    ],
)
def test_other_numbers_of_levels_are_refused(widths, blocks, message):
    with pytest.raises(ValueError, match=message):
        folded(1, widths=widths, blocks=blocks)
