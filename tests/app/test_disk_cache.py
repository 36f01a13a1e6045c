"""The disk cache of the app stays within its size."""

from __future__ import annotations

import threading

import pytest

from sk_denoise.app._service import DiskCache


def fill(size):
    def write(folder):
        (folder / "file").write_bytes(b"x" * size)
        return size

    return write


@pytest.fixture
def cache(tmp_path):
    return DiskCache(tmp_path / "cache", max_bytes=100)


def test_a_stored_folder_is_returned_with_its_metadata(cache):
    folder = cache.put("a", fill(10))
    assert folder == cache.get("a")
    assert (folder.metadata, folder.n_bytes, (folder.path / "file").read_bytes()) == (10, 10, b"x" * 10)
    assert cache.get("b") is None


def test_the_least_recently_used_folder_is_evicted(cache, tmp_path):
    for name in "abc":
        cache.put(name, fill(30))
    cache.get("a")
    cache.put("d", fill(40))
    assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("file")) == 100


def test_a_folder_larger_than_the_cache_is_kept_alone(cache):
    cache.put("a", fill(30))
    cache.put("large", fill(300))
    assert [name for name in ("a", "large") if cache.get(name)] == ["large"]


def test_the_first_of_two_folders_with_one_key_is_kept(cache):
    first = cache.put("a", fill(10))
    assert cache.put("a", fill(20)) == first


def test_an_incomplete_folder_is_not_kept(cache, tmp_path):
    def fail(folder):
        (folder / "file").write_bytes(b"half")
        raise ValueError("the rest is missing")

    with pytest.raises(ValueError, match="the rest"):
        cache.put("a", fail)
    assert cache.get("a") is None
    assert list((tmp_path / "cache").iterdir()) == []


def test_many_threads_stay_within_the_size(cache, tmp_path):
    def user(number):
        for repetition in range(20):
            cache.put(f"{number}-{repetition}", fill(9))

    threads = [threading.Thread(target=user, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("file")) == 99
