from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from sk_denoise.training import Units, build_criterion

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
BOTH = ["ssim", "ms_ssim"]


def loss(name, output, target, units=None):
    return build_criterion(name, units or Units())(torch.as_tensor(output), torch.as_tensor(target))


def images(
    n: int, channels: int, height: int, width: int, noise: float = 0.2
) -> tuple[np.ndarray, np.ndarray]:
    """Return smooth images in [0, 1], noisy and clean."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    phases = rng.uniform(0, 6, (2, n, channels, 1, 1))
    clean = 0.5 + 0.25 * (np.sin(rows / 5 + phases[0]) + np.sin(columns / 9 + phases[1]))
    return np.clip(clean + noise * rng.standard_normal(clean.shape), 0, 1), clean


def slow_similarity(p: np.ndarray, t: np.ndarray) -> tuple[float, float]:
    """Return similarity of two planes, and that of contrast and structure alone, window by window."""
    side = min(11, *p.shape)
    side -= 1 - side % 2
    distances = np.arange(side) - side // 2
    window = np.exp(-(distances[:, None] ** 2 + distances**2) / (2 * 1.5**2))
    window /= window.sum()
    wholes, contrasts = [], []
    for i in range(p.shape[0] - side + 1):
        for j in range(p.shape[1] - side + 1):
            a, b = (x[i : i + side, j : j + side] for x in (p, t))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            a, b = a - mean_a, b - mean_b
            top, bottom = 2 * (window * a * b).sum(), (window * (a * a + b * b)).sum()
            contrasts.append((top + 0.03**2) / (bottom + 0.03**2))
            brightness = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
            wholes.append(brightness * contrasts[-1])
    return float(np.mean(wholes)), float(np.mean(contrasts))


def halved(x: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in x.shape)
    return x[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def slow_multi_scale(p: np.ndarray, t: np.ndarray, n_scales: int) -> float:
    weights = np.array(WEIGHTS[:n_scales]) / sum(WEIGHTS[:n_scales])
    product = 1.0
    for scale, weight in enumerate(weights):
        whole, contrast = slow_similarity(p, t)
        product *= (whole if scale == n_scales - 1 else contrast) ** weight
        p, t = halved(p), halved(t)
    return product


@pytest.mark.parametrize("shape", [(2, 1, 11, 11), (3, 1, 28, 28), (2, 3, 17, 40), (1, 4, 33, 12)])
def test_similarity_is_that_of_skimage(shape):
    noisy, clean = images(*shape)
    expected = np.mean(
        [
            structural_similarity(
                t,
                p,
                channel_axis=0,
                data_range=1,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for t, p in zip(clean, noisy, strict=True)
        ]
    )
    assert loss("ssim", noisy, clean).item() == pytest.approx(1 - expected, abs=1e-10)
    single = loss("ssim", noisy.astype(np.float32), clean.astype(np.float32))
    assert single.item() == pytest.approx(1 - expected, abs=1e-5)


@pytest.mark.parametrize("sides", [(10, 10), (8, 8), (8, 20), (5, 3), (2, 9), (1, 1)])
@pytest.mark.parametrize("name", BOTH)
def test_the_window_of_small_images_is_cut_to_their_size(sides, name):
    noisy, clean = images(1, 1, *sides)
    expected = slow_similarity(noisy[0, 0], clean[0, 0])[0]
    assert loss(name, noisy, clean).item() == pytest.approx(1 - expected, abs=1e-10)


@pytest.mark.parametrize(
    ("sides", "n_scales"),
    [
        ((176, 176), 5),
        ((175, 60), 3),
        ((88, 93), 4),
        ((45, 44), 3),
        ((43, 61), 2),
        ((23, 22), 2),
        ((21, 60), 1),
    ],
)
def test_multi_scale_similarity_is_that_of_the_formulas_at_as_many_scales_as_fit(sides, n_scales):
    noisy, clean = images(1, 1, *sides)
    expected = slow_multi_scale(noisy[0, 0], clean[0, 0], n_scales)
    assert 0.1 < expected < 0.95
    assert loss("ms_ssim", noisy, clean).item() == pytest.approx(1 - expected, abs=1e-10)


@pytest.mark.parametrize("name", BOTH)
def test_samples_and_channels_have_equal_weights(name):
    noisy, clean = images(2, 3, 24, 24)
    alone = [
        loss(name, noisy[i : i + 1, j : j + 1], clean[i : i + 1, j : j + 1])
        for i in range(2)
        for j in range(3)
    ]
    assert loss(name, noisy, clean).item() == pytest.approx(float(torch.stack(alone).mean()), abs=1e-10)


@pytest.mark.parametrize("name", BOTH)
def test_images_are_compared_in_the_unit_of_the_data(name):
    noisy, clean = images(2, 3, 24, 24)
    center, spread = torch.tensor([100.0, 120, 140]).view(3, 1, 1), torch.tensor([5.0, 50, 0.5]).view(3, 1, 1)
    units = Units(center.double(), spread.double(), low=20.0, data_range=200.0)
    scaled = [(200 * torch.as_tensor(x) + 20 - units.center) / units.spread for x in (noisy, clean)]
    assert loss(name, *scaled, units).item() == pytest.approx(loss(name, noisy, clean).item(), abs=1e-6)
    single = loss(name, *(x.float() for x in scaled), units)
    assert single.item() == pytest.approx(loss(name, noisy, clean).item(), abs=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_autocast_changes_nothing(name):
    noisy, clean = (torch.as_tensor(x).float() for x in images(2, 1, 24, 24, noise=0.01))
    plain = loss(name, noisy, clean)
    with torch.autocast("cpu", torch.bfloat16):
        under = loss(name, noisy, clean)
        halves = loss(name, noisy.bfloat16(), clean.bfloat16())
    assert torch.equal(under, plain)
    assert halves.dtype == torch.float32


@pytest.mark.parametrize("name", BOTH)
def test_the_layout_in_memory_changes_nothing(name):
    noisy, clean = (torch.as_tensor(x) for x in images(2, 3, 24, 24))
    last = noisy.to(memory_format=torch.channels_last)
    torch.testing.assert_close(loss(name, last, clean), loss(name, noisy, clean))


@pytest.mark.parametrize("name", BOTH)
def test_equal_flat_images_have_loss_0_and_finite_gradients(name):
    for level in (0.0, 1.0):
        flat = torch.full((2, 1, 24, 24), level, requires_grad=True)
        measured = loss(name, flat, flat.detach())
        assert measured.item() == pytest.approx(0, abs=1e-6)
        measured.backward()
        assert flat.grad.isfinite().all()


@pytest.mark.parametrize("level", [-1e4, 1e4])
@pytest.mark.parametrize("name", BOTH)
def test_an_output_far_off_is_as_bad_as_an_unrelated_one(name, level):
    _, clean = images(2, 1, 24, 24)
    clean = torch.as_tensor(clean).float()
    measured = loss(name, torch.full_like(clean, level), clean)
    assert 0.9 < measured.item() < 1.1


def test_a_negative_is_worse_than_a_flat_image_and_as_bad_at_several_scales():
    clean = torch.as_tensor(images(2, 1, 48, 48)[1])
    assert loss("ssim", 1 - clean, clean).item() > 1.2
    assert 0.9 < loss("ms_ssim", 1 - clean, clean).item() <= 1


def test_targets_get_no_gradient():
    noisy, clean = (torch.as_tensor(x).requires_grad_() for x in images(1, 1, 24, 24))
    loss("ms_ssim", noisy, clean).backward()
    assert clean.grad is None
    assert noisy.grad.abs().sum() > 0


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("start", ["noisy", "opposite"])
def test_descent_restores_an_image(name, start):
    noisy, clean = (torch.as_tensor(x).float() for x in images(1, 1, 24, 24))
    output = (noisy if start == "noisy" else 1 - clean).clone().requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        loss(name, output, clean).backward()
        optimizer.step()
    assert (output - clean).square().mean() < 0.2 * (noisy - clean).square().mean()
