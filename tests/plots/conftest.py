"""Fixtures of the displays: no window opens, figures are closed, text is legible."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import pytest

plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def assert_legible():
    """Return a function that fails if the edge of a figure cuts something or texts overlap."""

    def check(figure):
        figure.canvas.draw()
        drawn, whole = figure.get_tightbbox(), figure.bbox_inches
        assert drawn.x0 >= whole.x0
        assert drawn.y0 >= whole.y0
        assert drawn.x1 <= whole.x1
        assert drawn.y1 <= whole.y1
        for texts in ([ax.title for ax in figure.axes], [ax.yaxis.label for ax in figure.axes]):
            boxes = [text.get_window_extent() for text in texts if text.get_text()]
            for a, b in itertools.combinations(boxes, 2):
                assert not a.overlaps(b)

    return check
