"""A random_state determines the bits of a fit, and global states stay untouched."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser


@pytest.fixture
def X():
    return np.random.default_rng(0).random((150, 6)).astype(np.float32)


def make(random_state=0, **settings):
    return DenoisingAutoencoder(DenseNetwork((16,)), 4, max_epochs=4, random_state=random_state, **settings)


def fit_predict(model, X):
    return model.fit(X).predict(X)


def test_an_integer_gives_the_same_bits(X):
    np.testing.assert_array_equal(fit_predict(make(), X), fit_predict(make(), X))
    assert not np.array_equal(fit_predict(make(1), X), fit_predict(make(2), X))


def test_without_a_random_state_fits_differ(X):
    assert not np.array_equal(fit_predict(make(None), X), fit_predict(make(None), X))


def test_a_random_state_instance_advances(X):
    state = np.random.RandomState(0)
    dae = make(state)
    first, second = fit_predict(dae, X), fit_predict(dae, X)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(fit_predict(make(np.random.RandomState(0)), X), first)


@pytest.mark.parametrize("backend", [pytest.param("loky", marks=pytest.mark.slow), "threading"])
def test_the_bits_are_the_same_in_processes_and_threads(X, backend):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        models = [make(seed) for seed in range(4)]
        models.append(Pipeline([("noise", GaussianNoiser(0.2)), ("dae", make())]))
        alone = [fit_predict(clone(model), X) for model in models]
        together = joblib.Parallel(n_jobs=2, backend=backend)(
            joblib.delayed(fit_predict)(clone(model), X) for model in models
        )
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("random_state", [0, None])
def test_global_states_and_thread_counts_are_unchanged(X, random_state, two_threads):
    np.random.seed(7)  # noqa: NPY002 - the global state is what is tested
    torch.manual_seed(7)
    numpy_state = np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    threads = torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]

    dae = make(random_state, early_stopping=True).fit(X)
    dae.partial_fit(X)
    dae.predict(X)
    dae.score(X)
    GaussianNoiser(random_state=random_state).fit_transform(X)

    for before, after in zip(numpy_state, np.random.get_state(), strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(before, after)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert threads == (torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()])
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_the_data_are_unchanged(X):
    before = X.copy()
    dae = make(noise=GaussianNoiser(0.3, clip=(0, 1))).fit(X)
    dae.predict(X)
    dae.score(X)
    np.testing.assert_array_equal(X, before)


def test_read_only_data_give_the_same_result(X):
    expected = fit_predict(make(), X)
    X.flags.writeable = False
    np.testing.assert_array_equal(fit_predict(make(), X), expected)


def test_the_layout_in_memory_makes_no_difference(X):
    expected = fit_predict(make(), X)
    np.testing.assert_array_equal(fit_predict(make(), np.asfortranarray(X)), expected)
    np.testing.assert_array_equal(fit_predict(make(), X[::-1].copy()[::-1]), expected)
    np.testing.assert_array_equal(fit_predict(make(), X.astype(">f4")), expected)


class ThreadRecorder(GaussianNoiser):
    """A noiser that records the number of threads of the run."""

    def corrupt(self, x, generator):
        self.threads_ = torch.get_num_threads()
        return super().corrupt(x, generator)


def threads_of_a_fit(X, latent_dim=16):
    """Return the number of threads of a run with large steps."""
    settings = {"noise": ThreadRecorder(0.2), "max_epochs": 1, "blend": None}
    return DenoisingAutoencoder(DenseNetwork((1024,)), latent_dim, **settings).fit(X).noiser_.threads_


@pytest.fixture
def wide():
    return np.random.default_rng(0).random((128, 600)).astype(np.float32)


@pytest.mark.slow
def test_large_steps_use_the_threads_of_the_caller(wide, two_threads):
    assert threads_of_a_fit(wide) == 2
    torch.set_num_threads(1)
    assert threads_of_a_fit(wide) == 1


@pytest.mark.slow
def test_small_steps_use_one_thread(X, two_threads):
    assert make(noise=ThreadRecorder(0.2)).fit(X).noiser_.threads_ == 1


@pytest.mark.slow
def test_workers_of_a_search_share_the_processor(wide):
    workers = 2
    threads = joblib.Parallel(n_jobs=workers)(joblib.delayed(threads_of_a_fit)(wide) for _ in range(workers))
    assert max(threads) <= max(1, joblib.cpu_count() // workers)


def nested(X):
    """Return the numbers of threads of fits in a worker."""
    return joblib.Parallel(n_jobs=2)(joblib.delayed(threads_of_a_fit)(X) for _ in range(2))


@pytest.mark.slow
def test_a_nested_search_does_not_start_more_threads_than_there_are_cores(wide):
    threads = joblib.Parallel(n_jobs=2)(joblib.delayed(nested)(wide) for _ in range(2))
    assert max(threads for fits in threads for threads in fits) <= max(1, joblib.cpu_count() // 2)
