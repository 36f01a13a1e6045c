"""Formats beside PNG, JPEG, TIFF, BMP and WebP: JPEG 2000, PNM, AVIF and DICOM."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, features

from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io import image_size, image_suffix, is_stack, read_image, read_stack, write_image, write_stack

SIDE = (20, 30)


def numbers(*shape, dtype="uint8", high=256, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


# JPEG 2000 -----------------------------------------------------------------------------------------------


def test_jpeg_2000_of_signed_and_few_bits_is_read(tmp_path):
    signed = numbers(*SIDE, dtype="int16", high=900) - np.int16(300)
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(signed, level=0, reversible=True))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2"), signed, strict=True)
    few = numbers(*SIDE, high=16)
    (tmp_path / "b.jp2").write_bytes(
        imagecodecs.jpeg2k_encode(few, level=0, reversible=True, bitspersample=4)
    )
    np.testing.assert_array_equal(read_image(tmp_path / "b.jp2"), few * np.uint8(17), strict=True)


def test_alpha_of_jpeg_2000_needs_its_entry(tmp_path):
    image = numbers(*SIDE, 4)
    Image.fromarray(image).save(tmp_path / "a.jp2", irreversible=False)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2"), image, strict=True)
    data = (tmp_path / "a.jp2").read_bytes()
    (tmp_path / "a.jp2").write_bytes(data.replace(b"cdef", b"free"))
    with pytest.raises(UnreadableImageError, match="4 channels, and no entry says that one is alpha"):
        read_image(tmp_path / "a.jp2")


def test_a_damaged_jpeg_2000_is_refused(tmp_path):
    write_image(tmp_path / "a.jp2", numbers(*SIDE))
    data = (tmp_path / "a.jp2").read_bytes()
    for length in (12, 60, 200):
        (tmp_path / "a.jp2").write_bytes(data[:length])
        with pytest.raises(UnreadableImageError, match=r"a\.jp2: "):
            read_image(tmp_path / "a.jp2")


# PNM -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P2 # text\n3 2\n# white\n255\n0 1 2\n3 4 255", [[0, 1, 2], [3, 4, 255]]),
        (b"P1\n3 2\n010\n1 1 0\n", [[255, 0, 255], [0, 0, 255]]),
        (b"P4\n3 2\n\x40\xc0", [[255, 0, 255], [0, 0, 255]]),
        (b"P5 3 2 15 \x00\x01\x02\x03\x04\x0f", [[0, 17, 34], [51, 68, 255]]),
        (b"P3\n1 2 255\n1 2 3 4 5 6", [[[1, 2, 3]], [[4, 5, 6]]]),
    ],
)
def test_every_kind_of_pnm_is_read(tmp_path, data, expected):
    (tmp_path / "a.pnm").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "a.pnm"), np.array(expected, np.uint8), strict=True)
    assert image_size(tmp_path / "a.pnm") == np.shape(expected)[:2]


def test_12_bits_of_pnm_are_not_scaled(tmp_path):
    values = numbers(*SIDE, dtype=">u2", high=4096)
    (tmp_path / "a.pgm").write_bytes(b"P5\n30 20\n4095\n" + values.tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.pgm"), values.astype("u2"), strict=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"P5\n30 20\n255\n", "cut off"),
        (b"P5\n30\n", "damaged"),
        (b"P5\n3 2\n70000\n" + bytes(12), "damaged"),
        (b"P2\n3 2\n255\n1 2 3", "cut off"),
        (b"P2\n3 1\n7\n1 2 8", "damaged"),
        (b"P5\n3 2\n255\n" + bytes(6) + b"P5\n3 2\n255\n" + bytes(6), "2 frames"),
        (b"P5\n99999 99999\n255\n", "cut off|more than the limit"),
    ],
)
def test_pnm_that_is_damaged_is_refused(tmp_path, data, message):
    (tmp_path / "a.pgm").write_bytes(data)
    with pytest.raises(UnreadableImageError, match=message):
        read_image(tmp_path / "a.pgm")


def test_pillow_reads_written_pnm_of_16_bits(tmp_path):
    values = numbers(*SIDE, dtype="uint16", high=65536)
    write_image(tmp_path / "a.pgm", values)
    with Image.open(tmp_path / "a.pgm") as image:
        np.testing.assert_array_equal(np.array(image).astype("u2"), values)
    with pytest.raises(ValueError, match="PNM has no alpha channel"):
        write_image(tmp_path / "a.pnm", numbers(*SIDE, 4))


# AVIF ----------------------------------------------------------------------------------------------------

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow has no AVIF")


@needs_avif
@pytest.mark.parametrize(("shape", "bits"), [(SIDE, 8), ((*SIDE, 3), 8), ((*SIDE, 4), 8), ((*SIDE, 3), 10)])
def test_avif_is_read_in_its_depth(tmp_path, shape, bits):
    image = numbers(*shape, dtype="uint8" if bits == 8 else "uint16", high=2**bits)
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(image, level=100, bitspersample=bits))
    np.testing.assert_array_equal(read_image(tmp_path / "a.avif"), image, strict=True)
    assert image_size(tmp_path / "a.avif") == SIDE


@needs_avif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_avif_is_applied(tmp_path, orientation):
    y, x = np.mgrid[:64, :96]
    image = Image.fromarray(np.stack([2 * x, 3 * y, x + y], axis=-1).astype(np.uint8))
    exif = image.getexif()
    exif[274] = orientation
    image.save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    # Pillow takes the orientation out of the object.
    image.save(tmp_path / "a.avif", exif=exif, quality=100)
    avif, jpeg = read_image(tmp_path / "a.avif"), read_image(tmp_path / "a.jpg")
    assert avif.shape == jpeg.shape
    assert image_size(tmp_path / "a.avif") == jpeg.shape[:2]
    assert np.abs(avif.astype(int) - jpeg).max() <= 8


@needs_avif
def test_metadata_of_avif_go_along_into_png(tmp_path):
    image = Image.fromarray(numbers(*SIDE, 3))
    exif = image.getexif()
    exif[271] = "Maker"
    image.save(tmp_path / "a.avif", exif=exif)
    write_image(tmp_path / "a.png", read_image(tmp_path / "a.avif"), like=tmp_path / "a.avif")
    with Image.open(tmp_path / "a.png") as written:
        assert written.getexif()[271] == "Maker"


@needs_avif
def test_several_avif_images_are_refused(tmp_path):
    frames = [Image.fromarray(numbers(*SIDE, 3, seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.avif", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match="3 frames or pages; save the one you want"):
        read_image(tmp_path / "a.avif")


@pytest.mark.parametrize("suffix", [".gif", ".avif", ".dcm"])
def test_formats_that_are_read_only_name_another_one(tmp_path, suffix):
    with pytest.raises(ValueError, match=r"is read, not written: the name of .* for example \.(png|tif)"):
        write_image(tmp_path / f"a{suffix}", numbers(*SIDE))


# Signed integers and pixel sizes of TIFF -------------------------------------------------------------------


def test_signed_integers_are_read_written_and_converted(tmp_path):
    gray = numbers(*SIDE, dtype="int16", high=3000) - np.int16(1000)
    write_image(tmp_path / "a.tif", gray)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), gray, strict=True)
    colors = numbers(*SIDE, 3, dtype="int16", high=3000) - np.int16(1000)
    write_image(tmp_path / "b.tif", colors)
    luminance = read_image(tmp_path / "b.tif", color="gray")
    assert luminance.dtype == np.int16
    assert np.abs(luminance - colors @ [0.299, 0.587, 0.114]).max() <= 1
    with pytest.raises(ValueError, match="PNG holds uint8 or uint16, got int16"):
        write_image(tmp_path / "a.png", gray)
    with pytest.raises(ValueError, match=r"write TIFF, or shift it to numbers from 0"):
        write_image(tmp_path / "a.jp2", gray)


@pytest.mark.parametrize("unit", ["um", "µm", "mm", "pixel"])
def test_the_pixel_size_of_imagej_goes_along_exactly(tmp_path, unit):
    options = {"resolution": (3.33, 6.66), "metadata": {"unit": unit.replace("µ", "\\u00B5")}}
    tifffile.imwrite(tmp_path / "a.tif", numbers(*SIDE), imagej=True, **options)
    write_image(tmp_path / "b.tif", numbers(*SIDE), like=tmp_path / "a.tif")
    write_image(tmp_path / "c.tif", numbers(*SIDE, 3), like=tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as a, tifffile.TiffFile(tmp_path / "c.tif") as c:
        for code in (282, 283, 296):
            assert c.pages[0].tags[code].value == a.pages[0].tags[code].value
        assert c.imagej_metadata["unit"] == a.imagej_metadata["unit"]


def test_the_pixel_size_of_imagej_becomes_a_resolution_elsewhere(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", numbers(*SIDE), imagej=True, resolution=(4, 8), metadata={"unit": "mm"}
    )
    write_image(tmp_path / "a.png", numbers(*SIDE), like=tmp_path / "a.tif")
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["dpi"] == pytest.approx((101.6, 203.2), rel=1e-3)


def test_nan_is_read_and_written_where_it_is_allowed(tmp_path):
    image = numbers(*SIDE, dtype="float32")
    image[:3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        write_image(tmp_path / "a.tif", image)
    write_image(tmp_path / "a.tif", image, allow_nan=True)
    with pytest.raises(UnreadableImageError, match="allow_nan=True"):
        read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", allow_nan=True), image, strict=True)
    image[0] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        write_image(tmp_path / "a.tif", image, allow_nan=True)


# DICOM ---------------------------------------------------------------------------------------------------


@pytest.fixture
def dicom(tmp_path):
    """Return a function that writes a DICOM file."""
    pydicom = pytest.importorskip("pydicom")

    def write(pixels, **attributes):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        path = tmp_path / "a.dcm"
        data = pydicom.dataset.FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        is_rgb = pixels.shape[-1] == 3
        shape = pixels.shape[:-1] if is_rgb else pixels.shape
        data.Rows, data.Columns = shape[-2:]
        if len(shape) > 2:
            data.NumberOfFrames = shape[0]
        data.SamplesPerPixel = 3 if is_rgb else 1
        if is_rgb:
            data.PlanarConfiguration = 0
        data.PhotometricInterpretation = "RGB" if is_rgb else "MONOCHROME2"
        bits = 8 * pixels.dtype.itemsize
        data.BitsAllocated = data.BitsStored = bits
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        for name, value in attributes.items():
            setattr(data, name, value)
        data.HighBit = data.BitsStored - 1
        data.PixelData = pixels.tobytes()
        data.save_as(path, enforce_file_format=True)
        return path

    return write


STORED = numbers(*SIDE, dtype="uint16", high=4096)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, STORED),
        ({"BitsStored": 12}, STORED),
        ({"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024}, STORED.astype(np.int16) - 1024),
        ({"RescaleSlope": "0.5", "RescaleIntercept": -3}, (STORED * 0.5 - 3).astype(np.float32)),
        ({"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}, 4095 - STORED),
        ({"RescaleSlope": 0}, STORED),
    ],
)
def test_dicom_has_the_values_of_the_modality(dicom, attributes, expected):
    path = dicom(STORED, **attributes)
    assert not is_stack(path)
    assert (image_size(path), image_suffix(path)) == (SIDE, ".dcm")
    np.testing.assert_array_equal(read_image(path), expected, strict=True)


def test_signed_monochrome1_is_inverted_within_its_range(dicom):
    signed = np.array([[-128, -1, 0, 127]], np.int8)
    path = dicom(signed, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(path), [[127, 0, -1, -128]])


def test_colours_of_dicom_are_rgb(dicom):
    colors = numbers(*SIDE, 3)
    np.testing.assert_array_equal(read_image(dicom(colors)), colors, strict=True)


def test_the_pixel_spacing_becomes_the_resolution(dicom, tmp_path):
    path = dicom(STORED, PixelSpacing=[0.5, 0.25])
    write_image(tmp_path / "a.tif", read_image(path), like=path)
    with Image.open(tmp_path / "a.tif") as image:
        assert image.info["dpi"] == pytest.approx((101.6, 50.8))


@pytest.mark.parametrize(("attributes", "axes"), [({}, "ZYX"), ({"FrameTime": 40}, "TYX")])
def test_frames_of_dicom_are_a_stack_with_its_pixel_size(dicom, tmp_path, attributes, axes):
    frames = numbers(5, *SIDE, dtype="uint16", high=4096)
    path = dicom(frames, PixelSpacing=[0.5, 0.25], SliceThickness=2, RescaleIntercept=-1000, **attributes)
    assert is_stack(path)
    with pytest.raises(UnreadableImageError, match="5 frames or pages; read them by read_stack"):
        read_image(path)
    stack, found_axes = read_stack(path)
    assert found_axes == axes
    np.testing.assert_array_equal(stack, frames.astype(np.int32) - 1000)
    write_stack(tmp_path / "a.tif", stack, like=path)
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif")[0], stack)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert 'PhysicalSizeX="0.25"' in tif.ome_metadata
        assert 'PhysicalSizeY="0.5"' in tif.ome_metadata
        assert ('PhysicalSizeZ="2.0"' in tif.ome_metadata) == (axes == "ZYX")


def test_scans_of_a_folder_are_images_to_train_on(dicom, tmp_path):
    from sk_denoise.datasets import ImageFolder, RandomPatches

    dicom(STORED, BitsStored=12, RescaleIntercept=-1024)
    folder = ImageFolder(tmp_path, color="auto")
    assert folder.color == "gray"
    np.testing.assert_array_equal(folder[0], STORED.astype(np.int16) - 1024, strict=True)
    inputs, _ = RandomPatches(folder, 16, patches_per_image=4).first(4, torch.Generator().manual_seed(0))
    assert inputs.shape == (4, 16, 16)
    # Noise over the whole range of 12 bits, with values below 0.
    assert -0.5 < inputs.min() < inputs.max() < 1.5


def test_compressed_dicom_is_read_and_unknown_compression_named(dicom):
    pydicom = pytest.importorskip("pydicom")
    path = dicom(STORED)
    data = pydicom.dcmread(path)
    data.compress(pydicom.uid.RLELossless)
    data.save_as(path)
    np.testing.assert_array_equal(read_image(path), STORED, strict=True)
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    data.save_as(path)
    with pytest.raises(UnreadableImageError, match=r"stored as JPEG Lossless.*pylibjpeg"):
        read_image(path)


def test_dicom_without_pixels_is_refused(dicom):
    pydicom = pytest.importorskip("pydicom")
    path = dicom(STORED)
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    with pytest.raises(UnreadableImageError, match="DICOM file without pixels"):
        read_image(path)
    del data.Rows
    data.save_as(path)
    with pytest.raises(UnreadableImageError, match=r"without an image .*CT Image Storage"):
        read_image(path)
    path.write_bytes(path.read_bytes()[:140])
    with pytest.raises(UnreadableImageError, match=r"a\.dcm: "):
        read_image(path)
