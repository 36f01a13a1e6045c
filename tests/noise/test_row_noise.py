"""The noise level of signals and tables, estimated from noisy data and from repeats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.noise import estimate_row_noise, estimate_row_noise_from_repeats

LENGTH = 400
PLACES = np.arange(LENGTH)
DIGITS = load_digits().data / 16


def spectra(n, rng):
    """Return peaks at shifting places on a smooth baseline."""
    baseline = rng.uniform(0.2, 0.5, (n, 1)) + 0.2 * np.sin(PLACES / rng.uniform(60, 120, (n, 1)))
    peaks = [np.exp(-0.5 * ((PLACES - c - rng.normal(0, 8, (n, 1))) / 6) ** 2) for c in (80, 150, 290)]
    return baseline + sum(peaks)


def heartbeats(n, rng):
    phase = (PLACES + rng.uniform(0, 130, (n, 1))) % rng.uniform(110, 150, (n, 1))
    beat = np.exp(-0.5 * ((phase - 50) / 2.5) ** 2) - 0.25 * np.exp(-0.5 * ((phase - 58) / 3) ** 2)
    return beat + 0.3 * np.exp(-0.5 * ((phase - 90) / 12) ** 2)


def steps(n, rng):
    jumps = rng.normal(size=(n, LENGTH)) * (rng.random((n, LENGTH)) < 6 / LENGTH)
    return np.cumsum(jumps, axis=1)


def sines(n, rng):
    return np.sin(PLACES * rng.uniform(0.02, 0.2, (n, 1)) + rng.uniform(0, 6, (n, 1)))


def low_rank(n, p, rank, rng):
    return rng.normal(size=(n, rank)) @ rng.normal(size=(rank, p))


@pytest.mark.parametrize("sigma", [0.35, 0.05])
@pytest.mark.parametrize("draw", [spectra, heartbeats, steps, sines])
def test_level_of_signals(draw, sigma):
    rng = np.random.default_rng(0)
    clean = draw(60, rng)
    noisy = clean + rng.normal(0, sigma, clean.shape)
    assert estimate_row_noise(noisy) == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("draw", [spectra, heartbeats, steps, sines])
def test_level_of_one_signal(draw):
    rng = np.random.default_rng(1)
    noisy = draw(1, rng) + rng.normal(0, 0.1, LENGTH)
    assert estimate_row_noise(noisy, kind="signals") == pytest.approx(0.1, rel=0.2)


def test_spikes_have_little_influence():
    rng = np.random.default_rng(0)
    noisy = sines(60, rng) + rng.normal(0, 0.2, (60, LENGTH))
    noisy[rng.random(noisy.shape) < 0.01] = 50
    assert estimate_row_noise(noisy) == pytest.approx(0.2, rel=0.1)


def test_level_follows_the_unit():
    rng = np.random.default_rng(0)
    noisy = sines(30, rng) + rng.normal(0, 0.2, (30, LENGTH))
    level = estimate_row_noise(noisy)
    assert estimate_row_noise(1e-9 * noisy) == pytest.approx(1e-9 * level)
    assert estimate_row_noise(1e9 * noisy + 1e9) == pytest.approx(1e9 * level, rel=1e-4)


@pytest.mark.parametrize("draw", [spectra, heartbeats, steps, sines])
@pytest.mark.parametrize("kind", ["autoregressive", "blurred", "differenced"])
def test_correlated_noise_is_refused(draw, kind):
    rng = np.random.default_rng(0)
    clean = draw(60, rng)
    white = rng.normal(0, 0.2, (60, LENGTH + 1))
    noise = {
        "autoregressive": lfilter([1], [1, -0.5], white)[:, 1:],
        "blurred": gaussian_filter1d(white, 0.7)[:, 1:],
        "differenced": np.diff(white),
    }[kind]
    with pytest.raises(
        ValueError, match=r"correlated between neighbouring entries.*estimate_row_noise_from_repeats"
    ):
        estimate_row_noise(clean + noise)


def test_counts_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="grows with the values"):
        estimate_row_noise(rng.poisson(20 * (sines(60, rng) + 1.1)))


@pytest.mark.parametrize("sigma", [0.1, 0.25, 0.5])
def test_level_of_digits(sigma):
    noisy = DIGITS + np.random.default_rng(0).normal(0, sigma, DIGITS.shape)
    assert estimate_row_noise(noisy) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [0.25, 0.5])
def test_level_of_the_breast_cancer_table(sigma):
    table = StandardScaler().fit_transform(load_breast_cancer().data)
    noisy = table + np.random.default_rng(0).normal(0, sigma, table.shape)
    assert estimate_row_noise(noisy) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("shape", [(500, 30), (60, 1000), (2000, 600)])
def test_level_of_a_low_rank_table(shape):
    rng = np.random.default_rng(0)
    noisy = low_rank(*shape, 4, rng) + rng.normal(0, 0.5, shape)
    assert estimate_row_noise(noisy) == pytest.approx(0.5, rel=0.04)


def test_level_of_each_column():
    rng = np.random.default_rng(0)
    levels = np.linspace(0.2, 1, 30)
    noisy = low_rank(800, 30, 4, rng) + rng.normal(size=(800, 30)) * levels
    noisy[:, 7] = 3.0
    levels[7] = 0
    estimate = estimate_row_noise(noisy, kind="columns")
    np.testing.assert_allclose(estimate, levels, rtol=0.15)
    with pytest.raises(ValueError, match="columns of different noise levels"):
        estimate_row_noise(noisy)


@pytest.mark.parametrize("scale", [1.0, np.linspace(1, 10, 30)])
@pytest.mark.parametrize("kind", ["auto", "table", "columns"])
def test_independent_columns_are_refused(scale, kind):
    table = scale * np.random.default_rng(0).normal(size=(500, 30))
    with pytest.raises(ValueError, match=r"cannot be told from noise\. Pass the standard deviation"):
        estimate_row_noise(table, kind=kind)


@pytest.mark.parametrize(
    "table",
    [
        DIGITS,
        StandardScaler().fit_transform(load_breast_cancer().data),
        StandardScaler().fit_transform(load_wine().data),
        load_iris().data,
        np.ones((30, 60)),
        np.arange(30.0)[:, None] * np.ones((1, 60)),
        np.cumsum(np.random.default_rng(0).normal(size=(100, 300)), axis=1),
        np.random.default_rng(0).normal(size=(1, 300)),
    ],
    ids=["digits", "cancer", "wine", "iris", "constant", "constant rows", "walks", "one row"],
)
def test_data_without_readable_noise_are_refused(table):
    with pytest.raises(ValueError, match=r"Pass the standard deviation of the noise|noise leaves nothing"):
        estimate_row_noise(table)


def test_clean_steps_are_refused():
    with pytest.raises(ValueError, match="exactly constant"):
        estimate_row_noise(steps(50, np.random.default_rng(0)))


def test_short_signals_are_refused():
    with pytest.raises(ValueError, match="at least 40 entries"):
        estimate_row_noise(sines(50, np.random.default_rng(0))[:, :20], kind="signals")


def test_rows_of_different_levels_warn():
    rng = np.random.default_rng(0)
    noisy = sines(60, rng) + rng.normal(size=(60, LENGTH)) * np.linspace(0.05, 0.5, 60)[:, None]
    with pytest.warns(NoiseMismatchWarning, match="levels of the rows differ"):
        estimate_row_noise(noisy)


def test_unknown_kinds_and_nan_are_refused():
    with pytest.raises(ValueError, match="Known: 'auto', 'signals', 'table', 'columns'"):
        estimate_row_noise(DIGITS, kind="rows")
    with pytest.raises(ValueError, match="NaN"):
        estimate_row_noise(np.where(DIGITS == 1, np.nan, DIGITS))


def test_repeats_give_the_level_of_any_table():
    rng = np.random.default_rng(0)
    levels = np.array([0.1, 0.2, 0.4])
    clean = rng.normal(size=(4000, 3))
    repeats = [clean + rng.normal(size=clean.shape) * levels for _ in range(3)]
    np.testing.assert_allclose(estimate_row_noise_from_repeats(*repeats, per_column=True), levels, rtol=0.05)
    rms = np.sqrt(np.mean(levels**2))
    assert estimate_row_noise_from_repeats(*repeats[:2]) == pytest.approx(rms, rel=0.05)


def test_wrong_repeats_are_refused():
    with pytest.raises(ValueError, match="two measurements"):
        estimate_row_noise_from_repeats(DIGITS)
    with pytest.raises(ValueError, match=r"got shapes \(1797, 64\), \(10, 64\)"):
        estimate_row_noise_from_repeats(DIGITS, DIGITS[:10])
