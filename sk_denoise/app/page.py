"""The page: what Streamlit runs from top to bottom for every user, whenever something is touched."""

from __future__ import annotations

import atexit
import errno
import logging
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any

import streamlit as st

from sk_denoise._registry import MODELS
from sk_denoise.app._download import Refused
from sk_denoise.app._jobs import Full, Job, TooLong
from sk_denoise.app._launch import Settings
from sk_denoise.app._processing import KINDS, Answer, Order
from sk_denoise.app._service import SAMPLES, Gone, Image, Model, Result, Workshop
from sk_denoise.app._slider import compare, single
from sk_denoise.io import IMAGE_SUFFIXES

LOG = logging.getLogger("sk_denoise.app")
UPLOAD, WEB, SAMPLE = "Upload", "Web address", "Sample"
NO_NOISE = "no"  # None would show as a box in which nothing was chosen
IN_THE_BOX = {"auto": "Automatic", **{name: model.label for name, model in MODELS.items()}}
STRONGEST = 128  # of 255: as strong as noise can be added
LOOK_EVERY = {
    "waiting": 2.0,
    "running": 0.5,
}  # seconds: many may wait, and each look takes time from the work
NO_MEMORY = "DefaultCPUAllocator"  # torch's words for it, in a RuntimeError
LEFT_ALONE = "Nobody looked at this page for a while, and the work was given up. Begin it again."
PARTS = {"2": 256, "4": 128, "8": 64}  # how many times enlarged, and the side of the part in pixels
state = st.session_state


@st.cache_resource(show_spinner=False)
def workshop() -> Workshop:
    """Return what all users share."""
    shared = Workshop(Settings.from_environment())
    atexit.register(shared.close)
    shared.warm_up()
    return shared


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="sk_denoise", page_icon="🧹", layout="centered")
    st.title("Denoise an image", anchor=False)
    take()
    choose_image()
    image: Image | None = state.get("image")
    if image is None:
        wait()
        return
    height, width = image.size
    st.caption(f"{plain(image.name)}: {width} x {height} pixels")
    order = choose_order(image)
    again = st.button("Denoise", type="primary", key="denoise", width="stretch")
    if state.pop("is_new", False) or again:
        begin(lambda: workshop().denoise(image, order))
    wait()
    result: Result | None = state.get("result")
    if result is not None and result.image.key == image.key:
        show(result, order)


def choose_image() -> None:
    """Offer the three ways to bring an image."""
    way = st.segmented_control(
        "Where is the image?",
        [UPLOAD, WEB, SAMPLE],
        default=UPLOAD,
        required=True,
        key="way",
        label_visibility="collapsed",
        width="stretch",
    )
    if way == UPLOAD:
        upload()
    elif way == WEB:
        from_the_web()
    else:
        sample()


def upload() -> None:
    """Take a file, and let Streamlit forget it: it lies on the shelf now, not in memory."""
    settings = workshop().settings
    given = st.file_uploader(
        f"An image of up to {settings.megapixels} megapixels: PNG, JPEG, WebP, TIFF or BMP",
        type=sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES),
        max_upload_size=settings.upload_megabytes,
        key=f"upload-{state.setdefault('uploads', 0)}",
    )
    if given is not None:
        bring(lambda: workshop().take(given.name, given.getvalue()))
        state.uploads += 1
        st.rerun()


def from_the_web() -> None:
    """Take an address."""
    with st.form("web", border=False):
        url = st.text_input("The address of an image", placeholder="https://example.org/image.jpg", key="url")
        asked = st.form_submit_button("Fetch", width="stretch")
    if asked:
        begin(lambda: workshop().fetch(url.strip()))


def sample() -> None:
    """Offer images without noise."""
    name = st.pills("Clean images, to which noise is added", list(SAMPLES), key="sample")
    if name is not None and state.get("sampled") != name:
        state.sampled = name
        bring(lambda: workshop().sample(name))


def bring(make: Callable[[], Image | Model]) -> None:
    """Take what is put on the shelf at once, or say why it is not."""
    state.pop("message", None)
    try:
        came = make()
    except Exception as error:
        LOG.warning("A file was not taken", exc_info=True)
        say(in_words(error))
        return
    if isinstance(came, Image):
        new_image(came)
    else:
        state.model, state.chosen = came, came.key


def new_image(image: Image) -> None:
    """Begin anew with an image."""
    state.image, state.is_new = image, True
    state.pop("message", None)
    state.noise = "gaussian" if image.is_clean else NO_NOISE
    if not image.is_clean:
        state.sampled = None
    state.pop("result", None)


def choose_order(image: Image) -> Order:
    """Offer what can be chosen, with what is right for most as it stands."""
    with st.expander("Settings", icon=":material/tune:"):
        left, right = st.columns(2)
        with left:
            model = choose_model()
            ensemble = st.checkbox(
                "Thorough",
                key="ensemble",
                help="Averages over the image turned and mirrored in eight ways: a little better, and "
                "eight times as long.",
            )
        with right:
            sigma, strength = choose_level()
        noise, amount = choose_noise(image)
    return Order(model, sigma, strength, ensemble, noise, amount)


def choose_model() -> str:
    """Offer the models in the box, and one that the user brings."""
    own: Model | None = state.get("model")
    choices = {**IN_THE_BOX, **({own.key: own.name} if own else {})}
    with st.popover("Open a model of yours", width="stretch"):
        given = st.file_uploader(
            "A file that sk_denoise.persistence.save wrote, of a fitted ImageDenoiser",
            type=["safetensors"],
            key=f"models-{state.setdefault('models', 0)}",
        )
        if given is not None:
            state.models += 1
            with st.spinner("Opening the model"):
                bring(lambda: workshop().take_model(given.name, given.getvalue()))
            st.rerun()
    chosen: str = st.selectbox("Model", list(choices), format_func=choices.__getitem__, key="chosen")
    return chosen


def choose_level() -> tuple[float | None, float]:
    """Offer to say how strong the noise is."""
    how = st.radio("Strength of the noise", ["Estimated", "Set by hand"], key="how", horizontal=True)
    if how == "Estimated":
        percent = st.slider("Strength, in % of the estimate", 25, 200, 100, 5, key="percent")
        return None, percent / 100
    return float(st.slider("Standard deviation, of 255", 0, STRONGEST, 15, key="sigma")), 1.0


def choose_noise(image: Image) -> tuple[str | None, float]:
    """Offer to add noise, for an image that has none."""
    if "noise" not in state:
        state.noise = "gaussian" if image.is_clean else NO_NOISE
    noise = st.selectbox(
        "Add noise first (for a clean image: the result is then compared with it)",
        [NO_NOISE, *KINDS],
        format_func=lambda kind: "No" if kind == NO_NOISE else KINDS[kind].label,
        key="noise",
    )
    if noise == NO_NOISE:
        return None, 0.0
    kind = KINDS[noise]
    label = f"{kind.amount.label}{kind.amount.unit.words}"
    amount = st.slider(label, 1, kind.amount.most, kind.amount.start, 1, key=f"amount-{noise}")
    return noise, float(amount)


def begin(submit: Callable[[], Job[Any]]) -> None:
    """Put work in a queue, in place of what this user waited for before."""
    cancel()
    state.job = None
    state.pop("message", None)
    try:
        state.job = submit()
    except Full:
        say("Too many images are waiting here at the moment. Try again in a few minutes.")


def say(words: str, kind: str = "error") -> None:
    """Tell the user something, until the next work begins."""
    state.message = kind, words


def cancel() -> None:
    """Give up what this user waits for."""
    job: Job[Any] | None = state.get("job")
    if job is not None:
        job.cancel()


def take() -> None:
    """Take what came of work that is over: before anything is drawn, for it decides what is."""
    job: Job[Any] | None = state.get("job")
    if job is None or not job.is_over:
        return
    state.job = None
    if job.state == "cancelled":
        say("Cancelled." if job.is_cancelled else LEFT_ALONE, "info")
    elif job.error is not None:
        say(in_words(job.error))
    elif isinstance(job.result, Image):
        new_image(job.result)
    else:
        state.result = job.result


def wait() -> None:
    """Show what there is to say, and how far the work is."""
    if "message" in state:
        kind, words = state.message
        {"info": st.info, "error": st.error}[kind](plain(words))
    job: Job[Any] | None = state.get("job")
    if job is not None:
        job.look()
        seen = job.state
        st.fragment(watch, run_every=LOOK_EVERY.get(seen, 0.5))(job, seen)


def watch(job: Job[Any], seen: str) -> None:
    """Look at the work again and again, until it is over or its turn comes."""
    job.look()
    if job.is_over or job.state != seen:
        st.rerun()
    done, total, what = job.progress
    before = workshop().queue.before(job)
    if job.state == "waiting":
        others = "1 image is" if before == 1 else f"{before} images are"
        words = f"Waiting: {others} before yours" if before else "Waiting: yours is the next image"
        st.progress(0.0, text=words)
    elif total:
        tiles = f": {done} of {total} tiles" if what == "Denoising" else ""
        st.progress(min(1.0, done / total), text=f"{what}{tiles}")
    else:
        st.progress(0.0, text=f"{what or 'Beginning'} ...")
    st.button("Cancel", key="cancel", on_click=cancel, width="stretch")


def in_words(error: BaseException) -> str:
    """Return what went wrong, for the user; what is not meant for users stays in the log."""
    if isinstance(error, Gone):
        return "The image was put away to make room for others. Send it again."
    if isinstance(error, MemoryError) or NO_MEMORY in str(error):
        return "There is not enough memory for this image. Send a part of it, or a smaller copy."
    if isinstance(error, TooLong):
        return (
            f"This took longer than {workshop().settings.minutes} minutes, the most that an image is given "
            "here. Send a part of it, or a smaller copy, or take a faster model."
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "There is no room on the disk of this app at the moment. Try again later."
    if isinstance(error, ValueError | Refused):
        return str(error)
    return f"Something went wrong that the app did not expect ({type(error).__name__}). Its log tells more."


def show(result: Result, order: Order) -> None:
    """Show what became of an image."""
    try:
        if result.order != order:
            st.info("The settings were changed. Press Denoise to see what they do.")
        for note in result.answer.notes:
            st.warning(plain(note))
        st.markdown(level_in_words(result.answer))
        views(result)
        figures(result.answer)
        downloads(result)
    except Gone:
        state.pop("result")
        st.warning("This result was put away to make room for others. Press Denoise to make it again.")


def level_in_words(answer: Answer) -> str:
    """Return how strong the noise is, and how long denoising took."""
    if answer.sigma is None:
        level = "This model finds out by itself how strong the noise is."
    elif answer.estimated is None:
        level = f"Noise: {answer.sigma:.1f} of 255, as set."
    else:
        level = f"Noise: estimated at **{answer.estimated:.1f} of 255**"
        level += "." if answer.sigma == answer.estimated else f", taken as {answer.sigma:.1f}."
    return f"{level} Denoised in {answer.seconds:.1f} s."


def figures(answer: Answer) -> None:
    """Show how near the image came to the clean one, where that is known."""
    if answer.before is None or answer.after is None:
        return
    with st.container(horizontal=True):
        metric("PSNR", answer.before.psnr, answer.after.psnr, ".2f", " dB")
        if answer.before.ssim is not None and answer.after.ssim is not None:
            metric("SSIM", answer.before.ssim, answer.after.ssim, ".3f", "")


def metric(name: str, before: float, after: float, form: str, unit: str) -> None:
    """Show a figure before and after."""
    change = f"{after - before:+{form}}{unit}"
    st.metric(f"{name}, noisy {before:{form}}{unit}", f"{after:{form}}{unit}", change, border=True)


def views(result: Result) -> None:
    """Show the image before and after, a part of it, and what was taken away."""
    names = ("With noise" if result.order.noise else "Before", "Denoised")
    whole, part, taken = st.tabs(["Before and after", "Enlarged", "What was taken away"])
    with whole:
        before, after = workshop().whole(result)
        compare(before, after, names=names, pixels=False, key="whole")
    with part:
        place = st.container()
        times = st.segmented_control(
            "Times enlarged",
            list(PARTS),
            default="4",
            required=True,
            format_func="{} x".format,
            key="times",
        )
        left, right = st.columns(2)
        across = left.slider("Across, in %", 0, 100, 50, key="across") / 100
        down = right.slider("Down, in %", 0, 100, 50, key="down") / 100
        before, after, difference = workshop().part(result, across, down, PARTS[times], gain())
        with place:
            compare(before, after, names=names, pixels=True, key="part")
    with taken:
        st.slider("Times as strong", 1, 20, 4, key="gain")
        single(workshop().taken(result, gain()), name="Taken from the whole", pixels=False, key="taken")
        st.caption("From the whole image", text_alignment="center")
        single(difference, name="Taken from the enlarged part", pixels=True, key="taken-part")
        st.caption("From the enlarged part", text_alignment="center")
        st.caption("Gray where nothing was taken away. Edges that show here were taken for noise.")


def gain() -> float:
    """Return how strongly differences show."""
    return float(state.get("gain", 4))


def downloads(result: Result) -> None:
    """Offer the image as a file, which is made when it is asked for."""
    image, answer = result.image, result.answer
    stem = f"{PurePath(image.name).stem}-denoised"
    suffixes = dict.fromkeys([image.suffix, ".png"])
    with st.container(horizontal=True):
        for suffix in suffixes:
            to_16_bits = answer.file_range is not None and suffix == ".png"
            st.download_button(
                f"Download {suffix.removeprefix('.').upper()}",
                partial(workshop().file, result, suffix),
                f"{stem}{suffix}",
                key=f"download{suffix}",
                help="16 bits from black to white; TIFF keeps the numbers." if to_16_bits else None,
                on_click="ignore",
                width="stretch",
                icon=":material/download:",
            )


def plain(text: str) -> str:
    """Return text of users and files so that Markdown leaves it as it is."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]()<>#+-!|~$:.&" else letter for letter in text)


if __name__ == "__main__":
    main()
