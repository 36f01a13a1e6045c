"""RIDNet: the paper's size, its mean, and an attention to the whole image."""

from __future__ import annotations

import pytest
import torch

from sk_denoise import RIDNetNetwork


def ridnet(channels, **parameters):
    return RIDNetNetwork(**parameters).build(channels, noise_map=False)


def images(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def count(network):
    return sum(weight.numel() for weight in network.parameters())


def small(channels, **parameters):
    return ridnet(channels, **{"width": 8, "blocks": 2, "reduction": 2, **parameters})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (5, 9), (37, 50), (64, 64)])
def test_images_of_any_size_keep_their_size(channels, sides):
    x = images(2, channels, *sides)
    assert small(channels)(x).shape == x.shape


def test_the_network_has_the_size_of_the_paper():
    assert count(ridnet(3)) == 1_499_347
    assert count(ridnet(1)) == 1_497_041


@pytest.mark.parametrize(("width", "blocks", "reduction"), [(8, 1, 2), (12, 3, 4), (16, 2, 16)])
def test_the_number_of_weights_follows_from_its_parts(width, blocks, reduction):
    inside = width // reduction
    module = (
        (4 + 2 + 2) * (9 * width * width + width)  # the branches and the residual blocks
        + (9 * 2 * width * width + width)
        + (width * width + width)
        + (width * inside + inside + inside * width + width)
    )
    ends = (9 * 3 * width + width) + (9 * width * 3 + 3)
    assert count(ridnet(3, width=width, blocks=blocks, reduction=reduction)) == ends + blocks * module


def test_the_mean_is_a_constant():
    network = small(3)
    assert network.mean.flatten().tolist() == pytest.approx([0.4488, 0.4371, 0.4040])
    assert "mean" not in network.state_dict()
    assert small(1).mean.item() == pytest.approx((0.4488 + 0.4371 + 0.4040) / 3)


def test_the_mean_is_subtracted_from_its_input():
    network, x = small(1), images(1, 1, 9, 9)
    change = network(x) - x
    network.mean += 0.5
    torch.testing.assert_close(change, network(x + 0.5) - (x + 0.5), rtol=0, atol=1e-6)
    assert not torch.allclose(change, network(x) - x)


@pytest.mark.parametrize("name", ["width", "blocks", "reduction"])
def test_impossible_sizes_are_refused_with_their_values(name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter .* Got 0"):
        small(1, **{name: 0})


def test_images_without_channels_are_refused():
    with pytest.raises(ValueError, match="channels=0"):
        small(0)


def test_an_attention_that_does_not_divide_the_width_is_refused():
    with pytest.raises(ValueError, match="reduction must divide width=8, got 3"):
        small(1, reduction=3)


def test_it_starts_close_to_the_identity():
    x = images(1, 3, 48, 48)
    assert 0 < (ridnet(3)(x) - x).std() < x.std()


def test_the_output_for_an_image_does_not_depend_on_the_others():
    network, x = small(1), images(3, 1, 24, 24)
    torch.testing.assert_close(network(x[:1]), network(x)[:1], rtol=0, atol=1e-5)


def test_a_pixel_depends_on_the_whole_image():
    network = small(1, blocks=1)
    assert network.receptive_radius is None
    x = images(1, 1, 101, 101).double().requires_grad_()
    network.double()(x)[0, 0, 50, 50].backward()
    assert x.grad.all()


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    networks = [small(1) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        network.reset_parameters(torch.Generator().manual_seed(seed))
    weights = [torch.cat([w.flatten() for w in network.parameters()]) for network in networks]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_every_layer_learns():
    network = small(3)
    network(images(4, 3, 16, 16)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@pytest.mark.slow
def test_training_removes_noise():
    network = small(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        clean, noisy = squares(4, seed=step)
        loss = (network(noisy) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def squares(n, seed):
    """Return images of flat squares, clean and noisy."""
    clean = images(n, 1, 3, 3, seed=seed).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return clean, clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_modules_change_their_input_little_at_the_start():
    """Else the learning rate of other networks is too high for this one, and it learns far more slowly."""
    network, seen = ridnet(3), []
    for module in network.body:
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        module.attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images(2, 3, 32, 32))
    assert len(seen) == 8
    for before, after in zip(seen[::2], seen[1::2], strict=True):
        assert (after - before).norm() < 0.4 * before.norm()
