from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sk_denoise.datasets import load_handwritten


@pytest.fixture(autouse=True)
def _unset_folder_variable(monkeypatch):
    monkeypatch.delenv("SK_DENOISE_DATA", raising=False)


def mnist(path, **changes):
    """Write a small file in the layout of MNIST, and return its arrays."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        "y_train": np.arange(6, dtype=np.uint8),
        "x_test": rng.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "y_test": np.arange(3, dtype=np.uint8),
    }
    arrays.update(changes)
    np.savez(path / "mnist.npz", **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def test_without_a_folder_the_digits_of_scikit_learn_are_loaded():
    digits = load_handwritten()
    assert digits.name == "digits"
    assert digits.train.shape == (1297, 8, 8)
    assert digits.test.shape == (500, 8, 8)
    assert digits.train.dtype == digits.test.dtype == np.float32
    images, labels = load_digits().images, load_digits().target
    known = {image.tobytes(): label for image, label in zip((images / 16).astype("f4"), labels, strict=True)}
    assert [known[array.tobytes()] for array in digits.train] == digits.train_labels.tolist()
    assert not {p.tobytes() for p in digits.train} & {p.tobytes() for p in digits.test}


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_mnist_is_read_from_its_file(tmp_path, monkeypatch, how):
    arrays = mnist(tmp_path)
    if how == "environment":
        monkeypatch.setenv("SK_DENOISE_DATA", str(tmp_path))
    digits = load_handwritten(tmp_path if how == "argument" else None)
    assert digits.name == "MNIST"
    assert digits.train.dtype == np.float32
    np.testing.assert_array_equal(digits.train, arrays["x_train"].astype("f4") / 255)
    np.testing.assert_array_equal(digits.test, arrays["x_test"].astype("f4") / 255)
    np.testing.assert_array_equal(digits.train_labels, arrays["y_train"])
    np.testing.assert_array_equal(digits.test_labels, arrays["y_test"])


def test_a_missing_file_is_named_and_not_replaced(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no mnist\.npz in the folder that you gave"):
        load_handwritten(tmp_path)
    monkeypatch.setenv("SK_DENOISE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="the environment variable SK_DENOISE_DATA names"):
        load_handwritten()


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(ValueError, match="must be an npz file with the arrays x_train, y_train"):
        load_handwritten(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "must be an npz file with the arrays"),
        ({"x_train": np.zeros((6, 784), np.uint8)}, r"got uint8 of shape \(6, 784\)"),
        ({"x_test": np.zeros((3, 28, 28))}, "got float64"),
        ({"y_train": np.zeros(5, np.uint8)}, r"with labels of shape \(5,\)"),
        ({"y_train": np.array([{}] * 6)}, "must be an npz file with the arrays"),
    ],
)
def test_a_file_with_other_arrays_is_refused(tmp_path, changes, message):
    mnist(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load_handwritten(tmp_path)


def test_a_cut_file_is_refused(tmp_path):
    mnist(tmp_path)
    path = tmp_path / "mnist.npz"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="must be an npz file"):
        load_handwritten(tmp_path)
