"""What all users bring lies on disk, within a size."""

from __future__ import annotations

import threading

import pytest

from sk_denoise.app._disk_cache import Shelf


def fill(size):
    def write(folder):
        (folder / "file").write_bytes(b"x" * size)
        return size

    return write


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "shelf", most_bytes=100)


def test_what_is_put_is_found_with_what_is_known(shelf):
    entry = shelf.put("a", fill(10))
    assert entry == shelf.get("a")
    assert (entry.about, entry.size, (entry.folder / "file").read_bytes()) == (10, 10, b"x" * 10)
    assert shelf.get("b") is None


def test_what_was_used_longest_ago_makes_way(shelf, tmp_path):
    for name in "abc":
        shelf.put(name, fill(30))
    shelf.get("a")
    shelf.put("d", fill(40))
    assert [name for name in "abcd" if shelf.get(name)] == ["a", "c", "d"]
    assert sum(path.stat().st_size for path in (tmp_path / "shelf").rglob("file")) == 100


def test_one_that_is_larger_than_the_room_is_kept_alone(shelf):
    shelf.put("a", fill(30))
    shelf.put("large", fill(300))
    assert [name for name in ("a", "large") if shelf.get(name)] == ["large"]


def test_the_first_of_two_that_make_the_same_stays(shelf):
    first = shelf.put("a", fill(10))
    assert shelf.put("a", fill(20)) == first


def test_nothing_half_made_is_kept(shelf, tmp_path):
    def fail(folder):
        (folder / "file").write_bytes(b"half")
        raise ValueError("the rest is missing")

    with pytest.raises(ValueError, match="the rest"):
        shelf.put("a", fail)
    assert shelf.get("a") is None
    assert list((tmp_path / "shelf").iterdir()) == []


def test_many_at_once_stay_within_the_room(shelf, tmp_path):
    def user(number):
        for turn in range(20):
            shelf.put(f"{number}-{turn}", fill(9))

    threads = [threading.Thread(target=user, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(path.stat().st_size for path in (tmp_path / "shelf").rglob("file")) == 99
