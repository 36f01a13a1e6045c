from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from sk_denoise.datasets import ImageFolder, _folder
from sk_denoise.datasets._folder import ImageCache
from sk_denoise.exceptions import SkippedImageWarning, UnreadableImageError


def write(path: Path, *, value: int = 0, size: tuple[int, int] = (6, 8), dtype: str = "uint8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, dtype)).save(path)
    return path


def names(folder: ImageFolder) -> list[str]:
    return [path.relative_to(folder.folder).as_posix() for path in folder.paths]


@pytest.fixture
def ten(tmp_path) -> Path:
    """Return a folder of ten images, each of its own value."""
    for value in range(10):
        write(tmp_path / "ten" / f"{value}.png", value=value)
    return tmp_path / "ten"


def test_images_are_found_at_all_depths_and_sorted_by_their_path(tmp_path):
    for name in ["b.PNG", "a.png", "sub/deep/c.tif", "sub/a.jpg", "a/z.bmp"]:
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    assert names(ImageFolder(tmp_path)) == ["a.png", "a/z.bmp", "b.PNG", "sub/a.jpg", "sub/deep/c.tif"]
    assert names(ImageFolder(str(tmp_path), recursive=False)) == ["a.png", "b.PNG"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in ["a.png", "._a.png", ".cache/b.png"]:
        write(tmp_path / name)
    assert names(ImageFolder(tmp_path)) == ["a.png"]


def test_linked_folders_are_searched_and_circles_of_links_end(tmp_path):
    write(tmp_path / "elsewhere" / "b.png")
    write(tmp_path / "here" / "a.png")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "circle").symlink_to(tmp_path / "here")
    assert names(ImageFolder(tmp_path / "here")) == ["a.png", "link/b.png"]


@pytest.mark.parametrize(("color", "shape"), [("rgb", (6, 8, 3)), ("gray", (6, 8))])
def test_images_come_in_one_layout_and_their_own_type(tmp_path, color, shape):
    write(tmp_path / "a.png", value=200)
    write(tmp_path / "b.png", value=60000, dtype="uint16")
    Image.fromarray(np.full((6, 8, 4), 90, np.uint8)).save(tmp_path / "c.png")
    folder = ImageFolder(tmp_path, color=color)
    assert len(folder) == 3
    assert [image.shape for image in folder] == [shape] * 3
    assert [(image.dtype.name, image.max()) for image in folder] == [
        ("uint8", 200),
        ("uint16", 60000),
        ("uint8", 90),
    ]


def test_the_colour_of_a_folder_is_that_of_its_files(tmp_path, ten):
    gray = write(tmp_path / "gray" / "sub" / "a.png")
    Image.new("LA", (8, 6)).save(gray.with_name("alpha.png"))
    write(gray.with_name("b.tif"), dtype="uint16")
    gray.with_name("broken.png").write_bytes(b"nothing")
    assert ImageFolder(tmp_path / "gray", color="auto").color == "gray"
    assert ImageFolder(tmp_path / "gray").color == "rgb"
    pairs = ImageFolder(ten, noisy=ten, color="auto")
    assert pairs.color == "gray"
    assert pairs[0][0].shape == (6, 8)
    Image.new("RGB", (8, 6)).save(gray.with_name("z.png"))
    assert ImageFolder(tmp_path / "gray", color="auto").color == "rgb"


def test_broken_files_count_as_colour(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    assert ImageFolder(tmp_path, color="auto").color == "rgb"


def test_one_noisy_side_in_colour_makes_pairs_of_colour(tmp_path, ten):
    for value in range(10):
        write(tmp_path / "noisy" / f"{value}.png", size=(6, 8, 3))
    assert ImageFolder(ten, noisy=tmp_path / "noisy", color="auto").color == "rgb"


def test_indexing_follows_sequences(ten):
    folder = ImageFolder(ten, color="gray")
    assert folder[-1].max() == folder[np.int64(9)].max() == 9
    with pytest.raises(IndexError):
        _ = folder[10]
    with pytest.raises(TypeError):
        _ = folder["0"]


def test_a_change_to_an_image_does_not_change_the_folder(ten):
    folder = ImageFolder(ten)
    folder[3][...] = 99
    assert folder[3].max() == 3


def test_torch_loads_it_with_and_without_processes(ten):
    folder = ImageFolder(ten, color="gray")
    _ = folder[0]
    for n_workers in (0, 1):
        loader = DataLoader(folder, batch_size=5, num_workers=n_workers)
        assert [batch[:, 0, 0].tolist() for batch in loader] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_broken_file_is_an_error_that_names_it(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    gone = write(tmp_path / "c.png")
    folder = ImageFolder(tmp_path)
    gone.unlink()
    assert folder[0].shape == (6, 8, 3)
    for index, name in [(1, r"b\.png"), (2, r"c\.png")]:
        with pytest.raises(UnreadableImageError, match=name):
            _ = folder[index]


def test_images_with_too_many_pixels_are_refused(ten):
    with pytest.raises(UnreadableImageError, match=r"0\.png"):
        _ = ImageFolder(ten, max_pixels=47)[0]


def test_a_path_that_is_no_folder_of_images_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder '.*nowhere'"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"a\.png' is a file"):
        ImageFolder(write(tmp_path / "a.png"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty' holds no image: no file that ends in .*\.png"):
        ImageFolder(tmp_path / "empty")


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"color": "grey"}, ValueError, "Unknown color 'grey'. Did you mean 'gray'"),
        ({"on_error": "ignore"}, ValueError, "Unknown on_error 'ignore'"),
        ({"cache_bytes": -1}, ValueError, "cache_bytes must be at least 0"),
        ({"cache_bytes": 1e6}, TypeError, "cache_bytes must be an integer"),
        ({"max_pixels": True}, TypeError, "max_pixels must be an integer"),
    ],
)
def test_wrong_parameters_are_refused(ten, parameters, error, message):
    with pytest.raises(error, match=message):
        ImageFolder(ten, **parameters)


def test_the_representation_shows_folder_and_colour(ten):
    assert repr(ImageFolder(ten)) == f"<ImageFolder({str(ten)!r}, color='rgb') of 10 images>"


def test_a_folder_without_permission_is_not_skipped(tmp_path, monkeypatch):
    write(tmp_path / "a.png")
    write(tmp_path / "secret" / "b.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="secret"):
        ImageFolder(tmp_path)


# Pairs


def test_sides_are_paired_by_name_without_the_suffix(tmp_path):
    for value, name in enumerate(["b", "a", "sub/a"]):
        write(tmp_path / "clean" / f"{name}.png", value=value)
        write(tmp_path / "noisy" / f"{name}.tif", value=100 + value)
    folder = ImageFolder(tmp_path / "clean", noisy=tmp_path / "noisy", color="gray")
    assert [(noisy.max(), clean.max()) for noisy, clean in folder] == [(101, 1), (100, 0), (102, 2)]
    assert [path.stem for path in folder.noisy_paths] == [path.stem for path in folder.paths]
    assert "noisy=" in repr(folder)


def test_files_without_another_side_get_a_warning(tmp_path):
    for value in range(6):
        write(tmp_path / "clean" / f"{value}.png", value=value)
    for name in ("4", "5", "6"):
        write(tmp_path / "noisy" / f"{name}.png", value=7)
    message = r"5 images have no other side and are left out: .*0\.png, .*1\.png, .*, \.\.\.\.$"
    with pytest.warns(SkippedImageWarning, match=message):
        folder = ImageFolder(tmp_path / "clean", noisy=tmp_path / "noisy", color="gray")
    assert [clean.max() for _, clean in folder] == [4, 5]
    with pytest.raises(ValueError, match=r"5 images have no other side in the other folder: .*0\.png"):
        ImageFolder(tmp_path / "clean", noisy=tmp_path / "noisy", on_error="raise")


def test_folders_without_a_common_name_are_refused(tmp_path):
    write(tmp_path / "clean" / "a.png")
    write(tmp_path / "noisy" / "b.png")
    with pytest.raises(ValueError, match="has the name of an image of"):
        ImageFolder(tmp_path / "clean", noisy=tmp_path / "noisy")


def test_two_files_of_one_name_are_ambiguous(tmp_path):
    for name in ("a.png", "a.tif"):
        write(tmp_path / "clean" / name)
    write(tmp_path / "noisy" / "a.png")
    assert len(ImageFolder(tmp_path / "clean")) == 2
    with pytest.raises(ValueError, match=r"a\.png and .*a\.tif have the same name without the suffix"):
        ImageFolder(tmp_path / "clean", noisy=tmp_path / "noisy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (6, 9)}, "differ in size: 6 x 9 and 6 x 8 pixels"),
        ({"dtype": "uint16"}, "differ in type: uint16 and uint8"),
    ],
)
def test_sides_that_do_not_match_are_an_unreadable_pair(tmp_path, changes, message):
    write(tmp_path / "clean" / "a.png")
    write(tmp_path / "noisy" / "a.png", **changes)
    with pytest.raises(UnreadableImageError, match=message):
        _ = ImageFolder(tmp_path / "clean", noisy=tmp_path / "noisy", color="gray")[0]


# Parts


def test_parts_share_no_file_and_keep_the_settings(ten):
    folder = ImageFolder(ten, color="gray", cache_bytes=1000)
    large, small = folder.split(0.3, random_state=0)
    assert (len(large), len(small)) == (7, 3)
    assert set(large.paths) | set(small.paths) == set(folder.paths)
    assert large[0].shape == small[0].shape == (6, 8)
    assert large.paths == sorted(large.paths)
    assert len(large._cache) == len(small._cache) == 1
    assert len(folder._cache) == 0
    assert folder.split(0.3, random_state=0)[1].paths == small.paths
    assert folder.split(0.3, random_state=1)[1].paths != small.paths


def test_parts_of_pairs_stay_pairs(tmp_path):
    for value in range(4):
        write(tmp_path / "clean" / f"{value}.png", value=value)
        write(tmp_path / "noisy" / f"{value}.png", value=value + 10)
    folder = ImageFolder(tmp_path / "clean", noisy=tmp_path / "noisy", color="gray")
    for part in folder.split(0.5, random_state=0):
        assert all(noisy.max() == clean.max() + 10 for noisy, clean in part)


def test_each_part_gets_at_least_one(ten):
    folder = ImageFolder(ten)
    assert [len(part) for part in folder.split(0.01)] == [9, 1]
    assert [len(part) for part in folder.split(0.99)] == [1, 9]
    with pytest.raises(ValueError, match="two images or more"):
        folder.split(0.01)[1].split(0.5)
    for fraction in (0, 1, 1.5, True, "half"):
        with pytest.raises(ValueError, match="fraction must be a number between 0 and 1"):
            folder.split(fraction)


# Cache


def test_an_image_is_read_once_while_the_cache_has_room(ten, monkeypatch):
    read = []
    original = _folder.read_image
    monkeypatch.setattr(
        _folder, "read_image", lambda path, **kw: (read.append(path), original(path, **kw))[1]
    )
    folder = ImageFolder(ten, color="gray", cache_bytes=3 * 48)  # room for three
    for index in (0, 1, 2, 0, 1, 2):
        _ = folder[index]
    assert len(read) == 3
    _ = folder[0], folder[3], folder[0], folder[2]  # in place of 1, the least recently used one
    assert len(read) == 4
    _ = folder[1]
    assert len(read) == 5


def test_the_cache_never_exceeds_its_limit(ten):
    folder = ImageFolder(ten, color="gray", cache_bytes=150)
    for index in np.random.default_rng(0).integers(10, size=300):
        assert folder[index].max() == index
        assert folder._cache.n_bytes == sum(p.nbytes for p in folder._cache._images.values()) <= 150


@pytest.mark.parametrize("cache_bytes", [0, 47])
def test_a_cache_without_room_stays_empty(ten, cache_bytes):
    folder = ImageFolder(ten, color="gray", cache_bytes=cache_bytes)
    assert [image.max() for image in folder] == list(range(10))
    assert len(folder._cache) == 0


def test_a_pickle_has_an_empty_cache(ten):
    folder = ImageFolder(ten, cache_bytes=10**6)
    _ = list(folder)
    again = pickle.loads(pickle.dumps(folder))
    assert (len(folder._cache), len(again._cache), again._cache.max_bytes) == (10, 0, 10**6)
    assert again[4].max() == 4


def test_threads_may_share_the_cache():
    cache, together = ImageCache(500), threading.Barrier(4)

    def use(seed: int) -> None:
        together.wait()
        for value in np.random.default_rng(seed).integers(20, size=2000):
            image = cache.get(Path(str(value)))
            assert image is None or (image == value).all()
            cache.put(Path(str(value)), np.full(100, value, np.uint8))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    assert cache.n_bytes == 100 * len(cache) == 500
