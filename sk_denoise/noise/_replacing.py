"""Noise that replaces some of the values."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

from sk_denoise._scaling import iterate_chunks
from sk_denoise._schema import ENTRY_NUMBERS, Rule, is_numeric_array
from sk_denoise._validation import StrOptions
from sk_denoise.noise._base import (
    COLUMN_NUMBERS,
    COLUMN_STRENGTH,
    FITTED_COLUMNS,
    STRENGTH,
    BaseNoiser,
    ImageNoiser,
    as_strength,
    check_bounds,
    check_strength,
    count_noisy_columns,
    is_by_column,
    warn_of_other_limits,
)
from sk_denoise.noise._corruptions import (
    copy_masks,
    mask_entries,
    replace_pixels,
    salt_and_pepper,
    swap_entries,
)

__all__ = ["CopiedMaskNoiser", "MaskingNoiser", "PixelNoiser", "SaltAndPepperNoiser", "SwapNoiser"]

PIXEL_VALUES = ("noise", "black", "white", "black and white")
# Share of values that copied masks hide if there is no gap to copy, as that of MaskingNoiser.
COMPLETE_FRACTION = 0.25
# Types of the parameter limits; check_bounds checks the numbers.
LIMITS = [tuple, list, StrOptions({"auto"})]
FITTED_LIMITS = Rule(
    lambda v, noiser: (
        is_numeric_array(v, (2,), (2, count_noisy_columns(noiser))) and bool((v[0] <= v[1]).all())
    ),
    "two limits for all, or for each feature",
    after_others=True,
)
# Rows from which columns of zeros and ones count as a block: fewer sum to one by chance.
MIN_BLOCK_ROWS = 10
# Rows that are read first, so that most columns are ruled out soon.
SAMPLED_ROWS = 1000
# Types of the parameter blocks.
BLOCKS = [StrOptions({"auto"}), list, tuple, None]


def _learn_limits(clean: torch.Tensor, limits: Any) -> NDArray[Any]:
    """Return the smallest and largest value, by column or of all pixels."""
    if not isinstance(limits, str):
        return np.asarray(limits, dtype=np.float64)
    # Columns of a table have units of their own; the pixels of images share one.
    if clean.ndim == 2:
        return np.stack([clean.amin(0).numpy(), clean.amax(0).numpy()])
    return np.stack([clean.min().numpy(), clean.max().numpy()])


def find_blocks(table: torch.Tensor) -> list[list[int]]:
    """Return the blocks of a one-hot encoding in a table.

    A block is two or more neighbouring columns of zeros and ones with a single one in each row. Ten rows at
    least are needed, because columns of few rows sum to one by chance.

    Parameters
    ----------
    table : Tensor of shape (n_samples, n_columns)
        Rows, most of them without a one-hot encoding at all.

    Returns
    -------
    list of lists of int
        Indices of the columns of each block.

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.noise import find_blocks
    >>> colours = torch.eye(3)[torch.arange(30) % 3]
    >>> find_blocks(torch.cat([torch.rand(30, 2), colours], dim=1))
    [[2, 3, 4]]
    """
    if len(table) < MIN_BLOCK_ROWS:
        return []
    # A few rows rule most columns out.
    some = table[:: -(-len(table) // SAMPLED_ROWS)]
    is_binary = ((some == 0) | (some == 1)).all(0).tolist()
    blocks: list[list[int]] = []
    start = 0
    while start < len(is_binary):
        end = _end_of_block(table, some, is_binary, start)
        if end > start:
            blocks.append([*range(start, end)])
        start = max(end, start + 1)
    return blocks


def _end_of_block(table: torch.Tensor, some: torch.Tensor, is_binary: list[bool], start: int) -> int:
    """Return the end of the block that begins with a column, or 0."""
    sums = torch.zeros(len(some), dtype=table.dtype)
    for end in range(start, len(is_binary)):
        sums = sums + some[:, end]
        if not is_binary[end] or bool((sums > 1).any()):
            return 0
        # Categories that only rows outside of the sample have may follow.
        if end > start and bool((sums == 1).all()) and _is_block(table[:, start : end + 1]):
            return end + 1
    return 0


def _is_block(columns: torch.Tensor) -> bool:
    """Return whether each row has a single one, in more than one column."""
    has_ones = torch.zeros(columns.shape[1], dtype=torch.bool)
    for part in iterate_chunks(columns):
        if not bool(((part == 0) | (part == 1)).all() & (part.sum(1) == 1).all()):
            return False
        has_ones |= part.any(0)
    return int(has_ones.sum()) > 1


def _learn_blocks(noiser: Any, clean: torch.Tensor) -> list[list[int]]:
    """Return the columns that are corrupted together, as indices of columns of X."""
    given = noiser.blocks
    if given is None or (isinstance(given, str) and clean.ndim != 2):
        return []
    columns = _noisy_columns(noiser)
    if isinstance(given, str):
        blocks = [columns[block].tolist() for block in find_blocks(clean)]
    else:
        blocks = noiser.blocks_
    together = [column for block in blocks for column in block]
    if len(set(together)) < len(together):
        raise ValueError(f"blocks={given!r} has a column in two blocks. A column belongs to one.")
    outside = sorted(set(together) - set(columns.tolist()))
    if outside:
        raise ValueError(
            f"blocks={given!r} has the columns {outside}, which columns={noiser.columns!r} leaves out. Name "
            "all columns of a block, or none of them."
        )
    if is_by_column(noiser.fraction):
        strength_of = dict(zip(columns.tolist(), noiser.fraction, strict=True))
        for block in blocks:
            if len({strength_of[column] for column in block}) > 1:
                raise ValueError(
                    f"fraction has several strengths for the columns {block}, which are a block and are "
                    "corrupted together. Give them one strength, or blocks=None."
                )
    return blocks


def _noisy_columns(noiser: Any) -> NDArray[np.intp]:
    columns = getattr(noiser, "columns_", None)
    return np.arange(noiser.n_features_in_) if columns is None else columns


def _groups_of(noiser: Any, x: torch.Tensor) -> torch.Tensor | None:
    """Return the number of the group of each noisy column; None without blocks."""
    blocks = getattr(noiser, "blocks_", None)
    if not blocks:
        return None
    columns = _noisy_columns(noiser).tolist()
    first = {column: block[0] for block in blocks for column in block}
    place = {column: number for number, column in enumerate(columns)}
    leaders = torch.tensor([place[first.get(column, column)] for column in columns])
    groups: torch.Tensor = leaders.unique(return_inverse=True)[1]
    return groups


def _are_blocks(value: Any, noiser: Any) -> bool:
    if type(value) is not list or not all(type(block) is list for block in value):
        return False
    together = [column for block in value for column in block]
    if together and len(noiser._sample_shape_) != 1:
        return False
    known = {*_noisy_columns(noiser).tolist()}
    return all(type(c) is int and c in known for c in together) and len(set(together)) == len(together)


FITTED_BLOCKS = Rule(_are_blocks, "lists of columns that get noise", required=False, after_others=True)


class SaltAndPepperNoiser(BaseNoiser):
    """Set random values to the minimum or maximum, in training only.

    The noise of dead and hot pixels, lost bits and dust. Each value is replaced independently;
    :class:`~sk_denoise.PixelNoiser` replaces all channels of a pixel together.

    Parameters
    ----------
    amount : float, pair of float or array-like of shape (n_columns,), default=0.05
        Probability that a value is replaced, from 0 to 1. A tuple ``(low, high)`` draws one uniformly for
        each sample, an array or a list holds one for each column, as in :class:`~sk_denoise.GaussianNoiser`.
    salt_ratio : float, pair of float or array-like of shape (n_columns,), default=0.5
        Share of salt among the replaced values, from 0 to 1; a tuple or an array as in ``amount``.
    limits : pair of float or "auto", default="auto"
        Pepper and salt ``(low, high)``, in the unit of the data. "auto" is the smallest and the largest value
        of the training data: for each column of a table, for all pixels of images together.
    columns : array-like of str, int or bool, str, int, slice, callable or None, default=None
        Columns of a table that get noise, as in :class:`~sk_denoise.GaussianNoiser`; the others stay as they
        are.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    limits_ : ndarray of shape (2,) or (2, n_columns)
        Pepper and salt.
    columns_ : ndarray of int or None
        Indices of the columns that get noise; None for all.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    sk_denoise.noise.salt_and_pepper : The noise as a function on tensors.

    References
    ----------
    R. C. Gonzalez and R. E. Woods, "Digital Image Processing", section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import SaltAndPepperNoiser
    >>> X = np.full((100, 100), 0.5)
    >>> noisy = SaltAndPepperNoiser(0.1, limits=(0, 1), random_state=0).fit_transform(X)
    >>> [round(float((noisy == value).mean()), 2) for value in (0, 0.5, 1)]
    [0.05, 0.9, 0.05]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "amount": COLUMN_STRENGTH,
        "salt_ratio": COLUMN_STRENGTH,
        "limits": LIMITS,
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {"columns_": FITTED_COLUMNS, "limits_": FITTED_LIMITS}
    _column_strengths = ("amount", "salt_ratio")
    limits_: NDArray[Any]

    def __init__(
        self,
        amount: float | tuple[float, float] | ArrayLike = 0.05,
        salt_ratio: float | tuple[float, float] | ArrayLike = 0.5,
        *,
        limits: tuple[float, float] | Literal["auto"] = "auto",
        columns: Any = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.amount = amount
        self.salt_ratio = salt_ratio
        self.limits = limits
        self.columns = columns
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        # limits_ is in double precision, noisy values in the type of the data.
        limits = torch.as_tensor(self.limits_, dtype=x.dtype, device=x.device)
        amount, salt_ratio = as_strength(self.amount), as_strength(self.salt_ratio)
        return self._corrupt_columns(
            x,
            lambda part: salt_and_pepper(
                part, generator, amount=amount, salt_ratio=salt_ratio, limits=limits
            ),
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "amount", max_value=1)
        check_strength(self, "salt_ratio", max_value=1)
        # Values become equal to limits, so that limits must be finite, in contrast to those of clip.
        check_bounds(self, "limits", finite=True)

    def _learn(self, clean: torch.Tensor) -> None:
        warn_of_other_limits(self, "limits", clean)
        self.limits_ = _learn_limits(clean, self.limits)


class MaskingNoiser(BaseNoiser):
    """Set random values to a fill value, in training only.

    The noise of the first denoising autoencoders: the network predicts hidden values from the others.

    Parameters
    ----------
    fraction : float, pair of float or array-like of shape (n_columns,), default=0.25
        Probability that a value is hidden, from 0 to 1. A tuple ``(low, high)`` draws one uniformly for each
        sample, an array or a list holds one for each column, as in :class:`~sk_denoise.GaussianNoiser`.
    fill : float or "mean", default=0.0
        Value of hidden entries, in the unit of the data. "mean" is the mean of the training data, for each
        column of a table and each pixel of images. After a StandardScaler zero is the mean.
    columns : array-like of str, int or bool, str, int, slice, callable or None, default=None
        Columns of a table that get noise, as in :class:`~sk_denoise.GaussianNoiser`; the others stay as they
        are.
    blocks : "auto", list of lists or None, default="auto"
        Columns of a table that are hidden together, with one draw: lists of names or indices, such as the
        columns of a one-hot encoding. "auto" finds neighbouring columns of zeros and ones that sum to one in
        each training row, if there are ten rows or more. None treats each column on its own.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    fill_ : ndarray of the shape of one sample, of shape (n_columns,) or ()
        Value of hidden entries.
    columns_ : ndarray of int or None
        Indices of the columns that get noise; None for all.
    blocks_ : list of lists of int
        Indices of the columns of each block.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    sk_denoise.noise.mask_entries : The noise as a function on tensors.

    References
    ----------
    P. Vincent et al., "Stacked denoising autoencoders", Journal of Machine Learning Research 11 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import MaskingNoiser
    >>> noisy = MaskingNoiser(0.25, random_state=0).fit_transform(np.ones((100, 100)))
    >>> round(float((noisy == 0).mean()), 2)
    0.25
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "fraction": COLUMN_STRENGTH,
        "fill": [Real, StrOptions({"mean"})],
        "blocks": BLOCKS,
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "columns_": FITTED_COLUMNS,
        "blocks_": FITTED_BLOCKS,
        "fill_": COLUMN_NUMBERS,
    }
    _column_strengths = ("fraction",)
    fill_: NDArray[Any]
    blocks_: list[list[int]]

    def __init__(
        self,
        fraction: float | tuple[float, float] | ArrayLike = 0.25,
        fill: float | Literal["mean"] = 0.0,
        *,
        columns: Any = None,
        blocks: Literal["auto"] | Sequence[Sequence[Any]] | None = "auto",
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.fraction = fraction
        self.fill = fill
        self.columns = columns
        self.blocks = blocks
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        # mask_entries converts the fill value to the type of the data.
        fill = torch.as_tensor(self.fill_, device=x.device)
        fraction, groups = as_strength(self.fraction), _groups_of(self, x)
        return self._corrupt_columns(
            x, lambda part: mask_entries(part, generator, fraction=fraction, fill=fill, groups=groups)
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "fraction", max_value=1)
        # The constraints check types only, and NaN is a number too.
        if not isinstance(self.fill, str) and not np.isfinite(self.fill):
            raise ValueError(f'fill must be a finite number or "mean", got {self.fill!r}.')

    def _learn(self, clean: torch.Tensor) -> None:
        # Sums of many values in single precision would lose digits.
        self.blocks_ = _learn_blocks(self, clean)
        is_mean = self.fill == "mean"
        self.fill_ = clean.mean(0, dtype=torch.float64).numpy() if is_mean else np.asarray(float(self.fill))


class CopiedMaskNoiser(BaseNoiser):
    """Hide values that other samples lack, in training only.

    Columns of a table are often missing together, some always and some never. A network that learns to
    restore such gaps meets the gaps of its use.

    Parameters
    ----------
    masks : array-like of shape (n_masks, ...) or None, default=None
        Masks of the shape of a sample, true for a gap; or samples with NaN for gaps. Each sample gets one of
        them, at random. Masks without a gap leave a sample as it is. None takes the gaps of the training
        data, which then may hold NaN; if they have no gap, a quarter of the values is hidden at random.
    fill : float or "mean", default=0.0
        Value of hidden entries, in the unit of the data. "mean" is the mean of the training data, for each
        column of a table and each pixel of images. NaN is for estimators that take gaps, such as
        :class:`~sk_denoise.DenoisingAutoencoder` with ``missing="mask"``.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    masks_ : ndarray of bool, of shape (n_masks, ...)
        Masks.
    fill_ : ndarray of the shape of one sample, or of shape ()
        Value of hidden entries.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        If the masks have another shape than the samples.

    See Also
    --------
    MaskingNoiser : Hides each value independently of the others.
    DenoisingImputer : Fills gaps, and hides copied masks by default.
    sk_denoise.noise.copy_masks : The noise as a function on tensors.

    References
    ----------
    A. Gorla et al., "CACTI: leveraging copy masking and contextual information to improve tabular data
    imputation", ICML (2025).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import CopiedMaskNoiser
    >>> masks = [[True, True, False], [False, False, True]]
    >>> noisy = CopiedMaskNoiser(masks, random_state=0).fit_transform(np.ones((100, 3)))
    >>> sorted({tuple(row) for row in noisy.tolist()})
    [(0.0, 0.0, 1.0), (1.0, 1.0, 0.0)]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "masks": ["array-like", None],
        "fill": [Real, StrOptions({"mean"})],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "masks_": Rule(
            lambda v, noiser: (
                isinstance(v, np.ndarray)
                and v.dtype == bool
                and len(v) > 0
                and v.shape[1:] == noiser._sample_shape_
            ),
            "flags of the shape of samples",
        ),
        "fill_": Rule(
            lambda v, noiser: ENTRY_NUMBERS.test(v, noiser) or _is_nan(v),
            "NaN, a number, or one for each entry of a sample",
        ),
    }
    _takes_gaps = True
    masks_: NDArray[np.bool_]
    fill_: NDArray[Any]

    def __init__(
        self,
        masks: ArrayLike | None = None,
        fill: float | Literal["mean"] = 0.0,
        *,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.masks = masks
        self.fill = fill
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        fill = torch.as_tensor(self.fill_, device=x.device)
        # Nothing would be learned from complete data without gaps of their own.
        if self.masks is None and not self.masks_.any():
            return mask_entries(x, generator, fraction=COMPLETE_FRACTION, fill=fill)
        return copy_masks(x, generator, masks=torch.as_tensor(self.masks_, device=x.device), fill=fill)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not isinstance(self.fill, str) and np.isinf(self.fill):
            raise ValueError(f'fill must be a finite number, NaN or "mean", got {self.fill!r}.')

    def _learn(self, clean: torch.Tensor) -> None:
        gaps = torch.isnan(clean).numpy()
        masks = gaps if self.masks is None else _as_masks(self.masks)
        if masks.ndim < 2 or not masks.size or masks.shape[1:] != gaps.shape[1:]:
            raise ValueError(
                f"masks must have the shape (n_masks, {', '.join(map(str, gaps.shape[1:]))}) for these "
                f"samples, got {masks.shape}."
            )
        self.masks_ = masks.copy()
        self.fill_ = np.asarray(float(self.fill) if self.fill != "mean" else 0.0)
        if self.fill == "mean":
            self.fill_ = np.nan_to_num(clean.nanmean(0, dtype=torch.float64).numpy())


def _is_nan(value: Any) -> bool:
    is_number = isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind == "f"
    return is_number and bool(np.isnan(value))


def _as_masks(masks: Any) -> NDArray[np.bool_]:
    """Return masks as flags; NaN and None mark gaps in samples."""
    array = np.asarray(masks)
    if hasattr(masks, "isna") and array.dtype != bool:
        return np.asarray(masks.isna())
    if array.dtype == bool:
        return np.asarray(array)
    if array.dtype.kind != "f":
        raise ValueError(f"masks must hold flags, or numbers with NaN for gaps, got {array.dtype}.")
    return np.asarray(np.isnan(array))


class SwapNoiser(BaseNoiser):
    """Replace random values by those of other samples, in training only.

    The noise for tables with columns of several kinds: a new value is one of the same column, from another
    sample that is drawn for each value. The columns of a one-hot encoding are replaced together, so that the
    new value is a category. The donors are the samples that are corrupted together: those of a
    batch in the training of an estimator, all of X in ``fit_transform``.

    Parameters
    ----------
    fraction : float, pair of float or array-like of shape (n_columns,), default=0.15
        Probability that a value is replaced, from 0 to 1. A tuple ``(low, high)`` draws one uniformly for
        each sample, an array or a list holds one for each column, as in :class:`~sk_denoise.GaussianNoiser`.
    columns : array-like of str, int or bool, str, int, slice, callable or None, default=None
        Columns of a table that get noise, as in :class:`~sk_denoise.GaussianNoiser`; the others stay as they
        are.
    blocks : "auto", list of lists or None, default="auto"
        Columns of a table that are replaced together, with one draw: lists of names or indices, such as the
        columns of a one-hot encoding. "auto" finds neighbouring columns of zeros and ones that sum to one in
        each training row, if there are ten rows or more. None treats each column on its own.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too, which then needs at least two
        samples.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    columns_ : ndarray of int or None
        Indices of the columns that get noise; None for all.
    blocks_ : list of lists of int
        Indices of the columns of each block.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        For a single sample, which has no donor.

    See Also
    --------
    sk_denoise.noise.swap_entries : The noise as a function on tensors.

    References
    ----------
    M. Jahrer, first place solution of the Porto Seguro Safe Driver Prediction, Kaggle (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import SwapNoiser
    >>> X = np.arange(1000.0).reshape(500, 2)
    >>> noisy = SwapNoiser(0.2, random_state=0).fit_transform(X)
    >>> set(noisy[:, 0]) <= set(X[:, 0]), round(float((noisy != X).mean()), 1)
    (True, 0.2)

    A category is replaced as a whole:

    >>> colours = np.eye(3)[np.arange(300) % 3]
    >>> noiser = SwapNoiser(0.5, random_state=0).fit(colours)
    >>> noiser.blocks_
    [[0, 1, 2]]
    >>> bool((noiser.fit_transform(colours).sum(axis=1) == 1).all())
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"fraction": COLUMN_STRENGTH, "blocks": BLOCKS}
    _fitted_schema: ClassVar[dict[str, Rule]] = {"columns_": FITTED_COLUMNS, "blocks_": FITTED_BLOCKS}
    _column_strengths = ("fraction",)
    blocks_: list[list[int]]

    def __init__(
        self,
        fraction: float | tuple[float, float] | ArrayLike = 0.15,
        *,
        columns: Any = None,
        blocks: Literal["auto"] | Sequence[Sequence[Any]] | None = "auto",
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.fraction = fraction
        self.columns = columns
        self.blocks = blocks
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        # The donors are the samples of the same call.
        fraction, groups = as_strength(self.fraction), _groups_of(self, x)
        return self._corrupt_columns(
            x, lambda part: swap_entries(part, generator, fraction=fraction, groups=groups)
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "fraction", max_value=1)

    def _learn(self, clean: torch.Tensor) -> None:
        self.blocks_ = _learn_blocks(self, clean)


class PixelNoiser(ImageNoiser):
    """Set random pixels to black, white or noise, in training only.

    A pixel is replaced with all its channels, like broken pixels and specks.

    Parameters
    ----------
    fraction : float or pair of float, default=0.1
        Probability that a pixel is replaced, from 0 to 1. A pair ``(low, high)`` draws one uniformly for
        each image.
    value : {"noise", "black", "white", "black and white"}, default="noise"
        New value of replaced pixels: uniform between the limits, for each channel; the lower limit; the upper
        limit; or one of the two, with equal probability.
    limits : pair of float or "auto", default="auto"
        Black and white ``(low, high)``, in the unit of the data. "auto" is the smallest and the largest value
        of the training data: for each column of a table, for all pixels of images together.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows. Each entry of other
        rows is a pixel. An estimator with an ``image_shape`` passes it to its ``noise``.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    limits_ : ndarray of shape (2,) or (2, n_features)
        Black and white.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    sk_denoise.noise.replace_pixels : The noise as a function on tensors.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import PixelNoiser
    >>> gray = np.full((10, 32, 32, 3), 0.5)
    >>> noisy = PixelNoiser(0.1, value="black", limits=(0, 1), random_state=0).fit_transform(gray)
    >>> bool(np.isin(noisy.sum(axis=-1), [0, 1.5]).all()), round(float((noisy == 0).mean()), 1)
    (True, 0.1)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "fraction": STRENGTH,
        "value": [StrOptions(set(PIXEL_VALUES))],
        "limits": LIMITS,
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {"limits_": FITTED_LIMITS}
    limits_: NDArray[Any]

    def __init__(
        self,
        fraction: float | tuple[float, float] = 0.1,
        value: Literal["noise", "black", "white", "black and white"] = "noise",
        *,
        limits: tuple[float, float] | Literal["auto"] = "auto",
        image_shape: Sequence[int] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.fraction = fraction
        self.value = value
        self.limits = limits
        self.image_shape = image_shape
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        # Flat rows become images, so that the channels of a pixel are replaced together.
        noisy = replace_pixels(
            self._as_images(x),
            generator,
            fraction=as_strength(self.fraction),
            value=self.value,
            limits=torch.as_tensor(self.limits_, dtype=x.dtype, device=x.device),
        )
        return noisy.reshape(x.shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "fraction", max_value=1)
        # Values become equal to limits, so that limits must be finite, in contrast to those of clip.
        check_bounds(self, "limits", finite=True)

    def _learn(self, clean: torch.Tensor) -> None:
        # The layout first, because it decides whether rows are images.
        self._check_layout(clean)
        warn_of_other_limits(self, "limits", clean)
        self.limits_ = _learn_limits(self._as_images(clean), self.limits)
