"""The estimator for images of any size: networks that keep the size and have no latent vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sk_denoise._compat import FitTasks, in_kind, with_callbacks
from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import (
    SampleTagsMixin,
    as_float,
    check_lengths,
    check_samples,
    check_weights,
    warn_user,
)
from sk_denoise.estimators._image_sources import ImageList, is_image_list, is_stream, stack_of
from sk_denoise.estimators._image_steps import ImageFitSteps
from sk_denoise.estimators._network_summary import ImageSummaryMixin
from sk_denoise.estimators._scoring import DenoisingScoreMixin
from sk_denoise.estimators._training_domain import found_levels, limited_levels, warn_of_tiny_sigma
from sk_denoise.metrics import psnr
from sk_denoise.preprocessing import Augmentation

__all__ = ["ImageDenoiser"]

FAR = 100.0  # times as wide, or as narrow, as the images of the fit: numbers in another unit


class ImageDenoiser(
    ImageSummaryMixin,
    DenoisingScoreMixin,
    SampleTagsMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    ImageFitSteps,
):
    """Learn to denoise images of any size.

    A convolutional network that keeps the size is trained on random patches, through skorch, with fresh noise
    in every batch, and then denoises images of any size: large ones tile by tile, with overlaps that make
    tiles and whole agree. It learns from stacks, lists of images of different sizes, folders and data
    sets; from clean images, which it corrupts itself, and from pairs of noisy and clean ones.

    Weights that were trained on photos are in the box: see :func:`sk_denoise.restoration.denoise_image` and
    :func:`sk_denoise.restoration.load_pretrained`.

    Parameters
    ----------
    network : str, spec, class or callable, default="folded_unet"
        The network: a name such as "folded_unet" or "dncnn"; a spec such as
        :class:`~sk_denoise.FoldedUNetNetwork`; or a class or function that is called with
        ``(channels, noise_map)`` and gives a ``torch.nn.Module``, which maps a batch (n, channels, height,
        width), with one channel more where ``noise_map`` is true, to (n, channels, height, width). Its
        attributes ``receptive_radius`` and ``stride`` allow tiles of large images: the distance in pixels to
        the farthest input pixel that an output pixel depends on, rounded up to a multiple of the stride; and
        the number of pixels that sides of tiles must be multiples of.
    noise : "auto", float, pair of float, str, noiser or None, default="auto"
        What corrupts clean images, as with :class:`~sk_denoise.DenoisingAutoencoder`. "auto" is Gaussian
        noise whose strength is drawn for each patch, from 0 to the standard deviation of all pixels.
    sigma : {"blind", "map"}, default="blind"
        Whether the network is told how strong the noise is. A network for a "map" sees the standard
        deviation beside each pixel; ``predict`` is given it, or estimates it once for each image. One
        network is then good at all levels that it learned from, but the level must be right: choose it for
        white Gaussian noise, and "blind" for all other.
    patch_size : int or pair of int, default=64
        Sides of the patches, in pixels; no larger than the smallest image of a stack or list.
    patches_per_image : int or "auto", default="auto"
        Patches from each image in an epoch. "auto" cuts about as many as cover the image, at most 64,
        and 16 from each file of a folder.
    augment : Augmenter or None, default=None
        How training patches are moved before they are corrupted, as with
        :class:`~sk_denoise.DenoisingAutoencoder`.
    loss : str, dict or callable, default="mse"
        What is made small, in units of the range from black to white: a name, a mix of names and weights, or
        a function, as with :class:`~sk_denoise.DenoisingAutoencoder`. With "bce" and "kl" the answers are
        softly clipped to the range from black to white.
    emphasis : pair of float or None, default=None
        Weights (of corrupted pixels, of intact ones) in the loss, as with
        :class:`~sk_denoise.DenoisingAutoencoder`.
    optimizer : str or torch optimizer class, default="adam"
        As with :class:`~sk_denoise.DenoisingAutoencoder`.
    learning_rate : float or None, default=0.002
        The rate at the start; None takes what suits the optimizer.
    learning_rate_schedule : str, default="flat_cosine"
        How the rate falls over the run, as with :class:`~sk_denoise.DenoisingAutoencoder`; before that it
        rises in 20 steps or more, but for "constant".
    weight_decay : float or "auto", default="auto"
        As with :class:`~sk_denoise.DenoisingAutoencoder`.
    gradient_clipping : float or None, default=None
        The largest norm of the gradients of a step; longer ones are cut to it.
    weight_averaging : float or None, default=None
        What an exponential moving average of the weights keeps of itself at each step, such as 0.999;
        validation and prediction then take the average, which begins anew with every call of ``fit`` and
        ``partial_fit``. None takes the weights as they are.
    batch_size : int or "auto", default="auto"
        The most patches in a batch; "auto" is 32.
    max_epochs : int or "auto", default="auto"
        Passes over the images, in all: with ``warm_start`` those before count too. "auto" makes about
        2,500 steps, in no more than 500 passes.
    early_stopping : bool, default=False
        Whether to stop when the validation loss has not fallen by ``tol`` for ``n_iter_no_change`` epochs,
        and to return to the best weights.
    validation_fraction : float, default=0.1
        The share of the images that is held out for early stopping, where ``fit`` gets no ``X_val``.
    n_iter_no_change : int, default=10
        See ``early_stopping``.
    tol : float, default=1e-6
        See ``early_stopping``; in the unit of the loss.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the previous call, to ``max_epochs`` in all, as the rest
        of one run: with its learning rates, and on the same validation images with its early stopping and
        best weights. Where nothing is left to do, a warning says so. Pretrained weights count as none.
    callbacks : list or None, default=None
        What looks on while the network learns: callbacks of skorch, which see the net; and functions
        ``f(estimator, epoch)``, called after each epoch with a fitted copy and a dict of its figures, which
        end the run when they return True. Callbacks of scikit-learn go to ``set_callbacks``.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)``, where the rows of X are flattened images.
        Other rows are signals: images of height 1.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the layers compute in while they learn; ``predict`` computes in the precision of its input.
    device : str or torch.device, default="auto"
        Where to compute: "auto" is a CUDA GPU where there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Determines weights, patches, noise and the validation split.
    verbose : int, default=0
        1 prints what is learned from what, and a line that shows epoch, losses, PSNR and the time left.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; its module is ``net_.module_``, its log ``net_.history``.
    noise_levels_ : tuple of two float or None
        The weakest and the strongest noise that a network for a "map" learned from, in the unit of the
        images.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Mean PSNR on the validation patches after each epoch, in dB, where there are any.
    n_iter_ : int
        Epochs so far, those of ``partial_fit`` among them.
    precision_ : {"float32", "bfloat16"}
        What the layers computed in while they learned.
    noiser_ : noiser or None
        The noise that corrupted the clean images; None for pairs as given.
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Where the clean side came from.
    patch_shape_ : tuple of int
        Shape of a patch.
    image_shape_ : tuple of int or None
        Shape of the images where the rows of X are flattened ones.
    data_range_ : float
        The range from black to white: that of ``intensity_range_``, else the clean maximum minus minimum.
    intensity_range_ : IntensityRange or None
        The numbers that stood for black and white in the fit (``.black``, ``.white``): 0 and the largest
        number of 8, 10, 12, 14 or 16 bits for integers, 0 and 1 for files and for floats in [0, 1]. None for
        other floats, which have no known black and white.
    n_features_in_ : int
        Number of entries of one sample of the fit.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    See Also
    --------
    DenoisingAutoencoder : For arrays of one shape, through a bottleneck.
    NonLocalMeansDenoiser : Learns nothing, and has the same face.
    sk_denoise.restoration.denoise_image : One image, out of the box; takes this estimator as its ``model``.

    Notes
    -----
    Images go to the network as they are, but for one shift and one scale that bring black to 0 and white
    to 1: what a residual network leaves alone stays what it is.

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

    def __init__(
        self,
        network: Any = "folded_unet",
        *,
        noise: Any = "auto",
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

    @in_kind
    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_clean: Any = None,
        X_val: Any = None,
        X_clean_val: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn to denoise.

        Where the clean side of the pairs comes from, the first that applies: ``X_clean``; a ``y`` of the
        shape of X; the clean source that the output of a noiser carries; else X itself is clean and is
        corrupted afresh for every batch.

        Parameters
        ----------
        X : stack, list, ImageFolder, path, data set, RandomPatches or rows
            Noisy images where a clean side is given, else clean ones:

            - a stack of shape (n, height, width[, channels]), or rows (n, n_features);
            - a list of arrays (height, width[, channels]), of different sizes;
            - the path of a folder, which stands for its :class:`~sk_denoise.datasets.ImageFolder`, gray where
              all files are gray and else in colour;
            - an :class:`~sk_denoise.datasets.ImageFolder`, a data set, a list of pairs ``(noisy, clean)``, or
              whatever :class:`~sk_denoise.datasets.RandomPatches` takes; its integers become shares of their
              range, so that images are in [0, 1].

        y : stack or list of the shape of X, optional
            The clean side; other y, such as labels, is ignored.
        X_clean : stack or list of the shape of X, optional
            The clean side, whatever y is.
        X_val : stack, list, ImageFolder, path, data set or RandomPatches, optional
            Images to validate on, in place of a part of X: noisy with ``X_clean_val``, else clean.
        X_clean_val : stack or list of the shape of X_val, optional
            The clean side of ``X_val``.
        sample_weight : array-like of shape (n_images,), optional
            What each image counts; at least 0. Patches are cut from it the more often.

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
        draft._check_parameters()
        given = draft._given(X, y, X_clean, sample_weight)
        training, validation = draft._divided(given, X_val, X_clean_val)
        sample, source = draft._looked_at(training)
        draft._prepare(sample)
        frozen = None if validation is None else draft._looked_at(validation, like=sample)[0]
        return self._store(draft, draft._train(source, frozen, tasks, sample))

    @in_kind
    @with_callbacks
    def partial_fit(
        self, X: Any, y: Any = None, *, X_clean: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn from some more images: one pass over them, at a constant learning rate.

        The first call fixes the channels and the range from black to white, so it should see images that
        are like the rest.

        Parameters
        ----------
        X, y, X_clean, sample_weight
            As in ``fit``.

        Returns
        -------
        self
        """
        tasks = FitTasks(self)
        draft = self._draft(fresh=False)
        draft._check_parameters()
        sample, source = draft._looked_at(draft._given(X, y, X_clean, sample_weight))
        draft._prepare(sample)
        return self._store(draft, draft._train(source, None, tasks, sample, epochs=1, schedule="constant"))

    @in_kind
    def predict(self, X: Any, *, sigma: Any = None) -> Any:
        """Denoise.

        Parameters
        ----------
        X : stack, list or rows
            Noisy images of any size: a stack (n, height, width[, channels]), a list of arrays, or rows, in
            the unit of ``fit``. Where black and white of the fit are known (``intensity_range_``), images in
            another unit are brought to it one by one: integers of other depths, floats in [0, 1], counts,
            and images that use a small part of their range, as far as their noise stays as weak as that of
            the fit.
        sigma : float, array-like or None, default=None
            For a network that is told the level of the noise (``sigma="map"``): its standard deviation in
            the unit of X, one for all, one for each image, or a map for each, of shape (n, height, width)
            or a list of (height, width). None estimates it once for each image.

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
                self._denoised(image[None], level)[0]
                for image, level in zip(images, _one_each(sigma, len(images)), strict=True)
            ]
        return self._denoised(stack_of(X), sigma)

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

    @in_kind
    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean PSNR of denoised images in dB, each capped at 100.

        Parameters
        ----------
        X : stack, list or rows
            Noisy images where y is given, else clean ones. Clean ones are corrupted with a reference that
            is the same for every estimator fitted on the same data, whatever its ``noise``.
        y : stack or list of the shape of X, optional
            Clean images; ignored where they equal X or cannot be the clean side (see ``fit``).
        sample_weight : array-like of shape (n_images,), optional
            What each image counts in the mean.

        Returns
        -------
        float
            Greater is better. The data range is ``data_range_``.
        """
        check_is_fitted(self)
        refuse_stream(X, "score")
        if not is_image_list(X):
            return super().score(stack_of(X), stack_of(y), sample_weight)
        noisy = ImageList.of(X)
        check_lengths(X, y)
        clean = noisy.clean_side_in(y)
        if len({x.shape for x in noisy.images}) == 1:
            truth = None if clean is None else np.stack(clean.images)
            return super().score(np.stack(noisy.images), truth, sample_weight)
        given = [self._in_unit(check_samples(self, x[None], reset=False)) for x in noisy.images]
        if clean is None:
            truths = [as_float(x) for x in given]
            given = self._reference(truths)
        else:
            truths = [self._in_unit(truth[None]) for truth in clean.images]
            given = [self._in_unit(x[None], like=t) for x, t in zip(noisy.images, clean.images, strict=True)]
        pairs = zip(truths, given, strict=True)
        each = [psnr(t, self.predict(x), data_range=self.data_range_) for t, x in pairs]
        return float(np.average(each, weights=check_weights(sample_weight, each)))

    def _denoised(self, X: ArrayLike, sigma: Any) -> NDArray[Any]:
        """Return a stack or rows without their noise."""
        samples = check_samples(self, X, reset=False)
        images = self._as_images(samples)
        levels = None
        if self.noise_levels_ is not None:
            levels = found_levels(sigma, images)
            if sigma is not None:
                warn_of_tiny_sigma(float(levels.max()), images, "X")
        elif sigma is not None:
            raise ValueError(
                'sigma is for networks that are told how strong the noise is, ImageDenoiser(sigma="map"); '
                "this one learned to do without."
            )
        answer = np.empty(images.shape, as_float(samples[:0]).dtype)
        for seen, index in self._seen(images, levels).items():
            alike: Any = slice(None) if len(index) == len(images) else index  # most often all: no copies
            of_these, restored = None, answer[alike]
            if levels is not None:
                of_these = self._limited(levels[alike], seen, was_told=sigma is not None)
            self.restorer(seen, double=answer.dtype == np.float64).restore(images[alike], restored, of_these)
            if restored.base is not answer:
                answer[alike] = restored
        return answer.reshape(samples.shape)

    def _seen(
        self, images: NDArray[Any], levels: NDArray[Any] | None
    ) -> dict[IntensityRange | None, NDArray[np.intp]]:
        """Return the ranges in which the network is to see images of a stack, each with their places.

        None is the unit of the fit: for signals, and where black and white of the fit are not known.
        """
        unit = self._unit
        places: dict[IntensityRange | None, list[int]] = {}
        if unit is None or min(images.shape[1:3], default=0) < 2:
            if len(images) and unit is None:
                self._warn_of_other_unit(images)
            return {None: np.arange(len(images))}
        for place, image in enumerate(images):
            seen = unit.seen(image, None if levels is None else float(levels[place].max()))
            places.setdefault(seen, []).append(place)
        return {seen: np.array(index) for seen, index in places.items()}

    def _limited(
        self, levels: NDArray[Any], seen: IntensityRange | None, *, was_told: bool, name: str = "X"
    ) -> NDArray[Any]:
        """Return noise levels as far as the network knows them in images that it sees so."""
        return limited_levels(levels, self._strongest_in(seen), was_told=was_told, name=name)

    def _strongest_in(self, seen: IntensityRange | None) -> float:
        """Return the strongest noise that the network learned from, in the unit of images that it sees so."""
        assert self.noise_levels_ is not None
        return self._ratio(seen) * float(self.noise_levels_[1])

    def _warn_of_other_unit(self, images: NDArray[Any]) -> None:
        """Warn of numbers that cannot be in the unit of a fit whose black and white are not known."""
        scaler = self._preparation_.input_scaler
        learned, given = float(scaler.spread), IntensityRange.of(images)
        if not learned / FAR < given.span < FAR * learned:
            low = float(scaler.center)
            warn_user(
                f"X seems to lie between {given.black:.4g} and {given.white:.4g}, and the fit was to images "
                f"between {low:.4g} and {low + learned:.4g}. Give X in the unit of the fit."
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
        counted = unit.range_of(samples if like is None else like)
        return samples if counted == unit.intensity else unit.intensity.from_unit(counted.to_unit(samples))


def refuse_stream(X: Any, method: str) -> None:
    """Say how files are denoised, where arrays are expected."""
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
