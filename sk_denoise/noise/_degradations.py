"""Degradations: noisers that blur images, or reduce their size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from sk_denoise._validation import StrOptions
from sk_denoise.noise._base import (
    STRENGTH,
    ImageNoiser,
    as_strength,
    check_strength,
    is_strength,
)
from sk_denoise.noise._corruptions import Strength, draw_strength
from sk_denoise.noise._device_corruptions import (
    KERNEL_DEVIATIONS,
    MAX_ENTRIES,
    is_upright,
    planes_of,
    samples_of,
)
from sk_denoise.noise._recording import MAX_KERNEL_SIDE, as_numbers

# The functions are public in sk_denoise.noise.
__all__ = ["BlurNoiser", "DownscaleNoiser"]

# Widths in pixels; larger ones take minutes and gigabytes.
MAX_DEVIATION, MAX_LENGTH, MAX_RADIUS = 50, 200, 100
# Smallest deviation of a Gaussian, which leaves its middle alone.
MIN_DEVIATION = 1e-3
# Points of the path of a motion for each pixel of its length.
POINTS_PER_PIXEL = 8
# Smallest sum of weights as a share of the sum of their absolute values. Kernels of differences, such as that
# of Laplace, have no brightness to keep.
MIN_SHARE = 0.01
FACTORS = (2, 3, 4)
BLURS = ("gaussian", "motion", "defocus")

Blur = Literal["gaussian", "motion", "defocus"]
Reduction = Literal["bicubic", "bilinear", "area"]


class BlurNoiser(ImageNoiser):
    """Blur images or signals, in training only.

    An estimator that trains on it learns to sharpen. Samples continue as mirror images beyond their borders:
    nothing wraps around, and a blur that is the same to both sides of each axis keeps the mean brightness.

    Parameters
    ----------
    kernel : {"gaussian", "motion", "defocus"}, array or list of arrays, default="gaussian"
        Kind of blur, or its kernel, such as a measured point spread function: an array of shape
        ``(height, width)``, or ``(width,)`` for rows, with odd sides. From a list of arrays, or an array of
        shape ``(n_kernels, height, width)``, one is drawn for each sample. Kernels are divided by their sum,
        which must be above 0; weights below 0, as in sharpened images, are allowed.
    sigma : float or pair of float, default=(0.5, 3.0)
        Standard deviation of the Gaussian kernel in pixels, at most 50. Here and below, a pair
        ``(low, high)`` draws one uniformly for each sample.
    length : float or pair of float, default=(3.0, 15.0)
        Distance in pixels that a point moves, at most 200. 0 is no motion.
    angle : float or pair of float, default=(0.0, 180.0)
        Direction of the motion in degrees, counter-clockwise from the direction of the rows: 0 is to the
        right, and 90 up.
    radius : float or pair of float, default=(1.0, 4.0)
        Radius in pixels of the disk of defocus, at most 100. Up to 0.5 there is no blur.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows. An estimator with
        an ``image_shape`` passes it to its ``noise``. Other rows are signals, which "gaussian" and kernels of
        one axis blur.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        If a kernel other than "gaussian" is so large that it reaches beyond the mirror images; if rows get a
        kernel of images.

    See Also
    --------
    DownscaleNoiser : Fewer pixels.
    NoiserChain : Blur, then the noise of a camera.
    sk_denoise.noise.blur_samples : The blur as a function on tensors.

    Notes
    -----
    A kernel of one axis blurs images along their rows. Arrays of three axes are images; those that are
    signals of several channels have the shape ``(n, 1, length, channels)``, as for other noise.

    The Gaussian kernel ends at four standard deviations. The path of a motion is a line between pixels, by
    bilinear interpolation; the disk of defocus has an edge one pixel wide.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import BlurNoiser
    >>> images = np.zeros((1, 5, 5))
    >>> images[0, 2, 2] = 1
    >>> BlurNoiser("motion", length=2.0, angle=90.0).fit_transform(images)[0, :, 2].round(2).tolist()
    [0.0, 0.25, 0.5, 0.25, 0.0]

    A chain in the order of a camera:

    >>> from sk_denoise import GaussianNoiser, NoiserChain
    >>> camera = NoiserChain([BlurNoiser("defocus", radius=(1, 3)), GaussianNoiser((0, 0.05))])
    >>> camera.fit_transform(images).shape
    (1, 5, 5)
    """

    _adds_nothing: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "kernel": [str, np.ndarray, list, tuple],
        "sigma": STRENGTH,
        "length": STRENGTH,
        "angle": STRENGTH,
        "radius": STRENGTH,
    }

    def __init__(
        self,
        kernel: Blur | ArrayLike = "gaussian",
        *,
        sigma: float | tuple[float, float] = (0.5, 3.0),
        length: float | tuple[float, float] = (3.0, 15.0),
        angle: float | tuple[float, float] = (0.0, 180.0),
        radius: float | tuple[float, float] = (1.0, 4.0),
        image_shape: Sequence[int] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.kernel = kernel
        self.sigma = sigma
        self.length = length
        self.angle = angle
        self.radius = radius
        self.image_shape = image_shape
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        self._check_fitted()
        # Flat rows become images, because a kernel has neighbours below each other.
        blurred = blur_samples(
            self._as_images(x),
            generator,
            kernel=self.kernel,
            sigma=as_strength(self.sigma),
            length=as_strength(self.length),
            angle=as_strength(self.angle),
            radius=as_strength(self.radius),
        )
        return blurred.reshape(x.shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "sigma", max_value=MAX_DEVIATION)
        check_strength(self, "length", max_value=MAX_LENGTH)
        check_strength(self, "radius", max_value=MAX_RADIUS)
        ends = self.angle if isinstance(self.angle, tuple | list) else (self.angle, self.angle)
        is_bool = any(isinstance(end, bool) for end in ends)
        if is_bool or not is_strength(tuple(ends)) or not np.isfinite(ends).all() or ends[0] > ends[1]:
            raise ValueError(
                "angle must be a number of degrees or a pair (low, high) with low <= high, got "
                f"{self.angle!r}."
            )
        self._kernels()

    def _learn(self, clean: Tensor) -> None:
        # Estimators fit noise to single pixels, so that the sides of images say nothing here.
        self._check_layout(clean)
        if clean.ndim > 2 or self.image_shape is not None:
            return
        kernels = self._kernels()
        height = 1 if kernels is None else max(kernel.shape[0] for kernel in kernels)
        if self.kernel != "gaussian" if isinstance(self.kernel, str) else height > 1:
            kind = repr(self.kernel) if isinstance(self.kernel, str) else f"of {height} rows"
            raise ValueError(
                f"The kernel {kind} is for images, got rows of shape {tuple(clean.shape)}. Pass "
                '"gaussian" or a kernel of shape (width,) for signals, or image_shape with flat images.'
            )

    def _kernels(self) -> list[NDArray[np.float64]] | None:
        """Return the given kernels, or None for a kind of blur."""
        return as_kernels(self.kernel)


class DownscaleNoiser(ImageNoiser):
    """Reduce images to a half, a third or a quarter of their sides, in training only.

    The noisy images are smaller than the clean ones, so an estimator that trains on it learns to enlarge. It
    draws nothing at random.

    Parameters
    ----------
    factor : {2, 3, 4}, default=2
        Quotient of the sides. Those of the images must be multiples of it.
    antialias : bool, default=True
        Whether the kernel is stretched by ``factor``, so that detail too fine for the small image is averaged
        first. Without, pixels are samples of the interpolated image, and fine detail turns into false
        patterns.
    kernel : {"bicubic", "bilinear", "area"}, default="bicubic"
        Weights of the pixels in an average: bicubic (Keys, a = -0.5), as in the literature on
        super-resolution; triangular; or equal within the block of ``factor`` x ``factor`` pixels, as in a
        binned detector.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Not used; for the common interface of noisers.

    Attributes
    ----------
    size_factor : int
        The factor.
    n_features_in_ : int
        Number of entries of one sample.

    Raises
    ------
    ValueError
        For rows, and for images whose sides are no multiples of ``factor``.

    See Also
    --------
    BlurNoiser : Blur at full size.
    sk_denoise.noise.reduce_images : The reduction as a function on tensors.

    Notes
    -----
    "bicubic" with ``antialias=True`` is ``imresize`` of MATLAB, at the borders too, where images continue as
    mirror images. ``torch.nn.functional.interpolate(mode="bicubic", antialias=True)`` has the same kernel,
    and leaves out the pixels beyond the border. Values are neither rounded nor clipped: beside edges they
    exceed black and white by up to a tenth of the contrast.

    ``transform`` takes images of any size, because the input in use is small already.

    References
    ----------
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on
    Acoustics, Speech, and Signal Processing 29 (1981).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import DownscaleNoiser
    >>> images = np.arange(64.0).reshape(1, 8, 8)
    >>> noiser = DownscaleNoiser(2, kernel="area")
    >>> noiser.fit_transform(images)[0, 0].tolist()
    [4.5, 6.5, 8.5, 10.5]
    >>> noiser.size_factor
    2
    """

    _takes_rows: ClassVar[bool] = False
    _takes_any_size: ClassVar[bool] = True
    _adds_nothing: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "factor": [Integral],
        "antialias": ["boolean"],
        "kernel": [StrOptions({"bicubic", "bilinear", "area"})],
    }
    # Flat rows would be shorter, and no estimator takes them.
    image_shape = None

    def __init__(
        self,
        factor: Literal[2, 3, 4] = 2,
        *,
        antialias: bool = True,
        kernel: Reduction = "bicubic",
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.factor = factor
        self.antialias = antialias
        self.kernel = kernel
        self.apply = apply
        self.random_state = random_state

    @property
    def size_factor(self) -> int:
        return int(self.factor)

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        self._check_fitted()
        return reduce_images(x, factor=int(self.factor), antialias=bool(self.antialias), kernel=self.kernel)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        # To Python True is 1.
        if isinstance(self.factor, bool) or self.factor not in FACTORS:
            raise ValueError(
                f"factor must be 2, 3 or 4, got {self.factor!r}. For 6 or 8, chain two: "
                "NoiserChain([DownscaleNoiser(2), DownscaleNoiser(4)])."
            )
        _check_reduction(self.kernel, bool(self.antialias))

    def _learn(self, clean: Tensor) -> None:
        if clean.ndim == 2:
            raise ValueError(
                f"DownscaleNoiser is for images, got rows of shape {tuple(clean.shape)}. Pass a stack: "
                "X.reshape(n_images, height, width), with a fourth axis for channels."
            )
        # Estimators fit noise to single pixels, so that the sides of images say nothing here.
        self._check_layout(clean)


# Functions on tensors -----------------------------------------------------------------------------------


def blur_samples(
    x: Tensor,
    generator: torch.Generator,
    *,
    kernel: Blur | ArrayLike = "gaussian",
    sigma: Strength = 1.0,
    length: Strength = 9.0,
    angle: Strength = (0.0, 180.0),
    radius: Strength = 2.0,
) -> Tensor:
    """Blur images or signals by kernels with a sum of 1.

    Samples continue as mirror images beyond their borders.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels]) or (n_samples, length)
        Clean samples, floating point; not changed. Rows are signals. The channels of a sample get one blur.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    kernel : {"gaussian", "motion", "defocus"}, array or list of arrays, default="gaussian"
        Kind of blur, or kernels, as in :class:`~sk_denoise.BlurNoiser`.
    sigma : float or pair of float, default=1.0
        Standard deviation of the Gaussian kernel in pixels; here and below, a pair ``(low, high)`` draws one
        for each sample.
    length : float or pair of float, default=9.0
        Distance in pixels that a point moves.
    angle : float or pair of float, default=(0.0, 180.0)
        Direction of the motion in degrees, counter-clockwise from the direction of the rows.
    radius : float or pair of float, default=2.0
        Radius in pixels of the disk of defocus.

    Returns
    -------
    Tensor of the shape and type of x

    Raises
    ------
    ValueError
        For an unknown kind, and for arrays that are no kernels; if a kernel other than "gaussian" reaches
        farther than a side of the samples.

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.noise import blur_samples
    >>> x = torch.tensor([[0.0, 0.0, 8.0, 0.0, 0.0]])
    >>> blur_samples(x, torch.Generator(), kernel=[1, 2, 1]).round(decimals=3)
    tensor([[0., 2., 4., 2., 0.]])
    """
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    planes, given = planes_of(x).to(dtype), as_kernels(kernel)

    def draw(strength: Strength) -> Tensor:
        drawn = draw_strength(strength, planes[:, 0], generator)
        return torch.as_tensor(drawn, dtype=dtype, device=x.device).reshape(-1, 1, 1)

    # A training in low precision would round the points of a path to 8 bits.
    with torch.autocast(x.device.type, enabled=False):
        if given is not None:
            kernels = _choose_kernels(given, planes, generator)
        elif kernel == "motion":
            kernels = _draw_path(draw(length), draw(angle), _largest(length))
        elif kernel == "defocus":
            kernels = _draw_disk(draw(radius), _largest(radius))
        else:
            kernels = _draw_gaussian(draw(sigma), _largest(sigma))
        # The tails of a Gaussian may be mirrored many times; elsewhere that is a mistake.
        if given is not None or kernel != "gaussian":
            _refuse_wide_kernel(tuple(kernels.shape[1:]), tuple(planes.shape[2:]))
        blurred = _convolve(planes, kernels)
    return samples_of(blurred, x).to(x.dtype)


def reduce_images(x: Tensor, *, factor: int, antialias: bool = True, kernel: Reduction = "bicubic") -> Tensor:
    """Reduce images to a fraction of their sides.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels])
        Clean images, floating point; not changed. Their sides are multiples of ``factor``.
    factor : int
        Quotient of the sides.
    antialias : bool, default=True
        Whether the kernel is stretched by ``factor``.
    kernel : {"bicubic", "bilinear", "area"}, default="bicubic"
        Weights of the pixels in an average, as in :class:`~sk_denoise.DownscaleNoiser`.

    Returns
    -------
    Tensor of shape (n_samples, height / factor, width / factor[, channels]) and the type of x

    Raises
    ------
    ValueError
        If a side is no multiple of ``factor``.

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.noise import reduce_images
    >>> reduce_images(torch.ones(2, 12, 8, 3), factor=4).shape
    torch.Size([2, 3, 2, 3])
    """
    height, width = x.shape[1:3]
    if height % factor or width % factor:
        raise ValueError(
            f"Images of {height} x {width} pixels cannot be reduced by a factor of {factor}, because their "
            f"sides are no multiples of it. Crop them: image[: height // {factor} * {factor}, "
            f": width // {factor} * {factor}]."
        )
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    small = planes_of(x).to(dtype)
    first, weights = _weigh_pixels(kernel, factor, antialias)
    for axis, side in ((2, height), (3, width)):
        wide = _mirror(small, axis, -first, first + len(weights) - factor).movedim(axis, 3)
        # All blocks have the same weights, because the factor is a whole number.
        steps = [wide[..., start : start + side : factor] for start in range(len(weights))]
        total = torch.zeros_like(steps[0])
        for step, weight in zip(steps, weights, strict=True):
            total.add_(step, alpha=weight)
        small = total.movedim(3, axis)
    return (small.movedim(1, 3) if x.ndim == 4 else small[:, 0]).to(x.dtype)


# Kernels ------------------------------------------------------------------------------------------------


def as_kernels(kernel: str | ArrayLike) -> list[NDArray[np.float64]] | None:
    """Return kernels (height, width) with a sum of 1; None for a kind of blur.

    Raises
    ------
    ValueError
        For an unknown kind, and for arrays that are no kernels.
    """
    if isinstance(kernel, str):
        if kernel not in BLURS:
            raise ValueError(
                f"kernel must be {', '.join(map(repr, BLURS))}, an array or a list of arrays, got {kernel!r}."
            )
        return None
    if isinstance(kernel, list | tuple) and any(isinstance(part, np.ndarray) for part in kernel):
        named = {f"kernel {number} of the list": part for number, part in enumerate(kernel)}
    else:
        array = as_numbers(kernel, "kernel")
        stack = array if array.ndim == 3 else array[None]
        named = {f"kernel {number}": part for number, part in enumerate(stack)}
        named = {"kernel": stack[0]} if len(stack) == 1 else named
    if not named:
        raise ValueError("kernel must hold at least one array, got none.")
    return [_as_kernel(part, name) for name, part in named.items()]


def _as_kernel(values: Any, name: str) -> NDArray[np.float64]:
    array = as_numbers(values, name).astype(np.float64)
    if array.ndim not in (1, 2) or not 0 < max(array.shape, default=0) <= MAX_KERNEL_SIDE:
        raise ValueError(
            f"{name} must be an array of shape (height, width) or (width,), with sides up to "
            f"{MAX_KERNEL_SIDE}, got shape {array.shape}."
        )
    weights = np.atleast_2d(array)
    if not all(side % 2 for side in weights.shape):
        raise ValueError(
            f"{name} must have odd sides, so that a pixel is in its middle, got shape {array.shape}. Append "
            "a row or a column of zeros, which shifts the image by half a pixel."
        )
    # The largest weight first, so that sums stay finite.
    weights = weights / max(np.abs(weights).max(), np.finfo(np.float64).tiny)
    total = float(weights.sum())
    if total <= MIN_SHARE * float(np.abs(weights).sum()):
        raise ValueError(
            f"{name} must have a sum above 0, at least a hundredth of the sum of its absolute weights: a "
            "blurred sample keeps its brightness. Kernels of differences are no blur."
        )
    normalized: NDArray[np.float64] = weights / total
    return normalized


def _choose_kernels(kernels: list[NDArray[np.float64]], planes: Tensor, generator: torch.Generator) -> Tensor:
    """Return one of the kernels for each sample, with zeros up to the largest sides."""
    height, width = (max(kernel.shape[axis] for kernel in kernels) for axis in (0, 1))
    # A single row of weights lies along images that are one pixel wide, as in noise of signals.
    if height == 1 and is_upright(tuple(planes.shape[2:])):
        kernels, height, width = [kernel.T for kernel in kernels], width, 1
    stack = np.zeros((len(kernels), height, width))
    for number, kernel in enumerate(kernels):
        top, left = (height - kernel.shape[0]) // 2, (width - kernel.shape[1]) // 2
        stack[number, top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
    weights = torch.from_numpy(stack)
    if len(kernels) == 1:
        return weights.to(planes.device, planes.dtype)
    chosen = torch.randint(len(kernels), (len(planes),), generator=generator, device=planes.device)
    return weights.to(planes.device, planes.dtype)[chosen]


def _draw_gaussian(sigma: Tensor, largest: float) -> Tensor:
    """Return Gaussian kernels of deviations of shape (n, 1, 1)."""
    place = _places(math.ceil(KERNEL_DEVIATIONS * largest), sigma)
    # A deviation of 0 leaves the middle alone.
    line = torch.exp(-0.5 * (place / sigma.clamp(min=MIN_DEVIATION)) ** 2)
    return _normalized(line.mT * line)


def _draw_path(length: Tensor, angle: Tensor, largest: float) -> Tensor:
    """Return kernels of straight motions; points between pixels are shared by these."""
    place = _places(math.ceil(largest / 2), length)
    n_points = POINTS_PER_PIXEL * max(1, math.ceil(largest))
    shares = (torch.arange(n_points, device=length.device).to(length) + 0.5) / n_points - 0.5
    points, turn = length * shares[:, None], torch.deg2rad(angle)
    # Rows are counted downwards, and angles upwards.
    offsets = -points * turn.sin(), points * turn.cos()
    rows, columns = ((1 - (offset - place).abs()).clamp(min=0) for offset in offsets)
    return _normalized(rows.mT @ columns)


def _draw_disk(radius: Tensor, largest: float) -> Tensor:
    """Return disks with an edge one pixel wide."""
    place = _places(max(0, math.ceil(largest + 0.5) - 1), radius)
    distance = (place.mT**2 + place**2).sqrt()
    return _normalized((radius + 0.5 - distance).clamp(0, 1))


def _places(reach: int, like: Tensor) -> Tensor:
    """Return the distances of pixels from the middle of a kernel, of shape (1, side)."""
    return torch.arange(-reach, reach + 1, device=like.device).to(like.dtype)[None]


def _normalized(kernels: Tensor) -> Tensor:
    return kernels / kernels.sum((1, 2), keepdim=True)


def _largest(strength: Strength) -> float:
    """Return the largest strength that may be drawn."""
    return float(max(strength)) if isinstance(strength, tuple | list) else float(strength)


def _weigh_pixels(kernel: Reduction, factor: int, antialias: bool) -> tuple[int, list[float]]:
    """Return the first pixel and the weights of an average, for the block from 0 on."""
    _check_reduction(kernel, antialias)
    reach, shape = REDUCTIONS[kernel]
    scale = factor if antialias else 1
    middle = (factor - 1) / 2
    places = np.arange(math.ceil(middle - reach * scale), math.floor(middle + reach * scale) + 1)
    weights = shape(np.abs(places - middle) / scale)
    used = np.flatnonzero(weights)
    weights = weights[used[0] : used[-1] + 1]
    return int(places[used[0]]), (weights / weights.sum()).tolist()


def _check_reduction(kernel: str, antialias: bool) -> None:
    if kernel == "area" and not antialias:
        raise ValueError(
            'kernel="area" is the mean of a block, so it needs antialias=True. For samples of the '
            'interpolated image, pass kernel="bicubic" or "bilinear".'
        )


def _weigh_cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


# Reach in pixels, and weight by distance, of the kernels of a reduction
REDUCTIONS: dict[str, tuple[float, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "bicubic": (2, _weigh_cubic),
    "bilinear": (1, lambda distance: np.maximum(1 - distance, 0)),
    "area": (0.5, lambda distance: np.where(distance < 0.5, 1.0, 0.0)),
}


# Convolution --------------------------------------------------------------------------------------------


def _refuse_wide_kernel(kernel: tuple[int, ...], sides: tuple[int, ...]) -> None:
    reach = [side // 2 for side in kernel]
    # Across a single row or column the mirror images are all alike.
    if all(far <= side or side == 1 for far, side in zip(reach, sides, strict=True)):
        return
    raise ValueError(
        f"A kernel of {kernel[0]} x {kernel[1]} pixels is too large for samples of {sides[0]} x {sides[1]} "
        "pixels: from its middle it may reach as far as a side of them. Pass larger samples (for "
        "ImageDenoiser: patch_size), or a smaller kernel, length or radius."
    )


def _mirror(planes: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Return planes with mirror images at both ends of an axis, the border doubled."""
    side = planes.shape[axis]
    place = torch.arange(-before, side + after, device=planes.device) % (2 * side)
    return planes.index_select(axis, torch.minimum(place, 2 * side - 1 - place))


def _convolve(planes: Tensor, kernels: Tensor) -> Tensor:
    """Return planes, convolved with one kernel for all samples or one for each."""
    for axis in (1, 2):
        # Across a single row or column the mirror images are all alike.
        if planes.shape[axis + 1] == 1:
            kernels = kernels.sum(axis, keepdim=True)
    if kernels[0].numel() == 1:
        return planes.clone()
    height, width = planes.shape[2:]
    rows, columns = kernels.shape[1:]
    large = height + rows - 1, width + columns - 1
    padded = [next_fast_len(side, real=True) for side in large]
    blurred = torch.empty_like(planes)
    step = max(1, MAX_ENTRIES // (math.prod(padded) * planes.shape[1]))
    for start in range(0, len(planes), step):
        # Without the mean, so that a transform rounds differences alone.
        middle = planes[start : start + step].mean((2, 3), keepdim=True)
        part = planes[start : start + step] - middle
        weights = kernels if len(kernels) == 1 else kernels[start : start + step]
        wide = _mirror(_mirror(part, 2, rows // 2, rows // 2), 3, columns // 2, columns // 2)
        spectrum = torch.fft.rfft2(wide, s=padded) * torch.fft.rfft2(weights[:, None], s=padded)
        mixed = torch.fft.irfft2(spectrum, s=padded)[..., rows - 1 : large[0], columns - 1 : large[1]]
        blurred[start : start + step] = mixed + middle
    if bool((kernels < 0).any()):
        return blurred
    # An average is neither darker nor brighter than all pixels; rounding would lead beyond black and white.
    low, high = planes.amin((2, 3), keepdim=True), planes.amax((2, 3), keepdim=True)
    return torch.minimum(torch.maximum(blurred, low), high)
