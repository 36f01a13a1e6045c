"""The posterior mean of small tables, by itself and blended with a network."""

import numpy as np
import pytest
from sklearn import datasets
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sk_denoise import (
    DenoisingAutoencoder,
    DenseNetwork,
    GaussianNoiser,
    MaskingNoiser,
    PosteriorMeanDenoiser,
    WienerDenoiser,
)


def left(clean, noisy, restored):
    """Return the share of the squared error that is left."""
    return float(np.mean((restored - clean) ** 2) / np.mean((noisy - clean) ** 2))


def table(name, sigma=0.5, seed=0):
    """Return clean and noisy training rows, and clean and noisy test rows, of a scaled table."""
    X = StandardScaler().fit_transform(getattr(datasets, f"load_{name}")().data)
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    rng = np.random.default_rng(seed)
    noisy, given = (side + rng.normal(0, sigma, side.shape) for side in (train, test))
    return train, noisy, test, given


def short(**parameters):
    """Return an autoencoder that trains for a moment."""
    return DenoisingAutoencoder(DenseNetwork((32,)), 8, **{"max_epochs": 3, "random_state": 0} | parameters)


# Without a network ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wine", "diabetes", "breast_cancer", "iris"])
def test_it_leaves_less_than_linear_answers(name):
    train, noisy, test, given = table(name)
    error = left(test, given, PosteriorMeanDenoiser().fit(noisy, X_clean=train).predict(given))
    ridge = left(test, given, Ridge(alpha=30.0).fit(noisy, train).predict(given))
    wiener = left(test, given, WienerDenoiser().fit(noisy, X_clean=train).predict(given))
    assert error < min(ridge, wiener)


def test_without_smoothing_it_is_linear_near_the_data():
    train, noisy, _, given = table("wine")
    linear = PosteriorMeanDenoiser(smoothing=0.0).fit(noisy, X_clean=train)
    first, second = given[:20], given[20:40]
    middle = linear.predict((first + second) / 2)
    np.testing.assert_allclose(middle, (linear.predict(first) + linear.predict(second)) / 2, atol=0.02)
    assert linear.smoothing_ == 0


def test_with_full_smoothing_predictions_are_means_of_training_rows():
    rng = np.random.default_rng(0)
    rows = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]).repeat(20, axis=0)
    points = PosteriorMeanDenoiser(1.0, smoothing=1.0).fit(rows)
    restored = points.predict(rows + rng.normal(0, 1, rows.shape))
    assert left(rows, rows + 1.0, restored) < 0.02
    assert points.strength_ > 0.95


def test_noise_may_have_another_level_in_each_column():
    train, _, test, _ = table("diabetes")
    levels = np.linspace(0.1, 1.5, train.shape[1])
    given = test + np.random.default_rng(1).normal(0, levels, test.shape)
    one = PosteriorMeanDenoiser(levels).fit(train).predict(given)
    other = PosteriorMeanDenoiser(float(np.sqrt(np.mean(levels**2)))).fit(train).predict(given)
    assert np.mean((one - test) ** 2) < 0.8 * np.mean((other - test) ** 2)
    with pytest.raises(ValueError, match=r"10 of them, one for each column"):
        PosteriorMeanDenoiser(levels[:3]).fit(train)


def test_noise_may_be_correlated_and_its_side_in_another_unit():
    train, _, test, _ = table("breast_cancer")
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(30, 3))

    def measure(clean):
        return 3 * (clean + rng.normal(size=(len(clean), 3)) @ mix.T + 0.2 * rng.normal(size=clean.shape)) + 7

    noisy, given = measure(train), measure(test)
    denoiser = PosteriorMeanDenoiser().fit(noisy, X_clean=train)
    # Noise in three directions can nearly be removed.
    assert left(test, (given - 7) / 3, denoiser.predict(given)) < 0.1


def test_a_table_in_other_units_gives_the_same_rows():
    train, noisy, _, given = table("wine")
    unit, offset = np.geomspace(1e-9, 1e9, 13), 1e3 * np.geomspace(1e-9, 1e9, 13)
    one = PosteriorMeanDenoiser().fit(noisy, X_clean=train).predict(given)
    other = PosteriorMeanDenoiser().fit(noisy * unit + offset, X_clean=train * unit + offset)
    np.testing.assert_allclose((other.predict(given * unit + offset) - offset) / unit, one, atol=0.01)


@pytest.mark.slow
def test_many_columns_of_low_rank_are_restored():
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(160, 5)) @ rng.normal(size=(5, 600))
    noisy = clean[60:] + rng.normal(size=(100, 600))
    denoiser = PosteriorMeanDenoiser(1.0).fit(clean[:60])
    # Five of 600 directions hold the data.
    assert left(clean[60:], noisy, denoiser.predict(noisy)) < 0.02


@pytest.mark.parametrize(("n", "p"), [(15, 6), (4, 3), (2, 1), (30, 8)])
def test_few_independent_rows_are_not_made_worse(n, p):
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(n, p)), rng.normal(size=(2000, p))
    given = test + rng.normal(0, 0.25, test.shape)
    denoiser = PosteriorMeanDenoiser().fit(train + rng.normal(0, 0.25, train.shape), X_clean=train)
    assert left(test, given, denoiser.predict(given)) < (1.25 if n < 5 else 1.03)


def test_pairs_of_few_rows_are_worth_as_much_as_by_the_best_linear_filter():
    errors = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(415, 2)) @ rng.normal(size=(2, 6)) + 0.2 * rng.normal(size=(415, 6))
        train, test = rows[:15], rows[15:]
        noisy, given = (side + rng.normal(0, 0.5, side.shape) for side in (train, test))
        errors.append(
            [
                left(test, given, denoiser.fit(noisy, X_clean=train).predict(given))
                for denoiser in (PosteriorMeanDenoiser(), WienerDenoiser())
            ]
        )
    ours, wiener = np.mean(errors, axis=0)
    assert ours < 1.03 * wiener


def test_noise_of_few_pairs_may_have_a_mean():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(12, 3)), rng.normal(size=(500, 3))
    noisy, given = (side + 3 + rng.normal(0, 0.5, side.shape) for side in (train, test))
    restored = PosteriorMeanDenoiser().fit(noisy, X_clean=train).predict(given)
    assert np.mean((restored - test) ** 2) < 0.3


@pytest.mark.parametrize("factor", [3, 10, 1000])
def test_rows_far_beyond_the_training_rows_keep_their_values(factor):
    train, noisy, test, given = table("breast_cancer")
    denoiser = PosteriorMeanDenoiser().fit(noisy, X_clean=train)
    far = factor * test + (given - test)
    assert left(factor * test, far, denoiser.predict(far)) < 1.3


def test_a_wild_value_leaves_the_others_of_its_row():
    train, noisy, test, given = table("breast_cancer")
    denoiser = PosteriorMeanDenoiser().fit(noisy, X_clean=train)
    wild = given.copy()
    wild[:, 3] = 1e9
    others = np.arange(30) != 3
    assert left(test[:, others], given[:, others], denoiser.predict(wild)[:, others]) < 1.2


def test_other_noise_than_gaussian_is_removed_too():
    train, _, test, _ = table("breast_cancer")
    rng = np.random.default_rng(0)
    for draw in (
        lambda X: X + rng.standard_t(3, X.shape) / 3,
        lambda X: X + rng.uniform(-1, 1, X.shape),
        lambda X: X * rng.normal(1, 0.4, X.shape),
    ):
        noisy, given = draw(train), draw(test)
        denoiser = PosteriorMeanDenoiser().fit(noisy, X_clean=train)
        assert left(test, given, denoiser.predict(given)) < 0.7


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_noise_in_proportion_to_skewed_columns_is_removed_as_by_a_linear_filter(strength):
    errors = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows = np.exp(0.5 * rng.normal(size=(1300, 3)) @ np.random.default_rng(77).normal(size=(3, 8)))
        rows /= rows.std(axis=0)
        train, test = rows[:300], rows[300:]
        noisy, given = (side * rng.normal(1, strength, side.shape) for side in (train, test))
        denoisers = PosteriorMeanDenoiser(), WienerDenoiser()
        errors.append([left(test, given, d.fit(noisy, X_clean=train).predict(given)) for d in denoisers])
    ours, wiener = np.mean(errors, axis=0)
    assert ours < 1.05 * wiener


def test_the_noiser_before_it_is_the_noise():
    train, *_ = table("wine")
    denoiser = PosteriorMeanDenoiser().fit(GaussianNoiser(0.7, random_state=0).fit_transform(train))
    assert denoiser.target_source_ == "noiser"
    assert denoiser.sigma_ == pytest.approx(0.7, rel=0.05)


# Blended with a network ----------------------------------------------------------------------------------


def test_a_network_that_learned_nothing_has_no_share():
    train, noisy, test, given = table("wine")
    dae = short(max_epochs=1, learning_rate=1e-9).fit(noisy, X_clean=train)
    assert dae.network_share_ < 0.1
    alone = PosteriorMeanDenoiser().fit(noisy, X_clean=train)
    assert left(test, given, dae.predict(given)) < 1.05 * left(test, given, alone.predict(given))


def test_the_share_is_that_of_the_parameters_and_rows():
    train, noisy, *_ = table("wine")
    assert 0 <= short().fit(noisy, X_clean=train).network_share_ <= 1
    assert short(blend=None).fit(noisy, X_clean=train).network_share_ == 1
    assert short(loss="bce").fit(np.clip(train / 10 + 0.5, 0, 1)).network_share_ == 1
    assert short(noise=None).fit(train).network_share_ == 1
    assert short().fit(train[:30]).network_share_ == 0
    # Large tables and images have the network alone.
    assert short(max_epochs=1).fit(np.random.default_rng(0).normal(size=(5000, 2))).network_share_ == 1
    assert short().fit(train[:, :12].reshape(-1, 3, 4)).network_share_ == 1


def test_a_table_without_structure_warns():
    rng = np.random.default_rng(0)
    with pytest.warns(UserWarning, match="Nothing was learned"):
        dae = short(noise=GaussianNoiser(0.7)).fit(rng.uniform(size=(200, 4)) * 100)
    assert dae.network_share_ < 0.05
    # Two values in each column are structure.
    X = rng.integers(0, 2, size=(200, 4)) * 10.0
    noisy = X + rng.normal(0, 1, X.shape)
    assert left(X, noisy, short(noise=GaussianNoiser(1.0)).fit(X).predict(noisy)) < 0.1


def test_a_small_table_behind_other_noise_is_not_made_worse():
    train, _, test, _ = table("wine")
    noiser = MaskingNoiser(0.3).fit(train)
    dae = short(noise=MaskingNoiser(0.3)).fit(train)
    given = MaskingNoiser(0.3, random_state=1).fit_transform(test)
    assert noiser.get_params()["columns"] is None
    assert left(test, given, dae.predict(np.asarray(given))) < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wine", "diabetes", "breast_cancer"])
def test_pairs_are_worth_as_much_as_known_noise(name):
    train, noisy, test, given = table(name)
    pairs = DenoisingAutoencoder(random_state=0).fit(noisy, X_clean=train)
    known = DenoisingAutoencoder(noise=GaussianNoiser(0.5), random_state=0).fit(train)
    wiener = WienerDenoiser().fit(noisy, X_clean=train)
    errors = [left(test, given, denoiser.predict(given)) for denoiser in (pairs, known, wiener)]
    assert errors[0] < 1.03 * errors[1]
    assert errors[0] < 0.97 * errors[2]


@pytest.mark.slow
def test_noise_that_depends_on_the_row_stays_with_it():
    # Noise in proportion to the value: redrawn from other rows, it would be that of large values everywhere.
    rng = np.random.default_rng(0)
    clean = np.exp(0.5 * rng.normal(size=(1500, 2)) @ rng.normal(size=(2, 8)))
    noisy = clean * rng.normal(1, 0.3, clean.shape)
    dae = DenoisingAutoencoder(random_state=0).fit(noisy[:1000], X_clean=clean[:1000])
    restored = dae.predict(noisy[1000:])
    small = clean[1000:] < np.quantile(clean, 0.5, axis=0)
    assert left(clean[1000:], noisy[1000:], restored) < 0.8
    assert np.mean((restored - clean[1000:])[small] ** 2) < 0.5 * np.mean(clean[1000:][small] ** 2)


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_two_measurements_of_a_small_table_leave_less_than_ridge(name):
    train, first, test, given = table(name)
    second = train + np.random.default_rng(9).normal(0, 0.5, train.shape)
    dae = short(max_epochs=2).fit(first, X_second=second)
    ridge = Ridge(alpha=40.0).fit(np.vstack([first, second]), np.vstack([second, first]))
    assert left(test, given, dae.predict(given)) < left(test, given, ridge.predict(given))
    assert dae.network_share_ < 1
    alone = short(max_epochs=2, blend=None).fit(first, X_second=second)
    assert left(test, given, dae.predict(given)) < left(test, given, alone.predict(given))
