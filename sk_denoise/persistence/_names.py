"""Names that end as those of other formats do, and files whose first bytes tell another format."""

from __future__ import annotations

import os
from pathlib import Path

from sk_denoise.io import IMAGE_SUFFIXES

__all__ = ["GRAPH", "OWN", "check_name", "other_format"]

OWN, GRAPH = ".safetensors", ".onnx"
PICKLES = (".pkl", ".pickle", ".joblib")
# Endings that programs and people take for another format, and the plural of what has them
OTHERS: dict[str, str] = {
    OWN: "files of save",
    GRAPH: "ONNX graphs",
    ".skops": "files of skops",
    **dict.fromkeys(PICKLES, "pickled files"),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), "files of torch"),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), "files of Keras and HDF5"),
    **dict.fromkeys((".npy", ".npz"), "arrays of numpy"),
    **dict.fromkeys((".json", ".csv", ".txt", ".md", ".py", ".yaml", ".toml"), "texts"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zip", ".tar"), "compressed files and archives"),
    **dict.fromkeys(IMAGE_SUFFIXES, "images"),
}

PICKLE = (
    "a pickled file. pickle.load or joblib.load read it, and run what it holds: load it only from people you "
    "trust"
)
GRAPH_FILE = (
    "an ONNX graph, which onnxruntime.InferenceSession runs. It cannot become an estimator again, which is "
    "what sk_denoise.persistence.save keeps"
)
IMAGE = "an image, which sk_denoise.io.read_image reads"
COMPRESSED = "a compressed file. Where joblib.dump wrote it, joblib.load reads it, and runs what it holds"
FIRST_FIELDS = (0x12, 0x3A)  # of a graph, after its version: the program that wrote it, or what it computes
# First bytes of files, and what these are
STARTS: tuple[tuple[bytes, str], ...] = (
    *((b"\x80" + bytes([protocol]), PICKLE) for protocol in range(2, 6)),
    *((b"\x08" + bytes([version, field]), GRAPH_FILE) for version in range(3, 32) for field in FIRST_FIELDS),
    (
        b"PK\x03\x04",
        "a zip archive. skops.io.load, torch.load or numpy.load read it, depending on what wrote it",
    ),
    (b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (b"\x93NUMPY", "an array, which numpy.load reads"),
    *((start, IMAGE) for start in (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")),
    *(
        (start, COMPRESSED)
        for start in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"x\x01", b"x^", b"x\x9c", b"x\xda")
    ),
)


def check_name(path: str | os.PathLike[str], own: str) -> None:
    """Refuse a name that ends as files of another format do; any other ending is the user's choice.

    Parameters
    ----------
    path : path-like
        The file to be written.
    own : {".safetensors", ".onnx"}
        The ending of the format that is written.

    Raises
    ------
    ValueError
        Where the name ends otherwise; the message proposes a name, and what writes the other format.
    """
    name = Path(path)
    ending = name.suffix.lower()
    if ending == own or ending not in OTHERS:
        return
    written = "save writes a safetensors file" if own == OWN else "export_onnx writes an ONNX graph"
    while name.suffix.lower() in OTHERS:  # "model.pkl.gz" has two
        name = name.with_suffix("")
    raise ValueError(
        f"{path} ends as {OTHERS[ending]} do, in {ending}, and {written}. Call it {name.name + own!r}"
        f"{_instead(ending)}."
    )


def _instead(ending: str) -> str:
    """Return what writes files of an ending, where there is such a thing."""
    if ending in PICKLES:
        return ", or write a pickle by joblib.dump, which runs what it holds when it is loaded"
    writers = {
        OWN: "save the estimator by sk_denoise.persistence.save",
        GRAPH: "write a graph by sk_denoise.persistence.export_onnx",
        ".skops": "write such a file by skops.io.dump",
    }
    return f", or {writers[ending]}" if ending in writers else ""


def other_format(start: bytes) -> str | None:
    """Return in words which other file has these first bytes, or None where it is not known."""
    if start[8:9] == b"{":  # a safetensors file: eight bytes of a length, which may be any, and a header
        return None
    return next((words for first, words in STARTS if start.startswith(first)), None)
