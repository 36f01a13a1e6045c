"""A mixture of Wiener filters, fitted to noisy rows alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.isotonic import IsotonicRegression
from sklearn.utils.validation import check_is_fitted

from sk_denoise._clean_source import carried_source
from sk_denoise._compat import as_one_task, keeps_array_type
from sk_denoise._noise_model import (
    NoiseModel,
    estimate_independent_noise,
    resolve_noise_model,
    warn_of_impossible_noise,
)
from sk_denoise._random import root_seed, stream_seed
from sk_denoise._row_noise import estimate_row_noise, estimate_row_noise_from_repeats
from sk_denoise._schema import (
    COUNT,
    NONNEGATIVE_NUMBER,
    Rule,
    conforms,
    has_type,
    is_nonnegative_array,
    is_numeric_array,
    optional,
    record,
)
from sk_denoise._signal_dependent import generalised_anscombe, invert_generalised_anscombe
from sk_denoise._validation import (
    HasMethods,
    Interval,
    StrOptions,
    as_float_array,
    check_samples,
)
from sk_denoise.estimators._base import SHAPE_CONSTRAINT, ClassicalDenoiser, Images, trace_rows
from sk_denoise.estimators._pairs import Pair
from sk_denoise.estimators._preparation import SampleLayout
from sk_denoise.estimators._signal_windows import (
    MAX_WINDOWS,
    TRIAL_WINDOWS,
    average_windows,
    choose_length,
    estimate_window_risk,
    sample_windows,
)
from sk_denoise.metrics._metrics import psnr_of_mse
from sk_denoise.metrics._self_supervised import expected_psnr

__all__ = ["WienerMixtureDenoiser"]

Floats = NDArray[np.float64]

# Largest number of features: the axes of the pooled covariance are formed.
MAX_FEATURES = 2**16
# Largest number of principal axes of a mixture; each component has a covariance of this size.
MAX_AXES = 128
# Candidates of "auto": numbers of components, and numbers of rows that the pooled covariance counts as.
COMPONENTS = (5, 10, 20, 80)
SHRINKAGES = (10.0, 100.0, 1000.0)
# Candidate for windows of signals, and its number of starts: windows are many, and overlapping ones are
# averaged already.
WINDOW_COMPONENTS, WINDOW_SHRINKAGE, WINDOW_STARTS, ROW_STARTS = 20, 60.0, 2, 16
# Steps of EM for each window length that is compared.
TRIAL_STEPS = 10
SQRT_2 = math.sqrt(2)
# Fewest rows from which two measurements show the noise of each column.
MIN_REPEATS = 30
# Correlation of the noise of neighbouring entries up to which it is independent.
MAX_CORRELATION = 0.1
# Fewest rows for each component of a candidate.
ROWS_PER_COMPONENT = 4
# Parts of the rows on which candidates are compared, and starts of each candidate there.
N_FOLDS, N_STARTS = 2, 2
# Largest number of rows of a comparison; more rows take longer. With far fewer, the choice is worse.
MAX_COMPARED_ROWS = 2**15
# Fewest different rows for a comparison of candidates.
MIN_ROWS = 16
# Variance of the means of components around the overall mean, as a share of the clean variance.
MEAN_SPREAD = 0.3
# Parts of the rows for the variances along axes, and the smaller side of the rows up to which these are many.
N_AXES_FOLDS, MAX_REPEATED = 8, 1000
# Steps of k-means before the first step of EM. More steps make the starts alike.
KMEANS_STEPS = 3
# Smallest noise along an axis or in a column, relative to the spread of the noise or of the data.
MIN_RELATIVE_NOISE = 1e-3
# Rows denoised at a time, to bound memory.
CHUNK_ROWS = 1024


class WienerMixtureDenoiser(ClassicalDenoiser):
    """Learn to denoise rows from noisy rows alone, by a mixture of Wiener filters.

    ``fit`` takes noisy samples of known noise, and no clean ones. It describes the clean samples by a mixture
    of Gaussian distributions, each of which has a Wiener filter; the prediction is the average of their
    outputs, weighted by the probability of each component for the sample. It suits tables, signals of one
    kind, and small images with the same things in the same places. There is no network to train.

    Parameters
    ----------
    noise : "auto", float, array-like, NoiseModel or noiser, default="auto"
        Noise in X: a standard deviation; one for each column, of shape (n_features,); the covariance matrix
        of correlated noise, of shape (n_features, n_features); a model, such as the output of
        :func:`~sk_denoise.restoration.estimate_noise`; or a noiser. "auto" takes the noise of the noiser
        before it, and else estimates it from X, or raises an error where it cannot be told from the data; see
        :func:`~sk_denoise.noise.estimate_row_noise`.
    n_components : "auto" or int, default="auto"
        Number of components of each mixture, at least 1; 1 is the Wiener filter. Components without rows are
        left out. "auto" compares 1, 5, 10, 20 and 80 on held-out noisy rows; with a ``window`` it is 20.
    n_init : "auto" or int, default="auto"
        Number of mixtures from random starts, whose outputs are averaged; "auto" is 16, and 2 with a
        ``window``. With ``n_components="auto"``, they have the numbers of components and the shrinkage that
        are best together.
    shrinkage : "auto" or float, default="auto"
        Shrinkage of the covariance of each component towards the pooled one, as a number of rows that the
        pooled covariance counts as. "auto" compares 10, 100 and 1000; with a ``window`` it is 60.
    max_iter : int, default=20
        Largest number of steps of expectation maximization.
    tol : float, default=1e-3
        Relative increase of the log-likelihood of a row below which the steps end.
    window : None, "auto" or int, default=None
        Number of neighbouring entries that are denoised together, at least 2, for signals whose features
        stand at any place. All windows of all rows are the rows of the mixture, and the outputs of
        overlapping ones are averaged. "auto" compares 16, 32, 64 and 128 on held-out noisy rows. None takes
        the whole row, for tables and for signals with the same things in the same places.
    ignore_y : bool, default=False
        Whether ``fit`` and ``score`` take no y as the clean side, as before a regressor with as many targets
        as X has features.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.
    random_state : int, RandomState or None, default=None
        Seed of the starts.
    verbose : int, default=0
        1 prints the candidates of "auto" and the mixtures that were chosen.

    Attributes
    ----------
    sigma_ : float
        Standard deviation of the noise, the root mean square over the features.
    noise_model_ : NoiseModel or None
        Noise in X; None for a covariance matrix.
    n_iter_ : int
        Largest number of steps of expectation maximization of a mixture.
    window_ : int or None
        Number of entries of a window; None without windows.
    choices_ : list of tuple (n_components, shrinkage, share)
        Mixtures that are averaged, with their share of the average.
    target_source_ : {"noisy", "X_second"}
        No clean side: X is noisy, or is one of two noisy measurements.
    data_range_ : float
        Data range of the PSNR of ``score``.
    image_shape_ : tuple of int or None
        Shape of one image, None for other rows.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        By ``fit``, for fewer than two samples, more than 65,536 features, a clean side, or noise that cannot
        be estimated.

    See Also
    --------
    WienerDenoiser : The linear filter, fitted to clean samples.
    DenoisingAutoencoder : Networks, which learn from noisy samples alone by ``objective="recorrupt"``.

    Notes
    -----
    Rows are divided by the noise level, and projected on the principal axes along which held-out rows have
    more variance than the noise. Each mixture starts from k-means of rows after a Wiener filter. Steps of EM
    follow: the covariance of a component is that of its noisy rows, shrunk to the pooled one, less that of
    the noise along the axes, and without negative eigenvalues. Its mean is shrunk to the overall mean.

    For "auto", candidates are fitted to one half of the rows and predict the other half. Stein's unbiased
    risk estimate (SURE) of the averages tells, without clean rows, which ones to average. More components
    than the data need do little harm, since they are then left out.

    With ``window="auto"``, 500 signals of 600 entries take up to a minute. Noise of .35 of their height falls
    to .073 on spectra with shifting peaks, .065 on heartbeats, .084 on steps and .059 on sines. The best of
    Savitzky-Golay filters, wavelets, total variation and non-local means, with parameters chosen against the
    truth, leaves .091, .112, .084 and .097.

    For noise of counts, the rows pass through the generalised Anscombe transform first.

    References
    ----------
    J. Bovy, D. W. Hogg and S. T. Roweis, "Extreme deconvolution: inferring complete distribution functions
    from noisy, heterogeneous and incomplete observations", Annals of Applied Statistics 5(2B) (2011);
    C. Stein, "Estimation of the mean of a multivariate normal distribution", Annals of Statistics 9 (1981).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import WienerMixtureDenoiser
    >>> X = load_digits().data / 16
    >>> noisy = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
    >>> mixture = WienerMixtureDenoiser(noise=0.25, n_components=20, n_init=4, random_state=0)
    >>> denoised = mixture.fit(noisy[:1297]).predict(noisy[1297:])
    >>> bool(((denoised - X[1297:]) ** 2).mean() < 0.019)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **SHAPE_CONSTRAINT,
        "noise": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
            NoiseModel,
            HasMethods(["fit", "corrupt"]),
        ],
        "n_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "window": [None, StrOptions({"auto"}), Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "ignore_y": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "sigma_": NONNEGATIVE_NUMBER,
        "noise_model_": optional(record(NoiseModel, "a noise model")),
        "n_iter_": COUNT,
        "choices_": Rule(lambda v, _: _are_choices(v), "a list of numbers of components, rows and shares"),
        "window_": optional(COUNT),
        "_training_trace_": has_type(str, "a hash"),
        "_center_": Rule(
            lambda v, e: is_numeric_array(v, (e._row_length,)), "a number for each entry of a row or window"
        ),
        "_unit_": Rule(
            lambda v, e: is_numeric_array(v, (e._row_length,), (e._row_length,) * 2),
            "noise levels, or a square root of the covariance of the noise",
        ),
        "_axes_": Rule(
            lambda v, e: is_numeric_array(v, np.shape(v)) and v.ndim == 2 and v.shape[1] == e._row_length,
            "principal axes of so many features",
        ),
        "_mixtures_": Rule(
            lambda v, e: type(v) is list and all(type(m) is _Mixture and conforms(m) for m in v),
            "a list of mixtures",
        ),
        "_shares_": Rule(
            lambda v, e: is_nonnegative_array(v, (len(e._mixtures_),)),
            "the shares of all mixtures",
            after_others=True,
        ),
    }
    noise_model_: NoiseModel | None
    _mixtures_: list[_Mixture]
    _rows_are_signals = False
    _is_self_supervised = True
    # A single sample has no covariance.
    _min_samples = 2

    def __init__(
        self,
        noise: Any = "auto",
        *,
        n_components: Literal["auto"] | int = "auto",
        n_init: Literal["auto"] | int = "auto",
        shrinkage: Literal["auto"] | float = "auto",
        max_iter: int = 20,
        tol: float = 1e-3,
        window: Literal["auto"] | int | None = None,
        ignore_y: bool = False,
        image_shape: Sequence[int] | None = None,
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.noise = noise
        self.n_components = n_components
        self.n_init = n_init
        self.shrinkage = shrinkage
        self.max_iter = max_iter
        self.tol = tol
        self.window = window
        self.ignore_y = ignore_y
        self.image_shape = image_shape
        self.random_state = random_state
        self.verbose = verbose

    @keeps_array_type
    @as_one_task
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        X_clean: ArrayLike | None = None,
        X_second: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from noisy samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples. Finite numbers; integers are converted to float32 in the same unit. Of the output
            of a noiser, the noisy numbers are used, and not the clean source that it carries.
        y : optional
            Ignored. A y of the shape of X is refused, since it seems to be the clean side.
        X_clean : None
            Refused, since the estimator learns from noisy samples alone.
        X_second : array-like of the shape of X, optional
            Second measurement of the same samples, with noise of its own of the same level. The noise level
            (that of each column, for tables of 30 rows and more) is measured on the difference, and the
            mixture is fitted to the means of both. ``predict`` takes single measurements.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample: one of weight 2 counts as two samples.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or parameters cannot be used, or the noise is not known; the message gives the remedy.
        """
        return self._fit(X, y, X_clean, sample_weight, X_second)

    @keeps_array_type
    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the PSNR of denoised samples in dB, without y the expected one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, not those of ``fit``. For the output of a noiser, its clean source is the truth.
        y : array-like of the shape of X, optional
            Clean samples. Without them, the mean squared error is estimated by Stein's unbiased risk estimate
            (SURE, and PURE for counts) for the noise of ``fit``. The estimate is exact to about the noise
            variance divided by the square root of half the number of entries.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample in the mean.

        Returns
        -------
        float
            Greater is better. With y it is the mean of the PSNR of each sample, without y the PSNR of the
            mean squared error. The data range is ``data_range_``.
        """
        check_is_fitted(self)
        samples = as_float_array(check_samples(self, X, reset=False))
        if self.ignore_y:
            y = None
        if carried_source(X) is not None or (y is not None and np.shape(y) == samples.shape):
            return super().score(X, y, sample_weight)
        self._warn_of_training_data(samples)
        # At few counts, the transform does not make the noise white.
        if self.window_ is None and self.noise_model_ is not None and self.noise_model_.kind == "counts":
            if sample_weight is not None:
                raise ValueError("For noise of counts, sample_weight needs the clean side y.")
            return expected_psnr(self, X, self.noise_model_, self.data_range_, gains=self._gains())
        rows = samples.reshape(len(samples), -1)
        risks = np.concatenate([self._estimate_risk(part) for part in _chunks(rows)])
        # A sum of few rows may be below 0.
        weights = None if sample_weight is None else np.asarray(sample_weight)
        error = max(float(np.average(risks, weights=weights)), 0.0)
        return float(psnr_of_mse(error, self.data_range_ if self._gains() is None else 1.0))

    # Fit ------------------------------------------------------------------------------------------------

    def _learn(self, pair: Pair, layout: SampleLayout) -> None:
        noisy = pair.inputs.reshape(len(pair.inputs), -1)
        self._training_trace_ = trace_rows(noisy)
        if noisy.shape[1] > MAX_FEATURES:
            raise ValueError(
                f"X has {noisy.shape[1]} features, and the mixture learns the covariance of each pair of "
                f"features: at most {MAX_FEATURES} (images of 256 x 256). Cut images into patches, for which "
                "8 x 8 is a good size."
            )
        self.window_: int | None = None
        weights = np.ones(len(noisy)) if pair.weights is None else pair.weights
        if pair.source == "X_second":
            second = pair.targets.reshape(noisy.shape)
            self._learn_means(noisy.astype(np.float64), second.astype(np.float64), weights, layout)
            return
        self._set_noise(pair, layout)
        self._learn_rows(self._stabilize(noisy), weights, layout)

    def _learn_means(self, first: Floats, second: Floats, weights: Floats, layout: SampleLayout) -> None:
        """Learn from the means of two measurements, for single ones."""
        difference = first - second
        related = np.sum(difference[:, 1:] * difference[:, :-1]) / max(np.sum(difference**2), 1e-300)
        if self.window is not None and abs(related) > MAX_CORRELATION:
            raise ValueError(
                f"The noise of neighbouring entries is correlated: by {related:.2f} in X - X_second. Windows "
                "need independent noise. Use window=None and the covariance of the noise as noise=."
            )
        is_table = layout.image_shape is None and self.window is None and len(first) >= MIN_REPEATS
        level = estimate_row_noise_from_repeats(first, second, per_column=is_table)
        model = resolve_noise_model(level, first)
        self.noise_model_, self.sigma_ = model, model.sigma / SQRT_2
        self._unit_ = np.array(np.sqrt(model.variance(first[0])) / SQRT_2)
        self._learn_rows((first + second) / 2, weights, layout)
        # In units of the noise of single measurements, the clean rows are smaller.
        self._unit_, self.sigma_ = self._unit_ * SQRT_2, model.sigma
        self._mixtures_ = [
            replace(mixture, means=mixture.means / SQRT_2, variances=mixture.variances / 2)
            for mixture in self._mixtures_
        ]

    def _learn_rows(self, stabilized: Floats, weights: Floats, layout: SampleLayout) -> None:
        """Learn from rows of which the noise has the levels of the unit."""
        rows, weights = _merge_equal_rows(stabilized, weights)
        if self.window is None:
            self._learn_mixtures(rows, weights)
            return
        self._check_windows(layout)
        if self.window == "auto":
            rng = np.random.default_rng(stream_seed(root_seed(self.random_state), "window"))
            self.window_, risks = choose_length(rows, weights, self._fit_trial, self._row_level**2, rng)
            for length, risk in risks.items() if self.verbose else ():
                share = risk / self._row_level**2
                print(
                    f"[WienerMixtureDenoiser] windows of {length}: {share:.4f} of the noise variance "
                    "remain on held-out rows"
                )
        else:
            self.window_ = int(self.window)
        self._learn_windows(rows, weights, MAX_WINDOWS)

    @property
    def _row_length(self) -> int:
        """Return the number of entries of a row or window."""
        return int(self.window_ or self.n_features_in_)

    @property
    def _row_level(self) -> float:
        """Return the noise level of stabilized rows."""
        is_stabilized = self.noise_model_ is not None and self.noise_model_.kind == "counts"
        return 1.0 if is_stabilized else self.sigma_

    def _check_windows(self, layout: SampleLayout) -> None:
        """Refuse data that have no windows of one noise level."""
        if layout.image_shape is not None:
            raise ValueError(
                "window is for signals in rows of shape (n_samples, length), and the samples are images. Use "
                "window=None for small images."
            )
        levels = () if self.noise_model_ is None else self.noise_model_.channel_sigmas
        if self.noise_model_ is None or len(set(levels)) > 1:
            raise ValueError(
                "Windows at all places need one noise level, and noise has a covariance or a level for each "
                "column. Divide the columns by their levels, or use window=None."
            )
        if self.window != "auto" and self.window is not None and self.window > self.n_features_in_:
            raise ValueError(
                f"window must be at most the length of the rows, {self.n_features_in_}, got {self.window}."
            )

    def _learn_windows(self, rows: Floats, weights: Floats, max_windows: int) -> None:
        """Learn from windows of signals."""
        rng = np.random.default_rng(stream_seed(root_seed(self.random_state), "places"))
        windows, weights = sample_windows(rows, weights, self._row_length, rng, max_windows)
        self._unit_ = np.full(self._row_length, self._row_level)
        self._learn_mixtures(windows, weights)

    def _fit_trial(self, rows: Floats, weights: Floats, length: int) -> Callable[[Floats], Floats]:
        """Return a filter of signals that is fitted to some windows of a length."""
        trial = copy.copy(self)
        trial.window_, trial.n_init, trial.verbose = length, 1, 0
        trial.max_iter = min(self.max_iter, TRIAL_STEPS)
        trial._learn_windows(rows, weights, TRIAL_WINDOWS)
        return trial._denoise_stable

    def _learn_mixtures(self, rows: Floats, weights: Floats) -> None:
        """Learn from different rows and their weights."""
        self._center_ = np.average(rows, axis=0, weights=weights)
        self._unit_ = self._floor_unit(rows, weights)
        standardized = _standardize(rows - self._center_, self._unit_)
        task = _Task(standardized, weights, self.max_iter, self.tol, root_seed(self.random_state))
        training = _TrainingRows.of(standardized, weights)
        self._axes_ = training.axes
        candidates = self._candidates(weights)
        n_init = self.n_init
        if n_init == "auto":
            n_init = ROW_STARTS if self.window_ is None else WINDOW_STARTS
        counts = task.select(candidates, n_init, bool(self.verbose))
        self._mixtures_, shares, self.choices_, self.n_iter_ = [], [], [], 1
        for number, (candidate, count) in enumerate(zip(candidates, counts, strict=True)):
            # A mixture of one component has no random start.
            n_starts = min(count, 1) if candidate[0] == 1 else count
            for start in range(n_starts):
                mixture, n_steps = task.fit_mixture(training, *candidate, (N_FOLDS, number, start))
                self._mixtures_.append(mixture)
                self.n_iter_ = max(self.n_iter_, n_steps)
                shares.append(count / n_starts / sum(counts))
            if count:
                self.choices_.append((*candidate, count / sum(counts)))
        self._shares_ = np.array(shares)
        if self.verbose:
            words = ", ".join(f"{share:.2f} of {k} components ({rows:g})" for k, rows, share in self.choices_)
            print(f"[WienerMixtureDenoiser] average of {words}")

    def _candidates(self, weights: Floats) -> list[tuple[int, float]]:
        """Return the numbers of components and the shrinkages to compare."""
        if self.window_ is not None:
            n_components = WINDOW_COMPONENTS if self.n_components == "auto" else int(self.n_components)
            shrinkage = WINDOW_SHRINKAGE if self.shrinkage == "auto" else float(self.shrinkage)
            return [(min(n_components, len(weights)), shrinkage)]
        n_rows = min(len(weights), float(weights.sum()))
        if self.n_components == "auto":
            # On few rows, a comparison would be chance.
            largest = n_rows / N_FOLDS / ROWS_PER_COMPONENT if len(weights) >= MIN_ROWS else 1
            components = [1, *(count for count in COMPONENTS if count <= largest)]
        else:
            components = [min(int(self.n_components), len(weights))]
        shrinkages: tuple[float, ...] = SHRINKAGES if self.shrinkage == "auto" else (float(self.shrinkage),)
        if len(weights) < MIN_ROWS:
            shrinkages = shrinkages[len(shrinkages) // 2 :][:1]
        # A single component has the pooled covariance for any shrinkage.
        return [
            (count, shrinkage)
            for count in components
            for shrinkage in (shrinkages[:1] if count == 1 else shrinkages)
        ]

    def _set_noise(self, pair: Pair, layout: SampleLayout) -> None:
        """Set the model of the noise, and its levels or the root of its covariance."""
        noise, n_features = pair.noise, self.n_features_in_
        is_matrix = not isinstance(noise, str | NoiseModel) and np.ndim(noise) == 2
        if is_matrix:
            self.noise_model_, self._unit_ = None, _root_of_covariance(noise, n_features)
            self.sigma_ = float(np.sqrt(np.square(self._unit_).sum() / n_features))
            return
        if not isinstance(noise, str):
            model = resolve_noise_model(noise, pair.inputs)
            warn_of_impossible_noise(model, pair.inputs)
        elif layout.image_shape is None:
            model = resolve_noise_model(estimate_row_noise(pair.inputs), pair.inputs)
        else:
            model = estimate_independent_noise(pair.inputs)
        if model.kind == "camera":
            raise ValueError(
                "The noise is correlated between neighbours. Pass its covariance matrix of shape "
                f"({n_features}, {n_features}) as noise=."
            )
        self.noise_model_ = model
        self.sigma_ = model.sigma
        is_stabilized = model.kind == "counts"
        levels = np.ones(pair.inputs.shape[1:]) if is_stabilized else np.sqrt(model.variance(pair.inputs[0]))
        self._unit_ = np.array(levels, dtype=np.float64).reshape(-1)

    def _floor_unit(self, rows: Floats, weights: Floats) -> Floats:
        """Return the noise levels, all above 0."""
        if self._unit_.ndim == 2 or self._unit_.all():
            return self._unit_
        spread = np.sqrt(np.average((rows - self._center_) ** 2, axis=0, weights=weights))
        levels = np.maximum(self._unit_, MIN_RELATIVE_NOISE * spread)
        return np.where(levels > 0, levels, 1.0)

    # Prediction -----------------------------------------------------------------------------------------

    def _denoise(self, images: Images) -> Images:
        denoised = np.empty_like(images)
        for start in range(0, len(images), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            rows = images[chunk].reshape(len(images[chunk]), -1)
            denoised[chunk] = self._denoise_rows(rows).reshape(images[chunk].shape)
        return denoised

    def _denoise_rows(self, noisy: NDArray[Any]) -> Floats:
        return self._destabilize(self._denoise_stable(self._stabilize(noisy)))

    def _denoise_stable(self, rows: Floats) -> Floats:
        """Denoise rows of which the noise has the levels of the unit."""
        if self.window_ is not None:
            return average_windows(rows, self.window_, self._denoise_learned)
        return self._denoise_learned(rows)

    def _denoise_learned(self, rows: Floats) -> Floats:
        """Denoise rows, or windows, as long as those that were learned from."""
        scores = self._project(rows)[1]
        clean = sum(
            share * mixture.denoise(scores)
            for share, mixture in zip(self._shares_, self._mixtures_, strict=True)
        )
        denoised: Floats = self._center_ + _restore_unit(clean @ self._axes_, self._unit_)
        return denoised

    def _project(self, stabilized: Floats) -> tuple[Floats, Floats]:
        """Return rows in units of the noise, and their scores on the axes."""
        standardized = _standardize(stabilized - self._center_, self._unit_)
        return standardized, standardized @ self._axes_.T

    def _stabilize(self, noisy: NDArray[Any]) -> Floats:
        rows = noisy.astype(np.float64)
        model = self.noise_model_
        if model is None or model.kind != "counts":
            return rows
        stable: Floats = generalised_anscombe(rows, model.gain, model.read_noise, model.offset)
        return stable

    def _destabilize(self, rows: Floats) -> Floats:
        model = self.noise_model_
        if model is None or model.kind != "counts":
            return rows
        clean: Floats = invert_generalised_anscombe(rows, model.gain, model.read_noise, model.offset)
        return clean

    def _estimate_risk(self, noisy: NDArray[Any]) -> Floats:
        """Return Stein's estimate of the mean squared error of each row in a score."""
        # Windows have a noise model.
        if self.window_ is not None and self.noise_model_ is not None:
            rows = noisy.astype(np.float64)
            variances = np.broadcast_to(self.noise_model_.variance(self._denoise_rows(rows)), rows.shape)
            return estimate_window_risk(rows, variances, self._denoise_rows)
        standardized, scores = self._project(self._stabilize(noisy))
        weights = 1.0 if (gains := self._gains()) is None else gains**2
        gram = (
            self._unit_**2 * weights
            if self._unit_.ndim == 1
            else self._unit_.T @ (np.broadcast_to(weights, len(self._unit_))[:, None] * self._unit_)
        )
        on_axes = self._axes_ @ (gram[:, None] * self._axes_.T if gram.ndim == 1 else gram @ self._axes_.T)
        total = float(gram.sum() if gram.ndim == 1 else np.trace(gram))
        change, divergence = np.zeros_like(scores), np.zeros(len(scores))
        for share, mixture in zip(self._shares_, self._mixtures_, strict=True):
            shift, trace = mixture.shift_and_divergence(scores, on_axes)
            change, divergence = change + share * shift, divergence + share * trace
        # Beside the axes the prediction is the mean: the shift is the row, and its divergence is -1.
        residual = (standardized - scores @ self._axes_) - change @ self._axes_
        divergence = divergence - (total - float(np.trace(on_axes)))
        squares = residual**2 @ gram if gram.ndim == 1 else np.sum(residual @ gram * residual, axis=1)
        risks: Floats = (total + squares + 2 * divergence) / noisy.shape[1]
        return risks


# Mixtures -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mixture:
    """Mixture of Gaussian distributions of clean rows, for noise of variance 1.

    Attributes
    ----------
    log_weights : ndarray of shape (n_components,)
        Logarithms of the shares of the components.
    means : ndarray of shape (n_components, n_axes)
        Means.
    bases : ndarray of shape (n_components, n_axes, n_axes)
        Eigenvectors of the covariances, in columns.
    variances : ndarray of shape (n_components, n_axes)
        Eigenvalues of the covariances.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "log_weights": Rule(
            lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 1 and len(v) >= 1,
            "an array of numbers",
        ),
        "means": Rule(
            lambda v, m: is_numeric_array(v, np.shape(v)) and v.ndim == 2 and len(v) == len(m.log_weights),
            "a mean for each component",
        ),
        "bases": Rule(
            lambda v, m: is_numeric_array(v, (*m.means.shape, m.means.shape[1])), "a basis for each component"
        ),
        "variances": Rule(
            lambda v, m: is_nonnegative_array(v, m.means.shape), "variances for each component"
        ),
    }
    log_weights: Floats
    means: Floats
    bases: Floats
    variances: Floats

    def respond(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return responsibilities, shifts of each component, and log-likelihoods.

        The shapes are (n_components, n), (n_components, n, n_axes) and (n,). The shift is the output of the
        Wiener filter of a component less the row, which is the gradient of its log-density.
        """
        n_components, n = len(self.log_weights), len(rows)
        logs, shifts = np.empty((n_components, n)), np.empty((n_components, *rows.shape))
        for k in range(n_components):
            total = self.variances[k] + 1
            scores = (rows - self.means[k]) @ self.bases[k]
            logs[k] = self.log_weights[k] - (scores**2 @ (1 / total) + np.log(total).sum()) / 2
            shifts[k] = -(scores / total) @ self.bases[k].T
        likelihoods = logsumexp(logs, axis=0)
        return np.exp(logs - likelihoods), shifts, likelihoods

    def denoise(self, rows: Floats) -> Floats:
        """Return the expected clean rows."""
        shares, shifts, _ = self.respond(rows)
        denoised: Floats = rows + np.einsum("kn,kna->na", shares, shifts)
        return denoised

    def shift_and_divergence(self, rows: Floats, gram: Floats | None = None) -> tuple[Floats, Floats]:
        """Return denoised less noisy rows, and the divergence of this for each row.

        Parameters
        ----------
        rows : ndarray of shape (n, n_axes)
            Noisy rows.
        gram : ndarray of shape (n_axes, n_axes), optional
            Metric of the divergence; None for the identity.
        """
        shares, shifts, _ = self.respond(rows)
        shift: Floats = np.einsum("kn,kna->na", shares, shifts)
        metric = np.eye(rows.shape[1]) if gram is None else gram
        traces = np.einsum(
            "kab,ac,kcb,kb->k", self.bases, metric, self.bases, 1 / (self.variances + 1), optimize=True
        )
        squares = np.einsum("kna,kna->kn", shifts @ metric, shifts)
        divergence = np.sum(shares * (squares - traces[:, None]), axis=0)
        return shift, divergence - np.sum(shift @ metric * shift, axis=1)


@dataclass(frozen=True)
class _TrainingRows:
    """Rows that mixtures are fitted to, on the axes with more variance than the noise.

    Attributes
    ----------
    rows : ndarray of shape (n, n_axes)
        Centered rows on the axes.
    weights : ndarray of shape (n,)
        Number of samples that each row stands for.
    center : ndarray of shape (n_features,)
        Mean of the rows before they were centered.
    axes : ndarray of shape (n_axes, n_features)
        Axes, from the largest to the smallest variance.
    variances : ndarray of shape (n_axes,)
        Clean variances along the axes.
    noise : ndarray of shape (n_axes,)
        Noise variances of these rows along the axes, at least 1: the axes follow the noise of their rows.
    """

    rows: Floats
    weights: Floats
    center: Floats
    axes: Floats
    variances: Floats
    noise: Floats

    @classmethod
    def of(cls, standardized: Floats, weights: Floats) -> Self:
        """Project rows in units of the noise on their principal axes."""
        center = np.average(standardized, axis=0, weights=weights)
        centered = standardized - center
        totals, axes = _principal_axes(centered, weights)
        variances = _held_out_variances(standardized, weights, len(axes))
        # At least one axis, so that no array is empty.
        n_axes = int(np.clip(np.count_nonzero(variances > 0), 1, MAX_AXES))
        axes, variances = np.ascontiguousarray(axes[:n_axes]), variances[:n_axes]
        # Beyond the edge of noise, the difference is that of a signal in few rows.
        edge = (1 + np.sqrt(centered.shape[1] / weights.sum())) ** 2
        noise = np.clip(totals[:n_axes] - variances, 1.0, edge)
        return cls(centered @ axes.T, weights, center, axes, variances, noise)


@dataclass(frozen=True)
class _Task:
    """A fit of mixtures.

    Attributes
    ----------
    rows : ndarray of shape (n, n_features)
        Different rows in units of the noise, in an order that depends on their values alone.
    weights : ndarray of shape (n,)
        Number of samples that each row stands for.
    max_iter : int
        Largest number of steps of EM.
    tol : float
        Relative increase of the log-likelihood at which the steps end.
    seed : int
        Seed of all starts.
    """

    rows: Floats
    weights: Floats
    max_iter: int
    tol: float
    seed: int

    def fit_mixture(
        self, training: _TrainingRows, n_components: int, shrinkage: float, path: tuple[int, ...]
    ) -> tuple[_Mixture, int]:
        """Return a mixture for training rows, and the number of steps of EM."""
        rng = np.random.default_rng(stream_seed(self.seed, "mixture", *path))
        shares = self._start(training, n_components, rng)
        likelihood = -np.inf
        for step in range(self.max_iter):
            mixture = self._maximize(training, shares, shrinkage)
            if step + 1 == self.max_iter or len(mixture.log_weights) == 1:
                break
            responsibilities, _, likelihoods = mixture.respond(training.rows)
            shares = responsibilities * training.weights
            before, likelihood = likelihood, float(np.average(likelihoods, weights=training.weights))
            if likelihood - before <= self.tol * abs(likelihood):
                break
        return mixture, step + 1

    def _start(self, training: _TrainingRows, n_components: int, rng: np.random.Generator) -> Floats:
        """Return shares of the rows in components, from k-means of filtered rows."""
        rows, weights = training.rows, training.weights
        filtered = rows * (training.variances / (training.variances + 1))
        places = np.searchsorted(np.cumsum(weights), rng.random(n_components) * weights.sum())
        centers = filtered[np.unique(np.minimum(places, len(rows) - 1))]
        for _ in range(KMEANS_STEPS):
            distances = np.sum(centers**2, axis=1) - 2 * filtered @ centers.T
            shares = np.zeros((len(centers), len(rows)))
            shares[distances.argmin(axis=1), np.arange(len(rows))] = weights
            shares = shares[shares.any(axis=1)]
            centers = shares @ filtered / shares.sum(axis=1)[:, None]
        return shares

    def _maximize(self, training: _TrainingRows, shares: Floats, shrinkage: float) -> _Mixture:
        """Return the mixture for given shares of the rows in the components."""
        rows = training.rows
        counts = shares.sum(axis=1)
        # A component that lost its rows has no covariance.
        shares, counts = shares[counts > 1e-6], counts[counts > 1e-6]
        means = shares @ rows / counts[:, None]
        scatters = np.stack([_scatter(rows - mean, share) for mean, share in zip(means, shares, strict=True)])
        pooled = scatters.sum(axis=0) / counts.sum()
        totals = (scatters + shrinkage * pooled) / (counts + shrinkage)[:, None, None]
        eigenvalues, bases = np.linalg.eigh(totals - np.diag(training.noise))
        variances = np.maximum(eigenvalues, 0.0)
        if len(counts) > 1:
            totals = np.einsum("kab,kb,kcb->kac", bases, variances + 1, bases, optimize=True)
            spread = MEAN_SPREAD * np.diag(training.variances)
            errors = totals / counts[:, None, None]
            means = np.linalg.solve(spread + errors, means[:, :, None])[:, :, 0] @ spread
        return _Mixture(np.log(counts / counts.sum()), means, bases, variances)

    def select(self, candidates: list[tuple[int, float]], n_init: int, verbose: bool) -> list[int]:
        """Return the number of starts of each candidate in the average.

        Candidates predict held-out rows. Those whose average has the least risk by SURE are added one by one.
        """
        if len(candidates) == 1:
            return [n_init]
        risks = self._measure_risks(candidates)
        if verbose:
            for (count, shrinkage), risk in zip(candidates, risks.of_single_starts(), strict=True):
                print(
                    f"[WienerMixtureDenoiser] {count} components, shrinkage {shrinkage:g}: {risk:.4f} of the "
                    "noise variance remain on held-out rows"
                )
        counts = np.zeros(len(candidates), dtype=int)
        for _ in range(n_init):
            counts[int(risks.of_averages(counts + np.eye(len(candidates))).argmin())] += 1
        return [int(count) for count in counts]

    def _measure_risks(self, candidates: list[tuple[int, float]]) -> _Risks:
        """Return the risks of candidates on held-out rows."""
        rng = np.random.default_rng(stream_seed(self.seed, "folds"))
        chosen = np.arange(len(self.rows))
        if len(chosen) > MAX_COMPARED_ROWS:
            chosen = np.sort(rng.choice(chosen, MAX_COMPARED_ROWS, replace=False))
        compared, compared_weights = self.rows[chosen], self.weights[chosen]
        folds = rng.permutation(len(compared)) % N_FOLDS
        n = len(candidates)
        products, scatters, divergences, constant = np.zeros((n, n)), np.zeros(n), np.zeros(n), 0.0
        for fold in range(N_FOLDS):
            # Axes of all rows would follow the noise of the held-out ones, which then looks like a signal.
            training = _TrainingRows.of(compared[folds != fold], compared_weights[folds != fold])
            centered, weights = compared[folds == fold] - training.center, compared_weights[folds == fold]
            rows = centered @ training.axes.T
            # Beside the axes the prediction is the mean: the shift is the negative row, its divergence is -1.
            beside = np.sum(centered**2, axis=1) - np.sum(rows**2, axis=1)
            constant += float(weights @ beside) + weights.sum() * (2 * len(training.axes) - centered.shape[1])
            means = np.empty((n, rows.size))
            for number, candidate in enumerate(candidates):
                # A single component has no random start.
                n_starts = 1 if candidate[0] == 1 else N_STARTS
                starts = [
                    self.fit_mixture(training, *candidate, (fold, number, start))[0]
                    for start in range(n_starts)
                ]
                parts = [mixture.shift_and_divergence(rows) for mixture in starts]
                shifts = np.stack([part[0] * np.sqrt(weights)[:, None] for part in parts])
                means[number] = shifts.mean(axis=0).reshape(-1)
                scatters[number] += np.sum((shifts - shifts.mean(axis=0)) ** 2) / max(n_starts - 1, 1)
                divergences[number] += weights @ np.mean([part[1] for part in parts], axis=0)
            products += means @ means.T
        # The mean of a number of starts holds a share of their scatter.
        products -= np.diag(scatters / N_STARTS)
        scale = 1 / (compared_weights.sum() * compared.shape[1])
        return _Risks(scale * products, scale * scatters, scale * divergences, scale * constant)


@dataclass(frozen=True)
class _Risks:
    """Risks of averages of candidates by SURE, as shares of the noise variance.

    Attributes
    ----------
    products : ndarray of shape (n, n)
        Products of the shifts of candidates, each averaged over all possible starts.
    scatters : ndarray of shape (n,)
        Variances of the shift of a single start, summed over the rows.
    divergences : ndarray of shape (n,)
        Divergences of the shifts.
    constant : float
        Risk of no shift along the axes.
    """

    products: Floats
    scatters: Floats
    divergences: Floats
    constant: float

    def of_single_starts(self) -> Floats:
        """Return the risk of each candidate, with a single start."""
        return self.of_averages(np.eye(len(self.scatters)))

    def of_averages(self, counts: Floats) -> Floats:
        """Return the risk of averages, each with numbers of starts in a row of counts."""
        shares = counts / counts.sum(axis=1, keepdims=True)
        squares = np.einsum("ij,jk,ik->i", shares, self.products, shares)
        # Starts are independent: their scatter falls with their number.
        scatter = shares / counts.sum(axis=1, keepdims=True) @ self.scatters
        risks: Floats = squares + scatter + 2 * shares @ self.divergences + self.constant
        return risks


def _scatter(rows: Floats, weights: Floats) -> Floats:
    """Return the weighted sum of the outer products of rows."""
    some = np.flatnonzero(weights > 1e-9)
    scaled = rows[some] * np.sqrt(weights[some])[:, None]
    scatter: Floats = scaled.T @ scaled
    return scatter


def _merge_equal_rows(rows: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return different rows with the sums of their weights, sorted.

    Their order does not depend on that of the samples, and a sample of weight 2 equals two samples.
    """
    rows = np.ascontiguousarray(rows)
    keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).reshape(-1)
    order = np.argsort(keys, kind="stable")
    rows, weights = rows[order], weights[order]
    is_first = np.append(True, np.any(rows[1:] != rows[:-1], axis=1))
    return rows[is_first], np.add.reduceat(weights, np.flatnonzero(is_first)).astype(np.float64)


def _principal_axes(centered: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return variances of noisy rows and their axes, from the largest to the smallest."""
    n, p = centered.shape
    if n == 1:
        return np.zeros(1), np.eye(1, p)
    scaled = centered * np.sqrt(weights / max(weights.sum() - 1, 1e-9))[:, None]
    if p <= n:
        variances, vectors = np.linalg.eigh(scaled.T @ scaled)
        return variances[::-1], vectors.T[::-1]
    variances, vectors = np.linalg.eigh(scaled @ scaled.T)
    # The mean takes one dimension, so that the last axis has no variance.
    variances, vectors = variances[:0:-1], vectors.T[:0:-1]
    return variances, vectors @ scaled / np.sqrt(np.maximum(variances, 1e-300))[:, None]


def _held_out_variances(rows: Floats, weights: Floats, n_axes: int) -> Floats:
    """Return clean variances along principal axes, by rows that did not shape them.

    Rows have a greater variance along their own axes than others have, since the axes follow their noise.
    """
    n_folds = min(N_AXES_FOLDS if min(rows.shape) <= MAX_REPEATED else 2, len(rows))
    folds = np.random.default_rng(0).permutation(len(rows)) % max(n_folds, 1)
    powers = np.zeros(n_axes)
    for fold in range(n_folds):
        is_other = folds != fold
        if is_other.sum() < 2:
            continue
        center = np.average(rows[is_other], axis=0, weights=weights[is_other])
        _, axes = _principal_axes(rows[is_other] - center, weights[is_other])
        axes = axes[:n_axes]
        # The center of the other rows has an error too.
        share = 1 + 1 / weights[is_other].sum()
        held_out = weights[~is_other] @ (((rows[~is_other] - center) @ axes.T) ** 2 / share - 1)
        powers[: len(axes)] += held_out
    variances: Floats = IsotonicRegression(increasing=False).fit_transform(
        np.arange(n_axes), powers / weights.sum()
    )
    return np.maximum(variances, 0.0)


def _root_of_covariance(noise: Any, n_features: int) -> Floats:
    """Return a square root of a covariance matrix, for products with its transpose."""
    covariance = np.asarray(noise, dtype=np.float64)
    if covariance.shape != (n_features, n_features) or not np.isfinite(covariance).all():
        raise ValueError(
            f"noise must be one standard deviation, one for each column ({n_features}), or a finite "
            f"covariance matrix of shape ({n_features}, {n_features}); got an array of shape "
            f"{covariance.shape}."
        )
    variances, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    is_symmetric = np.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-8 * np.abs(covariance).max())
    if not is_symmetric or variances[-1] <= 0 or variances[0] < -1e-6 * variances[-1]:
        raise ValueError(
            "noise of two axes must be the covariance matrix of the noise: symmetric, and without negative "
            "eigenvalues. The standard deviations of single entries are not supported."
        )
    # Directions without noise get very little of it.
    root: Floats = vectors * np.sqrt(np.maximum(variances, MIN_RELATIVE_NOISE**2 * variances[-1]))
    return root


def _standardize(rows: Floats, unit: Floats) -> Floats:
    standardized: Floats = rows / unit if unit.ndim == 1 else np.asarray(np.linalg.solve(unit, rows.T).T)
    return standardized


def _restore_unit(rows: Floats, unit: Floats) -> Floats:
    return rows * unit if unit.ndim == 1 else rows @ unit.T


def _chunks(rows: NDArray[Any]) -> list[NDArray[Any]]:
    return [rows[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS)]


def _are_choices(value: Any) -> bool:
    return type(value) is list and all(type(choice) is tuple and len(choice) == 3 for choice in value)
