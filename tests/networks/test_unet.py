"""The U-Net: any depth and size, its receptive field, tiles that equal the whole image."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from sk_denoise import UNetNetwork

DEPTHS = [(6,), (4, 6), (4, 6, 8), (4, 4, 6, 8)]


def unet(channels, **parameters):
    return UNetNetwork(**parameters).build(channels, noise_map=False)


def images(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def count(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (2, 3), (5, 9), (37, 50), (64, 64)])
def test_images_of_any_size_keep_their_size(channels, widths, sides):
    x = images(2, channels, *sides)
    assert unet(channels, widths=widths)(x).shape == x.shape
    assert unet(channels, widths=widths, normalization="batch").eval()(x).shape == x.shape


def test_the_default_has_its_known_number_of_weights():
    assert count(unet(1)) == 465_953
    assert count(unet(3)) == 466_595


def size_of(channels, widths):
    """Return the number of weights and biases, added up by hand."""
    total, before = widths[0] * channels + channels, channels
    for width in widths:
        total += 9 * before * width + width + 9 * width * width + width
        before = width
    for wide, deep in pairwise(widths):
        total += 4 * deep * wide + wide  # the way up
        total += 9 * 2 * wide * wide + wide + 9 * wide * wide + wide
    return total


@pytest.mark.parametrize("widths", [(8,), (16, 24), (32, 64, 128), (8, 12, 16, 20, 24)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_number_of_weights_follows_from_the_widths(channels, widths):
    assert count(unet(channels, widths=widths)) == size_of(channels, widths)


def test_a_normalised_channel_has_scale_and_shift_in_place_of_a_bias():
    normalised = unet(1, widths=(8, 12, 16), normalization="batch")
    convolutions = 2 * (8 + 12 + 16 + 12 + 8)
    assert count(normalised) == size_of(1, (8, 12, 16)) + convolutions


@pytest.mark.parametrize(
    ("channels", "widths", "message"),
    [
        (1, (), r"widths must hold integers of at least 1, at least one of them, got \(\)"),
        (1, (8, 0), r"widths must hold integers .* got \(8, 0\)"),
        (0, (8,), "at least one channel, got channels=0"),
    ],
)
def test_impossible_sizes_are_refused_with_their_values(channels, widths, message):
    with pytest.raises(ValueError, match=message):
        unet(channels, widths=widths)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match=r"The 'normalization' parameter .* Got 'layer'"):
        unet(1, normalization="layer")


def test_it_starts_close_to_the_identity_if_it_predicts_the_noise():
    x, network, other = images(1, 1, 64, 64), unet(1), unet(1, residual=False)
    assert 0 < (network(x) - x).std() < 0.1 * x.std()
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(x - network(x), other(x), rtol=0, atol=1e-6)


def test_the_output_for_an_image_does_not_depend_on_the_others():
    network, x = unet(1, widths=(8, 12, 16)), images(3, 1, 24, 24)
    torch.testing.assert_close(network(x[:1]), network(x)[:1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("widths", "receptive_radius"), list(zip(DEPTHS, [2, 10, 24, 56], strict=True)))
def test_a_pixel_depends_on_the_receptive_field_and_no_more(widths, receptive_radius):
    network = unet(1, widths=widths)
    assert network.receptive_radius == receptive_radius
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()  # so that no gradients cancel
    side = 17 * network.stride
    farthest = 0
    for place in range(side // 2, side // 2 + network.stride):
        for seed in range(4):  # pooling passes the largest of four alone
            x = images(1, 1, side, side, seed=seed).requires_grad_()
            network(x)[0, 0, place, place].backward()
            farthest = max(farthest, (x.grad[0, 0].nonzero() - place).abs().max())
    assert receptive_radius - network.stride < farthest <= 7 * network.stride - 5 <= receptive_radius


@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("normalization", [None, "batch"])
@pytest.mark.parametrize("sides", [(152, 152), (149, 135)])
def test_tiles_with_a_halo_equal_the_whole_image(widths, normalization, sides):
    network, x = unet(1, widths=widths, normalization=normalization), images(1, 1, *sides)
    network(x)  # statistics that are not those of a fresh network
    network.eval()
    with torch.no_grad():
        whole, halo = network(x), network.receptive_radius
        middle = network(x[..., 64 - halo : 80 + halo, 56 - halo : 72 + halo])[..., halo:-halo, halo:-halo]
        corner = network(x[..., 80 - halo :, 72 - halo :])[..., halo:, halo:]
    torch.testing.assert_close(middle, whole[..., 64:80, 56:72], rtol=0, atol=1e-5)
    torch.testing.assert_close(corner, whole[..., 80:, 72:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("normalization", [None, "batch"])
def test_weights_come_from_the_generator_alone(normalization):
    state = torch.get_rng_state()
    networks = [unet(1, widths=(8, 8), normalization=normalization) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        network.reset_parameters(torch.Generator().manual_seed(seed))
    weights = [torch.cat([w.flatten() for w in network.parameters()]) for network in networks]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_every_layer_learns(widths, normalization):
    network = unet(3, widths=widths, normalization=normalization)
    network(images(2, 3, 16, 16)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_training_removes_noise(residual, normalization):
    network = unet(1, widths=(8, 16), normalization=normalization, residual=residual)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for step in range(100):
        clean, noisy = squares(8, seed=step)
        loss = (network(noisy) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
    clean, noisy = squares(8, seed=999)
    with torch.no_grad():
        restored = network.eval()(noisy)
    assert (restored - clean).square().mean() < 0.7 * (noisy - clean).square().mean()


def squares(n, seed):
    """Return images of flat squares, clean and noisy."""
    clean = images(n, 1, 3, 3, seed=seed).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return clean, clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
