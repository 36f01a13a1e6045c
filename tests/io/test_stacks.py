"""Stacks: planes are read one at a time, and copies keep the description of the file."""

from __future__ import annotations

import os
import re
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io import image_size, is_stack, open_stack, read_image, read_stack, write_image, write_stack

SIDE = (20, 30)


def numbers(*shape, dtype="uint16", seed=0):
    """Return noise of a type, in the range that all conversions keep."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    high = 200 if dtype.itemsize == 1 else 30_000
    return rng.integers(0, high, shape).astype(dtype)


def write(path, *shape, dtype="uint16", **options):
    array = numbers(*shape, dtype=dtype)
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})
    return array


def copy(path):
    """Copy a stack plane by plane, and return the path of the copy."""
    target = path.with_name(f"copy of {path.name}")
    with open_stack(path) as stack:
        write_stack(target, iter(stack), like=stack)
    return target


def tags(path, page=0):
    with tifffile.TiffFile(path) as tif:
        return {tag.code: tag.value for tag in tif.pages[page].tags}


PLAIN = {"metadata": None}
FILES = {
    "pages": ((5, *SIDE), PLAIN, "IYX"),
    "big-endian": ((5, *SIDE), {**PLAIN, "byteorder": ">"}, "IYX"),
    "BigTIFF": ((5, *SIDE), {**PLAIN, "bigtiff": True}, "IYX"),
    "LZW": ((5, *SIDE), {**PLAIN, "compression": "lzw", "predictor": True}, "IYX"),
    "zlib": ((5, *SIDE), {**PLAIN, "compression": "zlib"}, "IYX"),
    "tiled": ((5, 64, 80), {**PLAIN, "tile": (32, 32), "compression": "zlib"}, "IYX"),
    "tifffile": ((5, *SIDE), {}, "QYX"),
    "tifffile, two axes": ((2, 5, *SIDE), {}, "QQYX"),
    "tifffile with axes": ((2, 5, *SIDE), {"metadata": {"axes": "TZYX"}}, "TZYX"),
    "tifffile, unknown letters": ((2, 5, *SIDE), {"metadata": {"axes": "RHYX"}}, "RHYX"),
    "one plane": ((1, *SIDE), {"metadata": {"axes": "ZYX"}}, "ZYX"),
    "ImageJ": ((2, 3, 4, *SIDE), {"imagej": True, "metadata": {"axes": "TZCYX"}}, "TZCYX"),
    "ImageJ of one plane": (SIDE, {"imagej": True}, "YX"),
    "OME": ((2, 3, 4, *SIDE), {"ome": True, "metadata": {"axes": "TCZYX"}}, "TCZYX"),
    "OME of one plane": (SIDE, {"ome": True}, "YX"),
    "OME tiled": ((3, 64, 80), {"ome": True, "tile": (32, 32), "metadata": {"axes": "ZYX"}}, "ZYX"),
}


@pytest.mark.parametrize("kind", FILES)
def test_planes_are_read_lazily_and_copied_without_loss(tmp_path, kind):
    shape, options, axes = FILES[kind]
    path = tmp_path / "a.tif"
    array = write(path, *shape, **options)
    assert is_stack(path)
    with open_stack(path) as stack:
        assert (stack.axes, stack.shape, stack.dtype) == (axes, shape, np.uint16)
        assert len(stack) == array.size // array[..., :, :].reshape(-1, *shape[-2:])[0].size
        last = tuple(n - 1 for n in shape[:-2])
        np.testing.assert_array_equal(stack[-1], array[last], strict=True)
        np.testing.assert_array_equal(stack[last], array[last], strict=True)
    copied, copied_axes = read_stack(copy(path))
    assert copied_axes == axes
    np.testing.assert_array_equal(copied, array, strict=True)
    with tifffile.TiffFile(path) as source, tifffile.TiffFile(tmp_path / "copy of a.tif") as result:
        assert [(s.kind, s.axes, s.shape) for s in source.series] == [
            (s.kind, s.axes, s.shape) for s in result.series
        ]
        assert source.is_bigtiff == result.is_bigtiff


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "int32", "float32", "float64"])
def test_every_type_is_kept(tmp_path, dtype):
    array = write(tmp_path / "a.tif", 3, *SIDE, dtype=dtype, **PLAIN)
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif")[0], array, strict=True)
    np.testing.assert_array_equal(read_stack(copy(tmp_path / "a.tif"))[0], array, strict=True)


def test_nan_is_kept(tmp_path):
    array = numbers(3, *SIDE, dtype="float32")
    array[1, :5] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    np.testing.assert_array_equal(read_stack(copy(tmp_path / "a.tif"))[0], array)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("options", [PLAIN, {}, {"ome": True, "metadata": {"axes": "ZYXS"}}])
def test_colours_are_the_last_axis(tmp_path, planar, options):
    array = numbers(4, *SIDE, 3, dtype="uint8")
    stored = array if planar == "contig" else np.moveaxis(array, -1, 1)
    if options and planar == "separate" and "ome" in options:
        options = {"ome": True, "metadata": {"axes": "ZSYX"}}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, **options)
    read, axes = read_stack(tmp_path / "a.tif")
    assert axes[1:] == "YXS"
    np.testing.assert_array_equal(read, array, strict=True)
    np.testing.assert_array_equal(read_stack(copy(tmp_path / "a.tif"))[0], array, strict=True)


def test_jpeg_pages_are_decoded_and_copied_without_further_loss(tmp_path):
    y, x = np.mgrid[:64, :80]
    smooth = np.stack([x, 2 * y, x + y], axis=-1).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for _ in range(3):
            tif.write(smooth, photometric="rgb", compression="jpeg", metadata=None, contiguous=False)
    read, axes = read_stack(tmp_path / "a.tif")
    assert axes == "IYXS"
    assert np.abs(read.astype(int) - smooth).max() < 12
    np.testing.assert_array_equal(read_stack(copy(tmp_path / "a.tif"))[0], read, strict=True)


def test_alpha_is_a_sample_of_a_colour(tmp_path):
    array = numbers(3, *SIDE, 4, dtype="uint8")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    read, axes = read_stack(copy(tmp_path / "a.tif"))
    assert axes == "IYXS"
    np.testing.assert_array_equal(read, array, strict=True)
    assert tags(tmp_path / "copy of a.tif")[338] == (2,)


@pytest.mark.parametrize(("channels", "photometric"), [(2, "minisblack"), (4, "rgb"), (5, "minisblack")])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_channels_that_no_tag_calls_alpha_are_data(tmp_path, channels, photometric, planar):
    array = numbers(*SIDE, channels, dtype="uint8")
    stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, planarconfig=planar, metadata=None)
    # tifffile takes the fourth of four colours for alpha, unless it is told.
    if channels == 4:
        tifffile.imwrite(
            tmp_path / "a.tif",
            stored,
            photometric=photometric,
            planarconfig=planar,
            extrasamples=["unspecified"],
            metadata=None,
        )
    with pytest.raises(UnreadableImageError, match=r'no tag says .* alpha.*read_stack.*axes="YXC"'):
        read_image(tmp_path / "a.tif")
    assert is_stack(tmp_path / "a.tif")
    read, axes = read_stack(tmp_path / "a.tif")
    assert axes == "YXC"
    np.testing.assert_array_equal(read, array, strict=True)
    np.testing.assert_array_equal(read_stack(copy(tmp_path / "a.tif"))[0], array, strict=True)


def test_half_precision_and_truth_values_are_read_as_those_of_images(tmp_path):
    array = write(tmp_path / "half.tif", 2, *SIDE, dtype="float16", **PLAIN)
    np.testing.assert_array_equal(read_stack(copy(tmp_path / "half.tif"))[0], array.astype("f4"), strict=True)
    bits = numbers(2, *SIDE) > 10_000
    tifffile.imwrite(tmp_path / "bits.tif", bits, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(read_stack(tmp_path / "bits.tif")[0], bits * np.uint8(255), strict=True)


def test_white_at_0_is_inverted(tmp_path):
    array = write(tmp_path / "a.tif", 2, *SIDE, photometric="miniswhite", **PLAIN)
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif")[0], 65535 - array, strict=True)
    np.testing.assert_array_equal(read_stack(copy(tmp_path / "a.tif"))[0], 65535 - array, strict=True)


def test_a_palette_is_colour_in_a_plain_file_and_display_in_imagej(tmp_path):
    palette = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    options = {"dtype": "uint8", "photometric": "palette", "colormap": palette}
    array = write(tmp_path / "a.tif", 2, *SIDE, **options, **PLAIN)
    read, axes = read_stack(tmp_path / "a.tif")
    assert axes == "IYXS"
    np.testing.assert_array_equal(read[..., 1], (palette[1] // 257)[array])
    del options["photometric"]
    array = numbers(2, *SIDE, dtype="uint8")
    tifffile.imwrite(tmp_path / "b.tif", array, imagej=True, colormap=palette)
    read, axes = read_stack(copy(tmp_path / "b.tif"))
    assert axes[-2:] == "YX"
    np.testing.assert_array_equal(read, array, strict=True)
    np.testing.assert_array_equal(np.reshape(tags(tmp_path / "copy of b.tif")[320], (3, -1)), palette)


# Descriptions --------------------------------------------------------------------------------------------


def test_imagej_keeps_pixel_size_labels_and_overlays(tmp_path):
    path = tmp_path / "a.tif"
    labels = [f"plane {i}" for i in range(6)]
    metadata = {
        "axes": "ZCYX",
        "unit": "um",
        "spacing": 0.35,
        "Labels": labels,
        "Overlays": [b"Iout overlay"],
        "ROI": b"Iout region",
        "LUTs": [np.zeros((3, 256), np.uint8)] * 2,
        "Info": "exposure = 20 ms",
    }
    write(path, 3, 2, *SIDE, imagej=True, resolution=(3.33, 3.33), metadata=metadata)
    with tifffile.TiffFile(path) as source, tifffile.TiffFile(copy(path)) as result:
        expected, found = source.imagej_metadata, result.imagej_metadata
        assert str(found) == str(expected)
        assert found["Labels"] == labels
        for code in (282, 283, 296):
            assert result.pages[0].tags[code].value == source.pages[0].tags[code].value
        # ImageJ takes the planes from the bytes behind the first one.
        page = result.pages[0]
        kind = f"{result.byteorder}u2"
        behind = np.fromfile(tmp_path / "copy of a.tif", kind, 6 * 600, offset=page.dataoffsets[0])
    np.testing.assert_array_equal(behind.reshape(3, 2, *SIDE), numbers(3, 2, *SIDE))


def test_an_imagej_file_of_one_directory_has_all_its_planes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif", imagej=True) as tif:
        tif.write(numbers(6, *SIDE), truncate=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == 1
    array, _ = read_stack(tmp_path / "a.tif")
    np.testing.assert_array_equal(array, numbers(6, *SIDE), strict=True)
    np.testing.assert_array_equal(read_stack(copy(tmp_path / "a.tif"))[0], array, strict=True)
    os.truncate(tmp_path / "a.tif", 4000)
    with pytest.raises(UnreadableImageError, match="it has 1 of 6 images of ImageJ: the file is cut off"):
        read_stack(tmp_path / "a.tif")


def ome(path, **options):
    metadata = {
        "axes": "TCYX",
        "PhysicalSizeX": 0.1,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.2,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": 1.5,
        "Channel": {"Name": ["DAPI & <x>", "GFP"]},
        "Plane": {"DeltaT": [0.5 * i for i in range(6)]},
        "Description": "A note",
    }
    return write(path, 3, 2, *SIDE, ome=True, metadata=metadata, **options)


def replace_description(path, old, new):
    """Change the OME description of a file, and return its new text."""
    with tifffile.TiffFile(path) as tif:
        text = tif.pages[0].description
    changed = re.sub(old, new, text)
    assert changed != text
    tifffile.tiffcomment(path, changed.encode())
    return changed


def test_ome_keeps_its_whole_description(tmp_path):
    path = tmp_path / "a.ome.tif"
    ome(path, resolution=(100_000, 50_000), resolutionunit="CENTIMETER")
    target = copy(path)
    with tifffile.TiffFile(path) as source, tifffile.TiffFile(target) as result:
        expected, found = source.ome_metadata, result.ome_metadata
        assert result.is_ome
    assert tags(path)[282] == tags(target)[282]
    assert tags(path)[296] == tags(target)[296]
    # Only the places of the planes and the identifier of the file change.
    pattern = r'<TiffData.*?(/>|</TiffData>)|UUID="[^"]*"'
    assert re.sub(pattern, "", expected, flags=re.DOTALL) == re.sub(pattern, "", found, flags=re.DOTALL)
    uuids = [re.search(r'UUID="([^"]*)"', text)[1] for text in (expected, found)]
    assert uuids[0] != uuids[1]
    assert found.count("<TiffData") == 1


def test_ome_planes_in_another_order_are_read_in_that_of_the_axes(tmp_path):
    path = tmp_path / "a.ome.tif"
    array = ome(path)
    data = "".join(
        f'<TiffData FirstT="{2 - i // 2}" FirstC="{1 - i % 2}" FirstZ="0" IFD="{i}" PlaneCount="1"/>'
        for i in range(6)
    )
    replace_description(path, r"<TiffData[^>]*/>", data)
    read, axes = read_stack(path)
    assert axes == "TCYX"
    np.testing.assert_array_equal(read, array[::-1, ::-1], strict=True)
    np.testing.assert_array_equal(read_stack(copy(path))[0], read, strict=True)


def test_gaps_in_a_time_series_are_0_and_noted(tmp_path):
    path = tmp_path / "a.ome.tif"
    array = ome(path)
    data = "".join(
        f'<TiffData FirstT="{i // 2}" FirstC="{i % 2}" FirstZ="0" IFD="{i}" PlaneCount="1"/>'
        for i in (0, 1, 4, 5)
    )
    replace_description(path, r"<TiffData[^>]*/>", data)
    with open_stack(path) as stack:
        assert stack.missing == {2, 3}
        assert stack.notes == ("2 of its planes are missing; they stay 0",)
        np.testing.assert_array_equal(stack[1, 0], np.zeros(SIDE), strict=False)
        np.testing.assert_array_equal(stack[2, 1], array[2, 1], strict=True)


def test_several_images_of_one_ome_file_are_series(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(numbers(4, *SIDE), metadata={"axes": "ZYX"}, photometric="minisblack")
        tif.write(numbers(3, 10, 15, dtype="uint8"), metadata={"axes": "TYX"}, photometric="minisblack")
    with open_stack(path, series=1) as stack:
        assert (stack.n_series, stack.axes, stack.shape) == (2, "TYX", (3, 10, 15))
        np.testing.assert_array_equal(stack.read(), numbers(3, 10, 15, dtype="uint8"), strict=True)
    with pytest.raises(IndexError, match="holds 2 series, so series must be 0 to 1, got 2"):
        open_stack(path, series=2)


def test_the_levels_of_a_pyramid_do_not_count(tmp_path):
    path = tmp_path / "a.ome.tif"
    array = numbers(3, 64, 64)
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(array, subifds=1, metadata={"axes": "ZYX"}, photometric="minisblack")
        tif.write(array[:, ::2, ::2].copy(), subfiletype=1, metadata=None)
    with open_stack(path) as stack:
        assert (stack.n_series, stack.shape) == (1, (3, 64, 64))
    np.testing.assert_array_equal(read_stack(copy(path))[0], array, strict=True)


def split_ome(path, name):
    """Let the second half of the planes of an OME file be in another file."""
    with tifffile.TiffFile(path) as tif:
        own = re.search(r'UUID="([^"]*)"', tif.ome_metadata)[1]
    other = "urn:uuid:00000000-0000-0000-0000-000000000001"
    data = "".join(
        f'<TiffData FirstT="{i // 2}" FirstC="{i % 2}" FirstZ="0" IFD="{i % 4}" PlaneCount="1">'
        f'<UUID FileName="{path.name if i < 4 else name}">{own if i < 4 else other}</UUID></TiffData>'
        for i in range(6)
    )
    replace_description(path, r"<TiffData[^>]*/>", data)


def test_the_files_of_an_ome_set_are_read_together_and_a_missing_one_is_named(tmp_path):
    path = tmp_path / "a.ome.tif"
    array = ome(path)
    split_ome(path, "b.ome.tif")
    with pytest.raises(
        UnreadableImageError, match=r"part of a set of files, of which b\.ome\.tif is missing"
    ):
        read_stack(path)
    tifffile.imwrite(tmp_path / "b.ome.tif", array[2], photometric="minisblack", metadata=None)
    read, axes = read_stack(path)
    assert axes == "TCYX"
    np.testing.assert_array_equal(read, array, strict=True)
    target = copy(path)
    (tmp_path / "b.ome.tif").unlink()
    np.testing.assert_array_equal(read_stack(target)[0], array, strict=True)


def test_files_in_other_folders_are_not_followed(tmp_path):
    path = tmp_path / "a.ome.tif"
    ome(path)
    split_ome(path, "../b.ome.tif")
    with pytest.raises(UnreadableImageError, match="refers to a file in another folder"):
        read_stack(path)


def test_a_part_whose_description_is_elsewhere_is_read_as_plain_pages(tmp_path):
    path = tmp_path / "a.ome.tif"
    array = write(path, 4, *SIDE, **PLAIN)
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<BinaryOnly MetadataFile="plate.companion.ome" UUID="urn:uuid:1"/></OME>'
    )
    tifffile.tiffcomment(path, text)
    with open_stack(path) as stack:
        assert stack.axes == "IYX"
        assert "described in plate.companion.ome" in stack.notes[0]
        np.testing.assert_array_equal(stack.read(), array, strict=True)
    with open_stack(copy(path)) as stack:
        assert not stack.notes


def test_a_damaged_ome_description_leaves_plain_pages(tmp_path):
    path = tmp_path / "a.ome.tif"
    array = ome(path)
    with tifffile.TiffFile(path) as tif:
        text = tif.pages[0].description
    tifffile.tiffcomment(path, text.replace("</Pixels>", "").encode())
    with open_stack(path) as stack:
        assert stack.axes == "IYX"
        assert "damaged" in stack.notes[0]
        np.testing.assert_array_equal(stack.read(), array.reshape(6, *SIDE), strict=True)


def test_every_plain_page_keeps_its_description_and_resolution(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for i in range(3):
            tif.write(
                numbers(*SIDE),
                metadata=None,
                contiguous=False,
                description=f"frame {i} at {i * 40} ms",
                resolution=((100 + i, 1), (50, 1)),
                resolutionunit="CENTIMETER",
                datetime="2026:01:02 03:04:05",
                software="Scope 5",
                extratags=[(315, 2, 0, "A. Person", True), (285, 2, 0, f"page {i}", True)],
            )
    target = copy(tmp_path / "a.tif")
    for page in range(3):
        expected, found = tags(tmp_path / "a.tif", page), tags(target, page)
        for code in (270, 282, 283, 285, 296, 305, 306, 315):
            assert found[code] == expected[code]


# Odd files -----------------------------------------------------------------------------------------------


def test_pages_of_different_sizes_and_types_are_series_in_their_order(tmp_path):
    pages = [
        numbers(*SIDE),
        numbers(*SIDE, seed=1),
        numbers(10, 12),
        numbers(*SIDE, seed=2),
        numbers(*SIDE, dtype="uint8"),
        numbers(*SIDE, dtype="float32"),
    ]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for page in pages:
            tif.write(page, metadata=None, contiguous=False, photometric="minisblack")
    with open_stack(tmp_path / "a.tif") as stack:
        assert (stack.n_series, stack.axes, stack.shape) == (5, "IYX", (2, *SIDE))
    found = []
    for series in range(5):
        with open_stack(tmp_path / "a.tif", series=series) as stack:
            found += list(stack)
    for expected, page in zip(pages, found, strict=True):
        np.testing.assert_array_equal(page, expected, strict=True)


def test_one_odd_page_among_many_is_not_read_with_the_layout_of_the_others(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for i in range(12):
            tif.write(numbers(20 + 4 * (i == 3), 30), metadata=None, contiguous=False)
    with open_stack(tmp_path / "a.tif", series=1) as stack:
        assert (stack.n_series, stack.shape) == (3, (24, 30))


def test_previews_and_masks_are_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(numbers(*SIDE), metadata=None)
        tif.write(numbers(5, 7), metadata=None, subfiletype=1)
        tif.write(numbers(*SIDE, seed=1), metadata=None)
        tif.write(numbers(*SIDE) > 9, metadata=None, subfiletype=4, photometric="mask")
    with open_stack(tmp_path / "a.tif") as stack:
        assert (stack.n_series, stack.shape) == (1, (2, *SIDE))
        np.testing.assert_array_equal(stack[1], numbers(*SIDE, seed=1), strict=True)


@pytest.mark.parametrize("options", [PLAIN, {"ome": True}, {}])
def test_files_that_are_cut_off_are_refused_before_the_first_plane(tmp_path, options):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, ome=options.get("ome")) as tif:
        for i in range(1 if "ome" in options else 4):
            array = numbers(4, *SIDE) if "ome" in options else numbers(*SIDE, seed=i)
            tif.write(array, contiguous=False, photometric="minisblack", metadata=options.get("metadata"))
    size = path.stat().st_size
    for length in (size - 500, size - 1500, size // 2):
        os.truncate(path, length)
        with pytest.raises(UnreadableImageError, match=r"a\.tif: .*cut off|copy .* again"):
            open_stack(path)


def test_directories_without_end_and_without_pages_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 0))
    with pytest.raises(UnreadableImageError, match="a TIFF without a page"):
        open_stack(path)
    # The only directory is its own successor.
    path.write_bytes(b"II*\0" + struct.pack("<IHI", 8, 0, 8))
    with pytest.raises(UnreadableImageError, match="damaged"):
        open_stack(path)
    write(path, 3, *SIDE, **PLAIN)
    data = bytearray(path.read_bytes())
    # A directory that claims more tags than the file can hold.
    (offset,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<H", data, offset, 65_535)
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=r"damaged|cut off"):
        open_stack(path)


def test_more_than_a_thousand_pages_are_read(tmp_path):
    array = write(tmp_path / "a.tif", 1500, 4, 5, **PLAIN)
    with open_stack(tmp_path / "a.tif") as stack:
        assert len(stack) == 1500
        np.testing.assert_array_equal(stack[1499], array[1499], strict=True)
    with pytest.raises(UnreadableImageError, match="more than 1024 frames or pages; read it by read_stack"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (numbers(2, *SIDE).astype(complex), PLAIN, "COMPLEXIEEEFP, which is not read; convert"),
        (numbers(16, 32, 32), {**PLAIN, "volumetric": True, "tile": (16, 16, 16)}, "hold 16 planes each"),
        (numbers(2, *SIDE, dtype="float32"), {**PLAIN, "photometric": "miniswhite"}, "white at 0"),
        (numbers(2, *SIDE, 4), {**PLAIN, "photometric": "separated"}, "colour kind SEPARATED"),
    ],
)
def test_kinds_that_are_not_read_are_named(tmp_path, array, options, message):
    tifffile.imwrite(tmp_path / "a.tif", array, **{"photometric": "minisblack", **options})
    with pytest.raises(UnreadableImageError, match=message):
        open_stack(tmp_path / "a.tif")


def test_the_limit_of_pixels_holds_for_a_plane(tmp_path):
    write(tmp_path / "a.tif", 3, *SIDE, **PLAIN)
    with pytest.raises(UnreadableImageError, match=r"planes of 30 x 20 pixels .* max_pixels="):
        open_stack(tmp_path / "a.tif", max_pixels=599)
    assert read_stack(tmp_path / "a.tif", max_pixels=600)[0].shape == (3, *SIDE)


def test_indexes_out_of_range_and_slices_are_refused(tmp_path):
    write(tmp_path / "a.tif", 2, 3, *SIDE)
    with open_stack(tmp_path / "a.tif") as stack:
        with pytest.raises(IndexError, match="index 6 is out of range for the 6 of planes"):
            stack[6]
        with pytest.raises(IndexError, match="index 3 is out of range"):
            stack[0, 3]
        with pytest.raises(IndexError, match=r"has 2 numbers, for the axes QQ, got 1"):
            stack[(1,)]
        with pytest.raises(TypeError, match="plane by plane"):
            stack[:2]


def test_stacks_may_be_closed_in_any_order(tmp_path, caplog):
    write(tmp_path / "a.tif", 3, *SIDE)
    first, second = open_stack(tmp_path / "a.tif"), open_stack(tmp_path / "a.tif")
    first.close()
    np.testing.assert_array_equal(second[2], numbers(3, *SIDE)[2])
    second.close()
    # The log of tifffile is silent only while a file is read here.
    tifffile.logger().warning("a line")
    assert "a line" in caplog.text


# Writing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "kind"),
    [
        ((3, 4, *SIDE), "ZCYX", "ome"),
        ((4, *SIDE, 3), "TYXS", "ome"),
        ((4, *SIDE, 4), "TYXS", "ome"),
        ((3, *SIDE), "IYX", "shaped"),
        ((3, *SIDE), None, "shaped"),
        ((*SIDE, 5), "YXC", "shaped"),
        (SIDE, "YX", "ome"),
    ],
)
def test_arrays_are_written_with_their_axes(tmp_path, shape, axes, kind):
    array = numbers(*shape, dtype="uint8")
    write_stack(tmp_path / "a.tif", array, axes=axes)
    read, read_axes = read_stack(tmp_path / "a.tif")
    assert read_axes == (axes or "QYX")
    np.testing.assert_array_equal(read, array, strict=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.series[0].kind == kind


@pytest.mark.parametrize(
    ("name", "shape", "axes", "message"),
    [
        ("a.png", (3, *SIDE), "ZYX", r"must end in \.tif or \.tiff, because a stack is written as TIFF"),
        ("a.tif", (3, *SIDE), "YX", r"a letter for each axis .* got 'YX'"),
        ("a.tif", (3, *SIDE), "XYZ", "end in YX, YXS or YXC"),
        ("a.tif", (0, *SIDE), "ZYX", r"\(0, 20, 30\)"),
    ],
)
def test_stacks_that_cannot_be_written_are_refused(tmp_path, name, shape, axes, message):
    with pytest.raises(ValueError, match=message):
        write_stack(tmp_path / name, np.zeros(shape, np.uint8), axes=axes)
    assert not list(tmp_path.iterdir())


def test_planes_that_do_not_fit_leave_the_old_file(tmp_path):
    write(tmp_path / "a.tif", 3, *SIDE)
    (tmp_path / "b.tif").write_bytes(b"old")
    planes = numbers(3, *SIDE)
    for wrong, message in [
        (planes[:2], "got 2"),
        (np.concatenate([planes, planes]), "got more"),
        (planes[:, 1:], r"must have the shape \(20, 30\)"),
        (planes.astype("uint8"), "type uint16, got"),
    ]:
        for kind in ({}, {"imagej": True}, {"ome": True}, PLAIN):
            write(tmp_path / "a.tif", 3, *SIDE, **kind)
            with pytest.raises(ValueError, match=message):
                write_stack(tmp_path / "b.tif", iter(wrong), like=tmp_path / "a.tif")
    assert (tmp_path / "b.tif").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif"]


def test_an_error_in_a_plane_passes_and_leaves_nothing(tmp_path):
    write(tmp_path / "a.tif", 3, *SIDE)

    def planes():
        yield numbers(*SIDE)
        raise RuntimeError("stopped")

    for kind in ({}, {"imagej": True}):
        write(tmp_path / "a.tif", 3, *SIDE, **kind)
        with pytest.raises(RuntimeError, match="stopped"):
            write_stack(tmp_path / "b.tif", planes(), like=tmp_path / "a.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


# Other formats -------------------------------------------------------------------------------------------


def test_an_animated_gif_is_a_stack_and_one_frame_an_image(tmp_path):
    frames = [Image.fromarray(numbers(*SIDE, dtype="uint8", seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert is_stack(tmp_path / "a.gif")
    stack, axes = read_stack(tmp_path / "a.gif")
    assert axes == "TYX"
    np.testing.assert_array_equal(stack, np.stack([np.array(frame) for frame in frames]), strict=True)
    frames[0].save(tmp_path / "b.gif")
    assert not is_stack(tmp_path / "b.gif")
    np.testing.assert_array_equal(read_image(tmp_path / "b.gif"), np.array(frames[0]), strict=True)
    assert image_size(tmp_path / "b.gif") == SIDE


def test_a_colour_gif_keeps_its_colours_and_transparency(tmp_path):
    image = Image.fromarray(numbers(*SIDE, 3, dtype="uint8") // 64 * 64).convert("P", palette=1, colors=64)
    image.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), np.array(image.convert("RGB")), strict=True)
    image.save(tmp_path / "b.gif", transparency=3)
    read = read_image(tmp_path / "b.gif")
    assert read.shape == (*SIDE, 4)
    np.testing.assert_array_equal(read[..., 3] == 0, np.array(image) == 3)


def test_an_image_is_a_stack_of_one_plane(tmp_path):
    image = numbers(*SIDE, 3, dtype="uint8")
    write_image(tmp_path / "a.png", image)
    assert not is_stack(tmp_path / "a.png")
    stack, axes = read_stack(tmp_path / "a.png")
    assert axes == "YXS"
    np.testing.assert_array_equal(stack, image, strict=True)
