"""Which images files, folders and patterns stand for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sk_denoise.cli._console import Refusal
from sk_denoise.cli._files import find_images


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Lay out files, which need not be images to be found, and go there."""
    for name in (
        "photos/b.png",
        "photos/a.JPG",
        "photos/notes.txt",
        "photos/.hidden.png",
        "photos/.cache/c.png",
        "photos/trip/d.tiff",
        "photos/trip/day [1]/e.webp",
        "photos/.0123456789abcdef.tmp",
        "other/f.bmp",
        "scan.dat",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"?")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(*names, left_out=None):
    return {str(f.path): str(f.place) for f in find_images(names, left_out).images}


ALL = ["a.JPG", "b.png", "trip/d.tiff", "trip/day [1]/e.webp"]


def test_a_folder_stands_for_the_images_within_but_hidden_ones(tree):
    assert list(places("photos").values()) == ALL
    assert places(tree / "photos") == {str(tree / "photos" / name): name for name in ALL}


def test_a_file_is_taken_whatever_its_name_is(tree):
    assert places("scan.dat", "photos/.hidden.png") == {
        "scan.dat": "scan.dat",
        "photos/.hidden.png": ".hidden.png",
    }


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*", ALL),  # the folder that matches counts as if it were named
        ("photos/*.png", ["b.png"]),
        ("photos/[ab].*", ["a.JPG", "b.png"]),
        ("photos/**/*.tif*", ["trip/d.tiff"]),
        ("photos/**", ALL),
        ("photos/**/day*/*", ["trip/day [1]/e.webp"]),
        ("p*/trip/*.tiff", ["photos/trip/d.tiff"]),
        ("*/b.png", ["photos/b.png"]),
        ("**/?.bmp", ["other/f.bmp"]),
        ("photos/trip/day [1]/*.webp", ["e.webp"]),
    ],
)
def test_a_pattern_keeps_places_below_its_part_without_wildcards(pattern, found, tree):
    assert sorted(places(pattern).values()) == found


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tree):
    Path("photos/x[1].png").write_bytes(b"?")
    Path("photos/x1.png").write_bytes(b"?")
    assert list(places("photos/x[1].png").values()) == ["x[1].png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "there is no file or folder 'nowhere'"),
        ("photos/*.gif", r"no image matches 'photos/\*.gif'"),
        ("empty", "the folder 'empty' holds no image: no file that ends in .bmp, .jpeg"),
        ("x" * 300, "there is no file or folder 'xxx"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name, message, tree):
    Path("empty").mkdir()
    with pytest.raises(Refusal, match=message):
        find_images(["photos", name])


def test_the_folder_of_outputs_is_left_out_unless_it_is_named(tree):
    trip = Path("photos/trip")
    assert list(places("photos", left_out=trip).values()) == ["a.JPG", "b.png"]
    assert list(places("photos/**/*.*", left_out=trip).values()) == ["a.JPG", "b.png"]
    assert list(places("photos/*", left_out=trip).values()) == ["a.JPG", "b.png"]
    assert list(places("photos/trip", left_out=trip).values()) == ["d.tiff", "day [1]/e.webp"]
    Path("link").symlink_to(trip)
    assert list(places("photos", left_out=Path("link")).values()) == ["a.JPG", "b.png"]


def test_linked_folders_are_looked_through_and_links_back_are_not(tree):
    Path("photos/away").symlink_to(tree / "other")
    Path("photos/trip/back").symlink_to(tree / "photos")
    Path("photos/self").symlink_to(".")
    expected = sorted(["away/f.bmp", *ALL])
    assert sorted(places("photos").values()) == expected
    assert sorted(places("photos/**").values()) == expected


def test_a_link_that_leads_nowhere_is_found_so_that_its_failure_is_named(tree):
    Path("photos/gone.png").symlink_to("nowhere.png")
    assert "gone.png" in places("photos").values()


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may look everywhere")
def test_a_folder_that_may_not_be_read_is_remembered(tree):
    trip = Path("photos/trip")
    trip.chmod(0)
    inputs = find_images(["photos"])
    trip.chmod(0o755)
    assert [str(found.place) for found in inputs.images] == ["a.JPG", "b.png"]
    assert inputs.unreadable == [(trip, "cannot be looked through: Permission denied")]


def test_a_folder_that_vanishes_is_remembered(tree, monkeypatch):
    listed = Path.iterdir

    def iterdir(self):
        if self.name == "trip":
            raise FileNotFoundError(2, "No such file or directory")
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert find_images(["photos/trip"]).images == []  # which is no wrong usage
    inputs = find_images(["photos"])
    assert [str(found.place) for found in inputs.images] == ["a.JPG", "b.png"]
    assert inputs.unreadable == [(Path("photos/trip"), "cannot be looked through: No such file or directory")]
