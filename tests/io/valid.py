"""Valid image files of all kinds, each with the image that Pillow, tifffile or its writer has for it."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from itertools import product
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from hostile import DEFLATED, EXPLICIT, JPEG, JPEG_2000, RUN_LENGTHS, dicom, number
from hostile import tiff as tiff_of_parts
from PIL import Image, features

HEIGHT, WIDTH = 37, 50
# Parts that divide the image, and parts that do not; the last strip is shorter.
LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 8},
    "tiles": {"tile": (16, 32)},
}
# Codecs of Pillow's own library for TIFF.
PILLOW_CODECS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma")


def image(dtype="uint8", channels=1):
    """Return an image that is partly smooth and partly noise."""
    y, x, c = np.mgrid[:HEIGHT, :WIDTH, :channels]
    noise = np.random.default_rng(0).integers(0, 9, y.shape)
    values = ((7 * x + 5 * y + 40 * c) % 200 + noise * (x > 20)).astype(np.float64)
    kind = np.dtype(dtype)
    if kind.kind in "iu" and kind.itemsize == 2:
        values = values * 120
    if kind.kind == "i":
        values = values - 40 * (1 if kind.itemsize == 1 else 100)
        values = values.clip(np.iinfo(kind).min, np.iinfo(kind).max)
    if kind.kind == "f":
        values = values / 255 - 0.1
    array = values.astype(kind)
    return array[..., 0] if channels == 1 else array


def tiff(array, **options):
    """Return the bytes of a file by tifffile."""
    stream = BytesIO()
    channels = 1 if array.ndim == 2 else array.shape[2]
    if options.get("planarconfig") == "separate":
        array = np.moveaxis(array, -1, 0)
    options = {"photometric": "rgb" if channels > 2 else "minisblack", "metadata": None, **options}
    if channels == 4:
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def read_by_tifffile(data):
    """Return the image of tifffile, channels last."""
    array = tifffile.imread(BytesIO(data))
    return np.moveaxis(array, 0, -1) if array.ndim == 3 and array.shape[0] in (3, 4) else array


def pillow(kind, mode, **options):
    """Return the bytes of a file by Pillow, and its image."""
    stream = BytesIO()
    made = Image.fromarray(image(channels=3)).convert(
        "RGB" if mode in ("LA", "RGBA") else "L" if mode == "I;16" else mode
    )
    if mode == "I;16":
        made = Image.fromarray(image("uint16"))
    if mode in ("LA", "RGBA"):
        made = made.convert(mode)
        made.putalpha(Image.fromarray(image()))
    if mode == "F":
        made = Image.fromarray(image("float32"))
    made.save(stream, kind, **options)
    return stream.getvalue(), read_by_pillow(stream.getvalue())


def read_by_pillow(data):
    """Return the image of Pillow in gray or colours."""
    with Image.open(BytesIO(data)) as opened:
        opened.load()
        # Palettes become colours, and those of grays become gray.
        if opened.mode == "P":
            has_alpha = "transparency" in opened.info
            return np.array(opened.convert("RGBA" if has_alpha else "RGB"))
        if opened.mode == "1":
            return np.array(opened.convert("L"))
        if opened.mode == "CMYK":
            return np.array(opened.convert("RGB"))
        # Pillow reads PNM of 16 bits into 32 bits.
        return np.array(opened, np.uint16 if opened.mode == "I" else None)


Case = tuple[str, str, bytes, Any]


def tiff_files() -> Iterator[Case]:
    """Yield TIFFs of tifffile: types, codecs, layouts, planes, predictors and byte orders."""
    codecs = (None, "zlib", "lzw", "zstd", "lzma", "packbits")
    for dtype, codec, layout in product(
        ("uint8", "uint16", "int16", "int8", "float32", "float64"), codecs, LAYOUTS
    ):
        array = image(dtype)
        yield (
            f"TIFF {dtype}, {codec}, {layout}",
            ".tif",
            tiff(array, compression=codec, **LAYOUTS[layout]),
            array,
        )
    for dtype, codec, channels, planes, layout in product(
        ("uint8", "uint16"), (None, "zlib", "lzw"), (3, 4), ("contig", "separate"), ("strips", "tiles")
    ):
        array = image(dtype, channels)
        data = tiff(array, compression=codec, planarconfig=planes, **LAYOUTS[layout])
        yield f"TIFF {dtype}, {channels} channels, {codec}, {planes}, {layout}", ".tif", data, array
    for dtype, codec, layout in product(
        ("uint8", "uint16", "float32"), ("zlib", "lzw", "zstd", "lzma"), LAYOUTS
    ):
        array = image(dtype, 3)
        data = tiff(array, compression=codec, predictor=True, **LAYOUTS[layout])
        yield f"TIFF {dtype}, {codec} with predictor, {layout}", ".tif", data, array
    for dtype, codec, order, is_big in product(
        ("uint16", "int16", "float32"), (None, "zlib"), "<>", (False, True)
    ):
        array = image(dtype)
        data = tiff(array, compression=codec, byteorder=order, bigtiff=is_big, rowsperstrip=8)
        yield f"TIFF {dtype}, {codec}, byte order {order}, BigTIFF {is_big}", ".tif", data, array
    yield from encoded_tiff_files()


def encoded_tiff_files() -> Iterator[Case]:
    """Yield TIFFs with images inside, read by tifffile."""
    kinds = [
        *product(("png",), ("uint8", "uint16"), (1, 3, 4), ({},)),
        *product(("jpeg2000",), ("uint8", "uint16"), (1, 3), ({"level": 0},)),
        *product(("webp",), ("uint8",), (3, 4), ({"lossless": True}, {"level": 80})),
        *product(("lerc",), ("uint8", "uint16", "int16", "float32", "float64"), (1, 3), ({},)),
        *product(("jpegxr",), ("uint8", "uint16"), (1, 3), ({"level": 1.0},)),
        *product(("jpeg",), ("uint8",), (1, 3), ({"level": 90}, {"level": 20})),
    ]
    for (codec, dtype, channels, options), layout in product(kinds, LAYOUTS):
        array = image(dtype, channels)
        data = tiff(array, compression=codec, compressionargs=options, **LAYOUTS[layout])
        yield (
            f"TIFF {dtype}, {channels} channels, {codec} {options}, {layout}",
            ".tif",
            data,
            read_by_tifffile(data),
        )


def pillow_files() -> Iterator[Case]:
    """Yield files of Pillow: TIFF by libtiff, and the other formats."""
    for codec, mode in product(PILLOW_CODECS, ("1", "L", "P", "RGB", "RGBA", "I;16", "F", "CMYK")):
        yield f"TIFF by Pillow, {codec}, {mode}", ".tif", *pillow("TIFF", mode, compression=codec)
    for codec in ("group3", "group4", "tiff_ccitt"):
        yield f"TIFF by Pillow, {codec}", ".tif", *pillow("TIFF", "1", compression=codec)
    for codec, mode in product(("jpeg",), ("L", "RGB")):
        yield f"TIFF by Pillow, {codec}, {mode}", ".tif", *pillow("TIFF", mode, compression=codec)
    for mode, optimize in product(("1", "L", "LA", "RGB", "RGBA", "I;16", "P"), (False, True)):
        yield f"PNG, {mode}, optimized {optimize}", ".png", *pillow("PNG", mode, optimize=optimize)
    for mode, progressive, quality in product(("L", "RGB", "CMYK"), (False, True), (30, 95)):
        options = {"progressive": progressive, "quality": quality}
        yield f"JPEG, {mode}, {options}", ".jpg", *pillow("JPEG", mode, **options)
    for sampling in (0, 1, 2):
        yield f"JPEG, subsampling {sampling}", ".jpg", *pillow("JPEG", "RGB", subsampling=sampling)
    yield "JPEG with restarts", ".jpg", *pillow("JPEG", "RGB", restart_marker_blocks=2)
    for mode in ("1", "L", "RGB", "P"):
        yield f"BMP, {mode}", ".bmp", *pillow("BMP", mode)
    for mode, options in product(
        ("RGB", "RGBA"), ({"lossless": True}, {"quality": 60}, {"quality": 90, "method": 6})
    ):
        yield f"WebP, {mode}, {options}", ".webp", *pillow("WEBP", mode, **options)
    for mode in ("RGB", "P"):
        yield f"GIF, {mode}", ".gif", *pillow("GIF", mode)
    for mode in ("1", "L", "RGB", "I;16"):
        yield f"PNM, {mode}", ".pnm", *pillow("PPM", mode)
    for mode, options in product(
        ("L", "RGB", "RGBA"), ({}, {"tile_size": (16, 16)}, {"irreversible": True}, {"num_resolutions": 2})
    ):
        yield f"JPEG 2000, {mode}, {options}", ".jp2", *pillow("JPEG2000", mode, **options)
    if features.check("avif"):
        for mode, quality in product(("RGB", "RGBA"), (50, 90)):
            yield f"AVIF, {mode}, {quality}", ".avif", *pillow("AVIF", mode, quality=quality)


def other_files() -> Iterator[Case]:
    """Yield JPEG 2000 of imagecodecs, AVIF of 10 bits and text of PNM."""
    for dtype, channels, container in product(("uint8", "uint16"), (1, 3), ("jp2", "j2k")):
        array = image(dtype, channels)
        data = imagecodecs.jpeg2k_encode(array, codecformat=container, level=0, reversible=True)
        yield f"JPEG 2000 of {dtype}, {channels} channels, {container}", f".{container}", data, array
    if features.check("avif"):
        array = (image("uint16", 3) // 64).astype(np.uint16)
        yield "AVIF of 10 bits", ".avif", imagecodecs.avif_encode(array, level=100, bitspersample=10), array
    for white, channels in product((255, 65_535), (1, 3)):
        array = image("uint8" if white == 255 else "uint16", channels)
        numbers = "\n".join(" ".join(map(str, row)) for row in array.reshape(HEIGHT, -1))
        start = f"P{2 if channels == 1 else 3} # text\n{WIDTH} {HEIGHT}\n# white\n{white}\n"
        yield f"PNM as text, white {white}, {channels} channels", ".pnm", (start + numbers).encode(), array
    bits = (image() > 90).astype(np.uint8)
    text = f"P1\n{WIDTH} {HEIGHT}\n" + "\n".join("".join(map(str, row)) for row in bits)
    yield "PNM as digits", ".pbm", text.encode(), (1 - bits) * np.uint8(255)


def padded_files() -> Iterator[Case]:
    """Yield TIFFs whose last strip is padded to the length of the others."""
    rows, codes = 16, {"zlib": 8, "lzw": 5, "zstd": 50000, "packbits": 32773, "lzma": 34925}
    array = image()
    padded = np.vstack([array, np.zeros((-HEIGHT % rows, WIDTH), np.uint8)])
    for codec, code in codes.items():
        encode = getattr(imagecodecs, f"{codec}_encode")
        parts = [encode(padded[start : start + rows].tobytes()) for start in range(0, HEIGHT, rows)]
        data = tiff_of_parts(parts, code, width=WIDTH, height=HEIGHT, tags=[number(278, rows)])
        yield f"TIFF, {codec}, last strip padded", ".tif", data, array


def dicom_files() -> Iterator[Case]:
    """Yield DICOM files of some types and transfer syntaxes."""
    for name, deflate in ((EXPLICIT, False), (DEFLATED, True)):
        array = image()
        data = dicom(array.tobytes(), name, rows=HEIGHT, columns=WIDTH, deflate=deflate)
        yield f"DICOM, deflated {deflate}", ".dcm", data, array
    # Run lengths that pack nothing: a count and up to 128 bytes.
    raw = array.tobytes()
    packed = b"".join(bytes([len(raw[i : i + 128]) - 1]) + raw[i : i + 128] for i in range(0, len(raw), 128))
    table = np.array([1, 64, *[0] * 14], "<u4").tobytes()
    yield (
        "DICOM, run lengths",
        ".dcm",
        dicom([table + packed], RUN_LENGTHS, rows=HEIGHT, columns=WIDTH),
        array,
    )
    data = imagecodecs.jpeg2k_encode(array, codecformat="j2k", level=0, reversible=True)
    yield "DICOM, JPEG 2000", ".dcm", dicom([data], JPEG_2000, rows=HEIGHT, columns=WIDTH), array
    data, array = pillow("JPEG", "L")
    yield "DICOM, JPEG", ".dcm", dicom([data], JPEG, rows=HEIGHT, columns=WIDTH), array


def valid_files() -> Iterator[Case]:
    """Yield name, suffix, bytes and image of each file."""
    yield from tiff_files()
    yield from pillow_files()
    yield from other_files()
    yield from padded_files()
    yield from dicom_files()
