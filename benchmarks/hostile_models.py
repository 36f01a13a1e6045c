"""Change saved estimators at random: each file is refused, or loads and works, and no code is run.

    python benchmarks/hostile_models.py

Mutations change bytes, and numbers, types, names, nesting and sizes in the tree. Grafts put a part of one
valid file, with its arrays, into another one. All grafts and half of the mutations get a right checksum, as
an attacker would give them. An estimator that loads must predict and transform the data that the whole file
was fitted to, with finite numbers, a warning of others, or a ValueError of sk_denoise or scikit-learn.
Workers may take 1 GB beyond their memory after a load and a prediction of every whole file, and each file
has a time limit.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import hashlib
import importlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

import sk_denoise
from sk_denoise import (
    Augmenter,
    BlindSpotObjective,
    Centerer,
    ConvNetwork,
    CopiedMaskNoiser,
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenoisingImputer,
    DenseNetwork,
    DnCNNNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    GrainNoiser,
    ImageDenoiser,
    JPEGNoiser,
    MaskingNoiser,
    MedianDenoiser,
    NoiserChain,
    NoiserChoice,
    PixelScaler,
    PoolingNetwork,
    PosteriorMeanDenoiser,
    RecordedNoiser,
    RecorruptObjective,
    RegionNoiser,
    RIDNetNetwork,
    SaltAndPepperNoiser,
    SwapNoiser,
    TableEncoder,
    TrainingDivergedError,
    UNetNetwork,
    VarianceStabilizer,
    WienerDenoiser,
    WienerMixtureDenoiser,
)
from sk_denoise.restoration import NoiseModel

# torch and scikit-learn import these when they describe an error, which the audit hook would count.
for name in ("torch._subclasses.schema_check_mode", "sklearn.utils._pprint"):
    importlib.import_module(name)

HERE = Path(__file__).parent
# Limits for each file
SECONDS, MEMORY = 30, 2**30
START = b'{"__metadata__":{"sha256":"'
DIGEST = slice(8 + len(START), 8 + len(START) + 64)
# Entries of a sample; a prediction of larger ones is not tried.
MAX_SAMPLE = 2**22
# Events of Python's audit hooks that a file must not cause
EVENTS = """
exec compile import os.system os.exec os.fork os.posix_spawn os.spawn os.remove os.rename os.mkdir os.rmdir
subprocess.Popen socket.connect socket.bind socket.getaddrinfo pickle.find_class marshal.loads ctypes.dlopen
shutil.rmtree urllib.Request webbrowser.open
"""
SIZES = [0, 1, 2, 3, -1, 7, 255, 256, 10**4, 10**9, -(10**9), 10**18, 2**63, 10**40]
NUMBERS = [*SIZES, 0.5, -0.5, 1e308, -1e308, 1e-308]
OTHERS = [
    None,
    True,
    False,
    "",
    "x",
    "cuda",
    "meta",
    "latent",
    "bce",
    [],
    {},
    [1],
    {"float": "nan"},
    {"float": "-inf"},
]


# The files ----------------------------------------------------------------------------------------------


def make_estimators():
    """Yield small fitted estimators of all kinds, each with the samples of its fit."""
    import pandas as pd
    from sklearn.frozen import FrozenEstimator
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    rng = np.random.default_rng(0)
    rows = rng.random((40, 6))
    gaps = np.where(rows < 0.05, np.nan, rows)
    images = (np.linspace(0, 1, 12) * rng.random((8, 12, 1))).astype(np.float32)
    colors = rng.integers(0, 256, (6, 12, 11, 3), dtype=np.uint8)
    table = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 5)) + 3
    frame = pd.DataFrame(gaps).add_prefix("x").assign(word=np.where(rows[:, 0] < 0.5, "low", "high"))
    fast = {"max_epochs": 1, "random_state": 0}
    small = {**fast, "patch_size": 8, "noise": GaussianNoiser(0.5)}
    state = np.random.RandomState(3)
    dense, tiny = DenseNetwork((8,)), DnCNNNetwork(2, width=4)
    member = DenoisingAutoencoder(DenseNetwork((4,)), 2, max_epochs=1)
    for estimator in (
        DenoisingAutoencoder(dense, 4, max_epochs=20, random_state=0),
        DenoisingAutoencoder(ConvNetwork((4,), hidden_layer_sizes=(8,)), 4, optimizer="nadam", **fast),
        DenoisingAutoencoder(dense, 4, objective=RecorruptObjective(0.4), noise=0.3, **fast),
        DenoisingAutoencoder(dense, 4, objective=BlindSpotObjective(0.5), **fast),
        DenoisingAutoencoder(
            dense, 4, objective="recorrupt", noise=NoiseModel("counts", 0.1, gain=0.02), **fast
        ),
        DenoisingEnsemble(member, 2, random_state=0),
        WienerDenoiser(),
        WienerMixtureDenoiser(0.2, random_state=0),
        WienerMixtureDenoiser(0.02 + 0.02 * np.eye(6), random_state=0),
        WienerMixtureDenoiser(0.2, window=3, n_components=2, random_state=0),
        MedianDenoiser(image_shape=(2, 3)),
        NoiserChain([MaskingNoiser(), RegionNoiser(SaltAndPepperNoiser()), GaussianNoiser(scale="std")]),
        RecordedNoiser(rows.copy(), 5.0),
        NoiserChain([GrainNoiser(0.1, np.ones(3)), JPEGNoiser(image_shape=(2, 3))]),
        NoiserChoice([GaussianNoiser((0.1,) * 2), SwapNoiser(0.3)], [0.3, 0.7]),
        TableEncoder(),
        make_pipeline(PixelScaler(), DenoisingAutoencoder(DenseNetwork((4,)), 2, **fast)),
        make_pipeline(MinMaxScaler(clip=True), MaxAbsScaler(), RobustScaler(), WienerDenoiser()),
    ):
        yield estimator.fit(rows), rows
    yield FrozenEstimator(WienerDenoiser(sigma=0.1).fit(rows)), rows
    yield PixelScaler().fit((255 * rows).astype(np.uint8)), (255 * rows).astype(np.uint8)
    for estimator in (
        DenoisingAutoencoder(dense, 4, **fast),
        DenoisingAutoencoder(dense, 4, early_stopping=True, emphasis=(1.0, 0.5), **fast),
        PosteriorMeanDenoiser(),
        DenoisingEnsemble(member, 2, random_state=0),
    ):
        yield estimator.fit(table), table
    for estimator in (
        DenoisingAutoencoder(dense, 4, noise=CopiedMaskNoiser(fill=np.nan), missing="mask", **fast),
        DenoisingImputer(random_state=0),
        make_pipeline(SimpleImputer(), StandardScaler(), WienerDenoiser()),
    ):
        yield estimator.fit(gaps), gaps
    for estimator in (DenoisingImputer(add_indicator=True, random_state=0), TableEncoder(unknown="zeros")):
        yield estimator.fit(frame), frame
    for estimator in (
        DenoisingAutoencoder(DenseNetwork(()), 4, loss="bce", max_epochs=1, random_state=state),
        DenoisingAutoencoder(PoolingNetwork((4,)), 2, loss={"mse": 1.0, "ssim": 0.5}, **fast),
        ImageDenoiser(FoldedUNetNetwork((4, 4), blocks=(1, 1)), sigma="map", **small),
        ImageDenoiser(UNetNetwork((4, 4, 4)), **small),
        ImageDenoiser(DnCNNNetwork(3, width=4), loss="kl", **small),
        ImageDenoiser(RIDNetNetwork(4, blocks=1, reduction=2), **small),
        ImageDenoiser(tiny, objective="neighbours", patch_size=8, **fast),
        DenoisingEnsemble(ImageDenoiser(tiny, noise=0.5, patch_size=8, max_epochs=1), 2, random_state=0),
        PosteriorMeanDenoiser(sigma=0.1),
        WienerDenoiser(sigma=0.1),
        WienerMixtureDenoiser(0.1, random_state=0),
        Centerer(),
        VarianceStabilizer(gain=1.0, read_noise=0.1),
        *(
            getattr(sk_denoise, name)(sigma=0.1)
            for name in ("NonLocalMeansDenoiser", "TotalVariationDenoiser", "WaveletDenoiser")
        ),
    ):
        yield estimator.fit(images), images
    for estimator in (
        ImageDenoiser(tiny, noise=GaussianNoiser(90), sigma="map", patch_size=8, **fast),
        sk_denoise.CameraNoiser(),
        sk_denoise.StripeNoiser(0.1),
        sk_denoise.PoissonNoiser(),
        sk_denoise.SpeckleNoiser(0.1),
        sk_denoise.PixelNoiser(),
        sk_denoise.UniformNoiser(0.1),
        sk_denoise.BilateralDenoiser(),
        Centerer(),
    ):
        samples = colors / 255 if isinstance(estimator, sk_denoise.CameraNoiser) else colors
        yield estimator.fit(samples), samples
    yield Augmenter(shift=2, zoom=(0.8, 1.2)), images


def save_estimators(folder):
    """Save the estimators; return the bytes of the files, the estimators and their samples."""
    from sk_denoise.persistence import save

    files = []
    for number, (estimator, samples) in enumerate(make_estimators()):
        path = Path(folder) / f"{number}.safetensors"
        save(estimator, path)
        files.append((path.read_bytes(), estimator, samples))
    return files


def make_samples(estimator, fitted):
    """Return samples of the shape that an estimator was fitted to, or None for too large ones."""
    first = estimator.steps[0][1] if hasattr(estimator, "steps") else estimator
    first = getattr(first, "estimator", first) if type(first).__name__ == "FrozenEstimator" else first
    n_features = getattr(first, "n_features_in_", None)
    shape = getattr(first, "_sample_shape_", (n_features,))
    # A network or a transformation of images in place of an estimator may have parameters of these names.
    is_shape = isinstance(shape, tuple) and all(isinstance(side, int) for side in shape)
    if n_features is None or not is_shape or shape == fitted.shape[1:]:
        return fitted[:3]
    if np.prod(shape, dtype=float) > MAX_SAMPLE:
        return None
    if isinstance(estimator, ImageDenoiser) and len(shape) > 1:
        shape = (20, 13, *shape[2:])
    return np.random.default_rng(1).random((3, *shape)).astype(np.float32)


class SilentlyWrongError(Exception):
    """Error for a prediction with odd numbers, or an error of another library."""


def exercise(estimator, fitted):
    """Apply an estimator to valid samples; return its outputs, or None for too large samples."""
    samples = make_samples(estimator, fitted)
    if samples is None:
        return None
    results = []
    for method in ("transform", "predict"):
        if hasattr(estimator, method):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                result = np.asarray(getattr(estimator, method)(samples))
            results.append(result)
            warns = any(issubclass(warning.category, UserWarning) for warning in caught)
            if not warns and result.dtype.kind == "f" and not np.isfinite(result).all():
                is_known = not hasattr(samples, "columns") and not np.isnan(samples).any()
                # Gaps may stay gaps, and infinity is never a prediction.
                if is_known or np.isinf(result).any():
                    raise SilentlyWrongError(f"{method} returns {result.ravel()[:3]} without a warning")
    if hasattr(estimator, "corrupt") and not hasattr(samples, "columns"):
        import torch

        x = torch.from_numpy(np.asarray(samples, np.float32))
        results.append(estimator.corrupt(x, torch.Generator().manual_seed(0)).numpy())
    for result in results:
        assert len(result) == len(samples), result.shape
    # Last, as they change the estimator; they may refuse such samples, or diverge on them.
    for method in ("score", "partial_fit"):
        if hasattr(estimator, method):
            with contextlib.suppress(TrainingDivergedError), suppress_clear_errors():
                getattr(estimator, method)(samples)
    return results


@contextlib.contextmanager
def suppress_clear_errors():
    """Suppress a ValueError with words of the library."""
    try:
        yield
    except ValueError as error:
        if not is_clear(error):
            raise


def is_clear(error):
    """Return whether an error was raised by the library, or by a check of scikit-learn."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    return "sk_denoise" in file or "sklearn" in file


# The changes --------------------------------------------------------------------------------------------


def mutate(data, rng):
    """Return a file changed at random, and a description of the change."""
    if rng.random() < 0.35:
        return mutate_bytes(data, rng)
    length = int.from_bytes(data[:8], "little")
    header, values = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    done = []
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        # A part that is broken may not take a second change.
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            done.append(mutate_part(header, values, rng))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(values), "; ".join(done)


def mutate_bytes(data, rng):
    """Return a file with other bytes."""
    data, length = bytearray(data), int.from_bytes(data[:8], "little")
    # More often in the header, which most checks are about
    end = len(data) if rng.random() < 0.4 else 8 + length
    place, other = rng.randrange(end), rng.randrange(end)
    kind = rng.choice(["bit", "byte", "cut", "insert", "swap", "length", "zeros", "remove", "append"])
    if kind == "bit":
        data[place] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        data[place] = rng.randrange(256)
    elif kind == "cut":
        del data[place:]
    elif kind == "insert":
        data[place:place] = rng.randbytes(rng.choice([1, 8, 100]))
    elif kind == "swap":
        low, high = sorted((place, other))
        n = min(rng.choice([1, 4, 64]), high - low)
        data[low : low + n], data[high : high + n] = data[high : high + n], data[low : low + n]
    elif kind == "length":
        data[:8] = rng.choice([0, 1, length + 8, 2**24, 2**40, 2**63, rng.randrange(2**20)]).to_bytes(
            8, "little"
        )
    elif kind == "zeros":
        data[place : place + 16] = bytes(len(data[place : place + 16]))
    elif kind == "remove":
        del data[place : place + rng.choice([1, 8, 100])]
    else:
        data += rng.randbytes(rng.choice([1, 8, 100]))
    return bytes(data), kind


def mutate_part(header, values, rng):
    """Change a part of the header, the tree or the values in place; return a description."""
    kind = rng.choice(["tree"] * 6 + ["array", "values", "metadata"])
    if kind == "tree":
        tree = json.loads(header["__metadata__"].get("estimator", "null"))
        done, tree = mutate_node(tree, rng)
        header["__metadata__"]["estimator"] = json.dumps(tree)
        return done
    names = [name for name in header if name != "__metadata__"]
    if kind == "metadata" or not names:
        name = rng.choice(sorted(header["__metadata__"]))
        header["__metadata__"][name] = rng.choice(["", "0", "1", "999", "x" * 100, "[" * 100_000, "null"])
        return f"metadata {name}"
    name = rng.choice(names)
    start, end = header[name]["data_offsets"]
    if kind == "values":
        noise = rng.choice(
            [rng.randbytes(8), b"\xff" * 8, b"\x00\x00\x80\x7f" * 2, b"\x00\x00\xc0\x7f" * 2, bytes(8)]
        )
        place = rng.randrange(start, max(end, start + 1))
        values[place : min(end, place + 8)] = noise[: max(0, min(end, place + 8) - place)]
        return f"values of {name}"
    entry = header[name]
    part = rng.choice(["dtype", "shape", "data_offsets", "name", "remove", "swap"])
    other = rng.choice(names)
    if part == "dtype":
        entry["dtype"] = rng.choice(["F64", "F32", "BF16", "I64", "U32", "BOOL", "U8", "F8_E4M3", "", None])
    elif part in ("shape", "data_offsets"):
        numbers = entry[part]
        numbers.insert(rng.randrange(len(numbers) + 1), rng.choice(NUMBERS))
        if rng.random() < 0.7:
            numbers.pop(rng.randrange(len(numbers)))
    elif part == "name":
        header[name + rng.choice(["_", ".", "\u2603"])] = header.pop(name)
    elif part == "remove":
        del header[name]
    else:
        header[name], header[other] = header[other], header[name]
    return f"{part} of {name}"


def collect_nodes(tree, nodes):
    """Collect the places of a tree as (container, key)."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in parts:
        nodes.append((tree, key))
        collect_nodes(part, nodes)
    return nodes


def mutate_node(tree, rng):
    """Change one node of a tree; return a description of the change, and the tree."""
    nodes = collect_nodes(tree, [])
    if not nodes:
        return "no tree", rng.choice(OTHERS)
    numbers = [(box, key) for box, key in nodes if isinstance(box[key], int | float)]
    box, key = rng.choice(numbers if numbers and rng.random() < 0.5 else nodes)
    kind = rng.choice(
        ["number"] * 4 + ["other", "other", "swap", "remove", "deep", "rename", "class", "copy", "scale"]
    )
    old = box[key]
    if kind == "number":
        box[key] = rng.choice(NUMBERS)
    elif kind == "scale" and isinstance(old, int | float):
        box[key] = rng.choice([-old, old + 1, old - 1, old * 2, old * 1000, old * 10**9])
    elif kind == "other":
        box[key] = rng.choice(OTHERS)
    elif kind in ("swap", "copy"):
        second, other = rng.choice(nodes)
        copied = json.loads(json.dumps(second[other]))
        if kind == "swap":
            second[other] = json.loads(json.dumps(old))
        box[key] = copied
    elif kind == "remove":
        del box[key]
    elif kind == "deep":
        depth = rng.choice([10, 100, 500])
        for _ in range(depth):
            old = rng.choice([[old], {"tuple": [old]}])
        box[key] = old
    elif kind == "rename" and isinstance(box, dict):
        names = ["__class__", "__dict__", "predict", "_x_", "net_", "n_features_in_", "memory", "steps"]
        box[rng.choice(names)] = box.pop(key)
    else:
        classes = [(b, k) for b, k in nodes if k == "class"] or nodes
        b, k = rng.choice(classes)
        names = "Preparation SampleLayout ImageLayout DenseNetwork UNetNetwork GaussianNoiser ImageDenoiser"
        names = [*names.split(), "DenoisingAutoencoder", "Pipeline", "os.system", "builtins.eval"]
        b[k] = rng.choice(names)
    return f"{kind} at {key!r:.30}", tree


def graft(data, donor, rng):
    """Return a file with parts of another one, and a description of the change."""
    header, values, tree = split(data)
    other_header, other_values, other_tree = split(donor)
    if tree is None or other_tree is None:
        return data, "nothing"
    done = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        nodes, others = collect_nodes(tree, []), collect_nodes(other_tree, [])
        box, key = rng.choice(nodes)
        kind = describe_node(key, box[key])
        # Most often parts of one kind: others are refused at first sight.
        alike = [place for place in others if describe_node(place[1], place[0][place[1]]) == kind]
        named = [place for place in others if place[1] == key]
        choice = rng.random()
        pool = alike if alike and choice < 0.6 else named if named and choice < 0.9 else others
        second, other = rng.choice(pool)
        part = json.loads(json.dumps(second[other]))
        box[key] = copy_arrays(part, other_header, other_values, header, values)
        done.append(f"{other!r:.30} at {key!r:.30}")
    # Arrays that nothing takes any more would be refused.
    kept = set(collect_names(tree))
    header = {name: entry for name, entry in header.items() if name == "__metadata__" or name in kept}
    header["__metadata__"]["estimator"] = json.dumps(tree)
    return join(header, values), "; ".join(done)


def describe_node(key, node):
    """Return the kind of a part: its codec and class, or its name and type."""
    if isinstance(node, dict) and len(node) == 1:
        (codec, content), *_ = node.items()
        return codec, content.get("class") if isinstance(content, dict) else None
    return key, type(node)


def collect_names(tree):
    """Return all texts of a tree, among them the names of arrays."""
    if isinstance(tree, str):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [name for part in parts for name in collect_names(part)]


def copy_arrays(part, source, source_values, header, values):
    """Copy the arrays of a part into a file; return the part with their new names."""
    if isinstance(part, str) and part in source and part != "__metadata__":
        start, end = source[part]["data_offsets"]
        name = f"{part}.{len(header)}"
        place = len(values)
        values += source_values[start:end]
        header[name] = {**source[part], "data_offsets": [place, place + end - start]}
        return name
    if isinstance(part, list):
        return [copy_arrays(entry, source, source_values, header, values) for entry in part]
    if isinstance(part, dict):
        return {key: copy_arrays(entry, source, source_values, header, values) for key, entry in part.items()}
    return part


def split(data):
    """Return the header, the values and the tree of a file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return header, bytearray(data[8 + length :]), json.loads(header["__metadata__"]["estimator"])


def join(header, values):
    """Return a file of the arrays that a header names, one after the other."""
    parts = []
    end = 0
    for name in sorted(header, key=lambda name: header[name].get("data_offsets", [0])[0]):
        if name == "__metadata__":
            continue
        start, stop = header[name]["data_offsets"]
        parts.append(values[start:stop])
        header[name]["data_offsets"] = [end, end + stop - start]
        end += stop - start
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def seal(data):
    """Return a file with its right checksum."""
    if len(data) < DIGEST.stop:
        return data
    blank = bytearray(data)
    blank[DIGEST] = b"0" * 64
    blank[DIGEST] = hashlib.sha256(blank).hexdigest().encode()
    return bytes(blank)


# The trial ----------------------------------------------------------------------------------------------


class Watch:
    """A record of forbidden events of Python's audit hooks, while it is on."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self.note)

    def note(self, event, arguments):
        """Keep an event that no file may cause."""
        # torch looks for a GPU.
        if event == "ctypes.dlopen" and str(arguments[0]).startswith(("libnvidia-ml", "libcuda")):
            return
        if self.on and (event in EVENTS.split() or (event == "open" and _writes(arguments))):
            self.seen.append(f"{event} {arguments!r:.80}")


def _writes(arguments):
    mode = arguments[1] if len(arguments) > 1 else None
    return isinstance(mode, str) and any(letter in mode for letter in "wax+")


def try_file(data, reseal, original, watch, path, samples):
    """Load a changed file; return the outcome in a few words, and details of a wrong one."""
    from sk_denoise.persistence import load

    path.write_bytes(data)
    watch.on, watch.seen = True, []
    try:
        loaded = load(path)
    except (ValueError, OSError) as error:
        cause = error.__cause__
        text = f"{type(cause).__name__} {cause}"
        if "MemoryError" in text or "alloc" in text:
            return "WRONG: took all memory to load", text
        return "refused", type(cause).__name__
    except BaseException as error:
        return f"WRONG: load raised {type(error).__name__}", str(error)
    finally:
        watch.on = False
        if watch.seen:
            return "WRONG: caused a forbidden event", watch.seen[0]  # noqa: B012
    if not reseal and data != original:
        return "WRONG: altered and not sealed, and loaded", ""
    return try_estimator(loaded, watch, samples)


def try_estimator(loaded, watch, samples):
    """Apply a loaded estimator; return the outcome as for a file."""
    watch.on = True
    try:
        results = exercise(loaded, samples)
    except ValueError as error:
        if not is_clear(error):
            return "WRONG: loaded, and raised an error of another library", describe_error(error)
        return "loaded, refuses samples", str(error)
    except BaseException as error:
        return f"WRONG: loaded, and raised {type(error).__name__}", describe_error(error)
    finally:
        watch.on = False
        if watch.seen:
            return "WRONG: caused a forbidden event", watch.seen[0]  # noqa: B012
    return ("loaded, samples too large to try" if results is None else "loaded, works"), ""


def describe_error(error):
    """Return an error with the last line of the library that it passed."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if "sk_denoise/" in frame.filename]
    place = f"{Path(lines[-1].filename).name}:{lines[-1].lineno} " if lines else ""
    return place + str(error)


def run_worker(seed, count, kind):
    """Try changed files in this process, and print the outcomes."""
    warnings.simplefilter("ignore")
    rng, watch = random.Random(f"{kind} {seed}"), Watch()
    counts, wrong, slowest = collections.Counter(), [], (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        files = save_estimators(folder)
        path = Path(folder) / "changed.safetensors"
        # Whole files first, so that all modules are imported and memory has its usual size.
        for data, estimator, samples in files:
            outcome = try_file(data, False, data, watch, path, samples)
            assert outcome[0] == "loaded, works" or "forbidden" in outcome[0], (outcome, estimator)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(count):
            original, estimator, samples = files[rng.randrange(len(files))]
            if kind == "grafts":
                data, change = graft(original, files[rng.randrange(len(files))][0], rng)
            else:
                data, change = mutate(original, rng)
            reseal = kind == "grafts" or number % 2 == 1
            data = seal(data) if reseal else data
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            start = time.process_time()
            outcome, detail = try_file(data, reseal, original, watch, path, samples)
            faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, (time.process_time() - start, f"{type(estimator).__name__}, {change}"))
            counts[("right" if reseal else "as it was", outcome)] += 1
            if outcome.startswith("WRONG"):
                wrong.append([type(estimator).__name__, change, outcome, detail[:300], number])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    result = {
        "counts": [[*key, n] for key, n in counts.items()],
        "wrong": wrong,
        "slowest": slowest,
        "grown": grown,
        "estimators": len(files),
    }
    print(json.dumps(result))


def report(results, arguments):
    """Return the table of outcomes of all files."""
    total = collections.Counter()
    for kind, result in results:
        for seal, outcome, n in result["counts"]:
            total[(kind, seal, outcome)] += n
    grown = max(result["grown"] for _, result in results) / 1024
    slowest = max(result["slowest"][0] for _, result in results)
    rows = "\n".join(
        f"| {kind} | {seal} | {outcome} | {n} |" for (kind, seal, outcome), n in sorted(total.items())
    )
    return f"""# Changed files

`python benchmarks/hostile_models.py --mutations {arguments.mutations} --grafts {arguments.grafts} --seed
{arguments.seed}`: files of {results[0][1]["estimators"]} small estimators, each changed at random. Mutations
change bits, bytes, lengths, and numbers, types, names, nesting and sizes in the tree. Grafts put parts of one
valid file into another. A change may leave a file as it was. "Works" means: the estimator transforms and
predicts samples of its fit, with finite numbers or a warning.

| change | checksum | outcome | files |
|---|---|---|---:|
{rows}

Most memory beyond whole files: {grown:.0f} MB. Longest trial, with its prediction: {slowest:.2f} s of
processor time. An audit hook watched: nothing was run, compiled, imported, written or connected to.
"""


def main():
    """Share the files among processes, and write the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--grafts", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="try 300 files, and write no results")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--worker", help="try files in this process, and print the result")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.mutations, arguments.grafts = 200, 100
    counts = {"mutations": arguments.mutations, "grafts": arguments.grafts}
    if arguments.worker:
        run_worker(arguments.seed, counts[arguments.worker], arguments.worker)
        return
    results = []
    for kind, count in counts.items():
        share = count // arguments.jobs
        command = [sys.executable, __file__, "--worker", kind, f"--{kind}", str(share), "--seed"]
        processes = [
            subprocess.Popen([*command, str(1000 * arguments.seed + job)], stdout=subprocess.PIPE, text=True)
            for job in range(arguments.jobs)
        ]
        outputs = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            sys.exit("a worker was ended, by its limit of time or a crash: see above")
        results += [(kind, json.loads(output.splitlines()[-1])) for output in outputs]
    text = report(results, arguments)
    print(text)
    print("Longest:", max(result["slowest"] for _, result in results))
    wrong = [entry for _, result in results for entry in result["wrong"]]
    for entry in wrong:
        print(entry)
    if wrong:
        sys.exit(1)
    if not arguments.quick:
        (HERE / "results" / "hostile_models.md").write_text(text)


if __name__ == "__main__":
    main()
