"""Wild values, heavy tails, other ranges, extreme units and first chunks unlike the rest."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingImputer,
    DenseNetwork,
    GaussianNoiser,
    PosteriorMeanDenoiser,
    SpeckleNoiser,
    WienerDenoiser,
)
from sk_denoise.persistence import load, save

SMALL = DenseNetwork((48,))


def autoencoder(**settings):
    """Return the network alone: the blend with training rows has tests of its own."""
    defaults = {"latent_dim": 16, "blend": None, "max_epochs": 20, "random_state": 0}
    return DenoisingAutoencoder(SMALL, **defaults | settings)


def table(n, draw=None, seed=0):
    """Return clean rows of three directions, and noisy ones."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(99).normal(size=(3, 6))
    clean = (rng.normal(size=(n, 3)) if draw is None else draw(rng, (n, 3))) @ axes
    clean /= np.median(np.abs(clean - np.median(clean, axis=0)), axis=0) * 1.5
    return clean, clean + 0.5 * rng.normal(size=clean.shape)


def left(clean, noisy, denoised):
    """Return the share of the squared error that is left."""
    return float(((denoised - clean) ** 2).mean() / ((noisy - clean) ** 2).mean())


def make_wild(rows, seed=5):
    """Return rows with one of a hundred entries 10,000 times as large."""
    return np.where(np.random.default_rng(seed).random(rows.shape) < 0.01, 10_000 * rows, rows)


@pytest.mark.parametrize("given", ["pairs", "known noise", "auto noise", "noise is wild"])
@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_one_percent_of_wild_values_does_no_harm_to_ordinary_rows(given, scaling):
    clean, noisy = table(1500)
    train, test = slice(None, 1000), slice(1000, None)
    wild = make_wild(clean[train])
    dae = autoencoder(scaling=scaling, noise=0.5 if given == "known noise" else "auto")
    if given == "pairs":
        dae.fit(wild + (noisy - clean)[train], X_clean=wild)
    elif given == "noise is wild":
        dae.fit(make_wild(noisy[train]), X_clean=clean[train])
    else:
        dae.fit(wild)
    # 630 without the cut; .5 without wild values.
    assert left(clean[test], noisy[test], dae.predict(noisy[test])) < 0.75


def test_wild_values_are_kept_and_wild_noise_is_not():
    clean, noisy = table(1000)
    wild = make_wild(clean)
    is_wild = np.abs(wild) > 100
    kept = autoencoder().fit(wild).predict(wild)
    assert np.abs(kept - wild)[is_wild].max() < 30
    noise = make_wild(noisy)
    removed = autoencoder().fit(noise, X_clean=clean).predict(noise)
    assert np.abs(removed).max() < 30


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, shape: rng.standard_cauchy(shape),
        lambda rng, shape: np.exp(2 * rng.normal(size=shape)),
        lambda rng, shape: rng.standard_t(2, shape),
    ],
    ids=["Cauchy", "log-normal", "Student"],
)
def test_heavy_tails_are_no_worse_than_doing_nothing(draw):
    clean, noisy = table(2500, draw)
    dae = autoencoder(noise=0.5, max_epochs=60, latent_dim=48).fit(clean[:2000])
    assert left(clean[2000:], noisy[2000:], dae.predict(noisy[2000:])) < 0.9


def test_ordinary_and_rare_values_have_no_limits():
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=2000), rng.exponential(size=2000), rng.standard_t(4, 2000)]
    columns += [rng.random(2000) < 0.01, rng.poisson(0.3, 2000), np.where(rng.random(2000) < 0.9, 0, 50)]
    dae = autoencoder(max_epochs=1).fit(np.column_stack(columns) + 0.0)
    assert dae._preparation_.wild is None


@pytest.mark.parametrize("unit", [1e18, 1e-25])
@pytest.mark.parametrize("denoiser", [autoencoder(max_epochs=5), autoencoder(max_epochs=5, scaling="robust")])
def test_single_precision_far_from_one_learns_the_same(unit, denoiser):
    clean, noisy = table(300)
    results = []
    for u in (1.0, unit):
        c, x = (clean * u).astype(np.float32), (noisy * u).astype(np.float32)
        denoiser.fit(x, X_clean=c, X_val=x, X_clean_val=c)
        results.append((left(clean, noisy, denoiser.predict(x) / u), denoiser.validation_scores_[-1]))
    np.testing.assert_allclose(results[1], results[0], rtol=0.02)


@pytest.mark.parametrize("offset", [1e9, 1e12, 1e15])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize(
    "denoiser",
    [
        autoencoder(max_epochs=2),
        autoencoder(max_epochs=2, scaling="robust"),
        autoencoder(max_epochs=2, noise=GaussianNoiser(0.3, scale="std")),
        PosteriorMeanDenoiser(),
        WienerDenoiser(),
    ],
    ids=["network", "robust", "noiser", "posterior mean", "Wiener"],
)
def test_nothing_is_lost_far_from_zero(denoiser, dtype, offset):
    clean, noisy = table(300)
    unit = max(1e3, 1e-11 * offset)
    # Both tables hold the same whole numbers.
    sides = [np.rint(side * unit) for side in (clean, noisy)]
    results = []
    for shift in (0.0, offset):
        c, x = ((side + shift).astype(dtype) for side in sides)
        if isinstance(denoiser, DenoisingAutoencoder) and denoiser.noise != "auto":
            denoiser.fit(c)
        else:
            denoiser.fit(x, X_clean=c)
        error = (denoiser.predict(x).astype(float) - shift - sides[0]) / unit
        results.append((float((error**2).mean()), denoiser.score(x, c)))
    np.testing.assert_allclose(results[1], results[0], rtol=0.02)


def test_gaps_and_noise_are_the_same_far_from_zero():
    clean, _ = table(300)
    whole = np.rint(clean * 1e3).astype(np.int64)
    noise = [
        np.asarray(
            GaussianNoiser(500.0, random_state=0)
            .fit(whole + shift)
            .corrupt(torch.from_numpy((whole + shift).astype(float)), torch.Generator().manual_seed(0))
        )
        - shift
        for shift in (0, 10**12)
    ]
    np.testing.assert_allclose(*noise, atol=1e-3)
    noisy = GaussianNoiser(500.0, random_state=0).fit_transform(whole + 10**12)
    assert noisy.dtype == np.float64
    assert 450 < (noisy - (whole + 10**12)).std() < 550
    holes = np.random.default_rng(3).random(clean.shape) < 0.2
    filled = [
        DenoisingImputer(random_state=0).fit_transform(np.where(holes, np.nan, whole + shift)) - shift
        for shift in (0.0, 1e12)
    ]
    np.testing.assert_allclose(*filled, atol=1.0)


def test_rows_outside_of_the_training_range_are_warned_of_with_the_column():
    clean, noisy = table(400)
    X = pd.DataFrame(noisy).add_prefix("x")
    dae = autoencoder(max_epochs=2).fit(X, X_clean=pd.DataFrame(clean).add_prefix("x"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dae.predict(X)
    far = X.copy()
    far["x2"] *= 30
    with pytest.warns(UserWarning, match="outside of the range of the training.*'x2'"):
        dae.predict(far)
    with pytest.warns(UserWarning, match="range"):
        dae.predict(3 * X)


def test_a_linear_input_is_neither_compressed_nor_clipped():
    import torch

    clean, _ = table(400)
    preparation = autoencoder(max_epochs=1).fit(clean)._preparation_
    x = torch.from_numpy(clean[:5])
    center = preparation.input_scaler.center
    scaled = preparation.linear_input(x)
    torch.testing.assert_close(preparation.linear_input(center + 100 * (x - center)), 100 * scaled)


@pytest.mark.slow
@pytest.mark.parametrize("given", ["pairs", "fresh noise"])
def test_a_column_that_was_constant_in_the_first_chunk_is_learned_from_the_next(given):
    clean, noisy = table(1200)
    c, x = clean[:200].copy(), noisy[:200].copy()
    c[:, 2] = x[:, 2] = 7

    def learn(dae, noisy, clean):
        return dae.partial_fit(clean) if given == "fresh noise" else dae.partial_fit(noisy, X_clean=clean)

    dae = learn(autoencoder(), x, c)
    with pytest.warns(UserWarning, match="1 columns of X were constant in all samples so far.*: 2"):
        learn(dae, noisy[200:700], clean[200:700])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(60):
            learn(dae, noisy[200:700], clean[200:700])
    test = slice(700, None)
    error = ((dae.predict(noisy[test]) - clean[test]) ** 2).mean(axis=0)
    assert error[2] < 0.8 * ((noisy - clean)[test, 2] ** 2).mean()


def test_scaling_is_checked_and_fixed_in_a_continued_fit():
    with pytest.raises(ValueError, match="scaling"):
        autoencoder(scaling="minmax").fit(table(50)[0])
    dae = autoencoder(max_epochs=1, warm_start=True).fit(table(50)[0])
    with pytest.raises(ValueError, match="scaling changed"):
        dae.set_params(scaling="robust", max_epochs=2).fit(table(50)[0])


def log_normal(n, seed=0, spread=1.0):
    """Return clean rows of log-normal columns with different units, and noise in proportion."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(99).normal(size=(3, 6)) / 1.7
    clean = np.exp(spread * (rng.normal(size=(n, 3)) @ axes)) * np.logspace(-3, 3, 6)
    return clean, clean * np.exp(0.5 * rng.normal(size=clean.shape))


def left_by_column(clean, noisy, denoised):
    errors, noise = ((side - clean) ** 2 for side in (denoised, noisy))
    return float((errors.mean(axis=0) / noise.mean(axis=0)).mean())


@pytest.mark.parametrize("blend", [None, "auto"])
def test_quantiles_remove_more_noise_in_proportion_to_log_normal_values(blend):
    clean, noisy = log_normal(900)
    train, test = slice(None, 500), slice(500, None)
    errors = {}
    for scaling in ("standard", "quantile"):
        dae = autoencoder(scaling=scaling, blend=blend, max_epochs=15).fit(noisy[train], X_clean=clean[train])
        errors[scaling] = left_by_column(clean[test], noisy[test], dae.predict(noisy[test]))
    assert errors["quantile"] < 0.85 * errors["standard"]


def test_quantiles_leave_columns_with_even_noise_in_their_unit():
    clean, noisy = table(300, lambda rng, shape: np.exp(2 * rng.normal(size=shape)))
    settings = {"max_epochs": 5, "blend": "auto"}
    predictions = [
        autoencoder(scaling=scaling, **settings).fit(noisy, X_clean=clean).predict(noisy)
        for scaling in ("robust", "quantile")
    ]
    np.testing.assert_allclose(*predictions, rtol=1e-5, atol=1e-5)


def test_quantiles_take_ties_constants_integers_and_extreme_units():
    clean, noisy = log_normal(300)
    clean[:, 1], noisy[:, 1] = 7, 7
    clean[:, 2] = np.round(clean[:, 2])
    noisy[:, 2] = clean[:, 2] * np.random.default_rng(1).integers(1, 3, 300)
    clean[:, 3] = noisy[:, 3] = np.random.default_rng(2).random(300) < 0.2
    clean[:, 4], noisy[:, 4] = clean[:, 4] * 1e25, noisy[:, 4] * 1e25
    dae = autoencoder(scaling="quantile", max_epochs=15, early_stopping=True).fit(noisy, X_clean=clean)
    denoised = dae.predict(noisy)
    assert np.isfinite(denoised).all()
    assert (denoised[:, 1] == 7).all()
    assert np.isfinite(dae.validation_scores_).all()
    for column in (0, 4, 5):
        assert np.abs(denoised - clean)[:, column].mean() < np.abs(noisy - clean)[:, column].mean()


def test_quantiles_go_on_linearly_beyond_the_training_range():
    clean, _ = log_normal(400)
    known = autoencoder(scaling="quantile", noise=SpeckleNoiser(0.3), max_epochs=5).fit(clean)
    top = np.tile(clean.max(axis=0), (3, 1))
    far = top * np.array([[10.0], [20.0], [30.0]])
    with pytest.warns(UserWarning, match="range"):
        steps = np.diff(known.predict(far), axis=0)
    np.testing.assert_allclose(steps, np.diff(far, axis=0), rtol=1e-6)


def test_derivatives_of_quantiles_are_those_of_predictions():
    clean, noisy = log_normal(300)
    dae = autoencoder(scaling="quantile", blend="auto", max_epochs=3).fit(noisy, X_clean=clean)
    # Rows of the training are knots, which have a slope on each side.
    clean, noisy = log_normal(100, seed=1)
    direction = np.random.default_rng(3).normal(size=noisy.shape) * clean.std(axis=0)
    step = 1e-6 * direction
    numeric = (dae.predict(noisy + step) - dae.predict(noisy - step)) / 2e-6
    errors = np.abs(dae._differentiate(noisy, direction) - numeric) / clean.std(axis=0)
    assert np.quantile(errors, 0.9) < 1e-6


def test_a_continued_fit_keeps_the_maps_of_quantiles():
    clean, noisy = log_normal(600)
    dae = autoencoder(scaling="quantile").partial_fit(noisy[:200] * [1, 1, 0, 1, 1, 1], X_clean=clean[:200])
    before = dae._preparation_.maps
    with pytest.warns(UserWarning, match="constant"):
        dae.partial_fit(noisy[200:], X_clean=clean[200:])
    after = dae._preparation_.maps
    assert (before[0].values[0] == after[0].values[0]).all()
    assert (before[0].values[2] != after[0].values[2]).any()
    assert np.isfinite(dae.predict(noisy)).all()


@pytest.mark.parametrize(
    ("settings", "X", "message"),
    [
        ({"network": "conv"}, np.zeros((20, 32)), "signals"),
        ({"image_shape": (8, 8)}, np.zeros((20, 64)), "images"),
        ({"objective": "blind"}, np.zeros((20, 8)), "clean side"),
        ({"loss": "bce"}, np.zeros((20, 8)), "bce"),
    ],
)
def test_quantiles_are_for_tables_with_a_clean_side(settings, X, message):
    X = X + np.random.default_rng(0).random(X.shape)
    dae = DenoisingAutoencoder(**{"network": SMALL, **settings}, scaling="quantile")
    with pytest.raises(ValueError, match=f'scaling="quantile".*{message}'):
        dae.fit(X)


def test_reference_noise_and_scores_ignore_wild_values():
    clean, _ = table(600)
    wild = WienerDenoiser(0.5).fit(make_wild(clean))
    plain = WienerDenoiser(0.5).fit(clean)
    noisy = clean + 0.5 * np.random.default_rng(8).normal(size=clean.shape)
    # The range is that of the cut values, 16 deviations and not 8.
    assert abs(wild.score(noisy, noisy + 0.1) - plain.score(noisy, noisy + 0.1)) < 20
    scale = GaussianNoiser(1.0, scale="std").fit(clean)
    assert wild._reference_noiser_.scale_.max() < 3 * scale.scale_.max()


def test_a_large_table_is_extrapolated_and_left_alone_within_its_range(tmp_path):
    clean, noisy = table(5200)
    dae = autoencoder(max_epochs=2, blend="auto").fit(noisy, X_clean=clean)
    alone = autoencoder(max_epochs=2, blend=None).fit(noisy, X_clean=clean)
    inner = np.abs(noisy).max(axis=1) < 2
    np.testing.assert_array_equal(dae.predict(noisy[inner]), alone.predict(noisy[inner]))
    far = 4 * clean + (noisy - clean)
    with pytest.warns(UserWarning, match="linear"):
        error = ((dae.predict(far) - 4 * clean) ** 2).mean()
    with pytest.warns(UserWarning, match="cut"):
        assert error < 0.5 * ((alone.predict(far) - 4 * clean) ** 2).mean()
    assert error < 1.5 * ((noisy - clean) ** 2).mean()
    assert dae.network_share_ == 1
    save(dae, tmp_path / "dae.safetensors")
    with pytest.warns(UserWarning, match="linear"):
        loaded, own = (each.predict(far[:50]) for each in (load(tmp_path / "dae.safetensors"), dae))
    np.testing.assert_array_equal(loaded, own)
