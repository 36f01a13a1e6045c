"""Denoising of images of any size, with networks that keep the size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sk_denoise._clean_source import warn_of_lost_source
from sk_denoise._compat import keeps_array_type, with_callbacks
from sk_denoise._enlargement import MAX_FACTOR, enlarge_images, keep_size
from sk_denoise._intensity import UNIT, IntensityRange
from sk_denoise._lazy_arrays import widen
from sk_denoise._noise_level import estimate_noise_levels
from sk_denoise._random import stream
from sk_denoise._resources import Cost
from sk_denoise._schema import NONNEGATIVE_NUMBER, Rule, is_shape
from sk_denoise._validation import (
    Interval,
    StrOptions,
    as_float_array,
    as_tensor,
    check_lengths,
    check_sample_weight,
    check_samples,
    get_shape,
    refuse_masked,
    refuse_single_image,
    size_factor_of,
    warn_of_channels,
    warn_of_single_image,
    warn_user,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._base import REFERENCE_SEED
from sk_denoise.estimators._image_inputs import (
    ImageList,
    convert_tensor_stack,
    count_patches,
    is_image_list,
    is_itself,
    is_pair_list,
    is_stream,
    open_folder,
    pair_image_lists,
    refuse_noiser_output,
)
from sk_denoise.estimators._image_sizes import common_factor, factor_of_noise, match_sizes
from sk_denoise.estimators._network_denoiser import AutoValues, NetworkDenoiser
from sk_denoise.estimators._network_factory import ImageNetworkFactory
from sk_denoise.estimators._pairs import Pair, refuse_clean_side
from sk_denoise.estimators._preparation import IMAGE_PREPARATION, NOISE_LEVELS
from sk_denoise.estimators._tiled_prediction import TiledPredictor
from sk_denoise.estimators._training_data import ArrayData, PatchData, TrainingData
from sk_denoise.estimators._training_domain import (
    TrainingDomain,
    limit_levels,
    measure_overshoot,
    refuse_other_unit,
    resolve_levels,
    warn_of_tiny_sigma,
)
from sk_denoise.metrics import psnr
from sk_denoise.noise import DownscaleNoiser, carried_source
from sk_denoise.preprocessing import Augmentation
from sk_denoise.training import auto_patch_epochs, resolve_objective

__all__ = ["ImageDenoiser"]

# Patches of a batch.
BATCH_SIZE = 32
# Draws, at least and at most, that show which noise levels a network learns from.
LEVEL_DRAWS = (64, 1024)
LEVEL_ENTRIES = 2**23
# Patches that callbacks score.
MAX_SCORED = 256
# An image this many times as wide or as narrow as those of the fit is in another unit.
FAR = 100.0


class ImageDenoiser(NetworkDenoiser):
    """Denoise images of any size with a convolutional network.

    The network keeps the size of images. It is trained through skorch on random patches, with fresh noise in
    every batch, and then denoises images of any size: large ones tile by tile, with overlaps that make the
    tiles agree with the whole. Training data are stacks, lists of images of different sizes, folders or data
    sets; clean images, which are corrupted in training, pairs of noisy and clean ones, or noisy images alone.

    For weights that were trained on photos, see :func:`sk_denoise.restoration.denoise_image` and
    :func:`sk_denoise.restoration.load_pretrained`.

    Parameters
    ----------
    network : str, spec, class or callable, default="folded_unet"
        Network to train: a name such as "folded_unet" or "dncnn"; a spec such as
        :class:`~sk_denoise.FoldedUNetNetwork`; or a class or function that takes ``(channels, noise_map)``
        and returns a ``torch.nn.Module``, which maps a batch (n, channels, height, width), with one channel
        more if ``noise_map`` is true, to (n, channels, height, width). Its attributes ``receptive_radius``
        and ``stride`` allow tiles of large images: the distance in pixels to the farthest input pixel that
        an output pixel depends on, rounded up to a multiple of the stride; and the number of pixels that
        sides of tiles must be multiples of.
    noise : "auto", float, pair of float, str, noiser or None, default="auto"
        Noise that corrupts clean images, as in :class:`~sk_denoise.DenoisingAutoencoder`. "auto" is Gaussian
        noise with a strength drawn for each patch, from 0 to the standard deviation of all pixels. With an
        ``objective`` for noisy images, it is the noise that is in X instead: a standard deviation, a noise
        model, a noiser, or "auto" for an estimate.
    objective : str or objective, default="supervised"
        Way to learn. "supervised" has clean images, see ``fit``. The others learn from noisy X alone:

        - "neighbours" learns a pixel from the one beside it. Its noise must be independent between pixels,
          of any kind and level (:class:`~sk_denoise.NeighboursObjective`).
        - "recorrupt" splits the noise in X, of a level that ``noise`` determines, into two independent
          parts (:class:`~sk_denoise.RecorruptObjective`).
        - "blind" hides pixels and learns them from those around them
          (:class:`~sk_denoise.BlindSpotObjective`).

        An object such as ``RecorruptObjective(share=0.3)``, or one of yours with the methods of
        :class:`~sk_denoise.training.Objective`, sets the details.
    sigma : {"blind", "map"}, default="blind"
        Whether the input of the network includes the noise level. With "map", the network gets the noise
        standard deviation of each pixel as one more channel; you pass it to ``predict``, or ``predict``
        estimates it once for each image. One network then serves all levels that it was trained on, but the
        level must be right: choose "map" for white Gaussian noise, and "blind" for all other.
    patch_size : int or pair of int, default=64
        Sides of the patches, in pixels; no larger than the smallest image of a stack or list.
    patches_per_image : int or "auto", default="auto"
        Patches of each image in an epoch. "auto" cuts about as many as cover the image, at most 64, and 16
        from each file of a folder.
    augment : Augmenter or None, default=None
        Random movements of training patches before they are corrupted, as in
        :class:`~sk_denoise.DenoisingAutoencoder`.
    loss : str, dict or callable, default="mse"
        Loss in units of the range from black to white: a name, a mix of names and weights, or a function, as
        in :class:`~sk_denoise.DenoisingAutoencoder`. With "bce" and "kl" the output is softly clipped to the
        range from black to white.
    emphasis : pair of float or None, default=None
        Weights (of corrupted pixels, of intact ones) in the loss, as in
        :class:`~sk_denoise.DenoisingAutoencoder`.
    optimizer : str or torch optimizer class, default="adam"
        As in :class:`~sk_denoise.DenoisingAutoencoder`.
    learning_rate : float or None, default=0.002
        Learning rate at the start; None takes the default of the optimizer.
    learning_rate_schedule : str, default="flat_cosine"
        Course of the learning rate over the run, as in :class:`~sk_denoise.DenoisingAutoencoder`; it rises
        in 20 steps or more first, except with "constant".
    weight_decay : float or "auto", default="auto"
        As in :class:`~sk_denoise.DenoisingAutoencoder`.
    gradient_clipping : float or None, default=None
        Largest norm of the gradients of a step; longer ones are scaled down to it.
    weight_averaging : float or None, default=None
        Decay of an exponential moving average of the weights at each step, such as 0.999. Validation and
        prediction then use the average, which begins anew with every call of ``fit`` and ``partial_fit``.
        None uses the weights as they are.
    batch_size : int or "auto", default="auto"
        Largest number of patches in a batch; "auto" is 32.
    max_epochs : int or "auto", default="auto"
        Total passes over the images; with ``warm_start``, earlier passes count too. "auto" makes about
        2,500 steps, in at most 500 passes.
    early_stopping : bool, default=False
        Whether to stop once the validation loss has not fallen by ``tol`` for ``n_iter_no_change`` epochs,
        and to return to the best weights.
    validation_fraction : float, default=0.1
        Share of the images that early stopping holds out, if ``fit`` gets no ``X_val``.
    n_iter_no_change : int, default=10
        See ``early_stopping``.
    tol : float, default=1e-6
        See ``early_stopping``; in the unit of the loss.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights of the previous call, up to ``max_epochs`` in all, as the
        rest of one run: with its learning rates, and on the same validation images with its early stopping
        and best weights. If the run is over already, there is a warning. The epochs of pretrained weights do
        not count.
    callbacks : list or None, default=None
        Callbacks of the training run: skorch callbacks, which get the net; and functions
        ``f(estimator, epoch)``, called after each epoch with a fitted copy and a dict of the epoch's
        figures, which stop the run by returning True. Pass scikit-learn's callbacks to ``set_callbacks``.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of the images, if the rows of X are flattened
        images. Other rows are signals: images of height 1.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the layers in training; ``predict`` computes in the precision of its input.
    device : str or torch.device, default="auto"
        Device to compute on: "auto" is a CUDA GPU if there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, patches, noise and the validation split.
    verbose : int, default=0
        1 prints the clean side and the noise, and a line with epoch, losses, PSNR and the time left.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        Trained net; its module is ``net_.module_``, its log ``net_.history``.
    noise_levels_ : tuple of two float or None
        Lowest and highest noise level in the training of a network with a noise-level map, in the unit of
        the images; None for "blind".
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Mean PSNR on the validation patches after each epoch, in dB; None without validation.
    n_iter_ : int
        Epochs so far, including those of ``partial_fit``.
    precision_ : {"float32", "bfloat16"}
        Precision of the layers in training.
    noiser_ : noiser or None
        Fitted noise that corrupted the clean images; None for pairs.
    noise_model_ : NoiseModel or None
        Noise in X, given or estimated, for an objective that needs it; else None.
    target_source_ : {"noisy", "X_second", "X_clean", "y", "noiser", "X"}
        Source of the clean side. "noisy" and "X_second" stand for learning without one: from X by an
        ``objective``, and from two measurements.
    patch_shape_ : tuple of int
        Shape of a patch.
    scale_ : int
        Factor by which ``predict`` enlarges images: that of the clean images to X in the fit, or that of a
        ``noise`` such as :class:`~sk_denoise.DownscaleNoiser`; 1 for all other.
    image_shape_ : tuple of int or None
        Shape of the images, if the rows of X are flattened images.
    data_range_ : float
        Range from black to white: that of ``intensity_range_``, else the clean maximum minus the minimum.
    intensity_range_ : IntensityRange or None
        Numbers of black and white in the fit (``.black``, ``.white``): 0 and the largest number of 8, 10,
        12, 14 or 16 bits for integers, 0 and 1 for files and for floats in [0, 1]. None for other floats,
        which have no known black and white.
    n_features_in_ : int
        Number of entries of one sample of the fit.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Warns
    -----
    CleanTargetWarning
        If images that count as clean seem noisy.

    See Also
    --------
    DenoisingAutoencoder : For arrays of one shape, through a bottleneck.
    NonLocalMeansDenoiser : A filter with the same methods, which needs no training.
    sk_denoise.restoration.denoise_image : Denoises one image; takes this estimator as its ``model``.

    Notes
    -----
    Images are shifted and scaled only so that black becomes 0 and white 1, for input and target alike: a
    residual network passes unchanged pixels through exactly.

    References
    ----------
    K. Zhang, W. Zuo, Y. Chen, D. Meng and L. Zhang, "Beyond a Gaussian denoiser", IEEE Transactions on Image
    Processing 26 (2017); K. Zhang, W. Zuo and L. Zhang, "FFDNet", IEEE Transactions on Image Processing 27
    (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import FoldedUNetNetwork, GaussianNoiser, ImageDenoiser
    >>> from sk_denoise.datasets import load_images
    >>> photos = load_images("gray")
    >>> small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    >>> denoiser = ImageDenoiser(small, noise=GaussianNoiser(0.1), max_epochs=2, random_state=0)
    >>> denoiser.fit(photos.train).target_source_
    'X'
    >>> clean = photos.test[0]
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    >>> (denoised,) = denoiser.predict([noisy])
    >>> bool(np.mean((denoised - clean) ** 2) < 0.5 * np.mean((noisy - clean) ** 2))
    True
    """

    _takes_any_size = True
    scale_: int
    _enlarges = True
    # Whether each channel has a unit of its own.
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "sigma": [StrOptions({"blind", "map"})],
        "patch_size": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "patches_per_image": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "_preparation_": IMAGE_PREPARATION,
        "scale_": Rule(lambda v, _: type(v) is int and 1 <= v <= MAX_FACTOR, "a factor"),
        "patch_shape_": Rule(lambda v, _: is_shape(v, (2, 3)), "the shape of a patch"),
        "_strongest_noise_": NONNEGATIVE_NUMBER,
        "noise_levels_": NOISE_LEVELS,
    }
    # At the full rate, the first steps of a short fit undo that networks begin as the identity.
    _auto_values = AutoValues(
        lambda n_samples: min(n_samples, BATCH_SIZE), auto_patch_epochs, warm_up_steps=20, min_samples=1
    )

    def __init__(
        self,
        network: Any = "folded_unet",
        *,
        noise: Any = "auto",
        objective: Any = "supervised",
        sigma: Literal["blind", "map"] = "blind",
        patch_size: int | tuple[int, int] = 64,
        patches_per_image: int | Literal["auto"] = "auto",
        augment: Augmentation | None = None,
        loss: Any = "mse",
        emphasis: tuple[float, float] | None = None,
        optimizer: str | type[torch.optim.Optimizer] = "adam",
        learning_rate: float | None = 0.002,
        learning_rate_schedule: str = "flat_cosine",
        weight_decay: float | Literal["auto"] = "auto",
        gradient_clipping: float | None = None,
        weight_averaging: float | None = None,
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-6,
        warm_start: bool = False,
        callbacks: Sequence[Any] | None = None,
        image_shape: Sequence[int] | None = None,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str | torch.device = "auto",
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.noise = noise
        self.objective = objective
        self.sigma = sigma
        self.patch_size = patch_size
        self.patches_per_image = patches_per_image
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
        self.image_shape = image_shape
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
        X : stack, list, ImageFolder, path, data set, RandomPatches or rows
            Noisy images if a clean side is given or the ``objective`` learns from noisy ones, else clean
            ones:

            - a stack of shape (n, height, width[, channels]), or rows (n, n_features);
            - a list of arrays (height, width[, channels]), of different sizes;
            - the path of a folder, for its :class:`~sk_denoise.datasets.ImageFolder`, gray if all files are
              gray and else in colour;
            - an :class:`~sk_denoise.datasets.ImageFolder`, a data set, a list of pairs ``(noisy, clean)``, or
              another source of :class:`~sk_denoise.datasets.RandomPatches`; integers are scaled to [0, 1].

        y : stack or list of the shape of X, optional
            Clean images; other y, such as labels, is ignored.
        X_clean : stack or list of the shape of X, optional
            Clean images; y is ignored then.
        X_second : stack or list of the shape of X, optional
            Second noisy measurement of the same images, with independent noise. The network learns each of
            the two from the other, and no clean side is needed.
        X_val : stack, list, ImageFolder, path, data set or RandomPatches, optional
            Validation images, in place of a part of X: noisy with ``X_clean_val``, else clean.
        X_clean_val : stack or list of the shape of X_val, optional
            Clean counterparts of ``X_val``.
        sample_weight : array-like of shape (n_images,), optional
            Weight of each image, at least 0: the frequency with which patches are cut from it.

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
        """Train on one more batch of images: one pass, at a constant learning rate.

        The first call fixes the channels and the range from black to white, so its images should resemble
        the rest.

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
    def predict(self, X: Any, *, sigma: Any = None) -> Any:
        """Denoise images.

        Parameters
        ----------
        X : stack, list or rows
            Noisy images of any size: a stack (n, height, width[, channels]), a list of arrays, or rows, in
            the unit of ``fit``. If black and white of the fit are known (``intensity_range_``), each image in
            another unit is converted: integers of other depths, floats in [0, 1], counts. Images that use a
            small part of their range are stretched, as long as their noise stays as weak as that of the fit.
        sigma : float, array-like or None, default=None
            Noise standard deviation in the unit of X, for a network with a noise-level map
            (``sigma="map"``): one for all, one for each image, or a map for each, of shape
            (n, height, width) or a list of (height, width). None estimates it once for each image.

        Returns
        -------
        ndarray of the shape of X, or list of ndarray
            Denoised images in the unit of X; float64 for float64, else float32.
        """
        check_is_fitted(self)
        refuse_stream(X, "predict")
        if is_image_list(X):
            images = ImageList.of(X).images
            return [
                self._denoise_array(image[None], level)[0]
                for image, level in zip(images, _one_each(sigma, len(images)), strict=True)
            ]
        return self._denoise_array(convert_tensor_stack(X), sigma)

    @keeps_array_type
    def transform(self, X: Any) -> Any:
        """Denoise, as ``predict`` does.

        Parameters
        ----------
        X : stack, list or rows
            Noisy images, as in ``predict``.

        Returns
        -------
        ndarray of the shape of X, list of ndarray, or DataFrame
            Denoised images in the unit of X; float64 for float64, else float32.
        """
        return self.predict(X)

    @keeps_array_type
    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean PSNR of denoised images in dB, each capped at 100.

        Parameters
        ----------
        X : stack, list or rows
            Noisy images if y is given, else clean ones. Clean ones are corrupted with a reference noise
            that is the same for all estimators fitted to the same data, for any ``noise``.
        y : stack or list of the shape of X, optional
            Clean images; ignored where they equal X or cannot be the clean side (see ``fit``).
        sample_weight : array-like of shape (n_images,), optional
            Weight of each image in the mean.

        Returns
        -------
        float
            Greater is better. The data range is ``data_range_``.
        """
        check_is_fitted(self)
        refuse_stream(X, "score")
        if self.scale_ > 1:
            return self._score_enlarged(convert_tensor_stack(X), convert_tensor_stack(y), sample_weight)
        if not is_image_list(X):
            return super().score(convert_tensor_stack(X), convert_tensor_stack(y), sample_weight)
        noisy = ImageList.of(X)
        check_lengths(X, y)
        clean = noisy.find_clean_side(y)
        if len({x.shape for x in noisy.images}) == 1:
            truth = None if clean is None else np.stack(clean.images)
            return super().score(np.stack(noisy.images), truth, sample_weight)
        if clean is None and self.target_source_ in ("noisy", "X_second"):
            return self._score_without_truth(noisy.images, sample_weight)
        given = [self._in_unit(check_samples(self, x[None], reset=False)) for x in noisy.images]
        if clean is None:
            truths = [as_float_array(x) for x in given]
            given = self._reference(truths)
        else:
            truths = [self._in_unit(truth[None]) for truth in clean.images]
            given = [self._in_unit(x[None], like=t) for x, t in zip(noisy.images, clean.images, strict=True)]
        pairs = zip(truths, given, strict=True)
        each = [psnr(t, self.predict(x), data_range=self.data_range_) for t, x in pairs]
        return float(np.average(each, weights=check_sample_weight(sample_weight, each)))

    def _score_enlarged(self, X: Any, y: Any, sample_weight: ArrayLike | None) -> float:
        """Return the mean PSNR of enlarged images."""
        source = carried_source(X)
        if source is not None and source.describes(X) and (y is None or is_itself(source.clean, y)):
            y = source.clean
        is_paired = y is not None and np.shape(y[0])[:2] != np.shape(X[0])[:2]
        if is_paired:
            factor = common_factor(X, y, "y")
            if factor != self.scale_:
                raise ValueError(
                    f"y is {factor} times as large as X, and the fit was to {self.scale_} times."
                )
        truths = [self._in_unit(as_float_array(np.asarray(image))[None]) for image in (y if is_paired else X)]
        if is_paired:
            given = [np.asarray(image)[None] for image in X]
        else:
            sides = [tuple(side // self.scale_ * self.scale_ for side in t.shape[1:3]) for t in truths]
            truths = [t[:, :height, :width] for t, (height, width) in zip(truths, sides, strict=True)]
            noiser = self.noiser_ or DownscaleNoiser(self.scale_).fit(truths[0])  # type: ignore[arg-type]
            draw = stream(REFERENCE_SEED, "score")
            given = [noiser.corrupt(as_tensor(t), draw).numpy() for t in truths]
        pairs = zip(truths, given, strict=True)
        each = [psnr(t, self.predict(x), data_range=self.data_range_) for t, x in pairs]
        return float(np.average(each, weights=check_sample_weight(sample_weight, each)))

    # The steps of a fit ------------------------------------------------------------------------------

    def _factory(self) -> ImageNetworkFactory:
        return ImageNetworkFactory(self.network, self.sigma, self.loss, self.image_shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._patch_sides()

    def _read(self, X: Any, y: Any, X_clean: Any, sample_weight: Any, X_second: Any = None) -> TrainingData:
        fitted = self.__sklearn_is_fitted__()
        X = open_folder(X, _color_of(self._sample_shape_) if fitted else "auto")
        X, y, X_clean, X_second = (convert_tensor_stack(side) for side in (X, y, X_clean, X_second))
        if is_stream(X):
            if X_second is not None:
                raise ValueError("X_second goes with stacks and lists of images, and X is a stream.")
            self._set_scale(1, X)
            return self._read_stream(X, y, X_clean, sample_weight)
        if is_pair_list(X):
            X, X_clean = [noisy for noisy, _ in X], [clean for _, clean in X]
        X, y = self._take_reduced_source(X, y, X_clean)
        X, y, X_clean, factor = match_sizes(X, y, X_clean)
        self._set_scale(factor, X)
        if not is_image_list(X):
            refuse_single_image(get_shape(X), self.image_shape)
            if self.image_shape is None and len(get_shape(X)) == 2:
                warn_of_single_image(X, "signals")
            elif self.image_shape is None:
                warn_of_channels(
                    get_shape(X),
                    f"take SignalDenoiser; if it holds images, pass image_shape={get_shape(X)[1:]}.",
                )
            pair = self._resolve(X, y, X_clean, sample_weight, X_second)
            if pair.source in ("X_clean", "y"):
                refuse_other_unit(
                    IntensityRange.known(np.asarray(X)), pair.known_intensity, "X", "its clean side"
                )
            pixels = float(np.prod(pair.inputs.shape[1:3]))
            return ArrayData(pair, self._cut_sides(), self._patches_per_image(pixels))
        is_noisy = resolve_objective(self.objective) is not None
        if is_noisy or X_second is not None:
            y_is_clean = y is not None and ImageList.of(X).find_clean_side(y) is not None
            refuse_clean_side(y_is_clean, X_clean, X_second, is_noisy)
        noisy, clean = pair_image_lists(X, None if is_noisy else y, X_clean if X_second is None else X_second)
        weights = check_sample_weight(sample_weight, noisy.images)
        if weights is not None:
            noisy, clean = noisy.take(weights > 0), None if clean is None else clean.take(weights > 0)
            weights = weights[weights > 0]
        truth = noisy if clean is None else clean
        is_declared_clean = clean is None and is_itself(X, y)
        if clean is None and not is_noisy and not is_declared_clean:
            # Images with a warning need no second one.
            is_declared_clean = warn_of_lost_source(noisy.images)
        elif clean is not None and X_second is None:
            refuse_other_unit(
                IntensityRange.known(noisy.extrema),
                IntensityRange.known(clean.extrema),
                "X",
                "its clean side",
            )
        patches = noisy.random_patches(
            clean, self._cut_sides(), self._patches_per_image(noisy.mean_pixels), weights
        )
        by_y = clean is not None and X_clean is None and X_second is None
        return PatchData(
            patches,
            truth.extrema,
            "y" if by_y else None,
            X_second is not None,
            is_declared_clean=is_declared_clean,
        )

    def _take_reduced_source(self, X: Any, y: Any, X_clean: Any) -> tuple[Any, Any]:
        """Return the clean source of reduced images in place of them, for fresh noise."""
        source = carried_source(X)
        if source is None or size_factor_of(source.noiser) == 1 or X_clean is not None:
            return X, y
        if not source.describes(X):
            raise ValueError(
                f"X came out of {source.noiser!r} and was edited since, so its clean source no longer "
                "belongs to it. Pass the clean side as X_clean=."
            )
        if factor_of_noise(self.noise) > 1 or not (isinstance(self.noise, str) and self.noise == "auto"):
            raise ValueError(
                f"noise given twice: X was already degraded by {source.noiser!r}, and the estimator has "
                f'noise={self.noise!r}. Leave it at noise="auto".'
            )
        # A draft of the estimator: the parameter of the user stays.
        self.noise = clone(source.noiser)
        return source.clean, None

    def _set_scale(self, factor: int, X: Any) -> None:
        """Set ``scale_`` by the pairs or by the noise, and check the other parameters."""
        degraded = factor_of_noise(self.noise)
        if factor > 1 and degraded > 1:
            raise ValueError(
                f"noise given twice: the clean images are {factor} times as large as X, and the estimator "
                f'has noise={self.noise!r}. Leave it at noise="auto".'
            )
        scale = max(factor, degraded)
        if self.__sklearn_is_fitted__() and scale != self.scale_:
            raise ValueError(
                f"The first fit was to images that are enlarged {self.scale_} times, and now it is {scale}."
            )
        self.scale_ = scale
        if scale == 1:
            return
        if scale > MAX_FACTOR:
            raise ValueError(f"Images are enlarged up to {MAX_FACTOR} times, got {scale}.")
        if resolve_objective(self.objective) is not None or self.sigma == "map":
            raise ValueError(
                'To enlarge images, a network needs clean ones, objective="supervised", and sigma="blind". '
                f"Got objective={self.objective!r} and sigma={self.sigma!r}."
            )
        if len(get_shape(X) or (0, 0, 0)) == 2:
            raise ValueError(
                "X holds rows, and a network that enlarges learns from images: a stack (n, height, width"
                "[, channels]) or a list."
            )
        if any(side % scale for side in self._patch_sides()):
            raise ValueError(
                f"patch_size must be a multiple of {scale}, the factor of the enlargement, got "
                f"{self.patch_size!r}."
            )

    def _read_stream(self, X: Any, y: Any, X_clean: Any, sample_weight: Any) -> PatchData:
        """Return training data of images that are read one by one."""
        if X_clean is not None or is_stream(y) or is_image_list(y) or np.ndim(y) > 2:
            raise ValueError(
                f"{'y' if X_clean is None else 'X_clean'} goes with stacks and lists. A stream holds its "
                "clean side itself: give pairs, as in RandomPatches(list(zip(noisy, clean)), 64)."
            )
        if not isinstance(X, RandomPatches):
            check_lengths(X, y)
            count = self._patches_per_image(None)
            patches = RandomPatches(
                X, self._cut_sides(), patches_per_image=count, sample_weight=sample_weight
            )
            return PatchData(patches)
        if sample_weight is not None:
            raise ValueError("Give sample_weight to the patches: RandomPatches(..., sample_weight=...).")
        # Patches with a warning need no second one.
        return PatchData(X, is_declared_clean=refuse_noiser_output(X))

    def _split(
        self, data: TrainingData, X_val: Any, X_clean_val: Any
    ) -> tuple[TrainingData, TrainingData | None]:
        if isinstance(X_val, str | os.PathLike):
            X_val = open_folder(X_val, _color_of(data.sample_shape))
        X_val, X_clean_val = convert_tensor_stack(X_val), convert_tensor_stack(X_clean_val)
        if X_clean_val is not None:
            X_val, _, X_clean_val, _ = match_sizes(X_val, None, X_clean_val)
        if X_val is not None and (is_stream(X_val) or is_image_list(X_val) or is_pair_list(X_val)):
            validation = self._read(X_val, None, X_clean_val, None)
            if isinstance(data, PatchData) and isinstance(validation, PatchData):
                validation = replace(
                    validation, patches=validation.patches.match_intensity_range(data.patches)
                )
            return data, validation
        if X_val is not None and isinstance(data, PatchData):
            if np.ndim(X_val) < 3:
                raise ValueError(f"X_val must hold images as X does, got shape {np.shape(X_val)}.")
            refuse_masked(X_val, "X_val")
            refuse_masked(X_clean_val, "X_clean_val")
            clean = None if X_clean_val is None else list(np.asarray(X_clean_val))
            return data, self._read(list(np.asarray(X_val)), None, clean, None)
        if X_val is not None and isinstance(data, ArrayData):
            clean_val = X_val if X_clean_val is None else X_clean_val
            known = IntensityRange.known(np.asarray(clean_val))
            refuse_other_unit(data.pair.known_intensity, known, "X", "X_val")
        return super()._split(data, X_val, X_clean_val)

    def _patch_sides(self) -> tuple[int, int]:
        """Return the height and width of a patch."""
        sides = self.patch_size if isinstance(self.patch_size, tuple | list) else (self.patch_size,) * 2
        if len(sides) != 2 or not all(np.issubdtype(type(side), np.integer) and side >= 1 for side in sides):
            raise ValueError(
                "patch_size must be an integer of at least 1, or two of them, (height, width), got "
                f"{self.patch_size!r}."
            )
        return int(sides[0]), int(sides[1])

    def _cut_sides(self) -> tuple[int, int]:
        """Return the height and width to cut, of which an objective takes a part."""
        height, width = self._patch_sides()
        # Lists and stacks limit the sides to those of their images.
        factor = 2 if getattr(resolve_objective(self.objective), "halves_images", False) else 1
        return factor * height, factor * width

    def _patches_per_image(self, pixels: float | None) -> int:
        """Return the number of patches to cut from an image of this size."""
        if self.patches_per_image == "auto":
            return count_patches(pixels, self._patch_sides())
        return int(self.patches_per_image)

    def _prepare(self, pair: Pair) -> None:
        first = not self.__sklearn_is_fitted__()
        if not first:
            refuse_other_unit(self.intensity_range_, pair.known_intensity, "the first fit", "X")
        super()._prepare(pair)
        if first:
            assert self.image_shape_ is not None
            self._strongest_noise_ = 0.0
            self.patch_shape_ = self.image_shape_
            is_row = len(self._sample_shape_) == 1
            self.image_shape_ = self._factory().layout(self._sample_shape_).image_shape if is_row else None
            self.noise_levels_ = None
        self._strongest_noise_ = max(self._strongest_noise_, self._max_level_of(pair))
        # The training draws its levels from this range, so it is the range that a map may hold.
        if self._factory().has_noise_map:
            levels = [*self._levels(pair), *(self.noise_levels_ or ())]
            self.noise_levels_ = min(levels), max(levels)

    def _levels(self, pair: Pair) -> tuple[float, float]:
        """Return the lowest and the highest noise level of a sample, in the user's unit."""
        n = np.clip(LEVEL_ENTRIES // pair.inputs[0].size, *LEVEL_DRAWS)
        index = np.arange(n) % len(pair.inputs)  # few patches meet many draws
        levels = self._batches(pair.take(index), "levels", 0).freeze().inputs[:, -1] * pair.intensity.span
        return float(levels.min()), float(levels.max())

    def _max_level_of(self, pair: Pair) -> float:
        """Return the highest noise level of a sample of patches, in the user's unit."""
        few = pair.take(np.arange(min(len(pair.inputs), LEVEL_DRAWS[0])))
        noisy = few.inputs
        if pair.source == "noisy":
            if self._recorruption_ is not None:
                return float(self._recorruption_.splitter.level(as_tensor(noisy)).square().mean().sqrt())
            return float(np.max(estimate_noise_levels(self._as_images(noisy))))
        if self.noiser_ is not None:
            draw = stream(self._root(), "strength")
            noisy = keep_size(self.noiser_).corrupt(as_tensor(few.targets), draw).numpy()
        errors = np.square(noisy - few.targets, dtype=np.float64) / (2 if pair.source == "X_second" else 1)
        return float(np.sqrt(errors.reshape(len(errors), -1).mean(axis=1).max()))

    def _sample_for_callbacks(self, sample: Pair) -> tuple[Any, Any, dict[str, Any] | None]:
        # The inputs of pairs are enlarged already, and ``predict`` would enlarge them again.
        if self.scale_ > 1 and sample.noiser is None:
            return None, None, None
        return super()._sample_for_callbacks(sample.take(np.arange(min(len(sample.inputs), MAX_SCORED))))

    def _with_weights(self, weights: dict[str, Tensor], channels: int, strongest: float) -> Self:
        """Return the estimator with weights trained on images in [0, 1] under ``noise``."""
        # A fit to one black and one white image settles all but the weights.
        draft = self._draft(fresh=True)
        draft._check_parameters()
        shape = (*self._patch_sides(), channels) if channels > 1 else self._patch_sides()
        black_and_white = np.stack([np.zeros(shape, np.float32), np.ones(shape, np.float32)])
        draft._set_scale(1, black_and_white)
        draft._prepare(draft._resolve(black_and_white, None, None))
        draft.net_.module_.load_state_dict(weights)
        draft.net_.module_.eval()
        draft.intensity_range_ = UNIT
        draft.noise_levels_ = None if self.sigma == "blind" else (0.0, strongest)
        draft._strongest_noise_ = strongest
        draft._reference_noiser_ = clone(self.noise).fit(black_and_white)
        return self._store(draft, None)

    # Prediction --------------------------------------------------------------------------------------

    @property
    def _unit(self) -> TrainingDomain | None:
        """Intensity range and noise of the training images, if black and white are known."""
        known = self.intensity_range_
        if known is None:
            return None
        overshoot = measure_overshoot(keep_size(self.noiser_), self.patch_shape_, known)
        return TrainingDomain(known, overshoot, self._strongest_noise_ / known.span)

    def _ratio(self, image_range: IntensityRange | None) -> float:
        """Return the scale from the unit of the fit to the unit of images in this range."""
        fit_range = self.intensity_range_
        return 1.0 if image_range is None or fit_range is None else image_range.span / fit_range.span

    def _tiled_predictor(
        self, image_range: IntensityRange | None, *, network: nn.Module | None = None, **options: Any
    ) -> TiledPredictor:
        """Return the engine of prediction for images in an intensity range.

        The range stands for that of the fit; None is the unit of the fit.
        """
        scaler, cost, fit_range = self._preparation_.input_scaler, self._cost_, self.intensity_range_
        pixels = int(np.prod(self.patch_shape_[:2]))
        ratio = self._ratio(image_range)
        # Black of the images becomes black of the fit, and white becomes white.
        offset = (
            0.0 if image_range is None or fit_range is None else image_range.black - ratio * fit_range.black
        )
        return TiledPredictor.of(
            self.net_.module_ if network is None else network,
            Cost(-(-cost.flops // pixels), -(-cost.widest // pixels)),
            black=offset + ratio * float(scaler.center),
            data_range=ratio * float(scaler.spread),
            adds_noise_map=self.noise_levels_ is not None,
            **options,
        )

    def _denoise_array(self, X: ArrayLike, sigma: Any) -> NDArray[Any]:
        """Return a denoised stack or rows."""
        samples = check_samples(self, X, reset=False)
        images = self._as_images(samples)
        levels = None
        if self.noise_levels_ is not None:
            levels = resolve_levels(sigma, images)
            if sigma is not None:
                warn_of_tiny_sigma(float(levels.max()), images, "X")
        elif sigma is not None:
            raise ValueError(
                'sigma is for networks with a noise-level map, ImageDenoiser(sigma="map"); this one is blind.'
            )
        n, height, width, channels = images.shape
        shape = (n, self.scale_ * height, self.scale_ * width, channels)
        denoised = np.empty(shape, as_float_array(samples[:0]).dtype)
        for image_range, index in self._ranges_of(images, levels).items():
            # Most often all images are alike, and a slice makes no copies.
            group: Any = slice(None) if len(index) == len(images) else index
            image_levels, restored = None, denoised[group]
            if levels is not None:
                image_levels = self._limit_levels(levels[group], image_range, is_given=sigma is not None)
            given = images[group]
            if self.scale_ > 1:
                given = enlarge_images(given.astype(denoised.dtype, copy=False), self.scale_)
            self._tiled_predictor(image_range, double=denoised.dtype == np.float64).restore(
                given, restored, image_levels
            )
            if restored.base is not denoised:
                denoised[group] = restored
        return denoised.reshape(samples.shape) if self.scale_ == 1 else self._as_given(denoised, samples)

    def _as_given(self, images: NDArray[Any], samples: NDArray[Any]) -> NDArray[Any]:
        """Return images of another size with the axes of samples."""
        return images if samples.ndim == 4 else images[..., 0]

    def _part_reach(self) -> tuple[int, int] | None:
        """Return the halo and the stride of parts of an image; None takes it whole."""
        module = self.net_.module_
        radius, stride = getattr(module, "receptive_radius", None), int(getattr(module, "stride", 1))
        return None if radius is None else (-(-int(radius) // stride) * stride, stride)

    def _measure_parts(self, samples: Sequence[NDArray[Any]], *, sigma: float | None) -> PartPredictor:
        """Return the prediction for parts of an image, measured on some windows."""
        reach = self._part_reach()
        assert reach is not None
        images = self._as_images(check_samples(self, np.stack(samples), reset=False))
        whole = images.reshape(1, -1, *images.shape[2:])
        level: float | None = None
        if self.noise_levels_ is not None:
            # The median, since a window may hold texture alone.
            level = float(np.median(resolve_levels(sigma, images)))
        elif sigma is not None:
            raise ValueError(
                'sigma is for networks with a noise-level map, ImageDenoiser(sigma="map"); this one is blind.'
            )
        levels = None if level is None else np.array([level])
        image_range = next(iter(self._ranges_of(whole, levels)))
        if levels is not None:
            level = float(self._limit_levels(levels, image_range, is_given=sigma is not None)[0])
        halo, stride = reach
        return PartPredictor(self, image_range, level, halo, stride)

    def _differentiate(self, X: Any, direction: Any) -> Any:
        """Return the derivative of ``predict`` along a direction of the shape of X.

        Noise levels and ranges are fixed: they depend on all pixels of an image, so their own derivative is
        negligible.
        """
        if getattr(self, "_recorruption_", None) is not None:
            raise NotImplementedError("The levels of recorrupted images depend on their pixels.")
        if self.scale_ > 1:
            raise NotImplementedError("The derivative is for images of one size.")
        if is_image_list(X):
            pairs = zip(ImageList.of(X).images, direction, strict=True)
            return [self._differentiate(image[None], along[None])[0] for image, along in pairs]
        samples = check_samples(self, convert_tensor_stack(X), reset=False)
        images = self._as_images(samples)
        along = np.asarray(direction).reshape(images.shape)
        levels = None if self.noise_levels_ is None else resolve_levels(None, images)
        slopes = np.empty(images.shape, np.float64)
        for image_range, index in self._ranges_of(images, levels).items():
            image_levels = None
            if levels is not None:
                image_levels = self._limit_levels(levels[index], image_range, is_given=False)
            slopes[index] = self._tiled_predictor(image_range).differentiate(
                images[index], along[index], image_levels
            )
        return slopes.reshape(samples.shape)

    def _ranges_of(
        self, images: NDArray[Any], levels: NDArray[Any] | None
    ) -> dict[IntensityRange | None, NDArray[np.intp]]:
        """Return the intensity ranges of images, with the indices of their images.

        None is the unit of the fit: for signals, and if black and white of the fit are not known.
        """
        unit = self._unit
        places: dict[IntensityRange | None, list[int]] = {}
        if unit is None or min(images.shape[1:3], default=0) < 2:
            if len(images) and unit is None:
                self._warn_of_other_unit(images)
            return {None: np.arange(len(images))}
        for place, image in enumerate(images):
            image_range = unit.prediction_range(image, None if levels is None else float(levels[place].max()))
            places.setdefault(image_range, []).append(place)
        return {image_range: np.array(index) for image_range, index in places.items()}

    def _limit_levels(
        self, levels: NDArray[Any], image_range: IntensityRange | None, *, is_given: bool, name: str = "X"
    ) -> NDArray[Any]:
        """Return noise levels limited to those of the training, in this range."""
        return limit_levels(levels, self._max_level_in(image_range), is_given=is_given, name=name)

    def _max_level_in(self, image_range: IntensityRange | None) -> float:
        """Return the highest noise level of the training, in this range."""
        assert self.noise_levels_ is not None
        return self._ratio(image_range) * float(self.noise_levels_[1])

    def _warn_of_other_unit(self, images: NDArray[Any]) -> None:
        """Warn of numbers far from those of the fit, if its black and white are not known."""
        scaler = self._preparation_.input_scaler
        fit_span, given = float(scaler.spread), IntensityRange.of(images)
        if not fit_span / FAR < given.span < FAR * fit_span:
            low = float(scaler.center)
            warn_user(
                f"X seems to lie between {given.black:.4g} and {given.white:.4g}, and the fit was to images "
                f"between {low:.4g} and {low + fit_span:.4g}. Give X in the unit of the fit."
            )

    def _as_images(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples as images (n, height, width, channels)."""
        if samples.ndim == 2:
            return samples.reshape(len(samples), *(*(self.image_shape_ or (1, samples.shape[1])), 1)[:3])
        return samples if samples.ndim == 4 else samples[..., None]

    def _in_unit(self, samples: NDArray[Any], like: NDArray[Any] | None = None) -> NDArray[Any]:
        unit = self._unit
        if unit is None:
            return samples
        counted = unit.image_range(samples if like is None else like)
        return samples if counted == unit.intensity else unit.intensity.from_unit(counted.to_unit(samples))


@dataclass(frozen=True)
class PartPredictor:
    """Prediction for the parts of one image, measured once.

    Attributes
    ----------
    denoiser : ImageDenoiser
        Fitted denoiser.
    image_range : IntensityRange or None
        Range of the image that stands for that of the fit.
    level : float or None
        Noise level of the image, for a network with a noise-level map.
    halo, stride : int
        Width of the halo in pixels, and the grid on which parts begin.
    """

    denoiser: ImageDenoiser
    image_range: IntensityRange | None
    level: float | None
    halo: int
    stride: int

    def window(
        self, inner: tuple[slice, slice], shape: tuple[int, ...], *, has_gaps: bool = False
    ) -> tuple[slice, slice]:
        """Return the rows and columns to read for a part of an image of a shape."""
        return widen(inner, shape, self.halo, self.stride)

    def denoise(self, part: NDArray[Any], kept: tuple[slice, slice]) -> NDArray[Any]:
        """Return the denoised rows and columns ``kept`` of a part with its halo."""
        samples = check_samples(self.denoiser, part[None], reset=False)
        images = self.denoiser._as_images(samples)
        denoised = np.empty(images.shape, as_float_array(samples[:0]).dtype)
        predictor = self.denoiser._tiled_predictor(self.image_range, double=denoised.dtype == np.float64)
        predictor.restore(images, denoised, None if self.level is None else np.array([self.level]))
        restored: NDArray[Any] = denoised.reshape(samples.shape)[0][kept]
        return restored


def refuse_stream(X: Any, method: str) -> None:
    """Refuse streams in place of arrays, with the way to denoise files."""
    if is_stream(X):
        raise TypeError(
            f"{method} takes arrays, got {type(X).__name__}. Denoise files one by one, with "
            "sk_denoise.restoration.denoise_file(source, destination, model=denoiser)."
        )


def _one_each(sigma: Any, n: int) -> list[Any]:
    """Return a noise level for each image of a list."""
    if not isinstance(sigma, list | tuple) and np.ndim(sigma) == 0:
        return [sigma] * n
    if len(sigma) != n:
        raise ValueError(f"sigma holds {len(sigma)} levels for {n} images.")
    return [np.asarray(level) for level in sigma]


def _color_of(shape: tuple[int, ...]) -> Literal["rgb", "gray"]:
    return "rgb" if len(shape) == 3 else "gray"
