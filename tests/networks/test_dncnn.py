"""DnCNN: its size, its receptive field, the same output in training and evaluation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sk_denoise import DnCNNNetwork
from sk_denoise.networks.dncnn import SteadyBatchNorm


def dncnn(channels, **parameters):
    return DnCNNNetwork(**parameters).build(channels, noise_map=False)


def images(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def count(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (5, 9), (37, 50), (64, 64)])
@pytest.mark.parametrize("training", [False, True])
def test_images_of_any_size_keep_their_size(channels, sides, training):
    x = images(2, channels, *sides)
    assert dncnn(channels, depth=4, width=8).train(training)(x).shape == x.shape


def test_one_pixel_is_an_image():
    x = images(1, 1, 1, 1)
    assert dncnn(1, depth=4, width=8).eval()(x).shape == x.shape


def test_the_default_has_its_known_number_of_weights():
    assert count(dncnn(1)) == 556_096
    assert count(dncnn(3, depth=20)) == 669_376


@pytest.mark.parametrize(("channels", "depth", "width"), [(1, 2, 4), (2, 5, 8), (3, 9, 6)])
def test_the_number_of_weights_follows_from_depth_and_width(channels, depth, width):
    ends = 9 * channels * width + width + 9 * width * channels
    between = 9 * width * width + 2 * width
    assert count(dncnn(channels, depth=depth, width=width)) == ends + (depth - 2) * between


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1, 1, 8), "The 'depth' parameter .* Got 1"),
        ((1, 5, 0), "The 'width' parameter .* Got 0"),
        ((0, 5, 8), "at least one channel, got channels=0"),
    ],
)
def test_impossible_sizes_are_refused_with_their_values(sizes, message):
    channels, depth, width = sizes
    with pytest.raises(ValueError, match=message):
        dncnn(channels, depth=depth, width=width)


def test_it_starts_close_to_the_identity():
    x = images(1, 1, 64, 64)
    change = dncnn(1)(x) - x
    assert 0 < change.std() < x.std()


@pytest.mark.parametrize("depth", [2, 7, 17])
def test_a_pixel_depends_on_the_receptive_field_and_no_more(depth):
    network = dncnn(1, depth=depth, width=4).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()  # so that no gradients cancel
    x = images(1, 1, 51, 51).requires_grad_()
    network(x)[0, 0, 25, 25].backward()
    seen = x.grad[0, 0].nonzero()
    assert (seen - 25).abs().max() == network.receptive_radius == depth


@pytest.mark.parametrize("sides", [(64, 64), (71, 53)])
def test_tiles_with_a_halo_equal_the_whole_image(sides):
    network, x = dncnn(1, depth=9, width=8), images(1, 1, *sides)
    network(x)  # statistics that are not those of a fresh network
    network.eval()
    with torch.no_grad():
        whole, halo = network(x), network.receptive_radius
        middle = network(x[..., 20 - halo : 31 + halo, 20 - halo : 30 + halo])[..., halo:-halo, halo:-halo]
        corner = network(x[..., 33 - halo :, 40 - halo :])[..., halo:, halo:]
    torch.testing.assert_close(middle, whole[..., 20:31, 20:30], rtol=0, atol=1e-5)
    torch.testing.assert_close(corner, whole[..., 33:, 40:], rtol=0, atol=1e-5)


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    networks = [dncnn(1, depth=4, width=8) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        network.reset_parameters(torch.Generator().manual_seed(seed))
    weights = [torch.cat([w.flatten() for w in network.parameters()]) for network in networks]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_reset_restores_the_initial_state():
    network, fresh = dncnn(1, depth=4, width=8), dncnn(1, depth=4, width=8)
    learn(network, steps=3)
    assert not all(map(torch.equal, network.state_dict().values(), fresh.state_dict().values()))
    network.reset_parameters(torch.Generator().manual_seed(0))
    assert all(map(torch.equal, network.state_dict().values(), fresh.state_dict().values()))


def test_every_layer_learns():
    network = dncnn(3, depth=5, width=8)
    network(images(2, 3, 16, 16)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_training_removes_noise():
    network = dncnn(1, depth=5, width=8)
    losses = learn(network, steps=60)
    assert losses[-10:].mean() < 0.5 * losses[:3].mean()
    clean, noisy = squares(8, seed=99)
    with torch.no_grad():
        restored = network.eval()(noisy)
    assert (restored - clean).square().mean() < 0.7 * (noisy - clean).square().mean()


def test_running_statistics_are_the_average_of_the_batches():
    layer, batches = SteadyBatchNorm(3), images(5, 4, 3, 6, 7)
    for batch in batches:
        layer(batch)
    torch.testing.assert_close(layer.running_mean, batches.mean(dim=(0, 1, 3, 4)))
    variances = torch.stack([batch.var(dim=(0, 2, 3)) for batch in batches])
    torch.testing.assert_close(layer.running_var, variances.mean(0))


def test_running_statistics_forget_early_batches():
    layer, batch = SteadyBatchNorm(3), images(4, 3, 6, 7)
    for _ in range(30):
        layer(batch + 100)
    for _ in range(300):
        layer(batch)
    torch.testing.assert_close(layer.running_mean, batch.mean(dim=(0, 2, 3)), rtol=0, atol=1e-3)


def test_training_normalises_as_torch_does():
    x = 3 * images(4, 3, 6, 7) + 1
    torch.testing.assert_close(SteadyBatchNorm(3)(x), nn.BatchNorm2d(3, eps=1e-4)(x))


@pytest.mark.parametrize("training", [False, True])
def test_shrunken_filters_leave_the_output_as_it_is(training):
    network, (_, noisy) = dncnn(1, depth=6, width=8), squares(4, seed=5)
    learn(network, steps=10)
    shrunk = copy.deepcopy(network)
    shrink(shrunk, 1e-3)
    torch.testing.assert_close(shrunk.train(training)(noisy), network.train(training)(noisy))


@pytest.mark.slow
def test_evaluation_stays_close_to_training_while_filters_shrink():
    network = dncnn(1, depth=6, width=8)
    learn(network, steps=40)
    learn(network, steps=80, rate=3e-4, shrinking=0.98)  # to a fifth
    _, noisy = squares(8, seed=5)
    with torch.no_grad():
        evaluated = noisy - copy.deepcopy(network).eval()(noisy)
        trained = noisy - network(noisy)
    # with torch's convolutions and normalisation it is 0.12 to 0.19
    assert (evaluated - trained).square().mean() < 0.02 * trained.square().mean()


def squares(n, seed):
    """Return images of flat squares, clean and noisy."""
    clean = images(n, 1, 3, 3, seed=seed).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return clean, clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


def learn(network, steps, rate=3e-3, shrinking=1.0):
    """Train the network on squares, shrink its filters after each step, and return the losses."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    losses = []
    for step in range(steps):
        clean, noisy = squares(8, seed=step)
        loss = (network.train()(noisy) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shrink(network, shrinking)
        losses.append(loss.detach())
    return torch.stack(losses)


def shrink(network, factor):
    """Shorten all filters before a normalisation."""
    with torch.no_grad():
        for layer in network.body[2:-1]:
            if isinstance(layer, nn.Conv2d):
                layer.weight *= factor
