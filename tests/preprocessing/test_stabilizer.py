"""VarianceStabilizer: the transform, its inverse, and errors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from sk_denoise import VarianceStabilizer, WaveletDenoiser
from sk_denoise.persistence import load, save
from sk_denoise.restoration import denoise_image, load_pretrained

NOISES = [(1.0, 0.0, 0.0), (1.0, 2.0, 0.0), (2.5, 3.0, 100.0), (0.1, 0.02, -3.0), (1.0, 30.0, 0.0)]


def draw(mean, gain, read_noise, offset, n=200_000, seed=0):
    rng = np.random.default_rng(seed)
    return gain * rng.poisson((mean - offset) / gain, n) + offset + rng.normal(0, read_noise, n)


def stabilizer_of(gain, read_noise, offset):
    return VarianceStabilizer(gain, read_noise, offset).fit(np.zeros((1, 4)))


@pytest.mark.parametrize("photons", [4, 20, 1000])
@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_noise_becomes_of_deviation_one(noise, photons):
    gain, _, offset = noise
    values = draw(offset + gain * photons, *noise).reshape(-1, 4)
    assert stabilizer_of(*noise).transform(values).std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("photons", [0.1, 0.5, 1, 3, 10, 1000])
@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_the_inverse_of_the_mean_is_unbiased(noise, photons):
    gain, read_noise, offset = noise
    mean = offset + gain * photons
    stabilizer = stabilizer_of(*noise)
    center = stabilizer.transform(draw(mean, *noise).reshape(-1, 4)).mean()
    restored = stabilizer.inverse_transform(np.full((1, 4), center))
    deviation = np.sqrt(gain**2 * photons + read_noise**2)
    np.testing.assert_allclose(restored, mean, atol=0.05 * max(deviation, gain))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", [*NOISES, (0.0, 2.0, 5.0), (1e-6, 1.0, 0.0)], ids=str)
def test_the_inverse_increases_and_is_finite_beyond_all_data(noise, dtype):
    values = np.concatenate([-np.geomspace(1e6, 1e-3, 500), np.geomspace(1e-3, 1e6, 500)]).astype(dtype)
    stabilizer = stabilizer_of(*noise)
    restored = (
        stabilizer.inverse_transform(values.reshape(1, -1, 1)[:, :4, 0]),
        stabilizer.inverse_transform(values.reshape(-1, 4)),
    )
    assert restored[1].dtype == dtype
    flat = restored[1].ravel().astype(np.float64)
    assert np.isfinite(flat).all()
    assert (np.diff(flat) >= -1e-6 * np.abs(flat[1:])).all()
    assert np.isfinite(stabilizer.transform(values.reshape(-1, 4))).all()


def test_without_gain_the_transform_is_a_division():
    values = np.random.default_rng(0).normal(size=(3, 4))
    stabilizer = stabilizer_of(0.0, 2.0, 5.0)
    np.testing.assert_allclose(stabilizer.transform(values), (values - 5) / 2)
    np.testing.assert_allclose(stabilizer.inverse_transform(stabilizer.transform(values)), values)


def test_a_small_gain_comes_near_to_none():
    values = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(
        stabilizer_of(1e-9, 2.0, 5.0).transform(values), (values - 5) / 2, rtol=1e-6, atol=1e-9
    )


def counts_image(side=128):
    y, x = np.mgrid[:side, :side]
    clean = 4 + 60 * (x / side) ** 2 * (1 + 0.3 * np.sin(y / 9))
    return clean, np.random.default_rng(0).poisson(clean)


def test_a_pipeline_denoises_counts_and_one_line_inverts():
    clean, counts = counts_image()
    pipeline = make_pipeline(VarianceStabilizer(), WaveletDenoiser(1.0))
    denoised = pipeline[0].inverse_transform(pipeline.fit_transform(counts[None]))[0]
    assert np.mean((denoised - clean) ** 2) < 0.15 * np.mean((counts - clean) ** 2)
    assert denoised.mean() == pytest.approx(clean.mean(), rel=0.02)


def test_images_of_other_sizes_are_transformed_and_inverted():
    _, counts = counts_image()
    stabilizer = VarianceStabilizer().fit(counts[None])
    part = counts[None, :30, 5:50]
    np.testing.assert_array_equal(
        stabilizer.transform(part), stabilizer.transform(counts[None])[:, :30, 5:50]
    )
    assert stabilizer.inverse_transform(stabilizer.transform(part)).shape == part.shape


def test_integers_become_floats_of_enough_digits():
    stabilizer = stabilizer_of(1.0, 0.0, 0.0)
    for dtype, expected in ((np.uint8, "f4"), (np.uint16, "f4"), (np.int32, "f8"), (np.float64, "f8")):
        assert stabilizer.transform(np.ones((2, 4), dtype)).dtype == expected


def test_correlated_noise_gets_a_warning():
    clean, _ = counts_image()
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 20, clean.shape), 1.2)
    with pytest.warns(UserWarning, match="noise of neighbours is correlated"):
        stabilizer = VarianceStabilizer().fit((clean + noise)[None])
    assert stabilizer.trust_ == 0


NOTHING = {
    "constant": np.full((2, 20, 20), 3.0),
    "small images": np.random.default_rng(0).poisson(5.0, (9, 7, 7)),
    "short signals": np.random.default_rng(0).poisson(5.0, (9, 15)),
}


@pytest.mark.parametrize("X", NOTHING.values(), ids=NOTHING)
def test_data_without_a_fit_need_a_gain(X):
    with pytest.raises(ValueError, match=r"cannot be fitted: .*VarianceStabilizer\(gain=1\)"):
        VarianceStabilizer().fit(X)
    stabilizer = VarianceStabilizer(gain=1).fit(X)
    assert (stabilizer.gain_, stabilizer.read_noise_, stabilizer.offset_) == (1, 0, 0)


def test_columns_of_a_table_need_a_gain():
    table = np.random.default_rng(0).poisson(5.0, (50, 40))
    with pytest.raises(ValueError, match="columns of a table have no neighbours"):
        VarianceStabilizer(layout="table").fit(table)
    assert VarianceStabilizer(gain=2.0, layout="table").fit(table).gain_ == 2


WRONG = {
    "negative gain": ({"gain": -1.0}, "gain"),
    "no noise": ({"gain": 0.0, "read_noise": 0.0}, "no noise to stabilise"),
    "other number of channels": ({"gain": [1.0, 2.0]}, "gain must be a number, finite, of at least 0, or 3"),
    "infinite offset": ({"gain": 1.0, "offset": [0.0, np.inf, 0.0]}, "offset must be a number, finite"),
    "rows as images": ({"layout": "signals"}, r"layout=.signals., but X has the shape \(1, 32, 32, 3\)"),
    "no denoiser": ({"denoiser": 3}, "denoiser"),
    "unfitted denoiser": ({"gain": 1.0, "denoiser": load_pretrained("gray").__class__()}, "must be a fitted"),
    "colour denoiser": ({"gain": 1.0, "denoiser": load_pretrained("rgb")}, "denoise gray images"),
    "denoiser for colours": (
        {"gain": 1.0, "denoiser": load_pretrained("gray")},
        r"images \(n_samples, height",
    ),
}


@pytest.mark.parametrize(("parameters", "message"), WRONG.values(), ids=WRONG)
def test_wrong_parameters_are_refused(parameters, message):
    X = np.random.default_rng(0).poisson(9.0, (1, 32, 32, 3))
    with pytest.raises(ValueError, match=message):
        VarianceStabilizer(**parameters).fit(X)


def test_a_shape_that_was_not_fitted_is_refused_by_the_inverse():
    stabilizer = VarianceStabilizer(gain=1.0).fit(np.ones((2, 8, 8)))
    with pytest.raises(ValueError, match=r"samples of shape \(8,\).*fitted on samples of shape \(8, 8\)"):
        stabilizer.inverse_transform(np.ones((8, 8)))


@pytest.mark.slow
def test_a_learned_spline_suits_noise_that_is_no_line(tmp_path):
    y, x = np.mgrid[:96, :96]
    clean = 0.2 + 0.6 * (x / 96) + 0.1 * np.sin(y / 5)
    rng = np.random.default_rng(0)
    noisy = clean + (0.02 + 0.35 * clean**3) * rng.normal(size=clean.shape)
    denoiser = FrozenEstimator(load_pretrained("gray"))
    weights = [p.detach().clone() for p in denoiser.estimator.net_.module_.parameters()]
    plain = VarianceStabilizer().fit(noisy[None])
    refined = clone(VarianceStabilizer(denoiser=denoiser, n_steps=60, random_state=0)).fit(noisy[None])

    def error(stabilizer):
        denoised = denoise_image(stabilizer.transform(noisy[None])[0], sigma=1.0)
        return np.mean((stabilizer.inverse_transform(denoised[None])[0] - clean) ** 2)

    assert error(refined) < 0.9 * error(plain)
    values = refined.transform(noisy[None])
    np.testing.assert_allclose(
        refined.inverse_transform(values).std(),
        plain.inverse_transform(plain.transform(noisy[None])).std(),
        rtol=0.02,
    )
    after = denoiser.estimator.net_.module_.parameters()
    assert all((a == b).all() and b.grad is None for a, b in zip(weights, after, strict=True))
    again = clone(refined).fit(noisy[None])
    np.testing.assert_array_equal(again.knots_, refined.knots_)
    save(refined, tmp_path / "stabilizer")
    for other in (load(tmp_path / "stabilizer"), pickle.loads(pickle.dumps(refined))):
        np.testing.assert_array_equal(other.transform(noisy[None]), values)
