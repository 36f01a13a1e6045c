"""Training in rounds: workers of joblib, and the mean of their weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._compat import adopt_fitted_state
from sk_denoise._random import stream_seed
from sk_denoise._validation import check_integer
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.training import SCHEDULES, check_callbacks

__all__ = ["fit_in_rounds"]

Denoiser = TypeVar("Denoiser", bound=NetworkDenoiser)


def fit_in_rounds(
    denoiser: Denoiser,
    X: Any,
    *,
    X_clean: Any = None,
    samples: int,
    rounds: int = 20,
    n_workers: int = 2,
    n_jobs: int | None = None,
) -> Denoiser:
    """Train a network by several workers that average their weights seldom.

    For machines on a slow network, where an exchange at every step would take longer than the step. Each
    worker has its part of the samples, drawn by the seed. In a round it makes one pass over some of them, and
    then weights and the averages of the optimizer become the mean over the workers. The learning rate follows
    ``learning_rate_schedule`` from round to round.

    Parameters
    ----------
    denoiser : ImageDenoiser, SignalDenoiser or DenoisingAutoencoder
        Estimator with ``partial_fit``. A fitted one goes on, with its scaling.
    X : array or list of length n_samples
        Samples as in ``fit``, of which parts are sent to the workers.
    X_clean : array or list of length n_samples, optional
        Clean counterparts; then X is noisy.
    samples : int
        Samples of each worker in a round. The steps between two averages are ``samples`` times the patches of
        an image, divided by ``batch_size``; 200 to 500 are a good number.
    rounds : int, default=20
        Number of rounds. The first samples of the first call are one more pass, which settles the scaling.
    n_workers : int, default=2
        Number of parts and of weights to average. With a seed, it determines the result.
    n_jobs : int or None, default=None
        Workers at the same time, as in joblib: None is 1, or what a ``joblib.parallel_config`` around the
        call says, such as ``"dask"``. The result depends on it by rounding alone.

    Returns
    -------
    estimator
        ``denoiser`` itself, fitted. ``loss_curve_`` has the mean loss of the workers in each round.

    Raises
    ------
    TypeError
        For an estimator without a network, or samples without a length, such as a folder.
    ValueError
        For sides of different lengths, or fewer samples than workers.

    Notes
    -----
    Functions in ``callbacks`` are called after each round, in this process, and can save the estimator or
    stop. After an error, the estimator has the state of the last round, and another call goes on from there.
    ``early_stopping`` has no effect. A DenoisingAutoencoder for tables predicts by its network alone.

    References
    ----------
    S. Stich, "Local SGD converges fast and communicates little", ICLR (2019).

    Examples
    --------
    >>> from sk_denoise import FoldedUNetNetwork, GaussianNoiser, ImageDenoiser
    >>> from sk_denoise.datasets import load_images
    >>> from sk_denoise.estimators import fit_in_rounds
    >>> images = [image[:64, :64] for image in load_images("gray").train]
    >>> small = FoldedUNetNetwork((8, 12), blocks=(1, 1))
    >>> denoiser = ImageDenoiser(small, noise=GaussianNoiser(0.1), patch_size=32, random_state=0)
    >>> fit_in_rounds(denoiser, images, samples=4, rounds=3, n_workers=2).n_iter_
    4
    """
    if not isinstance(denoiser, NetworkDenoiser):
        raise TypeError(
            "fit_in_rounds takes an ImageDenoiser, a SignalDenoiser or a DenoisingAutoencoder, got "
            f"{type(denoiser).__name__}."
        )
    n = _check_lengths(X, X_clean)
    samples, rounds = check_integer(samples, "samples"), check_integer(rounds, "rounds")
    n_workers = check_integer(n_workers, "n_workers")
    if n < n_workers:
        raise ValueError(f"X has {n} samples for {n_workers} workers. Pass n_workers={n} or less.")
    functions = check_callbacks(denoiser.callbacks)[1]
    if not denoiser.__sklearn_is_fitted__():
        first = _without_callbacks(denoiser)
        index = np.random.default_rng(stream_seed(first._root(), "first")).permutation(n)[: max(2, samples)]
        first.partial_fit(_take(X, index), X_clean=_take(X_clean, index))
        adopt_fitted_state(denoiser, first)
    root = denoiser._root()
    parts = np.array_split(np.random.default_rng(stream_seed(root, "parts")).permutation(n), n_workers)
    rate = denoiser._resolve_optimizer(n)[1]["lr"]
    for number in range(rounds):
        # The middle of the round, where no schedule is zero
        share = SCHEDULES[denoiser.learning_rate_schedule](2 * number + 1, 2 * rounds)
        run, tasks = denoiser._n_runs_, []
        for worker, part in enumerate(parts):
            twin = _without_callbacks(denoiser)
            # Numbers of its own, for noise and order
            twin._n_runs_ = run + worker
            twin.learning_rate = rate * share
            draw = np.random.default_rng(stream_seed(root, "round", run, worker))
            index = (
                np.resize(draw.permutation(part), samples)
                if samples > len(part)
                else draw.choice(part, samples, replace=False)
            )
            tasks.append(delayed(_train)(twin, _take(X, index), _take(X_clean, index)))
        trained = Parallel(n_jobs=n_jobs)(tasks)
        mean = _average(trained)
        mean._n_runs_ = run + n_workers
        adopt_fitted_state(denoiser, mean)
        epoch = {name: value for name, value in mean.net_.history[-1].items() if name != "batches"}
        stops = [function(denoiser, dict(epoch)) is True for function in functions]
        if any(stops):
            break
    return denoiser


def _check_lengths(X: Any, X_clean: Any) -> int:
    """Return the number of samples, which must be arrays or lists."""
    for name, side in (("X", X), ("X_clean", X_clean)):
        if side is not None and not isinstance(side, np.ndarray | list | tuple):
            raise TypeError(
                f"{name} must be an array or a list of samples, which are sent to the workers in parts; got "
                f"{type(side).__name__}."
            )
    if X_clean is not None and len(X_clean) != len(X):
        raise ValueError(f"X has {len(X)} samples, and X_clean has {len(X_clean)}: they must be pairs.")
    return len(X)


def _take(side: Any, index: NDArray[np.int64]) -> Any:
    """Return some of the samples of a side, which may be missing."""
    if side is None or isinstance(side, np.ndarray):
        return None if side is None else side[index]
    return [side[i] for i in index]


def _without_callbacks(denoiser: Denoiser) -> Denoiser:
    """Return a shallow copy that a worker can train."""
    twin = copy.copy(denoiser)
    twin.callbacks = None
    twin.__dict__.pop("_skl_callbacks", None)
    return twin


def _train(twin: Any, X: Any, X_clean: Any) -> Any:
    """Train a copy by one pass over its samples."""
    return twin.partial_fit(X, X_clean=X_clean)


def _average(trained: Sequence[Any]) -> Any:
    """Return the first copy, with the mean of weights, optimizers and losses."""
    first, nets = trained[0], [twin.net_ for twin in trained]
    with torch.no_grad():
        for sides in zip(*(net.module_.state_dict().values() for net in nets), strict=True):
            _average_into(sides)
        states = [[net.optimizer_.state[w] for w in net.module_.parameters()] for net in nets]
        for of_weight in zip(*states, strict=True):
            for name, value in of_weight[0].items():
                if isinstance(value, Tensor):
                    _average_into([state[name] for state in of_weight])
    for name in ("train_loss", "train_psnr"):
        if name in nets[0].history[-1]:
            nets[0].history[-1][name] = float(np.mean([net.history[-1][name] for net in nets]))
    first._set_history()
    return first


def _average_into(sides: Sequence[Tensor]) -> None:
    """Replace the first of several tensors by their mean, if they hold fractions."""
    first = sides[0]
    if first.is_floating_point():
        first.copy_(torch.stack([side.double() for side in sides]).mean(0))
