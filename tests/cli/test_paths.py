"""Input and output files: found, planned and refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sk_denoise.cli import _paths
from sk_denoise.cli._console import RefusedInput
from sk_denoise.cli._paths import find_images, plan_jobs

# Inputs ------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Create files in folders, and go there; they need no content to be found."""
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


def relative_paths(*names, excluded=None):
    images = find_images(names, excluded).images
    return {str(image.path): str(image.relative_path) for image in images}


ALL = ["a.JPG", "b.png", "trip/d.tiff", "trip/day [1]/e.webp"]


def test_a_folder_gives_its_images_without_hidden_ones(photos):
    assert list(relative_paths("photos").values()) == ALL
    assert relative_paths(photos / "photos") == {str(photos / "photos" / name): name for name in ALL}


def test_a_file_counts_with_any_name(photos):
    assert relative_paths("scan.dat", "photos/.hidden.png") == {
        "scan.dat": "scan.dat",
        "photos/.hidden.png": ".hidden.png",
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
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
def test_a_pattern_keeps_paths_below_its_part_without_wildcards(pattern, expected, photos):
    assert sorted(relative_paths(pattern).values()) == expected


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(photos):
    Path("photos/x[1].png").write_bytes(b"?")
    Path("photos/x1.png").write_bytes(b"?")
    assert list(relative_paths("photos/x[1].png").values()) == ["x[1].png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "there is no file or folder 'nowhere'"),
        ("photos/*.gif", r"no image matches 'photos/\*.gif'"),
        ("empty", "the folder 'empty' holds no image: no file that ends in .avif, .bmp, .dcm"),
        ("x" * 300, "there is no file or folder 'xxx"),
    ],
)
def test_a_name_without_images_is_refused(name, message, photos):
    Path("empty").mkdir()
    with pytest.raises(RefusedInput, match=message):
        find_images(["photos", name])


def test_the_output_folder_is_excluded_unless_it_is_given_by_name(photos):
    trip = Path("photos/trip")
    assert list(relative_paths("photos", excluded=trip).values()) == ["a.JPG", "b.png"]
    assert list(relative_paths("photos/**/*.*", excluded=trip).values()) == ["a.JPG", "b.png"]
    assert list(relative_paths("photos/*", excluded=trip).values()) == ["a.JPG", "b.png"]
    assert list(relative_paths("photos/trip", excluded=trip).values()) == ["d.tiff", "day [1]/e.webp"]
    Path("link").symlink_to(trip)
    assert list(relative_paths("photos", excluded=Path("link")).values()) == ["a.JPG", "b.png"]


def test_linked_folders_are_followed_except_for_links_to_parents(photos):
    Path("photos/away").symlink_to(photos / "other")
    Path("photos/trip/back").symlink_to(photos / "photos")
    Path("photos/self").symlink_to(".")
    expected = sorted(["away/f.bmp", *ALL])
    assert sorted(relative_paths("photos").values()) == expected
    assert sorted(relative_paths("photos/**").values()) == expected


def test_a_broken_link_is_found_so_that_its_failure_is_reported(photos):
    Path("photos/gone.png").symlink_to("nowhere.png")
    assert "gone.png" in relative_paths("photos").values()


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may look everywhere")
def test_a_folder_without_permission_is_reported(photos):
    trip = Path("photos/trip")
    trip.chmod(0)
    inputs = find_images(["photos"])
    trip.chmod(0o755)
    assert [str(image.relative_path) for image in inputs.images] == ["a.JPG", "b.png"]
    assert inputs.unreadable == [(trip, "cannot be listed: Permission denied")]


def test_a_folder_that_vanishes_is_reported(photos, monkeypatch):
    listed = Path.iterdir

    def iterdir(self):
        if self.name == "trip":
            raise FileNotFoundError(2, "No such file or directory")
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert find_images(["photos/trip"]).images == []  # not wrong usage
    inputs = find_images(["photos"])
    assert [str(image.relative_path) for image in inputs.images] == ["a.JPG", "b.png"]
    assert inputs.unreadable == [(Path("photos/trip"), "cannot be listed: No such file or directory")]


# Outputs -----------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Create files in folders, and go there."""
    for name in ("in/a.png", "in/sub/b.jpg", "in/sub/c.png", "more/a.png", "scan.dat", "one.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"?")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(*names, overwrite=False, skip_existing=False):
    *inputs, output = names
    return plan_jobs(inputs, output, overwrite=overwrite, skip_existing=skip_existing)


def targets(*names, **options):
    return {str(job.source): str(job.target) for job in plan(*names, **options).jobs}


def test_a_folder_keeps_its_structure(tree):
    assert targets("in", "out") == {
        "in/a.png": "out/a.png",
        "in/sub/b.jpg": "out/sub/b.jpg",
        "in/sub/c.png": "out/sub/c.png",
    }


@pytest.mark.parametrize(
    ("output", "target"),
    [
        ("two.png", "two.png"),
        ("two.JPG", "two.JPG"),
        ("new/two.tif", "new/two.tif"),
        ("out", "out/one.png"),
        ("out.v2", "out.v2/one.png"),
        ("out.png/", "out.png/one.png"),
        ("in", "in/one.png"),
        ("odd.png", "odd.png/one.png"),
    ],
)
def test_one_file_goes_to_a_file_or_into_a_folder(output, target, tree):
    Path("odd.png").mkdir()
    assert targets("one.png", output) == {"one.png": target}


def test_a_file_of_another_suffix_needs_an_output_with_the_suffix_of_an_image(tree):
    assert targets("scan.dat", "scan.png") == {"scan.dat": "scan.png"}
    with pytest.raises(RefusedInput, match=r"the format to write scan\.dat in is unknown"):
        plan("scan.dat", "out")


def test_repeated_inputs_are_denoised_once(tree):
    assert targets("in", "in", "in/a.png", "out") == targets("in", "out")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("in", "out.png"), "out.png is the name of one image"),
        (("one.png", "in/a.png", "out.png"), "out.png is the name of one image"),
        (("*.png", "out.png"), "out.png is the name of one image"),
        (("in", "scan.dat"), "scan.dat is a file"),
        (("one.png", "out.heic"), "out.heic cannot be written: images must end in .bmp, .j2k"),
        (("one.png", "out.gif"), "GIF is read, not written: the name of out.gif must end in"),
        (("in", "more", "out"), "in/a.png and more/a.png would both be written to out/a.png"),
        (("in", "in"), r"3 of 3 outputs are inputs too: in/a.png, in/sub/b.jpg, in/sub/c.png; .*--overwrite"),
        (("one.png", "one.png"), "1 of 1 outputs are inputs too: one.png"),
        (("one.png", "."), "1 of 1 outputs are inputs too: one.png"),
    ],
)
def test_outputs_that_would_lose_images_are_refused(names, message, tree):
    with pytest.raises(RefusedInput, match=message):
        plan(*names)
    if "both" in message:
        with pytest.raises(RefusedInput, match=message):
            plan(*names, overwrite=True)


def test_images_are_replaced_with_overwrite(tree):
    replacing = plan("in", "in", overwrite=True)
    assert all(job.source == job.target for job in replacing.jobs)
    assert replacing.in_place
    assert not plan("in", "out").in_place
    with pytest.raises(RefusedInput, match=r"are inputs too"):
        plan("in", "in", skip_existing=True)


def test_an_input_is_never_replaced_by_another_image(tree):
    Path("in/x/sub").mkdir(parents=True)
    Path("in/x/sub/c.png").write_bytes(b"?")
    with pytest.raises(
        RefusedInput, match=r"in/x/sub/c\.png would be written to in/sub/c\.png, which is an input too"
    ):
        plan("in/x", "in/sub", "in", overwrite=True)


def test_links_to_inputs_are_inputs(tree):
    Path("out").mkdir()
    Path("out/a.png").symlink_to(tree / "in/a.png")
    with pytest.raises(RefusedInput, match=r"1 of 3 outputs are inputs too: out/a\.png"):
        plan("in", "out")
    Path("again").symlink_to("in")
    with pytest.raises(RefusedInput, match=r"3 of 3 outputs are inputs too"):
        plan("in", "again")


def test_links_to_one_place_are_one_output(tree):
    Path("out/sub").mkdir(parents=True)
    Path("out/a.png").symlink_to("there.png")
    Path("out/sub/c.png").symlink_to("../there.png")
    with pytest.raises(
        RefusedInput, match=r"in/a\.png and in/sub/c\.png would both be written to out/sub/c\.png"
    ):
        plan("in", "out", overwrite=True)


@pytest.mark.parametrize("ignores_case", [False, True])
def test_names_that_differ_in_case_are_one_on_disks_that_ignore_case(ignores_case, tree, monkeypatch):
    Path("in/A.png").write_bytes(b"?")
    if not _paths._ignores_case(tree):
        monkeypatch.setattr(_paths, "_ignores_case", lambda folder: ignores_case)
    if ignores_case:
        with pytest.raises(
            RefusedInput, match=r"in/A\.png and in/a\.png would both be written to out/a\.png"
        ):
            plan("in", "out")
    else:
        assert len(plan("in", "out").jobs) == 4


def test_case_is_ignored_as_the_disk_does(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert _paths._ignores_case(folder / "not" / "there") == (tmp_path / "FOLDER").exists()


def test_existing_files_are_refused_replaced_or_kept(tree):
    for name in ("a.png", "sub/c.png"):
        path = Path("out", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"old")
    with pytest.raises(
        RefusedInput, match=r"2 of 3 outputs exist already: out/a.png, out/sub/c.png; --overwrite"
    ):
        plan("in", "out")
    assert len(plan("in", "out", overwrite=True).jobs) == 3
    kept = plan("in", "out", skip_existing=True)
    assert (targets("in", "out", skip_existing=True), kept.n_kept) == ({"in/sub/b.jpg": "out/sub/b.jpg"}, 2)


def test_a_folder_in_the_way_is_refused(tree):
    Path("out/a.png").mkdir(parents=True)
    for options in ({"overwrite": True}, {"skip_existing": True}):
        with pytest.raises(
            RefusedInput, match=r"in/a\.png would be written to out/a\.png, which is a folder"
        ):
            plan("in", "out", **options)


def test_outputs_in_the_folder_of_inputs_are_not_denoised_again(tree):
    first = targets("in", "in/denoised")
    for target in first.values():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_bytes(b"?")
    assert targets("in", "in/denoised", overwrite=True) == first
    assert targets("in/**", "in/denoised", overwrite=True) == first
