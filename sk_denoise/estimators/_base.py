"""What every denoiser that learns from pairs shares: the story of a fit, prediction and score."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from typing import Any, Self

from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sk_denoise._compat import FitTasks, in_kind, with_callbacks
from sk_denoise._random import stream
from sk_denoise._resources import threads_for_flops
from sk_denoise._validation import (
    SampleTagsMixin,
    as_float,
    as_tensor,
    check_samples,
    shape_of,
    warn_of_other_unit,
    warn_of_single_image,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._network_summary import SummaryMixin
from sk_denoise.estimators._networks import build_network, resolve_network, rows_are_signals
from sk_denoise.estimators._pairs import Pair
from sk_denoise.estimators._preparation import Preparation, SampleLayout, run_in_chunks
from sk_denoise.estimators._scoring import DenoisingScoreMixin
from sk_denoise.estimators._steps import FitSteps
from sk_denoise.training import check_loss

__all__ = ["BaseDenoiser"]


class BaseDenoiser(
    SummaryMixin, DenoisingScoreMixin, SampleTagsMixin, TransformerMixin, FitSteps, metaclass=ABCMeta
):
    """A network that is trained on pairs of noisy and clean samples.

    A subclass has the parameters of :class:`FitSteps` in its constructor.
    """

    latent_dim: int

    @in_kind
    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        X_clean: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        X_clean_val: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
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
            The clean side. Read as labels and ignored where its samples have another shape, where X has one
            feature, or where it holds zeros and ones only and X does not; and where it equals X.
        X_clean : array-like of the shape of X, optional
            The clean side, whatever y is.
        X_val : array-like of shape (n_validation_samples, ...), optional
            Samples to validate on, in place of a part of X: noisy with ``X_clean_val``, else clean.
        X_clean_val : array-like of the shape of X_val, optional
            The clean side of ``X_val``.
        sample_weight : array-like of shape (n_samples,), optional
            What each sample counts in the loss, beside the mean of all; at least 0. Samples of weight 0 are
            left out.

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
        tasks = FitTasks(self)
        draft = self._draft(fresh=not self.warm_start)
        pair = draft._check(X, y, X_clean, sample_weight)
        training, validation = draft._split(pair, X_val, X_clean_val)
        draft._prepare(training)
        interruption = draft._train(training, validation, tasks, training)
        return self._store(draft, interruption)

    def _check(
        self, X: ArrayLike, y: Any, X_clean: ArrayLike | None, sample_weight: ArrayLike | None = None
    ) -> Pair:
        pair = super()._check(X, y, X_clean, sample_weight)
        if self.image_shape is None and len(shape_of(X)) == 3:  # rows may be a table in the order of time
            warn_of_single_image(X, "images")
        return pair

    @in_kind
    @with_callbacks
    def partial_fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        X_clean: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
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
        sample_weight : array-like of shape (n_samples,), optional
            What each sample counts in the loss, as in ``fit``.

        Returns
        -------
        self
        """
        tasks = FitTasks(self)
        draft = self._draft(fresh=False)
        pair = draft._check(X, y, X_clean, sample_weight)
        draft._prepare(pair)
        interruption = draft._train(pair, None, tasks, pair, epochs=1, schedule="constant")
        return self._store(draft, interruption)

    @with_callbacks
    def fit_patches(self, patches: RandomPatches, *, validation: RandomPatches | None = None) -> Self:
        """Learn to denoise from patches that are drawn afresh from images in every epoch.

        For folders and data sets that need not fit in memory; ``fit`` is for arrays. Whatever fits into
        patches is learned as in ``fit``: clean images are corrupted afresh for every batch, pairs are used
        as given. Scaling is learned from some hundred patches.

        Parameters
        ----------
        patches : RandomPatches
            Patches of clean images, or of pairs of noisy and clean ones.
        validation : RandomPatches, optional
            Patches of other images to validate on. With ``early_stopping`` and without it, a
            ``validation_fraction`` of the images is held out.

        Returns
        -------
        self
            ``predict`` takes stacks of images of the size of the patches, in their unit.

        Raises
        ------
        ValueError, TrainingDivergedError, KeyboardInterrupt
            As ``fit`` does.

        Examples
        --------
        >>> from sk_denoise import DenoisingAutoencoder, GaussianNoiser
        >>> from sk_denoise.datasets import RandomPatches, load_images
        >>> patches = RandomPatches(load_images("gray").train, 16, patches_per_image=32)
        >>> dae = DenoisingAutoencoder(noise=GaussianNoiser(0.1), max_epochs=1, random_state=0)
        >>> dae.fit_patches(patches).image_shape_
        (16, 16)
        """
        tasks = FitTasks(self)
        draft = self._draft(fresh=not self.warm_start)
        draft._check_parameters()
        training, held_out = draft._split_patches(patches, validation)
        sample = draft._sample(training)
        draft._prepare(sample)
        frozen = None if held_out is None else draft._held_out(held_out, training, sample)
        return self._store(draft, draft._train(training, frozen, tasks, sample))

    @in_kind
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

    def _network(self) -> Any:
        return resolve_network(self.network, on_unit_interval=check_loss(self.loss).on_unit_interval)

    def _rows_are_signals(self) -> bool:
        return rows_are_signals(self._network())

    def _module(self, network: Any, layout: SampleLayout, on_unit_interval: bool) -> nn.Module:
        shape = layout.network_shape
        return build_network(network, (shape, self.latent_dim), shape, shape, self._root())

    def _prepared(self, pair: Pair, layout: SampleLayout, on_unit_interval: bool) -> Preparation:
        return Preparation.of(
            layout,
            as_tensor(pair.inputs),
            as_tensor(pair.targets),
            self.noiser_,
            stream(self._root(), "statistics"),
            scale_target=not on_unit_interval,
        )

    def _design(self, on_unit_interval: bool) -> dict[str, Any]:
        return {**super()._design(on_unit_interval), "latent_dim": self.latent_dim}

    def _fitted_preparation(self) -> Preparation:
        check_is_fitted(self)
        return self._preparation_

    def _in_unit(self, samples: NDArray[Any], like: NDArray[Any] | None = None) -> NDArray[Any]:
        self._refuse_other_unit(samples)
        scaler = self._preparation_.input_scaler
        low, high = scaler.center - 2 * scaler.spread, scaler.center + 2 * scaler.spread
        warn_of_other_unit(samples, float(low.min()), float(high.max()))
        return samples

    def _apply(self, X: ArrayLike, function: Callable[[nn.Module, Tensor], Tensor]) -> NDArray[Any]:
        """Apply ``function(module, network input)`` to checked samples, in their precision."""
        prepare = self._fitted_preparation().input
        samples = as_tensor(as_float(self._in_unit(check_samples(self, X, reset=False))))
        with threads_for_flops(self._cost_.flops * len(samples)):
            return run_in_chunks(
                self.net_.module_, samples, lambda m, x: function(m, prepare(x)), self._cost_.widest
            ).numpy()
