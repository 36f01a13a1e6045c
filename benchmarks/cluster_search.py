"""Measure searches on a cluster of dask: bits, speed, a killed worker, and when to share the data.

    python benchmarks/cluster_search.py

A grid search of an autoencoder on digits runs in this process, in two processes of joblib, and on clusters of
one and two workers on this machine, of one thread each; one worker is killed in the middle of another search.
Then candidates that only read arrays of several sizes run with and without ``shared``. Results are written
to ``benchmarks/results/cluster_search.md``. Run nothing else meanwhile.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from distributed import Client, LocalCluster
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, make_denoising_scorer, parallel_dask

RESULTS = Path(__file__).parent / "results" / "cluster_search.md"
EPOCHS, GRID = 40, {"dae__latent_dim": [8, 16, 32, 64]}
MEGABYTES = (1, 10, 100)
X = (load_digits().data[:1000] / 16).astype(np.float32)


def build_search(epochs: int = EPOCHS, **parameters: Any) -> GridSearchCV:
    """Return a search of eight fits."""
    dae = DenoisingAutoencoder(max_epochs=epochs, random_state=0, **parameters)
    return GridSearchCV(
        Pipeline([("noise", GaussianNoiser(0.25, random_state=0)), ("dae", dae)]),
        GRID,
        scoring=make_denoising_scorer(GaussianNoiser(0.25, random_state=0), data_range=1),
        cv=2,
        refit=False,
        error_score="raise",
    )


def run(where: Callable[[], AbstractContextManager[Any]], **parameters: Any) -> tuple[float, Any]:
    """Search somewhere, and return the seconds and the scores."""
    with where():
        # The first search imports the package in each process.
        build_search(epochs=1).fit(X)
        start = time.perf_counter()
        search = build_search(**parameters).fit(X)
        seconds = time.perf_counter() - start
    print(f"{seconds:.1f} s", flush=True)
    return seconds, search.cv_results_["mean_test_score"]


@contextmanager
def cluster_of(n_workers: int) -> Iterator[None]:
    """Surround searches by a cluster on this machine."""
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        parallel_dask(client, shared=[X]),
    ):
        yield


def killer_of(path: Path) -> threading.Thread:
    """Return a thread that kills the process whose number a callback writes."""

    def kill() -> None:
        while not (path.exists() and path.read_text()):
            time.sleep(0.05)
        os.kill(int(path.read_text()), signal.SIGKILL)

    return threading.Thread(target=kill)


class Reader(BaseEstimator):
    """An estimator that reads its data, to measure how long they travel."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def fit(self, X: Any, y: Any = None) -> Reader:
        """Read X."""
        check_array(X)
        return self

    def score(self, X: Any, y: Any = None) -> float:
        """Return 0."""
        return 0.0


def seconds_of_reading(client: Client, megabytes: int, is_shared: bool) -> float:
    """Return the seconds of a search of 16 candidates over an array of a size."""
    data = np.ones((megabytes * 2500, 100), np.float32)
    folds = KFold(2)
    start = time.perf_counter()
    with parallel_dask(client, shared=[data] if is_shared else []):
        GridSearchCV(Reader(), {"number": list(range(16))}, cv=folds, refit=False).fit(data)
        return time.perf_counter() - start


def main() -> None:
    """Measure all and write the tables."""
    path = RESULTS.with_suffix(".process")

    def wait_for_the_end(estimator: Any, epoch: Any) -> None:
        if not path.exists():
            path.write_text(str(os.getpid()))
            time.sleep(60)

    runs = {
        "this process": run(nullcontext),
        "two processes of joblib": run(lambda: joblib.parallel_config("loky", n_jobs=2)),
        "a cluster of one worker": run(lambda: cluster_of(1)),
        "a cluster of two workers": run(lambda: cluster_of(2)),
    }
    killer = killer_of(path)
    killer.start()
    try:
        runs["two workers, one is killed at its first epoch"] = run(
            lambda: cluster_of(2), callbacks=[wait_for_the_end]
        )
        killer.join()
    finally:
        path.unlink(missing_ok=True)
    expected = runs["this process"][1]
    base = runs["a cluster of one worker"][0]
    lines = [
        "# Searches on a cluster",
        "",
        f"`python benchmarks/cluster_search.py`: a grid search of 4 candidates in 2 folds, {EPOCHS} epochs "
        f"on 1,000 digits, on a machine of {os.cpu_count()} cores with a load of "
        f"{os.getloadavg()[0]:.0f}; one thread a worker.",
        "",
        "| where | seconds | times as fast as one worker | scores of the same bits |",
        "|---|---|---|---|",
        *(
            f"| {name} | {seconds:.1f} | {base / seconds:.2f} | {np.array_equal(scores, expected)} |"
            for name, (seconds, scores) in runs.items()
        ),
        "",
        "Seconds of 32 tasks on two workers that only read an array:",
        "",
        "| size of the array, MB | without `shared` | with `shared` |",
        "|---|---|---|",
    ]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        seconds_of_reading(client, 1, is_shared=False)
        for megabytes in MEGABYTES:
            plain, shared = (seconds_of_reading(client, megabytes, is_shared=s) for s in (False, True))
            lines.append(f"| {megabytes} | {plain:.2f} | {shared:.2f} |")
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
