"""Work of joblib, such as searches, on dask clusters with workers that may die."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sk_denoise._package import require_extra

__all__ = ["parallel_dask"]

NAME = "sk-denoise-dask"


@contextmanager
def parallel_dask(client: Any = None, *, shared: Sequence[Any] = ()) -> Iterator[None]:
    """Run searches of scikit-learn on a cluster of dask, also if workers die.

    As ``joblib.parallel_config("dask")``, it sends the work of joblib to the cluster. That backend keeps data
    on workers alone, so a search fails if one of them is killed, for example for its memory. Here the
    scheduler keeps the data, and the tasks of a lost worker run again on another one.

    Parameters
    ----------
    client : distributed.Client, optional
        Client of the cluster; by default the active one.
    shared : sequence of array, default=()
        Large arrays that all tasks take, such as the X of the search: the same objects. They are sent once,
        and not with each task. It pays from about a megabyte on.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``dask`` are missing.
    ValueError
        If there is no client.

    Examples
    --------
    >>> import numpy as np
    >>> from distributed import Client
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sk_denoise import DenoisingAutoencoder, GaussianNoiser, parallel_dask
    >>> X = np.random.default_rng(0).normal(size=(60, 8)).astype("float32")
    >>> dae = DenoisingAutoencoder(noise=GaussianNoiser(0.1), max_epochs=1, random_state=0)
    >>> search = GridSearchCV(dae, {"latent_dim": [2, 4]}, cv=2)
    >>> with Client(processes=False, n_workers=1, dashboard_address=None) as client, parallel_dask(client):
    ...     search.fit(X).n_splits_
    2
    """
    require_extra("parallel_dask", "dask")
    import joblib
    from joblib._dask import DaskDistributedBackend

    class RecoverableBackend(DaskDistributedBackend):
        """Backend of joblib for dask without data that workers alone hold."""

        def __init__(self, shared: Sequence[Any] = (), **options: Any) -> None:
            super().__init__(**options)
            # A result that is lost with its worker is computed again; scattered data would be lost for good.
            futures = [self.client.submit(_pass_on, array, pure=False) for array in shared]
            self.data_futures = {id(array): future for array, future in zip(shared, futures, strict=True)}

        def start_call(self) -> None:
            super().start_call()
            # Without this table, joblib leaves arguments in their tasks, which the scheduler keeps.
            self.call_data_futures: dict[Any, Any] | None = None

        def stop_call(self) -> None:
            self.call_data_futures = {}
            super().stop_call()

    joblib.register_parallel_backend(NAME, RecoverableBackend)
    with joblib.parallel_config(NAME, client=client, shared=shared):
        yield


def _pass_on(array: Any) -> Any:
    return array
