"""Denoising of arrays of one shape: tables, signals, small images."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.utils.data import Dataset

from sk_denoise._clean_source import warn_of_lost_source
from sk_denoise._compat import keeps_array_type, with_callbacks
from sk_denoise._intensity import UNIT, IntensityRange, has_image_depth
from sk_denoise._random import stream, stream_seed
from sk_denoise._residual_noise import ResidualNoise
from sk_denoise._resources import entries_at_once, threads_for_flops
from sk_denoise._row_prior import Blend
from sk_denoise._scaling import iterate_chunks
from sk_denoise._schema import Rule, optional, record
from sk_denoise._validation import (
    Interval,
    StrOptions,
    allows_gaps,
    as_float_array,
    as_tensor,
    check_one_of,
    check_samples,
    get_shape,
    refuse_masked,
    warn_of_channels,
    warn_of_other_unit,
    warn_of_single_image,
    warn_user,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._blending import (
    LARGE_TABLE,
    BlendedRows,
    LargeTable,
    find_noise_of_pairs,
    is_blendable,
)
from sk_denoise.estimators._gaps import FilledNoise, GapFiller
from sk_denoise.estimators._image_inputs import refuse_noiser_output
from sk_denoise.estimators._network_denoiser import AutoValues, NetworkDenoiser
from sk_denoise.estimators._network_factory import AutoencoderFactory
from sk_denoise.estimators._pairs import Pair
from sk_denoise.estimators._preparation import SAMPLE_PREPARATION, SampleLayout, run_in_chunks
from sk_denoise.estimators._tiled_prediction import forward_derivative
from sk_denoise.estimators._training_data import ArrayData, LongArguments, LongRows, PatchData, TrainingData
from sk_denoise.preprocessing import Augmentation
from sk_denoise.training import auto_batch_size, auto_epochs, check_loss, resolve_objective

__all__ = ["DenoisingAutoencoder"]

# The part of the network that computes each output.
OUTPUTS = {"reconstruction": "forward", "latent": "encoder", "activations": "activations"}


# Share of rows outside of the training range, with a margin, from which a warning is due.
MAX_SHARE_OUTSIDE = 0.01
# Fewer rows must lie outside by another share of the range.
MIN_ROWS_OUTSIDE, FAR_OUTSIDE = 5, 0.5
# Entries that are compared with the range at once
CHECKED_ENTRIES = 2**20
# Noisy rows that the filler of gaps learns from, at least, unless they have more entries than this.
MIN_FILLER_ROWS, MAX_FILLER_ENTRIES = 2000, 2**16
# Operations of a choice of the prior for each entry of the table: dozens of candidates on hundreds of rows.
PRIOR_FLOPS_PER_ENTRY = 1000


def _returns_latents(dae: DenoisingAutoencoder) -> bool:
    if dae.output != "latent":
        raise AttributeError(
            f'inverse_transform decodes the output of transform with output="latent", not {dae.output!r}. '
            'Use set_params(output="latent"), which needs no new fit.'
        )
    return True


class DenoisingAutoencoder(NetworkDenoiser):
    """Denoise arrays of one shape with a network: tables, signals, small images.

    A network with a bottleneck is trained through skorch to turn corrupted samples into clean ones, with
    fresh noise in every batch. It is a transformer: ``transform`` denoises, so that it stands before a
    classifier in a pipeline, or returns the latent vectors.

    From a small table, a network learns less than closed formulas do. Its predictions are therefore blended
    with them, see ``blend``. Where the noise of pairs does not depend on the row, which is tested, it is
    drawn anew for every batch.

    The literal pipeline ``[("noise", GaussianNoiser()), ("dae", DenoisingAutoencoder())]`` and the
    estimator alone with ``noise=GaussianNoiser()`` learn the same. Pass pairs of noisy and clean samples as
    ``fit(X_noisy, X_clean=X_clean)`` or ``fit(X_noisy, X_clean)``; see ``fit``.

    Parameters
    ----------
    network : str, spec, class or callable, default="dense"
        Network to train: a name such as "dense", "conv" or "pooling"; a spec such as
        :class:`~sk_denoise.DenseNetwork`; or a class or function that takes ``(input_shape, latent_dim)``
        and returns a ``torch.nn.Module``, which maps a batch to one of the same shape and may have the parts
        ``encoder`` and ``decoder``. ``input_shape`` is ``(n_features,)`` for rows and
        ``(channels, height, width)`` for images; "conv" and "pooling", and any spec with
        ``rows_are_signals = True``, read rows as signals of shape ``(1, length)``.
    latent_dim : int, default=128
        Length of the latent vector; with "pooling", of that at each position of the latent map. More than
        the number of features does no harm to denoising.
    noise : "auto", float, pair of float, array-like, str, noiser or None, default="auto"
        Noise that corrupts clean samples in training. Only "auto" is allowed where a clean side or a noiser
        before the estimator already defines the pairs. A noiser such as
        :class:`~sk_denoise.GaussianNoiser`, or a name of ``sk_denoise.noise.NOISERS`` for one with its
        defaults. A number is the standard deviation of Gaussian noise in the unit of the data:
        ``noise=0.25`` is ``GaussianNoiser(0.25)``. From a pair ``(low, high)``, one is drawn for each
        sample; an array has one for each column of a table. "auto" is Gaussian noise with a strength drawn
        for each sample: 0.1 to 0.6 of each feature's standard deviation for rows of a table, 0 to 1 of the
        standard deviation of all entries for images and signals. If you know your noise, pass it. None
        trains a plain autoencoder. With an ``objective`` for noisy data, it is the noise that is in X
        instead: a standard deviation, one for each column, a noiser, or "auto" for an estimate.
    objective : str or objective, default="supervised"
        Way to learn. "supervised" has a clean side, see ``fit``. The others learn from noisy X alone:

        - "recorrupt" splits the noise in X, of a level that ``noise`` determines, into two independent
          parts (:class:`~sk_denoise.RecorruptObjective`).
        - "blind" hides entries and learns them from the others. It needs no noise level
          (:class:`~sk_denoise.BlindSpotObjective`).

        An object such as ``RecorruptObjective(share=0.3)``, or one of yours with the methods of
        :class:`~sk_denoise.training.Objective`, sets the details. "neighbours" needs a network for images of
        any size, see :class:`~sk_denoise.ImageDenoiser`.
    ignore_y : bool, default=False
        Whether ``fit`` and ``score`` take no y as the clean side. By default a y of the shape of X is clean,
        unless the columns of two frames have different names. Set it before a regressor with as many targets
        as X has features.
    missing : {"error", "mask"}, default="error"
        Meaning of NaN in rows of a table. "error" refuses it. With "mask" it marks missing entries: on the
        clean side they do not count in scaling, loss and ``score``, and in noisy rows they are filled by
        their conditional mean, given the other entries. Predictions have no gaps. It needs a clean side, and
        a loss that is a mean over entries, such as "mse" or "mixed". Noise that hides entries as in your
        data, ``CopiedMaskNoiser(fill=numpy.nan)``, trains the network to fill gaps too.
    augment : Augmenter or None, default=None
        Random movements of training images before they are corrupted, drawn for every batch and the same
        on both sides of a pair: an :class:`~sk_denoise.Augmenter`, or any object with its method
        ``augment``. Validation and prediction take images as they are.
    scaling : {"standard", "robust", "quantile"}, default="standard"
        Scaling of the columns of a table inside the estimator.

        - "standard": by mean and standard deviation, except for columns of which a few wild values determine
          the deviation. In these, values far beyond the central 90 % are cut before the network, and what was
          cut is added to its output.
        - "robust" does so in every column.
        - "quantile": for noise that grows with the value. Columns in which the size of the noise changes less
          with the quantile than with the value, as under noise in proportion to it, are mapped to Gaussian
          scores of their quantiles, the noisy and the clean side by a map each. Predictions are mapped back,
          and go on linearly beyond the range of the training. All other columns are scaled as by "robust".
          It needs a clean side. On log-normal columns with noise of half the value, .28 of the squared error
          is left, where the others leave .35. The largest values of heavier tails are served worse, all
          others better. With noise of one size, it is "robust".
    loss : str, dict or callable, default="mse"
        Loss in scaled units: a name, a mix of names and weights such as ``{"mae": 0.2, "ms_ssim": 0.8}``,
        or a function of output and target, batches of shape (n, features) or (n, channels, height, width),
        that returns a tensor of shape ().

        - "mse", "mae": squared and absolute error; "huber" changes from the one to the other at one unit,
          "charbonnier" is an absolute error that is smooth at 0.
        - "bce", "kl": for clean data in [0, 1], which are not scaled, through a sigmoid. Binary
          cross-entropy, and the generalised Kullback-Leibler divergence ``t log(t / p) - t + p`` of each
          entry, the divergence of photon counts: the same error weighs more in dark regions.
        - "mixed": for tables with a one-hot encoding, the cross-entropy of its categories and the squared
          error of the other columns. Predictions of a category are probabilities that sum to one. Its columns
          are the ``blocks_`` of the noise, or are found in the data as by :class:`~sk_denoise.SwapNoiser`.
        - "ssim", "ms_ssim": one minus the structural similarity of images, on one scale or up to five.
    emphasis : pair of float or None, default=None
        Weights (of corrupted entries, of intact ones) in the loss, for noise that replaces some values: with
        (1, 0) only lost entries count, with (0, 1) only kept ones. None weights all alike.
    blend : "auto" or None, default="auto"
        "auto" blends the network with the posterior mean of the training rows
        (:class:`~sk_denoise.PosteriorMeanDenoiser`), for tables of fewer than 5,000 rows and at most 16,384
        columns, where networks alone are often behind linear filters. Two noisy measurements of at most 256
        columns are blended with a linear answer. The share of the network is measured
        on up to 300 rows that it does not learn from; below 40 rows it is 0. ``predict``, ``score`` and
        ``transform`` of samples return the blend. Latent vectors, ``inverse_transform`` and
        ``validation_scores_`` are those of the network. There is no blend with an ``objective`` or
        ``emphasis``, without noise, and for losses on [0, 1] and "mixed". A blend, and a file of it, hold up
        to 2,000 training rows, from which these can be restored. None predicts with the network alone, which
        learns from all rows. From 5,000 rows on, predictions are those of the network, except for rows with
        values beyond the training range: the further beyond, the more their prediction is linear.
    optimizer : str or torch optimizer class, default="adamw"
        A name such as "adam", "adamw" or "sgd" (momentum 0.9), or a class of :mod:`torch.optim`.
    learning_rate : float or None, default=None
        Learning rate at the start. None takes the default of the optimizer, such as 0.002 for "adamw" and
        0.05 for "sgd".
    learning_rate_schedule : str, default="flat_cosine"
        Course of the learning rate over the run: "flat_cosine" is constant for the first half and then falls
        along a cosine to zero; "cosine" and "linear" fall to zero from the start, "exponential" to a
        hundredth. These four rise first, over a tenth of the steps and no more than 100. "one_cycle" rises
        for a third of the run and falls along a cosine; "constant" neither rises nor falls.
    weight_decay : float or "auto", default="auto"
        Decay of the weights towards zero. "auto" is, for "adamw", 0.3 below 1,000 samples, 0.2 below 10,000
        and 0 from there on; it is 0 for other optimizers, which add it to the gradient.
    gradient_clipping : float or None, default=None
        Largest norm of the gradients of a step; longer ones are scaled down to it.
    weight_averaging : float or None, default=None
        Decay of an exponential moving average of the weights at each step, such as 0.999. Validation and
        prediction then use the average, which begins anew with every call of ``fit`` and ``partial_fit``.
        None uses the weights as they are.
    batch_size : int or "auto", default="auto"
        Largest number of samples in a batch. "auto" is 32 below 1,000 samples, 64 below 10,000 and 128 from
        there on.
    max_epochs : int or "auto", default="auto"
        Total passes over the data; with ``warm_start``, earlier passes count too. "auto" makes about 2,500
        steps, in at least 10 and at most 500 passes.
    early_stopping : bool, default=False
        Whether to stop once the validation loss has not fallen by ``tol`` for ``n_iter_no_change`` epochs,
        and to return to the best weights.
    validation_fraction : float, default=0.1
        Share of the samples that early stopping holds out, if ``fit`` gets no ``X_val``.
    n_iter_no_change : int, default=10
        See ``early_stopping``.
    tol : float, default=1e-4
        See ``early_stopping``; in the unit of the loss.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights and the scaling of the previous call, up to ``max_epochs``
        in all, as the rest of one run: with its learning rates, and on the same validation samples with its
        early stopping and best weights. If the run is over already, there is a warning.
    output : {"reconstruction", "latent", "activations"}, default="reconstruction"
        Output of ``transform``: denoised samples, latent vectors, or the outputs of all hidden layers side
        by side. ``predict`` and ``score`` always denoise. You may set it after the fit.
    callbacks : list or None, default=None
        Callbacks of the training run: skorch callbacks, which get the net; and functions
        ``f(estimator, epoch)``, called after each epoch with a fitted copy and a dict of the epoch's
        figures, which stop the run by returning True. Pass scikit-learn's callbacks to ``set_callbacks``.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of the images, if the rows of X are flattened
        images: they are scaled and corrupted for all pixels alike, as stacks of images are.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the layers in training; weights, loss and optimizer are always float32, and so is
        prediction (float64 for float64). "auto" uses bfloat16 on processors with units for it
        (AVX512-BF16, AMX), for networks with steps of 2 * 10^8 operations or more; see ``precision_``.
    device : str or torch.device, default="auto"
        Device to compute on: "auto" is a CUDA GPU if there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, order of the samples, noise and the validation split. The same integer gives
        the same bits on the same kind of processor with the same number of threads.
    verbose : int, default=0
        1 prints the clean side and the noise, and a line with epoch, losses, PSNR and the time left.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        Trained net; its module is ``net_.module_``, its log ``net_.history``.
    encoder_, decoder_ : torch.nn.Module
        Halves of the network, in scaled units.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Mean PSNR of the network on the validation samples after each epoch, in dB; None without validation.
    network_share_ : float
        Share of the network in predictions, from 0 to 1; 1 without a blend.
    n_iter_ : int
        Epochs so far, including those of ``partial_fit``.
    precision_ : {"float32", "bfloat16"}
        Precision of the layers in training.
    noiser_ : noiser or None
        Fitted noise that corrupted the clean samples; None for pairs.
    noise_model_ : NoiseModel or None
        Noise in X, given or estimated, for an objective that needs it; else None.
    target_source_ : {"noisy", "X_second", "X_clean", "y", "noiser", "X"}
        Source of the clean side. "noisy" and "X_second" stand for learning without one: from X by an
        ``objective``, and from two measurements.
    image_shape_ : tuple of int or None
        Shape of the images, if samples are images.
    data_range_ : float
        Data range of ``score``: that of ``intensity_range_`` for 8- and 16-bit integers, else the clean
        maximum minus the clean minimum.
    intensity_range_ : IntensityRange or None
        Numbers of black and white in the fit, ``.black`` and ``.white``: by the bits in use for 8- and
        16-bit integers, 0 and 1 for clean data in [0, 1], else None.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Warns
    -----
    CleanTargetWarning
        If a two-dimensional y is not used as the clean side, or if images that count as clean seem noisy.
    WeakNoiseWarning
        If the noise is weaker than 2 % of the spread of the data.
    UserWarning
        If nothing was learned that removes noise from held-out rows of a table.

    See Also
    --------
    PosteriorMeanDenoiser : For small tables, without a network.
    GaussianNoiser : Corrupts in training, before the estimator or as its ``noise``.
    sk_denoise.make_denoising_scorer : Scores a search over noise honestly.

    References
    ----------
    P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol, "Extracting and composing robust features with
    denoising autoencoders", ICML (2008); for ``emphasis``, P. Vincent et al., "Stacked denoising
    autoencoders", Journal of Machine Learning Research 11 (2010). The posterior mean: B. W. Silverman and G.
    A. Young, "The bootstrap: to smooth or not to smooth?", Biometrika 74(3) (1987).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder, GaussianNoiser
    >>> X = load_digits().data / 16
    >>> dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=10, random_state=0)
    >>> dae.fit(X[:1000]).target_source_
    'X'
    >>> noisy = X[1000:] + np.random.default_rng(0).normal(0, 0.25, X[1000:].shape)
    >>> bool(np.mean((dae.predict(noisy) - X[1000:]) ** 2) < 0.5 * np.mean((noisy - X[1000:]) ** 2))
    True

    It also gives features:

    >>> dae.set_params(output="latent").transform(noisy).shape
    (797, 128)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "ignore_y": ["boolean"],
        "scaling": [StrOptions({"standard", "robust", "quantile"})],
        "missing": [StrOptions({"error", "mask"})],
        "blend": [StrOptions({"auto"}), None],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "_preparation_": SAMPLE_PREPARATION,
        "_blend_": replace(
            optional(record(Blend, "a blend", lambda v, e: v.prior.fits(e.n_features_in_))),
            required=False,
            after_others=True,
        ),
        "_gap_filler_": replace(
            optional(record(GapFiller, "a filler of gaps", lambda v, e: v.fits(e.n_features_in_))),
            required=False,
            after_others=True,
        ),
    }
    _blend_: Blend | None
    # One sample has no spread to scale by.
    _auto_values = AutoValues(auto_batch_size, auto_epochs, warm_up_steps=0, min_samples=2)

    def __init__(
        self,
        network: Any = "dense",
        latent_dim: int = 128,
        *,
        noise: Any = "auto",
        objective: Any = "supervised",
        ignore_y: bool = False,
        scaling: Literal["standard", "robust", "quantile"] = "standard",
        missing: Literal["error", "mask"] = "error",
        augment: Augmentation | None = None,
        loss: Any = "mse",
        emphasis: tuple[float, float] | None = None,
        blend: Literal["auto"] | None = "auto",
        optimizer: str | type[torch.optim.Optimizer] = "adamw",
        learning_rate: float | None = None,
        learning_rate_schedule: str = "flat_cosine",
        weight_decay: float | Literal["auto"] = "auto",
        gradient_clipping: float | None = None,
        weight_averaging: float | None = None,
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        callbacks: Sequence[Any] | None = None,
        output: Literal["reconstruction", "latent", "activations"] = "reconstruction",
        image_shape: Sequence[int] | None = None,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str | torch.device = "auto",
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.latent_dim = latent_dim
        self.noise = noise
        self.objective = objective
        self.ignore_y = ignore_y
        self.scaling = scaling
        self.missing = missing
        self.augment = augment
        self.loss = loss
        self.emphasis = emphasis
        self.blend = blend
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
        self.output = output
        self.image_shape = image_shape
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @keeps_array_type
    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        X_clean: ArrayLike | None = None,
        X_second: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        X_clean_val: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        The clean side of the pairs is the first of these: ``X_clean``; a ``y`` of the shape of X; the clean
        source that the output of a noiser carries; else X itself is clean and corrupted afresh for every
        batch.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples if a clean side is given or the ``objective`` learns from noisy ones, else clean
            ones. Finite numbers, and NaN with ``missing="mask"``; integers are converted to float32 in the
            same unit, beyond 2**24 to float64.
        y : array-like of the shape of X, optional
            Clean samples. It is taken for labels and ignored if its samples have another shape, if X has
            one feature, or if it holds zeros and ones only and X does not; and if it equals X.
        X_clean : array-like of the shape of X, optional
            Clean samples; y is ignored then.
        X_second : array-like of the shape of X, optional
            Second noisy measurement of the same samples, with independent noise. The network learns each of
            the two from the other, and no clean side is needed.
        X_val : array-like of shape (n_validation_samples, ...), optional
            Validation samples, in place of a part of X: noisy with ``X_clean_val``, else clean.
        X_clean_val : array-like of the shape of X_val, optional
            Clean counterparts of ``X_val``.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample in the loss, relative to the mean weight; at least 0. Samples of weight 0
            are left out.

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
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        X_clean: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train on one more batch of samples: one pass, at a constant learning rate.

        The first call fixes the shape of the samples and the scaling, so its samples should resemble the
        rest. The clean side is determined at each call, as in ``fit``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples if a clean side is given, else clean ones.
        y : array-like of the shape of X, optional
            Clean samples, as in ``fit``.
        X_clean : array-like of the shape of X, optional
            Clean samples; y is ignored then.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample in the loss, as in ``fit``.

        Returns
        -------
        self
        """
        return self._fit(X, y, X_clean, sample_weight, fresh=False, epochs=1, schedule="constant")

    @with_callbacks
    def fit_patches(self, patches: RandomPatches, *, validation: RandomPatches | None = None) -> Self:
        """Train on patches that are drawn from images in every epoch.

        For folders and data sets that need not fit in memory; ``fit`` is for arrays. As in ``fit``, clean
        images are corrupted afresh for every batch, and pairs are used as given. The scaling is learned from
        some hundred patches.

        Parameters
        ----------
        patches : RandomPatches
            Patches of clean images, or of pairs of noisy and clean ones.
        validation : RandomPatches, optional
            Patches of other images to validate on. If it is missing and ``early_stopping`` is on, a
            ``validation_fraction`` of the images is held out.

        Returns
        -------
        self
            The estimator. Its ``predict`` takes stacks of images of the size of the patches, in their unit.

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
        with self._begin_fit(not self.warm_start) as (draft, tasks):
            data = draft._read_patches(patches)
            if validation is None:
                return self._learn(draft, tasks, *draft._split(data, None, None))
            held_out = draft._read_patches(validation)
            if validation.normalize != patches.normalize:
                raise ValueError(
                    f"The patches to train on have normalize={patches.normalize}, those to validate on "
                    f"normalize={validation.normalize}: they must have one unit."
                )
            held_out = replace(held_out, patches=validation.match_intensity_range(patches))
            return self._learn(draft, tasks, data, held_out)

    @keeps_array_type
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Denoise samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, in the layout and unit of ``fit``.

        Returns
        -------
        ndarray of the shape of X
            Denoised samples in the unit of the clean side; float64 for float64, else float32.
        """
        check_is_fitted(self)
        restore = self._preparation_.restore
        return self._apply(
            X, lambda module, x: restore(module(x)), blend=getattr(self, "_blend_", None), is_prediction=True
        )

    @keeps_array_type
    def transform(self, X: ArrayLike) -> Any:
        """Denoise samples, or return latent vectors or activations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, in the layout and unit of ``fit``.

        Returns
        -------
        ndarray or DataFrame
            Denoised samples of the shape of X for ``output="reconstruction"``, latent vectors of shape
            (n_samples, latent_dim) for "latent", the outputs of all hidden layers side by side for
            "activations"; float64 for float64, else float32.
        """
        check_one_of(self.output, OUTPUTS, "output")
        if self.output == "reconstruction":
            return self.predict(X)
        check_is_fitted(self)
        part = self._part(OUTPUTS[self.output], f"output={self.output!r}")
        return self._apply(X, lambda module, x: getattr(module, part)(x).flatten(1))

    @available_if(_returns_latents)
    @keeps_array_type
    def inverse_transform(self, Z: ArrayLike) -> NDArray[Any]:
        """Decode latent vectors.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            Latent vectors, as ``transform`` returns them with ``output="latent"``.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples in the unit of the clean side; float64 for float64, else float32.
        """
        check_is_fitted(self)
        restore = self._preparation_.restore
        refuse_masked(Z, "Z")
        latents = as_float_array(np.asarray(check_array(Z, dtype="numeric", input_name="Z", estimator=self)))
        part, code_shape = self._part("decoder", "inverse_transform"), self._output_shape_of("encoder")
        if latents.shape[1] != math.prod(code_shape):
            raise ValueError(
                f"Z holds vectors of length {latents.shape[1]}, the latent vectors of this "
                f"{type(self).__name__} have length {math.prod(code_shape)}. Pass the output of "
                'transform with output="latent".'
            )
        decoded = run_in_chunks(
            self.net_.module_,
            as_tensor(latents).reshape(-1, *code_shape),
            lambda module, z: restore(getattr(module, part)(z)),
            self._cost_.widest,
        )
        return decoded.numpy()

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the output features of ``transform``.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the input features, needed if ``fit`` got none.

        Returns
        -------
        ndarray of str
            Input names for reconstructions, else ``denoisingautoencoder0`` and so on.
        """
        check_is_fitted(self)
        if self.output == "reconstruction":
            names = OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        else:
            names = ClassNamePrefixFeaturesOutMixin.get_feature_names_out(self, input_features)
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "mask"
        return tags

    @property
    def encoder_(self) -> nn.Module:
        """The half of the network from the scaled input to the latent vector."""
        check_is_fitted(self)
        return getattr(self.net_.module_, self._part("encoder", "encoder_"))  # type: ignore[no-any-return]

    @property
    def decoder_(self) -> nn.Module:
        """The half of the network from the latent vector to the scaled output."""
        check_is_fitted(self)
        return getattr(self.net_.module_, self._part("decoder", "decoder_"))  # type: ignore[no-any-return]

    @property
    def network_share_(self) -> float:
        """Share of the network in predictions, from 0 to 1."""
        check_is_fitted(self)
        blend: Blend | None = getattr(self, "_blend_", None)
        return 1.0 if blend is None else blend.network_share

    @property
    def _n_features_out(self) -> int:
        """Number of output features, for latent vectors and activations."""
        return math.prod(self._output_shape_of(OUTPUTS[self.output]))

    def _output_shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of the output of a part of the network, for one sample."""
        part = getattr(self.net_.module_, self._part(name, f"output={self.output!r}"))
        device = next(self.net_.module_.parameters()).device
        with torch.inference_mode():
            probe = torch.zeros(1, *self._preparation_.layout.network_shape, device=device)
            return tuple(part(probe).shape[1:])

    # The steps of a fit ------------------------------------------------------------------------------

    def _factory(self) -> AutoencoderFactory:
        return AutoencoderFactory(self.network, self.latent_dim, self.loss, self.image_shape, self.scaling)

    def _read(self, X: Any, y: Any, X_clean: Any, sample_weight: Any, X_second: Any = None) -> ArrayData:
        if isinstance(X, RandomPatches | Dataset):
            raise TypeError(
                f"fit takes arrays, got {type(X).__name__}. Images that are streamed from a folder or data "
                "set go to fit_patches(RandomPatches(images, patch_size=64))."
            )
        if isinstance(X, str | os.PathLike):
            raise TypeError(
                f"fit takes arrays, got the path {str(X)!r}. The images of a folder go to "
                f"fit_patches(RandomPatches({str(X)!r}, patch_size=64)); ImageDenoiser takes the path itself."
            )
        if self.__sklearn_is_fitted__():
            self._refuse_other_unit(np.asarray(X))
        if self.missing == "mask":
            self._check_missing(X_second)
        long = LongArguments.of(self, sample_weight, X=X, y=y, X_clean=X_clean, X_second=X_second)
        if long is not None:
            X, y, X_clean, X_second = (long.sampled(name) for name in ("X", "y", "X_clean", "X_second"))
            sample_weight = None if long.weights is None else long.weights[long.places]
        pair = self._resolve(X, y, X_clean, sample_weight, X_second)
        if long is not None and y is None and pair.source == "X":
            warn_of_lost_source(long.sides["X"])
        layout = self._factory().layout(self._sample_shape_)
        if self.scaling == "quantile":
            self._check_quantiles(layout, pair)
        if self.missing == "mask" and layout.has_one_unit:
            kind = "signals" if layout.image_shape is None else "images"
            raise ValueError(
                f'missing="mask" is for rows of a table, and these samples are {kind}. Fill the gaps first, '
                'or leave missing="error".'
            )
        # Rows are left alone: they may be a table in the order of time.
        if self.image_shape is None and len(get_shape(X)) == 3:
            warn_of_single_image(X, "images")
            warn_of_channels(
                get_shape(X),
                "take SignalDenoiser, or pass each channel as rows; if it holds images, pass image_shape="
                f"{get_shape(X)[1:]}.",
            )
        return ArrayData(pair, long=None if long is None else long.rows(pair, self.missing == "mask"))

    def _read_patches(self, patches: Any) -> PatchData:
        """Check the patches of ``fit_patches`` and return them as training data."""
        if not isinstance(patches, RandomPatches):
            raise TypeError(
                f"fit_patches takes sk_denoise.datasets.RandomPatches, got {type(patches).__name__}. Say "
                "how patches are to be drawn: RandomPatches(images, patch_size=64)."
            )
        if self.missing == "mask":
            raise ValueError('missing="mask" is for rows of a table, and patches are images.')
        if self.scaling == "quantile":
            raise ValueError('scaling="quantile" is for rows of a table, and patches are images.')
        has_warned = refuse_noiser_output(patches)
        return PatchData(patches, of_any_size=False, is_declared_clean=has_warned)

    def _check_missing(self, X_second: Any) -> None:
        """Refuse ways to learn that have no missing entries."""
        reason = ""
        if not check_loss(self.loss).takes_entry_weights:
            reason = f'needs a loss that is a mean over entries, such as "mse", got loss={self.loss!r}'
        elif X_second is not None:
            reason = "needs a clean side, and X_second is a second noisy measurement"
        elif resolve_objective(self.objective) is not None:
            reason = f"needs a clean side, and objective={self.objective!r} learns from noisy data alone"
        if reason:
            raise ValueError(f'missing="mask" {reason}. Fill the gaps first, or leave missing="error".')

    def _check_quantiles(self, layout: SampleLayout, pair: Pair) -> None:
        """Refuse samples and ways to learn for which columns have no maps."""
        reason = ""
        if layout.has_one_unit:
            kind = "signals" if layout.image_shape is None else "images"
            reason = f"is for the columns of a table, and these samples are {kind}, with one unit"
        elif pair.has_noisy_targets:
            # The mean of scores of noisy values is not the score of their mean.
            reason = "needs a clean side, and the fit learns from noisy data alone"
        elif check_loss(self.loss).on_unit_interval:
            reason = f"scales the clean side, and loss={self.loss!r} needs it in [0, 1]"
        elif getattr(self._factory().network, "output_activation", None) == "sigmoid":
            reason = 'scales the clean side, and output_activation="sigmoid" needs it in [0, 1]'
        if reason:
            raise ValueError(f'scaling="quantile" {reason}. Take scaling="standard" or "robust".')

    def _has_gaps(self) -> bool:
        return getattr(self, "_gap_filler_", None) is not None

    def _fill_noisy(self, x: Tensor) -> Tensor:
        filler: GapFiller | None = getattr(self, "_gap_filler_", None)
        return x if filler is None else filler.fill(x)

    def _filled(self, noiser: Any) -> Any:
        filler: GapFiller | None = getattr(self, "_gap_filler_", None)
        return noiser if noiser is None or filler is None else FilledNoise(noiser, filler)

    def _learn_gaps(self, pair: Pair) -> None:
        # A continued fit keeps its scaling, and so the filler of its inputs.
        if self.missing == "mask" and not self._has_gaps():
            noisy, gaps, n_copies = as_tensor(pair.inputs), pair.input_gaps, 1
            if self.noiser_ is not None:
                # A few rows have the covariance of a single draw of the noise.
                n_copies = max(1, min(MIN_FILLER_ROWS, MAX_FILLER_ENTRIES // noisy.shape[1]) // len(noisy))
                noisy = self.noiser_.corrupt(noisy.repeat(n_copies, 1), stream(self._root(), "filler"))
            rows = noisy.numpy()
            if gaps is not None:
                rows = np.where(np.tile(gaps, (n_copies, 1)), np.nan, rows)
            with threads_for_flops(PRIOR_FLOPS_PER_ENTRY * rows.size):
                seed = stream_seed(self._root(), "filler")
                self._gap_filler_: GapFiller | None = GapFiller.fit(rows, seed, n_copies)

    def _prepare(self, pair: Pair) -> None:
        check_one_of(self.output, OUTPUTS, "output")
        super()._prepare(pair)
        self._part(OUTPUTS[self.output], f"output={self.output!r}")

    # Tables ------------------------------------------------------------------------------------------

    def _may_blend(self, data: Any) -> bool:
        """Return whether the posterior mean of rows has a part in predictions."""
        return (
            self.blend is not None
            and isinstance(data, ArrayData)
            and is_blendable(data.pair, self._factory().layout(self._sample_shape_))
            and not check_loss(self.loss).on_unit_interval
            # The posterior mean of a category is no probability.
            and not check_loss(self.loss).by_block
            and resolve_objective(self.objective) is None
            and self.emphasis is None
            and (data.pair.noiser is not None or data.pair.source in ("X_clean", "y", "X_second"))
        )

    def _split(
        self, data: TrainingData, X_val: Any, X_clean_val: Any
    ) -> tuple[TrainingData, TrainingData | None]:
        training, validation = super()._split(data, X_val, X_clean_val)
        self._blended: BlendedRows | None = None
        self._large_table: LargeTable | None = None
        self._blend_ = None
        if not self._may_blend(data):
            return training, validation
        assert isinstance(data, ArrayData)
        assert isinstance(training, ArrayData)
        if len(data.pair.inputs) >= LARGE_TABLE:
            self._large_table = LargeTable.of(data.pair)
            return training, validation
        held_out = validation.pair if isinstance(validation, ArrayData) else None
        seed = stream_seed(self._root(), "split")
        self._blended, learned = BlendedRows.of(data.pair, training.pair, held_out, seed)
        return replace(training, pair=learned), validation

    def _rows_of_score(self, pair: Pair) -> Pair:
        # Those that are held out too, so that scores of all denoisers compare.
        data = getattr(self, "_blended", None)
        return pair if data is None else data.all

    def _redrawn_noise(self, samples: Any) -> ResidualNoise | None:
        if isinstance(samples, LongRows):
            # Values in place of gaps of long tables are no draws beside the others of their row.
            return None if samples.has_gaps else self._redrawn_noise(samples.sample)
        if (
            not isinstance(samples, Pair)
            or samples.source not in ("X_clean", "y")
            or self.emphasis is not None
            or self._factory().layout(self._sample_shape_).has_one_unit
        ):
            return None
        return find_noise_of_pairs(samples)

    def _finish(self) -> None:
        data, large = getattr(self, "_blended", None), getattr(self, "_large_table", None)
        if large is not None:
            with threads_for_flops(PRIOR_FLOPS_PER_ENTRY * large.sample.targets.size):
                corrupt = self._corrupt_rows(large.sample)
                self._blend_ = large.blend(corrupt, self._preparation_, self._root())
            return
        if data is None:
            # partial_fit keeps the blend of an earlier fit.
            self._blend_ = getattr(self, "_blend_", None)
            return
        with threads_for_flops(PRIOR_FLOPS_PER_ENTRY * data.all.targets.size):
            self._blend_ = data.blend(
                self._corrupt_rows(data.all),
                lambda rows: self._apply_network(rows).numpy(),
                self._fill_noisy,
                self._root(),
                wild_columns=self._preparation_.wild_columns,
                maps=self._preparation_.maps,
            )

    def _report_blend(self) -> None:
        data, blend = getattr(self, "_blended", None), self._blend_
        if data is not None and blend is not None:
            data.report(blend, type(self).__name__, is_verbose=self._prints())

    def _corrupt_rows(self, pair: Pair) -> Any:
        """Return the function that draws noise for clean rows, or None for pairs as given."""
        if pair.noiser is not None:
            return self._filled(self.noiser_).corrupt
        redrawn = self._redrawn_noise(pair)
        return None if redrawn is None else redrawn.corrupt

    def _apply_network(self, rows: Tensor) -> Tensor:
        """Return the predictions of the network alone."""
        preparation = self._preparation_
        return run_in_chunks(
            self.net_.module_,
            rows,
            lambda m, x: preparation.add_wild(x, preparation.restore(m(preparation.input(x)))),
            self._cost_.widest,
        )

    def _part(self, part: str, purpose: str) -> str:
        """Return the name of a part of the network; refuse networks without it."""
        if not hasattr(self.net_.module_, part):
            raise AttributeError(
                f"{purpose} needs a network with the part {part!r}, which "
                f"{type(self.net_.module_).__name__} lacks."
            )
        return part

    def _without_gaps(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples with filled gaps."""
        if not allows_gaps(self) or samples.dtype.kind != "f" or not np.isnan(samples).any():
            return samples
        if not self._has_gaps():
            raise ValueError(
                f'{type(self).__name__} was fitted with missing="error", and has not learned to fill gaps. '
                'Fit it with missing="mask".'
            )
        rows = as_tensor(as_float_array(samples))
        # Pieces, since gaps are filled in double precision.
        return torch.cat([self._fill_noisy(part) for part in iterate_chunks(rows)]).numpy()

    def _in_unit(self, samples: NDArray[Any], like: NDArray[Any] | None = None) -> NDArray[Any]:
        self._refuse_other_unit(samples)
        if not warn_of_other_unit(samples, *self._preparation_.central_range):
            self._warn_of_range(samples)
        return samples

    def _warn_of_range(self, samples: NDArray[Any]) -> None:
        """Warn of rows of a table with values outside of the range of the training."""
        # Noise reaches beyond black and white, and far in pixels that hardly change.
        if samples.ndim != 2 or self.intensity_range_ is not None:
            return
        share, column = self._find_outside(samples)
        # A handful of rows may lie outside by chance, if they are not far outside.
        if share * len(samples) < MIN_ROWS_OUTSIDE:
            share, column = self._find_outside(samples, slack=FAR_OUTSIDE)
        if share > MAX_SHARE_OUTSIDE:
            name = getattr(self, "feature_names_in_", range(samples.shape[1]))[column]
            is_cut = getattr(self, "_blend_", None) is None and self._preparation_.maps is None
            what = "are cut there" if is_cut else "are linear there at best"
            warn_user(
                f"{100 * share:.0f} % of the rows of X have many values far outside of the range of the "
                f"training rows, most of them in column {name!r}. Predictions {what}: fit to rows of that "
                "range."
            )

    def _find_outside(self, samples: NDArray[Any], slack: float = 0.0) -> tuple[float, int]:
        """Return the share of rows outside of the limits, and the column of most values."""
        n_outside, counts = 0, np.zeros(samples.shape[1], np.intp)
        # In pieces, since the test takes several times their memory.
        step = max(1, CHECKED_ENTRIES // samples.shape[1])
        for start in range(0, len(samples), step):
            part = as_tensor(as_float_array(samples[start : start + step]))
            n_rows, columns = self._preparation_.count_outside(part, slack)
            n_outside, counts = n_outside + n_rows, counts + columns
        return n_outside / len(samples), int(counts.argmax())

    def _refuse_other_unit(self, samples: NDArray[Any]) -> None:
        """Refuse integers, as files hold them, for a network that learned from [0, 1]."""
        if self.intensity_range_ == UNIT and has_image_depth(samples.dtype) and samples.max(initial=0) > 1:
            raise ValueError(
                f"{type(self).__name__} learned from numbers in [0, 1], and X holds {samples.dtype} up to "
                f"{samples.max()}. Bring it to [0, 1], X / {IntensityRange.of(samples).white:.0f}."
            )

    def _differentiate(self, X: ArrayLike, direction: NDArray[Any]) -> NDArray[Any]:
        """Return the derivative of ``predict`` along a direction of the shape of X."""
        if getattr(self, "_recorruption_", None) is not None:
            raise NotImplementedError("The mean over recorrupted copies has no forward derivative.")
        prepare, restore = self._preparation_.input, self._preparation_.restore
        samples = as_tensor(as_float_array(self._in_unit(check_samples(self, X, reset=False))))
        module = self.net_.module_
        if samples.dtype == torch.float64:
            module = copy.deepcopy(module).double()
        device = next(module.parameters()).device
        rows = max(1, entries_at_once(device) // self._cost_.widest)
        tangents = torch.from_numpy(direction).to(samples)

        blend = getattr(self, "_blend_", None)

        def denoise(x: Tensor) -> Tensor:
            output = self._preparation_.add_wild(x, restore(module(prepare(x))))
            return output if blend is None else blend.combine(x.cpu(), output.cpu())

        with threads_for_flops(2 * self._cost_.flops * len(samples)):
            slopes = [
                forward_derivative(denoise, x.to(device), t.to(device)).cpu()
                for x, t in zip(samples.split(rows), tangents.split(rows), strict=True)
            ]
        return torch.cat(slopes).numpy()

    def _apply(
        self,
        X: ArrayLike,
        function: Callable[[nn.Module, Tensor], Tensor],
        blend: Blend | None = None,
        is_prediction: bool = False,
    ) -> NDArray[Any]:
        """Apply ``function(module, input)`` to checked samples, in their precision."""
        prepare = self._preparation_.input
        checked = check_samples(self, X, reset=False, allow_gaps=allows_gaps(self))
        samples = as_float_array(self._in_unit(self._without_gaps(checked)))
        widest = self._cost_.widest if blend is None else max(self._cost_.widest, blend.prior.n_centers)

        def compute(module: nn.Module, x: Tensor) -> Tensor:
            output = function(module, prepare(x))
            if is_prediction:
                output = self._preparation_.add_wild(x, output)
            return output if blend is None else blend.combine(x.cpu(), output.cpu())

        def apply(rows: NDArray[Any]) -> NDArray[Any]:
            outputs: NDArray[Any] = run_in_chunks(self.net_.module_, as_tensor(rows), compute, widest).numpy()
            return outputs

        recorruption = getattr(self, "_recorruption_", None)
        with threads_for_flops(self._cost_.flops * len(samples)):
            if recorruption is not None and recorruption.n_copies:
                denoised: NDArray[Any] = recorruption.average(apply, samples)
                return denoised
            return apply(samples)
