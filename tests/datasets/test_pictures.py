from __future__ import annotations

import importlib.util
import socket
from types import SimpleNamespace

import numpy as np
import pytest

from sk_denoise.datasets import load_pictures


@pytest.mark.parametrize(("color", "n_train", "n_test", "ndim"), [("rgb", 5, 3, 3), ("gray", 11, 5, 2)])
def test_pictures_are_floats_in_the_unit_range(color, n_train, n_test, ndim, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)  # nothing downloads
    pictures = load_pictures(color)
    assert (len(pictures.train), len(pictures.test)) == (n_train, n_test)
    for picture in pictures.train + pictures.test:
        assert picture.dtype == np.float32
        assert picture.ndim == ndim
        assert picture.shape[2:] in ((), (3,))
        assert min(picture.shape[:2]) >= 191
        assert 0 <= picture.min() < 0.25 < picture.max() <= 1
    names = pictures.train_names + pictures.test_names
    assert len(set(names)) == n_train + n_test
    assert len(pictures.train_names) == n_train


def test_gray_pictures_are_the_coloured_ones_and_more():
    color, gray = load_pictures(), load_pictures(color="gray")
    assert set(color.train_names) < set(gray.train_names)
    assert set(color.test_names) < set(gray.test_names)
    chelsea = gray.test[gray.test_names.index("chelsea")]
    weights = np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(chelsea, color.test[0] @ weights, atol=0.1)


def test_an_unknown_color_is_refused():
    with pytest.raises(ValueError, match="Unknown color 'RGB'"):
        load_pictures("RGB")


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    elsewhere = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: elsewhere)
    with pytest.raises(FileNotFoundError, match=r"installed scikit-image lacks astronaut\.png"):
        load_pictures()
