"""Large TIFF images: regions are read tile by tile, and copies keep what describes them."""

from __future__ import annotations

import numpy as np
import pytest

tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")

from sk_denoise.io._tiled_tiff import TiledTiff  # noqa: E402
from sk_denoise.restoration import NoiseModel, denoise_image, denoise_zarr  # noqa: E402

NOISE = NoiseModel("white", 100.0)
OPTIONS = {"model": "gray", "noise": NOISE, "block_pixels": 64**2}


def noisy_array(*shape, dtype="uint16"):
    rows, columns = np.mgrid[: shape[-2], : shape[-1]]
    clean = 2000 + 1000 * np.sin(columns / 15) * np.cos(rows / 20)
    return (clean + np.random.default_rng(0).normal(0, 100, shape)).round().astype(dtype)


def whole(plane):
    return denoise_image(plane, model="gray", noise=NOISE, precision="float32")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"tile": (32, 48)}, id="tiles"),
        pytest.param({"tile": (32, 32), "compression": "zlib", "predictor": True}, id="Deflate"),
        pytest.param({"tile": (16, 16), "compression": "zstd", "byteorder": ">"}, id="big-endian"),
        pytest.param({"rowsperstrip": 7}, id="strips"),
        pytest.param({"bigtiff": True, "tile": (64, 64), "compression": "lzw"}, id="BigTIFF"),
    ],
)
def test_regions_are_those_of_the_page(options, tmp_path):
    data = noisy_array(100, 130)
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    source = TiledTiff.open(tmp_path / "a.tif")
    assert (source.shape, source.axes, source.dtype) == ((100, 130), ("y", "x"), np.dtype("uint16"))
    for rows, columns in (((0, 100), (0, 130)), ((31, 33), (47, 49)), ((99, 100), (0, 1))):
        window = slice(*rows), slice(*columns)
        np.testing.assert_array_equal(source.read(window), data[window])


def test_a_page_is_not_decoded_for_one_tile(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noisy_array(64, 64), tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        start, length = tif.pages[0].dataoffsets[3], tif.pages[0].databytecounts[3]
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(start)
        file.write(bytes(length))
    source = TiledTiff.open(tmp_path / "a.tif")
    assert source.read((slice(0, 32), slice(0, 64))).shape == (32, 64)
    with pytest.raises(ValueError, match=r"tile at row 32 and column 32 .* is damaged"):
        source.read((slice(0, 33), slice(0, 33)))


def test_a_file_that_is_cut_off_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noisy_array(64, 64), tile=(32, 32))
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-100])
    source = TiledTiff.open(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="cut off"):
        source.read((slice(0, 64), slice(0, 64)))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((32, 32, 3), np.uint8), {"photometric": "rgb"}, "must hold gray values"),
        (np.zeros((32, 32), bool), {}, "1 bits"),
        (np.zeros((32, 32), np.complex64), {}, "values of"),
    ],
)
def test_other_pixels_are_refused(data, options, message, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    with pytest.raises(ValueError, match=message):
        TiledTiff.open(tmp_path / "a.tif")


def test_a_copy_keeps_tiles_compression_resolution_description_and_places(tmp_path):
    noisy = noisy_array(100, 130)
    geo = (33550, "d", 3, (0.5, 0.5, 0.0), True)
    tifffile.imwrite(
        tmp_path / "noisy.tif",
        noisy,
        bigtiff=True,
        tile=(32, 48),
        compression="zlib",
        predictor=True,
        resolution=(40000, 40000),
        resolutionunit="CENTIMETER",
        description="slide 7",
        software="scanner",
        extratags=[geo],
        metadata=None,
    )
    denoise_zarr(tmp_path / "noisy.tif", tmp_path / "clean.tif", **OPTIONS)
    with tifffile.TiffFile(tmp_path / "clean.tif") as after, tifffile.TiffFile(tmp_path / "noisy.tif") as tif:
        page, source = after.pages[0], tif.pages[0]
        assert after.is_bigtiff
        for name in ("tile", "compression", "predictor", "resolution", "description", "software"):
            assert getattr(page, name) == getattr(source, name), name
        for code in (282, 283, 296, 33550):
            assert page.tags[code].value == source.tags[code].value
        np.testing.assert_array_equal(page.asarray(), whole(noisy))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_planes_and_pyramids_of_an_ome_file(tmp_path):
    noisy = noisy_array(2, 96, 64)
    with tifffile.TiffWriter(tmp_path / "noisy.ome.tif", bigtiff=True, ome=True) as out:
        metadata = {"axes": "CYX", "Channel": {"Name": ["a", "b"]}, "PhysicalSizeX": 0.5}
        out.write(noisy, tile=(32, 32), subifds=1, metadata=metadata)
        out.write(noisy[:, ::2, ::2], tile=(32, 32), subfiletype=1)
    denoise_zarr(tmp_path / "noisy.ome.tif", tmp_path / "clean.ome.tif", **OPTIONS)
    with tifffile.TiffFile(tmp_path / "clean.ome.tif") as tif:
        series = tif.series[0]
        assert (series.axes, series.shape) == ("CYX", (2, 96, 64))
        assert 'PhysicalSizeX="0.5"' in tif.ome_metadata
        large = series.asarray()
        np.testing.assert_array_equal(large[1], whole(noisy[1]))
        small = series.levels[1].asarray()
        mean = large.reshape(2, 48, 2, 32, 2).mean(axis=(2, 4))
        np.testing.assert_array_equal(small, np.rint(mean).astype("uint16"))


def test_a_tiff_and_a_zarr_become_each_other(tmp_path):
    noisy = noisy_array(2, 50, 60)
    tifffile.imwrite(
        tmp_path / "noisy.tif", noisy, tile=(16, 16), photometric="minisblack", metadata={"axes": "ZYX"}
    )
    denoise_zarr(tmp_path / "noisy.tif", tmp_path / "clean.zarr", **OPTIONS)
    result = zarr.open_group(tmp_path / "clean.zarr", mode="r")
    assert result.attrs["ome"]["multiscales"][0]["axes"][0]["name"] == "z"
    np.testing.assert_array_equal(result["0"][1], whole(noisy[1]))
    zarr.create_array(
        tmp_path / "noisy.zarr", data=noisy, chunks=(1, 32, 32), dimension_names=("z", "y", "x")
    )
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.tif", **OPTIONS)
    with tifffile.TiffFile(tmp_path / "clean.tif") as tif:
        assert tif.series[0].axes == "ZYX"
        np.testing.assert_array_equal(tif.asarray()[1], whole(noisy[1]))


def test_an_existing_tiff_is_replaced_only_on_request_and_when_the_new_one_is_complete(tmp_path):
    noisy = noisy_array(2, 100, 130)
    tifffile.imwrite(tmp_path / "noisy.tif", noisy, tile=(32, 32), photometric="minisblack")
    (tmp_path / "clean.tif").write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        denoise_zarr(tmp_path / "noisy.tif", tmp_path / "clean.tif", **OPTIONS)

    def stop(done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_zarr(tmp_path / "noisy.tif", tmp_path / "clean.tif", callback=stop, overwrite=True, **OPTIONS)
    assert (tmp_path / "clean.tif").read_bytes() == b"old"
    report = denoise_zarr(tmp_path / "noisy.tif", tmp_path / "clean.tif", overwrite=True, **OPTIONS)
    assert report.n_done_before == 1
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "clean.tif")[1], whole(noisy[1]))
    with pytest.raises(ValueError, match="source and the target"):
        denoise_zarr(tmp_path / "noisy.tif", tmp_path / "noisy.tif", overwrite=True, **OPTIONS)
