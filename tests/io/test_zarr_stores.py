"""Zarr stores and OME-Zarr metadata: which images are found, and which are refused in words."""

from __future__ import annotations

import json

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")

from zarr.storage import LocalStore, StorePath, ZipStore  # noqa: E402

from sk_denoise.io._zarr_stores import locate_store, open_zarr, overlap, resolve_axes  # noqa: E402

DATASETS = [{"path": "0"}]


def write_group(path, multiscales, names=("0",), shape=(8, 8), **options):
    group = zarr.open_group(path, mode="w")
    for name in names:
        group.create_array(name, shape=shape, chunks=shape, dtype="uint8", **options)
    if multiscales is not None:
        group.attrs["ome"] = {"multiscales": multiscales}
    return group


@pytest.mark.parametrize("kind", ["path", "text", "file URL", "array", "store", "store path", "zip"])
def test_an_array_is_found_by_any_name(kind, tmp_path):
    data = np.arange(64, dtype="uint8").reshape(8, 8)
    array = zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(4, 4))
    with ZipStore(tmp_path / "a.zarr.zip", mode="w") as store:
        zarr.create_array(store, data=data)
    place = {
        "path": tmp_path / "a.zarr",
        "text": str(tmp_path / "a.zarr"),
        "file URL": f"file://{tmp_path}/a.zarr",
        "array": array,
        "store": LocalStore(tmp_path / "a.zarr"),
        "store path": StorePath(LocalStore(tmp_path), "a.zarr"),
        "zip": tmp_path / "a.zarr.zip",
    }[kind]
    image = open_zarr(place)
    assert (image.shape, image.axes) == ((8, 8), ("y", "x"))
    np.testing.assert_array_equal(image.read((slice(1, 3), slice(2, 8))), data[1:3, 2:])


def test_a_level_of_a_group_is_an_array(tmp_path):
    write_group(tmp_path / "a.zarr", [{"datasets": DATASETS}])
    assert open_zarr(tmp_path / "a.zarr" / "0").names == ("",)


def test_levels_in_groups_of_their_own_and_old_axes(tmp_path):
    names = ("scale0/image", "scale1/image")
    datasets = [{"path": name} for name in names]
    write_group(tmp_path / "a.zarr", [{"datasets": datasets}], names, shape=(1, 1, 1, 8, 8))
    image = open_zarr(tmp_path / "a.zarr")
    assert image.axes == ("t", "c", "z", "y", "x")
    assert "scale1/zarr.json" in image.documents


def test_axes_of_a_channel_are_known_by_their_type(tmp_path):
    axes = [
        {"name": "dye", "type": "channel"},
        {"name": "y", "type": "space"},
        {"name": "x", "type": "space"},
    ]
    write_group(tmp_path / "a.zarr", [{"axes": axes, "datasets": DATASETS}], shape=(2, 8, 8))
    assert open_zarr(tmp_path / "a.zarr").axes == ("c", "y", "x")


def test_names_of_xarray_are_axes(tmp_path):
    attributes = {"_ARRAY_DIMENSIONS": ["time", "lat", "lon"]}
    zarr.create_array(tmp_path / "a.zarr", shape=(3, 8, 8), dtype="f4", zarr_format=2, attributes=attributes)
    assert open_zarr(tmp_path / "a.zarr").axes == ("time", "lat", "lon")


@pytest.mark.parametrize(
    ("multiscales", "message"),
    [
        (None, "without an image .* such as .*: 0"),
        ([], "without an image"),
        ([{"datasets": DATASETS}, {"datasets": DATASETS}], "holds 2 images"),
        ([{"datasets": []}], "without a list of datasets"),
        ([{"datasets": [{"path": "../other"}]}], "must be below the group"),
        ([{"datasets": [{}]}], "must be below the group"),
        ([{"datasets": [{"path": "7"}]}], "no Zarr array"),
    ],
)
def test_groups_without_one_image_are_refused(multiscales, message, tmp_path):
    write_group(tmp_path / "a.zarr", multiscales)
    with pytest.raises(ValueError, match=message):
        open_zarr(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((8,), "uint8", "at least rows and columns"),
        ((), "uint8", "at least rows and columns"),
        ((8, 8), "bool", "type bool"),
        ((8, 8), "complex64", "type complex64"),
        ((90, 80, 3), "uint8", "looks like colours"),
    ],
)
def test_arrays_that_are_no_images_are_refused(shape, dtype, message, tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=shape, dtype=dtype)
    with pytest.raises(ValueError, match=message):
        open_zarr(tmp_path / "a.zarr")


@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
def test_records_are_refused(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(8, 8), dtype=[("a", "i4"), ("b", "f4")], zarr_format=2)
    with pytest.raises(ValueError, match="integers and floats"):
        open_zarr(tmp_path / "a.zarr")


def test_levels_of_other_types_are_refused(tmp_path):
    group = write_group(tmp_path / "a.zarr", [{"datasets": [{"path": "0"}, {"path": "1"}]}])
    group.create_array("1", shape=(4, 4), dtype="uint16")
    with pytest.raises(ValueError, match="have one type"):
        open_zarr(tmp_path / "a.zarr")


def test_nothing_and_damaged_metadata_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_zarr(tmp_path / "missing.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no Zarr"):
        open_zarr(tmp_path / "folder")
    (tmp_path / "folder" / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        open_zarr(tmp_path / "folder")
    (tmp_path / "folder" / "zarr.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="damaged"):
        open_zarr(tmp_path / "folder")


@pytest.mark.parametrize(
    ("place", "error"), [(3, TypeError), (b"a", TypeError), ("", ValueError), ({}, TypeError)]
)
def test_places_that_are_none_are_refused(place, error):
    with pytest.raises(error):
        locate_store(place)


def test_a_file_and_a_store_for_reading_are_no_targets(tmp_path):
    (tmp_path / "a.zarr").write_text("")
    with pytest.raises(NotADirectoryError):
        locate_store(tmp_path / "a.zarr", writable=True)
    with pytest.raises(ValueError, match="read-only"):
        locate_store(LocalStore(tmp_path, read_only=True), writable=True)


@pytest.mark.parametrize("axes", ["xy", "ycx", "yxc", "syx", "cyx", "ccyx", "yxs", "yx"])
def test_rows_and_columns_must_be_the_last_axes(axes):
    shape = (8,) * len(axes)
    if axes in ("cyx", "yx"):
        assert resolve_axes(axes, shape, "a") == tuple(axes)
        return
    with pytest.raises(ValueError, match="a has"):
        resolve_axes(axes, shape, "a")


def test_stores_that_overlap_are_found(tmp_path):
    outer, inner, other = (locate_store(tmp_path / name) for name in ("a", "a/b", "ab"))
    assert overlap(outer, inner)
    assert overlap(inner, outer)
    assert not overlap(outer, other)
    assert overlap(StorePath(LocalStore(tmp_path), "a"), inner)
