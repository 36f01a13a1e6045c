"""Searches on a cluster of dask: the bits of this process, callbacks, threads, a killed worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_validate
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, make_denoising_scorer, parallel_dask

distributed = pytest.importorskip("distributed")
# A cluster takes seconds to start.
pytestmark = pytest.mark.slow

X = np.random.default_rng(0).random((120, 64)).astype(np.float32)
GRID = {"dae__latent_dim": [2, 8]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def build_pipeline(**parameters: Any) -> Pipeline:
    dae = DenoisingAutoencoder(max_epochs=2, random_state=0, **parameters)
    return Pipeline([("noise", GaussianNoiser(0.1, random_state=0)), ("dae", dae)])


def build_search(**parameters: Any) -> GridSearchCV:
    scorer = make_denoising_scorer(GaussianNoiser(0.1, random_state=0), data_range=1)
    return GridSearchCV(build_pipeline(**parameters), GRID, scoring=scorer, cv=2, error_score="raise")


def assert_equal_searches(search: Any, expected: Any) -> None:
    """Assert that scores and the fitted best estimators of two searches have the same bits."""
    assert search.best_params_ == expected.best_params_
    for name in expected.cv_results_:
        if "test_score" in name:
            np.testing.assert_array_equal(search.cv_results_[name], expected.cv_results_[name])
    np.testing.assert_array_equal(search.best_estimator_.predict(X), expected.best_estimator_.predict(X))


@pytest.fixture(scope="module")
def local_search() -> GridSearchCV:
    return build_search().fit(X)


class LineWriter(Callback):
    """Callback of skorch that writes a line at the end of each epoch."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        with Path(self.path).open("a") as file:
            file.write("skorch\n")


def test_a_search_on_a_cluster_has_the_bits_of_a_local_one(cluster, local_search):
    with joblib.parallel_config("dask"):
        search = build_search().fit(X)
    assert_equal_searches(search, local_search)


def test_a_halving_search_on_a_cluster_has_the_bits_of_a_local_one(cluster):
    search = HalvingGridSearchCV(
        build_pipeline(), GRID, factor=2, min_resources=60, cv=2, random_state=0, error_score="raise"
    )
    expected = search.fit(X)
    with joblib.parallel_config("dask"):
        elsewhere = HalvingGridSearchCV(**search.get_params(deep=False)).fit(X)
    assert_equal_searches(elsewhere, expected)


def test_cross_validation_on_a_cluster_returns_fitted_estimators(cluster):
    options = {"cv": 2, "return_estimator": True, "error_score": "raise"}
    expected = cross_validate(build_pipeline(), X, **options)
    with joblib.parallel_config("dask"):
        found = cross_validate(build_pipeline(), X, **options)
    np.testing.assert_array_equal(found["test_score"], expected["test_score"])
    for one, other in zip(found["estimator"], expected["estimator"], strict=True):
        np.testing.assert_array_equal(one.predict(X), other.predict(X))


def test_callbacks_run_on_the_workers(cluster, tmp_path, local_search):
    path = str(tmp_path / "lines.txt")

    def write_line(estimator: Any, epoch: Any) -> None:
        with Path(path).open("a") as file:
            file.write(f"function {os.getpid()}\n")

    with joblib.parallel_config("dask"):
        search = build_search(callbacks=[write_line, LineWriter(path)]).fit(X)
    lines = Path(path).read_text().splitlines()
    # Two candidates, two folds and the best estimator at two epochs each.
    assert lines.count("skorch") == 2 * (2 * 2 + 1)
    processes = [line.split()[1] for line in lines if line.startswith("function")]
    assert len(processes) == 2 * (2 * 2 + 1)
    # The best estimator is fitted here.
    assert processes.count(str(os.getpid())) == 2
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], local_search.cv_results_["mean_test_score"]
    )


def test_each_worker_computes_with_one_thread(cluster):
    def count_threads() -> int:
        import torch

        return torch.get_num_threads()

    assert set(cluster.run(count_threads).values()) == {1}


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_search_survives_a_worker_that_is_killed(cluster, tmp_path, local_search, is_shared):
    path = tmp_path / "process.txt"

    def wait_for_the_end(estimator: Any, epoch: Any) -> None:
        if not path.exists():
            path.write_text(str(os.getpid()))
            time.sleep(60)

    def kill() -> None:
        while not (path.exists() and path.read_text()):
            time.sleep(0.05)
        if int(path.read_text()) != os.getpid():
            os.kill(int(path.read_text()), signal.SIGKILL)

    # With one worker left by the last kill, joblib would search in this process.
    cluster.wait_for_workers(2, timeout=60)
    killer = threading.Thread(target=kill)
    killer.start()
    with parallel_dask(cluster, shared=[X] if is_shared else []):
        search = build_search(callbacks=[wait_for_the_end]).fit(X)
    killer.join()
    assert int(path.read_text()) != os.getpid()
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], local_search.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(search.best_estimator_.predict(X), local_search.best_estimator_.predict(X))
