"""Denoising of signals of any length and any number of channels."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from sk_denoise._clean_source import warn_of_lost_source
from sk_denoise._compat import keeps_array_type, with_callbacks
from sk_denoise._intensity import IntensityRange
from sk_denoise._random import stream
from sk_denoise._resources import Cost
from sk_denoise._schema import Rule, has_type, is_numeric_array
from sk_denoise._validation import (
    Interval,
    StrOptions,
    as_float_array,
    as_numeric_array,
    as_tensor,
    check_lengths,
    check_sample_weight,
    get_shape,
    refuse_masked,
    refuse_ragged,
    restore_names,
    warn_of_single_image,
    warn_of_time_first,
    warn_user,
)
from sk_denoise.estimators._image_denoiser import FAR, MAX_SCORED, ImageDenoiser
from sk_denoise.estimators._image_inputs import ImageList, is_stream
from sk_denoise.estimators._network_denoiser import AutoValues, NetworkDenoiser
from sk_denoise.estimators._network_factory import SignalNetworkFactory
from sk_denoise.estimators._pairs import GRID_NOISE, Pair, refuse_clean_side
from sk_denoise.estimators._signal_inputs import (
    LAYOUTS,
    Signals,
    as_clean_signals,
    as_signal_array,
    is_signal_list,
    warn_of_wild_values,
)
from sk_denoise.estimators._tiled_prediction import TiledPredictor
from sk_denoise.estimators._training_data import ArrayData, PatchData, TrainingData
from sk_denoise.metrics import psnr
from sk_denoise.noise import GaussianNoiser, NoisedArray
from sk_denoise.preprocessing import Augmentation
from sk_denoise.training import check_loss, resolve_objective

__all__ = ["SignalDenoiser"]

# Entries of a batch, the windows in it, and the longest window of "auto": a window that is as wide as the
# view of the default network shows nearly all that an output may depend on.
BATCH_ENTRIES, BATCH_WINDOWS, MAX_WINDOW = 4096, (8, 32), 512
# Share of a signal in a window of "auto", where no place differs from others: with 100 heartbeats the gain is
# 12.4 dB, and 4.6 dB with whole signals
WINDOW_SHARE = 0.75
# Steps of a fit, and its passes over the signals, at most
STEPS, MAX_EPOCHS = 2_000, 500
# Windows of one signal in an epoch, at most
MAX_WINDOWS = 4096
# Entries of a part of a long recording, apart from its halo
TILE = 2**15
# Power of the noise beside the variance of the clean signals up to which a network predicts the noise
MAX_NOISE_POWER = 4.0
# Distance of a mean from those of the training windows, in deviations of the clean signals, from which it is
# far: at 1.4 the error of noisy sines was four times their noise
FAR_OFFSET = 1.0
# Entries of each signal, at most, whose deviation is compared with that of the fit
MAX_ENTRIES_OF_UNIT = 2**16
# Entries, at least, whose deviation may be too small for the fit
MIN_ENTRIES_OF_UNIT = 64
# Share of the median length and entries of a shortest signal below which it counts as a fragment
FRAGMENT_SHARE, FRAGMENT_ENTRIES = 0.25, 64


class SignalDenoiser(ImageDenoiser):
    """Denoise signals of any length and any number of channels with a network.

    The network keeps the length of signals. It is trained through skorch on random windows, with fresh noise
    in every batch, and then denoises signals of any length: long recordings part by part, with overlaps that
    make the parts agree with the whole, or as they arrive (``predict_stream``). Training data are arrays, or
    lists of recordings of different lengths: clean signals, which are corrupted in training, pairs of noisy
    and clean ones, two noisy measurements, or noisy signals alone.

    Parameters
    ----------
    network : str, spec, class or callable, default="signal_unet"
        Network to train: "signal_unet" or "dilated"; a spec such as
        :class:`~sk_denoise.SignalUNetNetwork`; or a class or function that takes the number of channels and
        returns a ``torch.nn.Module``, which maps a batch (n, channels, length) to the same shape. Its
        attributes ``receptive_radius`` and ``stride`` allow parts of long signals: the distance to the
        farthest input entry that an output entry depends on, rounded up to a multiple of the stride; and the
        number of entries that lengths of parts must be multiples of.
    noise : "auto", float, pair of float, str, noiser or None, default="auto"
        Noise that corrupts clean signals, as in :class:`~sk_denoise.DenoisingAutoencoder`: for example
        ``GaussianNoiser(0.1)`` or :class:`~sk_denoise.RecordedNoiser`. "auto" is Gaussian noise with a
        strength drawn for each window, from 0 to the standard deviation of the channel. With an ``objective``
        for noisy signals, it is the noise that is in X instead.
    objective : str or objective, default="supervised"
        Way to learn: "supervised" from clean signals, see ``fit``; the others from noisy X alone.
        "recorrupt" is the best where the noise is independent between entries: it estimates or takes its
        level, and splits it. "neighbours" needs signals that are sampled far more finely than they change,
        and no level; "blind" hides entries. See :class:`~sk_denoise.ImageDenoiser`.
    window_length : int or "auto", default="auto"
        Entries of a training window, no longer than the shortest signal. "auto" is at most 512. It takes
        whole signals if they are aligned, so that places differ, as in spectra or bits of one clock; and else
        three quarters of them, at random places.
    windows_per_signal : int or "auto", default="auto"
        Windows of each signal in an epoch. "auto" cuts about as many as cover the signal.
    sampling_rate : float or None, default=None
        Entries per second of the training signals, stored with the model. The training does not depend on it;
        the command line compares it with the rates of files.
    augment : Augmenter or None, default=None
        Random changes of training windows before they are corrupted, such as
        :class:`~sk_denoise.SignalAugmenter`.
    loss : str, dict or callable, default="mse"
        Loss in units of the standard deviation of the channel: a name, a mix of names and weights, or a
        function, as in :class:`~sk_denoise.DenoisingAutoencoder`.
    emphasis : pair of float or None, default=None
        Weights (of corrupted entries, of intact ones) in the loss, as in
        :class:`~sk_denoise.DenoisingAutoencoder`.
    optimizer : str or torch optimizer class, default="adam"
        As in :class:`~sk_denoise.DenoisingAutoencoder`.
    learning_rate : float or None, default=0.003
        Learning rate at the start; None takes the default of the optimizer.
    learning_rate_schedule : str, default="flat_cosine"
        Course of the learning rate over the run, as in :class:`~sk_denoise.DenoisingAutoencoder`; it rises
        in 20 steps or more first, except with "constant".
    weight_decay : float or "auto", default="auto"
        As in :class:`~sk_denoise.DenoisingAutoencoder`.
    gradient_clipping : float or None, default=1.0
        Largest norm of the gradients of a step; longer ones are scaled down to it.
    weight_averaging : float or None, default=None
        Decay of an exponential moving average of the weights at each step, such as 0.999; None uses the
        weights as they are.
    batch_size : int or "auto", default="auto"
        Largest number of windows in a batch; "auto" is 32 for windows of up to 128 entries, fewer for longer
        ones.
    max_epochs : int or "auto", default="auto"
        Total passes over the signals; with ``warm_start``, earlier passes count too. "auto" makes about
        2,000 steps, in at most 500 passes.
    early_stopping : bool, default=False
        Whether to stop once the validation loss has not fallen by ``tol`` for ``n_iter_no_change`` epochs,
        and to return to the best weights.
    validation_fraction : float, default=0.1
        Share of the signals that early stopping holds out, if ``fit`` gets no ``X_val``.
    n_iter_no_change : int, default=10
        See ``early_stopping``.
    tol : float, default=1e-6
        See ``early_stopping``; in the unit of the loss.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights of the previous call, as in
        :class:`~sk_denoise.ImageDenoiser`.
    callbacks : list or None, default=None
        Callbacks of the training run, as in :class:`~sk_denoise.ImageDenoiser`.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the layers in training; ``predict`` computes in the precision of its input.
    device : str or torch.device, default="auto"
        Device to compute on: "auto" is a CUDA GPU if there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, windows, noise and the validation split.
    verbose : int, default=0
        1 prints the clean side and the noise, and a line with epoch, losses, PSNR and the time left.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        Trained net; its module is ``net_.module_``, its log ``net_.history``.
    delay_ : int
        Delay of ``predict_stream``, in entries.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Mean PSNR on the validation windows after each epoch, in dB; None without validation.
    n_iter_ : int
        Epochs so far, including those of ``partial_fit``.
    precision_ : {"float32", "bfloat16"}
        Precision of the layers in training.
    noiser_ : noiser or None
        Fitted noise that corrupted the clean signals; None for pairs.
    noise_model_ : NoiseModel or None
        Noise in X, given or estimated, for an objective that needs it; else None.
    target_source_ : {"noisy", "X_second", "X_clean", "y", "noiser", "X"}
        Source of the clean side, as in :class:`~sk_denoise.ImageDenoiser`.
    data_range_ : float
        Largest clean value minus the smallest.
    n_channels_ : int
        Number of channels.
    n_features_in_ : int
        Number of entries of one signal of the fit; of a window, for lists.
    feature_names_in_ : ndarray of str
        Names of the entries, if X is a frame.

    Warns
    -----
    CleanTargetWarning
        If signals that count as clean seem noisy.

    See Also
    --------
    DenoisingAutoencoder : For signals of one length, through a bottleneck.
    WienerMixtureDenoiser : Learns from a few hundred noisy signals, without a network.
    SavitzkyGolayDenoiser : A filter with the same methods, which needs no training.

    Notes
    -----
    Each channel is shifted and scaled by the mean and the standard deviation of its clean entries, for input
    and target alike: a residual network passes unchanged entries through exactly. Signals at ``predict`` are
    expected in the unit of the fit.

    References
    ----------
    H.-T. Chiang et al., "Noise reduction in ECG signals using fully convolutional denoising autoencoders",
    IEEE Access 7 (2019); D. Stoller, S. Ewert and S. Dixon, "Wave-U-Net", ISMIR (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import GaussianNoiser, SignalDenoiser, SignalUNetNetwork
    >>> rng = np.random.default_rng(0)
    >>> signals = np.sin(np.linspace(0, 12, 128) + rng.uniform(0, 6, (100, 1)))
    >>> small = SignalUNetNetwork((8, 16))
    >>> denoiser = SignalDenoiser(small, noise=GaussianNoiser(0.4), max_epochs=20, random_state=0)
    >>> denoiser = denoiser.fit(signals)
    >>> clean = np.sin(np.linspace(0, 100, 1000))
    >>> noisy = clean + rng.normal(0, 0.4, clean.shape)
    >>> (denoised,) = denoiser.predict([noisy])
    >>> bool(np.mean((denoised - clean) ** 2) < 0.2 * np.mean((noisy - clean) ** 2))
    True
    """

    # A signal is an image of height 1 to all that is inherited: patches, tiles, objectives.
    sigma: Literal["blind"] = "blind"
    image_shape: None = None
    _has_channel_units: ClassVar[bool] = True
    _enlarges: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "window_length": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "windows_per_signal": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "sampling_rate": [Interval(Real, 0, None, closed="neither"), None],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "_predicts_noise_": has_type(bool, "a truth value"),
        "_input_means_": Rule(
            lambda v, e: is_numeric_array(v, (2, (*e._sample_shape_, 1)[2])),
            "two means of each channel",
            after_others=True,
        ),
    }
    _auto_values = AutoValues(
        lambda n_samples: min(n_samples, BATCH_WINDOWS[1]),
        lambda steps: max(1, min(MAX_EPOCHS, math.ceil(STEPS / steps))),
        warm_up_steps=20,
        min_samples=1,
    )

    def __init__(
        self,
        network: Any = "signal_unet",
        *,
        noise: Any = "auto",
        objective: Any = "supervised",
        window_length: int | Literal["auto"] = "auto",
        windows_per_signal: int | Literal["auto"] = "auto",
        sampling_rate: float | None = None,
        augment: Augmentation | None = None,
        loss: Any = "mse",
        emphasis: tuple[float, float] | None = None,
        optimizer: str | type[torch.optim.Optimizer] = "adam",
        learning_rate: float | None = 0.003,
        learning_rate_schedule: str = "flat_cosine",
        weight_decay: float | Literal["auto"] = "auto",
        gradient_clipping: float | None = 1.0,
        weight_averaging: float | None = None,
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-6,
        warm_start: bool = False,
        callbacks: Sequence[Any] | None = None,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str | torch.device = "auto",
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.noise = noise
        self.objective = objective
        self.window_length = window_length
        self.windows_per_signal = windows_per_signal
        self.sampling_rate = sampling_rate
        self.augment = augment
        self.loss = loss
        self.emphasis = emphasis
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_decay = weight_decay
        self.gradient_clipping = gradient_clipping
        self.weight_averaging = weight_averaging
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @keeps_array_type
    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_clean: Any = None,
        X_second: Any = None,
        X_val: Any = None,
        X_clean_val: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        The clean side of the pairs is the first of these: ``X_clean``; a ``y`` of the shape of X; the clean
        source that the output of a noiser carries; else X itself is clean and corrupted afresh for every
        batch.

        Parameters
        ----------
        X : array-like of shape (n_signals, length) or (n_signals, channels, length), or list of ndarray
            Noisy signals if a clean side is given or the ``objective`` learns from noisy ones, else clean
            ones. A list holds arrays (length,) or (channels, length) of different lengths; one recording is
            a list of one.
        y : array or list of the shape of X, optional
            Clean signals; other y, such as labels, is ignored.
        X_clean : array or list of the shape of X, optional
            Clean signals; y is ignored then.
        X_second : array or list of the shape of X, optional
            Second noisy measurement of the same signals, with independent noise. The network learns each of
            the two from the other, and no clean side is needed.
        X_val : array or list, optional
            Validation signals, in place of a part of X: noisy with ``X_clean_val``, else clean.
        X_clean_val : array or list of the shape of X_val, optional
            Clean counterparts of ``X_val``.
        sample_weight : array-like of shape (n_signals,), optional
            Weight of each signal, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or parameters cannot be used; the message gives the remedy.
        TrainingDivergedError
            If the loss explodes. The estimator stays as it was before the call.
        KeyboardInterrupt
            If the user stops the run; the estimator then has the best weights so far.
        """
        return self._fit(
            X,
            y,
            X_clean,
            sample_weight,
            X_second=X_second,
            X_val=X_val,
            X_clean_val=X_clean_val,
            fresh=not self.warm_start,
        )

    @keeps_array_type
    @with_callbacks
    def partial_fit(
        self, X: Any, y: Any = None, *, X_clean: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train on one more batch of signals: one pass, at a constant learning rate.

        The first call fixes the channels and their scaling, so its signals should resemble the rest.

        Parameters
        ----------
        X, y, X_clean, sample_weight
            As in ``fit``.

        Returns
        -------
        self
        """
        return self._fit(X, y, X_clean, sample_weight, fresh=False, epochs=1, schedule="constant")

    @keeps_array_type
    def predict(self, X: Any) -> Any:  # type: ignore[override]
        """Denoise signals.

        Parameters
        ----------
        X : array-like of shape (n_signals, length) or (n_signals, channels, length), or list of ndarray
            Noisy signals of any length, in the unit of ``fit``. Long ones are denoised part by part, with the
            numbers of the whole up to rounding.

        Returns
        -------
        ndarray of the shape of X, or list of ndarray
            Denoised signals in the unit of X; float64 for float64, else float32.
        """
        check_is_fitted(self)
        signals = self._convert(X, "X", reset=False)
        stacks = (
            [image[None] for image in signals.images] if signals.is_list else [np.asarray(signals.images)]
        )
        # One warning is enough for a list.
        any(map(self._warns_of_unit, stacks))
        denoised = [self._denoise_stack(stack, checks_unit=False) for stack in stacks]
        if not signals.is_list:
            return signals.restore(denoised[0])
        return [signals.restore(stack[0]) for stack in denoised]

    def predict_stream(self, chunks: Iterable[ArrayLike]) -> Iterator[NDArray[Any]]:
        """Denoise one signal while it arrives.

        Parameters
        ----------
        chunks : iterable of arrays of shape (length,) or (channels, length)
            Parts of one noisy signal, in their order and of any length.

        Yields
        ------
        ndarray of shape (length,) or (channels, length)
            Parts of the denoised signal, in their order: all entries that lie ``delay_`` entries or more
            before the end of the chunks so far, and the rest after the last chunk. Together they are the
            output of ``predict`` for the whole signal, up to rounding.

        Raises
        ------
        ValueError
            If the network has no ``receptive_radius``, so that no part of its output is final before the end
            of the signal.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_denoise import SignalDenoiser, SignalUNetNetwork
        >>> signals = np.random.default_rng(0).normal(size=(20, 256)).cumsum(axis=1)
        >>> denoiser = SignalDenoiser(SignalUNetNetwork((4, 8)), max_epochs=1, random_state=0).fit(signals)
        >>> denoiser.delay_
        23
        >>> chunks = np.split(signals[0], 8)
        >>> [len(part) for part in denoiser.predict_stream(chunks)]
        [10, 32, 32, 32, 32, 32, 32, 32, 22]
        """
        check_is_fitted(self)
        predictor = self._tiled_predictor(None)
        stride, halo = getattr(self.net_.module_, "stride", 1), predictor.halo
        if predictor.side is None:
            raise ValueError(
                f"The network {self.network!r} has no receptive_radius, so that every output may depend on "
                "the whole signal. Give it the attributes receptive_radius and stride, or call predict."
            )
        held: NDArray[Any] | None = None
        # Entries before those held, and entries that were returned
        start = done = 0
        has_channels = is_far = False
        for number, chunk in enumerate(chunks):
            if not np.size(chunk):
                continue
            if not np.ndim(chunk):
                raise ValueError(
                    f"Chunk {number} is the single number {chunk!r}. Pass arrays (length,) or (channels, "
                    "length): one sample is [x], and a whole signal [signal]."
                )
            signal = as_signal_array(chunk, f"chunk {number}")
            has_channels = signal.ndim == 2
            image = as_float_array(self._convert([signal], "chunks", reset=False).images[0])
            if held is not None and image.dtype != held.dtype:
                raise ValueError(
                    f"Chunk {number} is computed in {image.dtype}, and those before in {held.dtype}. Convert "
                    "all chunks to one type."
                )
            held = image if held is None else np.concatenate([held, image], axis=1)
            is_far = is_far or self._warns_of_unit(held[None])
            end = start + held.shape[1]
            # Parts begin at multiples of the stride, as those of predict do.
            ready = (end - halo) // stride * stride
            if ready > done:
                yield self._denoise_part(held, done - start, ready - start, has_channels)
                done = ready
                new_start = max(0, done - halo)
                held, start = held[:, new_start - start :], new_start
        if held is not None and start + held.shape[1] > done:
            yield self._denoise_part(held, done - start, held.shape[1], has_channels)

    @property
    def delay_(self) -> int:
        """Delay of ``predict_stream``, in entries."""
        module = self.net_.module_
        return int(self._tiled_predictor(None).halo + getattr(module, "stride", 1) - 1)

    @property
    def n_channels_(self) -> int:
        """Number of channels."""
        return int((*self._sample_shape_, 1)[2])

    def _refuse_split_samples(self, X: Any) -> None:
        """Refuse a dask array with signals in several chunks."""
        raise ValueError(
            f"X is a dask array of shape {X.shape} with signals in several chunks, {X.chunks[1:]}. A signal "
            "is denoised as a whole: pass X.rechunk({0: 'auto', **dict.fromkeys(range(1, X.ndim), -1)}); or, "
            "for a signal larger than memory, its parts to predict_stream."
        )

    @keeps_array_type
    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean PSNR of denoised signals in dB, each capped at 100.

        Parameters
        ----------
        X : array or list of signals
            Noisy signals if y is given, else clean ones. Clean ones are corrupted with a reference noise
            that is the same for all estimators fitted to the same data, for any ``noise``.
        y : array or list of the shape of X, optional
            Clean signals; ignored where they equal X or cannot be the clean side (see ``fit``).
        sample_weight : array-like of shape (n_signals,), optional
            Weight of each signal in the mean.

        Returns
        -------
        float
            Greater is better. The data range is ``data_range_``, for all channels.
        """
        check_is_fitted(self)
        check_lengths(X, y)
        signals = self._convert(X, "X", reset=False)
        clean = as_clean_signals(y, X)
        # Names are those of the rows of the user.
        twin = copy.copy(self)
        twin.__dict__.pop("feature_names_in_", None)
        if not signals.is_list:
            return float(ImageDenoiser.score(twin, signals.images, clean, sample_weight))
        images: Any = signals.images
        is_paired = isinstance(clean, list) and not all(map(np.array_equal, clean, images))
        if not is_paired and self.target_source_ in ("noisy", "X_second"):
            return float(self._score_without_truth(images, sample_weight))
        truths = [as_float_array(image)[None] for image in (clean if is_paired else images)]
        noisy = [image[None] for image in images] if is_paired else self._reference(truths)
        each = [
            psnr(truth, self._denoise_stack(x), data_range=self.data_range_)
            for truth, x in zip(truths, noisy, strict=True)
        ]
        return float(np.average(each, weights=check_sample_weight(sample_weight, each)))

    # The steps of a fit ------------------------------------------------------------------------------

    def _factory(self) -> SignalNetworkFactory:
        predicts_noise = getattr(self, "_predicts_noise_", True)
        return SignalNetworkFactory(self.network, "blind", self.loss, None, predicts_noise)

    def _convert(self, X: Any, name: str, *, reset: bool) -> Signals:
        """Check signals in any layout, and return them as images of height 1."""
        _refuse_other_objects(X, name)
        if is_stream(X):
            remedy = (
                f"Make it a list: list({name})" if isinstance(X, Iterator) else "Read files with read_signal"
            )
            raise TypeError(f"{name} must be {LAYOUTS}, got {type(X).__name__}. {remedy}.")
        if is_signal_list(X):
            signals = Signals.of(X, name)
        else:
            refuse_masked(X, name)
            refuse_ragged(
                X, takes_any_size=True, remedy=f"Make them arrays: [np.asarray(x) for x in {name}]."
            )
            ndim = np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2)
            if ndim not in (2, 3, 4):
                raise ValueError(
                    f"Expected 2D array, got {ndim}D array instead. Reshape your data: {name} must be "
                    f"{LAYOUTS}. One recording is a list of one, [{name}]."
                )
            # Signals may have another length than those of the fit.
            array = validate_data(
                self, X, reset=reset, dtype="numeric", allow_nd=True, ensure_2d=ndim == 2 and reset
            )
            array = array if isinstance(X, NoisedArray) else np.asarray(array)
            if 0 in array.shape[1:]:
                raise ValueError(
                    f"Found signals of shape {array.shape[1:]}: each axis needs at least one entry."
                )
            if array.ndim == 4 and array.shape[1] != 1:
                raise ValueError(
                    f"{name} has the shape {array.shape} of images. Signals are {LAYOUTS}; for images take "
                    "ImageDenoiser."
                )
            signals = Signals.of(array, name, X)
        if hasattr(self, "_sample_shape_") and not reset:
            self._check_channels(signals, name, self._sample_shape_)
        return signals

    def _convert_to_images(self, X: Any) -> Any:
        """Return signals as images of height 1, which ``predict`` takes too."""
        return self._convert(X, "X", reset=False).images

    def _check_channels(self, signals: Signals, name: str, shape: tuple[int, ...]) -> None:
        """Refuse signals of other channels than those of the fit."""
        n_channels = (*shape, 1)[2]
        if signals.n_channels != n_channels:
            raise ValueError(
                f"{type(self).__name__} was fitted on signals of {n_channels} channel"
                f"{'' if n_channels == 1 else 's'}, and {name} holds signals of {signals.n_channels}. Arrays "
                "are (n_signals, channels, length), those of a list (channels, length)."
            )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if check_loss(self.loss).images_only:
            raise ValueError(
                f"loss={self.loss!r} compares images, and signals have one axis. Use "
                '"mse", "mae" or another loss by entry.'
            )

    def _read(self, X: Any, y: Any, X_clean: Any, sample_weight: Any, X_second: Any = None) -> TrainingData:
        self.scale_ = 1
        signals = self._convert(X, "X", reset=not self.__sklearn_is_fitted__())
        clean, second = (
            None if side is None else self._convert_side(side, X, name)
            for side, name in ((X_clean, "X_clean"), (X_second, "X_second"))
        )
        if signals.n_channels > 1:
            warn_of_time_first(signals.n_channels, max(signals.lengths))
        self._window = self._resolve_window(signals)
        if clean is not None:
            warn_of_wild_values(clean, "X_clean")
        elif y is None:
            warn_of_wild_values(signals.images, "X")
        y = as_clean_signals(y, X)
        with self._names_set_aside():
            if signals.is_list:
                return self._read_list(signals, X, y, clean, second, sample_weight)
            if not signals.has_channel_axis:
                warn_of_single_image(X, "signals")
            pair = self._resolve(signals.images, y, clean, sample_weight, second)
        return ArrayData(pair, self._cut_sides(), self._patches_per_image(signals.mean_length))

    def _convert_side(self, side: Any, X: Any, name: str) -> Any:
        """Return a second side of the pairs as images of height 1."""
        is_list = is_signal_list(X)
        if is_list and not is_signal_list(side) and len(get_shape(side)) > 1:
            side = list(np.asarray(side))
        elif not is_list and is_signal_list(side) and len({get_shape(x) for x in side}) == 1:
            refuse_masked(side, name)
            side = np.stack([np.asarray(x) for x in side])
        shapes = [
            list(map(get_shape, s)) if is_list and is_signal_list(s) else get_shape(s) for s in (X, side)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{name} must have the form of X, {describe_form(X)}, got {describe_form(side)}."
                f"{_describe_first_difference(X, side, name)}"
            )
        refuse_masked(side, name)
        return Signals.of(side if is_signal_list(side) else as_numeric_array(side), name).images

    def _read_list(
        self, signals: Signals, X: Any, y: Any, clean: Any, second: Any, sample_weight: Any
    ) -> PatchData:
        """Return training data of a list of signals."""
        images = ImageList(list(signals.images), "X")
        is_noisy = resolve_objective(self.objective) is not None
        check_lengths(X, y)
        is_declared_clean = isinstance(y, list) and all(map(np.array_equal, images.images, y))
        by_y = isinstance(y, list) and not is_declared_clean
        if is_noisy or second is not None:
            refuse_clean_side(by_y, clean, second, is_noisy)
        sides = {"X_clean": clean, "X_second": second, "y": y if by_y and clean is None else None}
        name, side = next(((n, s) for n, s in sides.items() if s is not None), ("X", None))
        other = None if side is None else ImageList(list(side), name)
        if other is not None:
            images.check_sizes(other)
        weights = check_sample_weight(sample_weight, images.images)
        if weights is not None:
            images, other = images.take(weights > 0), None if other is None else other.take(weights > 0)
            weights = weights[weights > 0]
        if other is None and not is_noisy and not is_declared_clean:
            # Signals with a warning need no second one.
            is_declared_clean = warn_of_lost_source(list(X))
        patches = images.random_patches(
            other, self._cut_sides(), self._patches_per_image(signals.mean_length), weights
        )
        truth = images if other is None else other
        return PatchData(
            patches,
            truth.extrema,
            "y" if name == "y" else None,
            name == "X_second",
            is_declared_clean=is_declared_clean,
        )

    def _split(
        self, data: TrainingData, X_val: Any, X_clean_val: Any
    ) -> tuple[TrainingData, TrainingData | None]:
        if X_val is None or not (isinstance(data, PatchData) or is_signal_list(X_val)):
            if X_val is None and self.early_stopping and isinstance(data, PatchData) and data.n_images < 2:
                raise ValueError(
                    "early_stopping holds out whole signals, and X is one recording. Cut it into parts, such "
                    "as numpy.array_split(x, 10, axis=-1), pass X_val, or turn early_stopping off."
                )
            if X_val is not None:
                clean = None if X_clean_val is None else self._convert_side(X_clean_val, X_val, "X_clean_val")
                X_val, X_clean_val = self._convert(X_val, "X_val", reset=False).images, clean
            with self._names_set_aside():
                return NetworkDenoiser._split(self, data, X_val, X_clean_val)
        # Windows of a list have one length, for signals of any length.
        held_out = X_val if is_signal_list(X_val) else list(np.asarray(X_val))
        signals = self._convert(held_out, "X_val", reset=False)
        self._check_channels(signals, "X_val", data.sample_shape)
        clean = None
        if X_clean_val is not None:
            clean_list = X_clean_val if is_signal_list(X_clean_val) else list(np.asarray(X_clean_val))
            clean = self._convert_side(clean_list, held_out, "X_clean_val")
        return data, self._read_list(signals, held_out, None, clean, None, None)

    @contextmanager
    def _names_set_aside(self) -> Iterator[None]:
        """Hide the names of features, which the layout of images has not."""
        names = self.__dict__.pop("feature_names_in_", None)
        try:
            yield
        finally:
            if names is not None:
                self.feature_names_in_ = names

    def _resolve_window(self, signals: Signals) -> int:
        """Return the length of training windows."""
        if self.window_length != "auto":
            return int(self.window_length)
        fitted = getattr(self, "patch_shape_", None)
        if fitted is not None:
            return int(fitted[1])
        shortest = min(signals.lengths)
        if shortest < min(FRAGMENT_SHARE * np.median(signals.lengths), FRAGMENT_ENTRIES):
            warn_user(
                "Training windows are no longer than the shortest signal, "
                f"X[{np.argmin(signals.lengths)}] of {shortest} entries. The median length is "
                f"{np.median(signals.lengths):g}: leave fragments out of X."
            )
        if signals.depend_on_position():
            return min(shortest, MAX_WINDOW)
        # Parts at random places are new in every epoch. A network would learn few whole signals by heart.
        return min(max(1, round(WINDOW_SHARE * shortest)), MAX_WINDOW)

    def _patch_sides(self) -> tuple[int, int]:
        # Parameters are checked before the data are read.
        return 1, getattr(self, "_window", 1)

    def _patches_per_image(self, pixels: float | None) -> int:
        if self.windows_per_signal == "auto":
            assert pixels is not None
            return int(np.clip(round(pixels / self._window), 1, MAX_WINDOWS))
        return int(self.windows_per_signal)

    def _resolve_batch_size(self, n_samples: int) -> int:
        if self.batch_size != "auto":
            return super()._resolve_batch_size(n_samples)
        return min(n_samples, int(np.clip(BATCH_ENTRIES // self.patch_shape_[1], *BATCH_WINDOWS)))

    def _resolve(self, *arguments: Any, **options: Any) -> Pair:
        pair = super()._resolve(*arguments, **options)
        is_auto = isinstance(self.noise, str) and self.noise == "auto"
        # Channels have units of their own, so that one strength is not for all.
        if is_auto and pair.noiser is not None and pair.inputs.ndim == 4:
            return replace(pair, noiser=GaussianNoiser(GRID_NOISE, scale="std"))
        return pair

    def _build(self, factory: Any, pair: Pair, on_unit_interval: bool) -> None:
        noisy = self._noisy_sample(pair)
        self._predicts_noise_ = self._is_noise_moderate(pair, noisy)
        means = self._as_images(noisy)[:, 0].mean(axis=1, dtype=np.float64)
        self._input_means_ = np.stack([means.min(axis=0), means.max(axis=0)])
        super()._build(self._factory(), pair, on_unit_interval)
        if pair.inputs.ndim == 4:
            clean = factory.samples_for_noise(pair.targets)
            self._reference_noiser_ = GaussianNoiser(GRID_NOISE, scale="std").fit(clean)

    def _noisy_sample(self, pair: Pair) -> NDArray[Any]:
        """Return some noisy signals as the network gets them in training."""
        few = pair.take(np.arange(min(len(pair.inputs), MAX_SCORED)))
        if self.noiser_ is None:
            return few.inputs
        draw = stream(self._root(), "strength")
        noisy: NDArray[Any] = self.noiser_.corrupt(as_tensor(few.targets), draw).numpy()
        return noisy

    def _is_noise_moderate(self, pair: Pair, noisy: NDArray[Any]) -> bool:
        """Return whether the noise is easier to predict than the clean signal."""
        if pair.has_noisy_targets:
            return True
        clean = pair.targets[: len(noisy)].astype(np.float64)
        power = np.square(noisy - clean).mean(axis=(0, 1, 2))
        return bool(np.mean(power <= MAX_NOISE_POWER * clean.var(axis=(0, 1, 2))) >= 0.5)

    def _sample_for_callbacks(self, sample: Pair) -> tuple[Any, Any, dict[str, Any] | None]:
        few = sample.take(np.arange(min(len(sample.inputs), MAX_SCORED)))
        X, y = (
            np.moveaxis(side[:, 0], -1, 1) if side.ndim == 4 else side[:, 0]
            for side in (few.inputs, few.targets)
        )
        names = getattr(self, "feature_names_in_", None)
        X = restore_names(X, names if names is not None and len(names) == X.shape[-1] else None)
        return X, y, None if few.weights is None else {"sample_weight": few.weights}

    # Prediction --------------------------------------------------------------------------------------

    @property
    def _unit(self) -> None:
        """None: signals are in the unit of the fit."""
        return None

    def _tiled_predictor(
        self, image_range: IntensityRange | None = None, *, network: nn.Module | None = None, **options: Any
    ) -> TiledPredictor:
        scaler, cost = self._preparation_.input_scaler, self._cost_
        entries = int(self.patch_shape_[1])
        module = self.net_.module_ if network is None else network
        if "tile_size" not in options and getattr(module, "receptive_radius", None):
            stride, radius = int(getattr(module, "stride", 1)), int(module.receptive_radius)  # type: ignore[arg-type]
            # Short parts would spend most of the work on their halo.
            side = max(TILE, 4 * radius)
            options["tile_size"] = -(-side // stride) * stride
        return TiledPredictor.of(
            module,
            Cost(-(-cost.flops // entries), -(-cost.widest // entries)),
            black=_as_last_axis(scaler.center),
            data_range=_as_last_axis(torch.where(scaler.spread > 0, scaler.spread, 1.0)),
            adds_noise_map=False,
            **options,
        )

    def _denoise_stack(self, stack: NDArray[Any], *, checks_unit: bool = True) -> NDArray[Any]:
        """Return denoised signals in the layout of images, (n, 1, length[, channels])."""
        images = self._as_images(stack)
        denoised = np.empty(images.shape, as_float_array(stack[:0]).dtype)
        if checks_unit:
            self._warns_of_unit(stack)
        self._tiled_predictor(double=denoised.dtype == np.float64).restore(images, denoised)
        return denoised.reshape(stack.shape)

    def _denoise_array(self, X: ArrayLike, sigma: Any) -> NDArray[Any]:
        if sigma is not None:
            raise ValueError("SignalDenoiser takes no sigma: its networks are blind.")
        denoised: NDArray[Any] = self.predict(X)
        return denoised

    def _denoise_part(self, held: NDArray[Any], start: int, stop: int, has_channels: bool) -> NDArray[Any]:
        """Return a part of the denoised entries that are held, in the layout of the user."""
        part = self._denoise_stack(held[None], checks_unit=False)[0][:, start:stop]
        return Signals([part], has_channels).restore(part)

    def _differentiate(self, X: Any, direction: Any) -> Any:
        signals = self._convert(X, "X", reset=False)
        along = Signals.of(direction, "direction").images
        if signals.is_list:
            pairs = zip(signals.images, along, strict=True)
            return [signals.restore(self._slopes(image[None], d[None])[0]) for image, d in pairs]
        return signals.restore(self._slopes(np.asarray(signals.images), np.asarray(along)))

    def _slopes(self, stack: NDArray[Any], along: NDArray[Any]) -> NDArray[Any]:
        """Return the derivative of denoised signals along a direction."""
        images, direction = self._as_images(stack), self._as_images(along)
        return self._tiled_predictor().differentiate(images, direction).reshape(stack.shape)

    def _warn_of_other_unit(self, images: NDArray[Any]) -> None:
        """Warn of signals in another unit than that of the fit."""
        self._warns_of_unit(images)

    def _warns_of_unit(self, stack: NDArray[Any]) -> bool:
        """Warn of signals in another unit than that of the fit; return whether they are."""
        images = self._as_images(stack)
        spread = np.atleast_1d(_as_last_axis(self._preparation_.input_scaler.spread))
        given = images[:, 0, :MAX_ENTRIES_OF_UNIT].astype(np.float64).std(axis=1).max(axis=0, initial=0.0)
        # A few entries, or a flat part of a stream, vary little in any unit; constants vary by rounding.
        is_small = (given * FAR < spread) & (images.size >= MIN_ENTRIES_OF_UNIT)
        rounding = 1e-12 * np.abs(images[:, 0, :MAX_ENTRIES_OF_UNIT]).max(axis=(0, 1), initial=0.0)
        is_far = (given > rounding) & (spread > 0) & ((given > FAR * spread) | is_small)
        if is_far.any():
            channel = int(np.argmax(is_far))
            place = f"channel {channel} of " if len(spread) > 1 else ""
            warn_user(
                f"The standard deviation is {given[channel]:.3g} in {place}X, and {spread[channel]:.3g} in "
                "the clean signals of the fit. Give X in the unit of the fit."
            )
            return True
        # Means of short parts vary as single entries do.
        if images.shape[2] < self.patch_shape_[1]:
            return False
        means = images[:, 0, :MAX_ENTRIES_OF_UNIT].mean(axis=1, dtype=np.float64)
        low, high = self._input_means_[0] - FAR_OFFSET * spread, self._input_means_[1] + FAR_OFFSET * spread
        is_off = ((means < low) | (means > high)).any(axis=0)
        if is_off.any():
            channel = int(np.argmax(is_off))
            place = f"channel {channel} of " if len(spread) > 1 else ""
            warn_user(
                f"A mean of {place}X is {means[:, channel][np.abs(means[:, channel]).argmax()]:.4g}, and "
                f"those of the fit are {self._input_means_[0][channel]:.4g} to "
                f"{self._input_means_[1][channel]:.4g}. Networks do not extrapolate: take the offset off, "
                "or train with SignalAugmenter(offset=...)."
            )
        return bool(is_off.any())


def describe_form(X: Any) -> str:
    """Return the form of signals in words, for messages."""
    if is_signal_list(X):
        return f"a list of {len(X)} arrays"
    return f"an array of shape {get_shape(X)}"


def _describe_first_difference(X: Any, side: Any, name: str) -> str:
    """Return the first signal of another shape in words, "" if X is no list."""
    if not (is_signal_list(X) and is_signal_list(side)):
        return ""
    pairs = enumerate(zip(map(get_shape, X), map(get_shape, side), strict=False))
    index, shapes = next(((i, pair) for i, pair in pairs if pair[0] != pair[1]), (0, None))
    return "" if shapes is None else f" X[{index}] has the shape {shapes[0]}, {name}[{index}] {shapes[1]}."


def _refuse_other_objects(X: Any, name: str) -> None:
    """Refuse objects that hold signals, and name the arrays in them."""
    first = X[0] if isinstance(X, list | tuple) and X else X
    what, remedy = None, f"[x.values for x in {name}]"
    if hasattr(first, "sampling_rate"):
        what = f"{'a list of' if first is not X else 'a'} {type(first).__name__}"
        remedy = remedy if first is not X else f"[{name}.values]"
    elif first is not X and hasattr(first, "columns"):
        # Rows of a frame are samples in time, for nearly all users.
        what, remedy = "a list of frames", f"[x.to_numpy().T for x in {name}] if their columns are channels"
    elif isinstance(X, np.ndarray) and X.dtype.kind == "O" and X.ndim == 1 and len(X) and np.ndim(X[0]):
        what, remedy = "an array of arrays", f"list({name})"
    if what is not None:
        raise TypeError(f"{name} is {what}. Pass arrays: {remedy}.")


def _as_last_axis(number: torch.Tensor) -> Any:
    """Return a number, or one for each channel in the last axis."""
    return float(number) if number.ndim == 0 else number.flatten().numpy()
