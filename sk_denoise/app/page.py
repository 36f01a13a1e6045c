"""Page of the app: the script that Streamlit runs at each interaction of a user."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from sk_denoise._registry import MODELS, NOISE_KINDS
from sk_denoise.app._jobs import JobTimeoutError, QueuedJob, QueueFullError, log_failure
from sk_denoise.app._launch import Settings, is_page_open
from sk_denoise.app._processing import NOISE_CHOICES, DenoisingRequest, DenoisingResult
from sk_denoise.app._service import (
    SAMPLES,
    AppService,
    ExpiredError,
    StoredImage,
    StoredResult,
    UploadedModel,
    get_shared_service,
)
from sk_denoise.app._urls import DownloadError
from sk_denoise.app._views import show_before_after, show_single_image
from sk_denoise.app._workers import WorkerCrashedError
from sk_denoise.io import IMAGE_SUFFIXES
from sk_denoise.metrics import QualityEstimate
from sk_denoise.restoration import NoiseModel

UPLOAD, WEB, SAMPLE = "Upload", "Web address", "Sample"
# None would show as a box without a choice.
NO_NOISE = "no"
PRETRAINED = {"auto": "Automatic", **{name: model.label for name, model in MODELS.items()}}
# A level set by hand, beside the kinds of noise
BY_HAND = "by hand"
KIND_LABELS = {
    **{name: kind.label for name, kind in NOISE_KINDS.items()},
    BY_HAND: "White, level set by hand",
}
# Grey levels of 255
MAX_SIGMA = 128
# Units of progress by activity
STEPS = {"Denoising": "tiles", "Denoising the stack": "planes"}
# Seconds between updates. Many users may wait, and each update takes time from the running job.
UPDATE_INTERVALS = {"waiting": 2.0, "running": 0.5}
# Name of torch's allocator, in the RuntimeError that it raises without memory
TORCH_ALLOCATOR = "DefaultCPUAllocator"
ABANDONED = "This page was inactive for a while, and the job was cancelled. Start it again."
# Magnification, and the side of the enlarged square in pixels
ENLARGEMENTS = {"2": 256, "4": 128, "8": 64}
# Sides in pixels of the squares of the levels of a noise model, and height of a chart on the page
SCALES, CHART_HEIGHT = (1, 2, 4, 8), 260
state = st.session_state


def get_service() -> AppService:
    """Return the service, which all users share."""
    return get_shared_service(Settings.from_environment(), is_page_open)


def page_key() -> str:
    """Return the key of this page, which owns its images."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


def free_upload(uploaded: Any) -> None:
    """Free the memory of an uploaded file, which is on disk now."""
    context = get_script_run_ctx()
    if context is not None:
        # Streamlit's own manager has more methods than its protocol.
        manager: Any = context.uploaded_file_mgr
        manager.remove_file(context.session_id, uploaded.file_id)


def show_page() -> None:
    """Show the page."""
    st.set_page_config(page_title="sk_denoise", page_icon="🧹", layout="centered")
    st.title("Denoise an image", anchor=False)
    # A finished job decides which elements the page has, so it comes before all of them.
    collect_finished_job()
    choose_image()
    image: StoredImage | None = state.get("image")
    if image is None:
        show_job()
        return
    height, width = image.size
    planes = f", {image.n_planes} planes ({image.axes})" if image.axes else ""
    st.caption(f"{escape_markdown(image.name)}: {width} x {height} pixels{planes}")
    request = choose_settings(image)
    is_clicked = st.button("Denoise", type="primary", key="denoise", width="stretch")
    if state.pop("is_new_image", False) or is_clicked:
        submit_job(lambda: get_service().denoise(image, request, page_key()))
    show_job()
    result: StoredResult | None = state.get("result")
    if result is not None and result.image.key == image.key:
        show_result(result, request)


def choose_image() -> None:
    """Show the three ways to choose an image."""
    source = st.segmented_control(
        "Where is the image?",
        [UPLOAD, WEB, SAMPLE],
        default=UPLOAD,
        required=True,
        key="source",
        label_visibility="collapsed",
        width="stretch",
    )
    if source == UPLOAD:
        upload_image()
    elif source == WEB:
        enter_web_address()
    else:
        choose_sample()


def upload_image() -> None:
    """Show the box for uploads, and store an uploaded image."""
    settings = get_service().settings
    uploaded = st.file_uploader(
        f"An image of up to {settings.megapixels} megapixels, or a stack: PNG, JPEG, TIFF, WebP and others",
        type=sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES),
        max_upload_size=settings.upload_megabytes,
        key=f"upload-{state.setdefault('n_uploads', 0)}",
    )
    st.caption(f"Images are deleted {describe_seconds(settings.patience)} after you close this page.")
    if uploaded is not None:
        store(lambda: get_service().store_image(uploaded.name, uploaded.getvalue(), page_key()))
        free_upload(uploaded)
        # Under a new key the box is empty.
        state.n_uploads += 1
        st.rerun()


def describe_seconds(seconds: int) -> str:
    """Return a time in words, of minutes where it has some."""
    number, unit = (seconds, "second") if seconds < 120 else (-(-seconds // 60), "minute")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def enter_web_address() -> None:
    """Show the form for a web address."""
    with st.form("web", border=False):
        url = st.text_input("The address of an image", placeholder="https://example.org/image.jpg", key="url")
        is_submitted = st.form_submit_button("Fetch", width="stretch")
    if is_submitted:
        submit_job(lambda: get_service().fetch_image(url.strip(), page_key()))


def choose_sample() -> None:
    """Show the sample images."""
    name = st.pills("Clean images, to which noise is added", list(SAMPLES), key="sample")
    if name is not None and state.get("last_sample") != name:
        state.last_sample = name
        store(lambda: get_service().store_sample(name, page_key()))


def store(function: Callable[[], StoredImage | UploadedModel]) -> None:
    """Store an image or a model, or show the error message."""
    state.pop("message", None)
    try:
        stored = function()
    except Exception as error:
        log_failure("A file was rejected", error)
        set_message(error_text(error))
        return
    if isinstance(stored, StoredImage):
        set_image(stored)
    else:
        state.uploaded_model, state.model = stored, stored.key


def set_image(image: StoredImage) -> None:
    """Replace the image of the page, and clear the result of the previous one."""
    state.image, state.is_new_image = image, True
    state.pop("message", None)
    state.noise = "gaussian" if image.is_clean else NO_NOISE
    if not image.is_clean:
        state.last_sample = None
    state.pop("result", None)


def choose_settings(image: StoredImage) -> DenoisingRequest:
    """Show the settings, with defaults that suit most images."""
    with st.expander("Settings", icon=":material/tune:"):
        left, right = st.columns(2)
        with left:
            model = select_model()
            ensemble = st.checkbox(
                "Thorough",
                key="ensemble",
                help="Averages over eight rotations and reflections of the image: slightly better, and eight "
                "times slower.",
            )
            replaces_outliers = st.checkbox(
                "Replace hot pixels",
                key="outliers",
                help="Replaces single pixels that are far brighter or darker than all their neighbours.",
            )
        with right:
            kind, sigma = choose_noise(model)
            percent = st.slider(
                "Strength, in % of the noise",
                0,
                100,
                100,
                5,
                key="percent",
                help="Below 100 the result is a blend with the image.",
            )
        # Noise is added to one image.
        noise, amount = (None, 0.0) if image.axes else choose_added_noise(image)
    return DenoisingRequest(
        model,
        kind,
        sigma,
        percent / 100,
        "replace" if replaces_outliers else "keep",
        ensemble,
        noise,
        amount,
    )


def select_model() -> str:
    """Show the pretrained models, and the box to upload another one."""
    model: UploadedModel | None = state.get("uploaded_model")
    choices = {**PRETRAINED, **({model.key: model.name} if model else {})}
    with st.popover("Open a model of yours", width="stretch"):
        uploaded = st.file_uploader(
            "A fitted ImageDenoiser, saved by sk_denoise.persistence.save",
            type=["safetensors"],
            key=f"models-{state.setdefault('n_models', 0)}",
        )
        if uploaded is not None:
            state.n_models += 1
            with st.spinner("Opening the model"):
                store(lambda: get_service().store_model(uploaded.name, uploaded.getvalue(), page_key()))
            free_upload(uploaded)
            st.rerun()
    selected: str = st.selectbox("Model", list(choices), format_func=choices.__getitem__, key="model")
    return selected


def choose_noise(model: str) -> tuple[Any, float | None]:
    """Show the kinds of noise; return the kind, and a level set by hand or None."""
    kinds = list(KIND_LABELS)
    if model in MODELS and MODELS[model].is_blind:
        kinds = ["auto"]
    elif model not in PRETRAINED:
        # Networks of users remove the noise of their training.
        kinds = ["auto", BY_HAND]
    # The model may have changed since the choice.
    if state.get("kind") not in kinds:
        state.kind = "auto"
    kind: str = st.selectbox(
        "Noise of the image",
        kinds,
        format_func=KIND_LABELS.__getitem__,
        key="kind",
        help="\n".join(
            f"- {entry.label}: {entry.description}" for entry in NOISE_KINDS.values() if entry.description
        ),
    )
    if kind != BY_HAND:
        return kind, None
    return "auto", float(st.slider("Standard deviation, of 255", 0, MAX_SIGMA, 15, key="sigma"))


def choose_added_noise(image: StoredImage) -> tuple[str | None, float]:
    """Show the noise to add first; return its name and amount."""
    # Streamlit drops the value of a widget that the last run did not show.
    if "noise" not in state:
        state.noise = "gaussian" if image.is_clean else NO_NOISE
    noise = st.selectbox(
        "Add noise first (to a clean image, which the result is compared with)",
        [NO_NOISE, *NOISE_CHOICES],
        format_func=lambda name: "No" if name == NO_NOISE else NOISE_CHOICES[name].label,
        key="noise",
    )
    if noise == NO_NOISE:
        return None, 0.0
    slider = NOISE_CHOICES[noise].amount
    label = f"{slider.label}{slider.unit.suffix}"
    amount = st.slider(label, 1, slider.slider_max, slider.slider_start, 1, key=f"amount-{noise}")
    return noise, float(amount)


def submit_job(submit: Callable[[], QueuedJob[Any]]) -> None:
    """Submit a job in place of the previous job of this page."""
    cancel_job()
    state.job = None
    state.pop("message", None)
    try:
        state.job = submit()
    except QueueFullError as error:
        set_message(error_text(error))


def set_message(text: str, kind: str = "error") -> None:
    """Set the message of the page, which stays until the next job."""
    state.message = kind, text


def cancel_job() -> None:
    """Cancel the job of this page."""
    job: QueuedJob[Any] | None = state.get("job")
    if job is not None:
        job.cancel()


def collect_finished_job() -> None:
    """Take the result or the error of a finished job."""
    job: QueuedJob[Any] | None = state.get("job")
    if job is None or not job.is_finished:
        return
    state.job = None
    if job.state == "cancelled":
        set_message("Cancelled." if job.is_cancelled else ABANDONED, "info")
    elif job.error is not None:
        set_message(error_text(job.error))
    elif isinstance(job.result, StoredImage):
        set_image(job.result)
    else:
        state.result = job.result


def show_job() -> None:
    """Show the message of the page and the progress of its job."""
    if "message" in state:
        kind, text = state.message
        {"info": st.info, "error": st.error}[kind](escape_markdown(text))
    job: QueuedJob[Any] | None = state.get("job")
    if job is not None:
        job.keep_alive()
        job_state = job.state
        st.fragment(watch_job, run_every=UPDATE_INTERVALS.get(job_state, 0.5))(job, job_state)


def watch_job(job: QueuedJob[Any], last_state: str) -> None:
    """Show the progress of a job, and rerun the page when its state changes."""
    job.keep_alive()
    if job.is_finished or job.state != last_state:
        st.rerun()
    done, total, activity = job.progress
    n_ahead = get_service().queue.count_ahead(job)
    if job.state == "waiting":
        others = "1 image is" if n_ahead == 1 else f"{n_ahead} images are"
        text = f"Waiting: {others} ahead of yours" if n_ahead else "Waiting: your image is next"
        st.progress(0.0, text=text)
    elif total:
        steps = f": {done} of {total} {STEPS[activity]}" if activity in STEPS else ""
        st.progress(min(1.0, done / total), text=f"{activity}{steps}")
    else:
        st.progress(0.0, text=f"{activity or 'Starting'} ...")
    st.button("Cancel", key="cancel", on_click=cancel_job, width="stretch")


def error_text(error: BaseException) -> str:
    """Describe an error to the user, without details of the server."""
    if isinstance(error, ExpiredError):
        return "The image was deleted to make room for others. Send it again."
    if isinstance(error, MemoryError) or TORCH_ALLOCATOR in str(error):
        return "There is not enough memory for this image. Send a part of it, or a smaller copy."
    if isinstance(error, QueueFullError):
        return "Too many images are waiting here at the moment. Try again in a few minutes."
    if isinstance(error, JobTimeoutError):
        return (
            f"This took longer than {get_service().settings.minutes} minutes, the time limit for an image. "
            "Send a part of it, or a smaller copy, or choose a faster model."
        )
    if isinstance(error, WorkerCrashedError):
        return (
            "The work on this image ended unexpectedly: the image may need more memory than there is, or be "
            "damaged. Start it again. If this repeats, send a part of the image, or save it as PNG or TIFF."
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk of this app is full at the moment. Try again later."
    if isinstance(error, ValueError | DownloadError):
        return str(error)
    # Other messages may contain paths of the server.
    return f"An unexpected error occurred ({type(error).__name__}). See the log of the app."


def show_result(result: StoredResult, request: DenoisingRequest) -> None:
    """Show a result: notes, views, quality and downloads."""
    try:
        if result.request != request:
            st.info("The settings were changed. Press Denoise to apply them.")
        for note in result.details.notes:
            st.warning(escape_markdown(note))
        st.markdown(describe_noise(result.details))
        if is_unchanged(result.details):
            st.info(
                "The image is unchanged. If you see noise in it, open the settings: choose the noise "
                f'"{KIND_LABELS["camera"]}", or set the level by hand.'
            )
        show_views(result)
        show_quality(result.details)
        show_downloads(result)
    except ExpiredError:
        state.pop("result")
        st.warning("This result was deleted to make room for others. Press Denoise to compute it again.")


def describe_noise(details: DenoisingResult) -> str:
    """Return sentences on the noise, the change of the image and the time."""
    if len(details.noise) == 1:
        level = f"Estimated: **{escape_markdown(str(details.noise[0]))}**."
        if details.sigma is not None and round(details.sigma, 1) != round(_of_255(details.noise[0]), 1):
            level += f" Taken as {details.sigma:.1f} of 255."
    elif details.noise:
        channels = (f"channel {i}, {noise}" for i, noise in enumerate(details.noise, 1))
        level = f"Estimated: **{escape_markdown('; '.join(channels))}**."
    elif details.sigma is not None:
        level = f"Noise: {details.sigma:.1f} of 255, as set."
    else:
        level = "This model needs no noise level."
    removed = "" if is_unchanged(details) else f"Removed: {details.removed:.1f} of 255. "
    return f"{level} {removed}Denoised in {details.seconds:.1f} s."


def _of_255(noise: NoiseModel) -> float:
    return 255 * noise.sigma / noise.intensity_range.span


def is_unchanged(details: DenoisingResult) -> bool:
    """Return whether nothing was removed because the image has no visible noise."""
    return (
        bool(details.noise) and all(noise.kind == "none" for noise in details.noise) and not details.removed
    )


def show_quality(details: DenoisingResult) -> None:
    """Show PSNR and SSIM if the clean image is available, else the expected PSNR."""
    before, after = details.quality_before, details.quality_after
    if before is None or after is None:
        show_expected_quality(details.expected)
        return
    with st.container(horizontal=True):
        show_metric("PSNR", before.psnr, after.psnr, ".2f", " dB")
        if before.ssim is not None and after.ssim is not None:
            show_metric("SSIM", before.ssim, after.ssim, ".3f", "")


def show_expected_quality(expected: QualityEstimate | str) -> None:
    """Show the expected PSNR with its interval, or the reason why it is missing."""
    if isinstance(expected, str):
        if expected:
            st.caption(escape_markdown(expected))
        return
    with st.container(horizontal=True):
        show_metric("Expected PSNR", expected.noisy_psnr, expected.psnr, ".1f", " dB")
    low, high = expected.interval
    # 100 dB stands for an error too small to be told from 0.
    reach = f"{low:.1f} to {high:.1f} dB" if high < 100 else f"at least {low:.1f} dB"
    st.caption(
        f"Estimated without the clean image, from the middle of this one: {reach} with "
        f"{100 * expected.confidence:g} % confidence, for noise that is independent between pixels."
    )


def show_metric(name: str, before: float, after: float, format_spec: str, unit: str) -> None:
    """Show a metric before and after denoising."""
    change = f"{after - before:+{format_spec}}{unit}"
    label = f"{name}, noisy {before:{format_spec}}{unit}"
    st.metric(label, f"{after:{format_spec}}{unit}", change, border=True)


def show_views(result: StoredResult) -> None:
    """Show tabs with the image, an enlarged part, the noise and its measurements."""
    names = ("With noise" if result.request.noise else "Before", "Denoised")
    if result.image.n_planes > 1:
        st.caption("One plane from the middle of the stack is shown.")
    labels = ["Before and after", "Enlarged", "Removed noise"]
    if any(map(has_measurements, result.details.noise)):
        labels.append("Estimate")
    whole_tab, part_tab, residual_tab, *measurement_tabs = st.tabs(labels)
    with whole_tab:
        before, after = get_service().encode_whole_views(result)
        show_before_after(before, after, names=names, pixelated=False, key="whole")
    with part_tab:
        # The images are above the sliders that choose the part.
        place = st.container()
        magnification = st.segmented_control(
            "Magnification",
            list(ENLARGEMENTS),
            default="4",
            required=True,
            format_func="{} x".format,
            key="magnification",
        )
        left, right = st.columns(2)
        across = left.slider("Across, in %", 0, 100, 50, key="across") / 100
        down = right.slider("Down, in %", 0, 100, 50, key="down") / 100
        side = ENLARGEMENTS[magnification]
        before, after, part_residual = get_service().encode_enlarged_views(
            result, across, down, side, residual_gain()
        )
        with place:
            show_before_after(before, after, names=names, pixelated=True, key="part")
    with residual_tab:
        st.slider("Amplification", 1, 20, 4, key="gain")
        residual = get_service().encode_residual_view(result, residual_gain())
        show_single_image(residual, name="Noise removed from the image", pixelated=False, key="residual")
        st.caption("Whole image", text_alignment="center")
        show_single_image(
            part_residual, name="Noise removed from the enlarged part", pixelated=True, key="part-residual"
        )
        st.caption("Enlarged part", text_alignment="center")
        st.caption(
            "Gray means no change. Edges that show here were removed by mistake, as if they were noise."
        )

    for tab in measurement_tabs:
        with tab:
            show_measurements(result.details.noise)


def has_measurements(noise: NoiseModel) -> bool:
    """Return whether a noise model has measurements to show."""
    return len(noise.levels) > 1 if noise.kind == "camera" else noise.points is not None


def show_measurements(noises: tuple[NoiseModel, ...]) -> None:
    """Show the measurements behind noise models."""
    for number, noise in enumerate(noises, 1):
        if not has_measurements(noise):
            continue
        channel = f"Channel {number}. " if len(noises) > 1 else ""
        # Levels at large scales hold texture of the image too. For other kinds they would look like a fault.
        if noise.kind == "camera":
            st.caption(
                f"{channel}Noise level by scale: white noise has the same level at all scales, and that of "
                "cameras and of compression grows."
            )
            scales = [f"{scale} px" for scale in SCALES[: len(noise.levels)]]
            levels = {"scale": scales, "noise level": noise.levels}
            st.bar_chart(levels, x="scale", y="noise level", height=CHART_HEIGHT)
        else:
            st.caption(
                f"{channel}Noise variance by brightness: it is the same for white noise, and grows along a "
                "line for counts."
            )
            assert noise.points is not None
            brightness, variance = noise.points[:, 0], noise.points[:, 1]
            points = {"brightness": brightness, "noise variance": variance}
            st.scatter_chart(points, x="brightness", y="noise variance", height=CHART_HEIGHT)


def residual_gain() -> float:
    """Return the amplification of the residual, before its slider exists too."""
    return float(state.get("gain", 4))


def show_downloads(result: StoredResult) -> None:
    """Show the buttons for downloads; a file is encoded after the click."""
    image = result.image
    stem = f"{PurePath(image.name).stem}-denoised"
    suffixes = dict.fromkeys([image.suffix] if image.axes else [image.suffix, ".png"])
    with st.container(horizontal=True):
        for suffix in suffixes:
            is_converted = result.details.file_range is not None and suffix == ".png"
            st.download_button(
                f"Download {suffix.removeprefix('.').upper()}",
                partial(get_service().encode_file, result, suffix),
                f"{stem}{suffix}",
                key=f"download{suffix}",
                help="16 bits from black to white. TIFF keeps the original values." if is_converted else None,
                # The page does not change, so it need not run again.
                on_click="ignore",
                width="stretch",
                icon=":material/download:",
            )


def escape_markdown(text: str) -> str:
    """Escape text of users and files, so that Markdown shows it unchanged."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]()<>#+-!|~$:.&" else letter for letter in text)


# Streamlit runs this file as __main__; the tests import it.
if __name__ == "__main__":
    show_page()
