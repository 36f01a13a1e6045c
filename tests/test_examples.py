"""Each example runs, draws, and shows what its text claims."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

plt.switch_backend("Agg")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs an example and returns its variables and the sizes of its pictures."""

    def run_example(name):
        shown = []

        def show():
            shown.extend(len(plt.figure(number).axes) for number in plt.get_fignums())
            for number in plt.get_fignums():
                assert not is_cut(plt.figure(number))
            plt.close("all")

        plt.close("all")
        monkeypatch.setattr(plt, "show", show)
        variables = runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        assert plt.get_fignums() == [], "a picture was drawn after the last plt.show()"
        return variables, shown

    return run_example


def is_cut(figure):
    """Return whether the edge of the figure cuts something that is drawn."""
    figure.canvas.draw()
    drawn, whole = figure.get_tightbbox(), figure.bbox_inches
    return drawn.x0 < whole.x0 or drawn.y0 < whole.y0 or drawn.x1 > whole.x1 or drawn.y1 > whole.y1


def test_every_example_has_a_test():
    tested = {
        "plot_literal_pipeline.py",
        "plot_honest_grid_search.py",
        "plot_denoise_before_classifier.py",
    }
    assert {path.name for path in EXAMPLES.glob("plot_*.py")} == tested


def test_literal_pipeline(run):
    found, shown = run("plot_literal_pipeline.py")
    assert shown == [30, 1]
    quality = found["quality"]
    assert quality["pipeline"] > max(quality["one frozen draw"], quality["noisy target"]) + 1
    assert min(quality["one frozen draw"], quality["noisy target"]) > quality["noisy"]
    assert quality["pipeline"] > quality["noisy"] + 3
    for other in ("same", "alone"):
        np.testing.assert_array_equal(
            found[other].predict(found["X_noisy"]), found["pipe"].predict(found["X_noisy"])
        )
    assert found["alone"].target_source_ == "X"


def test_honest_grid_search(run):
    found, shown = run("plot_honest_grid_search.py")
    assert shown == [1]
    assert found["chosen"] == {"own": min(found["factors"]), "0.25": 0.25, "0.6": 0.6}
    for name in ("0.25", "0.6"):
        assert np.argmin(found["curves"][name]) == found["factors"].index(found["chosen"]["own"])


def test_denoise_before_classifier(run):
    found, shown = run("plot_denoise_before_classifier.py")
    assert shown == [1, 2]
    levels = [0.0, *found["levels"]]
    accuracy = {name: dict(zip(levels, curve, strict=True)) for name, curve in found["curves"].items()}
    frozen, restored, trained = accuracy.values()
    assert frozen[0.5] < 0.5
    assert restored[0.5] > frozen[0.5] + 0.3
    for level in (0.0, 0.15):
        assert abs(restored[level] - frozen[level]) < 0.03
    for level in levels:
        assert abs(restored[level] - trained[level]) < 0.05
    linear = found["linear"]
    assert linear["noiser, denoiser, classifier"]["noise 0.5"] > linear["classifier"]["noise 0.5"]
    assert linear["noiser, denoiser, classifier"]["clean"] < linear["classifier"]["clean"]
    means = [scores.mean() for scores in found["table"].values()]
    assert max(means) - min(means) < 0.03
