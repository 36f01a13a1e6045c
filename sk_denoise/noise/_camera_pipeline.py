"""Noise of cameras: sensor noise, after everything that a camera does with it.

A camera interpolates a mosaic of colours, converts colours, applies a tone curve, smooths, and compresses. So
its noise is correlated between neighbours and between colours, and depends on the brightness. The pipeline is
run backwards from an image to the sensor, and forwards again with noise (T. Brooks et al., "Unprocessing
images for learned raw denoising", CVPR 2019; S. Guo et al., "Toward convolutional blind denoising of real
photographs", CVPR 2019).
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

__all__ = ["CameraSettings", "add_camera_noise", "compress_as_jpeg", "draw_camera"]

# Smallest argument of the tone curve's gamma, because the slope of a root is infinite at 0.
DARKEST = 1e-4
# Weights of red, green and blue in the brightness (ITU-R BT.601), as in JPEG.
BRIGHTNESS = (0.299, 0.587, 0.114)
# Sides of the smallest mosaic, because a filter of 5 pixels is reflected at the border by 2 pixels.
MIN_SIDE = 4
# Longest side that is smoothed by a matrix, which is the fastest way for patches and too large for photos.
MAX_MATRIX_SIDE = 512
# Positions of red, first green, second green and blue in the 2 x 2 cells of the mosaic.
PHASES = ((0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0))
# H. S. Malvar, L. He and R. Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned
# color images", ICASSP 2004: filters for green at red or blue, for a colour at green in its row, in its
# column, and at the opposite colour.
MALVAR = torch.tensor(
    [
        [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]],
        [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]],
        [[0, 0, -1, 0, 0], [0, -1, 4, -1, 0], [0.5, 0, 5, 0, 0.5], [0, -1, 4, -1, 0], [0, 0, -1, 0, 0]],
        [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]],
    ]
).div(8)[:, None]
BILINEAR = torch.tensor(
    [
        [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 2, 0, 2, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
        [[0, 0, 0, 0, 0], [0, 0, 2, 0, 0], [0, 0, 0, 0, 0], [0, 0, 2, 0, 0], [0, 0, 0, 0, 0]],
        [[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]],
    ]
).div(4)[:, None]


@dataclass(frozen=True)
class CameraSettings:
    """Settings of a camera for one image.

    Attributes
    ----------
    shot, read : float
        Variance of the sensor noise: ``shot * light + read``, with white light at 1.
    red_gain, blue_gain, brightness : float
        Gains of the white balance, and a common one.
    matrix : Tensor of shape (3, 3)
        Colours of the sensor to those of the image; rows sum to 1.
    gamma : float
        Exponent of the tone curve.
    has_s_curve : bool
        Whether contrast is raised by a smooth step.
    phase : int
        Position of red in the mosaic, 0 to 3.
    malvar : bool
        Whether the mosaic is interpolated by Malvar's filters, else bilinearly.
    smoothing, color_smoothing : float
        Standard deviation in pixels of the Gaussian filters of brightness and colour; 0 skips them.
    sharpening : float
        Strength of an unsharp mask.
    scale : float
        Size of the image relative to the sensor, at most 1.
    """

    shot: float
    read: float
    red_gain: float
    blue_gain: float
    brightness: float
    matrix: Tensor
    gamma: float
    has_s_curve: bool
    phase: int
    malvar: bool
    smoothing: float
    color_smoothing: float
    sharpening: float
    scale: float


def draw_camera(
    generator: torch.Generator, *, shot: tuple[float, float], smoothing: tuple[float, float] = (0.0, 1.1)
) -> CameraSettings:
    """Draw the settings of a camera.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness, on the CPU.
    shot : pair of float
        Limits of the shot noise at white, drawn uniformly by its logarithm.
    smoothing : pair of float
        Limits of the standard deviation in pixels of the smoothing of brightness.
    """
    u = torch.rand(16, generator=generator, dtype=torch.float32).tolist()

    def between(number: int, low: float, high: float) -> float:
        return low + (high - low) * float(u[number])

    log_shot = between(0, math.log(shot[0]), math.log(shot[1]))
    # Read and shot noise of cameras at all sensitivities lie near a line (Brooks et al.).
    log_read = (
        2.18 * log_shot + 1.20 + 0.26 * float(torch.randn((), generator=generator, dtype=torch.float32))
    )
    diagonal = 1.1 + 0.6 * torch.rand(3, generator=generator, dtype=torch.float32)
    share = torch.rand(3, generator=generator, dtype=torch.float32).tolist()
    matrix = torch.diag(diagonal)
    for row in range(3):
        first, second = (column for column in range(3) if column != row)
        rest = 1 - float(diagonal[row])
        matrix[row, first], matrix[row, second] = rest * share[row], rest * (1 - share[row])
    smooth = between(1, *smoothing) if u[2] < 0.8 else 0.0
    return CameraSettings(
        shot=math.exp(log_shot),
        read=math.exp(log_read),
        red_gain=between(3, 1.9, 2.4),
        blue_gain=between(4, 1.5, 1.9),
        brightness=between(5, 1.0, 1.5),
        matrix=matrix,
        gamma=between(6, 1.8, 2.4),
        has_s_curve=u[7] < 0.5,
        phase=int(4 * u[8]) % 4,
        malvar=u[9] < 0.5,
        smoothing=smooth,
        # Cameras smooth colour more than brightness, so that red and green noise are alike.
        color_smoothing=smooth + between(10, 0.5, 3.0) if u[12] < 0.85 else smooth,
        sharpening=between(13, 0.2, 1.0) if u[14] < 0.3 else 0.0,
        scale=between(15, 0.5, 1.0) if u[15] < 0.7 else 1.0,
    )


def add_camera_noise(image: Tensor, generator: torch.Generator, camera: CameraSettings) -> Tensor:
    """Add the noise of a camera to one image.

    The result is the image plus the difference of two runs of the pipeline, with noise and without it. So
    without noise the image stays as it is.

    Parameters
    ----------
    image : Tensor of shape (3, height, width)
        Clean colour image in [0, 1].
    generator : torch.Generator
        Source of randomness, on the device of the image.
    camera : CameraSettings
        Settings of the camera.

    Returns
    -------
    Tensor of shape (3, height, width)
        Noisy image, not clipped.
    """
    # A training in low precision would round the sensor's values to 8 bits.
    with torch.autocast(image.device.type, enabled=False):
        return image + _noise_of_camera(image, generator, camera)


def compress_as_jpeg(image: Tensor, quality: int, *, half_chroma: bool = True) -> Tensor:
    """Compress one image as JPEG, and return its decompressed pixels.

    Parameters
    ----------
    image : Tensor of shape (1 or 3, height, width)
        Image in [0, 1]; other numbers are clipped, and all are rounded to 256 grey levels.
    quality : int
        Quality of libjpeg, 1 to 100.
    half_chroma : bool, default=True
        Whether the chroma has half the resolution (4:2:0).
    """
    from PIL import Image

    pixels = (
        (255 * image.detach().cpu().float()).round_().clamp_(0, 255).to(torch.uint8).movedim(0, 2).numpy()
    )
    stream = io.BytesIO()
    opened = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    # 4:4:4 is 0 and 4:2:0 is 2 for Pillow.
    opened.save(stream, "JPEG", quality=quality, subsampling=2 if half_chroma else 0)
    decoded = np.array(Image.open(stream)).reshape(pixels.shape)
    return torch.from_numpy(decoded).movedim(2, 0).to(image.device, image.dtype).div_(255)


def _noise_of_camera(image: Tensor, generator: torch.Generator, camera: CameraSettings) -> Tensor:
    """Return the difference of the pipeline with noise and without it."""
    height, width = image.shape[1:]
    large = image[None]
    if camera.scale < 1:
        size = [max(MIN_SIDE, 2 * round(side / camera.scale / 2)) for side in (height, width)]
        large = interpolate(large, size, mode="bilinear", align_corners=False)
    else:
        below, right = (max(side % 2, MIN_SIDE - side) for side in (height, width))
        large = pad(large, (0, right, 0, below), mode="replicate")
    light = _to_light(large.clamp(0, 1), camera)
    mosaic = _mosaic(light, camera.phase)
    deviation = (camera.shot * mosaic + camera.read).sqrt()
    noise = torch.randn(mosaic.shape, generator=generator, device=image.device, dtype=image.dtype)
    # A sensor is full at white; below black it keeps its noise.
    noisy = (mosaic + deviation * noise).clamp(max=1)
    # In two calls, because the last bits in a batch depend on the place there.
    difference = _develop(noisy, camera) - _develop(mosaic, camera)
    # The rest of the pipeline is linear, so that the noise alone passes it.
    difference = _sharpen_and_smooth(difference, camera)
    if camera.scale < 1:
        difference = interpolate(
            difference, (height, width), mode="bilinear", align_corners=False, antialias=True
        )
    return difference[0, :, :height, :width]


def _to_light(image: Tensor, camera: CameraSettings) -> Tensor:
    """Undo the tone curve, the colour matrix and the gains."""
    if camera.has_s_curve:
        image = 0.5 - torch.sin(torch.asin(1 - 2 * image) / 3)
    light = image.clamp(min=DARKEST) ** camera.gamma
    inverse = torch.linalg.inv(camera.matrix).to(light)
    light = torch.einsum("ij,njhw->nihw", inverse, light)
    return (light / _gains(camera, light)).clamp(0, 1)


def _develop(mosaic: Tensor, camera: CameraSettings) -> Tensor:
    """Make images of mosaics, before the camera smooths and sharpens them."""
    light = _demosaic(mosaic, camera.phase, MALVAR if camera.malvar else BILINEAR) * _gains(camera, mosaic)
    light = torch.einsum("ij,njhw->nihw", camera.matrix.to(light), light).clamp(0, 1)
    image = light.clamp(min=DARKEST) ** (1 / camera.gamma)
    if camera.has_s_curve:
        image = image * image * (3 - 2 * image)
    return image


def _sharpen_and_smooth(image: Tensor, camera: CameraSettings) -> Tensor:
    """Apply the linear filters of the camera to images or to their difference."""
    if camera.smoothing or camera.color_smoothing:
        weights = torch.tensor(BRIGHTNESS, device=image.device).reshape(1, 3, 1, 1)
        bright = (image * weights).sum(1, keepdim=True)
        image = _smooth(bright, camera.smoothing) + _smooth(image - bright, camera.color_smoothing)
    if camera.sharpening:
        image = image + camera.sharpening * (image - _smooth(image, 1.0))
    return image


def _gains(camera: CameraSettings, like: Tensor) -> Tensor:
    gains = torch.tensor([camera.red_gain, 1.0, camera.blue_gain]).to(like)
    return camera.brightness * gains.reshape(1, 3, 1, 1)


def _mosaic(light: Tensor, phase: int) -> Tensor:
    """Return one colour for each pixel, (n, 1, height, width); sides are even."""
    mosaic = torch.empty_like(light[:, :1])
    for place, channel in zip(PHASES[phase], (0, 1, 1, 2), strict=True):
        row, column = divmod(place, 2)
        mosaic[:, 0, row::2, column::2] = light[:, channel, row::2, column::2]
    return mosaic


def _demosaic(mosaic: Tensor, phase: int, filters: Tensor) -> Tensor:
    """Interpolate a mosaic linearly to colours, (n, 3, height, width)."""
    green, in_row, in_column, opposite = conv2d(
        pad(mosaic, (2, 2, 2, 2), mode="reflect"), filters.to(mosaic)
    ).unbind(1)
    image = mosaic.expand(-1, 3, -1, -1).clone()
    red, first, second, blue = (
        (slice(None), slice(place // 2, None, 2), slice(place % 2, None, 2)) for place in PHASES[phase]
    )
    for own, other, channel in ((red, blue, 0), (blue, red, 2)):
        image[:, 1][own] = green[own]
        image[:, channel][other] = opposite[other]
    # The first green is in the row of red, the second in the row of blue.
    image[:, 0][first], image[:, 2][first] = in_row[first], in_column[first]
    image[:, 0][second], image[:, 2][second] = in_column[second], in_row[second]
    return image


def _smooth(image: Tensor, sigma: float) -> Tensor:
    """Smooth images by a Gaussian filter, reflected at the border."""
    if sigma < 0.2:
        return image
    radius = min(math.ceil(3 * sigma), min(image.shape[2:]) - 1)
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).to(image)
    line = line / line.sum()
    if max(image.shape[2:]) <= MAX_MATRIX_SIDE:
        rows, columns = (_smoothing_matrix(line, side) for side in image.shape[2:])
        return rows @ image @ columns.T
    # A convolution of single channels is far slower than a sum of shifted images.
    for axis, border in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        wide, side = pad(image, border, mode="reflect"), image.shape[axis]
        image = torch.zeros_like(image)
        for shift, weight in enumerate(line.tolist()):
            image.add_(wide.narrow(axis, shift, side), alpha=weight)
    return image


def _smoothing_matrix(line: Tensor, side: int) -> Tensor:
    """Return the matrix of a filter along an axis, with the reflection at its ends."""
    radius = len(line) // 2
    place = torch.arange(side, device=line.device)[:, None] + torch.arange(
        -radius, radius + 1, device=line.device
    )
    place = place.abs()
    place = torch.where(place < side, place, 2 * (side - 1) - place)
    return line.new_zeros(side, side).scatter_add_(1, place, line.expand(side, -1))
