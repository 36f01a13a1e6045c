"""Signals in files: rules of each format, round trips, hostile files, atomic writing."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from scipy.io import wavfile

from sk_denoise.exceptions import UnreadableSignalError
from sk_denoise.io import Recording, read_signal, write_image, write_signal

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(60, 3)).round(3)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_text(path, lines, end="\n", encoding="utf-8"):
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode(encoding))
    return path


def rows(form, step=0.004):
    return [form.format(i * step, *NOISE[i]) for i in range(len(NOISE))]


# Text ----------------------------------------------------------------------------------------------------

COMMA = "{0:.4f},{1:.3f},{2:.3f},{3:.3f}"
# Content, end of lines, encoding, sampling rate, names, units and channels.
TABLES = {
    "three channels": (["time,I,II,III", *rows(COMMA)], "\n", "utf-8", 250, "I II III", "", 3),
    "rounded times": (["time,I,II,III", *rows(COMMA, 1 / 360)], "\n", "utf-8", 360, "I II III", "", 3),
    "Excel of Europe": (
        [
            "Gerät;XY-12",
            "Datum;01.02.2024",
            "",
            "Zeit [ms];µ (mV);Bemerkung",
            *(f"{4 * i};{x:.3f};ja, ok".replace(".", ",") for i, x in enumerate(NOISE[:, 0])),
        ],
        "\r\n",
        "cp1252",
        250,
        "µ",
        "mV",
        1,
    ),
    "row of units": (
        ["t;U", "ms;V", *(line.replace(".", ",") for line in rows("{0:.1f};{1:.3f}", 4))],
        "\n",
        "utf-8-sig",
        250,
        "U",
        "V",
        1,
    ),
    "UTF-16": (["Time\tV", *rows("{0:.3f}\t{1:.3f}")], "\r\n", "utf-16", 250, "V", "", 1),
    "savetxt": (["# time ecg", *rows("{0:.18e} {1:.18e}")], "\n", "utf-8", 250, "ecg", "", 1),
    "numbered rows": ([",x", *rows("{0:.0f},{1:.3f}", 1)], "\n", "utf-8", None, "x", "", 1),
    "spectrum": (
        [f"{400 + 1.3 * i + 0.01 * i * i:.3f}\t{x:.1f}" for i, x in enumerate(NOISE[:, 0])],
        "\n",
        "utf-8",
        None,
        "",
        "",
        1,
    ),
    "one column": (rows("{1:.3f}"), "\n", "utf-8", None, "", "", 1),
    "decimal comma alone": (
        [f"{abs(x):.3f}".replace(".", ",") for x in NOISE[:, 0]],
        "\n",
        "utf-8",
        None,
        "",
        "",
        1,
    ),
    "quotes and comments": (
        ['"t","x","note"', "# start", *rows('"{0:.3f}", "{1:.3f}","a, b"'), "", "// end"],
        "\n",
        "utf-8",
        250,
        "x",
        "",
        1,
    ),
    "header as of a bitmap": (["BMI,P1", *rows("{1:.3f},{2:.3f}")], "\n", "utf-8", None, "BMI P1", "", 2),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_and_written_without_a_change(name, tmp_path):
    lines, end, encoding, rate, names, units, n_channels = TABLES[name]
    path = write_text(tmp_path / "a.csv", lines, end, encoding)
    recording = read_signal(path)
    assert recording.sampling_rate == rate
    assert recording.channel_names == tuple(names.split())
    assert recording.units == tuple(units.split())
    assert recording.n_channels == n_channels
    assert recording.values.ndim == (1 if n_channels == 1 else 2)
    assert recording.length == len(NOISE)
    write_signal(tmp_path / "b.csv", recording)
    assert (tmp_path / "b.csv").read_bytes() == path.read_bytes()
    # Other values change the cells of the signal, and nothing else.
    write_signal(tmp_path / "c.csv", recording.replace_values(recording.values / 3))
    again = read_signal(tmp_path / "c.csv")
    assert np.allclose(again.values, recording.values / 3, atol=1e-4 * recording.values.std())
    assert (again.sampling_rate, again.channel_names) == (recording.sampling_rate, recording.channel_names)
    write_signal(tmp_path / "d.csv", again.replace_values(recording.values.astype(np.float64)))
    assert len((tmp_path / "d.csv").read_bytes().splitlines()) == len(path.read_bytes().splitlines())


def test_columns_and_sampling_rate_are_chosen(tmp_path):
    path = write_text(tmp_path / "a.csv", ["time,I,II,III", *rows(COMMA)])
    recording = read_signal(path, columns=["III", 1], sampling_rate=500)
    assert recording.channel_names == ("III", "I")
    assert recording.sampling_rate == 500
    assert (recording.values == NOISE[:, [2, 0]].T).all()
    write_signal("b.csv", recording.replace_values(np.zeros((2, 60))))
    again = read_signal("b.csv")
    assert (again.values[1] == NOISE[:, 1]).all()
    assert not again.values[[0, 2]].any()
    with pytest.raises(UnreadableSignalError, match="no column of numbers 'IV'; known are 0 'time', 1 'I'"):
        read_signal(path, columns="IV")
    with pytest.raises(UnreadableSignalError, match="each channel once"):
        read_signal(path, columns=["I", 1])


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([], "empty"),
        (["", " "], "empty"),
        (["1.5,2.5,3.5"], "single row of 3 values.*transpose"),
        (["a,b", "1.5,2.5"], "single row"),
        (["some words", "and more"], "no column of numbers"),
        (["a,b", *rows("{1:.3f},{2:.3f}"), "1.5,"], "line 62 has a gap in column 2.*numpy.interp"),
        ([*rows("{1:.3f}"), "NaN", "1"], "line 61 has a gap in column 1"),
        (["a,b", *rows("{1:.3f},{2:.3f}") * 5, "1,oops"], "line 302 has 'oops' in column 2"),
        (["a,b", *rows("{1:.3f},{2:.3f}") * 5, "1"], "line 302 has 1 cells, and column 2 is missing"),
    ],
)
def test_unusable_tables_are_refused_with_the_place(lines, match, tmp_path):
    path = write_text(tmp_path / "a.csv", lines)
    with pytest.raises(UnreadableSignalError, match=match) as caught:
        read_signal(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_uneven_times_and_signals_in_rows_warn(tmp_path):
    path = write_text(tmp_path / "a.csv", ["time,x", "0,1", "1,2", "2,1", "5,2", "6,1"])
    with pytest.warns(UserWarning, match="steps of the column 'time' range from 1 to 3"):
        assert read_signal(path).sampling_rate is None
    path = write_text(tmp_path / "b.csv", [",".join(map(str, row)) for row in NOISE.T])
    with pytest.warns(UserWarning, match="60 columns and 3 rows.*transpose"):
        read_signal(path)


def test_new_tables_have_a_time_column():
    write_signal("a.csv", Recording(NOISE.T, 250.0, ("I", "II, aVF", "III"), ("mV",) * 3))
    recording = read_signal("a.csv")
    assert recording.channel_names == ("I", "II, aVF", "III")
    assert (recording.sampling_rate, recording.units) == (250, ("mV",) * 3)
    assert (recording.values == NOISE.T).all()


# WAV and NPY ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_wav_equals_that_of_scipy(dtype, n_channels):
    samples = (100 * RNG.random((501, n_channels))).astype(dtype)
    wavfile.write("a.wav", 8000, samples)
    recording = read_signal("a.wav")
    assert recording.values.dtype == dtype
    assert (np.atleast_2d(recording.values) == samples.T).all()
    assert recording.sampling_rate == 8000
    write_signal("b.wav", recording)
    rate, again = wavfile.read("b.wav")
    assert rate == 8000
    assert again.dtype == dtype
    assert (again.reshape(samples.shape) == samples).all()


def wav_24(values, extra=b""):
    """Return a WAV file of 24 bits and two channels."""
    data = values.T.astype("<i4").copy().view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 48000, 48000 * 6, 6, 24)
    body = b"WAVE" + form + extra + struct.pack("<4sI", b"data", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_wav_of_24_bits_keeps_its_bits_and_title(tmp_path):
    values = RNG.integers(-(2**23), 2**23, (2, 500))
    title = b"LIST" + struct.pack("<I", 4) + b"INFO"
    (tmp_path / "a.wav").write_bytes(wav_24(values, title))
    recording = read_signal("a.wav")
    assert (recording.values == values).all()
    write_signal("b.wav", recording.replace_values(values + 0.4))
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


def test_clipping_warns():
    write_signal("a.wav", Recording(np.array([1, -5, 7], np.int16), 8000))
    recording = read_signal("a.wav").replace_values(np.array([40_000.0, -32_768.4, 2.6]))
    with pytest.warns(UserWarning, match="1 of 3 values are beyond the range of the file, -32768 to 32767"):
        write_signal("b.wav", recording)
    assert read_signal("b.wav").values.tolist() == [32767, -32768, 3]


@pytest.mark.parametrize("dtype", ["int16", "uint64", "int64", "float32", ">f8"])
@pytest.mark.parametrize("shape", [(40,), (2, 40)])
def test_arrays_keep_their_type(dtype, shape):
    values = (100 * RNG.random(shape)).astype(dtype)
    np.save("a.npy", values)
    recording = read_signal("a.npy")
    assert (recording.values == values).all()
    write_signal("b.npy", recording.replace_values(recording.values.astype(np.float64)))
    again = np.load("b.npy")
    assert again.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
    assert (again == values).all()


# Hostile and wrong files ---------------------------------------------------------------------------------

FORM = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
SAMPLES = b"data\4\0\0\0" + bytes(4)
RIFF = b"RIFF\xff\xff\xff\xffWAVE"
NPY = b"\x93NUMPY\x01\x00\x76\x00"


def npy_header(shape, dtype="<f4"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return NPY + text.ljust(0x75).encode() + b"\n"


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (
            "a.wav",
            RIFF + FORM + b"data\xf0\xff\xff\xff" + bytes(60),
            "claims 4294967280 bytes.*60 follow",
        ),
        (
            "a.wav",
            RIFF + FORM.replace(b"\1\0\1\0", b"\x11\0\1\0") + SAMPLES,
            "ADPCM is not read",
        ),
        (
            "a.wav",
            RIFF + FORM.replace(b"\1\0\1\0", b"\1\0\0\0") + SAMPLES,
            "header is damaged",
        ),
        ("a.wav", RIFF + b"junk\0\0\0\0" * 5000, "more than 1000 chunks"),
        ("a.wav", RIFF + FORM + b"data\0\0\0\0", "holds no sample"),
        ("a.wav", b"RIFF", "cut off"),
        ("a.wav", b"hello, this is no sound at all", "no WAV file"),
        ("a.npy", npy_header("(99999, 99999)") + bytes(64), "claims 9999800001 values of float32"),
        ("a.npy", npy_header("(4,)", "|O") + bytes(64), "pickled Python objects"),
        ("a.npy", npy_header("(4,)", "<c16") + bytes(64), "type complex128"),
        ("a.npy", npy_header("(2, 2, 2)") + bytes(64), r"shape \(2, 2, 2\)"),
        ("a.npy", npy_header("(0,)"), "holds no sample"),
        ("a.npy", b"\x93NUMPY\x01\x00\xff\xff{", "header is damaged"),
        ("a.csv", b"1," * 2**20, "first line has more than 1048576 bytes"),
        ("a.csv", b"1\n" + b"1" * 2**21, "line 2 has more than 1048576"),
        ("a.csv", bytes(100), "no text"),
    ],
)
def test_hostile_files_are_refused_before_they_take_memory(name, content, match, tmp_path):
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(UnreadableSignalError, match=match):
        read_signal(name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25


def test_limits_gaps_images_and_wrong_names(tmp_path):
    np.save("a.npy", np.array([1.0, np.nan, 2.0]))
    with pytest.raises(UnreadableSignalError, match="NaN or infinity, at sample 1"):
        read_signal("a.npy")
    write_signal("b.npy", Recording(np.zeros(100)))
    with pytest.raises(UnreadableSignalError, match="claims 100 values, more than the limit of 99"):
        read_signal("b.npy", max_values=99)
    write_text(tmp_path / "c.csv", rows("{1:.3f}"))
    with pytest.raises(UnreadableSignalError, match="max_values="):
        read_signal("c.csv", max_values=30)
    write_image("i.png", np.zeros((20, 20), np.uint8))
    for name in ("d.csv", "d.wav", "d.npy"):
        (tmp_path / name).write_bytes((tmp_path / "i.png").read_bytes())
        with pytest.raises(UnreadableSignalError, match=r"it is an image \(PNG\)"):
            read_signal(name)
    with pytest.raises(ValueError, match=r"i.png must end in one of .bdf, .csv"):
        read_signal("i.png")
    with pytest.raises(FileNotFoundError, match=r"There is no file x.csv"):
        read_signal("x.csv")
    with pytest.raises(ValueError, match="columns are for text"):
        read_signal("b.npy", columns=0)
    np.save("t.npy", np.zeros((30, 2)))
    with pytest.warns(UserWarning, match="30 channels of 2 samples: time is the last axis"):
        read_signal("t.npy")


def test_writing_is_atomic_and_refuses_wrong_input(tmp_path):
    path = write_text(tmp_path / "a.csv", rows("{1:.3f}"))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="NaN or infinite"):
        write_signal(path, Recording(np.array([1.0, np.nan])))
    with pytest.raises(TypeError, match=r"Recording\(values, sampling_rate\)"):
        write_signal(path, np.zeros(5))
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_signal("none/a.csv", Recording(np.zeros(5)))
    with pytest.raises(ValueError, match="WAV needs a sampling rate"):
        write_signal("a.wav", Recording(np.zeros(5)))
    with pytest.raises(ValueError, match="values must have the shape of the recording"):
        read_signal(path).replace_values(np.zeros(5))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


# EDF and BDF ---------------------------------------------------------------------------------------------


def test_edf_keeps_everything_but_the_values_of_the_channels(tmp_path):
    edfio = pytest.importorskip("edfio")
    time = np.arange(1280) / 256
    waves = [50 * np.sin(7 * time), 30 * np.cos(7 * time), np.cos(time[:80])]
    signals = [
        edfio.EdfSignal(wave, rate, label=label, physical_dimension="uV")
        for wave, rate, label in zip(waves, (256, 256, 16), ("Fz", "Cz", "Resp"), strict=True)
    ]
    (tmp_path / "a.edf").write_bytes(
        edfio.Edf(signals, annotations=[edfio.EdfAnnotation(1, None, "blink")]).to_bytes()
    )
    with pytest.raises(UnreadableSignalError, match="16 Hz: Resp; 256 Hz: Fz, Cz"):
        read_signal("a.edf")
    recording = read_signal("a.edf", columns=["Cz", "Fz"])
    assert (recording.sampling_rate, recording.units) == (256, ("uV", "uV"))
    assert np.allclose(recording.values, waves[1::-1], atol=1e-3)
    write_signal("b.edf", recording)
    assert (tmp_path / "b.edf").read_bytes() == (tmp_path / "a.edf").read_bytes()
    with pytest.warns(UserWarning, match="beyond the range of the file, -30"):
        write_signal("c.edf", recording.replace_values(recording.values * [[1.2], [0.5]]))
    written = edfio.read_edf((tmp_path / "c.edf").read_bytes())
    assert [signal.label for signal in written.signals] == ["Fz", "Cz", "Resp"]
    assert written.annotations[0].text == "blink"
    assert np.allclose(written.signals[0].data, waves[0] / 2, atol=1e-3)
    assert np.abs(written.signals[1].data).max() == 30
    content = (tmp_path / "a.edf").read_bytes()
    (tmp_path / "d.edf").write_bytes(content[:236] + b"99999999" + content[244:])
    with pytest.raises(UnreadableSignalError, match="claims 53599999464 values; the file is cut off"):
        read_signal("d.edf", columns=0)


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
@pytest.mark.parametrize("length", [1000, 1001])
def test_new_edf_files_have_any_length(suffix, length):
    pytest.importorskip("edfio")
    values = np.sin(np.arange(length) / 9)
    write_signal(f"a{suffix}", Recording(values, 250.0, ("wave",), ("mV",)))
    recording = read_signal(f"a{suffix}")
    assert np.allclose(recording.values, values, atol=1e-4)
    assert (recording.sampling_rate, recording.channel_names) == (250, ("wave",))
