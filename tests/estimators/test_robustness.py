"""Wild values, heavy tails, other ranges, extreme units and first chunks unlike the rest."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser, WienerDenoiser
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
