"""Damaged files: each gives an image or an UnreadableImageError, without a warning and in good time."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
import zlib
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io import image_size, read_image, write_image

HEIGHT, WIDTH = 17, 24
VARIANTS = 60  # of each kind of file
CUTS = 60
SECONDS = 5  # far more than a small image needs, far less than a hang


def array(channels, dtype="uint8"):
    """Return an image that is partly smooth, so that it is packed, and partly noise."""
    y, x, channel = np.mgrid[:HEIGHT, :WIDTH, :channels]
    noise = np.random.default_rng(0).integers(0, 9, y.shape)
    image = ((7 * x + 5 * y + 40 * channel) % 200 + noise * (x > 12)).astype(dtype)
    image = image * 257 if dtype == "uint16" else image
    return image.squeeze().astype(dtype)


def pillow(kind, mode="RGB", **options):
    """Return the bytes of a file by Pillow."""
    exif = Image.Exif()
    exif[271], exif[274], exif[282], exif[283] = "Maker", 6, 300, 300
    options = {"exif": exif, "icc_profile": bytes(128)} | options
    stream = BytesIO()
    image = Image.fromarray(array(3)).convert(mode)
    image.save(stream, kind, **options)
    return stream.getvalue()


def frames(kind):
    """Return the bytes of an animation, or of a file of two pages."""
    stream = BytesIO()
    images = [Image.fromarray(array(3)), Image.fromarray(array(3)[::-1])]
    images[0].save(stream, kind, save_all=True, append_images=images[1:])
    return stream.getvalue()


def tiff(image, **options):
    """Return the bytes of a file by tifffile."""
    stream = BytesIO()
    tifffile.imwrite(stream, image, **options)
    return stream.getvalue()


def ours(folder, suffix, image):
    """Return the bytes of a file by this library."""
    write_image(folder / f"a{suffix}", image)
    return (folder / f"a{suffix}").read_bytes()


def with_exif(folder):
    exif = Image.Exif()
    exif[271], exif[0x8769], exif[0x8825] = (
        "Maker",
        {33434: (1, 125), 36867: "2026:11:22"},
        {2: (48.0, 8.0, 1.0)},
    )
    Image.fromarray(array(3)).save(folder / "like.png", exif=exif)
    write_image(folder / "with_exif.tif", array(3), like=folder / "like.png")
    return (folder / "with_exif.tif").read_bytes()


KINDS = {
    "PNG": lambda folder: pillow("PNG"),
    "PNG of 16 bits, gray": lambda folder: ours(folder, ".png", array(1, "uint16")),
    "PNG of 16 bits, alpha": lambda folder: ours(folder, ".png", array(4, "uint16")),
    "PNG with a palette": lambda folder: pillow("PNG", "P", transparency=3),
    "JPEG": lambda folder: pillow("JPEG"),
    "progressive JPEG": lambda folder: pillow("JPEG", "L", progressive=True),
    "CMYK JPEG": lambda folder: pillow("JPEG", "CMYK", icc_profile=bytes(16) + b"CMYK" + bytes(108)),
    "TIFF": lambda folder: tiff(array(3), photometric="rgb", rowsperstrip=4),
    "LZW TIFF": lambda folder: pillow("TIFF", compression="tiff_lzw"),
    "TIFF of 16 bits": lambda folder: ours(folder, ".tif", array(4, "uint16")),
    "float TIFF": lambda folder: ours(folder, ".tif", array(1, "float32")),
    "tiled TIFF": lambda folder: tiff(array(1), tile=(16, 16), compression="zlib"),
    "BigTIFF": lambda folder: tiff(array(1), bigtiff=True),
    "TIFF with EXIF": lambda folder: with_exif(folder),
    "TIFF with JPEG inside": lambda folder: pillow("TIFF", compression="jpeg"),
    "TIFF with a palette": lambda folder: pillow("TIFF", "P"),
    "CMYK TIFF": lambda folder: pillow("TIFF", "CMYK"),
    "fax TIFF": lambda folder: pillow("TIFF", "1", compression="group4"),
    "BMP": lambda folder: pillow("BMP"),
    "BMP with a palette": lambda folder: pillow("BMP", "P"),
    "WebP": lambda folder: pillow("WEBP"),
    "lossless WebP with alpha": lambda folder: pillow("WEBP", "RGBA", lossless=True),
    "animated PNG": lambda folder: frames("PNG"),
    "animated WebP": lambda folder: frames("WEBP"),
    "TIFF of two pages": lambda folder: frames("TIFF"),
    "animated GIF": lambda folder: frames("GIF"),
}


def outcome(path, data):
    """Return the image or the UnreadableImageError, and raise all other errors."""
    path.write_bytes(data)
    start = time.monotonic()
    try:
        result = read_image(path)
        assert 0 not in result.shape
        height, width = image_size(path)
        assert result.shape[:2] == (height, width)
    except UnreadableImageError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
        result = error
    assert time.monotonic() - start < SECONDS
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_the_valid_file_is_read_or_refused_for_its_frames(tmp_path, kind, fax_is_read):
    result = outcome(tmp_path / "a", KINDS[kind](tmp_path))
    if "animated" in kind or "two pages" in kind or (kind == "fax TIFF" and not fax_is_read):
        assert isinstance(result, UnreadableImageError)
    else:
        assert result.shape[:2] in ((HEIGHT, WIDTH), (WIDTH, HEIGHT))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_no_image(tmp_path, kind):
    data = KINDS[kind](tmp_path)
    whole = outcome(tmp_path / "a", data)
    for length in np.linspace(0, len(data) - 1, CUTS).astype(int):
        result = outcome(tmp_path / "a", data[:length])
        # a file that lacks only what stands behind the pixels may be read, but then completely
        if not isinstance(result, UnreadableImageError):
            np.testing.assert_array_equal(result, whole, strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_give_an_image_or_the_error(tmp_path, kind):
    data = np.frombuffer(KINDS[kind](tmp_path), np.uint8)
    rng = np.random.default_rng(0)
    for variant in range(VARIANTS):
        damaged = data.copy()
        near = len(data) if variant % 2 else min(len(data), 200)  # headers are short and decide most
        places = rng.integers(0, near, rng.integers(1, 4))
        damaged[places] = rng.integers(0, 256, len(places))
        outcome(tmp_path / "a", damaged.tobytes())


def test_files_that_are_no_images_are_refused_in_words(tmp_path):
    path = tmp_path / "a.png"
    for data, message in [
        (b"", "the file is empty"),
        (b"A text, not an image.", "it is no image that can be read; readable formats are PNG, JPEG, TIFF"),
        (b"\0" * 99, "it is no image"),
        (b"\0\0\0\x18ftypheic", "it is a HEIC file"),
        (b"\x89PNG\r\n\x1a\n", "the file is cut off"),
        (b"\xff\xd8\xff\xe0", "the file is cut off"),
        (b"\xff\xd8\xff\xe0\0\2text", "its header is damaged"),
        (b"II*\0", "its content is damaged"),
        (b"RIFF\x04\0\0\0WEBP", "its header is damaged"),
        (b"BM", "its content is damaged"),
    ]:
        path.write_bytes(data)
        for read in (read_image, image_size):
            with pytest.raises(UnreadableImageError, match=message) as caught:
                read(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert caught.value.__cause__ is not None
        with pytest.raises(UnreadableImageError, match=message):
            write_image(tmp_path / "b.png", array(1), like=path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match="it is no regular file"):
        read_image(tmp_path / "a.png")


def claimed(kind, side):
    """Return a file that claims to be a square image, and holds next to nothing."""
    if kind == "PNG":
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
        chunks = [header, b"IDAT" + zlib.compress(bytes(99)), b"IEND"]
        packed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
        return b"\x89PNG\r\n\x1a\n" + b"".join(packed)
    if kind == "JPEG":
        frame = struct.pack(">BBHBHHB", 0xFF, 0xC0, 11, 8, side, side, 1) + b"\1\x11\0"
        return b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(99)
    if kind == "BMP":
        return (
            b"BM"
            + struct.pack("<IIIIiiHHIIiiII", 200, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
            + bytes(99)
        )
    tags = [
        (256, side),
        (257, side),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, side),
        (279, 99),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (
        b"II*\0" + struct.pack("<I", 108) + bytes(100) + struct.pack("<H", len(tags)) + directory + bytes(4)
    )


def empty_parts(kind, n):
    """Return a file of a small image and a number of empty parts."""
    stream = BytesIO()
    if kind == "TIFF":
        places = [8 + 18 * number for number in range(1, n)] + [0]
        directories = b"".join(struct.pack("<HHHIII", 1, 256, 3, 1, 10, place) for place in places)
        return b"II*\0" + struct.pack("<I", 8) + directories
    Image.new("RGB", (10, 10)).save(stream, kind)
    data = stream.getvalue()
    if kind == "PNG":
        chunk = struct.pack(">I4sI", 0, b"eXIf", zlib.crc32(b"eXIf"))
        return data[:33] + chunk * n + data[33:]
    if kind == "JPEG":
        return data[:2] + b"\xff\xe2\x00\x02" * n + data[2:]
    chunks = b"".join(struct.pack(">II", 0x41000000 + number, 0) for number in range(n))
    return b"RIFF" + struct.pack("<I", len(data) - 8 + len(chunks)) + data[8:] + chunks


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_of_many_empty_parts_is_refused_before_it_takes_minutes(tmp_path, kind):
    path = tmp_path / "crumbs"
    path.write_bytes(empty_parts(kind, 1000))
    assert image_size(path) == (10, 10)
    path.write_bytes(empty_parts(kind, 2**16 + 2**11))
    with pytest.raises(UnreadableImageError, match=r"consists of more than \d+ parts; save the image anew"):
        image_size(path)


def test_a_tiff_of_many_pages_is_refused_by_their_number(tmp_path):
    (tmp_path / "pages.tif").write_bytes(empty_parts("TIFF", 2**10 + 1))
    with pytest.raises(UnreadableImageError, match="more than 1024 frames or pages"):
        image_size(tmp_path / "pages.tif")


@pytest.mark.parametrize(
    ("count", "entry"),
    [(60_000, (256, 3, 1, 10)), (1, (273, 4, 2**21, 8)), (100, (34675, 7, 2**20, 8))],
    ids=["tags", "places", "bytes that are counted again and again"],
)
def test_a_tiff_directory_that_claims_too_much_is_refused(tmp_path, count, entry):
    entries = struct.pack("<HHII", *entry) * count
    data = b"II*\0" + struct.pack("<IH", 8, count) + entries + struct.pack("<I", 0)
    (tmp_path / "large.tif").write_bytes(data + bytes(2**23))
    with pytest.raises(UnreadableImageError, match="its header is damaged"):
        image_size(tmp_path / "large.tif")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_an_absurd_size_is_refused_before_anything_is_allocated(tmp_path, kind):
    (tmp_path / "a").write_bytes(claimed(kind, 30_000))
    with pytest.raises(UnreadableImageError):  # imports what is imported lazily
        read_image(tmp_path / "a")
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableImageError, match=r"it claims 30000 x 30000 pixels .* pass max_pixels="):
            read_image(tmp_path / "a")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**20
    assert image_size(tmp_path / "a") == (30_000, 30_000)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_a_size_within_the_limit_that_is_not_there_is_refused(tmp_path, kind):
    assert isinstance(outcome(tmp_path / "a", claimed(kind, 5000)), UnreadableImageError)


def test_a_jpeg_inside_a_tiff_cannot_claim_more_than_its_place(tmp_path):
    data = pillow("TIFF", compression="jpeg")
    header = struct.pack(">BHH", 8, HEIGHT, WIDTH)
    assert header in data
    (tmp_path / "a").write_bytes(data.replace(header, struct.pack(">BHH", 8, 60_000, 60_000)))
    with pytest.raises(UnreadableImageError, match="and 3 channels holds an image of 60000 x 60000"):
        read_image(tmp_path / "a")


def test_an_image_that_does_not_fit_in_memory_is_refused(tmp_path, monkeypatch):
    import imagecodecs

    def fail(data):
        raise MemoryError

    write_image(tmp_path / "a.png", array(1))
    monkeypatch.setattr(imagecodecs, "png_decode", fail)
    with pytest.raises(UnreadableImageError, match="not enough memory"):
        read_image(tmp_path / "a.png")
