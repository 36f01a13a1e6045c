"""Scorers for model selection on noisy data alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from sk_denoise._compat import to_numpy
from sk_denoise._noise_model import NoiseModel
from sk_denoise._validation import (
    Noiser,
    Scorer,
    check_choice,
    check_one_of,
    check_sample_weight,
    refuse_lazy,
)
from sk_denoise.metrics._metrics import check_data_range, find_column_gains, is_table
from sk_denoise.metrics._quality import (
    NoisyData,
    Parts,
    denoise_parts,
    estimate_risk,
    noisy_data_range,
    refuse_added_noise,
    resolve_known_noise,
)
from sk_denoise.metrics._scorers import takes_images

__all__ = ["blind_error", "expected_psnr", "make_self_supervised_scorer"]

METHODS = ("sure", "blind")
# Spacing of hidden pixels in an image, whose neighbours are visible, and number of masks.
SPACING, N_MASKS = 4, 4
# Number of groups of columns, which are hidden one after the other. A ridge regression on some rows predicts
# them in other rows, with one of these penalties, relative to the number of rows.
N_GROUPS, N_FOLDS, MIN_ROWS, ALPHAS = 4, 3, 10, (0.03, 0.1, 0.3)
# Number of directions of the derivative, the same for every candidate.
N_PROBES = 2


def make_self_supervised_scorer(
    method: str = "sure",
    noise: float | NDArray[Any] | NoiseModel | Noiser | str | None = None,
    data_range: float | None = None,
    *,
    units: Literal["auto", "scaled", "data"] = "auto",
) -> Callable[..., float]:
    """Make a scorer of denoisers for searches on noisy data alone.

    Parameters
    ----------
    method : {"sure", "blind"}, default="sure"
        "sure" is the expected PSNR in dB, for known noise, see :func:`estimate_quality`. "blind" needs no
        noise level: it hides some entries, predicts them from the others, and compares the prediction with
        the noisy numbers. Its score is minus the mean squared error, which holds the noise too.
    noise : float, array-like, NoiseModel, noiser or "auto", optional
        The noise in the data, for "sure": as in :func:`estimate_quality`.
    data_range : float, optional
        Data range of the PSNR of "sure". By default black to white of noisy images, and for rows the range of
        the noisy numbers without a thousandth at either end. It does not change the order of the candidates.
        In the unit of the data, or in spreads for ``units="scaled"``.
    units : {"auto", "scaled", "data"}, default="auto"
        Unit of errors, as in :func:`make_denoising_scorer`: for "scaled" the spread of each column of the
        noisy fold. "auto" takes it for the rows of a table without ``data_range``, unless the noise is of
        counts.

    Returns
    -------
    callable
        ``scorer(estimator, X, y=None, sample_weight=None) -> float``, for ``scoring=`` of searches and
        cross-validation; greater is better. X is the noisy fold, y is ignored. All candidates have the same
        probes and the same masks.

    Raises
    ------
    ValueError
        If the method is unknown, if "sure" has no noise or "blind" has one. When called: if the noise has no
        estimate of the error, see :func:`estimate_quality`, or if the estimator adds noise.

    See Also
    --------
    make_denoising_scorer : For clean data.
    estimate_quality : The quality of one denoiser, with an interval.

    Notes
    -----
    "sure" scores denoisers as they are, and is better wherever the noise level is known. "blind" scores them
    on data with hidden entries, and the noise of these must be independent of that of the others. In images,
    one pixel of each 4 x 4 is replaced by the mean of its neighbours. In rows, a quarter of the columns is
    replaced by a linear prediction from the other columns, or by the mean of its neighbours if that is
    better, as in signals. Where columns do not predict each other, no blind score tells noise from signal:
    it then prefers denoisers that remove too much.

    References
    ----------
    C. Stein, "Estimation of the mean of a multivariate normal distribution", Annals of Statistics 9 (1981);
    J. Batson and L. Royer, "Noise2Self: blind denoising by self-supervision", ICML (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sk_denoise import make_self_supervised_scorer
    >>> X = load_digits().data / 16
    >>> noisy = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
    >>> scorer = make_self_supervised_scorer("sure", noise=0.25)
    >>> search = GridSearchCV(PCA(), {"n_components": [2, 15, 60]}, scoring=scorer, cv=3).fit(noisy)
    >>> search.best_params_
    {'n_components': 15}
    """
    check_one_of(method, dict.fromkeys(METHODS), "method")
    if method == "sure" and noise is None:
        raise ValueError(
            'method="sure" needs the noise in the data: pass noise=, such as its standard deviation, or '
            'method="blind", which needs none.'
        )
    if method == "blind" and (noise is not None or data_range is not None):
        raise ValueError('method="blind" takes neither noise nor data_range: its score is a squared error.')
    if data_range is not None:
        check_data_range(data_range)
    check_choice(units, "units", "auto", "scaled", "data")
    return _SelfSupervisedScorer(method, noise, data_range, units)


# Scorers compare by identity, as those of scikit-learn do.
@dataclass(eq=False)
class _SelfSupervisedScorer(Scorer):
    # PCA and the like do not predict, and searches with several scorers check this method.
    _response_method: ClassVar[str] = "fit"

    method: str
    noise: Any
    data_range: float | None
    units: Literal["auto", "scaled", "data"]

    def score(self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        refuse_added_noise(estimator)
        refuse_lazy(X)
        if sample_weight is not None:
            X = _select(X, check_sample_weight(sample_weight, X))
        # Signals of different lengths are images of height 1.
        convert = getattr(getattr(estimator, "best_estimator_", estimator), "_convert_to_images", None)
        if convert is not None and isinstance(X, list | tuple):
            X = convert(X)
        is_automatic = self.units == "auto" and self.data_range is None
        gains = None
        if self.units == "scaled" or (is_automatic and _has_columns(estimator, X, are_table=True)):
            gains = self._find_gains(estimator, X)
        if self.method == "blind":
            return -blind_error(estimator, X, gains)
        return expected_psnr(estimator, X, self.noise, self.data_range, gains=gains)

    def _find_gains(self, estimator: Any, X: Any) -> NDArray[np.float64] | None:
        """Return the factors of the errors of columns; None if all are constant."""
        if not _has_columns(estimator, X):
            raise ValueError('units="scaled" scales the columns of a table, and X holds images.')
        rows = NoisyData.of(X, estimator, "X").parts[0]
        gains = find_column_gains(rows, 1.0 if self.method == "blind" else self.data_range)
        return gains if gains.any() else None


def _has_columns(estimator: Any, X: Any, *, are_table: bool = False) -> bool:
    """Return whether X holds rows with columns; with ``are_table``, those of a table."""
    last = getattr(estimator, "best_estimator_", estimator)
    last = last[-1] if isinstance(last, Pipeline) else last
    rows = to_numpy(X)
    if getattr(rows, "ndim", 2) != 2 or getattr(last, "image_shape_", None) is not None or takes_images(last):
        return False
    rows = np.asarray(rows)
    return rows.ndim == 2 and (not are_table or is_table(rows, are_noisy=True))


def expected_psnr(
    denoiser: Any,
    X: Any,
    noise: Any,
    data_range: float | None = None,
    *,
    gains: NDArray[np.float64] | None = None,
    sample_weight: Any = None,
) -> float:
    """Return the expected PSNR in dB, with the same probes for every denoiser.

    With ``gains``, errors are shares of the data range of their column. Noise of counts has one unit, and
    takes none.
    """
    if sample_weight is not None:
        X = _select(X, check_sample_weight(sample_weight, X))
    data = NoisyData.of(X, denoiser, "X")
    known = resolve_known_noise(noise, data)
    prediction = denoise_parts(denoiser, data)
    gains = None if known.gain else gains
    # The same probes for every candidate, so that their errors have the same sign.
    rng = np.random.default_rng(0)
    risk = estimate_risk(denoiser, data, prediction, known, n_probes=N_PROBES, rng=rng, gains=gains)
    if gains is not None:
        return risk.to_psnr(1.0)
    return risk.to_psnr(noisy_data_range(data, known.model.sigma) if data_range is None else data_range)


def blind_error(denoiser: Any, X: Any, gains: NDArray[np.float64] | None = None) -> float:
    """Return the mean squared error of the prediction of hidden entries.

    Parameters
    ----------
    denoiser : estimator or callable
        Denoiser, as in :func:`estimate_quality`.
    X : array-like of shape (n_samples, ...) or list of array-like
        Noisy data.
    gains : ndarray of shape (n_features,), optional
        Factors of the errors of columns.
    """
    data = NoisyData.of(X, denoiser, "X")
    total, count = 0.0, 0
    for hidden, replaced in _iterate_masks(data):
        prediction = denoise_parts(denoiser, data, replaced)
        for mask, f, part in zip(hidden, prediction, data.parts, strict=True):
            errors = f - part if gains is None else gains * (f - part)
            total += float(np.square(errors)[mask].sum())
            count += int(mask.sum())
    return total / count


# Hidden entries -----------------------------------------------------------------------------------------


def _iterate_masks(data: NoisyData) -> Iterator[tuple[list[NDArray[np.bool_]], Parts]]:
    """Yield hidden entries, and the data with replacements for them."""
    if not data.is_list and data.parts[0].ndim == 2:
        yield from _hide_columns(data.parts[0])
        return
    for number in range(N_MASKS):
        # Both diagonals of the cells of the grid.
        row, column = number, (number * 2 + number // 2) % SPACING
        hidden, replaced = [], []
        for part in data.parts:
            stack = part[None] if data.is_list else part
            height, width = stack.shape[1:3]
            mask = np.zeros(stack.shape, bool)
            mask[:, row % min(SPACING, height) :: SPACING, column % min(SPACING, width) :: SPACING] = True
            means = _neighbour_means(stack, axes=(1, 2))
            hidden.append(mask.reshape(part.shape))
            replaced.append(np.where(mask, means, stack).reshape(part.shape))
        yield hidden, replaced


def _neighbour_means(array: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the mean of the next entries along axes, without the entry itself."""
    total, count = np.zeros_like(array), np.zeros_like(array)
    for axis in axes:
        before = [slice(None)] * array.ndim
        after = list(before)
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        for place, neighbour in ((before, after), (after, before)):
            total[tuple(place)] += array[tuple(neighbour)]
            count[tuple(place)] += 1
    # A single pixel has no neighbours.
    return np.where(count > 0, total / np.maximum(count, 1), array.mean())


def _hide_columns(rows: NDArray[np.float64]) -> Iterator[tuple[list[NDArray[np.bool_]], Parts]]:
    """Yield a quarter of the columns as hidden, and a prediction in their place."""
    n_columns = rows.shape[1]
    if n_columns < 2:
        raise ValueError('method="blind" predicts columns from other columns, and X has a single one.')
    # Related columns of tables often stand in a regular order, which regular groups would hide together.
    mixed = np.random.default_rng(0).permutation(n_columns) % N_GROUPS
    regular = np.arange(n_columns) % N_GROUPS
    choices = [(regular, _neighbour_means(rows, axes=(1,)))]
    if len(rows) >= MIN_ROWS:
        choices += [(mixed, _predict_columns(rows, mixed, alpha)) for alpha in ALPHAS]
    # The noise of a hidden entry is independent of its prediction, so the smallest error is the best one.
    groups, best = min(choices, key=lambda choice: float(np.square(choice[1] - rows).mean()))
    for group in range(min(N_GROUPS, n_columns)):
        mask = np.broadcast_to(groups == group, rows.shape)
        yield [mask], [np.where(mask, best, rows)]


def _predict_columns(
    rows: NDArray[np.float64], groups: NDArray[np.int_], alpha: float
) -> NDArray[np.float64]:
    """Predict each group of columns from the others, for held-out rows."""
    predictions = np.empty_like(rows)
    spread = rows.std(axis=0)
    unit = np.where(spread > 0, spread, 1.0)
    scaled = rows / unit
    folds = np.arange(len(rows)) % N_FOLDS
    for group in range(min(N_GROUPS, rows.shape[1])):
        hidden = groups == group
        for fold in range(N_FOLDS):
            test = folds == fold
            known, target = scaled[~test][:, ~hidden], scaled[~test][:, hidden]
            ridge = Ridge(alpha=alpha * len(known)).fit(known, target)
            place = np.ix_(test, hidden)
            predictions[place] = ridge.predict(scaled[test][:, ~hidden]).reshape(predictions[place].shape)
    return predictions * unit


def _select(X: Any, weights: NDArray[Any] | None) -> Any:
    """Return the samples with a weight above 0, or refuse other weights."""
    if weights is None:
        return X
    if len(set(weights[weights > 0].tolist())) > 1:
        raise ValueError("Scores without the truth have no sample weights, except for 0 and 1.")
    chosen = np.flatnonzero(weights > 0)
    return [X[i] for i in chosen] if isinstance(X, list | tuple) else _safe_indexing(X, chosen)
