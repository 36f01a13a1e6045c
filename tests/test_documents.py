"""Python blocks of README and docs run in order and print the documented output.

The output of a block stands behind `# prints: `, in order. Numbers may differ by `NEAR`, because they depend
on chance and on the processor. Blocks run among the files of the fixture `document_files`.
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NEAR = {"dB": 0.3, "": 0.03}
NUMBER = re.compile(r"(-?\d+\.\d+)(?: (dB))?")
WIDTH = 88  # characters that fit into the column of a page beside both side bars
ROOT = Path(__file__).parent.parent
MADE = {"_build", "gallery", "generated", "backreferences"}
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if not MADE & set(page.parts)]
DOCUMENTS = [ROOT / "README.md", *PAGES]
NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]
LONG = {  # their blocks train for over two seconds, or start a cluster
    "README.md",
    "docs/start/index.md",
    "docs/how_to/gaps.md",
    "docs/how_to/larger_than_memory.md",
    "docs/how_to/no_clean_data.md",
    "docs/how_to/noise.md",
    "docs/how_to/real_noise.md",
    "docs/how_to/save_and_export.md",
    "docs/how_to/scikit_learn.md",
    "docs/how_to/search.md",
    "docs/how_to/signals.md",
    "docs/how_to/tables.md",
    "docs/how_to/train_on_images.md",
}


def blocks(document, language):
    """Return the code blocks of a document in a language."""
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.usefixtures("in_document_files")
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(document, id=name, marks=pytest.mark.slow if name in LONG else ())
        for document, name in zip(DOCUMENTS, NAMES, strict=True)
        if blocks(document, "python")
    ],
)
def test_blocks_run_and_print_the_documented_output(document, capsys):
    plt.switch_backend("Agg")
    names = {}
    for block in blocks(document, "python"):
        exec(compile(block, str(document), "exec"), names)
        printed = iter(capsys.readouterr().out.splitlines())
        for documented in re.findall(r"# prints: (.*)", block):
            assert any(matches(line, documented) for line in printed), (documented, block)
    plt.close("all")


def matches(line, documented):
    """Return whether a line equals the documented one, up to tolerances of its numbers."""
    pairs = list(zip(NUMBER.findall(line), NUMBER.findall(documented), strict=False))
    near = all(abs(float(a) - float(b)) <= NEAR[unit] for (a, _), (b, unit) in pairs)
    return near and NUMBER.sub(r"\2", line) == NUMBER.sub(r"\2", documented)


def test_a_number_that_is_not_the_one_in_the_document_is_found():
    assert matches("noisy 12.2 dB, 0.91", "noisy 12.1 dB, 0.90")
    assert not matches("noisy 12.5 dB", "noisy 12.1 dB")
    assert not matches("0.86", "0.90")
    assert not matches("noisy 12.1 dB", "denoised 12.1 dB")
    assert not matches("noisy 12.1 dB", "noisy 12.1 dB, denoised 18.1 dB")


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_and_images_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        made = MADE & set(Path(target).parts)  # the gallery is there when the site is built
        assert made or (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_code_fits_into_the_column(document):
    for language in ("python", "text", "console"):
        for line in "".join(blocks(document, language)).splitlines():
            assert len(line) <= WIDTH, line


def test_the_recipe_for_dicom_writes_a_denoised_scan(in_document_files):
    pydicom = pytest.importorskip("pydicom")
    names = {}
    for block in blocks(ROOT / "docs/how_to/microscopes.md", "python"):
        exec(compile(block, "microscopes.md", "exec"), names)
    noisy, denoised = pydicom.dcmread("scan.dcm"), pydicom.dcmread("denoised.dcm")
    assert denoised.pixel_array.std() < noisy.pixel_array.std() / 2
    assert denoised.ImageType[0] == "DERIVED"
    assert denoised.SOPInstanceUID != noisy.SOPInstanceUID


def test_pages_that_train_for_long_are_there():
    assert set(NAMES) >= LONG
