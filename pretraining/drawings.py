"""Draw synthetic images with hard edges and flat colours, which are rare in photos.

The drawings are pages of text, line art, plots, panels of a screen, flat shapes, stripes of hues and
gradients. They are drawn at a multiple of their size and averaged, which makes edges anti-aliased. Exceptions
are text, which the font renderer smooths, and some line art with hard pixels.
"""

from __future__ import annotations

import colorsys
import math
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["KINDS", "draw"]

LETTERS = "etaoinshrdlucmfwypvbgkqjxz"
DIGITS = "0123456789.,:;-+/()%"
# Faces without letters.
SIGNS_ALONE = ("cmex", "cmsy", "cmmi", "LastResort", "STIXSiz", "STIXNonUni")
Color = tuple[int, int, int]


def draw(seed: int, side: int) -> np.ndarray:
    """Return the drawing of a seed, (side, side, 3) in bytes."""
    rng = np.random.default_rng([seed, 1973])
    kind = list(KINDS)[rng.integers(len(KINDS))]
    return np.array(KINDS[kind](rng, side).convert("RGB"))


@cache
def _faces() -> list[Path]:
    """Return the fonts of matplotlib."""
    # With fonts of the system, drawings would differ from machine to machine.
    import matplotlib as mpl

    files = sorted((Path(mpl.get_data_path()) / "fonts" / "ttf").glob("*.ttf"))
    return [path for path in files if not path.name.startswith(SIGNS_ALONE) and "Display" not in path.name]


@cache
def _font(face: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_faces()[face], size)


def _any_font(rng: np.random.Generator, low: int = 8, high: int = 28) -> ImageFont.FreeTypeFont:
    # Small sizes are as frequent as large ones on a logarithmic scale.
    size = int(low * (high / low) ** rng.random())
    return _font(int(rng.integers(len(_faces()))), size)


def _color(rng: np.random.Generator) -> Color:
    """Return a colour: often a gray or a pure hue, as on screens and in print."""
    kind = rng.random()
    if kind < 0.3:
        level = int(rng.choice([0, 255, 240, 128, rng.integers(256)]))
        return level, level, level
    saturation = rng.random() if kind < 0.7 else 1.0
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), saturation, rng.random() ** 0.5)
    return round(255 * red), round(255 * green), round(255 * blue)


def _paper_and_ink(rng: np.random.Generator) -> tuple[Color, Color]:
    """Return two colours that differ enough to be read."""
    kind = rng.random()
    if kind < 0.35:
        paper = int(rng.integers(225, 256)) if rng.random() < 0.5 else 255
        ink = int(rng.integers(0, 70))
        return ((paper,) * 3, (ink,) * 3) if rng.random() < 0.8 else ((ink,) * 3, (paper,) * 3)  # type: ignore[return-value]
    while True:
        paper_, ink_ = _color(rng), _color(rng)
        if sum(abs(a - b) for a, b in zip(paper_, ink_, strict=True)) > 200:
            return paper_, ink_


def _word(rng: np.random.Generator) -> str:
    if rng.random() < 0.12:
        return "".join(rng.choice(list(DIGITS), rng.integers(1, 7)))
    # Common letters are frequent.
    ranks = np.minimum(rng.geometric(0.1, rng.integers(2, 11)) - 1, 25)
    word = "".join(LETTERS[rank] for rank in ranks)
    case = rng.random()
    return word.capitalize() if case < 0.15 else word.upper() if case < 0.2 else word


def _write(
    rng: np.random.Generator,
    canvas: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    font: ImageFont.FreeTypeFont,
    ink: Color,
) -> None:
    """Fill a box with lines of words."""
    left, top, right, bottom = box
    leading = int(font.size * rng.uniform(1.1, 1.6)) + 1
    for y in range(top, bottom - int(font.size), leading):
        x = float(left)
        while x < right:
            word = _word(rng)
            width = font.getlength(word + " ")
            if x + width > right:
                break
            canvas.text((x, y), word, fill=ink, font=font)
            x += width


def _page(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw a page of text of one to three faces."""
    paper, ink = _paper_and_ink(rng)
    image = Image.new("RGB", (side, side), paper)
    canvas = ImageDraw.Draw(image)
    top = int(rng.integers(-8, 16))
    while top < side:
        height = int(rng.integers(side // 5, side))
        box = (int(rng.integers(-4, 24)), top, side - int(rng.integers(0, 24)), min(top + height, side + 20))
        _write(rng, canvas, box, _any_font(rng), ink if rng.random() < 0.8 else _paper_and_ink(rng)[1])
        top += height + int(rng.integers(0, 12))
    return image


def _big(side: int, paper: Color, fold: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (fold * side, fold * side), paper)
    return image, ImageDraw.Draw(image)


def _small(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BOX)


def _lines(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw line art: segments, circles, curves and hatching."""
    paper, ink = _paper_and_ink(rng)
    fold = int(rng.choice([1, 3, 4]))
    image, canvas = _big(side, paper, fold)
    large = fold * side
    for _ in range(rng.integers(5, 40)):
        color = ink if rng.random() < 0.7 else _color(rng)
        width = max(1, round(fold * rng.uniform(0.7, 4)))
        (x, y), kind = rng.uniform(0, large, 2), rng.random()
        if kind < 0.4:
            canvas.line([x, y, *rng.uniform(0, large, 2)], fill=color, width=width)
        elif kind < 0.6:
            radius = rng.uniform(0.02, 0.4) * large
            canvas.ellipse([x - radius, y - radius, x + radius, y + radius], outline=color, width=width)
        elif kind < 0.85:
            t = np.linspace(0, 1, 60)[:, None]
            a, b, c, d = rng.uniform(0, large, (4, 2))
            curve = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
            canvas.line([tuple(point) for point in curve.tolist()], fill=color, width=width, joint="curve")
        else:
            step, length = fold * rng.uniform(3, 9), rng.uniform(0.1, 0.4) * large
            slant = rng.uniform(-1, 1) * length
            for n in range(rng.integers(4, 25)):
                canvas.line([x + n * step, y, x + n * step + slant, y + length], fill=color, width=width)
    return _small(image, side)


def _plot(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw axes with ticks and numbers, and curves, bars or points in them."""
    paper, ink = _paper_and_ink(rng)
    fold = 4
    image, canvas = _big(side, paper, fold)
    left, bottom = int(rng.integers(24, 48)), side - int(rng.integers(20, 40))
    right, top = side - int(rng.integers(6, 16)), int(rng.integers(6, 30))
    grid = tuple((p + i) // 2 for p, i in zip(paper, ink, strict=True))
    n_ticks = int(rng.integers(3, 8))
    xs, ys = np.linspace(left, right, n_ticks), np.linspace(bottom, top, n_ticks)
    thin = int(rng.integers(2, 6))
    if rng.random() < 0.5:
        for x, y in zip(xs, ys, strict=True):
            canvas.line([fold * x, fold * top, fold * x, fold * bottom], fill=grid, width=max(1, thin // 2))
            canvas.line([fold * left, fold * y, fold * right, fold * y], fill=grid, width=max(1, thin // 2))
    kind, values = rng.random(), np.linspace(left, right, 120)
    for _ in range(rng.integers(1, 5)):
        color, scale = _color(rng), rng.uniform(0.1, 0.45)
        wave = np.sin(values / side * rng.uniform(2, 25) + rng.uniform(0, 6)) * scale
        wave = np.cumsum(rng.normal(0, 0.03, len(values))) if rng.random() < 0.4 else wave
        heights = np.clip((top + bottom) / 2 + wave * (bottom - top), top, bottom)
        if kind < 0.6:
            points = list(zip((fold * values).tolist(), (fold * heights).tolist(), strict=True))
            canvas.line(points, fill=color, width=int(rng.integers(3, 14)), joint="curve")
        elif kind < 0.8:
            for x, y in zip(values[::9], heights[::9], strict=True):
                canvas.rectangle([fold * x, fold * y, fold * (x + 6), fold * bottom], fill=color)
        else:
            radius = fold * rng.uniform(1, 4)
            for x, y in zip(fold * values[::3], fold * heights[::3], strict=True):
                canvas.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)
    frame = [fold * left, fold * top, fold * right, fold * bottom]
    if rng.random() < 0.5:
        canvas.rectangle(frame, outline=ink, width=thin)
    else:
        canvas.line([frame[0], frame[1], frame[0], frame[3], frame[2], frame[3]], fill=ink, width=thin)
    plot = _small(image, side)
    canvas, font = ImageDraw.Draw(plot), _any_font(rng, 8, 12)
    for n, (x, y) in enumerate(zip(xs, ys, strict=True)):
        canvas.text((x - 6, bottom + 4), f"{n * rng.integers(1, 9) / 2:g}", fill=ink, font=font)
        canvas.text((left - 22, y - 5), f"{n * 10:d}", fill=ink, font=font)
    canvas.text((left + 20, max(0, top - 14)), f"{_word(rng)} {_word(rng)}", fill=ink, font=font)
    return plot


def _screen(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw panels, buttons, rules and labels of a program's window."""
    image = Image.new("RGB", (side, side), _color(rng))
    canvas = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 14)):
        x, y = (int(v) for v in rng.integers(-20, side, 2))
        width, height = int(rng.integers(20, side)), int(rng.integers(12, side // 2))
        paper, ink = _paper_and_ink(rng)
        outline = _color(rng) if rng.random() < 0.5 else None
        box, radius = (x, y, x + width, y + height), int(rng.integers(2, 9))
        if rng.random() < 0.5:
            canvas.rectangle(box, fill=paper, outline=outline)
        else:
            canvas.rounded_rectangle(box, radius, fill=paper, outline=outline)
        if rng.random() < 0.8:
            inner = (x + 4, y + 3, x + width - 2, y + height)
            _write(rng, canvas, inner, _any_font(rng, 8, 16), ink)
    for y in rng.integers(0, side, 2).tolist():
        canvas.line([0, y, side, y], fill=_color(rng), width=1)
    return image


def _shapes(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw flat polygons and discs with anti-aliased edges."""
    image, canvas = _big(side, _color(rng), 4)
    large = 4 * side
    for _ in range(rng.integers(3, 30)):
        (x, y), size = rng.uniform(0, large, 2), large * rng.uniform(0.02, 0.4)
        if rng.random() < 0.4:
            canvas.ellipse([x - size, y - size * rng.uniform(0.3, 1), x + size, y + size], fill=_color(rng))
        else:
            angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 8)))
            corners = [(x + size * math.cos(a), y + size * math.sin(a)) for a in angles.tolist()]
            canvas.polygon(corners, fill=_color(rng))
    return _small(image, side)


def _stripes(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw stripes of hues of any width and direction."""
    y, x = np.mgrid[0 : 3 * side, 0 : 3 * side] / 3.0
    angle = rng.choice([0, math.pi / 2, rng.uniform(0, math.pi)])
    period = 2.0 * 32 ** rng.random()
    phase = (x * math.cos(angle) + y * math.sin(angle)) / period
    # Rings.
    if rng.random() < 0.2:
        phase = np.hypot(x - rng.uniform(0, side), y - rng.uniform(0, side)) / period
    n = int(rng.integers(2, 7))
    colors = np.array([_color(rng) for _ in range(n)], np.uint8)
    # Hues of equal brightness: then colour alone shows the edges.
    if rng.random() < 0.4:
        weights, mean = np.array([0.299, 0.587, 0.114]), rng.uniform(60, 200)
        colors = np.clip(colors - (colors @ weights - mean)[:, None], 0, 255).astype(np.uint8)
    return _small(Image.fromarray(colors[np.floor(phase).astype(int) % n]), side)


def _gradient(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw a smooth change between colours, and sometimes shapes with hard edges on it."""
    y, x = np.mgrid[0:side, 0:side] / side
    corners = np.array([_color(rng) for _ in range(4)], float).reshape(2, 2, 3)
    y, x = y[..., None], x[..., None]
    ramp = (1 - y) * ((1 - x) * corners[0, 0] + x * corners[0, 1])
    ramp += y * ((1 - x) * corners[1, 0] + x * corners[1, 1])
    image = Image.fromarray(np.round(ramp).astype(np.uint8))
    if rng.random() < 0.6:
        mask = _small(_mask(rng, side), side)
        image.paste(Image.new("RGB", (side, side), _color(rng)), mask=mask)
    return image


def _mask(rng: np.random.Generator, side: int) -> Image.Image:
    mask = Image.new("L", (4 * side, 4 * side))
    canvas = ImageDraw.Draw(mask)
    for _ in range(rng.integers(1, 8)):
        x, y, size = rng.uniform(0, 4 * side, 3)
        canvas.ellipse([x, y, x + size / 2, y + size / 3], fill=255)
    return mask


KINDS = {
    "page": _page,
    "lines": _lines,
    "plot": _plot,
    "screen": _screen,
    "shapes": _shapes,
    "stripes": _stripes,
    "gradient": _gradient,
}
