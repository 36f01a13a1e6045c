from __future__ import annotations

import importlib.util
import socket
from types import SimpleNamespace

import numpy as np
import pytest

from sk_denoise.datasets import load_images


@pytest.mark.parametrize(("color", "n_train", "n_test", "ndim"), [("rgb", 5, 3, 3), ("gray", 11, 5, 2)])
def test_images_are_floats_in_the_unit_range(color, n_train, n_test, ndim, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)  # nothing downloads
    images = load_images(color)
    assert (len(images.train), len(images.test)) == (n_train, n_test)
    for image in images.train + images.test:
        assert image.dtype == np.float32
        assert image.ndim == ndim
        assert image.shape[2:] in ((), (3,))
        assert min(image.shape[:2]) >= 191
        assert 0 <= image.min() < 0.25 < image.max() <= 1
    names = images.train_names + images.test_names
    assert len(set(names)) == n_train + n_test
    assert len(images.train_names) == n_train


def test_gray_images_are_the_coloured_ones_and_more():
    color, gray = load_images(), load_images(color="gray")
    assert set(color.train_names) < set(gray.train_names)
    assert set(color.test_names) < set(gray.test_names)
    chelsea = gray.test[gray.test_names.index("chelsea")]
    weights = np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(chelsea, color.test[0] @ weights, atol=0.1)


def test_an_unknown_color_is_refused():
    with pytest.raises(ValueError, match="Unknown color 'RGB'"):
        load_images("RGB")


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    elsewhere = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: elsewhere)
    with pytest.raises(FileNotFoundError, match=r"installed scikit-image lacks astronaut\.png"):
        load_images()
