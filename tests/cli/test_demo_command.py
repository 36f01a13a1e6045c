"""``sk-denoise demo``, and the demo that it runs."""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import pytest

from sk_denoise import _demo
from sk_denoise.cli import main

plt.switch_backend("Agg")

SMALL = _demo.DemoSize(
    n_train=200,
    epochs=12,
    search_epochs=3,
    folds=2,
    noise_factors=(0.05, 0.25),
    latent_dims=(16,),
    gammas=(0.01,),
    alphas=(0.1,),
    ranks=(32,),
    levels=(0.25, 0.5),
)


@pytest.fixture
def no_demo(monkeypatch):
    """Let the test fail if the demo starts."""

    def refuse(*args, **kwargs):
        raise AssertionError("the demo ran")

    monkeypatch.setattr(_demo, "run_demo", refuse)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "0"], "expected a positive number of processes, or -1, got '0'"),
        (["--jobs", "two"], "expected an integer, got 'two'"),
        (["--seed", "-1"], "expected an integer from 0 to"),
        (["--seed", "4294967295"], "expected an integer from 0 to"),
        (["--seed", "x"], "expected an integer, got 'x'"),
        (["--colour"], "No such option"),
    ],
)
def test_bad_arguments_end_with_2_and_a_reason(arguments, message, run, no_demo):
    code, out, err = run("demo", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Try 'sk-denoise demo --help'" in err


@pytest.mark.parametrize("below", ["", "below"])
def test_a_folder_that_cannot_be_written_is_an_error_before_the_work(below, tmp_path, capsys, no_demo):
    (tmp_path / "taken").write_text("a file")
    folder = tmp_path / "taken" / below
    assert main(["demo", "--output", str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"sk-denoise: cannot write to {folder}: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_options_reach_the_demo_and_the_folder_is_made(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(_demo, "run_demo", lambda *args, **kwargs: calls.append((args, kwargs)))
    folder = tmp_path / "new" / "folder"
    assert main(["demo", "--output", str(folder), "--jobs", "-1", "--seed", "7"]) == 0
    assert calls == [((folder,), {"jobs": -1, "seed": 7})]
    assert list(folder.iterdir()) == []


def test_an_interruption_is_no_traceback(tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "run_demo", interrupt)
    assert main(["demo", "--output", str(tmp_path)]) == 130
    assert "Interrupted" in capsys.readouterr().err


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Run a small demo once, and return its results, folder and output."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("builtins.print", lambda *args, **kwargs: lines.append(" ".join(map(str, args))))
        results = _demo.run_demo(folder, jobs=1, seed=0, size=SMALL)
    plt.close("all")
    return results, folder, "\n".join(lines)


@pytest.mark.slow
def test_the_demo_denoises(demo):
    results, _, _ = demo
    by_method = {(r.method, r.level): r for r in results}
    assert {method for method, _ in by_method} == {"noisy", "PCA", "kernel PCA", "DenoisingAutoencoder"}
    for level in SMALL.levels:
        noisy, denoised = by_method["noisy", level], by_method["DenoisingAutoencoder", level]
        assert denoised.psnr > noisy.psnr + 3
        assert denoised.ssim > noisy.ssim


@pytest.mark.slow
def test_the_demo_writes_its_image_and_nothing_else(demo):
    _, folder, text = demo
    assert [path.name for path in folder.iterdir()] == ["digits.png"]
    assert (folder / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert str(folder / "digits.png") in text


@pytest.mark.slow
def test_the_demo_prints_its_results_in_narrow_lines(demo):
    _, folder, text = demo
    assert "target_source_ is 'noiser'" in text
    assert "* the best: noise_factor" in text
    lines = [line for line in text.split("\n") if not line.startswith("[") and str(folder) not in line]
    assert max(map(len, lines)) <= 100


def test_a_search_shows_its_progress(capsys):
    with _demo.show_progress(lambda estimator, X, y: 1.0, total=3) as scorer:
        assert scorer(None, None) == 1.0
        scorer(None, None)
    assert "2/3" in capsys.readouterr().err.split("\r")[-1]


def test_without_matplotlib_the_demo_names_the_extra(monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    split = _demo.DigitsSplit(digits.train, digits.test, digits.train_labels, digits.test_labels, seed=0)
    _demo.draw_digits(
        split, [_demo.DemoResult(0.5, "DenoisingAutoencoder", digits.test, 100.0, 1.0)], tmp_path
    )
    assert 'pip install "sk-denoise[plots]"' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
