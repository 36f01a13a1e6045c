"""Stacks: planes are denoised one after the other with one noise level."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from sk_denoise import FoldedUNetNetwork, ImageDenoiser
from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io import open_stack, read_image, read_stack, write_stack
from sk_denoise.restoration import denoise_file, denoise_image, estimate_noise

SIDE = 48


def scene(shift=0):
    y, x = np.mgrid[:SIDE, :SIDE]
    return 2000 + 900 * np.sin((x + shift) / 9) * np.cos(y / 7)


def noisy(*shape, sigma=100.0, seed=0, dtype="uint16"):
    """Return planes of the scene with noise; the last axes are the plane."""
    n = int(np.prod(shape))
    planes = np.stack([scene(i) for i in range(n)]).reshape(*shape, SIDE, SIDE)
    noise = np.random.default_rng(seed).normal(0, sigma, planes.shape)
    return np.clip(np.rint(planes + noise), 0, 65535).astype(dtype)


# Arrays --------------------------------------------------------------------------------------------------


def test_planes_equal_those_denoised_alone_at_one_level():
    stack = noisy(4)
    denoised = denoise_image(stack, sigma=100, axes="ZYX")
    assert (denoised.shape, denoised.dtype) == (stack.shape, stack.dtype)
    alone = np.stack([denoise_image(plane, sigma=100) for plane in stack])
    np.testing.assert_array_equal(denoised, alone, strict=True)
    truth = np.stack([scene(i) for i in range(4)])
    assert np.std(denoised - truth) < 0.35 * np.std(stack - truth)


@pytest.mark.parametrize("axes", ["YXZ", "XYZ", "ZXY", "YZX", "xyz"])
def test_axes_may_come_in_any_order_and_case(axes):
    stack = noisy(3)
    expected = denoise_image(stack, sigma=100, axes="ZYX")
    order = ["ZYX".index(letter) for letter in axes.upper()]
    moved = denoise_image(stack.transpose(order), sigma=100, axes=axes)
    back = moved.transpose([axes.upper().index(letter) for letter in "ZYX"])
    np.testing.assert_array_equal(back, expected, strict=True)


def test_the_level_is_estimated_for_all_planes_together():
    stack = noisy(6)
    # A blank plane and a closed shutter have no noise of their own.
    stack[2], stack[3] = 0, 1500
    model = estimate_noise(list(np.delete(stack, (2, 3), axis=0)))
    denoised = denoise_image(stack, axes="TYX")
    for index in (0, 1, 4, 5):
        alone = denoise_image(stack[index], noise=model)
        np.testing.assert_array_equal(denoised[index], alone, strict=True)
    np.testing.assert_array_equal(denoised[2:4], stack[2:4], strict=True)


def test_a_dark_plane_does_not_end_the_stack_and_a_wrong_unit_does():
    stack = noisy(4)
    # The shutter is closed: a few counts, far below the noise of the other planes.
    stack[1] = np.random.default_rng(0).integers(0, 5, (SIDE, SIDE))
    denoised = denoise_image(stack, sigma=100, axes="TYX")
    np.testing.assert_array_equal(denoised[2], denoise_image(stack[2], sigma=100), strict=True)
    assert denoised[1].max() < 5
    with pytest.raises(ValueError, match=r"sigma reaches 1e\+05"):
        denoise_image(stack, sigma=100_000, axes="TYX")


def test_channels_of_data_have_their_own_levels():
    stack = np.stack([noisy(3, sigma=40), noisy(3, sigma=160, seed=1)], axis=1)
    denoised = denoise_image(stack, axes="ZCYX")
    told = denoise_image(stack, axes="ZCYX", sigma=(40, 160))
    truth = np.stack([scene(i) for i in range(3)])
    for channel, sigma in enumerate((40, 160)):
        assert np.std(denoised[:, channel] - truth) < 0.6 * sigma
        alone = np.stack([denoise_image(plane, sigma=sigma) for plane in stack[:, channel]])
        np.testing.assert_array_equal(told[:, channel], alone, strict=True)
    # Channels behind the plane are the same data.
    last = denoise_image(np.moveaxis(stack, 1, -1), axes="ZYXC", sigma=(40, 160))
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), told, strict=True)


def test_a_second_or_fourth_channel_of_data_is_denoised():
    for channels in (2, 4, 5):
        image = np.moveaxis(noisy(channels), 0, -1)
        denoised = denoise_image(image, axes="YXC")
        truth = np.stack([scene(i) for i in range(channels)], axis=-1)
        assert (np.std(denoised - truth, axis=(0, 1)) < 50).all()


def test_samples_of_a_colour_are_one_image():
    colors = (noisy(2, 3) // 16).astype(np.uint8)
    stack = np.moveaxis(colors, 1, -1)
    expected = np.stack([denoise_image(plane, sigma=7) for plane in stack])
    np.testing.assert_array_equal(denoise_image(stack, sigma=7, axes="TYXS"), expected, strict=True)
    first = denoise_image(colors, sigma=7, axes="TSYX")
    np.testing.assert_array_equal(np.moveaxis(first, 1, -1), expected, strict=True)


def test_unknown_letters_and_repeated_ones_count_planes():
    stack = noisy(2, 3)
    expected = denoise_image(stack, sigma=100, axes="TZYX")
    for axes in ("QQYX", "IRYX"):
        np.testing.assert_array_equal(denoise_image(stack, sigma=100, axes=axes), expected, strict=True)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_masks_hold_for_all_planes_or_for_each(dtype):
    stack = noisy(3, dtype=dtype)
    valid = np.ones((SIDE, SIDE), bool)
    valid[:10] = False
    stack[:, :10] = np.random.default_rng(1).integers(0, 60_000, (3, 10, SIDE))
    denoised = denoise_image(stack, axes="ZYX", mask=valid)
    np.testing.assert_array_equal(denoised[:, :10], stack[:, :10])
    truth = np.stack([scene(i) for i in range(3)])[:, 12:]
    assert np.std(denoised[:, 12:] - truth) < 0.5 * np.std(stack[:, 12:] - truth)
    each = np.broadcast_to(valid, stack.shape)
    np.testing.assert_array_equal(denoise_image(stack, axes="ZYX", mask=each), denoised, strict=True)
    moved = denoise_image(np.moveaxis(stack, 0, -1), axes="YXZ", mask=np.moveaxis(each, 0, -1))
    np.testing.assert_array_equal(np.moveaxis(moved, -1, 0), denoised, strict=True)
    with pytest.raises(ValueError, match=r"mask must have the shape \(48, 48\), for all planes, or"):
        denoise_image(stack, axes="ZYX", mask=valid[:5])


def test_nan_stays_nan_in_a_stack_and_a_plane_of_nan_does_not_end_it():
    stack = noisy(3, dtype="float32")
    stack[0, :5] = np.nan
    stack[1] = np.nan
    denoised = denoise_image(stack, axes="ZYX")
    np.testing.assert_array_equal(np.isnan(denoised), np.isnan(stack))
    assert np.std(denoised[2] - scene(2)) < 50


@pytest.mark.slow
def test_noise_is_estimated_from_parts_of_large_planes():
    rng = np.random.default_rng(0)
    stack = rng.normal(100, 5, (2, 700, 1500)).astype(np.float32)
    denoised = denoise_image(stack, axes="ZYX")
    assert denoised.std() < 2


def test_a_map_holds_for_all_planes():
    stack = noisy(2)
    levels = np.full((SIDE, SIDE), 100.0)
    levels[:, : SIDE // 2] = 20
    expected = np.stack([denoise_image(plane, sigma=levels) for plane in stack])
    np.testing.assert_array_equal(denoise_image(stack, sigma=levels, axes="ZYX"), expected, strict=True)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "float32", "float64", ">u2"])
def test_every_type_is_denoised(dtype):
    stack = noisy(2) // 16
    denoised = denoise_image(stack.astype(dtype), axes="ZYX")
    assert denoised.dtype == np.dtype(dtype).newbyteorder("=")
    truth = np.stack([scene(i) for i in range(2)]) / 16
    assert np.std(denoised.astype(float) - truth) < 4


@pytest.mark.parametrize(
    ("shape", "axes", "error", "message"),
    [
        ((3, 8, 8), "YX", ValueError, r"a letter for each axis.*got 'YX' for the shape \(3, 8, 8\)"),
        ((3, 8, 8), "ZYZ", ValueError, "must have X, the columns, once"),
        ((3, 8, 8), "YYX", ValueError, "must have Y, the rows, once"),
        ((3, 3, 8, 8), "CCYX", ValueError, "may have C only once"),
        ((3, 8, 8), "Z-X", ValueError, "a letter for each axis"),
        ((8, 8, 5), "YXS", ValueError, "has 1 to 4 numbers, got 5. Take C"),
        ((0, 8, 8), "ZYX", ValueError, "at least one number on each axis"),
        ((3, 8, 8), 3, TypeError, "must be a text with a letter for each axis"),
    ],
)
def test_axes_that_do_not_fit_are_refused(shape, axes, error, message):
    with pytest.raises(error, match=message):
        denoise_image(np.zeros(shape, np.uint8), axes=axes)


def test_levels_that_do_not_fit_are_refused():
    stack = noisy(2, 3)
    with pytest.raises(ValueError, match="or 3 numbers, one for each channel, got 2 numbers"):
        denoise_image(stack, axes="ZCYX", sigma=(1, 2))
    with pytest.raises(ValueError, match=r"a map of shape \(48, 48\).* got the shape \(2, 48\)"):
        denoise_image(stack, axes="ZCYX", sigma=np.ones((2, SIDE)))


def test_a_stack_without_axes_is_refused_with_advice():
    with pytest.raises(ValueError, match='axes="ZYX" for'):
        denoise_image(noisy(6))


def test_progress_counts_planes_and_an_exception_ends_it():
    calls = []
    denoise_image(noisy(3), sigma=100, axes="ZYX", callback=lambda *args: calls.append(args))
    assert sorted(set(calls)) == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert calls == sorted(calls)

    def stop(done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_image(noisy(3), sigma=100, axes="ZYX", callback=stop)


# Files ---------------------------------------------------------------------------------------------------

KINDS = {
    "OME": {"ome": True, "metadata": {"axes": "ZCYX", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"}},
    "ImageJ": {
        "imagej": True,
        "metadata": {"axes": "ZCYX", "unit": "um", "spacing": 0.5},
        "resolution": (3.33, 3.33),
    },
    "tifffile": {"metadata": {"axes": "ZCYX"}, "compression": "zlib", "tile": (32, 32)},
    "pages": {"metadata": None, "byteorder": ">"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_equal_the_array_denoised_at_the_same_level(tmp_path, kind):
    stack = noisy(2, 2)
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    tifffile.imwrite(source, stack, photometric="minisblack", **KINDS[kind])
    calls = []
    denoise_file(source, target, sigma=100, callback=lambda *args: calls.append(args))
    assert calls[0] == (0, 4)
    assert calls[-1] == (4, 4)
    expected = denoise_image(stack, sigma=100, axes="ZCYX")
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(target) as after:
        found = after.series[0]
        assert (found.kind, found.axes, found.shape) == (
            before.series[0].kind,
            before.series[0].axes,
            before.series[0].shape,
        )
        np.testing.assert_array_equal(found.asarray(), expected.reshape(found.shape))
        if kind == "OME":
            assert 'PhysicalSizeX="0.1" PhysicalSizeXUnit="µm"' in after.ome_metadata
        if kind == "ImageJ":
            assert after.imagej_metadata["unit"] == "um"
            assert after.imagej_metadata["spacing"] == 0.5
            assert after.pages[0].tags[282].value == (333, 100)


def test_a_file_has_the_levels_of_the_array(tmp_path):
    stack = np.stack([noisy(3, sigma=40), noisy(3, sigma=160, seed=1)], axis=1)
    write_stack(tmp_path / "a.tif", stack, axes="ZCYX")
    denoise_file(tmp_path / "a.tif", tmp_path / "b.tif")
    found, axes = read_stack(tmp_path / "b.tif")
    assert axes == "ZCYX"
    np.testing.assert_array_equal(found, denoise_image(stack, axes="ZCYX"), strict=True)


def test_data_channels_of_a_file_are_denoised(tmp_path):
    image = (np.moveaxis(noisy(4), 0, -1) // 16).astype(np.uint8)
    options = {"photometric": "rgb", "extrasamples": ["unspecified"], "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    denoise_file(tmp_path / "a.tif", tmp_path / "a.tif")
    found, axes = read_stack(tmp_path / "a.tif")
    assert axes == "YXC"
    np.testing.assert_array_equal(found, denoise_image(image, axes="YXC"), strict=True)


def test_pages_of_different_sizes_share_the_level_of_the_largest(tmp_path):
    pages = [noisy(1)[0], noisy(1, seed=1)[0, :30], noisy(1, seed=2)[0], noisy(1, seed=3)[0]]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for page in pages:
            tif.write(page, metadata=None, contiguous=False)
    denoise_file(tmp_path / "a.tif", tmp_path / "b.tif")
    model = estimate_noise(pages[2:])
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert len(tif.pages) == 4
        for page, expected in zip(tif.pages, pages, strict=True):
            np.testing.assert_array_equal(page.asarray(), denoise_image(expected, noise=model))


def test_missing_planes_are_noted_and_stay_0(tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "TYX"}
    tifffile.imwrite(path, noisy(3), ome=True, metadata=metadata, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        text = tif.pages[0].description
    data = '<TiffData FirstT="{0}" IFD="{0}" PlaneCount="1"/>'
    changed = text.replace('<TiffData IFD="0" PlaneCount="3"/>', data.format(0) + data.format(2))
    assert changed != text
    tifffile.tiffcomment(path, changed.encode())
    with pytest.warns(UserWarning, match=r"a\.ome\.tif: 1 of its planes are missing; they stay 0"):
        denoise_file(path, tmp_path / "b.ome.tif", sigma=100)
    found, _ = read_stack(tmp_path / "b.ome.tif")
    assert not found[1].any()
    np.testing.assert_array_equal(found[2], denoise_image(noisy(3)[2], sigma=100))


def test_an_animated_gif_becomes_a_tiff_and_a_stack_no_png(tmp_path):
    frames = [Image.fromarray((plane // 16).astype(np.uint8)) for plane in noisy(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    denoise_file(tmp_path / "a.gif", tmp_path / "b.tif", sigma=6)
    found, axes = read_stack(tmp_path / "b.tif")
    assert axes == "TYX"
    np.testing.assert_array_equal(found[1], denoise_image(np.array(frames[1]), sigma=6))
    with pytest.raises(ValueError, match=r"must end in \.tif or \.tiff, because a stack is written as TIFF"):
        denoise_file(tmp_path / "a.gif", tmp_path / "b.png", sigma=6)


def test_a_stack_of_one_plane_may_become_an_image(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", noisy(1)[0], ome=True)
    denoise_file(tmp_path / "a.ome.tif", tmp_path / "b.png", sigma=100)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), denoise_image(noisy(1)[0], sigma=100))
    denoise_file(tmp_path / "a.ome.tif", tmp_path / "b.ome.tif", sigma=100)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tif:
        assert tif.is_ome


def test_a_file_may_be_its_own_destination_and_a_failure_leaves_it(tmp_path):
    write_stack(tmp_path / "a.tif", noisy(3), axes="ZYX")
    before = (tmp_path / "a.tif").read_bytes()

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_file(tmp_path / "a.tif", tmp_path / "a.tif", sigma=100, callback=stop)
    assert (tmp_path / "a.tif").read_bytes() == before
    denoise_file(tmp_path / "a.tif", tmp_path / "a.tif", sigma=100)
    np.testing.assert_array_equal(
        read_stack(tmp_path / "a.tif")[0], denoise_image(noisy(3), sigma=100, axes="ZYX")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_blind_network_takes_stacks(tmp_path):
    network = FoldedUNetNetwork((8, 12), blocks=(1, 1))
    denoiser = ImageDenoiser(
        network, noise=0.1, sigma="blind", patch_size=16, max_epochs=1, random_state=0, verbose=0
    )
    stack = (noisy(2) / 4095).astype(np.float32)
    denoiser.fit(stack)
    write_stack(tmp_path / "a.tif", stack, axes="ZYX")
    denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", model=denoiser)
    expected = np.stack([denoise_image(plane, model=denoiser) for plane in stack])
    np.testing.assert_array_equal(read_stack(tmp_path / "b.tif")[0], expected, strict=True)


def test_files_that_cannot_be_read_leave_no_file(tmp_path):
    write_stack(tmp_path / "a.tif", noisy(3), axes="IYX")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-2000])
    with pytest.raises(UnreadableImageError, match="cut off"):
        denoise_file(tmp_path / "a.tif", tmp_path / "b.tif")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.tif"):
        denoise_file(tmp_path / "none.tif", tmp_path / "b.tif")
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(UnreadableImageError, match="more than the limit"):
        denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", max_pixels=100)
    with pytest.raises(TypeError, match="leave axes out"):
        denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", axes="ZYX")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_only_a_few_planes_are_in_memory(tmp_path):
    tracemalloc = pytest.importorskip("tracemalloc")
    plane = np.zeros((256, 256), np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for _ in range(100):
            tif.write(plane, metadata=None, contiguous=False)
    with open_stack(tmp_path / "a.tif") as stack:
        tracemalloc.start()
        write_stack(tmp_path / "b.tif", iter(stack), like=stack)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # The whole stack has 100 planes.
    assert peak < 12 * plane.nbytes
