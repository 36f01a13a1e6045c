"""Rules of the clean side, and of corruption in training."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sk_denoise import (
    CleanTargetWarning,
    DenoisingAutoencoder,
    DenseNetwork,
    GaussianNoiser,
    make_denoising_scorer,
)

SMALL = DenseNetwork((32,))


def small(**settings):
    """Return a small estimator that trains fast."""
    return DenoisingAutoencoder(SMALL, **{"latent_dim": 8, "max_epochs": 3, "random_state": 0} | settings)


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(60, 5))


def noised(X, **settings):
    return GaussianNoiser(0.3, random_state=0, **settings).fit_transform(X)


# Rule 1: X_clean ---------------------------------------------------------------------------------------


def test_x_clean_is_the_clean_side_even_if_y_could_be(X):
    dae = small().fit(X + 0.1, X + 5, X_clean=X)
    assert dae.target_source_ == "X_clean"
    assert abs(dae.predict(X).mean() - X.mean()) < 1


def test_x_clean_may_come_with_labels(X):
    assert small().fit(X + 0.1, np.arange(60) % 3, X_clean=X).target_source_ == "X_clean"


def test_a_given_pair_is_not_corrupted_again(X):
    shift = small(max_epochs=200).fit(X, X_clean=X + 3)
    np.testing.assert_allclose(shift.predict(X).mean(axis=0), X.mean(axis=0) + 3, atol=0.2)
    assert shift.noiser_ is None


def test_a_clean_side_that_equals_the_noisy_one_warns(X):
    with pytest.warns(CleanTargetWarning, match="no noise to learn from"):
        small().fit(X, X_clean=X)


def test_the_columns_of_the_clean_side_are_those_of_x(X):
    frame = pd.DataFrame(X, columns=list("abcde"))
    with pytest.raises(ValueError, match="The columns of X_clean"):
        small().fit(frame + 0.1, X_clean=frame[list("edcba")])


# Rule 2: y ---------------------------------------------------------------------------------------------


def test_a_y_of_the_shape_of_x_is_the_clean_side(X):
    assert small().fit(X + 0.1, X).target_source_ == "y"


def test_labels_are_ignored(X):
    assert small().fit(X, np.arange(60)).target_source_ == "X"
    assert small().fit(X, np.array(["a", "b"] * 30)).target_source_ == "X"


def test_integer_y_of_another_shape_is_ignored(X):
    assert small().fit(X, np.ones((60, 2), dtype=int)).target_source_ == "X"


def test_floating_y_of_another_shape_warns(X):
    with pytest.warns(CleanTargetWarning, match=r"\(60, 2\).*X_clean="):
        assert small().fit(X, np.full((60, 2), 0.5)).target_source_ == "X"


def test_y_of_one_feature_is_a_label():
    x = np.random.default_rng(0).normal(size=(60, 1))
    with pytest.warns(CleanTargetWarning, match="one feature"):
        assert small().fit(x, x + 1).target_source_ == "X"


def test_binary_y_for_other_x_is_a_label_and_warns(X):
    with pytest.warns(CleanTargetWarning, match="zeros and ones"):
        assert small().fit(X, (X > 0).astype(float)).target_source_ == "X"


def test_binary_y_for_binary_x_is_the_clean_side():
    bits = np.random.default_rng(0).integers(0, 2, (60, 5))
    assert small().fit(1 - bits, bits).target_source_ == "y"


@pytest.mark.slow
def test_y_may_be_in_other_units_than_x(digits):
    train = digits.train
    noisy = train + np.random.default_rng(0).normal(0, 0.25, train.shape)
    volts = DenoisingAutoencoder(max_epochs=20, random_state=0).fit(noisy, 255 * train + 7)
    restored = (volts.predict(digits.noisy_test(0.25)) - 7) / 255
    assert np.mean((restored - digits.test) ** 2) < 0.6 * 0.25**2
    assert volts.data_range_ == 255


# Rule 3: the output of a noiser ------------------------------------------------------------------------


def test_the_output_of_a_noiser_carries_its_clean_source(X):
    dae = small().fit(noised(X))
    assert dae.target_source_ == "noiser"
    assert dae.noiser_.noise_factor == 0.3


@pytest.mark.parametrize("container", ["default", "pandas", "polars"])
def test_a_pipeline_with_a_noiser_equals_the_estimator_with_the_noise(X, container):
    pipe = Pipeline([("noise", GaussianNoiser(0.3)), ("dae", small())]).set_output(transform=container)
    alone = small(noise=GaussianNoiser(0.3)).fit(X)
    for fitted in (pipe.fit(X), sklearn.clone(pipe).fit(X, X)):
        assert fitted[-1].target_source_ == "noiser"
        np.testing.assert_array_equal(fitted.predict(X), alone.predict(X))


def test_a_cached_pipeline_gives_the_same_fit(X, tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)
    for container in ("default", "pandas"):
        results = []
        for _ in range(2):  # from the cache in the second run
            pipe = Pipeline([("noise", GaussianNoiser(0.3, random_state=0)), ("dae", small())], memory=memory)
            pipe.set_output(transform=container).fit(X)
            assert pipe[-1].target_source_ == "noiser"
            results.append(pipe.predict(X))
        np.testing.assert_array_equal(*results)


def test_noised_data_as_x_and_y_are_noised_data(X):
    Z = noised(X)
    assert small().fit(Z, Z).target_source_ == "noiser"


def test_a_given_clean_side_replaces_the_carried_one(X):
    with pytest.warns(CleanTargetWarning, match="carries its clean side, but y is another one"):
        assert small().fit(noised(X), X + 1).target_source_ == "y"
    assert small().fit(noised(X), X_clean=X).target_source_ == "X_clean"


def edit(Z):
    Z[3, 2] += 1
    return Z


@pytest.mark.parametrize(
    "change",
    [edit, lambda Z: Z[::-1], lambda Z: Z[:50], lambda Z: Z[:, ::-1], lambda Z: Z * 2],
    ids=["edited in place", "shuffled", "sliced", "columns reordered", "computed with"],
)
def test_changed_noised_data_are_refused(X, change):
    with pytest.raises(ValueError, match="X_clean="):
        small().fit(change(noised(X)))


@pytest.mark.parametrize(
    "change",
    [
        lambda Z: Z.assign(x0=0.0),
        lambda Z: Z.sample(frac=1, random_state=0),
        lambda Z: Z.iloc[:50],
        lambda Z: Z[Z.columns[::-1]],
        lambda Z: Z * 2,
    ],
    ids=["edited", "shuffled", "sliced", "columns reordered", "computed with"],
)
def test_changed_noised_frames_are_refused(X, change):
    Z = GaussianNoiser(0.3, random_state=0).set_output(transform="pandas").fit_transform(X)
    with pytest.raises(ValueError, match="X_clean="):
        small().fit(change(Z))


def test_copies_of_noised_data_carry_the_source(X):
    assert small().fit(noised(X).copy()).target_source_ == "noiser"


def test_plain_arrays_of_noised_data_are_clean_data(X):
    noisy = np.asarray(noised(X))
    with pytest.warns(CleanTargetWarning, match="X holds the noise of GaussianNoiser"):
        assert small().fit(noisy).target_source_ == "X"
    assert small().fit(noisy, noisy).target_source_ == "X"


def test_noised_data_cannot_be_the_clean_side(X):
    with pytest.raises(ValueError, match=r'X_clean is the output of GaussianNoiser.*apply="fit"'):
        small().fit(X, X_clean=noised(X))


# Rule 4: X ---------------------------------------------------------------------------------------------


def test_x_alone_is_clean(X):
    dae = small().fit(X)
    assert dae.target_source_ == "X"
    assert dae.noiser_.scale == "std"


def test_y_that_equals_x_is_ignored(X):
    assert small().fit(X, X.copy()).target_source_ == "X"
    assert small(noise=GaussianNoiser(0.3)).fit(X, X).target_source_ == "X"


@pytest.mark.slow
def test_fit_on_x_and_x_does_not_learn_the_identity(digits):
    dae = DenoisingAutoencoder(noise=GaussianNoiser(0.5), max_epochs=10, random_state=0)
    noisy = digits.noisy_test(0.5)
    errors = np.mean((dae.fit(digits.train, digits.train).predict(noisy) - digits.test) ** 2)
    assert errors < 0.3 * 0.5**2


def test_no_noise_trains_a_plain_autoencoder(X):
    dae = small(noise=None).fit(X)
    assert dae.noiser_ is None
    assert dae.target_source_ == "X"


def test_the_default_noise_of_images_is_relative_to_all_pixels(digits):
    for settings, samples in (
        ({"image_shape": (8, 8)}, digits.train),
        ({}, digits.train.reshape(-1, 8, 8)),
    ):
        noiser = small(max_epochs=1, **settings).fit(samples).noiser_
        assert noiser.scale == "absolute"
        assert noiser.noise_factor == pytest.approx((0, digits.train.std()))


@pytest.mark.parametrize("noise", [None, GaussianNoiser(0.1)])
def test_noise_given_twice_is_refused(X, noise):
    for fit in (
        lambda dae: dae.fit(X, X_clean=X + 1),
        lambda dae: dae.fit(X, X + 1),
        lambda dae: dae.fit(noised(X)),
    ):
        with pytest.raises(ValueError, match="noise given twice"):
            fit(small(noise=noise))


# Noisers corrupt in training only ----------------------------------------------------------------------


def test_predicting_through_the_pipeline_adds_no_noise(X):
    pipe = Pipeline([("noise", GaussianNoiser(0.3)), ("dae", small())]).fit(X)
    np.testing.assert_array_equal(pipe.predict(X), pipe[-1].predict(X))
    np.testing.assert_array_equal(pipe.transform(X), pipe[-1].transform(X))


def test_fit_transform_denoises_the_noisy_rows_of_the_noiser(X):
    pipe = Pipeline([("noise", GaussianNoiser(0.3, random_state=0)), ("dae", small())])
    trained_on = pipe.fit_transform(X)
    np.testing.assert_array_equal(trained_on, pipe[-1].transform(np.asarray(noised(X))))
    assert not np.array_equal(trained_on, pipe.transform(X))


def test_a_classifier_at_the_end_gets_the_labels(X):
    y = (X[:, 0] > 0).astype(int)
    pipe = Pipeline([("noise", GaussianNoiser(0.3)), ("dae", small()), ("clf", LogisticRegression())])
    assert pipe.fit(X, y).predict(X).shape == (60,)
    assert pipe[1].target_source_ == "noiser"


def test_a_scaler_may_come_before_the_noiser(X):
    pipe = Pipeline([("scale", MinMaxScaler()), ("noise", GaussianNoiser(0.1)), ("dae", small())]).fit(X)
    assert pipe[-1].target_source_ == "noiser"
    assert pipe[-1].data_range_ == pytest.approx(1)


def test_routed_clean_data_pass_through_the_earlier_steps(X):
    with sklearn.config_context(enable_metadata_routing=True):
        steps = [("scale", StandardScaler()), ("noise", GaussianNoiser(0.1)), ("dae", small())]
        pipe = Pipeline(steps, transform_input=["X_clean"])
        pipe[-1].set_fit_request(X_clean=True)
        pipe.fit(X + 0.1, np.arange(60), X_clean=X)
        assert pipe[-1].target_source_ == "X_clean"
        assert pipe[-1].data_range_ == pytest.approx(np.ptp(pipe[0].transform(X)))

        pipe.set_params(noise__apply="always")
        with pytest.raises(ValueError, match='apply="fit"'):
            pipe.fit(X + 0.1, np.arange(60), X_clean=X)


# Searches and scores -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_source_is_kept_in_processes_of_a_search(digits):
    pipe = Pipeline(
        [("noise", GaussianNoiser()), ("dae", DenoisingAutoencoder(max_epochs=8, random_state=0))]
    )
    scorer = make_denoising_scorer(GaussianNoiser(0.25, random_state=0), data_range=1)
    grid = {"noise__noise_factor": [0.05, 0.25], "dae__latent_dim": [16]}
    search = GridSearchCV(pipe, grid, scoring=scorer, cv=2, n_jobs=2).fit(digits.train[:600])
    assert search.best_params_["noise__noise_factor"] == 0.25
    assert search.best_estimator_[-1].target_source_ == "noiser"


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.25, 0.6])
def test_a_search_over_noise_selects_the_noise_of_the_scorer(digits, sigma):
    pipe = Pipeline(
        [("noise", GaussianNoiser()), ("dae", DenoisingAutoencoder(max_epochs=25, random_state=0))]
    )
    scorer = make_denoising_scorer(GaussianNoiser(sigma, random_state=0), data_range=1)
    search = GridSearchCV(pipe, {"noise__noise_factor": [0.05, 0.25, 0.6]}, scoring=scorer, cv=2)
    assert search.fit(digits.train[:800]).best_params_ == {"noise__noise_factor": sigma}


def test_score_on_pairs_is_the_mean_psnr_of_the_prediction(X):
    dae = small(blend=None).fit(X)
    spread = X.std(axis=0)
    data_range = np.ptp((X - X.mean(axis=0)) / spread)
    errors = (((dae.predict(X + 0.1) - X) / spread) ** 2).mean(axis=1)
    expected = np.mean(10 * np.log10(data_range**2 / errors))
    assert dae.score(X + 0.1, X) == pytest.approx(expected)


def test_score_on_clean_data_adds_the_same_noise_for_every_candidate(X):
    weak = small(noise=GaussianNoiser(0.05, scale="std"), blend=None)
    candidates = [small(blend=None).fit(X), weak.fit(X, X)]
    assert candidates[0].score(X) == candidates[0].score(X, X) == candidates[0].score(X, np.arange(60))
    identity = candidates[1]
    # The score of the noise alone.
    identity.predict = lambda noisy: noisy
    weakest = identity.score(X)
    candidates[0].predict = identity.predict
    assert candidates[0].score(X) == weakest


def test_score_uses_the_clean_source_of_noised_data(X):
    dae = small().fit(X)
    assert dae.score(noised(X)) == dae.score(np.asarray(noised(X)), X)


def test_score_is_capped():
    X = np.random.default_rng(0).normal(size=(20, 4))
    dae = small().fit(X)
    dae.predict = lambda noisy: X
    assert dae.score(X + 0.1, X) == 100


@pytest.mark.slow
def test_the_data_range_is_that_of_small_integer_types_or_of_the_data(X):
    pixels = np.random.default_rng(0).integers(3, 200, (60, 5))
    for dtype, expected in (
        ("uint8", 255),
        ("uint16", 255),
        ("int64", np.ptp(pixels)),
        (float, np.ptp(pixels)),
    ):
        assert small(max_epochs=1).fit(pixels.astype(dtype)).data_range_ == expected
    noisy = GaussianNoiser(9).fit_transform(pixels.astype("uint8"))
    assert small(max_epochs=1).fit(noisy).data_range_ == 255
    assert small(max_epochs=1).fit(X, X_clean=pixels.astype("uint8")).data_range_ == 255


# Validation rows ---------------------------------------------------------------------------------------


def test_validation_data_without_a_clean_side_are_clean_and_corrupted_once(X):
    dae = small(max_epochs=2, learning_rate=1e-9).fit(X, X_val=X[:20])
    assert len(dae.validation_scores_) == 2
    assert dae.validation_scores_[0] == pytest.approx(dae.validation_scores_[1], abs=1e-3)


def test_validation_pairs_are_used_as_given(X):
    dae = small(blend=None).fit(X + 0.1, X_clean=X, X_val=X[:20] + 0.1, X_clean_val=X[:20])
    assert dae.validation_scores_[-1] == pytest.approx(dae.score(X[:20] + 0.1, X[:20]), abs=1e-3)


def test_validation_pairs_get_no_further_noise(X):
    dae = small(noise=GaussianNoiser(5.0), blend=None).fit(X, X_val=X[:20] + 0.1, X_clean_val=X[:20])
    assert dae.validation_scores_[-1] == pytest.approx(dae.score(X[:20] + 0.1, X[:20]), abs=1e-3)


def test_given_pairs_need_a_clean_side_for_validation(X):
    with pytest.raises(ValueError, match="X_clean_val"):
        small().fit(X + 0.1, X_clean=X, X_val=X[:20])
    with pytest.raises(ValueError, match="X_val, which is missing"):
        small().fit(X, X_clean_val=X[:20])


def test_partial_fit_follows_the_rules_at_each_call(X):
    dae = small()
    for given, source in (((X,), "X"), ((noised(X),), "noiser"), ((X + 0.1, X), "y")):
        assert dae.partial_fit(*given).target_source_ == source
    assert dae.n_iter_ == 3
    with pytest.raises(ValueError, match="5 features"):
        dae.partial_fit(X[:, :4])
