from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms

from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io import WRITABLE_SUFFIXES, image_size, image_suffix, read_image, write_image
from sk_denoise.io._exif import extract_exif
from sk_denoise.io._formats import FORMATS

HEIGHT, WIDTH = 17, 24
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# What Pillow's FLIP_.. and ROTATE_.. do, in numpy: stored -> upright
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def array(channels=0, dtype="uint8", seed=0):
    """Return noise that uses the whole range of the type, gray for 0 channels."""
    shape = (HEIGHT, WIDTH, channels)[: 2 + bool(channels)]
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def smooth():
    """Return colours that JPEG keeps closely."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([8 * x, 12 * y, 5 * (x + y)], axis=2).astype(np.uint8)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth, kind, rows, *extra):
    """Return the bytes of a PNG from its raw rows."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def same(actual, expected):
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected, strict=True)
    assert actual.flags.c_contiguous
    assert actual.flags.writeable


LOSSLESS = [
    (format_.suffixes[0], dtype, channels)
    for format_ in FORMATS
    if format_.name != "JPEG"
    for dtype in format_.dtypes
    for channels in (0, 2, 3, 4)
    if format_.encode
    and (format_.alpha or channels not in (2, 4))
    and (format_.name != "WebP" or channels >= 3)
]


@pytest.mark.parametrize(("suffix", "dtype", "channels"), LOSSLESS)
def test_lossless_files_keep_the_array(tmp_path, suffix, dtype, channels):
    image = array(channels, dtype)
    write_image(tmp_path / f"a{suffix}", image)
    same(read_image(tmp_path / f"a{suffix}"), image)
    assert image_size(tmp_path / f"a{suffix}") == (HEIGHT, WIDTH)
    assert [file.name for file in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize(("suffix", "dtype", "channels"), LOSSLESS)
@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 4), (3, 4)])
def test_tiny_images_keep_their_shape(tmp_path, suffix, dtype, channels, size):
    image = np.ones((*size, channels)[: 2 + bool(channels)], dtype)
    write_image(tmp_path / f"a{suffix}", image)
    same(read_image(tmp_path / f"a{suffix}"), image)


def test_jpeg_is_close_to_the_written_image(tmp_path):
    for image in (smooth(), smooth()[..., 0]):
        write_image(tmp_path / "a.jpg", image, quality=100)
        actual = read_image(tmp_path / "a.jpg")
        assert actual.shape == image.shape
        assert np.abs(actual.astype(int) - image).max() <= 4
    write_image(tmp_path / "b.jpg", image, quality=10)
    assert (tmp_path / "b.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size


def test_webp_has_colours_only_and_keeps_an_opaque_alpha_channel(tmp_path):
    write_image(tmp_path / "a.webp", array())
    same(read_image(tmp_path / "a.webp"), np.dstack([array()] * 3))
    opaque = np.dstack([array(3), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    write_image(tmp_path / "a.webp", opaque)
    same(read_image(tmp_path / "a.webp"), opaque)
    Image.fromarray(array(3)).save(tmp_path / "p.webp", lossless=True, icc_profile=SRGB)
    write_image(tmp_path / "a.webp", opaque, like=tmp_path / "p.webp")
    same(read_image(tmp_path / "a.webp"), opaque)


@pytest.mark.parametrize("suffix", sorted(WRITABLE_SUFFIXES))
def test_pillow_reads_written_files(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix.upper()}", smooth())
    with Image.open(tmp_path / f"a{suffix.upper()}") as image:
        assert np.abs(np.array(image).astype(int) - smooth()).max() <= 6


def test_one_channel_is_gray_and_truth_values_are_black_and_white(tmp_path):
    write_image(tmp_path / "a.png", array(1))
    same(read_image(tmp_path / "a.png"), array(1)[..., 0])
    write_image(tmp_path / "a.png", array() > 99)
    same(read_image(tmp_path / "a.png"), np.where(array() > 99, 255, 0).astype(np.uint8))


def test_any_layout_in_memory_is_written(tmp_path):
    for image in (array(3, "uint16")[::-1, ::2], array(3, "uint16").astype(">u2"), array(3).tolist()):
        expected = np.asarray(image, "uint16")
        for suffix in (".png", ".tif"):
            write_image(tmp_path / f"a{suffix}", np.asarray(image, getattr(image, "dtype", "uint16")))
            same(read_image(tmp_path / f"a{suffix}"), expected)
    write_image(tmp_path / "a.tif", array(0, "float16"))
    same(read_image(tmp_path / "a.tif"), array(0, "float16").astype("float32"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_orientation_is_applied(tmp_path, suffix, orientation):
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, smooth(), photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(smooth()).save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    expected = UPRIGHT[orientation](smooth())
    actual = read_image(path)
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).max() <= (40 if suffix == ".jpg" else 0)
    assert actual.flags.c_contiguous
    assert image_size(path) == expected.shape[:2]


def test_exif_of_either_byte_order_and_nonsense_is_understood(tmp_path):
    for order, mark in ("<", b"II*\0"), (">", b"MM\0*"):
        entry = struct.pack(order + "IHHHIHH", 8, 1, 274, 3, 1, 6, 0)
        (tmp_path / "a.png").write_bytes(png(2, 1, 8, 0, b"\0\1\2", chunk(b"eXIf", mark + entry + bytes(4))))
        same(read_image(tmp_path / "a.png"), np.array([[1], [2]], np.uint8))
    unknown = mark + entry.replace(b"\0\6", b"\0\x09") + bytes(4)
    for nonsense in (b"", b"no", b"II*\0\xff\xff\xff\xff", mark + entry[:9], unknown):
        (tmp_path / "a.png").write_bytes(png(2, 1, 8, 0, b"\0\1\2", chunk(b"eXIf", nonsense)))
        same(read_image(tmp_path / "a.png"), np.array([[1, 2]], np.uint8))


@pytest.mark.parametrize(
    ("depth", "kind", "row", "extra", "expected"),
    [
        (1, 0, b"\xa0", [], [[255, 0, 255]]),
        (2, 0, b"\x18", [], [[0, 85, 170]]),
        (4, 0, b"\x1f\x20", [], [[17, 255, 34]]),
        (2, 0, b"\x18", [(b"tRNS", b"\0\1")], [[[0, 255], [85, 0], [170, 255]]]),
        (2, 3, b"\x18", [(b"PLTE", bytes(range(9)))], [[[0, 1, 2], [3, 4, 5], [6, 7, 8]]]),
        (
            2,
            3,
            b"\x18",
            [(b"PLTE", bytes(range(9))), (b"tRNS", b"\0\7")],
            [[[0, 1, 2, 0], [3, 4, 5, 7], [6, 7, 8, 255]]],
        ),
        (8, 4, bytes(range(6)), [], [[[0, 1], [2, 3], [4, 5]]]),
    ],
)
def test_png_of_few_bits_and_palettes_come_in_8_bits(tmp_path, depth, kind, row, extra, expected):
    (tmp_path / "a.png").write_bytes(png(3, 1, depth, kind, b"\0" + row, *(chunk(*pair) for pair in extra)))
    same(read_image(tmp_path / "a.png"), np.array(expected, np.uint8))


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_is_not_cut_to_8_bits(tmp_path, kind, channels):
    expected = np.arange(channels, dtype=np.uint16).reshape(1, 1, channels) * 257 + 4321
    rows = b"\0" + expected.astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(1, 1, 16, kind, rows))
    same(read_image(tmp_path / "a.png"), expected if channels > 1 else expected[..., 0])


def test_16_bit_png_with_a_transparent_colour_has_an_alpha_channel(tmp_path):
    rows = b"\0" + np.array([1000, 2000], ">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 2000))))
    same(read_image(tmp_path / "a.png"), np.array([[[1000, 65535], [2000, 0]]], np.uint16))


TIFFS = {
    "lzw": (array(3, "uint16"), {"compression": "lzw", "predictor": True}),
    "deflate in tiles": (array(4), {"compression": "zlib", "tile": (16, 16), "photometric": "rgb"}),
    "BigTIFF": (array(0, "float32"), {"bigtiff": True}),
    "big endian": (array(3, "uint16"), {"byteorder": ">"}),
    "packbits in strips": (array(0), {"compression": "packbits", "rowsperstrip": 3}),
    "floats with predictor": (array(3, "float32"), {"compression": "zlib", "predictor": True}),
    "doubles": (array(0, "float64"), {}),
    "lossless WebP": (array(3), {"compression": "webp", "compressionargs": {"level": 101}}),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_tiffs_of_many_kinds_are_read_as_they_are(tmp_path, kind):
    image, options = TIFFS[kind]
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", image, **{"photometric": photometric, "metadata": None} | options)
    same(read_image(tmp_path / "a.tif"), image)
    assert image_size(tmp_path / "a.tif") == image.shape[:2]


def test_planar_tiff_comes_with_channels_last(tmp_path):
    image = array(3, "uint16")
    planes = np.moveaxis(image, -1, 0)
    for compression in (None, "zlib"):
        tifffile.imwrite(
            tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", compression=compression
        )
        same(read_image(tmp_path / "a.tif"), image)


def test_half_precision_becomes_single(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", array(0, "float16"))
    same(read_image(tmp_path / "a.tif"), array(0, "float16").astype("float32"))


def test_12_bits_are_kept_as_they_are(tmp_path):
    image = array(0, "uint16") >> 4
    tifffile.imwrite(tmp_path / "a.tif", image)  # 12 bits in 16
    same(read_image(tmp_path / "a.tif"), image)
    packed = packed_bits(image, 12)
    (tmp_path / "b.tif").write_bytes(tiff(packed, bits=12))
    same(read_image(tmp_path / "b.tif"), image)
    (tmp_path / "b.tif").write_bytes(tiff(packed, bits=12, photometric=0))
    same(read_image(tmp_path / "b.tif"), 4095 - image)


def tiff(data, *, bits=8, photometric=1, extra=(), width=WIDTH, height=HEIGHT, samples=1, entries=None):
    """Return the bytes of a little-endian TIFF of one strip; `extra` are tags (code, type, count, value)."""
    tags = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, bits),
        259: (3, 1, 1),
        262: (3, 1, photometric),
        273: (4, 1, 8),
        277: (3, 1, samples),
        278: (4, 1, height),
        279: (4, 1, len(data)),
    }
    tags |= {code: rest for code, *rest in extra}
    body = data + bytes(len(data) % 2)
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", code, *tags[code]) for code in sorted(tags))
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + bytes(4)


def packed_bits(image, bits):
    digits = image[..., None] >> np.arange(bits)[::-1] & 1
    return np.packbits(digits.reshape(len(image), -1).astype(np.uint8), axis=1).tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_tiffs_of_few_bits_are_scaled_and_white_at_0_is_inverted(tmp_path, bits):
    image = array() >> (8 - bits)
    packed = packed_bits(image, bits)
    expected = image * np.uint8(255 // (2**bits - 1))
    (tmp_path / "a.tif").write_bytes(tiff(packed, bits=bits))
    same(read_image(tmp_path / "a.tif"), expected)
    (tmp_path / "a.tif").write_bytes(tiff(packed, bits=bits, photometric=0))
    same(read_image(tmp_path / "a.tif"), 255 - expected)


def test_white_at_0_is_inverted_in_8_and_16_bits(tmp_path):
    for dtype in ("uint8", "uint16"):
        tifffile.imwrite(tmp_path / "a.tif", array(0, dtype), photometric="miniswhite")
        same(read_image(tmp_path / "a.tif"), np.iinfo(dtype).max - array(0, dtype))


@pytest.mark.parametrize("compression", ["packbits", "group3", "group4", "tiff_ccitt"])
def test_black_and_white_tiffs_of_pillow_are_read(tmp_path, compression, fax_is_read):
    if compression != "packbits" and not fax_is_read:
        pytest.skip("the libraries are too old for it")
    black = Image.fromarray(array() > 99)
    black.save(tmp_path / "a.tif", compression=compression)
    same(read_image(tmp_path / "a.tif"), np.array(black.convert("L")))


def test_palette_tiffs_of_pillow_are_read(tmp_path):
    colors = Image.fromarray(smooth()).quantize(16)
    colors.save(tmp_path / "a.tif")
    same(read_image(tmp_path / "a.tif"), np.array(colors.convert("RGB")))


def test_jpeg_in_tiff_is_read_as_rgb(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    actual = read_image(tmp_path / "a.tif")
    assert actual.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(actual.astype(int) - smooth()).mean() < 6


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb(tmp_path, suffix):
    cmyk = Image.fromarray(smooth()).convert("CMYK")
    cmyk.save(tmp_path / f"a{suffix}", **({"quality": 100} if suffix == ".jpg" else {}))
    actual = read_image(tmp_path / f"a{suffix}")
    assert np.abs(actual.astype(int) - np.array(cmyk.convert("RGB"))).max() <= (8 if suffix == ".jpg" else 0)
    cmyk.save(tmp_path / f"a{suffix}", icc_profile=b"broken".ljust(16) + b"CMYK" + bytes(200))
    assert read_image(tmp_path / f"a{suffix}").shape == (HEIGHT, WIDTH, 3)


def cmyk_profile():
    """Return a small CMYK profile in which black ink alone counts, all else is paper white."""
    ramp = bytes(range(256))
    corners = b"".join(bytes([0 if corner & 1 else 255, 128, 128]) for corner in range(16))  # L*, a*, b*
    identity = struct.pack(">9i", *(65536 * (row == column) for row in range(3) for column in range(3)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + corners + ramp * 3
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x12s48x", 144 + len(table), 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp", white
    )
    return head + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb_by_its_profile(tmp_path, suffix):
    inks = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    inks[..., 0] = 200
    inks[: HEIGHT // 2, :, 3] = 255
    cmyk = Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes())
    cmyk.save(tmp_path / f"a{suffix}", icc_profile=cmyk_profile())
    actual = read_image(tmp_path / f"a{suffix}")
    assert actual.shape == (HEIGHT, WIDTH, 3)
    assert actual[0].max() <= 5
    assert actual[-1].min() >= 250  # Pillow's own rule would make it cyan


def test_ycbcr_and_lab_become_rgb(tmp_path):
    ycbcr = Image.fromarray(smooth()).convert("YCbCr")
    data = tiff(ycbcr.tobytes(), photometric=6, samples=3, extra=[(530, 3, 2, 0x10001)])
    (tmp_path / "a.tif").write_bytes(data)
    same(read_image(tmp_path / "a.tif"), np.array(ycbcr.convert("RGB")))
    lab = np.full((HEIGHT, WIDTH, 3), (255, 0, 0), np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(lab.tobytes(), photometric=8, samples=3))
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - 255).max() <= 1
    (tmp_path / "a.tif").write_bytes(
        tiff((lab ^ [0, 128, 128]).astype("u1").tobytes(), photometric=9, samples=3)
    )
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - 255).max() <= 1


def test_bmp_of_pillow_in_each_mode(tmp_path):
    colors = Image.fromarray(smooth())
    for image, expected in [
        (colors.quantize(16), "RGB"),
        (colors.convert("L"), "L"),
        (colors.convert("1"), "L"),
        (colors, "RGB"),
        (colors.convert("RGBA"), "RGBA"),
    ]:
        image.save(tmp_path / "a.bmp")
        with Image.open(tmp_path / "a.bmp") as reference:
            mode = "RGBA" if reference.mode == "RGBA" else expected.removesuffix("A")
            same(read_image(tmp_path / "a.bmp"), np.array(reference.convert(mode)))


def test_the_content_decides_not_the_name(tmp_path):
    write_image(tmp_path / "a.jpg", smooth())
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (HEIGHT, WIDTH, 3)
    assert image_size(tmp_path / "a.png") == (HEIGHT, WIDTH)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [0, 2, 3, 4])
def test_options_choose_colours_and_alpha(tmp_path, dtype, channels):
    image = array(channels, dtype)
    write_image(tmp_path / "a.tif", image)
    has_alpha = channels in (2, 4)
    colors = image[..., :-1] if has_alpha else image.reshape(HEIGHT, WIDTH, -1)
    opaque = read_image(tmp_path / "a.tif", alpha="drop")
    same(opaque, np.ascontiguousarray(colors.squeeze()))
    rgb = read_image(tmp_path / "a.tif", color="rgb", alpha="drop")
    same(rgb, np.ascontiguousarray(np.broadcast_to(colors, (HEIGHT, WIDTH, 3))))
    gray = read_image(tmp_path / "a.tif", color="gray", alpha="drop")
    assert gray.dtype == dtype
    if dtype == "uint8":
        same(gray, np.array(Image.fromarray(rgb).convert("L")))
    np.testing.assert_allclose(gray, rgb @ np.array([0.299, 0.587, 0.114]), rtol=1e-4, atol=1)
    both = read_image(tmp_path / "a.tif", color="gray")
    assert both.shape == (HEIGHT, WIDTH, 2)[: 2 + has_alpha]
    if has_alpha:
        same(both[..., 1].copy(), image[..., -1].copy())
        same(read_image(tmp_path / "a.tif", color="rgb"), np.dstack([rgb, image[..., -1]]))


def test_the_brightest_16_bit_white_is_white_in_gray(tmp_path):
    write_image(tmp_path / "a.png", np.full((1, 1, 3), 65535, np.uint16))
    same(read_image(tmp_path / "a.png", color="gray"), np.array([[65535]], np.uint16))


def test_unknown_options_are_refused(tmp_path):
    write_image(tmp_path / "a.png", array())
    with pytest.raises(ValueError, match=r"color must be one of 'keep', 'gray', 'rgb', got 'grey'"):
        read_image(tmp_path / "a.png", color="grey")
    with pytest.raises(ValueError, match="alpha must be one of 'keep', 'drop', got None"):
        read_image(tmp_path / "a.png", alpha=None)


@pytest.mark.parametrize(
    ("quality", "error", "message"),
    [
        (0, ValueError, "quality must be 1 to 100, got 0"),
        (101, ValueError, "quality must be 1 to 100, got 101"),
        (90.0, TypeError, r"quality must be an integer from 1 to 100, got 90\.0"),
        (True, TypeError, "got True"),
        ("high", TypeError, "got 'high'"),
        (None, TypeError, "got None"),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_quality_out_of_range_is_refused(tmp_path, suffix, quality, error, message):
    with pytest.raises(error, match=message):
        write_image(tmp_path / f"a{suffix}", array(), quality=quality)
    assert not list(tmp_path.iterdir())


def test_the_quality_may_be_an_integer_of_numpy(tmp_path):
    for name, quality in (("a.jpg", 80), ("b.jpg", np.int64(80))):
        write_image(tmp_path / name, smooth(), quality=quality)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_text_and_path_like_objects_are_paths(tmp_path):
    class Place:
        def __fspath__(self):
            return str(tmp_path / "a.png")

    for place in (Place(), str(tmp_path / "a.png"), tmp_path / "a.png"):
        write_image(place, array(), like=None)
        same(read_image(place), array())
        assert image_size(place) == (HEIGHT, WIDTH)


def test_a_name_alone_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image("a.png", array())
    same(read_image("a.png"), array())


def test_threads_read_the_same(tmp_path):
    for suffix in sorted(WRITABLE_SUFFIXES):
        write_image(tmp_path / f"a{suffix}", smooth())
    paths = sorted(tmp_path.iterdir()) * 20
    alone = [read_image(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(read_image, paths), strict=True):
            same(one, other)


def test_images_beyond_pillows_limit_are_read_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for suffix in sorted(WRITABLE_SUFFIXES):
        write_image(tmp_path / f"a{suffix}", smooth())
        assert read_image(tmp_path / f"a{suffix}").shape == (HEIGHT, WIDTH, 3)


def test_the_limit_of_pixels_can_be_moved(tmp_path):
    for suffix in sorted(WRITABLE_SUFFIXES):
        write_image(tmp_path / f"a{suffix}", smooth())
        assert read_image(tmp_path / f"a{suffix}", max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(UnreadableImageError, match=rf"a{suffix}: it claims 24 x 17 .* pass max_pixels="):
            read_image(tmp_path / f"a{suffix}", max_pixels=HEIGHT * WIDTH - 1)


def camera(path, **options):
    """Write an image with the metadata of a camera."""
    exif = Image.Exif()
    exif[271], exif[274], exif[282], exif[283], exif[296] = "Maker", 6, 300, 300, 2
    if path.suffix != ".tif":  # Pillow cannot write it there
        exif[0x8769] = {33434: (1, 125)}  # exposure time
    Image.fromarray(smooth()).save(path, exif=exif, icc_profile=SRGB, dpi=(300, 300), **options)
    return path


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize(
    ("target", "dtype"),
    [
        ("b.jpg", "uint8"),
        ("b.webp", "uint8"),
        ("b.png", "uint8"),
        ("b.png", "uint16"),
        ("b.tif", "uint8"),
        ("b.tif", "uint16"),
    ],
)
def test_the_profile_is_copied_byte_for_byte(tmp_path, source, target, dtype):
    camera(tmp_path / source)
    write_image(tmp_path / target, array(3, dtype), like=tmp_path / source)
    with (tmp_path / target).open("rb") as stream:
        if target == "b.tif":
            with tifffile.TiffFile(stream) as tif:
                assert tif.pages[0].iccprofile == SRGB
        else:
            assert Image.open(stream).info["icc_profile"] == SRGB
    if target != "b.jpg":
        same(read_image(tmp_path / target), array(3, dtype))


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.webp"])
def test_exif_is_copied_and_upright(tmp_path, source, target):
    camera(tmp_path / source)
    seen = read_image(tmp_path / source)
    write_image(tmp_path / target, seen, like=tmp_path / source)
    with Image.open(tmp_path / target) as image:
        exif = image.getexif()
        assert exif[271] == "Maker"
        assert exif[274] == 1
        assert exif.get_ifd(0x8769)[33434] == (1, 125)
    assert read_image(tmp_path / target).shape == seen.shape


ABOUT = {271: "Maker", 306: "2026:11:22 01:02:03", 315: "An artist with a name", 33432: "me"}
EXPOSURE = {33434: (1, 125), 34855: 400, 36867: "2026:11:22 01:02:03", 33437: (28, 10)}
PLACE = {1: "N", 2: (48.0, 8.0, 14.5), 3: "E"}


def photographed(path, endian):
    """Write a PNG with EXIF data in all three directories, notes of the maker, and a byte order."""
    exif = Image.Exif()
    exif.endian = endian
    for tag, value in {**ABOUT, 274: 6}.items():
        exif[tag] = value
    exif[0x8769] = {**EXPOSURE, 37500: b"notes that point into the file"}
    exif[0x8825] = PLACE
    Image.fromarray(smooth()).save(path, exif=exif)
    return path


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("way", ["b.tif", "b.tif c.tif", "b.tif c.jpg", "b.tif c.png d.tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_exif_is_copied_through_tiffs_in_any_byte_order(tmp_path, way, endian, channels):
    source = photographed(tmp_path / "a.png", endian)
    seen = array(channels)[..., 0] if channels == 1 else array(channels)
    for name in way.split():
        write_image(tmp_path / name, seen, like=source)
        source = tmp_path / name
        if name != "c.jpg":
            same(read_image(source), seen)
    with Image.open(source) as image:
        exif = image.getexif()
        assert {tag: exif[tag] for tag in ABOUT} == ABOUT
        assert {tag: exif.get_ifd(0x8769)[tag] for tag in EXPOSURE} == EXPOSURE
        assert {tag: exif.get_ifd(0x8825)[tag] for tag in PLACE} == PLACE
        assert 37500 not in exif.get_ifd(0x8769)
        assert exif.get(274, 1) == 1


def test_another_reader_finds_exif_in_a_tiff(tmp_path):
    write_image(tmp_path / "b.tif", array(3, "uint16"), like=photographed(tmp_path / "a.png", ">"))
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        tags = tif.pages[0].tags
        assert [tag.code for tag in tags] == sorted(tag.code for tag in tags)
        assert tags.valueof(271) == "Maker"
        assert tags.valueof(34665)["ISOSpeedRatings"] == 400
        assert tags.valueof(34853)["GPSLatitude"] == (48, 1, 8, 1, 29, 2)
        assert len(tif.pages) == 1
        np.testing.assert_array_equal(tif.asarray(), array(3, "uint16"))


@pytest.mark.parametrize(
    "title", ["ImageJ=1.54f\nimages=1", '<?xml version="1.0"?><OME/>', '{"shape": [17, 24]}']
)
def test_titles_for_programs_are_not_copied(tmp_path, title):
    tifffile.imwrite(tmp_path / "a.tif", array(1), photometric="minisblack", description=title, metadata=None)
    write_image(tmp_path / "b.tif", array(1), like=tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages[0].tags.valueof(270) is None


def test_a_title_for_people_is_copied(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", array(1), photometric="minisblack", description="A cat", metadata=None
    )
    write_image(tmp_path / "b.jpg", array(1), like=tmp_path / "a.tif")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[270] == "A cat"


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_read_from_big_tiffs(order):
    def entry(tag, kind, count, value):
        return struct.pack(order + "HHQ", tag, kind, count) + value.ljust(8, b"\0")

    inside = struct.pack(order + "Q", 1) + entry(34855, 3, 1, struct.pack(order + "H", 400)) + bytes(8)
    first = [
        entry(271, 2, 12, struct.pack(order + "Q", 200)),
        entry(34665, 18, 1, struct.pack(order + "Q", 300)),
        entry(40000, 16, 1, struct.pack(order + "Q", 5)),
    ]
    directory = struct.pack(order + "Q", len(first)) + b"".join(first) + bytes(8)
    data = (bytes(16) + directory).ljust(200, b"\0") + b"Maker, long\0"
    data = data.ljust(300, b"\0") + inside
    exif = Image.Exif()
    exif.load(extract_exif(BytesIO(data), 16, order, is_big=True))
    assert exif[271] == "Maker, long"
    assert exif.get_ifd(0x8769) == {34855: 400}


def test_damaged_exif_in_a_tiff_is_no_exif(tmp_path):
    write_image(tmp_path / "b.tif", array(1), like=photographed(tmp_path / "a.png", "<"))
    whole = (tmp_path / "b.tif").read_bytes()
    (first,) = struct.unpack_from("<I", whole, 4)
    (count,) = struct.unpack_from("<H", whole, first)
    places = range(first + 2, first + 2 + 12 * count, 12)
    (pointer,) = (place for place in places if struct.unpack_from("<H", whole, place)[0] == 34665)
    for place in (len(whole) - 1, len(whole) + 5, 0, 2**32 - 1):
        data = bytearray(whole)
        struct.pack_into("<I", data, pointer + 8, place)
        (tmp_path / "c.tif").write_bytes(data)
        write_image(tmp_path / "d.jpg", array(1), like=tmp_path / "c.tif")
        same(read_image(tmp_path / "c.tif"), array(1)[..., 0])


def with_exif(path, n_bytes):
    """Write a PNG with EXIF data of a given length."""
    exif = struct.pack("<4sIHHHIHH", b"II*\0", 8, 1, 274, 3, 1, 6, 0).ljust(n_bytes, b"\0")
    path.write_bytes(png(2, 1, 8, 0, b"\0\1\2", chunk(b"eXIf", exif)))
    return path


def test_exif_that_is_too_long_for_a_jpeg_is_refused_with_advice(tmp_path):
    write_image(tmp_path / "a.jpg", array(), like=with_exif(tmp_path / "fits.png", 65_527))
    long = with_exif(tmp_path / "long.png", 65_528)
    with pytest.raises(ValueError, match=r"at most 65527 bytes of EXIF .* has 65528\. Write PNG or WebP, or"):
        write_image(tmp_path / "b.jpg", array(), like=long)
    assert not (tmp_path / "b.jpg").exists()
    for suffix in (".png", ".webp"):
        write_image(tmp_path / f"b{suffix}", array(), like=long)


def test_the_thumbnail_of_another_image_is_removed(tmp_path):
    first = struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, 6, 0, 26)
    thumbnail = struct.pack("<HHHIHHI", 1, 259, 3, 1, 6, 0, 0)
    source = png(2, 1, 8, 0, b"\0\1\2", chunk(b"eXIf", b"II*\0" + first + thumbnail))
    (tmp_path / "a.png").write_bytes(source)
    write_image(tmp_path / "b.png", array(), like=tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as old, Image.open(tmp_path / "b.png") as new:
        assert old.getexif().get_ifd(ExifTags.IFD.IFD1)
        assert not new.getexif().get_ifd(ExifTags.IFD.IFD1)


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.tif", "a.bmp"])
@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.tif", "b.bmp"])
def test_the_resolution_is_copied(tmp_path, source, target):
    Image.fromarray(smooth()).save(tmp_path / source, dpi=(300, 150))
    write_image(tmp_path / target, array(3), like=tmp_path / source)
    with Image.open(tmp_path / target) as image:
        assert [float(dots) for dots in image.info["dpi"]] == pytest.approx([300, 150], abs=0.1)


def test_a_profile_for_other_colours_is_not_copied(tmp_path):
    cmyk = SRGB[:16] + b"CMYK" + SRGB[20:]
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=cmyk)
    Image.fromarray(smooth()).save(tmp_path / "c.png", icc_profile=SRGB)
    gray = SRGB[:16] + b"GRAY" + SRGB[20:]
    Image.fromarray(array()).save(tmp_path / "g.png", icc_profile=gray)
    for source, image, kept in [
        ("a.jpg", array(3), None),
        ("c.png", array(), None),
        ("g.png", array(3), None),
        ("g.png", array(), gray),
        ("c.png", array(4), SRGB),
    ]:
        write_image(tmp_path / "b.png", image, like=tmp_path / source)
        with Image.open(tmp_path / "b.png") as written:
            assert written.info.get("icc_profile") == kept


def test_an_image_can_be_its_own_model(tmp_path):
    camera(tmp_path / "a.png")
    seen = read_image(tmp_path / "a.png")
    write_image(tmp_path / "a.png", seen, like=tmp_path / "a.png")
    same(read_image(tmp_path / "a.png"), seen)


@pytest.mark.parametrize("suffix", sorted(WRITABLE_SUFFIXES))
def test_a_failure_leaves_the_old_file_unchanged(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    write_image(path, smooth())
    before = path.read_bytes()

    def fail(*args):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="the disk is full"):
            write_image(path, smooth()[::-1])
    with pytest.raises(ValueError, match=r"must have the shape"):
        write_image(path, np.zeros((2, 2, 5), np.uint8))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions of other systems are others")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_new_file_has_the_permissions_of_the_old_one(tmp_path, mode):
    write_image(tmp_path / "a.png", array())
    (tmp_path / "a.png").chmod(mode)
    write_image(tmp_path / "a.png", array(seed=1))
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == mode
    same(read_image(tmp_path / "a.png"), array(seed=1))


@pytest.mark.skipif(os.name != "posix", reason="permissions of other systems are others")
def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_image(tmp_path / "a.png", array())
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_stays_a_link(tmp_path):
    write_image(tmp_path / "a.png", array())
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    write_image(tmp_path / "link.png", array(seed=1))
    assert (tmp_path / "link.png").is_symlink()
    same(read_image(tmp_path / "a.png"), array(seed=1))


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("a.heic", array(), r"a\.heic must end in one of \.bmp, .*\.jpeg, .*got '\.heic'"),
        ("a.gif", array(), r"GIF is read, not written: the name of .*a\.gif must end in .* example \.png"),
        ("a", array(), "got ''"),
        (
            "a.jpg",
            array(0, "uint16"),
            r"a\.jpg: JPEG holds uint8, got uint16; write PNG or TIFF, or",
        ),
        ("a.bmp", array(0, "uint16"), "write PNG or TIFF"),
        ("a.webp", array(3, "uint16"), "write PNG or TIFF"),
        ("a.jpg", array(4), "JPEG has no alpha channel"),
        ("a.bmp", array(2), "BMP has no alpha channel"),
        (
            "a.png",
            array(0, "float32"),
            r"PixelScaler\.inverse_transform or.*astype\(np\.uint8\)",
        ),
        ("a.tif", array(0, "int64"), "TIFF holds uint8 or .* got int64; convert it"),
        ("a.tif", np.array([[np.nan]]), "NaN or infinite"),
        ("a.tif", np.array([[np.inf]], "float32"), "NaN or infinite"),
        ("a.png", np.zeros(4, np.uint8), r"must have the shape .* got \(4,\)"),
        ("a.png", np.zeros((0, 4), np.uint8), r"got \(0, 4\)"),
        ("a.png", np.zeros((2, 4, 5), np.uint8), r"got \(2, 4, 5\)"),
        ("a.webp", np.zeros((1, 16384), np.uint8), "WebP holds at most 16383 pixels a side"),
    ],
)
def test_images_beyond_a_format_are_refused_with_advice(tmp_path, name, image, message):
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.png"):
        read_image(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.png"):
        image_size(str(tmp_path / "none.png"))
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; create it"):
        write_image(tmp_path / "nowhere" / "a.png", array())
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.png"):
        write_image(tmp_path / "a.png", array(), like=tmp_path / "none.png")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_image(tmp_path / "a.png", array())
    assert len(list(tmp_path.iterdir())) == 1


def test_several_frames_are_refused_with_their_number(tmp_path):
    frames = [Image.fromarray(array(3, seed=seed)) for seed in range(3)]
    for name in ("a.png", "a.webp", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        advice = "read them by read_stack, or save the one" if name == "a.tif" else "save the one"
        with pytest.raises(UnreadableImageError, match=rf"{name}: it holds 3 frames or pages; {advice}"):
            read_image(tmp_path / name)
        with pytest.raises(UnreadableImageError, match="3 frames"):
            image_size(tmp_path / name)
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match=r"a\.gif: it holds 3 frames or pages; read them"):
        read_image(tmp_path / "a.gif")


def test_a_preview_beside_the_image_does_not_count(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(array()[::4, ::4], subfiletype=1)
        tif.write(array(), subfiletype=0)
        tif.write(array()[::2, ::2], subfiletype=1)
    same(read_image(tmp_path / "a.tif"), array())
    assert image_size(tmp_path / "a.tif") == (HEIGHT, WIDTH)
    tifffile.imwrite(tmp_path / "raw.tif", array(), subfiletype=1)
    with pytest.raises(UnreadableImageError, match="a preview only, as raw files of cameras do"):
        read_image(tmp_path / "raw.tif")


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (array(0, "uint32"), {}, "of 32 bits .* convert it to integers of 8 or 16 bits or"),
        (array(0, "int32"), {}, "INT, which is not read"),
        (np.array([[1, np.nan]], "float32"), {}, "NaN or infinite"),
        (array(0, "float32"), {"photometric": "miniswhite"}, "white at 0"),
        (
            array(4, "uint16"),
            {"photometric": "separated"},
            "SEPARATED colours of 16 bits; convert it",
        ),
        (np.dstack([array(4), array(3)]), {"photometric": "rgb"}, "7 channels"),
        (array(0), {"photometric": "cfa"}, "1 channels of the colour kind CFA"),
    ],
)
def test_tiffs_that_are_no_usual_images_are_refused(tmp_path, image, options, message):
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    with pytest.raises(UnreadableImageError, match=message):
        read_image(tmp_path / "a.tif")


def test_tifffile_logs_nothing_while_images_are_read(tmp_path, caplog):
    (tmp_path / "a.tif").write_bytes(tiff(array().tobytes(), extra=[(65000, 99, 1, 0)]))  # no such type
    assert read_image(tmp_path / "a.tif").shape == (HEIGHT, WIDTH)
    assert not caplog.records
    tifffile.TiffFile(BytesIO((tmp_path / "a.tif").read_bytes())).close()
    assert caplog.records  # outside of reading, messages are logged as before


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_the_content_decides_on_the_suffix(tmp_path, suffix):
    write_image(tmp_path / f"image{suffix}", np.zeros((3, 4), np.uint8))
    (tmp_path / f"image{suffix}").rename(tmp_path / "image.dat")
    assert image_suffix(tmp_path / "image.dat") == suffix


def test_a_file_that_is_no_image_has_no_suffix(tmp_path):
    (tmp_path / "image.png").write_text("no image")
    with pytest.raises(UnreadableImageError, match="it is no image that can be read"):
        image_suffix(tmp_path / "image.png")
