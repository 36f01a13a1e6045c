from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from sk_denoise.datasets import ImageFolder, extract_patches, join_patches


def image(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def test_patches_lie_side_by_side_and_cover_the_image():
    p = image(5, 7)
    patches = extract_patches([p], (2, 3))
    corners = [(row, column) for row in (0, 2, 3) for column in (0, 3, 4)]
    assert patches.dtype == np.uint8
    np.testing.assert_array_equal(patches, [p[r : r + 2, c : c + 3] for r, c in corners])


def test_the_stride_is_the_distance_of_patches():
    p = image(6, 6, 3)
    patches = extract_patches([p], 4, stride=(1, 2))
    corners = [(row, column) for row in (0, 1, 2) for column in (0, 2)]
    np.testing.assert_array_equal(patches, [p[r : r + 4, c : c + 4] for r, c in corners])


def test_a_patch_may_be_the_whole_image():
    p = image(4, 6)
    np.testing.assert_array_equal(extract_patches([p], (4, 6), stride=3), p[None])


@pytest.mark.parametrize("kind", ["stack", "list", "tensors", "folder"])
def test_images_may_come_in_many_ways(tmp_path, kind):
    stack = image(3, 8, 9, 3)
    expected = np.concatenate([extract_patches([p], 4) for p in stack])
    for index, p in enumerate(stack):
        Image.fromarray(p).save(tmp_path / f"{index}.png")
    ways = {
        "stack": stack,
        "list": list(stack),
        "tensors": torch.from_numpy(stack).movedim(-1, 1),
        "folder": ImageFolder(tmp_path),
    }
    np.testing.assert_array_equal(extract_patches(ways[kind], 4), expected)


def test_images_may_have_different_sizes():
    patches = extract_patches([image(4, 4), image(8, 4), image(5, 5)], 4)
    assert patches.shape == (1 + 2 + 4, 4, 4)


def test_an_item_may_be_an_image_alone_in_a_tuple():
    stack = image(3, 8, 9)
    alone = TensorDataset(torch.from_numpy(stack))
    np.testing.assert_array_equal(extract_patches(alone, 4), extract_patches(stack, 4))


def test_random_patches_are_pieces_of_their_image():
    p = np.arange(20 * 30).reshape(20, 30)
    patches = extract_patches([p, -p], 5, n_per_image=50, random_state=0)
    assert patches.shape == (100, 5, 5)
    for patch, sign in zip(patches, [1] * 50 + [-1] * 50, strict=True):
        row, column = divmod(sign * patch[0, 0], 30)
        np.testing.assert_array_equal(patch, sign * p[row : row + 5, column : column + 5])
    assert len({patch.tobytes() for patch in patches}) > 80
    np.testing.assert_array_equal(patches, extract_patches([p, -p], 5, n_per_image=50, random_state=0))
    assert (patches != extract_patches([p, -p], 5, n_per_image=50, random_state=1)).any()


@pytest.mark.parametrize(
    ("images", "parameters", "error", "message"),
    [
        (image(8, 8), {}, ValueError, r"Pass a single image as \[image\]"),
        ([], {}, ValueError, "no images"),
        ([image(8, 8), image(3, 8)], {}, ValueError, "Image 1 is 3 x 8 and thus smaller"),
        ([image(8, 8), image(8, 8, 3)], {}, ValueError, "Image 1 has the channels"),
        ([image(8, 8), image(8, 8, dtype="f4")], {}, ValueError, "Image 1 is of type float32"),
        ([(image(8, 8), image(8, 8))], {}, ValueError, "is a pair: cut the noisy and the clean"),
        ([[1, 2], [3, 4]], {}, TypeError, "must be an image or a pair"),
        (["photo.png"], {}, TypeError, "Image 0: .* Files are read by ImageFolder"),
        ([image(8, 8), None], {}, TypeError, "Image 1: .* got NoneType"),
        ((np.zeros((50, 20, 20)),) * 2, {}, ValueError, r"two stacks.*list\(zip\(noisy, clean\)\)"),
        ("photos", {}, FileNotFoundError, "There is no folder 'photos'"),
        (iter([image(8, 8)]), {}, TypeError, "Images must have a length"),
        ([image(8, 8).astype(complex)], {}, TypeError, "must hold real numbers"),
        ([image(8, 8)], {"stride": 2, "n_per_image": 3}, ValueError, "not both"),
        ([image(8, 8)], {"stride": 5}, ValueError, "stride must be at most the patch_size"),
        ([image(8, 8)], {"stride": 0}, ValueError, "stride must be at least 1"),
        ([image(8, 8)], {"n_per_image": 0}, ValueError, "n_per_image must be at least 1"),
        ([image(8, 8)], {"n_per_image": 2.0}, TypeError, "n_per_image must be an integer"),
        ([image(8, 8)], {"patch_size": (4, 4, 3)}, ValueError, "patch_size must be an integer or"),
        ([image(8, 8)], {"patch_size": 0}, ValueError, "patch_size must be at least 1"),
    ],
)
def test_images_that_cannot_be_cut_are_refused(images, parameters, error, message):
    with pytest.raises(error, match=message):
        extract_patches(images, **{"patch_size": 4, **parameters})


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64", "float32", "float64", "bool"])
@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 3)])
@pytest.mark.parametrize("stride", [None, 1, (2, 3)])
def test_joining_undoes_cutting(shape, dtype, stride):
    p = image(*shape, dtype=dtype)
    joined = join_patches(extract_patches([p], (3, 5), stride=stride), p.shape, stride=stride)
    assert joined.dtype == p.dtype
    if p.dtype.kind == "f":
        np.testing.assert_allclose(joined, p, rtol=1e-6)
    else:
        np.testing.assert_array_equal(joined, p)


def test_overlapping_patches_are_blended():
    patches = np.stack([np.zeros((1, 8)), np.ones((1, 8))])  # different in the overlap
    row = join_patches(patches, (1, 12), stride=(1, 4))[0]
    assert (np.diff(row) >= 0).all()
    assert 0 < row[4] < 0.25
    assert 0.75 < row[7] < 1


@pytest.mark.parametrize(
    ("shape", "image_shape", "message"),
    [
        ((5, 4, 4), (8, 8), "has 4 patches of 4 x 4 with a stride of 4 x 4, got 5"),
        ((4, 4, 4), (8, 8, 3), "were expected, got"),
        ((4, 4, 4, 1), (8, 8, 3), "were expected, got"),
        ((4, 4), (8,), "were expected, got"),
        ((4, 4, 4), (3, 8), "An image of 3 x 8 is smaller than a patch of 4 x 4"),
    ],
)
def test_patches_of_another_image_are_refused(shape, image_shape, message):
    with pytest.raises(ValueError, match=message):
        join_patches(np.zeros(shape), image_shape)
