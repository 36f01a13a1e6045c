"""Hostile files are refused by their claims, in words; valid files of all kinds are read."""

from __future__ import annotations

import struct
import time
import zlib

import imagecodecs
import numpy as np
import pytest
from hostile import IMAGES, MAX_PIXELS, SIDE, bombs, dicom, jpeg, png, tiff
from valid import padded_files, valid_files

from sk_denoise.cli import main
from sk_denoise.datasets import ImageFolder
from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io import image_size, open_stack, read_image

SECONDS = 2
GRAY = (np.arange(SIDE * SIDE) % 251).astype(np.uint8).reshape(SIDE, SIDE)
# Only a stack has many planes, so the first image of these is read.
STACKS_ALONE = ("TIFF: OME of 10^10 planes", "TIFF: shape of 10^9 planes")


def read_planes(path):
    """Read all planes of a file."""
    with open_stack(path, max_pixels=MAX_PIXELS) as stack:
        return list(stack)


def read(path):
    """Read an image under the limit of the zoo."""
    return read_image(path, max_pixels=MAX_PIXELS)


def assert_refused(reader, path, match=None):
    start = time.process_time()
    with pytest.raises(UnreadableImageError, match=match) as caught:
        reader(path)
    assert time.process_time() - start < SECONDS
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.slow
@pytest.mark.parametrize("name", bombs())
def test_each_file_of_the_zoo_is_refused(tmp_path, name):
    suffix, make = bombs()[name]
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(make())
    if name not in STACKS_ALONE:
        assert_refused(read, path)
    assert_refused(read_planes, path)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("PNG (34933) in a strip of a TIFF", "16 x 16 pixels and 1 channels holds an image of 12000 x 12000"),
        ("JPEG (33007) in a tile of a TIFF", "holds an image of 60000 x 60000"),
        ("WebP (50001) in a strip of a TIFF", "holds an image of 16383 x 16383"),
        ("LERC (34887) in a tile of a TIFF", "holds an image of 8000 x 8000"),
        ("JPEG XL (50002) in a strip of a TIFF", "JPEG XL is not read inside a TIFF; save it with another"),
        ("LZW (5) in a strip of a TIFF", "holds more values than its place"),
        ("zstd (50000) in a tile of a TIFF", "holds more values than its place"),
        ("TIFF: 4000 strips that are one block of 3 MB", "strips or tiles overlap: together they have 12000"),
        ("TIFF: 600,000 strips of one pixel", "600000 strips or tiles, more than"),
        ("TIFF: tile of 60,000 x 60,000 for 16 x 16", "tiles of .* are much larger than the image"),
        ("JPEG: 5000 scans", "more than 100 scans"),
        ("GIF: 10,000 frames of one pixel in 1000 x 1000", "10000 frames of 1000 x 1000 pixels"),
        ("JPEG 2000: tiles of one pixel", "consists of 1000000 tiles"),
        ("JPEG 2000: size in another box", "claims .*60000 x 60000"),
        ("WebP: small canvas, large image", "header is damaged"),
        ("DICOM: run lengths of 500 MB", "more than its 256 pixels"),
        ("DICOM: JPEG of 60,000 x 60,000", "claims 16 x 16 pixels, and frame 1 holds 60000 x 60000"),
    ],
)
def test_the_message_says_why(tmp_path, name, match):
    if name.startswith("DICOM"):
        pytest.importorskip("pydicom")
    suffix, make = bombs()[name]
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(make())
    assert_refused(read, path, match)
    assert_refused(read_planes, path, match)


def test_frames_of_gif_and_dicom_are_compared_with_the_limit_before_they_are_decoded(tmp_path):
    pytest.importorskip("pydicom")
    (tmp_path / "a.dcm").write_bytes(dicom([jpeg(2000)], "1.2.840.10008.1.2.4.50", rows=2000, columns=2000))
    assert image_size(tmp_path / "a.dcm") == (2000, 2000)
    assert_refused(read_planes, tmp_path / "a.dcm", "planes of 2000 x 2000 pixels")


@pytest.mark.parametrize("kind", ["PNG", "JPEG 2000", "LERC", "JPEG XR"])
@pytest.mark.parametrize(("rows", "columns"), [(SIDE + 1, SIDE), (SIDE, SIDE + 1), (8, 32), (SIDE - 1, SIDE)])
def test_a_part_of_nearly_the_right_size_is_refused(tmp_path, kind, rows, columns):
    # An image of 8 x 32 has as many pixels as its place of 16 x 16.
    black = np.zeros((rows, columns), np.uint8)
    codecs = {"PNG": "png", "JPEG 2000": "jpeg2k", "LERC": "lerc", "JPEG XR": "jpegxr"}
    data = getattr(imagecodecs, f"{codecs[kind]}_encode")(black)
    (tmp_path / "a.tif").write_bytes(tiff([data], IMAGES[kind][-1]))
    assert_refused(read, tmp_path / "a.tif", f"holds an image of {columns} x {rows}")


def test_a_part_of_more_bits_than_the_page_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff([imagecodecs.png_encode(GRAY.astype(np.uint16) * 257)], 34933))
    assert_refused(read, tmp_path / "a.tif", "values of another type")
    (tmp_path / "a.tif").write_bytes(tiff([imagecodecs.png_encode(GRAY)], 34933))
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), GRAY, strict=True)


def test_equal_tiles_may_share_their_bytes(tmp_path):
    tile = zlib.compress(GRAY.tobytes())
    data = tiff([tile], 8, width=10 * SIDE, height=9 * SIDE, tile=(SIDE, SIDE), places=[(0, len(tile))] * 90)
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), np.tile(GRAY, (9, 10)), strict=True)


@pytest.mark.parametrize("case", list(padded_files()), ids=lambda case: case[0])
def test_a_padded_last_strip_is_read(tmp_path, case):
    *_, data, expected = case
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), expected, strict=True)


def test_a_progressive_jpeg_of_many_scans_and_little_bytes_is_read_up_to_the_limit(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(SIDE, 50))
    assert read(tmp_path / "a.jpg").shape == (SIDE, SIDE)
    # Two bytes that look like a marker of a scan may stand in other segments.
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 400) + b"\xff\xda" * 200
    data = jpeg(SIDE, 50)
    (tmp_path / "a.jpg").write_bytes(data[:-2] + comment + b"\xff\xd9")
    assert read(tmp_path / "a.jpg").shape == (SIDE, SIDE)


def test_training_folders_and_the_command_line_name_the_file(tmp_path, capsys):
    (tmp_path / "bomb.tif").write_bytes(tiff([png(12_000, 12_000)], 34933))
    with pytest.raises(UnreadableImageError, match=r"bomb\.tif: .* 12000 x 12000"):
        ImageFolder(tmp_path)[0]
    assert main(["denoise", str(tmp_path / "bomb.tif"), "-o", str(tmp_path / "out.tif")]) == 1
    assert "holds an image of 12000 x 12000" in capsys.readouterr().err
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.slow
def test_valid_files_of_all_kinds_are_read(tmp_path, fax_is_read):
    pytest.importorskip("pydicom")
    n_files = 0
    for name, suffix, data, expected in valid_files():
        if not fax_is_read and ("group" in name or "ccitt" in name):
            continue
        path = tmp_path / f"a{suffix}"
        path.write_bytes(data)
        image = read_image(path)
        # Pillow has three channels for gray palettes and WebP.
        reference = expected[..., 0] if image.ndim == 2 and expected.ndim == 3 else expected
        np.testing.assert_array_equal(image, reference, strict=True, err_msg=name)
        n_files += 1
    assert n_files > 430
