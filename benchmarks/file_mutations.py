"""Change saved estimators at random: each file is refused, or loads and works, and no code is run.

    python benchmarks/file_mutations.py --count 10000

Half of the changed files get a right checksum, as an attacker would give them. Workers may take 1 GB beyond
their memory after a load and a prediction of every whole file, and each file has a time limit.
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
import warnings
from pathlib import Path

import numpy as np

from sk_denoise import (
    Augmenter,
    Centerer,
    ConvNetwork,
    DenoisingAutoencoder,
    DenoisingEnsemble,
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
    NonLocalMeansDenoiser,
    PixelScaler,
    PoolingNetwork,
    RecordedNoiser,
    RegionNoiser,
    RIDNetNetwork,
    SaltAndPepperNoiser,
    TrainingDivergedError,
    UNetNetwork,
    VarianceStabilizer,
    WienerDenoiser,
)

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
    """Return small fitted estimators of all kinds."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    rng = np.random.default_rng(0)
    rows = rng.random((40, 6))
    images = (np.linspace(0, 1, 12) * rng.random((8, 12, 1))).astype(np.float32)
    fast = {"max_epochs": 1, "random_state": 0}
    small = {**fast, "patch_size": 8, "noise": GaussianNoiser(0.5)}
    state = np.random.RandomState(3)
    yield DenoisingAutoencoder(DenseNetwork((8,)), 4, max_epochs=20, random_state=0).fit(rows)
    yield DenoisingAutoencoder(DenseNetwork(()), 4, loss="bce", max_epochs=1, random_state=state).fit(images)
    yield DenoisingAutoencoder(ConvNetwork((4,), hidden_layer_sizes=(8,)), 4, optimizer="nadam", **fast).fit(
        rows
    )
    yield DenoisingAutoencoder(PoolingNetwork((4,)), 2, loss={"mse": 1.0, "ssim": 0.5}, **fast).fit(images)
    yield ImageDenoiser(FoldedUNetNetwork((4, 4), blocks=(1, 1)), sigma="map", **small).fit(images)
    yield ImageDenoiser(UNetNetwork((4, 4, 4)), **small).fit(images)
    yield ImageDenoiser(DnCNNNetwork(3, width=4), loss="kl", **small).fit(images)
    yield ImageDenoiser(RIDNetNetwork(4, blocks=1, reduction=2), **small).fit(images)
    member = DenoisingAutoencoder(DenseNetwork((4,)), 2, max_epochs=1)
    yield DenoisingEnsemble(member, 2, random_state=0).fit(rows)
    yield WienerDenoiser().fit(rows)
    yield NonLocalMeansDenoiser(sigma=0.1).fit(images)
    yield MedianDenoiser(image_shape=(2, 3)).fit(rows)
    chain = NoiserChain([MaskingNoiser(), RegionNoiser(SaltAndPepperNoiser()), GaussianNoiser(scale="std")])
    yield chain.fit(rows)
    yield RecordedNoiser(rows.copy(), 5.0).fit(rows)
    yield NoiserChain([GrainNoiser(0.1, np.ones(3)), JPEGNoiser(image_shape=(2, 3))]).fit(rows)
    yield PixelScaler().fit((255 * rows).astype(np.uint8))
    yield Centerer().fit(images)
    yield VarianceStabilizer(gain=1.0, read_noise=0.1).fit(images)
    yield Augmenter(shift=2, zoom=(0.8, 1.2))
    yield make_pipeline(PixelScaler(), DenoisingAutoencoder(DenseNetwork((4,)), 2, **fast)).fit(rows)
    for steps in (
        [SimpleImputer(), StandardScaler()],
        [MinMaxScaler(clip=True), MaxAbsScaler(), RobustScaler()],
    ):
        yield make_pipeline(*steps, WienerDenoiser()).fit(rows)


def save_estimators(folder):
    """Save the estimators; return the bytes of the files, and the estimators."""
    from sk_denoise.persistence import save

    files = []
    for number, estimator in enumerate(make_estimators()):
        path = Path(folder) / f"{number}.safetensors"
        save(estimator, path)
        files.append((path.read_bytes(), estimator))
    return files


def exercise(estimator):
    """Apply an estimator to valid samples; return its outputs, or None for too large samples."""
    shape = getattr(estimator, "_sample_shape_", None)
    if shape is None and hasattr(estimator, "steps"):
        first = estimator.steps[0][1]
        shape = getattr(first, "_sample_shape_", None)
        if shape is None and hasattr(first, "n_features_in_"):
            shape = (first.n_features_in_,)
    if shape is None:
        return []
    if np.prod(shape, dtype=float) > MAX_SAMPLE:
        return None
    if isinstance(estimator, ImageDenoiser) and len(shape) > 1:
        shape = (20, 13, *shape[2:])
    samples = np.random.default_rng(1).random((2, *shape)).astype(np.float32)
    results = []
    for method in ("transform", "predict"):
        if hasattr(estimator, method):
            results.append(np.asarray(getattr(estimator, method)(samples)))
    if hasattr(estimator, "corrupt"):
        import torch

        results.append(estimator.corrupt(torch.from_numpy(samples), torch.Generator().manual_seed(0)).numpy())
    for result in results:
        assert len(result) == 2, result.shape
    # Last, as they change the estimator; they may refuse such samples, or diverge on them.
    for method in ("score", "partial_fit"):
        if hasattr(estimator, method):
            with contextlib.suppress(ValueError, TrainingDivergedError):
                getattr(estimator, method)(samples)
    return results


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


def try_file(data, reseal, original, watch, path):
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
    return try_estimator(loaded, watch)


def try_estimator(loaded, watch):
    """Apply a loaded estimator; return the outcome as for a file."""
    watch.on = True
    try:
        results = exercise(loaded)
    except ValueError as error:
        return "loaded, refuses samples", str(error)
    except BaseException as error:
        return f"WRONG: loaded, and raised {type(error).__name__}", str(error)
    finally:
        watch.on = False
        if watch.seen:
            return "WRONG: caused a forbidden event", watch.seen[0]  # noqa: B012
    return ("loaded, samples too large to try" if results is None else "loaded, works"), ""


def run_worker(seed, count):
    """Try changed files in this process, and print the outcomes."""
    warnings.simplefilter("ignore")
    rng, watch = random.Random(seed), Watch()
    counts, wrong, slowest = collections.Counter(), [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        files = save_estimators(folder)
        path = Path(folder) / "changed.safetensors"
        # Whole files first, so that all modules are imported and memory has its usual size.
        for data, estimator in files:
            outcome = try_file(data, False, data, watch, path)
            assert outcome[0] == "loaded, works" or "forbidden" in outcome[0], (outcome, estimator)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(count):
            original, estimator = files[rng.randrange(len(files))]
            data, change = mutate(original, rng)
            reseal = number % 2 == 1
            data = seal(data) if reseal else data
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            start = time.perf_counter()
            outcome, detail = try_file(data, reseal, original, watch, path)
            faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, time.perf_counter() - start)
            counts[("resealed" if reseal else "as it is", outcome)] += 1
            if outcome.startswith("WRONG"):
                wrong.append([type(estimator).__name__, change, outcome, detail[:300]])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    result = {
        "counts": [[*key, n] for key, n in counts.items()],
        "wrong": wrong,
        "slowest": slowest,
        "grown": grown,
    }
    print(json.dumps(result))


def report(results, count, seed):
    """Return the table of outcomes of all files."""
    total = collections.Counter()
    for result in results:
        for seal, outcome, n in result["counts"]:
            total[(seal, outcome)] += n
    grown, slowest = max(r["grown"] for r in results) / 1024, max(r["slowest"] for r in results)
    rows = "\n".join(f"| {seal} | {outcome} | {n} |" for (seal, outcome), n in sorted(total.items()))
    return f"""# Changed files

`python benchmarks/file_mutations.py --count {count} --seed {seed}`: files of 17 small estimators, each
changed at random: bits, bytes, cuts, insertions, lengths, and numbers, types, names, nesting and sizes in the
tree. Half of them have a right checksum. A change may leave a file as it was.

| checksum | outcome | files |
|---|---|---:|
{rows}

Most memory beyond whole files: {grown:.0f} MB. Longest trial, with its prediction: {slowest:.2f} s. An audit
hook watched: nothing was run, compiled, imported, written or connected to.
"""


def main():
    """Share the files among processes, and write the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--worker", action="store_true", help="try files in this process, and print the result"
    )
    parser.add_argument("--no-results", action="store_true", help="write no results")
    arguments = parser.parse_args()
    if arguments.worker:
        run_worker(arguments.seed, arguments.count)
        return
    share = arguments.count // arguments.jobs
    command = [sys.executable, __file__, "--worker", "--count", str(share), "--seed"]
    processes = [
        subprocess.Popen([*command, str(1000 * arguments.seed + job)], stdout=subprocess.PIPE, text=True)
        for job in range(arguments.jobs)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit("a worker was ended, by its limit of time or a crash: see above")
    results = [json.loads(output.splitlines()[-1]) for output in outputs]
    text = report(results, share * arguments.jobs, arguments.seed)
    print(text)
    for entry in (entry for result in results for entry in result["wrong"]):
        print(entry)
    if any(result["wrong"] for result in results):
        sys.exit(1)
    if not arguments.no_results:
        (HERE / "results" / "file_mutations.md").write_text(text)


if __name__ == "__main__":
    main()
