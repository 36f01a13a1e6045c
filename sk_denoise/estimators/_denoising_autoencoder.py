"""The estimator for arrays of one shape: tables, signals and images, through a bottleneck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sk_denoise._compat import in_kind
from sk_denoise._validation import Interval, as_float, as_tensor, check_one_of, refuse_masked
from sk_denoise.estimators._base import BaseDenoiser
from sk_denoise.estimators._pairs import Pair
from sk_denoise.estimators._preparation import run_in_chunks
from sk_denoise.preprocessing import Augmentation

__all__ = ["DenoisingAutoencoder"]

# output: the part of the network that it takes
OUTPUTS = {"reconstruction": "forward", "latent": "encoder", "activations": "activations"}


def _gives_latents(dae: DenoisingAutoencoder) -> bool:
    if dae.output != "latent":
        raise AttributeError(
            f'inverse_transform decodes what transform gives with output="latent", not {dae.output!r}. '
            'Use set_params(output="latent"), which needs no new fit.'
        )
    return True


class DenoisingAutoencoder(BaseDenoiser):
    """Learn to denoise arrays of one shape: rows of tables, signals, small images.

    A network with a bottleneck is trained to turn corrupted samples into clean ones, through skorch, with
    fresh noise in every batch. It is a transformer: ``transform`` denoises, so that it stands before a
    classifier in a pipeline, or gives the latent vectors.

    The literal pipeline ``[("noise", GaussianNoiser()), ("dae", DenoisingAutoencoder())]`` and the
    estimator alone with ``noise=GaussianNoiser()`` learn the same. Pairs of noisy and clean samples are
    given as ``fit(X_noisy, X_clean=X_clean)`` or ``fit(X_noisy, X_clean)``; see ``fit``.

    Parameters
    ----------
    network : str, spec, class or callable, default="dense"
        The network: a name such as "dense", "conv" or "pooling"; a spec such as
        :class:`~sk_denoise.DenseNetwork`; or a class or function that is called with
        ``(input_shape, latent_dim)`` and gives a ``torch.nn.Module``, which maps a batch to one of the same
        shape and may have the parts ``encoder`` and ``decoder``. ``input_shape`` is ``(n_features,)`` for
        rows and ``(channels, height, width)`` for images; "conv" and "pooling", and any spec with
        ``rows_are_signals = True``, read rows as signals of shape ``(1, length)``.
    latent_dim : int, default=128
        Length of the latent vector; with "pooling", that of each position of the latent map. More than the
        number of features does no harm to denoising.
    noise : "auto", float, pair of float, str, noiser or None, default="auto"
        What corrupts clean samples, where neither a clean side nor a noiser before the estimator is given;
        with these only "auto" is allowed. A noiser such as :class:`~sk_denoise.GaussianNoiser`, or a name of
        ``sk_denoise.noise.NOISERS`` for one with its defaults. A number is the standard deviation of
        Gaussian noise in the unit of the data, ``noise=0.25`` the same as ``GaussianNoiser(0.25)``; of a
        pair ``(low, high)`` one is drawn for each sample. "auto" is Gaussian noise whose strength is
        drawn for each sample: 0.1 to 0.6 of each feature's standard deviation for rows of a table, 0 to 1 of
        the standard deviation of all entries for images and signals. If you know your noise, say so. None
        trains a plain autoencoder.
    augment : Augmenter or None, default=None
        How training images are moved before they are corrupted, anew for every batch and alike on both
        sides of a pair: an :class:`~sk_denoise.Augmenter`, or anything with its method
        ``augment``. Validation and prediction see images as they are.
    loss : str, dict or callable, default="mse"
        What is made small, in scaled units: a name, a mix of names and weights such as
        ``{"mae": 0.2, "ms_ssim": 0.8}``, or a function of output and target, batches of shape
        (n, features) or (n, channels, height, width), that gives a tensor of shape ().

        - "mse", "mae": squared and absolute error; "huber" turns from the one to the other at one unit,
          "charbonnier" is an absolute error that is smooth at 0.
        - "bce", "kl": for clean data in [0, 1], which are not scaled, through a sigmoid. Binary
          cross-entropy, and the generalised Kullback-Leibler divergence ``t log(t / p) - t + p`` of each
          entry, which is that of photon counts: the same error counts more in the dark.
        - "ssim", "ms_ssim": one minus the structural similarity of images, on one scale or up to five.
    emphasis : pair of float or None, default=None
        Weights (of corrupted entries, of intact ones) in the loss, for noise that replaces some values: with
        (1, 0) only what was lost counts, with (0, 1) only what was kept. None weighs all alike.
    optimizer : str or torch optimizer class, default="adamw"
        A name such as "adam", "adamw" or "sgd" (momentum 0.9), or a class of :mod:`torch.optim`.
    learning_rate : float or None, default=None
        The rate at the start. None takes the one that suits the optimizer, such as 0.002 for "adamw" and
        0.05 for "sgd".
    learning_rate_schedule : str, default="flat_cosine"
        How the rate falls over the run: "flat_cosine" is constant for the first half and then falls along a
        cosine to zero; "cosine" and "linear" fall to zero from the start, "exponential" to a hundredth;
        these rise first, over a tenth of the steps and no more than 100. "one_cycle" rises for a third of
        the run and falls along a cosine; "constant" does neither.
    weight_decay : float or "auto", default="auto"
        Pull of the weights towards zero. "auto" is for "adamw" 0.3 below 1,000 samples, 0.2 below 10,000
        and 0 beyond, and 0 for the other optimizers, which add it to the gradient.
    gradient_clipping : float or None, default=None
        The largest norm of the gradients of a step; longer ones are cut to it.
    weight_averaging : float or None, default=None
        What an exponential moving average of the weights keeps of itself at each step, such as 0.999;
        validation and prediction then take the average, which begins anew with every call of ``fit`` and
        ``partial_fit``. None takes the weights as they are.
    batch_size : int or "auto", default="auto"
        The most samples in a batch. "auto" is 32 below 1,000 samples, 64 below 10,000 and 128 beyond.
    max_epochs : int or "auto", default="auto"
        Passes over the data, in all: with ``warm_start`` those before count too. "auto" makes about 2,500
        steps, in no less than 10 and no more than 500 passes.
    early_stopping : bool, default=False
        Whether to stop when the validation loss has not fallen by ``tol`` for ``n_iter_no_change`` epochs,
        and to return to the best weights.
    validation_fraction : float, default=0.1
        The share of the samples that is held out for early stopping, where ``fit`` gets no ``X_val``.
    n_iter_no_change : int, default=10
        See ``early_stopping``.
    tol : float, default=1e-4
        See ``early_stopping``; in the unit of the loss.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights and the scaling of the previous call, to ``max_epochs`` in
        all, as the rest of one run: with its learning rates, and on the same validation samples with its
        early stopping and best weights. Where nothing is left to do, a warning says so.
    output : {"reconstruction", "latent", "activations"}, default="reconstruction"
        What ``transform`` gives: denoised samples, latent vectors, or the outputs of all hidden layers side
        by side. ``predict`` and ``score`` always denoise. It may be set after the fit.
    callbacks : list or None, default=None
        What looks on while the network learns: callbacks of skorch, which see the net; and functions
        ``f(estimator, epoch)``, called after each epoch with a fitted copy and a dict of its figures, which
        end the run when they return True. Callbacks of scikit-learn go to ``set_callbacks``.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)``, where the rows of X are flattened images:
        they are scaled and corrupted for all pixels alike, as stacks of images are.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the layers compute in while they learn; weights, loss and optimizer are float32 always, and so
        is prediction (float64 for float64). "auto" takes bfloat16 on processors that have units for it
        (AVX512-BF16, AMX), for networks whose steps take 2 * 10^8 operations or more; ``precision_`` tells.
    device : str or torch.device, default="auto"
        Where to compute: "auto" is a CUDA GPU where there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Determines weights, order of the samples, noise and the validation split. The same integer gives
        the same bits on the same kind of processor at the same number of threads.
    verbose : int, default=0
        1 prints what is learned from what, and a line that shows epoch, losses, PSNR and the time left.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; its module is ``net_.module_``, its log ``net_.history``.
    encoder_, decoder_ : torch.nn.Module
        The halves of the network, in scaled units.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Mean PSNR on the validation samples after each epoch, in dB, where there are any.
    n_iter_ : int
        Epochs so far, those of ``partial_fit`` among them.
    precision_ : {"float32", "bfloat16"}
        What the layers computed in while they learned.
    noiser_ : noiser or None
        The noise that corrupted the clean samples, fitted to them; None for pairs as given.
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Where the clean side came from.
    image_shape_ : tuple of int or None
        Shape of the images, where samples are images.
    data_range_ : float
        The range that ``score`` refers to: that of ``intensity_range_`` for 8- and 16-bit integers, else the
        clean maximum minus minimum.
    intensity_range_ : IntensityRange or None
        The numbers that stood for black and white in the fit, ``.black`` and ``.white``: of 8- and 16-bit
        integers by the bits that they use, 0 and 1 for clean data in [0, 1], else None.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    Warns
    -----
    CleanTargetWarning
        Where a two-dimensional y is not taken as the clean side.
    WeakNoiseWarning
        Where the noise is weaker than 2 % of the spread of the data.

    See Also
    --------
    GaussianNoiser : Corrupts in training, before the estimator or as its ``noise``.
    sk_denoise.make_denoising_scorer : Scores a search over noise honestly.

    References
    ----------
    P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol, "Extracting and composing robust features with
    denoising autoencoders", ICML (2008); for ``emphasis``, P. Vincent et al., "Stacked denoising
    autoencoders", Journal of Machine Learning Research 11 (2010).

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
    }

    def __init__(
        self,
        network: Any = "dense",
        latent_dim: int = 128,
        *,
        noise: Any = "auto",
        augment: Augmentation | None = None,
        loss: Any = "mse",
        emphasis: tuple[float, float] | None = None,
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
        self.output = output
        self.image_shape = image_shape
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @in_kind
    def transform(self, X: ArrayLike) -> Any:
        """Denoise, or return what the network makes of the samples on the way.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, in the layout and unit of ``fit``.

        Returns
        -------
        ndarray or DataFrame
            By ``output``: denoised samples of the shape of X ("reconstruction"), latent vectors of shape
            (n_samples, latent_dim) ("latent"), or the outputs of all hidden layers side by side
            ("activations"); float64 for float64, else float32.
        """
        check_one_of(self.output, OUTPUTS, "output")
        if self.output == "reconstruction":
            return self.predict(X)
        check_is_fitted(self)
        part = self._part(OUTPUTS[self.output], f"output={self.output!r}")
        return self._apply(X, lambda module, x: getattr(module, part)(x).flatten(1))

    @available_if(_gives_latents)
    @in_kind
    def inverse_transform(self, Z: ArrayLike) -> NDArray[Any]:
        """Decode latent vectors.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            Latent vectors, as ``transform`` gives them with ``output="latent"``.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples in the unit of the clean side; float64 for float64, else float32.
        """
        restore = self._fitted_preparation().restore
        refuse_masked(Z, "Z")
        latents = as_float(np.asarray(check_array(Z, dtype="numeric", input_name="Z", estimator=self)))
        part, code_shape = self._part("decoder", "inverse_transform"), self._shape_given_by("encoder")
        if latents.shape[1] != math.prod(code_shape):
            raise ValueError(
                f"Z holds vectors of length {latents.shape[1]}, the latent vectors of this "
                f"{type(self).__name__} have length {math.prod(code_shape)}. Pass what transform gives with "
                'output="latent".'
            )
        decoded = run_in_chunks(
            self.net_.module_,
            as_tensor(latents).reshape(-1, *code_shape),
            lambda module, z: restore(getattr(module, part)(z)),
            self._cost_.widest,
        )
        return decoded.numpy()

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of what ``transform`` gives.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the input features, where ``fit`` saw none.

        Returns
        -------
        ndarray of str
            The names of the input for reconstructions, ``denoisingautoencoder0`` and so on otherwise.
        """
        check_is_fitted(self)
        if self.output == "reconstruction":
            names = OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        else:
            names = ClassNamePrefixFeaturesOutMixin.get_feature_names_out(self, input_features)
        return np.asarray(names, dtype=object)

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
    def _n_features_out(self) -> int:
        """Number of columns of ``transform`` where it gives latent vectors or activations."""
        return math.prod(self._shape_given_by(OUTPUTS[self.output]))

    def _shape_given_by(self, name: str) -> tuple[int, ...]:
        """Return the shape of what a part of the network gives for one sample."""
        part = getattr(self.net_.module_, self._part(name, f"output={self.output!r}"))
        device = next(self.net_.module_.parameters()).device
        with torch.inference_mode():
            probe = torch.zeros(1, *self._preparation_.layout.network_shape, device=device)
            return tuple(part(probe).shape[1:])

    def _prepare(self, pair: Pair) -> None:
        check_one_of(self.output, OUTPUTS, "output")
        super()._prepare(pair)
        self._part(OUTPUTS[self.output], f"output={self.output!r}")

    def _part(self, part: str, purpose: str) -> str:
        """Return the name of a part of the network, once it is known that there is one."""
        if not hasattr(self.net_.module_, part):
            raise AttributeError(
                f"{purpose} needs a network with the part {part!r}, which "
                f"{type(self.net_.module_).__name__} lacks."
            )
        return part
