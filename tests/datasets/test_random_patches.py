from __future__ import annotations

import itertools
import pickle
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from sk_denoise.datasets import ImageFolder, RandomPatches, _patches, _random_patches, _sources
from sk_denoise.exceptions import SkippedImageWarning, UnreadableImageError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(patches: RandomPatches, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all patches of an epoch."""
    inputs, targets = zip(*patches.draw(seeded(seed)), strict=True)
    return torch.cat(inputs), torch.cat(targets)


def flat(value: float, *shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.full(shape or (8, 9), value, dtype)


def flats(n: int) -> list[np.ndarray]:
    """Return constant images of different sizes; their value is their index."""
    return [flat(index, 8 + index % 3, 9) for index in range(n)]


def visits(patches: RandomPatches, seed: int = 0) -> dict[int, int]:
    """Return the number of patches of each flat image."""
    values, counts = drawn(patches, seed)[0][:, 0, 0].unique(return_counts=True)
    return dict(zip(values.int().tolist(), counts.tolist(), strict=True))


class Listed(Dataset):
    """A data set of a user that records indices and threads of its readers."""

    def __init__(self, items: list) -> None:
        self.items = items
        self.reads: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        self.reads.append((index, threading.get_ident()))
        if isinstance(self.items[index], Exception):
            raise self.items[index]
        return self.items[index]


class Flowing(IterableDataset):
    def __init__(self, items: list) -> None:
        self.items = items

    def __iter__(self):
        return iter(self.items)


@pytest.fixture
def photos(tmp_path):
    """Return a folder of twelve small images of different sizes, full of noise."""
    rng = np.random.default_rng(0)
    for index in range(12):
        pixels = rng.integers(0, 256, (20 + index, 30 - index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index:02}.png")
    return tmp_path


# Epochs


def test_an_epoch_has_the_given_number_of_patches_of_each_image():
    patches = RandomPatches(flats(10), 4, patches_per_image=3, normalize=False)
    inputs, targets = drawn(patches)
    assert len(patches) == 30
    assert inputs.shape == (30, 4, 4)
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, targets)
    assert visits(patches) == dict.fromkeys(range(10), 3)


@pytest.mark.parametrize(("wanted", "most"), [(4, 1), (25, 3)])
def test_the_images_of_an_epoch_can_be_chosen(wanted, most):
    patches = RandomPatches(flats(10), 4, patches_per_image=2, images_per_epoch=wanted, normalize=False)
    counts = visits(patches)
    assert sum(counts.values()) == len(patches) == wanted * 2
    assert max(counts.values()) == most * 2
    assert any(visits(patches, seed) != counts for seed in (1, 2, 3))  # two may be equal by chance


def test_patches_are_pieces_of_their_image():
    image = np.arange(20 * 30, dtype=np.float64).reshape(20, 30)
    for patch in drawn(RandomPatches([image], (3, 5), patches_per_image=100))[0].numpy():
        row, column = divmod(int(patch[0, 0]), 30)
        np.testing.assert_array_equal(patch, image[row : row + 3, column : column + 5])


def test_all_places_are_equally_likely():
    image = np.arange(5 * 6, dtype=np.float32).reshape(5, 6)
    inputs, _ = drawn(RandomPatches([image], (3, 2), patches_per_image=15_000))
    counts = inputs[:, 0, 0].int().bincount()
    corners = [row * 6 + column for row in range(3) for column in range(5)]
    assert counts.nonzero().flatten().tolist() == corners
    assert (counts[corners] - 1000).abs().max() < 150  # 5 standard deviations


def test_patches_are_new_in_every_epoch():
    patches = RandomPatches([np.random.default_rng(0).random((50, 50))], 5)
    generator = seeded()
    first, second = (torch.cat([x for x, _ in patches.draw(generator)]) for _ in range(2))
    assert not {p.numpy().tobytes() for p in first} & {p.numpy().tobytes() for p in second}


def test_patches_of_many_images_are_mixed():
    order = drawn(RandomPatches(flats(100), 4, normalize=False))[0][:, 0, 0]
    assert len(order[:100].unique()) > 40
    assert (order.diff() == 0).float().mean() < 0.05


def test_small_pools_mix_with_their_neighbours(monkeypatch):
    monkeypatch.setattr(_random_patches, "POOL_BYTES", 10 * 16 * 16)  # ten images
    patches = RandomPatches(flats(100), 4, normalize=False)
    blocks = [x[:, 0, 0] for x, _ in patches.draw(seeded())]
    assert len(blocks) > 10
    assert visits(patches) == dict.fromkeys(range(100), 16)
    assert all(len(block.unique()) > 5 for block in blocks)


def test_the_first_block_comes_before_all_images_are_read():
    images = Listed(flats(100) * 3)
    epoch = RandomPatches(images, 4).draw(seeded())
    inputs, _ = next(epoch)
    assert len(inputs) == 32 * 16
    assert len(images.reads) <= 1 + 64 + 32
    assert len(next(epoch)[0]) == 32 * 16
    assert len(images.reads) <= 1 + 96 + 32
    epoch.close()


def test_blocks_and_pools_are_bounded(monkeypatch):
    monkeypatch.setattr(_random_patches, "POOL_BYTES", 1000)
    monkeypatch.setattr(_patches, "BLOCK_ENTRIES", 100)
    largest = []
    add = _patches.PatchPool.add
    monkeypatch.setattr(
        _patches.PatchPool, "add", lambda self, part: (add(self, part), largest.append(self.n_bytes))[0]
    )
    blocks = list(RandomPatches(np.zeros((300, 8, 8), np.uint8), 4).draw(seeded()))
    assert max(len(x) for x, _ in blocks) == 100 // 16
    assert sum(len(x) for x, _ in blocks) == 300 * 16
    assert max(largest) < 1000 + 16 * 16


def test_a_patch_larger_than_a_block_comes_alone(monkeypatch):
    monkeypatch.setattr(_patches, "BLOCK_ENTRIES", 10)
    blocks = list(RandomPatches(flats(3), 4, patches_per_image=2).draw(seeded()))
    assert [len(x) for x, _ in blocks] == [1] * 6


# Units


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("uint8", 255, 1),
        ("uint8", 51, 0.2),
        ("uint16", 65535, 1),
        (">u2", 4095, 1),
        ("uint16", 819, 819 / 1023),
        ("int16", 32767, 1),
        ("int16", -32768, 0),
        (">i2", 4095, 1),
        ("int8", -128, 0),
        ("int8", 127, 1),
        ("bool", True, 1),
        ("float32", 1.5, 1.5),
        ("float64", 300, 300),
    ],
)
def test_integers_are_scaled_to_the_unit_range(dtype, value, expected):
    inputs, _ = drawn(RandomPatches([flat(value, dtype=dtype)], 4))
    assert inputs.dtype == torch.float32
    np.testing.assert_allclose(inputs, expected, rtol=1e-6)
    inputs, _ = drawn(RandomPatches([flat(value, dtype=dtype)], 4, normalize=False))
    np.testing.assert_allclose(inputs, value, rtol=1e-6)


def test_images_of_different_types_are_scaled_to_the_unit_range():
    images = [flat(51), flat(13107, dtype="uint16"), flat(0.2, dtype="float32"), flat(0.2, dtype="float64")]
    inputs, _ = drawn(RandomPatches(images, 4))
    np.testing.assert_allclose(inputs, np.full((64, 4, 4), 0.2), rtol=1e-6)


def test_unnormalized_images_share_a_type():
    patches = RandomPatches([flat(1), flat(2, dtype="uint16")], 4, normalize=False)
    with pytest.warns(SkippedImageWarning, match="Image 1 is of type uint16, the first one of uint8"):
        assert visits(patches) == {1: 32}


def test_wide_integers_are_not_normalized():
    with pytest.raises(ValueError, match="Images of int64 cannot be normalized"):
        drawn(RandomPatches([flat(1, dtype="int64")], 4))
    assert visits(RandomPatches([flat(1, dtype="int64")], 4, normalize=False)) == {1: 16}


# Sources


STACK = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)
SIZED = {
    "stack": STACK,
    "list": list(STACK),
    "tuple": tuple(STACK),
    "tensor": torch.from_numpy(STACK).movedim(-1, 1),
    "tensors": list(torch.from_numpy(STACK).movedim(-1, 1)),
    "data set": Listed(list(STACK)),
    "data set of tensors": Listed(list(torch.from_numpy(STACK).movedim(-1, 1))),
}


@pytest.mark.parametrize("kind", SIZED)
def test_the_same_images_give_the_same_patches_in_every_container(kind):
    patches = RandomPatches(SIZED[kind], 4)
    assert patches.sample_shape == (4, 4, 3)
    assert not patches.is_paired
    assert torch.equal(drawn(patches)[0], drawn(RandomPatches(STACK, 4))[0])


def test_gray_stacks_and_single_channels():
    assert RandomPatches(STACK[..., 0], (4, 5)).sample_shape == (4, 5)
    assert RandomPatches(STACK[..., :1], (4, 5)).sample_shape == (4, 5, 1)
    assert RandomPatches(torch.zeros(6, 8, 9), 4).sample_shape == (4, 4)
    assert RandomPatches(torch.zeros(6, 1, 8, 9, dtype=torch.bfloat16), 4).sample_shape == (4, 4, 1)


def test_a_data_set_of_a_user_is_read_by_one_thread_at_a_time():
    images = Listed(flats(40))
    drawn(RandomPatches(images, 4))
    indexes, threads = zip(*images.reads[1:], strict=True)  # the first read determined the layout
    assert sorted(indexes) == list(range(40))
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


STREAMS = {
    "iterable": lambda items: Flowing(items),
    "function": lambda items: lambda: iter(items),
    "function of a list": lambda items: lambda: items,
    "generator": lambda items: (item for item in items * 10),
    "iterator": lambda items: iter(items * 10),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_go_on_from_epoch_to_epoch(kind):
    patches = RandomPatches(
        STREAMS[kind](flats(10)), 4, patches_per_image=2, images_per_epoch=4, normalize=False
    )
    assert len(patches) == 8
    assert patches.sample_shape == (4, 4)
    assert patches.indexes is None
    for epoch in range(10):
        assert visits(patches, epoch) == {(4 * epoch + k) % 10: 2 for k in range(4)}


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_need_the_length_of_an_epoch(kind):
    with pytest.raises(ValueError, match="need images_per_epoch"):
        RandomPatches(STREAMS[kind](flats(10)), 4)


def test_the_error_for_an_ended_iterator_names_functions():
    patches = RandomPatches(iter(flats(5)), 4, images_per_epoch=3)
    drawn(patches)
    with pytest.raises(ValueError, match=r"ended after 5 images.* Pass a function that makes a new one"):
        drawn(patches)


@pytest.mark.parametrize("empty", [iter([]), lambda: iter([]), Flowing([])])
def test_a_stream_without_images_is_refused(empty):
    with pytest.raises(ValueError, match="the iterator is empty"):
        drawn(RandomPatches(empty, 4, images_per_epoch=3))


def test_statistics_of_a_stream_lose_no_image():
    patches = RandomPatches(iter(flats(10)), 4, images_per_epoch=10, patches_per_image=2, normalize=False)
    inputs, targets = patches.first(6, seeded())
    assert inputs is targets
    assert sorted(inputs[:, 0, 0].int().tolist()) == list(range(6))
    patches.first(2, seeded())
    assert visits(patches) == dict.fromkeys(range(10), 2)


def test_statistics_of_a_stream_buffer_few_large_images(monkeypatch):
    monkeypatch.setattr(_sources, "MAX_BUFFERED_BYTES", 200)
    patches = RandomPatches(iter(flats(10)), 4, images_per_epoch=10, patches_per_image=2)
    assert len(patches.first(20, seeded())[0]) == 6  # three images of 72 bytes and more
    assert len(drawn(patches)[0]) == 20


def test_an_epoch_left_early_loses_no_buffered_image():
    patches = RandomPatches(
        itertools.cycle(flats(200)), 4, images_per_epoch=10, patches_per_image=1, normalize=False
    )
    epoch = patches._cut_images(patches._source.iterate_visits(seeded()), 10, 1, patches._source.release)
    assert next(epoch)[0].max() == 0
    epoch.close()
    assert visits(patches) == dict.fromkeys(range(1, 11), 1)
    assert not patches._source.buffered


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_folder_may_be_given_by_its_path(tmp_path, as_path):
    Image.fromarray(flat(9, 8, 8).astype(np.uint8)).save(tmp_path / "a.png")
    assert RandomPatches(as_path(tmp_path), 4).sample_shape == (4, 4)
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    assert RandomPatches(as_path(tmp_path), 4).sample_shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ("photos", FileNotFoundError, "There is no folder 'photos'"),
        ({"a": 1}, TypeError, "Expected an ImageFolder, the path of a folder, a stack of images.*got dict"),
        (3, TypeError, "Expected an ImageFolder.*got int"),
        ([], ValueError, "no images"),
        (np.zeros((0, 8, 8)), ValueError, "no images"),
        (Listed([]), ValueError, "data set is empty"),
        (np.zeros((8, 8)), ValueError, r"got \(8, 8\). Pass a single image as \[image\]"),
        ([np.zeros(8)], ValueError, "two or three axes"),
        ([np.zeros((2, 8, 8, 3))], ValueError, "not batches of its images"),
        ([[1.0, 2.0]], TypeError, r"pair \(noisy, clean\) of images, got \(float, float\)"),
        ([(flat(0), 3)], TypeError, r"got \(ndarray, int\). Labels are not used here"),
        ([flat(0).astype(complex)], TypeError, "must hold real numbers"),
        ([Image.new("L", (8, 8))], TypeError, "must be an array"),
    ],
)
def test_objects_that_are_no_images_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        RandomPatches(images, 4)


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([(torch.zeros(1, 8, 8), 3)] * 3, TypeError, "Image 0: .* Labels are not used"),
        ([(torch.zeros(1, 8, 8), torch.tensor(3))] * 3, TypeError, "Image 0: .* Labels are not used"),
        ([{"image": 0}] * 3, TypeError, "Image 0: .* must be an array .* got dict"),
        ([(flat(0), flat(0), flat(0))] * 3, TypeError, r"Image 0: .* got \(ndarray, ndarray, ndarray\)"),
        ([()] * 3, TypeError, r"Image 0: An item must be an image or a pair .* got \(\)"),
    ],
)
def test_items_that_are_no_images_are_refused_on_reading(items, error, message):
    with pytest.raises(error, match=message):
        _ = RandomPatches(Listed(items), 4).sample_shape


@pytest.mark.parametrize("item", [None, {"image": 0}, (flat(2), 3), "photo.png", np.zeros(8)])
def test_an_item_that_is_no_image_is_named(item):
    items = [flat(0), flat(1), item]
    for images in (items, Listed(items)):
        with pytest.raises((TypeError, ValueError), match=r"^Image 2: "):
            drawn(RandomPatches(images, 4))
    with pytest.raises((TypeError, ValueError), match=r"^Image number 2 of the stream: "):
        drawn(RandomPatches(iter(items), 4, images_per_epoch=3))


def test_an_item_may_be_an_image_alone_in_a_tuple():
    tensors = torch.from_numpy(STACK).movedim(-1, 1)
    for images in (TensorDataset(tensors), [(image,) for image in STACK], [[p] for p in tensors]):
        patches = RandomPatches(images, 4)
        assert not patches.is_paired
        assert torch.equal(drawn(patches)[0], drawn(RandomPatches(STACK, 4))[0])


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize(
    "stack",
    [np.zeros((6, 30, 40)), np.zeros((6, 30, 40, 3)), torch.zeros(6, 30, 40), torch.zeros(6, 1, 30, 40)],
    ids=lambda stack: f"{type(stack).__name__} {stack.ndim}",
)
def test_two_stacks_are_not_taken_for_two_images(stack, kind):
    with pytest.raises(ValueError, match=r"look like two stacks. Pass pairs as list\(zip\(noisy, clean\)\)"):
        RandomPatches(kind((stack, stack)), 6)


def test_two_images_are_not_taken_for_two_stacks():
    assert RandomPatches([np.zeros((8, 9, 4))] * 2, 6).sample_shape == (6, 6, 4)
    assert RandomPatches([torch.zeros(4, 8, 9)] * 2, 6).sample_shape == (6, 6, 4)
    assert RandomPatches([np.zeros((8, 9, 7)), np.zeros((9, 9, 7))], 6).sample_shape == (6, 6, 7)
    assert RandomPatches(np.zeros((2, 8, 9, 7)), 6).sample_shape == (6, 6, 7)


def test_a_loader_of_batches_is_refused():
    loader = DataLoader(TensorDataset(torch.zeros(6, 1, 8, 8)), batch_size=2)
    with pytest.raises(ValueError, match="Pass the data set itself, not batches of its images"):
        _ = RandomPatches(loader, 4, images_per_epoch=3).sample_shape


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"patch_size": 0}, ValueError, "patch_size must be at least 1"),
        ({"patch_size": 4.0}, TypeError, "patch_size must be an integer"),
        ({"patch_size": (4, 4, 3)}, ValueError, r"patch_size must be an integer or \(height, width\)"),
        ({"patches_per_image": 0}, ValueError, "patches_per_image must be at least 1"),
        ({"patches_per_image": 2**26}, ValueError, "lower patches_per_image and raise"),
        ({"images_per_epoch": 0}, ValueError, "images_per_epoch must be at least 1"),
        ({"normalize": "yes"}, TypeError, "normalize must be True or False"),
        ({"on_error": "ignore"}, ValueError, "Unknown on_error 'ignore'"),
    ],
)
def test_wrong_parameters_are_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        RandomPatches(flats(2), **{"patch_size": 4, **parameters})


# Pairs


def pairs(n: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    clean = [np.random.default_rng(k).random((10 + k, 12)) for k in range(n)]
    return [(image + 10, image) for image in clean]


@pytest.mark.parametrize("kind", ["list", "data set", "stream", "tensors"])
def test_both_sides_are_cut_at_the_same_place(kind):
    ways = {
        "list": pairs(),
        "data set": Listed(pairs()),
        "stream": lambda: pairs(),
        "tensors": TensorDataset(torch.rand(5, 3, 9, 9).add(10), torch.zeros(5, 3, 9, 9)),
    }
    if kind == "tensors":
        ways[kind].tensors[1].copy_(ways[kind].tensors[0] - 10)
    patches = RandomPatches(ways[kind], 4, images_per_epoch=5)
    inputs, targets = drawn(patches)
    assert patches.is_paired
    assert inputs.shape == targets.shape == (80, *patches.sample_shape)
    torch.testing.assert_close(inputs, targets + 10)
    inputs, targets = patches.first(10, seeded())
    torch.testing.assert_close(inputs, targets + 10)


def test_folders_of_pairs_are_cut_at_the_same_place(photos, tmp_path):
    (tmp_path / "dark").mkdir()
    for path in sorted(photos.glob("*.png")):
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(tmp_path / "dark" / path.name)
    patches = RandomPatches(ImageFolder(photos, noisy=tmp_path / "dark", recursive=False), 8)
    inputs, targets = drawn(patches)
    torch.testing.assert_close((inputs * 255).round(), (targets * 255).round() // 2)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((flat(0), flat(0, 9, 9)), "Image 1 is a pair whose sides differ in size: 8 x 9 and 9 x 9"),
        ((flat(0), flat(0, dtype="uint16")), "sides differ in type: uint8 and uint16"),
        (flat(0), "Image 1 is a single image, the first one is a pair"),
    ],
)
def test_pairs_that_do_not_match_are_left_out(item, message):
    patches = RandomPatches([(flat(0), flat(0)), item], 4)
    with pytest.warns(SkippedImageWarning, match=message):
        assert len(drawn(patches)[0]) == 32


# The same bits


@pytest.mark.parametrize("cache_bytes", [0, 5000, 2**28])
@pytest.mark.parametrize("n_workers", [0, 1, 2, 5])
def test_a_seed_gives_the_same_bits_with_any_threads_and_cache(photos, n_workers, cache_bytes):
    expected = [drawn(RandomPatches(ImageFolder(photos), 8), seed)[0] for seed in range(2)]
    patches = RandomPatches(ImageFolder(photos, cache_bytes=cache_bytes), 8, images_per_epoch=12)
    patches._source.n_workers = n_workers
    for seed in (0, 1):
        assert torch.equal(drawn(patches, seed)[0], expected[seed])
    assert not torch.equal(*expected)


@pytest.mark.filterwarnings("ignore::sk_denoise.exceptions.SkippedImageWarning")
def test_a_seed_gives_the_same_bits_if_images_are_left_out(photos):
    for index in (0, 5, 11):
        (photos / f"{index:02}.png").write_bytes(b"broken")
    epochs = []
    for n_workers in (0, 1, 2, 5):
        patches = RandomPatches(ImageFolder(photos), 8, images_per_epoch=40)
        patches._source.n_workers = n_workers
        epochs.append([drawn(patches, seed)[0] for seed in range(2)])
    assert all(torch.equal(x, y) for epoch in epochs for x, y in zip(epoch, epochs[0], strict=True))


@pytest.mark.filterwarnings("ignore::sk_denoise.exceptions.SkippedImageWarning")
@pytest.mark.parametrize("images_per_epoch", [None, 5, 40])
def test_a_seed_gives_the_same_bits_if_broken_files_are_known(photos, images_per_epoch):
    for index in (0, 5, 11):
        (photos / f"{index:02}.png").write_bytes(b"broken")

    def all_of(patches):
        generator = seeded()
        first = patches.first(100, generator)[0]
        epochs = [torch.cat([x for x, _ in patches.draw(generator)]) for _ in range(2)]
        return [*epochs, first, patches.first(100, generator)[0]]

    patches = RandomPatches(ImageFolder(photos), 8, images_per_epoch=images_per_epoch)
    fresh, reused = all_of(patches), all_of(patches)
    assert not torch.equal(fresh[0], fresh[1])
    for x, y in zip(fresh, reused, strict=True):
        assert torch.equal(x, y)


@pytest.mark.filterwarnings("ignore::sk_denoise.exceptions.SkippedImageWarning")
def test_a_seed_gives_the_same_parts_if_broken_files_are_known(photos):
    for index in (0, 5, 11):
        (photos / f"{index:02}.png").write_bytes(b"broken")
    patches = RandomPatches(ImageFolder(photos), 8)
    fresh = patches.split(0.5, random_state=0)
    drawn(patches)
    reused = patches.split(0.5, random_state=0)
    for x, y in zip(fresh, reused, strict=True):
        assert x.indexes == y.indexes
        assert torch.equal(drawn(x)[0], drawn(y)[0])


def test_an_epoch_left_early_changes_no_other(photos):
    patches, generator, other = RandomPatches(ImageFolder(photos), 8), seeded(), seeded()
    for _ in range(2):
        epoch = patches.draw(generator)
        next(epoch)
        epoch.close()
        list(patches.draw(other))
    assert torch.equal(generator.get_state(), other.get_state())


def test_the_global_generators_are_left_alone(photos):
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    patches = RandomPatches(ImageFolder(photos), 8)
    patches.split(0.5)
    drawn(patches)
    patches.first(10, seeded())
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # noqa: NPY002


def test_a_copy_by_pickle_draws_the_same(photos):
    patches = RandomPatches(ImageFolder(photos), 8)
    expected = drawn(patches)[0]
    assert torch.equal(drawn(pickle.loads(pickle.dumps(patches)))[0], expected)


# Unusable images


BAD = {
    "small": (flat(0, 3, 9), "is 3 x 9 and thus smaller than the patches, 4 x 4"),
    "channels": (flat(0, 8, 9, 3), "has 3 channels, the first one has no axis of channels"),
    "nan": (flat(np.nan, dtype="float32"), "holds NaN or infinity"),
    "infinity": (flat(np.inf, dtype="float64"), "holds NaN or infinity"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_unusable_image_is_left_out_with_one_warning(kind):
    bad, message = BAD[kind]
    patches = RandomPatches([flat(0, dtype="float64"), flat(1, dtype="float64"), bad], 4)
    with pytest.warns(SkippedImageWarning, match=f"Image 2 {message}. It is left out from now on") as caught:
        counts = visits(patches)
    assert len(caught) == 1
    assert sum(counts.values()) == len(patches) == 48
    assert set(counts) == {0, 1}
    assert sum(visits(patches, 1).values()) == 48  # without a warning, which would be an error
    patches = RandomPatches([flat(0), bad], 4, on_error="raise")
    with pytest.raises(UnreadableImageError, match=message):
        drawn(patches)


def test_a_broken_file_is_named_once_and_left_out(photos):
    (photos / "03.png").write_bytes(b"broken")
    (photos / "07.png").write_bytes((photos / "07.png").read_bytes()[:200])
    patches = RandomPatches(ImageFolder(photos), 8)
    main, raisers = threading.get_ident(), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.showwarning = lambda *a, **k: raisers.append((threading.get_ident(), str(a[0])))
        for seed in range(3):
            assert len(drawn(patches, seed)[0]) == len(patches) == 12 * 16
    assert not caught
    assert [thread for thread, _ in raisers] == [main, main]
    assert {name for name in ("03.png", "07.png") for _, text in raisers if name in text} == {
        "03.png",
        "07.png",
    }


def test_an_unusable_image_in_two_pending_visits_gets_one_warning():
    patches = RandomPatches([flat(0), flat(1, 2, 2)], 4, images_per_epoch=20)
    with pytest.warns(SkippedImageWarning) as caught:
        drawn(patches)
    assert len(caught) == 1


def test_on_error_of_the_folder_is_the_default(photos):
    (photos / "03.png").write_bytes(b"broken")
    folder = ImageFolder(photos, on_error="raise")
    with pytest.raises(UnreadableImageError, match=r"03\.png"):
        drawn(RandomPatches(folder, 8))
    with pytest.warns(SkippedImageWarning, match=r"03\.png"):
        drawn(RandomPatches(folder, 8, on_error="warn"))


def test_the_layout_is_that_of_the_first_usable_image():
    patches = RandomPatches([flat(0, 2, 2), flat(1, 8, 8, 3), flat(2)], 4, normalize=False)
    with pytest.warns(SkippedImageWarning, match="Image 0"):
        assert patches.sample_shape == (4, 4, 3)
    with pytest.warns(SkippedImageWarning, match="Image 2"):
        assert set(drawn(patches)[0].unique().tolist()) == {1}


def test_file_errors_in_a_data_set_of_a_user_leave_the_image_out():
    patches = Listed([flat(0), OSError("cannot identify image file"), flat(2)])
    patches = RandomPatches(patches, 4, normalize=False)
    with pytest.warns(SkippedImageWarning, match="Image 1 cannot be read: cannot identify"):
        assert set(visits(patches)) == {0, 2}


def test_other_errors_of_a_data_set_of_a_user_are_passed_on():
    patches = RandomPatches(Listed([flat(0), KeyError("oops"), flat(2)]), 4)
    before = threading.active_count()
    with pytest.raises(KeyError, match="oops"):
        drawn(patches)
    assert threading.active_count() == before


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_data_set_that_stops_in_between_is_named(n_workers):
    patches = RandomPatches(Listed([flat(0), StopIteration("no more"), flat(2)]), 4)
    patches._source.n_workers = n_workers
    with pytest.raises(RuntimeError, match=r"Image 1 cannot be read: .* raised StopIteration") as caught:
        drawn(patches)
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_function_that_stops_in_place_of_its_iterator_is_named():
    iterators = iter([flats(3)])
    patches = RandomPatches(lambda: next(iterators), 4, images_per_epoch=5)
    with pytest.raises(RuntimeError, match=r"Image number 3 of the stream .* raised StopIteration"):
        drawn(patches)


def test_streams_skip_unusable_images():
    patches = RandomPatches(
        lambda: [flat(0), flat(1, 2, 2), flat(2), flat(3)], 4, images_per_epoch=3, normalize=False
    )
    with pytest.warns(SkippedImageWarning, match="Image number 1 of the stream is 2 x 2"):
        patches.first(48, seeded())
    assert visits(patches) == {0: 16, 2: 16, 3: 16}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([flat(0, 2, 2)] * 3, "None of the 3 images can be used.*Image 2 is 2 x 2"),
        ([flat(np.nan, dtype="f4")] * 3, "None of the 3 images can be used.*holds NaN"),
        (lambda: [flat(0, 2, 2)], "100 images in a row cannot be used.*is 2 x 2"),
        (lambda: [flat(np.nan, dtype="f4")], "100 images in a row cannot be used.*holds NaN"),
        (list(np.zeros((9, 9, 3))), "None of the 9 images.*is 9 x 3 .*Arrays are height, width"),
    ],
)
@pytest.mark.filterwarnings("ignore::sk_denoise.exceptions.SkippedImageWarning")
def test_sources_without_usable_images_are_refused(images, message):
    patches = RandomPatches(images, 4, images_per_epoch=3)
    with pytest.raises(ValueError, match=message):
        drawn(patches)
    with pytest.raises(ValueError, match=message):
        patches.first(5, seeded())


# Statistics and parts


def test_statistics_use_patches_from_all_over():
    patches = RandomPatches(flats(200), 4, patches_per_image=2, normalize=False)
    values = patches.first(100, seeded())[0][:, 0, 0]
    assert len(values) == 100
    assert len(values.unique()) == 50
    assert values.min() < 50 < 150 < values.max()
    assert len(RandomPatches(flats(2), 4).first(999, seeded())[0]) == 999


def test_whole_images_are_held_out():
    patches = RandomPatches(flats(20), 4, normalize=False)
    training, validation = patches.split(0.25, random_state=0)
    assert (len(training), len(validation)) == (15 * 16, 5 * 16)
    assert set(visits(training)) == set(training.indexes)
    assert set(visits(validation)) == set(validation.indexes)
    assert sorted([*training.indexes, *validation.indexes]) == list(range(20)) == list(patches.indexes)
    assert patches.split(0.25, random_state=0)[1].indexes == validation.indexes
    assert patches.split(0.25, random_state=1)[1].indexes != validation.indexes
    with pytest.raises(ValueError, match="two images or more"):
        patches.split(0.01)[1].split(0.5)


def test_the_images_of_an_epoch_are_split_too():
    parts = RandomPatches(flats(20), 4, images_per_epoch=100).split(0.1)
    assert [len(part) for part in parts] == [90 * 16, 10 * 16]


def test_parts_drop_leading_unusable_images_and_keep_the_layout():
    patches = RandomPatches([flat(0, 2, 2), *flats(4)], 4)
    with pytest.warns(SkippedImageWarning, match="Image 0"):
        parts = patches.split(0.5, random_state=0)
    assert sorted([*parts[0].indexes, *parts[1].indexes]) == [1, 2, 3, 4]
    assert [part.sample_shape for part in parts] == [(4, 4)] * 2


def test_streams_are_not_split():
    with pytest.raises(ValueError, match="without a length cannot be split"):
        RandomPatches(lambda: flats(3), 4, images_per_epoch=3).split(0.5)


# Threads


@pytest.mark.parametrize("end", ["close", "forget", "exhaust", "raise"])
@pytest.mark.parametrize("kind", ["folder", "stream"])
def test_threads_end_with_the_epoch(photos, monkeypatch, kind, end):
    monkeypatch.setattr(_random_patches, "POOL_BYTES", 1)
    folder = ImageFolder(photos)
    patches = RandomPatches(folder if kind == "folder" else lambda: folder, 8, images_per_epoch=12)
    before = threading.active_count()
    epoch = patches.draw(seeded())
    next(epoch)
    assert threading.active_count() > before
    if end == "close":
        epoch.close()
    elif end == "forget":
        del epoch
    elif end == "exhaust":
        list(epoch)
    else:
        with pytest.raises(KeyboardInterrupt):
            epoch.throw(KeyboardInterrupt)
    assert threading.active_count() == before


def test_few_images_are_prefetched(monkeypatch):
    monkeypatch.setattr(_random_patches, "POOL_BYTES", 1)
    images = Listed(flats(100))
    epoch = RandomPatches(images, 4).draw(seeded())
    for taken in range(1, 20):
        next(epoch)
        assert len(images.reads) <= 1 + taken + 32
    epoch.close()


def test_fewer_images_of_a_stream_are_buffered(monkeypatch):
    monkeypatch.setattr(_random_patches, "POOL_BYTES", 1)
    patches = RandomPatches(iter(flats(100)), 4, images_per_epoch=100)
    epoch = patches.draw(seeded())
    for taken in range(1, 20):
        next(epoch)
        assert len(patches._source.buffered) <= 4
        assert patches._source.n_read <= taken + 4 + 1
    epoch.close()


def test_few_patches_are_cut_before_they_are_needed(monkeypatch):
    monkeypatch.setattr(_random_patches, "POOL_BYTES", 1)
    monkeypatch.setattr(_random_patches, "MAX_PREFETCH_ENTRIES", 2 * 16 * 16)
    images = Listed(flats(100))
    epoch = RandomPatches(images, 4).draw(seeded())
    next(epoch)
    epoch.close()
    assert len(images.reads) <= 1 + 1 + 2


def test_pending_images_are_not_read_after_an_epoch_is_left():
    class Slow(Listed):
        def __getitem__(self, index: int):
            time.sleep(0.02)
            return super().__getitem__(index)

    images = Slow(flats(100))
    patches = RandomPatches(images, 4)
    epoch = patches._cut_images(patches._source.iterate_visits(seeded()), 100, 16, patches._source.release)
    next(epoch)
    epoch.close()
    assert len(images.reads) <= 1 + 1 + 1  # for the layout, the first, and the next one
