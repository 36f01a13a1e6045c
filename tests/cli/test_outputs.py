"""Where images go, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from sk_denoise.cli import _files
from sk_denoise.cli._console import Refusal
from sk_denoise.cli._files import plan_jobs


@pytest.fixture
def tree(tmp_path, monkeypatch):
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


def test_a_folder_keeps_its_places(tree):
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


def test_a_file_of_another_suffix_goes_to_a_file_that_says_the_format(tree):
    assert targets("scan.dat", "scan.png") == {"scan.dat": "scan.png"}
    with pytest.raises(Refusal, match=r"the name of scan\.dat says no format to write"):
        plan("scan.dat", "out")


def test_what_is_named_twice_is_done_once(tree):
    assert targets("in", "in", "in/a.png", "out") == targets("in", "out")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("in", "out.png"), "out.png has the name of an image, which holds one"),
        (("one.png", "in/a.png", "out.png"), "out.png has the name of an image, which holds one"),
        (("*.png", "out.png"), "out.png has the name of an image, which holds one"),
        (("in", "scan.dat"), "scan.dat is a file"),
        (("one.png", "out.gif"), "out.gif cannot be written, only what ends in .bmp, .jpeg"),
        (("in", "more", "out"), "in/a.png and more/a.png would both go to out/a.png"),
        (("in", "in"), r"of 3 outputs 3 are inputs too: in/a.png, in/sub/b.jpg, in/sub/c.png; .*--overwrite"),
        (("one.png", "one.png"), "of 1 outputs 1 are inputs too: one.png"),
        (("one.png", "."), "of 1 outputs 1 are inputs too: one.png"),
    ],
)
def test_what_would_lose_images_is_refused(names, message, tree):
    with pytest.raises(Refusal, match=message):
        plan(*names)
    if "both" in message:
        with pytest.raises(Refusal, match=message):
            plan(*names, overwrite=True)


def test_images_are_replaced_where_that_is_said(tree):
    found = plan("in", "in", overwrite=True)
    assert all(job.source == job.target for job in found.jobs)
    assert found.in_place
    assert not plan("in", "out").in_place
    with pytest.raises(Refusal, match=r"are inputs too"):
        plan("in", "in", skip_existing=True)


def test_an_input_is_never_replaced_by_another_image(tree):
    Path("in/x/sub").mkdir(parents=True)
    Path("in/x/sub/c.png").write_bytes(b"?")
    with pytest.raises(Refusal, match=r"in/x/sub/c\.png would go to in/sub/c\.png, which is an input too"):
        plan("in/x", "in/sub", "in", overwrite=True)


def test_links_to_inputs_are_inputs(tree):
    Path("out").mkdir()
    Path("out/a.png").symlink_to(tree / "in/a.png")
    with pytest.raises(Refusal, match=r"of 3 outputs 1 are inputs too: out/a\.png"):
        plan("in", "out")
    Path("again").symlink_to("in")
    with pytest.raises(Refusal, match=r"of 3 outputs 3 are inputs too"):
        plan("in", "again")


def test_links_to_one_place_are_one_output(tree):
    Path("out/sub").mkdir(parents=True)
    Path("out/a.png").symlink_to("there.png")
    Path("out/sub/c.png").symlink_to("../there.png")
    with pytest.raises(Refusal, match=r"in/a\.png and in/sub/c\.png would both go to out/sub/c\.png"):
        plan("in", "out", overwrite=True)


@pytest.mark.parametrize("ignores_case", [False, True])
def test_names_that_differ_in_case_are_one_where_the_disk_says_so(ignores_case, tree, monkeypatch):
    Path("in/A.png").write_bytes(b"?")
    if not _files._ignores_case(tree):
        monkeypatch.setattr(_files, "_ignores_case", lambda folder: ignores_case)
    if ignores_case:
        with pytest.raises(Refusal, match=r"in/A\.png and in/a\.png would both go to out/a\.png"):
            plan("in", "out")
    else:
        assert len(plan("in", "out").jobs) == 4


def test_a_disk_is_asked_whether_it_ignores_case(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert _files._ignores_case(folder / "not" / "there") == (tmp_path / "FOLDER").exists()


def test_files_that_are_there_are_refused_replaced_or_kept(tree):
    for name in ("a.png", "sub/c.png"):
        path = Path("out", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"old")
    with pytest.raises(Refusal, match=r"of 3 outputs 2 exist already: out/a.png, out/sub/c.png; --overwrite"):
        plan("in", "out")
    assert len(plan("in", "out", overwrite=True).jobs) == 3
    kept = plan("in", "out", skip_existing=True)
    assert (targets("in", "out", skip_existing=True), kept.kept) == ({"in/sub/b.jpg": "out/sub/b.jpg"}, 2)


def test_a_folder_in_the_way_is_refused(tree):
    Path("out/a.png").mkdir(parents=True)
    for options in ({"overwrite": True}, {"skip_existing": True}):
        with pytest.raises(Refusal, match=r"in/a\.png would go to out/a\.png, which is a folder"):
            plan("in", "out", **options)


def test_outputs_in_the_folder_of_inputs_are_not_denoised_again(tree):
    first = targets("in", "in/denoised")
    for target in first.values():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_bytes(b"?")
    assert targets("in", "in/denoised", overwrite=True) == first
    assert targets("in/**", "in/denoised", overwrite=True) == first
