"""Invalid input is refused with the expectation and a remedy in the message."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser, TrainingDivergedError


def small(**settings):
    defaults = {"network": DenseNetwork((16,)), "latent_dim": 4, "max_epochs": 2, "random_state": 0}
    return DenoisingAutoencoder(**defaults | settings)


@pytest.fixture
def X():
    return np.random.default_rng(0).random((40, 5))


@pytest.fixture
def fitted(X):
    return small().fit(X)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "X contains NaN"), (np.inf, "X contains infinity"), (-np.inf, "infinity")]
)
def test_values_that_are_not_finite(X, fitted, value, message):
    X[3, 1] = value
    for use in (small().fit, small().partial_fit, fitted.predict, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match=message):
            use(X)


@pytest.mark.parametrize("name", ["X_clean", "X_val", "y"])
def test_clean_sides_that_are_not_finite(X, name):
    bad = np.full_like(X, np.nan)
    with pytest.raises(ValueError, match="NaN"):
        small().fit(X, **{name: bad})


def test_another_number_of_features(X, fitted):
    for use in (fitted.predict, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match="4 features, but DenoisingAutoencoder is expecting 5"):
            use(X[:, :4])


def test_images_of_another_shape():
    images = np.random.default_rng(0).random((20, 4, 6))
    dae = small().fit(images)
    for wrong in (images.reshape(20, 6, 4), images.reshape(20, 24), images[..., None]):
        with pytest.raises(ValueError, match=r"fitted on samples of shape \(4, 6\)"):
            dae.predict(wrong)


def test_a_single_image():
    images = np.random.default_rng(0).random((20, 4, 6))
    dae = small().fit(images)
    with pytest.raises(ValueError, match=r"single sample.*X\[None\]"):
        dae.predict(images[0])
    assert dae.predict(images[0][None]).shape == (1, 4, 6)


def test_a_clean_side_of_another_shape(X):
    for name, bad in (("X_clean", X[:, :4]), ("X_clean", X[:20]), ("X_clean", X[0])):
        with pytest.raises(ValueError, match=r"X_clean has shape .*\(40, 5\)"):
            small().fit(X, **{name: bad})


@pytest.mark.parametrize(
    ("parameter", "wrong", "message"),
    [
        ("network", "dens", "Unknown network 'dens'. Did you mean 'dense'"),
        ("loss", "mes", "Unknown loss 'mes'. Did you mean 'mse'"),
        ("optimizer", "adamm", "Unknown optimizer 'adamm'. Did you mean 'adam"),
        ("learning_rate_schedule", "cosin", "Did you mean 'cosine'"),
        ("output", "latents", "Did you mean 'latent'"),
        ("noise", "atuo", "Did you mean 'auto'"),
        ("network", DenseNetwork(activation="rellu"), "Unknown activation 'rellu'. Did you mean 'relu'"),
        ("network", DenseNetwork((16, 0)), "at least 1"),
        ("network", DenseNetwork((1.5,)), "integers"),
        ("network", nn.Linear(5, 5), "built already"),
        ("network", 3, "network must be one of"),
        ("latent_dim", 0, "latent_dim"),
        ("latent_dim", 2.5, "latent_dim"),
        ("max_epochs", 0, "max_epochs"),
        ("batch_size", "all", "batch_size"),
        ("learning_rate", -1.0, "learning_rate"),
        ("weight_decay", -1.0, "weight_decay"),
        ("validation_fraction", 1.0, "validation_fraction"),
        ("early_stopping", "yes", "early_stopping"),
        ("random_state", "zero", "random_state"),
        ("device", "cuda:99", "device='cuda:99' cannot be used here"),
        ("device", "gpu", "device='gpu' cannot be used here"),
        ("image_shape", (2, 2), r"image_shape=\(2, 2\) has 4 pixels, but X has 5 features"),
    ],
)
def test_parameters(X, parameter, wrong, message):
    with pytest.raises(ValueError, match=message):
        small(**{parameter: wrong}).fit(X)


def test_no_samples_and_one_sample(X):
    with pytest.raises(ValueError, match="0 sample"):
        small().fit(X[:0])
    with pytest.raises(ValueError, match="1 sample"):
        small().fit(X[:1])


def test_a_batch_larger_than_the_data_warns(X):
    with pytest.warns(UserWarning, match="batch_size=41 is larger than the 40 samples"):
        small(batch_size=41).fit(X)


def test_too_few_samples_to_validate_on(X):
    with pytest.raises(ValueError, match=r"validation_fraction=0\.9 leaves 1 of 10"):
        small(early_stopping=True, validation_fraction=0.9).fit(X[:10])


@pytest.mark.parametrize(
    "settings",
    [{"loss": "bce"}, {"network": DenseNetwork(output_activation="sigmoid")}],
    ids=["bce", "sigmoid"],
)
def test_data_outside_the_unit_interval(X, settings):
    small(**settings).fit(X)
    for bad in (X - 0.5, X + 0.5):
        with pytest.raises(ValueError, match=r"needs clean data in \[0, 1\], got values from"):
            small(**settings).fit(bad)


def test_unfitted_use(X):
    dae = small(output="latent")
    for use in (dae.predict, dae.transform, dae.score, dae.inverse_transform):
        with pytest.raises(NotFittedError):
            use(X)
    with pytest.raises(NotFittedError):
        dae.get_feature_names_out()
    assert not hasattr(dae, "encoder_")


def test_strings_and_objects(X):
    for bad in (np.array([["a", "b"]] * 4), np.array([["1", {}]] * 4, dtype=object)):
        with pytest.raises((ValueError, TypeError)):
            small().fit(bad)


def test_sparse_data(X):
    with pytest.raises(TypeError, match="dense data is required"):
        small().fit(scipy.sparse.csr_array(X))


def test_complex_data(X):
    with pytest.raises(ValueError, match="Complex data"):
        small().fit(X + 1j)


def test_samples_with_too_many_axes_or_too_few(X):
    with pytest.raises(ValueError, match="neither rows"):
        small().fit(np.zeros((4, 2, 2, 2, 2)))
    with pytest.raises(ValueError, match="Expected 2D array"):
        small().fit(X[0])


@pytest.mark.parametrize("noise", [np.random.default_rng(0).normal, [GaussianNoiser()], (0.1, 0.2, 0.3)])
def test_invalid_noise(X, noise):
    with pytest.raises(TypeError, match="Expected a noiser such as GaussianNoiser"):
        small(noise=noise).fit(X)


def test_a_noiser_class_in_place_of_a_noiser(X):
    with pytest.raises(TypeError, match=r"Did you mean GaussianNoiser\(\)"):
        small(noise=GaussianNoiser).fit(X)


def test_latent_vectors_of_another_length(X):
    dae = small(output="latent").fit(X)
    with pytest.raises(ValueError, match="have length 4"):
        dae.inverse_transform(X)


def test_inverse_transform_exists_for_latent_output_only(fitted):
    assert not hasattr(fitted, "inverse_transform")
    with pytest.raises(AttributeError, match="inverse_transform"):
        fitted.inverse_transform(np.zeros((2, 4)))


class NoCoder(nn.Module):
    """A network without encoder and decoder."""

    def __init__(self, input_shape, latent_dim):
        super().__init__()
        self.layer = nn.Linear(input_shape[0], input_shape[0])

    def forward(self, x):
        return self.layer(x)


def test_outputs_that_a_network_lacks(X):
    dae = small(network=NoCoder).fit(X)
    assert dae.predict(X).shape == X.shape
    with pytest.raises(AttributeError, match="NoCoder lacks"):
        _ = dae.encoder_
    for output in ("latent", "activations"):
        with pytest.raises(AttributeError, match=f"output='{output}' needs a network with the part"):
            small(network=NoCoder, output=output).fit(X)


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (lambda shape, latent: nn.Linear(shape[0], 3), ValueError, r"it gave \(2, 3\)"),
        (lambda shape, latent: torch.ones(3), TypeError, "must give a torch.nn.Module, got Tensor"),
    ],
)
def test_networks_that_do_not_keep_the_shape(X, network, error, message):
    with pytest.raises(error, match=message):
        small(network=network).fit(X)


def test_a_diverged_training_names_the_learning_rate(X):
    with pytest.raises(TrainingDivergedError, match="Lower learning_rate"):
        small(optimizer="sgd", learning_rate=1e9, max_epochs=50).fit(X)


def test_a_failed_fit_leaves_the_estimator_unchanged(X, fitted):
    before = fitted.predict(X)
    for bad in (X[:1], np.full_like(X, np.nan)):
        with pytest.raises(ValueError, match=r"1 sample|NaN"):
            fitted.fit(bad)
    diverging = {"optimizer": "sgd", "learning_rate": 1e9, "max_epochs": 50}
    original = {name: getattr(fitted, name) for name in diverging}
    with pytest.raises(TrainingDivergedError):
        fitted.set_params(**diverging).fit(X[:, :3])
    fitted.set_params(**original)
    np.testing.assert_array_equal(fitted.predict(X), before)
    assert fitted.n_features_in_ == 5


def test_a_diverged_partial_fit_leaves_the_estimator_unchanged(X):
    dae = small(optimizer="sgd").partial_fit(X)
    before = dae.predict(X)
    with pytest.raises(TrainingDivergedError):
        dae.set_params(learning_rate=1e9).partial_fit(X)
    np.testing.assert_array_equal(dae.predict(X), before)
    after = dae.set_params(learning_rate=None).partial_fit(X).predict(X)
    assert np.isfinite(after).all()
