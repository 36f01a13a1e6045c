"""What every denoiser that learns from pairs shares: the story of a fit, prediction and score."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sk_denoise._cost import cost_of
from sk_denoise._random import borrowed_global_state, root_seed, stream, stream_seed
from sk_denoise._threads import suitable_threads, threads_for
from sk_denoise._validation import (
    Interval,
    Noiser,
    SampleTagsMixin,
    StrOptions,
    as_float,
    as_tensor,
    check_one_of,
    check_parameters,
    check_samples,
    is_clean_side,
    restore_container,
)
from sk_denoise.estimators._layout import SampleLayout
from sk_denoise.estimators._networks import build_network, resolve_network, rows_are_signals
from sk_denoise.estimators._pairs import Pair, default_noiser, resolve_pair, resolve_validation_pair
from sk_denoise.estimators._preparation import Preparation, run_in_chunks
from sk_denoise.metrics import psnr, psnr_of_mse
from sk_denoise.networks import SeededModule
from sk_denoise.noise import carried_source
from sk_denoise.training import (
    LOSSES,
    LOSSES_ON_UNIT_INTERVAL,
    PRECISIONS,
    SCHEDULES,
    CorruptedRows,
    TrainingPlan,
    auto_batch_size,
    auto_epochs,
    create_net,
    keep_on,
    resolve_device,
    resolve_optimizer,
    resolve_precision,
    train,
)

__all__ = ["BaseDenoiser"]

REFERENCE_SEED = 0  # of the noise that score() adds


class BaseDenoiser(SampleTagsMixin, TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """A network that is trained on pairs of noisy and clean samples.

    A subclass has the parameters below in its constructor and gives ``latent_dim``, or None where its
    network has no latent vector.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "optimizer": [str, type],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "image_shape": [tuple, list, None],
        "precision": [StrOptions(set(PRECISIONS))],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    network: Any
    latent_dim: int
    noise: Any
    loss: str
    optimizer: str | type[torch.optim.Optimizer]
    learning_rate: float | None
    learning_rate_schedule: str
    weight_decay: float | Literal["auto"]
    batch_size: int | Literal["auto"]
    max_epochs: int | Literal["auto"]
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    warm_start: bool
    image_shape: Sequence[int] | None
    precision: Literal["auto", "float32", "bfloat16"]
    device: str | torch.device
    random_state: int | RandomState | None
    verbose: int

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        X_clean: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        X_clean_val: ArrayLike | None = None,
    ) -> Self:
        """Learn to denoise.

        Where the clean side of the pairs comes from, the first that applies: ``X_clean``; a ``y`` of the
        shape of X; the clean source that the output of a noiser carries; else X itself is clean and is
        corrupted afresh for every batch.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples where a clean side is given, else clean ones. Finite numbers; integers count
            as float32 in the same unit.
        y : array-like of the shape of X, optional
            The clean side. Read as labels and ignored where it has another shape, where X has a single
            feature, or where it holds zeros and ones only and X does not; and where it equals X.
        X_clean : array-like of the shape of X, optional
            The clean side, whatever y is.
        X_val : array-like of shape (n_validation_samples, ...), optional
            Samples to validate on, in place of a part of X: noisy with ``X_clean_val``, else clean.
        X_clean_val : array-like of the shape of X_val, optional
            The clean side of ``X_val``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used; the message says what to do.
        TrainingDivergedError
            Where the loss explodes. The estimator stays as it was before the call.
        KeyboardInterrupt
            When the user stops the run; the estimator then has the best weights so far.
        """
        draft = self._draft(fresh=not self.warm_start)
        pair = draft._check(X, y, X_clean)
        training, validation = draft._split(pair, X_val, X_clean_val)
        draft._prepare(training)
        interruption = draft._train(training, validation)
        return self._store(draft, interruption)

    def partial_fit(self, X: ArrayLike, y: Any = None, *, X_clean: ArrayLike | None = None) -> Self:
        """Learn from some more samples: one pass over them, at a constant learning rate.

        The first call fixes the shape of the samples and the scaling, so it should see samples that are
        like the rest. The clean side is found anew at each call, as in ``fit``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples where a clean side is given, else clean ones.
        y : array-like of the shape of X, optional
            The clean side, as in ``fit``.
        X_clean : array-like of the shape of X, optional
            The clean side, whatever y is.

        Returns
        -------
        self
        """
        draft = self._draft(fresh=False)
        pair = draft._check(X, y, X_clean)
        draft._prepare(pair)
        interruption = draft._train(pair, None, epochs=1, schedule="constant")
        return self._store(draft, interruption)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Denoise.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, in the layout and unit of ``fit``.

        Returns
        -------
        ndarray of the shape of X
            Denoised samples in the unit of the clean side; float64 for float64, else float32.
        """
        restore = self._fitted_preparation().restore
        return self._apply(X, lambda module, x: restore(module(x)))

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Return the mean PSNR of denoised samples in dB, each capped at 100.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples where y is given, else clean ones. Clean ones are corrupted with a reference that
            is the same for every estimator fitted on the same data, whatever its ``noise``: the "auto"
            noise, seed 0. (Output of a noiser counts as noisy; its clean source is the truth.)
        y : array-like of the shape of X, optional
            Clean samples; ignored where they equal X or cannot be the clean side (see ``fit``).

        Returns
        -------
        float
            Greater is better. The data range is ``data_range_``.
        """
        check_is_fitted(self)
        samples = check_samples(self, X, reset=False)
        source = carried_source(X)
        if is_clean_side(y, samples) and not np.array_equal(np.asarray(y), samples):
            truth, noisy = np.asarray(y), X
        elif source is not None and source.describes(samples):
            truth, noisy = source.clean, X
        else:
            truth = as_float(samples)
            reference = self._reference_noiser_.corrupt(as_tensor(truth), stream(REFERENCE_SEED, "score"))
            noisy = restore_container(reference.numpy(), X)
        return psnr(truth, self.predict(noisy), data_range=self.data_range_)

    def _fitted_preparation(self) -> Preparation:
        check_is_fitted(self)
        return self._preparation_

    def _apply(self, X: ArrayLike, function: Callable[[nn.Module, Tensor], Tensor]) -> NDArray[Any]:
        """Apply ``function(module, network input)`` to checked samples, in their precision."""
        prepare = self._fitted_preparation().input
        samples = as_tensor(as_float(check_samples(self, X, reset=False)))
        with suitable_threads(self._cost_.flops * len(samples)):
            return run_in_chunks(
                self.net_.module_, samples, lambda m, x: function(m, prepare(x)), self._cost_.widest
            ).numpy()

    # The story of a fit: draft, check, split, prepare, train, store -----------------------------------

    def _draft(self, fresh: bool) -> Self:
        """Return a copy to work on, so that a fit that fails leaves the estimator as it was."""
        draft = copy.copy(self)
        if fresh:
            for name in [name for name in vars(draft) if name.endswith("_")]:
                delattr(draft, name)
        elif self.__sklearn_is_fitted__():
            draft.net_ = copy.deepcopy(self.net_)
        return draft

    def _check(self, X: ArrayLike, y: Any, X_clean: ArrayLike | None) -> Pair:
        """Check parameters and data, and settle which side is clean."""
        check_parameters(self, {**BaseDenoiser._parameter_constraints, **self._parameter_constraints})
        check_one_of(self.loss, LOSSES, "loss")
        check_one_of(self.learning_rate_schedule, SCHEDULES, "learning_rate_schedule")
        first = not self.__sklearn_is_fitted__()
        least = 2 if first else 1  # one sample has no spread to scale by
        pair = resolve_pair(
            self,
            X,
            y,
            X_clean,
            noise=self.noise,
            rows_are_signals=rows_are_signals(resolve_network(self.network, self.loss)),
            reset=first,
            min_samples=least,
        )
        return pair.laid_out(self._layout())

    def _layout(self) -> SampleLayout:
        network = resolve_network(self.network, self.loss)
        return SampleLayout.of(self._sample_shape_, self.image_shape, rows_are_signals(network))

    def _split(
        self, pair: Pair, X_val: ArrayLike | None, X_clean_val: ArrayLike | None
    ) -> tuple[Pair, Pair | None]:
        """Return the pair to train on and the one to validate on, if any."""
        if X_val is not None:
            return pair, resolve_validation_pair(self, X_val, X_clean_val, pair).laid_out(self._layout())
        if X_clean_val is not None:
            raise ValueError("X_clean_val is the clean side of X_val, which is missing.")
        if not self.early_stopping:
            return pair, None
        n_samples = len(pair.inputs)
        n_validation = int(np.ceil(self.validation_fraction * n_samples))
        if n_samples - n_validation < 2:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} leaves {n_samples - n_validation} of "
                f"{n_samples} samples for training, at least 2 are needed. Lower it, pass X_val, or turn "
                "early_stopping off."
            )
        order = np.random.default_rng(stream_seed(self._root(), "split")).permutation(n_samples)
        return pair.take(np.sort(order[n_validation:])), pair.take(np.sort(order[:n_validation]))

    def _prepare(self, pair: Pair) -> None:
        """Settle the noise of this call and, at the first one, layout, scaling and network."""
        self.target_source_ = pair.source
        self.noiser_: Noiser | None
        if pair.noise_name != getattr(self, "_noise_name_", None):  # what was fitted before stays
            self._noise_name_ = pair.noise_name
            self.noiser_ = None if pair.noiser is None else pair.noiser.fit(pair.targets)
        network = resolve_network(self.network, self.loss)
        on_unit_interval = self._check_range(network, pair.targets)
        if self.__sklearn_is_fitted__():
            return
        layout = self._layout()
        self.image_shape_, self.data_range_, self._n_runs_ = layout.image_shape, pair.data_range, 0
        self._reference_noiser_ = default_noiser(
            pair.targets, layout.image_shape is not None
        )  # whatever the network
        self._reference_noiser_.fit(pair.targets)
        with threads_for(pair.inputs.size):
            self._preparation_ = Preparation.of(
                layout,
                as_tensor(pair.inputs),
                as_tensor(pair.targets),
                self.noiser_,
                stream(self._root(), "statistics"),
                scale_target=not on_unit_interval,
            )
        module = build_network(network, layout.network_shape, self.latent_dim, self._root())
        self._cost_ = cost_of(module, layout.network_shape)
        optimizer = self._optimizer(len(pair.inputs))
        self.net_ = create_net(module, LOSSES[self.loss], optimizer, resolve_device(self.device))

    def _check_range(self, network: Any, clean: NDArray[Any]) -> bool:
        """Return whether the network answers in [0, 1], as a loss or its output asks for."""
        if self.loss in LOSSES_ON_UNIT_INTERVAL:
            cause = f"loss={self.loss!r}"
        elif getattr(network, "output_activation", None) == "sigmoid":
            cause = 'output_activation="sigmoid"'
        else:
            return False
        low, high = float(clean.min()), float(clean.max())
        if low < 0 or high > 1:
            raise ValueError(
                f"{cause} needs clean data in [0, 1], got values from {low:.4g} to {high:.4g}. Scale "
                'them to [0, 1], or use loss="mse" with output_activation="identity".'
            )
        return True

    def _train(
        self, training: Pair, validation: Pair | None, epochs: int | None = None, schedule: str | None = None
    ) -> KeyboardInterrupt | None:
        rows = self._rows(training, "noise", self._n_runs_)
        frozen = None if validation is None else self._rows(validation, "validation", 0).freeze()
        batch_size = self._batch_size(len(rows))
        if epochs is None:
            epochs = self._epochs(-(-len(rows) // batch_size))
        step = 3 * self._cost_.flops * batch_size  # the backward pass takes twice the forward one
        self.precision_ = resolve_precision(
            self.precision,
            self.net_.module_,
            self._preparation_.layout.network_shape,
            torch.device(self.net_.device),
            step,
        )
        errors, data_range = self._preparation_.squared_errors, self.data_range_
        plan = TrainingPlan(
            epochs=epochs,
            batch_size=batch_size,
            schedule=schedule or self.learning_rate_schedule,
            learning_rate=self._optimizer(len(rows))[1]["lr"],
            patience=self.n_iter_no_change if self.early_stopping and frozen is not None else None,
            tol=self.tol,
            bfloat16=self.precision_ == "bfloat16",
            sample_psnr=lambda output, target: psnr_of_mse(errors(output, target).cpu(), data_range),
            show_progress=bool(self.verbose),
        )
        if self.verbose:
            print(f"[{type(self).__name__}] {training.describe()}", flush=True)
        with self._lent_randomness(), suitable_threads(step):
            interruption = train(self.net_, rows, frozen, plan)
        self._n_runs_ += 1
        return interruption

    def _rows(self, pair: Pair, purpose: str, run: int) -> CorruptedRows:
        """Return the pair as rows on the device of the net, with randomness for one purpose and run."""
        device = torch.device(self.net_.device)
        inputs = as_tensor(pair.inputs)
        targets = inputs if pair.targets is pair.inputs else as_tensor(pair.targets)
        inputs, targets = keep_on(device, inputs, targets)
        preparation = self._preparation_
        noiser = None if pair.noiser is None else self.noiser_
        return CorruptedRows(
            inputs,
            targets,
            device,
            corrupt=None if noiser is None else noiser.corrupt,
            prepare_input=lambda x: preparation.input(x).float(),
            prepare_target=lambda x: preparation.target(x).float(),
            generator=stream(self._root(), purpose, run, device=device),
            shuffle=stream(self._root(), "shuffle", run),
        )

    def _optimizer(self, n_samples: int) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return resolve_optimizer(self.optimizer, self.learning_rate, self.weight_decay, n_samples=n_samples)

    def _batch_size(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return auto_batch_size(n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                f"batch_size={self.batch_size} is larger than the {n_samples} samples there are to train on; "
                "all of them make one batch.",
                stacklevel=4,
            )
        return min(n_samples, self.batch_size)

    def _epochs(self, steps: int) -> int:
        if self.max_epochs == "auto":
            return auto_epochs(steps)
        return int(self.max_epochs)

    def _root(self) -> int:
        """Return the seed of the fit, the same for all further calls that continue it."""
        if not hasattr(self, "_root_"):
            self._root_ = root_seed(self.random_state)
        return self._root_

    def _lent_randomness(self) -> AbstractContextManager[None]:
        """Lend torch's global state for a run to a module that may draw from it, with dropout say."""
        if isinstance(self.net_.module_, SeededModule):
            return nullcontext()
        return borrowed_global_state(stream_seed(self._root(), "training", self._n_runs_))

    def _store(self, draft: Self, interruption: KeyboardInterrupt | None) -> Self:
        """Take over what was fitted, and raise an interruption again: no search may crown such a fit."""
        self.__dict__ = draft.__dict__
        history = self.net_.history
        self.n_iter_ = len(history)
        self.loss_curve_ = [epoch["train_loss"] for epoch in history]
        self.validation_scores_ = [e["valid_psnr"] for e in history if "valid_psnr" in e] or None
        if interruption is not None:
            raise interruption
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")
