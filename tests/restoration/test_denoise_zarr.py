"""Images larger than memory: the bits of the whole image, on any engine, after any interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest

zarr = pytest.importorskip("zarr")

from joblib._parallel_backends import ThreadingBackend  # noqa: E402
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ZipStore  # noqa: E402

from sk_denoise.noise import GaussianNoiser  # noqa: E402
from sk_denoise.restoration import (  # noqa: E402
    NoiseModel,
    ZarrReport,
    denoise_image,
    denoise_zarr,
)

NOISE = NoiseModel("white", 100.0)
SMALL = {"model": "gray", "noise": NOISE, "block_pixels": 64 * 64}


def noisy_array(*shape, dtype="uint16", seed=0):
    """Return waves with noise of 100 grey levels, as planes of rows and columns."""
    rows, columns = np.mgrid[: shape[-2], : shape[-1]]
    clean = 2000 + 1000 * np.sin(columns / 15) * np.cos(rows / 20)
    noise = np.random.default_rng(seed).normal(0, 100, shape)
    return (clean + noise).round().astype(dtype)


def write_array(path, data, **options):
    options = {"chunks": (*(1 for _ in data.shape[:-2]), 32, 32), **options}
    return zarr.create_array(path, data=data, **options)


def write_ome(path, data, axes, n_levels=3, zarr_format=3, factor=2, **options):
    """Write an OME-Zarr image whose levels are every second pixel."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    datasets, level = [], data
    chunks = (*(1 for _ in data.shape[:-2]), 32, 32)
    for number in range(n_levels):
        group.create_array(str(number), data=level, **{"chunks": chunks, **options})
        scale = [*(1.0 for _ in data.shape[:-2]), float(factor**number), float(factor**number)]
        transform = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(number), "coordinateTransformations": transform})
        level = level[..., ::factor, ::factor]
    kinds = {"c": "channel", "t": "time"}
    names = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    multiscales = [{"version": "0.4", "name": "cells", "axes": names, "datasets": datasets}]
    omero = {"channels": [{"label": "nuclei"}]}
    if zarr_format == 2:
        group.attrs.update({"multiscales": multiscales, "omero": omero})
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales, "omero": omero}
    return group


def whole(plane, noise=NOISE, **options):
    return denoise_image(plane, model="gray", noise=noise, precision="float32", **options)


def left_files(folder):
    return [path for path in Path(folder).rglob("*") if ".sk_denoise" in path.parts]


def test_blocks_have_the_bits_of_the_whole_image(tmp_path):
    noisy = noisy_array(150, 210)
    write_array(tmp_path / "noisy.zarr", noisy)
    report = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", model="gray", block_pixels=64**2)
    result = zarr.open_array(tmp_path / "clean.zarr", mode="r")
    assert report.n_blocks == report.n_done == 12
    assert report.n_done_before == 0
    assert 90 < report.noise[0].sigma < 110
    np.testing.assert_array_equal(result[:], whole(noisy, report.noise[0]))
    assert (result.chunks, result.dtype) == ((32, 32), noisy.dtype)
    assert not left_files(tmp_path / "clean.zarr")


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (33, 65), (64, 64)])
def test_images_of_any_size_and_chunks_that_do_not_divide_it(shape, tmp_path):
    noisy = noisy_array(*shape)
    write_array(tmp_path / "noisy.zarr", noisy)
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **{**SMALL, "block_pixels": 1})
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))


def test_an_image_without_pixels_is_complete_at_once(tmp_path):
    write_array(tmp_path / "noisy.zarr", noisy_array(0, 20))
    report = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", model="gray")
    assert report.n_blocks == 0
    assert zarr.open_array(tmp_path / "clean.zarr").shape == (0, 20)


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "int32", "float32", "float64", "<f2"])
def test_types_and_byte_orders_are_kept(dtype, tmp_path):
    noisy = (noisy_array(40, 50, dtype="float64") / 20).astype(dtype)
    noise = NoiseModel("white", 5.0)
    write_array(tmp_path / "noisy.zarr", noisy, zarr_format=2)
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **{**SMALL, "noise": noise})
    result = zarr.open_array(tmp_path / "clean.zarr")
    assert result.dtype == zarr.open_array(tmp_path / "noisy.zarr").dtype
    np.testing.assert_array_equal(result[:], whole(noisy.astype(noisy.dtype.newbyteorder("=")), noise))


def test_nan_stays_and_does_not_spread(tmp_path):
    noisy = noisy_array(70, 70, dtype="float32")
    noisy[10:20, 30:40] = np.nan
    write_array(tmp_path / "noisy.zarr", noisy)
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)
    result = zarr.open_array(tmp_path / "clean.zarr")[:]
    np.testing.assert_array_equal(np.isnan(result), np.isnan(noisy))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}, id="2 /"),
        pytest.param({"zarr_format": 2, "order": "F"}, id="2 F"),
        pytest.param({"zarr_format": 3, "shards": (64, 96), "chunks": (32, 32)}, id="3 shards"),
        pytest.param({"zarr_format": 3, "chunks": (200, 200)}, id="3 one chunk"),
        pytest.param({"zarr_format": 3, "compressors": None, "dimension_names": ("y", "x")}, id="3 raw"),
    ],
)
def test_the_layout_of_the_source_is_kept(options, tmp_path):
    noisy = noisy_array(100, 130)
    source = write_array(tmp_path / "noisy.zarr", noisy, attributes={"scanner": 7}, **options)
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)
    result = zarr.open_array(tmp_path / "clean.zarr", mode="r")
    before, after = source.metadata.to_dict(), result.metadata.to_dict()
    record = after.pop("attributes").pop("sk_denoise")
    assert before.pop("attributes") == {"scanner": 7}
    assert before == after
    assert record["settings"]["options"]["model"] == "gray"
    np.testing.assert_array_equal(result[:], whole(noisy))


def test_missing_chunks_are_the_fill_value(tmp_path):
    source = zarr.create_array(
        tmp_path / "noisy.zarr", shape=(96, 96), chunks=(32, 32), dtype="uint16", fill_value=2000
    )
    source[:32, :32] = noisy_array(32, 32)
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)
    result = zarr.open_array(tmp_path / "clean.zarr")
    np.testing.assert_array_equal(result[:], whole(source[:]))


def test_channels_have_noise_of_their_own_and_planes_share_it(tmp_path):
    noisy = noisy_array(2, 2, 2, 64, 64)
    noisy[:, 1] += np.random.default_rng(1).normal(0, 300, (2, 2, 64, 64)).round().astype("uint16")
    write_ome(tmp_path / "noisy.zarr", noisy, "tczyx", n_levels=1)
    report = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", model="gray")
    result = zarr.open_group(tmp_path / "clean.zarr", mode="r")["0"]
    assert [round(model.sigma, -2) for model in report.noise] == [100, 300]
    for t, c, z in ((0, 0, 1), (1, 1, 0)):
        np.testing.assert_array_equal(result[t, c, z], whole(noisy[t, c, z], report.noise[c]))


def test_a_chunk_of_several_planes_is_written_by_one_block(tmp_path):
    noisy = noisy_array(5, 40, 40)
    write_array(tmp_path / "noisy.zarr", noisy, chunks=(3, 16, 16), dimension_names=("z", "y", "x"))
    report = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **{**SMALL, "block_pixels": 1})
    result = zarr.open_array(tmp_path / "clean.zarr")
    assert report.n_blocks == 2 * 3 * 3
    for z in range(5):
        np.testing.assert_array_equal(result[z], whole(noisy[z]))


def test_levels_are_given_one_by_one_for_each_channel(tmp_path):
    noisy = noisy_array(2, 40, 40)
    write_ome(tmp_path / "noisy.zarr", noisy, "cyx", n_levels=1)
    report = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", model="gray", sigma=(100, 20))
    result = zarr.open_group(tmp_path / "clean.zarr")["0"]
    assert [model.sigma for model in report.noise] == [100, 20]
    for channel, sigma in enumerate((100, 20)):
        expected = whole(noisy[channel], "auto", sigma=sigma)
        np.testing.assert_array_equal(result[channel], expected)


# Pyramids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_levels_are_means_of_the_denoised_image(zarr_format, tmp_path):
    noisy = noisy_array(2, 101, 64)
    write_ome(tmp_path / "noisy.zarr", noisy, "zyx", zarr_format=zarr_format)
    report = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)
    result = zarr.open_group(tmp_path / "clean.zarr", mode="r")
    source = zarr.open_group(tmp_path / "noisy.zarr", mode="r")
    attributes = dict(result.attrs)
    assert attributes.pop("sk_denoise")["blocks"][0] == [1, 64, 64]
    assert attributes == dict(source.attrs)
    assert report.n_blocks == 2 * (2 + 2 + 1)
    large, small = result["0"][:], result["1"][:]
    assert small.shape == (2, 51, 32)
    blocks = large[:, :100].reshape(2, 50, 2, 32, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(small[:, :50], np.rint(blocks).astype("uint16"))
    last = large[:, 100].reshape(2, 32, 2).mean(axis=2)
    np.testing.assert_array_equal(small[:, 50], np.rint(last).astype("uint16"))


@pytest.mark.parametrize("shapes", [((90, 90), (45, 45)), ((91, 91), (45, 45)), ((90, 90), (61, 40))])
def test_levels_of_any_factor_keep_the_mean(shapes, tmp_path):
    group = zarr.open_group(tmp_path / "noisy.zarr", mode="w")
    for number, shape in enumerate(shapes):
        group.create_array(str(number), data=noisy_array(*shape, dtype="float32"), chunks=(32, 32))
    datasets = [{"path": "0"}, {"path": "1"}]
    group.attrs["ome"] = {"multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": datasets}]}
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)
    result = zarr.open_group(tmp_path / "clean.zarr", mode="r")
    assert result["1"].shape == shapes[1]
    assert result["1"][:].mean() == pytest.approx(result["0"][:].mean(), rel=0.02)


def test_a_level_has_nan_only_where_no_pixel_has_a_value(tmp_path):
    noisy = noisy_array(64, 64, dtype="float32")
    noisy[:33, :32] = np.nan
    write_ome(tmp_path / "noisy.zarr", noisy, "yx", n_levels=2)
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)
    small = zarr.open_group(tmp_path / "clean.zarr", mode="r")["1"][:]
    expected = np.zeros((32, 32), bool)
    expected[:16, :16] = True
    np.testing.assert_array_equal(np.isnan(small), expected)


def test_other_members_of_the_group_are_named_and_left_out(tmp_path):
    group = write_ome(tmp_path / "noisy.zarr", noisy_array(40, 40), "yx", n_levels=1)
    group.create_group("labels")
    with pytest.warns(UserWarning, match="not copied: labels"):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)
    assert list(zarr.open_group(tmp_path / "clean.zarr", mode="r")) == ["0"]


# Engines -------------------------------------------------------------------------------------------------


class ListBackend(ThreadingBackend):
    """Backend that returns nothing before all is done, as that of Ray."""

    supports_return_generator = False


def test_all_engines_give_the_same_bits(tmp_path):
    joblib.register_parallel_backend("lists", ListBackend)
    noisy = noisy_array(100, 100)
    write_array(tmp_path / "noisy.zarr", noisy)
    for backend in ("threading", "lists"):
        with joblib.parallel_config(backend, n_jobs=2):
            denoise_zarr(tmp_path / "noisy.zarr", tmp_path / f"{backend}.zarr", **SMALL)
        np.testing.assert_array_equal(zarr.open_array(tmp_path / f"{backend}.zarr")[:], whole(noisy))


@pytest.mark.slow
def test_processes_give_the_same_bits(tmp_path):
    noisy = noisy_array(100, 100)
    write_array(tmp_path / "noisy.zarr", noisy)
    report = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", n_jobs=2, **SMALL)
    assert report.n_done == 4
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))


@pytest.fixture
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
def test_a_cluster_of_dask_gives_the_same_bits(client, tmp_path):
    noisy = noisy_array(100, 100)
    write_array(tmp_path / "noisy.zarr", noisy)
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", client=client, **SMALL)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))


@pytest.mark.slow
def test_a_store_in_memory_is_refused_for_workers_that_are_other_processes(client):
    store = MemoryStore()
    write_array(store, noisy_array(40, 40))
    with pytest.raises(ValueError, match="in the memory of this process"):
        denoise_zarr(store, MemoryStore(), client=client, **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_jobs": 0}, "n_jobs must be a number"),
        ({"n_jobs": 2.5}, "n_jobs must be a number"),
        ({"client": "cluster"}, "must be a Client of dask"),
        ({"client": object(), "n_jobs": 2}, "leave out n_jobs"),
    ],
)
def test_engines_that_cannot_be_used_are_refused(options, message, tmp_path):
    with pytest.raises((ValueError, TypeError), match=message):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **options)


def test_forked_pools_are_refused(tmp_path):
    with (
        joblib.parallel_config("multiprocessing", n_jobs=2),
        pytest.raises(ValueError, match='Take "loky"'),
    ):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr")


# Interruptions and failures ------------------------------------------------------------------------------


class StopError(Exception):
    """An interruption."""


def stop_after(n_blocks):
    def callback(done, total):
        if done >= n_blocks:
            raise StopError

    return callback


def test_a_new_call_does_what_is_missing_with_the_same_bits(tmp_path):
    noisy = noisy_array(100, 100)
    write_ome(tmp_path / "noisy.zarr", noisy, "yx")
    options = {"model": "gray", "block_pixels": 32**2}
    calls = []
    for n_blocks in (0, 3, 17, 20):
        with pytest.raises(StopError):
            denoise_zarr(
                tmp_path / "noisy.zarr", tmp_path / "clean.zarr", callback=stop_after(n_blocks), **options
            )
    report = denoise_zarr(
        tmp_path / "noisy.zarr",
        tmp_path / "clean.zarr",
        callback=lambda *counts: calls.append(counts),
        **options,
    )
    assert (report.n_blocks, report.n_done_before, report.n_done) == (21, 20, 1)
    assert calls == [(20, 21), (21, 21)]
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "at_once.zarr", model="gray")
    for level in "012":
        resumed, at_once = (
            zarr.open_group(tmp_path / name, mode="r")[level][:] for name in ("clean.zarr", "at_once.zarr")
        )
        np.testing.assert_array_equal(resumed, at_once)


def test_a_complete_target_is_returned_at_once(tmp_path):
    write_array(tmp_path / "noisy.zarr", noisy_array(40, 40))
    first = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", model="gray")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "clean.zarr").rglob("*")}
    again = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", model="gray")
    assert (again.n_done, again.n_done_before) == (0, 1)
    assert again.noise == first.noise
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "clean.zarr").rglob("*")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 0.5}, "strength was 1.0 and is 0.5"),
        ({"model": "rgb"}, "another model"),
        ({"noise": NoiseModel("white", 50.0)}, "noise was"),
        ({"resume": False}, "resume=False"),
    ],
)
def test_an_earlier_result_is_replaced_only_on_request(change, message, tmp_path):
    noisy = noisy_array(40, 40)
    write_array(tmp_path / "noisy.zarr", noisy)
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)
    before = zarr.open_array(tmp_path / "clean.zarr")[:]
    with pytest.raises(FileExistsError, match=message):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **{**SMALL, **change})
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], before)
    report = denoise_zarr(
        tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **{**SMALL, **change}, overwrite=True
    )
    assert report.n_done == report.n_blocks


def test_a_source_with_other_pixels_is_not_mixed_with_the_old_ones(tmp_path):
    source = write_array(tmp_path / "noisy.zarr", noisy_array(100, 100))
    with pytest.raises(StopError):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", callback=stop_after(1), **SMALL)
    source[:] = noisy_array(100, 100, seed=1)
    with pytest.raises(FileExistsError, match="pixels of the source have changed"):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)


def test_other_data_at_the_target_stays_as_it_is(tmp_path):
    write_array(tmp_path / "noisy.zarr", noisy_array(40, 40))
    write_array(tmp_path / "other.zarr", noisy_array(8, 8))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("...")
    for name in ("other.zarr", "folder"):
        with pytest.raises(FileExistsError, match="left as it is"):
            denoise_zarr(tmp_path / "noisy.zarr", tmp_path / name, overwrite=True, **SMALL)
    assert zarr.open_array(tmp_path / "other.zarr").shape == (8, 8)
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "..."


@pytest.mark.parametrize("name", ["noisy.zarr", "noisy.zarr/clean", ".", "link.zarr"])
def test_a_target_in_the_source_is_refused(name, tmp_path):
    write_array(tmp_path / "noisy.zarr", noisy_array(40, 40))
    (tmp_path / "link.zarr").symlink_to(tmp_path / "noisy.zarr")
    with pytest.raises(ValueError, match="one lies in the other"):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / name, overwrite=True, **SMALL)


def test_denoising_a_result_again_is_another_run(tmp_path):
    write_array(tmp_path / "noisy.zarr", noisy_array(40, 40))
    denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "once.zarr", **SMALL)
    report = denoise_zarr(tmp_path / "once.zarr", tmp_path / "twice.zarr", **SMALL)
    assert report.n_done == 1


def chunk_files(path):
    return sorted(file for file in Path(path).rglob("*") if file.is_file() and file.name[0].isdigit())


def test_a_damaged_chunk_is_named_after_all_other_blocks_are_done(tmp_path):
    noisy = noisy_array(700, 32)
    write_array(tmp_path / "noisy.zarr", noisy)
    path = tmp_path / "noisy.zarr" / "c" / "21" / "0"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    options = {**SMALL, "block_pixels": 32 * 32}
    # All windows with the noise meet the chunk, except for those above it.
    with pytest.raises(RuntimeError, match=r"all others are done\..*block \d+ of 22, rows") as raised:
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **options)
    assert raised.value.__cause__ is not None
    path.write_bytes(data)
    report = denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **options)
    # The halo of its neighbour reaches into it.
    assert report.n_done_before >= 18
    assert report.n_done_before + report.n_done == 22
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))


class FailingStore(LocalStore):
    """Store that fails for some chunks, a number of times."""

    failures: list = []  # noqa: RUF012, shared by the copies that zarr makes

    async def set(self, key, value):
        if "c/" in key and self.failures:
            raise self.failures.pop(0)
        await super().set(key, value)


def test_a_block_that_fails_is_tried_again(tmp_path):
    noisy = noisy_array(100, 100)
    write_array(tmp_path / "noisy.zarr", noisy)
    FailingStore.failures[:] = [OSError("a glitch")] * 2
    report = denoise_zarr(tmp_path / "noisy.zarr", FailingStore(tmp_path / "clean.zarr"), **SMALL)
    assert report.n_done == 4
    assert not FailingStore.failures
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))


def test_a_full_disk_ends_the_run_at_once_and_a_new_one_resumes(tmp_path):
    noisy = noisy_array(100, 100)
    write_array(tmp_path / "noisy.zarr", noisy)
    FailingStore.failures[:] = [OSError(28, "No space left on device")] * 1000
    with pytest.raises(RuntimeError, match=r"the others were not tried\..*No space left"):
        denoise_zarr(tmp_path / "noisy.zarr", FailingStore(tmp_path / "clean.zarr"), **SMALL)
    FailingStore.failures[:] = []
    denoise_zarr(tmp_path / "noisy.zarr", FailingStore(tmp_path / "clean.zarr"), **SMALL)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))


KILLED = """
import sys
from sk_denoise.restoration import NoiseModel, denoise_zarr
print("ready", flush=True)
denoise_zarr(
    sys.argv[1], sys.argv[2], model="gray", noise=NoiseModel("white", 100.0), block_pixels=1024,
    callback=lambda done, total: print(done, flush=True),
)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_process_does_at_most_one_block_again(tmp_path):
    noisy = noisy_array(256, 256)
    write_array(tmp_path / "noisy.zarr", noisy)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "noisy.zarr"), str(tmp_path / "clean.zarr")]
    written = 0
    for n_blocks in (2, 9, 10):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            counts = []
            for line in process.stdout:
                if line.strip().isdigit():
                    counts.append(int(line))
                    if counts[-1] >= n_blocks:
                        # In the middle of the next block.
                        time.sleep(0.005 * n_blocks)
                        break
            process.send_signal(signal.SIGKILL)
        assert counts[0] >= written
        written = counts[-1]
    report = denoise_zarr(
        tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **{**SMALL, "block_pixels": 32**2}
    )
    assert report.n_done_before >= 10
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))


class KillingStore(LocalStore):
    """Store that kills the process once, when a chunk is written."""

    async def set(self, key, value):
        mark = Path(self.root).parent / "killed"
        if "c/0/0" in key and not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        await super().set(key, value)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_worker_is_replaced(tmp_path):
    noisy = noisy_array(100, 100)
    write_array(tmp_path / "noisy.zarr", noisy)
    report = denoise_zarr(tmp_path / "noisy.zarr", KillingStore(tmp_path / "clean.zarr"), n_jobs=2, **SMALL)
    assert (tmp_path / "killed").exists()
    assert report.n_done == 4
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))


# Places --------------------------------------------------------------------------------------------------


def test_stores_in_memory_of_zarr_and_fsspec(tmp_path):
    noisy = noisy_array(70, 70)
    source, target = MemoryStore(), FsspecStore.from_url("memory://clean.zarr")
    write_array(source, noisy)
    denoise_zarr(source, target, **SMALL)
    again = denoise_zarr(source, "memory://clean.zarr", **SMALL)
    assert again.n_done == 0
    np.testing.assert_array_equal(zarr.open_array(target)[:], whole(noisy))


def test_a_zip_file_is_read_and_not_written(tmp_path):
    noisy = noisy_array(70, 70)
    with ZipStore(tmp_path / "noisy.zarr.zip", mode="w") as store:
        write_array(store, noisy)
    denoise_zarr(tmp_path / "noisy.zarr.zip", tmp_path / "clean.zarr", **SMALL)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "clean.zarr")[:], whole(noisy))
    with pytest.raises(ValueError, match="zip file"):
        denoise_zarr(tmp_path / "noisy.zarr.zip", tmp_path / "clean.zarr.zip", **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 2}, "strength"),
        ({"model": "nothing"}, "model"),
        ({"sigma": (1, 2)}, "sigma has 2 entries"),
        ({"sigma": -1}, "sigma must be"),
        ({"noise": [NOISE, NOISE]}, "noise has 2 entries"),
        ({"noise": "loud"}, "noise"),
        ({"block_pixels": 0}, "block_pixels"),
        ({"callback": 3}, "callback"),
        ({"axes": "zyx"}, "axes must have"),
        ({"axes": "xy"}, "must be the last two"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(options, message, tmp_path):
    write_array(tmp_path / "noisy.zarr", noisy_array(40, 40))
    with pytest.raises((ValueError, TypeError, KeyError), match=message):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **{"model": "gray", **options})
    assert not (tmp_path / "clean.zarr").exists()


def test_a_noiser_describes_the_noise(tmp_path):
    noisy = noisy_array(40, 40)
    write_array(tmp_path / "noisy.zarr", noisy)
    report = denoise_zarr(
        tmp_path / "noisy.zarr", tmp_path / "clean.zarr", model="gray", noise=GaussianNoiser(100.0)
    )
    assert report.n_done == 1
    assert zarr.open_array(tmp_path / "clean.zarr")[:].std() < noisy.std()


def test_damaged_settings_are_refused(tmp_path):
    write_array(tmp_path / "noisy.zarr", noisy_array(100, 100))
    with pytest.raises(StopError):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", callback=stop_after(1), **SMALL)
    path = tmp_path / "clean.zarr" / ".sk_denoise" / "settings.json"
    settings = json.loads(path.read_text())
    del settings["denoisers"]
    path.write_text(json.dumps(settings))
    with pytest.raises(FileExistsError, match="damaged"):
        denoise_zarr(tmp_path / "noisy.zarr", tmp_path / "clean.zarr", **SMALL)


def test_the_report_is_a_line():
    report = ZarrReport((NOISE,), n_blocks=1, n_done_before=0, n_done=1, seconds=2)
    assert str(report) == "1 block, 2.0 seconds"
