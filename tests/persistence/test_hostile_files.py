"""Files that were cut, altered or made to harm are refused, and no code in them is run."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import joblib
import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from sk_denoise import (
    DenoisingAutoencoder,
    DenseNetwork,
    DnCNNNetwork,
    GaussianNoiser,
    ImageDenoiser,
    NoiserChain,
    PoolingNetwork,
    RIDNetNetwork,
    SwapNoiser,
    TotalVariationDenoiser,
    WienerDenoiser,
)
from sk_denoise.persistence import load, save

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hostile_models.py"
ROWS = np.random.default_rng(0).random((30, 6))
IMAGES = (np.linspace(0, 1, 12) * np.random.default_rng(1).random((8, 12, 1))).astype(np.float32)
FAST = {"max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def mutations():
    """Return the module that changes files, and gives changed ones a right checksum."""
    spec = spec_from_file_location("hostile_models", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return files of a few estimators, as bytes, by name."""
    path = tmp_path_factory.mktemp("whole") / "x.safetensors"
    images = {**FAST, "patch_size": 8, "noise": GaussianNoiser(0.5)}
    fitted = {
        "dense": DenoisingAutoencoder(DenseNetwork((8,)), 4, **FAST).fit(ROWS),
        "seeded": DenoisingAutoencoder(DenseNetwork(()), 4, random_state=np.random.RandomState(0)),
        "pooling": DenoisingAutoencoder(PoolingNetwork((4,)), 2, **FAST).fit(IMAGES),
        "dncnn": ImageDenoiser(DnCNNNetwork(3, width=4), sigma="map", **images).fit(IMAGES),
        "ridnet": ImageDenoiser(RIDNetNetwork(4, blocks=1, reduction=2), **images).fit(IMAGES),
        "variation": TotalVariationDenoiser(),
        "wiener": WienerDenoiser().fit(ROWS),
        "chain": NoiserChain([SwapNoiser(), GaussianNoiser(scale="std")]).fit(ROWS),
        "standard": StandardScaler().fit(ROWS),
        "minmax": MinMaxScaler().fit(ROWS),
        "maxabs": MaxAbsScaler().fit(ROWS),
        "robust": RobustScaler().fit(ROWS),
        "imputer": SimpleImputer().fit(ROWS),
    }
    files = {}
    for name, estimator in fitted.items():
        save(estimator, path)
        files[name] = path.read_bytes()
    return files


@pytest.fixture
def refuses(mutations, whole, tmp_path):
    """Return a function that edits a file, seals it anew and returns why it is refused."""

    def refusal(name, edit):
        data = whole[name]
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        tree = json.loads(header["__metadata__"]["estimator"])
        values = bytearray(data[8 + length :])
        edit(tree["estimator"], header, values)
        header["__metadata__"]["estimator"] = json.dumps(tree)
        text = json.dumps(header, separators=(",", ":")).encode()
        path = tmp_path / "hostile.safetensors"
        path.write_bytes(mutations.seal(len(text).to_bytes(8, "little") + text + bytes(values)))
        with pytest.raises(ValueError, match=r"hostile\.safetensors cannot be loaded") as error:
            load(path)
        return str(error.value)

    return refusal


def setting(*path, to):
    """Return an edit that sets a node of the tree."""

    def edit(tree, header, values):
        for step in path[:-1]:
            tree = tree[step]
        tree[path[-1]] = to

    return edit


# Bytes --------------------------------------------------------------------------------------------------


def test_a_file_without_a_right_checksum_never_loads(whole, tmp_path):
    data, path = whole["dense"], tmp_path / "x"
    rng = np.random.default_rng(0)
    for place in [*range(8), *rng.choice(len(data), 200, replace=False)]:
        altered = bytearray(data)
        altered[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(altered)
        with pytest.raises(ValueError, match="cannot be loaded"):
            load(path)


def test_a_file_that_is_cut_off_says_so(whole, tmp_path):
    data = whole["dense"]
    for length in (0, 7, 8, 50, 1000, len(data) // 2, len(data) - 1):
        (tmp_path / "x").write_bytes(data[:length])
        with pytest.raises(ValueError, match="cut off"):
            load(tmp_path / "x")


def test_a_longer_file_and_another_spacing_are_refused(whole, mutations, tmp_path):
    (tmp_path / "x").write_bytes(whole["dense"] + b"\0")
    with pytest.raises(ValueError, match="goes on where it should end"):
        load(tmp_path / "x")
    data = whole["dense"]
    spaces = data.replace(b'","', b'", "', 1)  # the same JSON
    spaces = (int.from_bytes(data[:8], "little") + 1).to_bytes(8, "little") + spaces[8:]
    (tmp_path / "x").write_bytes(spaces)
    with pytest.raises(ValueError, match="checksum does not match"):
        load(tmp_path / "x")


def test_files_of_other_kinds_are_recognized(tmp_path):
    safetensors.torch.save_file({"weight": torch.zeros(100)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"no estimator of sk_denoise\. safetensors\.torch\.load_file reads"):
        load(tmp_path / "other.safetensors")
    (tmp_path / "text").write_text("a text " * 100)
    with pytest.raises(ValueError, match=r"no file that sk_denoise\.persistence\.save wrote"):
        load(tmp_path / "text")


def gzipped(path):
    joblib.dump(ROWS, path, compress=("gzip", 3))


@pytest.mark.parametrize(
    ("write", "description"),
    [
        (lambda path: joblib.dump(ROWS, path), "a pickled file. pickle.load or joblib.load read it, and run"),
        (lambda path: path.write_bytes(pickle.dumps(ROWS, 2)), "a pickled file"),
        (lambda path: path.write_bytes(pickle.dumps(ROWS, 0)), "Pickled files are for pickle and joblib"),
        (lambda path: joblib.dump(ROWS, path, compress=3), "a compressed file. Where joblib.dump wrote it"),
        (gzipped, "a compressed file"),
        (lambda path: torch.save(torch.zeros(3), path), "a zip archive. .*torch.load"),
        (lambda path: path.write_bytes(b"\x08\n\x12\x07pytorch" + bytes(300)), "an ONNX graph"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(300)), "an HDF5 file"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300)), "an image, .*read_image"),
    ],
)
def test_a_file_of_another_format_is_named(write, description, tmp_path):
    path = tmp_path / "model.safetensors"
    write(path)
    with pytest.raises(ValueError, match=f"model.safetensors cannot be loaded: it is .*{description}"):
        load(path)


def test_a_length_with_the_bytes_of_another_format_is_a_length(whole, tmp_path):
    data = bytes.fromhex("080a120000000000") + whole["dense"][8:]  # a header of a megabyte, which is cut off
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match="it is cut off"):
        load(tmp_path / "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no regular file"):
        load(tmp_path / "pipe")


def test_a_newer_format_names_both_versions(refuses):
    def newer(tree, header, values):
        header["__metadata__"].update(format_version="7", sk_denoise="9.9")

    assert "version 7 of the format, written by sk_denoise 9.9. This is sk_denoise" in refuses("dense", newer)


def test_an_error_names_the_versions_that_differ(refuses):
    def older(tree, header, values):
        header["__metadata__"]["torch"] = "1.0"
        tree["state"]["net_"]["net"]["arguments"]["dict"][0][0] = "unheard_of"

    assert "It was saved with torch 1.0 (here" in refuses("dense", older)


def test_a_header_is_read_only_after_its_length_was_checked(tmp_path):
    with (tmp_path / "x").open("wb") as stream:
        stream.write((2**33).to_bytes(8, "little"))
        stream.truncate(2**34)  # takes no disk
    with pytest.raises(ValueError, match="header claims 8589934592 bytes"):
        load(tmp_path / "x")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"dtype":"F32"', '"dtype":"F32","dtype":"F32"', "appears twice"),
        ('"dtype":"F32"', '"dtype":"F8_E4M3"', "not described as"),
        ('"dtype":"F32"', '"dtype":NaN', "no number of JSON"),
        ('"shape":[8', '"shape":[' + "9" * 5000, "cannot be read"),
        ('"shape":[8', '"shape":[-8', "not described as"),
        ('"shape":[8', '"shape":[true', "not described as"),
        ('"shape":[8', '"extra":0,"shape":[8', "not described as"),
        ('"shape":[8', '"shape":[9', "invalid shape .9.: it takes 32 bytes"),
        ('"shape":[8', '"shape":[1e999', "too large"),
        ('"shape":[8', '"shape":' + "[" * 100_000 + "[8", "nested too deeply"),
    ],
)
def test_headers_are_parsed_strictly(old, new, why, whole, mutations, tmp_path):
    data = whole["dense"]
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(old.encode(), new.encode(), 1)
    assert header != data[8 : 8 + length]
    (tmp_path / "x").write_bytes(
        mutations.seal(len(header).to_bytes(8, "little") + header + data[8 + length :])
    )
    with pytest.raises(ValueError, match=why):
        load(tmp_path / "x")


def test_a_doubled_name_of_an_array_is_refused(whole, mutations, tmp_path):
    data = whole["dense"]
    length = int.from_bytes(data[:8], "little")
    name = b',"net_.encoder.1.bias":'
    header = data[8 : 8 + length].rstrip()
    start = header.index(name)
    header = header[:-1] + header[start : header.index(b"}", start) + 1] + b"}"
    altered = mutations.seal(len(header).to_bytes(8, "little") + header + data[8 + length :])
    assert len(safetensors.deserialize(altered)) == len(safetensors.deserialize(data))  # which lets it pass
    (tmp_path / "x").write_bytes(altered)
    with pytest.raises(ValueError, match="a name appears twice"):
        load(tmp_path / "x")


def test_a_file_that_claims_more_than_it_has_is_refused_before_it_is_read(whole, tmp_path):
    data = whole["dense"]
    (tmp_path / "x").write_bytes(data)
    with (tmp_path / "x").open("ab") as stream:
        stream.truncate(2**40)  # takes no disk
    with pytest.raises(ValueError, match=f"goes on where it should end: {len(data)} bytes were written"):
        load(tmp_path / "x")


def test_a_file_written_by_hand_loads(mutations, tmp_path):
    """The format may only change with its version: files of an older sk_denoise must load."""
    samples = {"n_features_in_": 2, "_sample_shape_": {"tuple": [2]}}
    state = {**samples, "scale_": {"array": {"in": "scale_", "order": "C"}}}
    noiser = {"class": "GaussianNoiser", "parameters": {"noise_factor": 0.5, "scale": "std"}, "state": state}
    metadata = {"sha256": "0" * 64, "format": "sk_denoise.estimator", "format_version": "1"}
    metadata["estimator"] = json.dumps({"estimator": noiser})
    scale = {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}
    header = json.dumps({"__metadata__": metadata, "scale_": scale}, separators=(",", ":")).encode()
    data = len(header).to_bytes(8, "little") + header + np.array([0.25, 4.0]).tobytes()
    (tmp_path / "x").write_bytes(mutations.seal(data))
    loaded = load(tmp_path / "x")
    assert loaded.noise_factor == 0.5
    assert loaded.scale_.tolist() == [0.25, 4.0]


# Trees --------------------------------------------------------------------------------------------------


def nested_noiser():
    """Return the node of a noiser."""
    return {"estimator": {"class": "GaussianNoiser", "parameters": {}, "state": {}}}


NETWORK = ("parameters", "network", "estimator", "parameters")
LAYOUT = ("state", "_preparation_", "record", "fields", "layout", "record", "fields")
HUGE = 10**9


@pytest.mark.parametrize(
    ("name", "edit", "why"),
    [
        ("dense", setting("class", to="os.system"), "no estimator called 'os.system'"),
        ("dense", setting("class", to="LogisticRegression"), "no estimator called"),
        ("standard", setting("class", to="FunctionTransformer"), "no estimator called"),
        ("standard", setting("class", to="sklearn.preprocessing.StandardScaler"), "no estimator called"),
        ("standard", setting("class", to="MinMaxScaler"), "has no parameter 'with_mean'"),
        ("dense", setting("class", to="StandardScaler"), "StandardScaler has no parameter"),
        ("dense", setting("parameters", "extra", to=1), "no parameter 'extra'"),
        ("dense", setting("parameters", "optimizer", to={"optimizer": "__import__"}), "no optimizer called"),
        ("dense", setting("parameters", "tol", to={"float": "nan"}), "tol"),
        ("dense", setting("parameters", "batch_size", to=-1), "batch_size"),
        ("dense", setting("parameters", "network", to="unet"), "is a network for ImageDenoiser"),
        ("dense", setting("parameters", "latent_dim", to=HUGE), "sizes of 1000000000"),
        ("dense", setting("parameters", "latent_dim", to={"int": hex(10**30)}), "sizes of 1000"),
        ("dense", setting("state", "predict", to=1), "'predict' is no attribute that a fit"),
        ("dense", setting("state", "__class__", to=1), "is no attribute that a fit"),
        ("dense", setting("state", "encoder_", to=1), "is no attribute that a fit"),
        ("dense", setting("state", "n_features_in_", to=HUGE), "must be"),
        ("dense", setting("state", "net_", to=None), "net_ of DenoisingAutoencoder is no net"),
        ("dense", setting("state", "_root_", to="seed"), "_root_ .* must be a seed"),
        ("dense", setting("state", "_root_", to={"int": hex(2**128)}), "_root_ .* must be a seed"),
        ("dense", setting("state", "_root_", to=True), "_root_ .* must be a seed"),
        ("dense", setting("state", "_root_", to={"int": "0x" + "f" * 5000}), "5002 digits, and 64 are the"),
        ("dense", setting("state", "data_range_", to=1e300), "data_range_ .* must be a number above 0"),
        ("dense", setting("parameters", "learning_rate", to=1e300), "learning_rate .* is beyond 1e[+]150"),
        ("dense", setting("state", "loss_curve_", to=[1, 2]), "loss_curve_ .* must be a list of numbers"),
        ("dense", setting(*LAYOUT, "is_signal", to=0), "must be the scaling of such samples"),
        ("dense", setting(*LAYOUT, "is_signal", to=True), "must be the scaling of such samples"),
        ("dense", setting("state", "net_", "net", "weights", to={}), "there are 0 weights"),
        ("dense", setting("state", "net_", "net", "groups", to=[]), "settings of the optimizer"),
        ("pooling", setting(*NETWORK, "kernel_size", to=HUGE + 1), "sizes of 1000000001"),
        ("pooling", setting(*NETWORK, "channels", to={"tuple": [4] * 5000}), "weights"),
        ("dncnn", setting(*NETWORK, "depth", to=500), "more layers than|weights"),
        ("dncnn", setting(*NETWORK, "depth", to=HUGE), "sizes of"),
        ("dncnn", setting("parameters", "sigma", to="blind"), "noise_levels_"),
        ("dncnn", setting("state", "patch_shape_", to={"tuple": [HUGE, HUGE]}), "must be"),
        ("ridnet", setting(*NETWORK, "blocks", to=200), "more layers than|weights"),
        ("wiener", setting("state", "sigma_", to={"float": "nan"}), "sigma_ .* must be"),
        ("wiener", setting("state", "_spectrum_", "record", "class", to="Cost"), "no record 'Cost'"),
        ("variation", setting("parameters", "max_num_iter", to=HUGE), "files hold at most 10000"),
        ("standard", setting("state", "remark_", to=1), "'remark_' is no attribute that a fit"),
        ("standard", setting("state", "transform", to=1), "'transform' is no attribute that a fit"),
        ("standard", setting("state", "n_features_in_", to=HUGE), "must be a number of samples|for each"),
        ("standard", setting("state", "n_features_in_", to=0), "must be a number of features"),
        ("standard", setting("state", "n_samples_seen_", to="all"), "must be a number of samples"),
        ("standard", setting("state", "mean_", to=None), "mean_ .* must be a number for each feature"),
        ("standard", setting("state", "scale_", to=[1.0] * 6), "scale_ .* must be a number above 0"),
        ("standard", setting("parameters", "with_std", to="no"), "with_std"),
        ("minmax", setting("parameters", "feature_range", to={"tuple": ["a", "b"]}), "feature_range"),
        ("minmax", setting("parameters", "feature_range", to=[0, 1]), "feature_range"),
        ("minmax", setting("state", "min_", to={"float": "nan"}), "min_ .* must be a number for each"),
        ("maxabs", setting("state", "scale_", to=None), "scale_ .* must be a number above 0"),
        ("robust", setting("parameters", "quantile_range", to={"tuple": [5, HUGE]}), "quantile_range"),
        ("robust", setting("state", "center_", to=0.5), "center_ .* must be a number for each"),
        ("imputer", setting("state", "indicator_", to=nested_noiser()), "indicator_ .* must be None"),
        ("imputer", setting("state", "_fit_dtype", to="object"), "_fit_dtype .* must be a type"),
        ("imputer", setting("parameters", "strategy", to="constant"), "strategy of SimpleImputer"),
        ("imputer", setting("parameters", "missing_values", to="x"), "missing_values"),
        ("chain", setting("state", "noisers_", to=[]), "must be a fitted noiser for each"),
        ("chain", setting("state", "_sample_shape_", to={"tuple": [3]}), "must be the shape of a sample"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused_by_name(name, edit, why, refuses):
    assert re.search(why, refuses(name, edit))


def test_consistent_sizes_are_refused_if_they_are_too_large(refuses):
    def huge(tree, header, values):
        side = {"tuple": [2**20, 2**10]}
        samples = {"n_features_in_": 2**30, "_sample_shape_": side}
        tree["state"].update(samples, image_shape_=side)
        for name in ("noiser_", "_reference_noiser_"):
            tree["state"][name]["estimator"]["state"].update(samples)
        for step in LAYOUT[:-1]:
            tree = tree[step]
        tree["fields"].update(sample_shape=side, image_shape=side)

    assert "Pass max_entries= to load where it is meant to be so large" in refuses("pooling", huge)


def test_deep_trees_are_refused(refuses):
    deep = 1
    for _ in range(300):
        deep = {"tuple": [deep]}
    assert "nested too deeply" in refuses("chain", setting("parameters", "apply", to=deep))


def nested(depth):
    """Return the node of a noiser in others, one in the other."""
    node = nested_noiser()
    for _ in range(depth):
        node = {"estimator": {"class": "RegionNoiser", "parameters": {"noiser": node}, "state": {}}}
    return node


@pytest.mark.parametrize(
    ("name", "part", "why"),
    [
        ("noise", [1, "x"], "noise of DenoisingAutoencoder must be a noiser, a name or a strength"),
        ("noise", {"estimator": {"class": "PixelScaler", "parameters": {}, "state": {}}}, "noise of "),
        ("noise", [nested_noiser()] * 5000, "more than 4096 estimators are in it"),
        ("noise", [[]] * 263_000, "more than 262144 parts"),
        ("image_shape", 5, "image_shape. parameter of DenoisingAutoencoder must be an instance"),
        ("image_shape", {"tuple": [2, 4]}, "must be that of its samples, of shape .6,., and is"),
        ("augment", False, "augment of DenoisingAutoencoder must be an Augmenter or None, and is False"),
    ],
)
def test_parameters_that_a_fit_alone_would_check_are_refused(name, part, why, refuses):
    start = time.process_time()
    assert re.search(why, refuses("dense", setting("parameters", name, to=part)))
    assert time.process_time() - start < 10


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="makes a sparse file")
def test_a_sparse_file_is_refused_before_it_is_read(whole, tmp_path):
    data = whole["standard"]
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header = {"__metadata__": header["__metadata__"], "mean_": header["mean_"]}
    header["mean_"].update(shape=[2**27], data_offsets=[0, 2**30])
    text = json.dumps(header, separators=(",", ":")).encode()
    with (tmp_path / "x").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + 2**30)
    with pytest.raises(ValueError, match="it is a sparse file: it claims 1073"):
        load(tmp_path / "x")


def test_a_file_of_megabytes_is_read_from_its_start(tmp_path):
    noiser = GaussianNoiser(1.0, scale="std").fit(np.random.default_rng(0).normal(size=(2, 200_000)))
    save(noiser, tmp_path / "x")
    np.testing.assert_array_equal(load(tmp_path / "x").scale_, noiser.scale_)


def test_weights_that_are_too_large_warn_in_predict(mutations, whole, tmp_path):
    header, values, _ = mutations.split(whole["pooling"])
    rng = np.random.default_rng(0)
    for name in header:
        if name.startswith("net_.") and name.endswith(".weight"):
            start, end = header[name]["data_offsets"]
            values[start:end] = (1e25 * rng.choice([-1, 1], (end - start) // 4)).astype(np.float32).tobytes()
    (tmp_path / "x").write_bytes(mutations.seal(mutations.join(header, values)))
    loaded = load(tmp_path / "x")
    with pytest.warns(UserWarning, match="The output of DenoisingAutoencoder has NaN or infinite numbers"):
        loaded.predict(IMAGES)


def test_parts_of_other_files_that_do_not_fit_are_refused(mutations, whole, tmp_path):
    """Check grafts that loaded once, and then raised errors of torch."""
    wiener, (other, other_values, other_tree) = whole["wiener"], mutations.split(whole["pooling"])
    header, values, tree = mutations.split(wiener)
    part = other_tree["estimator"]["state"]["_reference_noiser_"]
    tree["estimator"]["state"]["_reference_noiser_"] = mutations.copy_arrays(
        part, other, other_values, header, values
    )
    header["__metadata__"]["estimator"] = json.dumps(tree)
    (tmp_path / "x").write_bytes(mutations.seal(mutations.join(header, values)))
    with pytest.raises(ValueError, match=r"_reference_noiser_ .* must be a fitted noiser of such samples"):
        load(tmp_path / "x")


@pytest.mark.parametrize("place", [("state", "data_range_"), ("parameters", "max_epochs")])
def test_estimators_are_not_nested_until_their_names_take_minutes(place, refuses):
    assert "more than 7 of its estimators" in refuses("dense", setting(*place, to=nested(30)))
    assert len(refuses("dense", setting(*place, to=nested(4)))) < 1500


def test_many_keys_of_one_hash_are_refused(refuses):
    same = [[{"int": hex(i * (2**61 - 1))}, 0] for i in range(20_000)]
    assert "more than 1000 keys" in refuses("dense", setting("state", "more_", to={"dict": same}))


def test_lists_and_texts_do_not_grow_in_memory(refuses):
    def halves(tree, header, values):
        header["half"] = {"dtype": "F16", "shape": [64], "data_offsets": [len(values), len(values) + 128]}
        values.extend(bytes(128))
        tree["state"]["loss_curve_"] = {"floats": "half"}

    def long(tree, header, values):
        for name, entries in (("letters", b"a" * 4096), ("lengths", np.array([4096, *[0] * 31]).tobytes())):
            shape = [4096] if name == "letters" else [32]
            dtype = "U8" if name == "letters" else "I64"
            header[name] = {
                "dtype": dtype,
                "shape": shape,
                "data_offsets": [len(values), len(values) + len(entries)],
            }
            values.extend(entries)
        tree["state"]["more_"] = {"texts": {"letters": "letters", "lengths": "lengths", "objects": 0}}

    assert "the type F64" in refuses("dense", halves)
    assert "far longer than the others" in refuses("dense", long)


def holder(kind, **parameters):
    """Return an edit that makes the file one of an estimator of scikit-learn."""

    def edit(tree, header, values):
        tree.update({"class": kind, "parameters": parameters, "state": {}})
        metadata = header["__metadata__"]
        header.clear()
        header["__metadata__"] = metadata
        values.clear()

    return edit


@pytest.mark.parametrize(
    ("name", "attribute", "number", "why"),
    [
        ("standard", "scale_", -1.0, "must be a number above 0 for each feature"),
        ("standard", "scale_", 0.0, "must be a number above 0 for each feature"),
        ("standard", "mean_", np.nan, "must be a number for each feature"),
        ("standard", "var_", -1.0, "must be a number of at least 0 for each feature"),
        ("minmax", "scale_", np.inf, "must be a number above 0 for each feature"),
        ("imputer", "statistics_", np.inf, "must be a number for each feature"),
    ],
)
def test_numbers_that_no_fit_of_scikit_learn_gives_are_refused(name, attribute, number, why, refuses):
    def spoil(tree, header, values):
        start = header[attribute]["data_offsets"][0]
        values[start : start + 8] = np.float64(number).tobytes()

    assert f"{attribute} of " in (message := refuses(name, spoil))
    assert why in message


@pytest.mark.parametrize("name", ["standard", "minmax", "maxabs", "robust", "imputer"])
def test_a_transformer_of_scikit_learn_has_all_attributes_of_a_fit(name, refuses, whole):
    header = json.loads(whole[name][8 : 8 + int.from_bytes(whole[name][:8], "little")])
    state = json.loads(header["__metadata__"]["estimator"])["estimator"]["state"]
    for attribute in sorted(set(state) - {"_fill_dtype"}):

        def without(tree, header, values, gone=attribute):
            del tree["state"][gone]

        assert f"lacks {attribute}, and has" in refuses(name, without)


@pytest.mark.parametrize("inner", [5, None])
def test_a_frozen_estimator_holds_one(inner, refuses):
    assert "a FrozenEstimator cannot hold" in refuses("wiener", holder("FrozenEstimator", estimator=inner))


def test_steps_of_a_pipeline_have_names_of_their_own(refuses):
    steps = [{"tuple": ["a", nested(0)]}, {"tuple": ["a", nested(0)]}]
    assert "two steps of a Pipeline have one name" in refuses("wiener", holder("Pipeline", steps=steps))


def test_an_array_is_taken_once(refuses):
    def twice(tree, header, values):
        tree["parameters"]["noisers"] = [copy.deepcopy(tree["state"]["noisers_"][1]) for _ in range(1000)]

    assert "is missing, or was taken already" in refuses("chain", twice)


def test_arrays_that_belong_to_nothing_are_refused(refuses):
    def one_more(tree, header, values):
        header["more"] = {"dtype": "U8", "shape": [8], "data_offsets": [len(values), len(values) + 8]}
        values.extend(bytes(8))

    assert "'more', which nothing refers to" in refuses("chain", one_more)


HISTORY = ("state", "net_", "net", "history")


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"dur": [1.0]}, "without a number as train_loss"),
        ({"train_loss": ["x"]}, "without a number as train_loss"),
        ({"train_loss": [1.0], "valid_psnr": ["x"]}, "valid_psnr that is no number"),
        ({"train_loss": [1.0, 2.0]}, "columns of other lengths"),
        ({f"c{i}": [1.0] for i in range(2000)}, "2000 columns"),
    ],
)
def test_a_history_is_one_of_numbers(columns, why, refuses):
    assert why in refuses("dense", setting(*HISTORY, to=[{"epochs": 1, "columns": columns}]))


def test_a_history_is_as_long_as_the_fit(refuses):
    rows = {"epochs": 2, "columns": {"train_loss": [1.0, 0.5]}}
    assert "2 epochs, and n_iter_ is 1" in refuses("dense", setting(*HISTORY, to=[rows]))
    rows = {"epochs": HUGE, "columns": {}}
    assert "1000000 are the most" in refuses("dense", setting(*HISTORY, to=[rows]))


@pytest.mark.parametrize("name", ["_judged_", "_best_weights_"])
def test_state_of_early_stopping_is_checked(name, refuses):
    assert f"{name} of DenoisingAutoencoder must be None, or" in refuses(
        "dense", setting("state", name, to=5)
    )


def test_arrays_without_entries_build_no_layers(refuses):
    def deep(tree, header, values):
        weights = tree["state"]["net_"]["net"]["weights"]
        for number in range(4000):
            header[f"none{number}"] = {"dtype": "F32", "shape": [0], "data_offsets": [len(values)] * 2}
            weights[f"none{number}"] = f"none{number}"
        header["more"] = {"dtype": "F32", "shape": [8000], "data_offsets": [len(values), len(values) + 32000]}
        weights["more"] = "more"
        values.extend(bytes(32000))
        tree["parameters"]["network"]["estimator"]["parameters"].update(depth=8000, width=1)

    start = time.perf_counter()
    assert "more layers than there are weights: depth is 8000" in refuses("dncnn", deep)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(number, refuses):
    def spoil(tree, header, values):
        start = header["net_.encoder.1.weight"]["data_offsets"][0]
        values[start : start + 4] = np.float32(number).tobytes()

    assert "are not finite" in refuses("dense", spoil)


def test_the_state_of_an_optimizer_fits_its_weights(refuses):
    def swap(tree, header, values):
        parts = tree["state"]["net_"]["net"]["state"]["dict"]
        first, second = parts[0][1]["dict"], parts[1][1]["dict"]  # of a weight, and of its bias
        first[1][1], second[1][1] = second[1][1], first[1][1]

    def renamed(tree, header, values):
        tree["state"]["net_"]["net"]["state"]["dict"][0][1]["dict"][0][0] = "steps"

    assert "does not fit such weights" in refuses("dense", swap)
    assert "does not fit such weights" in refuses("dense", renamed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", "fast"),
        ("betas", {"tuple": [0.9]}),
        ("lr", 1e300),
        *((name, True) for name in ("foreach", "capturable", "differentiable", "maximize")),
        ("fused", False),
    ],
)
def test_the_settings_of_an_optimizer_are_of_their_types(name, value, refuses):
    def other(tree, header, values):
        settings = tree["state"]["net_"]["net"]["groups"][0]["dict"]
        next(pair for pair in settings if pair[0] == name)[1] = value

    assert "the settings of the optimizer are those of another one" in refuses("dense", other)


def test_a_random_state_that_would_draw_for_ever_is_refused(refuses):
    def zeros(tree, header, values):
        name = tree["parameters"]["random_state"]["random_state"]["keys"]
        start, end = header[name]["data_offsets"]
        values[start:end] = bytes(end - start)

    assert "the state of a RandomState is zero" in refuses("seeded", zeros)


def test_the_limit_of_entries_can_be_raised(whole, tmp_path):
    (tmp_path / "x").write_bytes(whole["dense"])
    with pytest.raises(ValueError, match=r"a layer of .* entries"):
        load(tmp_path / "x", max_entries=4)
    assert load(tmp_path / "x", max_entries=2**30).n_features_in_ == 6
    with pytest.raises(ValueError, match="max_entries must be an integer"):
        load(tmp_path / "x", max_entries=0)


@pytest.mark.slow
def test_random_changes_give_an_error_or_a_working_estimator():
    """The long run is ``python benchmarks/hostile_models.py``, whose results are beside it."""
    command = [sys.executable, str(SCRIPT), "--quick", "--seed", "7"]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "WRONG" not in run.stdout
    assert "| grafts | right | loaded, works |" in run.stdout


# Kills --------------------------------------------------------------------------------------------------

KILLS = 30
SAVERS = """
import os, sys
import numpy as np
from sk_denoise import GaussianNoiser
from sk_denoise.persistence import save

noiser = GaussianNoiser(1.0, scale="std").fit(np.random.default_rng(0).normal(size=(2, 200_000)))
save(noiser, sys.argv[1])  # loads what it needs
for line in sys.stdin:  # each asks for a process that saves one estimator after the other, until it is killed
    noiser.noise_factor = 1000.0 * int(line)
    child = os.fork()
    while child == 0:
        noiser.noise_factor += 1
        save(noiser, sys.argv[1])
    print(child, flush=True)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_a_kill_at_any_moment_leaves_a_whole_file_and_readers_never_see_half_of_one(tmp_path):
    path, rng, seen, n_unfinished = tmp_path / "x.safetensors", np.random.default_rng(0), [], 0

    def count_unfinished():
        return sum(place.suffix == ".tmp" for place in tmp_path.iterdir())

    save(GaussianNoiser(0.5), path)
    with subprocess.Popen(
        [sys.executable, "-c", SAVERS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as savers:
        child = savers.pid
        try:
            for number in range(KILLS):
                savers.stdin.write(f"{number + 1}\n")
                savers.stdin.flush()
                child = int(savers.stdout.readline())
                # Events and not times decide when to kill, so that a loaded machine changes nothing: after a
                # new file took the place of the old one, or while one is written.
                waits_for_new, known = number % 2 == 0, set(seen)
                begun = False
                while not begun:
                    seen.append(load(path).noise_factor)
                    begun = seen[-1] not in known if waits_for_new else count_unfinished() > n_unfinished
                for _ in range(rng.integers(5)):
                    seen.append(load(path).noise_factor)
                os.kill(child, signal.SIGKILL)
                seen.append(load(path).noise_factor)
                n_unfinished = count_unfinished()
        # A process that nobody ends would keep this one waiting.
        except BaseException:
            os.kill(child, signal.SIGKILL)
            savers.kill()
            raise
        savers.stdin.close()
        assert savers.wait() == 0
    assert len(set(seen)) > KILLS // 2
