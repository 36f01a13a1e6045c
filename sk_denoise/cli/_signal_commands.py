"""Signals on the command line: denoise, train and evaluate on signal files."""

from __future__ import annotations

import inspect
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sk_denoise._registry import networks_of
from sk_denoise.cli._console import (
    CommandFailure,
    RefusedInput,
    abbreviate_list,
    describe_error,
    errors_as_failures,
    interruption_exit_code,
    pluralize,
    print_message,
    print_result,
    printable,
    require_installed,
    warnings_as_lines,
)
from sk_denoise.cli._methods import SIGNAL_METHODS, load_estimator
from sk_denoise.cli._options import conflicting_options, format_noiser
from sk_denoise.cli._paths import (
    SIGNALS,
    check_model_name,
    check_output_file,
    check_writable_folder,
    find_images,
)
from sk_denoise.cli._training_run import (
    Checkpointer,
    TrainingRun,
    build_network_spec,
    format_duration,
    is_writing_process,
    open_display,
    train_denoiser,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sk_denoise.cli._output import ImageProgress
    from sk_denoise.cli._paths import FileJob
    from sk_denoise.io import Recording

__all__ = [
    "DENOISING_OPTIONS",
    "SIGNAL_OPTIONS",
    "SignalDenoising",
    "build_signal_denoising",
    "evaluate_signals",
    "refuse_signal_options",
    "train_signals",
]

# Options that only signals have.
SIGNAL_OPTIONS = ("columns", "sampling_rate", "method", "method_option", "separate", "bank", "snr")
# Options of images that signals have too.
DENOISING_OPTIONS = ("strength", "model", "device", "sigma")
TRAINING_OPTIONS = (
    *("objective", "noise", "noisy", "network", "network_option", "patch_size", "patches_per_image"),
    *("batch_size", "epochs", "learning_rate", "loss", "validation", "validation_noisy", "early_stopping"),
    *("validation_fraction", "patience", "precision", "seed", "device", "quiet", "overwrite"),
)
EVALUATION_OPTIONS = ("noise", "noisy", "strength", "each", "limit", "seed", "device", "quiet")
RESULT_OPTIONS = ("form", "output", "overwrite")
# Entries of a part of a long channel for a filter, whose copies would fill the memory, and of an overlap.
PART, OVERLAP = 2**21, 2**13
# Relative difference of sampling rates that counts as none.
RATE_TOLERANCE = 0.01
# The filter for a signal without a model.
DEFAULT_METHOD = "wavelet"
# Parameters of SignalDenoiser by option.
PARAMETERS = {
    "objective": "objective",
    "patch_size": "window_length",
    "patches_per_image": "windows_per_signal",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "loss": "loss",
    "early_stopping": "early_stopping",
    "validation_fraction": "validation_fraction",
    "patience": "n_iter_no_change",
    "device": "device",
    "precision": "precision",
    "seed": "random_state",
}
# The meaning of "auto" in SignalDenoiser.
AUTO_STEPS, AUTO_MAX_EPOCHS = 2_000, 500
AUTO_WINDOW, AUTO_SHARE, AUTO_ENTRIES, AUTO_BATCH = 512, 0.75, 4096, (8, 32)
NOISE_OF_PAIRS = "as given"
MEASURES = ("psnr_noisy", "psnr", "snr_gain", "prd", "cosine", "ssd", "mad")
MEASUREMENT = (
    "mean over signals; PSNR in dB refers to the range of the training signals of the model; snr gain in dB; "
    "prd in percent of the clean signal around its mean; ssd and mad in the unit of the files"
)

Options = Mapping[str, Any]
Predictor = Callable[["Recording"], "NDArray[Any]"]


# Options -------------------------------------------------------------------------------------------------


def refuse_signal_options(given: set[str]) -> None:
    """Refuse options of signals for images."""
    for name in SIGNAL_OPTIONS:
        if name in given:
            raise RefusedInput(f"--{name.replace('_', '-')} is for signals, and the files are images")


def _refuse_image_options(given: set[str], allowed: Sequence[str]) -> None:
    """Refuse options of images for signals."""
    for name in sorted(given - {*allowed, *SIGNAL_OPTIONS}):
        raise RefusedInput(f"--{name.replace('_', '-')} is for images, and the files are signals")


def _split_columns(columns: str | None) -> list[str] | None:
    """Return the names of columns that are joined by commas."""
    return None if columns is None else [name.strip() for name in columns.split(",")]


def _read(path: Path, options: Options) -> Recording:
    """Read a signal with the options for columns and sampling rate."""
    from sk_denoise.io import read_signal

    has_columns = path.suffix.lower() in (".csv", ".tsv", ".txt", ".edf", ".bdf")
    columns = _split_columns(options["columns"]) if has_columns else None
    return read_signal(path, columns=columns, sampling_rate=options["sampling_rate"])


# Denoising -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SignalDenoising:
    """Denoise one signal file after the other.

    Parameters
    ----------
    predict : callable
        Function from a recording to its denoised values.
    options : mapping
        Values of all options.
    """

    predict: Predictor
    options: Options

    def __call__(self, job: FileJob, progress: ImageProgress) -> tuple[str, float]:
        """Denoise a file; return its description, and the unit of levels in notes."""
        from sk_denoise.io import write_signal

        recording = _read(job.source, self.options)
        denoised = _blend(recording.values, self.predict(recording), self.options["strength"])
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_signal(job.target, recording.replace_values(denoised))
        return f", {_describe(recording)}; {_describe_change(recording, denoised)}", 255.0


def build_signal_denoising(options: Options, given: set[str]) -> SignalDenoising:
    """Return the denoising of signals for the options of ``denoise``.

    Raises
    ------
    RefusedInput
        If an option is for images, or the model cannot be used.
    """
    allowed = (*DENOISING_OPTIONS, "overwrite", "skip_existing", "quiet", "output", "inputs")
    _refuse_image_options(given, allowed)
    if not isinstance(options["model"], Path):
        if "model" in given:
            raise RefusedInput(
                f"the pretrained model {options['model']} is for images; give a model file or --method"
            )
        return SignalDenoising(_build_filter(options), options)
    for name in ("method", "method_option", "sigma"):
        if name in given:
            raise conflicting_options("--model", f"--{name.replace('_', '-')}")
    return SignalDenoising(_build_predictor(options["model"], options), options)


def _build_filter(options: Options) -> Predictor:
    """Return a filter of single channels as a function of a recording."""
    from sk_denoise._registry import load_entry

    name = options["method"] or DEFAULT_METHOD
    entry = SIGNAL_METHODS[name]
    if entry.extra:
        require_installed(entry.extra, f"--method {name}")
    kind = load_entry(entry)
    parameters = dict(options["method_option"])
    if options["sigma"] is not None:
        parameters["sigma"] = options["sigma"]
    known = set(inspect.signature(kind).parameters) - {"image_shape", "kind"}
    unknown = set(parameters) - known
    if unknown:
        raise RefusedInput(f"{name} has no {', '.join(sorted(unknown))}. Known: {', '.join(sorted(known))}")

    def apply(recording: Recording) -> NDArray[Any]:
        values = _as_floats(recording.values)
        needs_rate = "sampling_rate" in known and "sampling_rate" not in parameters
        if needs_rate and recording.sampling_rate is None:
            raise ValueError(f"{name} needs the sampling rate; give --sampling-rate")
        rate = {"sampling_rate": recording.sampling_rate} if needs_rate else {}

        def denoise(part: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(kind(**parameters, **rate).fit(part[None]).predict(part[None])[0])

        # A filter of frequencies sees the whole signal, and needs little memory.
        size = recording.length if needs_rate else PART
        denoised = [_denoise_parts(denoise, channel, size) for channel in np.atleast_2d(values)]
        return np.stack(denoised).reshape(values.shape)

    return apply


def _denoise_parts(denoise: Callable[[Any], Any], channel: NDArray[Any], size: int) -> NDArray[Any]:
    """Denoise a channel in parts that overlap; each estimates its noise."""
    parts = []
    for start in range(0, len(channel), size):
        first = max(0, start - OVERLAP)
        part = denoise(channel[first : start + size + OVERLAP])
        parts.append(part[start - first :][:size])
    return np.concatenate(parts)


def load_signal_denoiser(path: Path) -> Any:
    """Load the fitted SignalDenoiser of a file.

    Raises
    ------
    RefusedInput
        If the file cannot be loaded, holds another estimator, or one that is not fitted.
    """
    from sk_denoise import SignalDenoiser

    estimator = load_estimator(path)
    if not isinstance(estimator, SignalDenoiser):
        raise RefusedInput(
            f"{printable(path)} holds a {type(estimator).__name__}, where a fitted SignalDenoiser was "
            "expected"
        )
    if not hasattr(estimator, "net_"):
        raise RefusedInput(
            f"{printable(path)} holds a SignalDenoiser that is not fitted; save it after its fit"
        )
    return estimator


def _build_predictor(path: Path, options: Options) -> Predictor:
    """Return the model of a file as a function of a recording."""
    denoiser = load_signal_denoiser(path).set_params(device=options["device"])

    def predict(recording: Recording) -> NDArray[Any]:
        _check_rate(recording, denoiser.sampling_rate)
        values = _as_floats(recording.values)
        if denoiser.n_channels_ == recording.n_channels:
            return np.asarray(denoiser.predict([values])[0])
        # A model of one channel denoises each channel by itself.
        if denoiser.n_channels_ == 1:
            return np.stack(denoiser.predict(list(values)))
        raise ValueError(
            f"it has {pluralize(recording.n_channels, 'channel')}, and the model takes "
            f"{denoiser.n_channels_}; choose them by --columns"
        )

    return predict


def _check_rate(recording: Recording, trained: float | None) -> None:
    """Refuse a recording at another sampling rate than that of the training."""
    given = recording.sampling_rate
    # The network has learned shapes over entries, so that another rate shows it other shapes.
    if given is not None and trained is not None and not math.isclose(given, trained, rel_tol=RATE_TOLERANCE):
        raise ValueError(
            f"it has {given:g} Hz, and the model is for {trained:g} Hz; resample it, by "
            f"scipy.signal.resample_poly for example; if its rate is wrong, give --sampling-rate {trained:g}"
        )


def _as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as floats, integers of up to 24 bits in single precision."""
    if values.dtype.kind == "f":
        return values
    is_exact = values.dtype.itemsize <= 2 or np.abs(values.astype(np.float64)).max() < 2**24
    return values.astype(np.float32 if is_exact else np.float64)


def _blend(values: NDArray[Any], denoised: NDArray[Any], strength: float) -> NDArray[Any]:
    """Return a mean of a signal and its denoised version; 100 removes all noise."""
    if strength == 100:
        return denoised
    share = strength / 100
    return denoised * share + _as_floats(values) * (1 - share)


def _describe(recording: Recording) -> str:
    """Return channels, sampling rate and length in words."""
    rate = "" if recording.sampling_rate is None else f", {recording.sampling_rate:g} Hz"
    length = pluralize(recording.length, "sample")
    return f"{pluralize(recording.n_channels, 'channel')} of {length}{rate}"


def _describe_change(recording: Recording, denoised: NDArray[Any]) -> str:
    """Return the root of the mean squared change in words."""
    level = math.sqrt(float(np.mean(np.square(denoised - _as_floats(recording.values), dtype=np.float64))))
    units = set(recording.units)
    unit = f" {units.pop()}" if len(units) == 1 and units != {""} else ""
    return f"about {level:.3g}{unit} removed"


# Training ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SignalFiles:
    """Signals of files for a training or a measurement.

    Attributes
    ----------
    paths : list of Path
        The files.
    clean : list of ndarray
        Their signals.
    noisy : list of ndarray or None
        Noisy versions.
    sampling_rate : float or None
        Samples per second.
    """

    paths: list[Path]
    clean: list[NDArray[Any]]
    noisy: list[NDArray[Any]] | None
    sampling_rate: float | None


def train_signals(sources: Sequence[Path], model: Path, options: dict[str, Any], given: set[str]) -> int:
    """Train a network on signal files, and write it to a file.

    Parameters
    ----------
    sources : sequence of Path
        Files and folders.
    model : Path
        File to write.
    options : dict
        Values of all options.
    given : set of str
        Options from the command line.

    Returns
    -------
    int
        The exit code.
    """
    _check_training_options(options, given)
    check_output_file(model, overwrite=options["overwrite"], remedy="--overwrite trains from the beginning")
    if SIGNALS.matches(model):
        raise RefusedInput(f"{printable(model)} has the name of a signal; give another one")
    check_model_name(model)
    with errors_as_failures():
        writes = is_writing_process(options)
        denoiser = _create_denoiser(options, given)
        files = _read_sources(sources, options["noisy"], options)
        validation = None
        if options["validation"] is not None:
            validation = _read_sources([options["validation"]], options["validation_noisy"], options)
            _check_same_rate(files, validation)
        denoiser.set_params(sampling_rate=files.sampling_rate)
    check_writable_folder(model.parent)
    total = _count_epochs(denoiser, [signal.shape[-1] for signal in files.clean], validation is not None)
    if options["epochs"] not in (None, "auto"):
        total = options["epochs"]
    is_noisy = denoiser.objective != "supervised"
    further = {} if files.noisy is None else {"X_clean": files.clean}
    if validation is not None and validation.noisy is not None:
        further["X_clean_val"] = validation.clean
    run = TrainingRun(
        denoiser,
        files.clean if files.noisy is None else files.noisy,
        validation and (validation.clean if validation.noisy is None else validation.noisy),
        model,
        total,
        further,
    )
    checkpointer = Checkpointer(model, 0, {"max_epochs": total, "warm_start": False}, "SNR")
    start = time.monotonic()
    try:
        with (
            open_display(0, total, options["quiet"]) as display,
            errors_as_failures(display.write_line),
        ):
            train_denoiser(run, checkpointer, display)
    except KeyboardInterrupt as interruption:
        state = f"{printable(model)} holds {checkpointer.n_saved} of {total} epochs"
        if not checkpointer.n_saved:
            state = f"{printable(model)} was not written"
        if writes:
            print_message(f"Interrupted: {state}.")
        return interruption_exit_code(interruption)
    if not options["quiet"]:
        noise = f", with noise {format_noiser(denoiser.noiser_)}" if denoiser.noiser_ is not None else ""
        kind = "noisy signal" if is_noisy else "signal pair" if files.noisy is not None else "signal"
        print_result(
            f"Trained on {pluralize(len(files.clean), kind)} of "
            f"{pluralize(denoiser.n_channels_, 'channel')}{noise}."
        )
        epochs, seconds = pluralize(run.n_epochs, "epoch"), format_duration(time.monotonic() - start)
        print_result(f"{epochs} in {seconds}; last epoch: {checkpointer.metrics}.")
        name = shlex.quote(str(model))
        print_result(f"The model is in {printable(model)}. Use it{'' if is_noisy else ' and measure it'}:")
        suffix = files.paths[0].suffix
        print_result(f"  sk-denoise denoise NOISY{suffix} -o CLEAN{suffix} --model {name}")
        if not is_noisy:
            print_result(f"  sk-denoise evaluate {name} FOLDER --noise gaussian:0.5")
    return 0


def _check_training_options(options: Options, given: set[str]) -> None:
    for name in ("resume", "start_from"):
        if name in given:
            raise RefusedInput(
                f"--{name.replace('_', '-')} is for images; a model of signals is trained in one run, or "
                "continued in Python by warm_start=True"
            )
    _refuse_image_options(given, (*TRAINING_OPTIONS, "model", "sources"))
    ways = [f"--{name}" for name in ("noise", "noisy", "bank") if options[name] is not None]
    if len(ways) > 1:
        raise RefusedInput(f"{' and '.join(ways)} contradict each other; give one of them")
    if options["snr"] is not None and options["bank"] is None:
        raise RefusedInput("--snr goes with --bank, the folder of recorded noise")
    if bool(options["validation_noisy"]) != bool(options["validation"] and options["noisy"]):
        raise RefusedInput(
            "--noisy, --validation and --validation-noisy go together: all are folders of pairs"
        )
    objective = options["objective"] or "supervised"
    if objective != "supervised" and (options["noisy"] or options["bank"]):
        raise RefusedInput(f"--objective {objective} learns from noisy signals alone; leave {ways[0]} out")


def _create_denoiser(options: Options, given: set[str]) -> Any:
    """Return an untrained estimator."""
    from sk_denoise import RecordedNoiser, SignalDenoiser

    parameters = {
        parameter: options[name] for name, parameter in PARAMETERS.items() if name in given and options[name]
    }
    parameters["random_state"] = options["seed"]
    if options["noise"] is not None:
        parameters["noise"] = options["noise"].build_signal_noiser()
    if options["bank"] is not None:
        bank = _read_sources([options["bank"]], None, options).clean
        parameters["noise"] = RecordedNoiser(bank, options["snr"] or (0.0, 20.0), power="data")
    networks = networks_of("SignalDenoiser")
    name = options["network"] or next(iter(networks))
    if name not in networks:
        raise RefusedInput(f"--network {name} is for images; known for signals are {', '.join(networks)}")
    if options["network"] or options["network_option"]:
        parameters["network"] = build_network_spec(networks[name], dict(options["network_option"]), 1)
    return SignalDenoiser(**parameters)


def _read_sources(sources: Sequence[Path], noisy: Path | None, options: Options) -> SignalFiles:
    """Read all signals of files and folders, and their noisy versions.

    Raises
    ------
    RefusedInput
        If there is no signal, or the signals differ in sampling rate, channels or units.
    """
    inputs = find_images([str(source) for source in sources], None, SIGNALS)
    recordings: dict[Path, Recording] = {}
    paths = [file.path for file in inputs.images][: options.get("limit")]
    for path in paths:
        recordings[path] = _read(path, options)
    _check_uniform(recordings)
    versions = None
    if noisy is not None:
        partners = _find_partners(inputs.images[: len(paths)], noisy)
        versions = [_read(partner, options) for partner in partners]
        for path, version in zip(paths, versions, strict=True):
            if version.values.shape != recordings[path].values.shape:
                raise RefusedInput(
                    f"{printable(path)} has the shape {recordings[path].values.shape}, and its noisy version "
                    f"{version.values.shape}"
                )
    sides = [[recordings[path] for path in paths], versions]
    clean, other = (None if side is None else list(_list_signals(side, options)) for side in sides)
    assert clean is not None
    return SignalFiles(paths, clean, other, recordings[paths[0]].sampling_rate)


def _check_same_rate(training: SignalFiles, validation: SignalFiles) -> None:
    """Refuse validation signals at another sampling rate."""
    rates = [files.sampling_rate for files in (training, validation)]
    if None not in rates and rates[0] != rates[1]:
        raise RefusedInput(
            f"the training signals have {rates[0]:g} Hz, and those of --validation {rates[1]:g} Hz; resample "
            "them, by scipy.signal.resample_poly for example"
        )


def _list_signals(recordings: Sequence[Recording], options: Options) -> Iterator[NDArray[Any]]:
    """Yield the signals of recordings, each channel by itself with ``--separate``."""
    for recording in recordings:
        values = _as_floats(recording.values)
        if options.get("separate") and values.ndim == 2:
            yield from values
        else:
            yield values


def _check_uniform(recordings: Mapping[Path, Recording]) -> None:
    """Refuse recordings that one model cannot learn from together."""
    advice = {
        "sampling rate": "resample them to one rate, by scipy.signal.resample_poly for example",
        "number of channels": "choose channels by --columns, or take each by itself with --separate",
        "unit": "convert them to one unit, or train a model for each",
    }
    traits: dict[str, Callable[[Recording], Any]] = {
        "sampling rate": lambda recording: recording.sampling_rate,
        "number of channels": lambda recording: recording.n_channels,
        # Integers of a sound and floats from -1 to 1 are units too.
        "unit": lambda recording: recording.units or recording.values.dtype.kind,
    }
    for name, trait in traits.items():
        groups: dict[Any, list[Path]] = {}
        for path, recording in recordings.items():
            groups.setdefault(trait(recording), []).append(path)
        if len(groups) > 1:
            listed = "; ".join(
                f"{_as_text(value)}: {abbreviate_list(group)}" for value, group in groups.items()
            )
            raise RefusedInput(f"the files differ in their {name} ({listed}); {advice[name]}")


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(part or "no unit" for part in value)
    names = {None: "unknown", "i": "integers", "u": "integers", "f": "floats"}
    return f"{value:g}" if isinstance(value, float | int) else names[value]


def _find_partners(files: Sequence[Any], folder: Path) -> list[Path]:
    """Return the noisy version of each file: the one of its name in another folder."""
    others = {
        file.relative_path.with_suffix(""): file.path
        for file in find_images([str(folder)], None, SIGNALS).images
    }
    partners = []
    for file in files:
        key = file.relative_path.with_suffix("")
        if key not in others:
            raise RefusedInput(f"{printable(folder)} has no noisy version of {printable(file.path)}")
        partners.append(others[key])
    return partners


def _count_epochs(denoiser: Any, lengths: Sequence[int], has_validation: bool) -> int:
    """Return the number of epochs for "auto": about 2,000 steps."""
    if denoiser.early_stopping and not has_validation:
        n_held_out = min(max(1, round(denoiser.validation_fraction * len(lengths))), len(lengths) - 1)
        lengths = lengths[n_held_out:]
    window = denoiser.window_length
    if window == "auto":
        window = min(max(1, round(AUTO_SHARE * min(lengths))), AUTO_WINDOW)
    per_signal = denoiser.windows_per_signal
    if per_signal == "auto":
        per_signal = max(1, round(sum(lengths) / len(lengths) / window))
    windows = per_signal * len(lengths)
    batch = denoiser.batch_size
    if batch == "auto":
        batch = min(AUTO_BATCH[1], max(AUTO_BATCH[0], AUTO_ENTRIES // window))
    steps = -(-windows // min(batch, windows))
    return int(max(1, min(AUTO_MAX_EPOCHS, math.ceil(AUTO_STEPS / steps))))


# Evaluation ----------------------------------------------------------------------------------------------


def evaluate_signals(model: str | Path, folder: Path, options: dict[str, Any], given: set[str]) -> int:
    """Measure a model on a folder of clean signals, and return the exit code."""
    from sk_denoise.cli._output import ImageProgress, write_results

    _refuse_image_options(given, (*EVALUATION_OPTIONS, *RESULT_OPTIONS, "model", "folder"))
    if not isinstance(model, Path):
        raise RefusedInput(f"the pretrained model {model} is for images; give a model file")
    if bool(options["noise"]) == (options["noisy"] is not None):
        raise RefusedInput(
            "give either --noise, such as gaussian:0.5, or --noisy FOLDER with noisy versions of the signals"
        )
    with errors_as_failures():
        denoiser = load_signal_denoiser(model)
        predict = _build_predictor(model, options)
        files = find_images([str(folder)], None, SIGNALS).images[: options["limit"]]
        partners = None if options["noisy"] is None else _find_partners(files, options["noisy"])
        if options["output"] is not None:
            check_writable_folder(options["output"].parent)
        rows: list[dict[str, Any]] = []
        with ImageProgress(len(files), options["quiet"]) as progress:
            for i, file in enumerate(files):
                progress.start_image(file.path)
                try:
                    with warnings_as_lines(progress.write_note):
                        rows += _measure_file(
                            file,
                            None if partners is None else partners[i],
                            predict,
                            denoiser.data_range_,
                            options,
                        )
                except (OSError, ValueError) as error:
                    reason = describe_error(error).removeprefix(f"{printable(file.path)}: ")
                    progress.write_note(f"left out, {reason}")
                progress.finish_image()
        if not rows:
            raise CommandFailure(f"none of the signals in {printable(folder)} could be used")
        names = list(dict.fromkeys(row["noise"] for row in rows))
        means = []
        for name in names:
            group = [row for row in rows if row["noise"] == name]
            values = {key: math.fsum(row[key] for row in group) / len(group) for key in MEASURES}
            means.append({"signal": f"mean of {len(group)}", "noise": name, **values})
        summary = {
            "model": str(model),
            "signals": len({row["signal"] for row in rows}),
            "measured": f"{MEASUREMENT}.",
        }
        write_results(
            [*(rows if options["each"] else []), *means], options["form"], options["output"], summary
        )
    return 0


def _measure_file(
    file: Any, partner: Path | None, predict: Predictor, data_range: float, options: Options
) -> Iterator[dict[str, Any]]:
    """Yield the measures of a signal under each noise."""
    from sk_denoise.metrics import cosine_similarity, mad, prd, psnr, snr_gain, ssd

    recording = _read(file.path, options)
    clean = _as_floats(recording.values)
    versions = []
    if partner is not None:
        noisy = _as_floats(_read(partner, options).values)
        if noisy.shape != clean.shape:
            raise ValueError(f"it has the shape {clean.shape}, and its noisy version {noisy.shape}")
        versions.append((NOISE_OF_PAIRS, noisy))
    for noise in options["noise"]:
        noiser = noise.build_signal_noiser(options["seed"], scale="absolute")
        versions.append((noise.text, np.stack([_corrupt(noiser, x) for x in np.atleast_2d(clean)])))
    for name, noisy in versions:
        noisy = noisy.reshape(clean.shape)
        prediction = _blend(noisy, predict(recording.replace_values(noisy)), options["strength"])
        truth, before, after = ([np.atleast_2d(side)] for side in (clean, noisy, prediction))
        yield {
            "signal": file.relative_path.as_posix(),
            "noise": name,
            "psnr_noisy": float(psnr(truth[0][None], before[0][None], data_range=data_range)),
            "psnr": float(psnr(truth[0][None], after[0][None], data_range=data_range)),
            "snr_gain": float(snr_gain(truth, before, after)),
            "prd": float(prd(truth, after)),
            "cosine": float(cosine_similarity(truth, after)),
            "ssd": float(ssd(truth, after)),
            "mad": float(mad(truth, after)),
        }


def _corrupt(noiser: Any, channel: NDArray[Any]) -> NDArray[Any]:
    """Return a channel with noise in units of its standard deviation."""
    unit = float(np.std(channel)) or 1.0
    # The noisers take an image of height 1, whose entries have one unit.
    noisy: NDArray[Any] = np.asarray(noiser.fit_transform(channel[None, None] / unit))[0, 0] * unit
    return noisy
