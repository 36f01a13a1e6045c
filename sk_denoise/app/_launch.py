"""Settings of the app, and the launch of its Streamlit server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from sk_denoise._package import require_extra

__all__ = ["Settings", "run"]

PAGE = Path(__file__).with_name("page.py")
VARIABLE_PREFIX = "SK_DENOISE_APP_"


@dataclass(frozen=True)
class Settings:
    """Limits of the app.

    They bound memory, disk space and computing time for any number of users and any image.

    Parameters
    ----------
    megapixels : int
        Largest image, in megapixels. The size is read from the header, before an image is decoded.
    upload_megabytes : int
        Largest file, in megabytes.
    workers : int
        Number of images that are denoised at the same time, each in its own process; other images wait in a
        queue. Memory use grows with this number, not with the number of users.
    waiting : int
        Largest number of images in the queue. Further requests are rejected with an error message.
    disk_megabytes : int
        Disk space for the images and results of all users, in the folder for temporary files. The least
        recently used ones are deleted first.
    patience : int
        Seconds after which a job is cancelled, and images and results are deleted, when their page is no
        longer open.
    minutes : int
        Time limit of one job, in minutes, so that a slow model does not block the queue.
    memory_megabytes : int
        Largest memory of each process that reads or computes, in megabytes, of at least 1000. A job that
        needs more fails with an error message.

    Raises
    ------
    ValueError
        If a value is not a whole number of at least 1, or less than its smallest value.

    Examples
    --------
    >>> from sk_denoise.app import Settings
    >>> Settings(megapixels=24).max_pixels
    24000000
    """

    megapixels: int = 64
    upload_megabytes: int = 200
    workers: int = 1
    waiting: int = 50
    disk_megabytes: int = 4096
    patience: int = 180
    minutes: int = 120
    # Beside the image, PyTorch and the networks take up to half of a gigabyte.
    memory_megabytes: int = field(default=4096, metadata={"min": 1000})

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, minimum = getattr(self, limit.name), limit.metadata.get("min", 1)
            # bool is a subclass of int
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ValueError(f"{limit.name} must be a whole number of at least {minimum}, got {value!r}.")

    @property
    def max_pixels(self) -> int:
        """Largest image, in pixels."""
        return self.megapixels * 10**6

    def to_environment(self) -> dict[str, str]:
        """Return the settings as environment variables."""
        return {_variable_name(limit.name): str(getattr(self, limit.name)) for limit in fields(self)}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from environment variables; missing ones keep their defaults."""
        environment = os.environ if environment is None else environment
        texts = {limit.name: environment.get(_variable_name(limit.name), "") for limit in fields(cls)}
        return cls(**{name: _parse_integer(name, text) for name, text in texts.items() if text})


def run(
    settings: Settings | None = None, *, host: str = "localhost", port: int = 8501, browser: bool = True
) -> None:
    """Serve the web app until it is interrupted.

    The page denoises images that are uploaded, fetched from the web or taken from samples. The app sends no
    data to other servers: it collects no usage statistics, and the page loads no external resources.

    Parameters
    ----------
    settings : Settings, optional
        Limits. By default they are read from environment variables such as ``SK_DENOISE_APP_MEGAPIXELS``.
    host : str, default="localhost"
        Address to listen on. "0.0.0.0" listens on all addresses, so that other machines can open the app.
    port : int, default=8501
        Port to listen on.
    browser : bool, default=True
        Whether to open a browser.

    Raises
    ------
    MissingExtraError
        If Streamlit or another package of the extra ``app`` is missing.

    Examples
    --------
    >>> from sk_denoise.app import Settings, run
    >>> run(Settings(megapixels=24), port=8600)  # doctest: +SKIP
    """
    require_extra("The app", "app")
    settings = Settings.from_environment() if settings is None else settings
    # The page runs as a script of its own and reads its settings from the environment.
    os.environ.update(settings.to_environment())
    from streamlit.web import cli

    cli.main(
        _streamlit_arguments(settings, host, port, browser), prog_name="streamlit", standalone_mode=False
    )


def _streamlit_arguments(settings: Settings, host: str, port: int, browser: bool) -> list[str]:
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": not browser,
        "server.maxUploadSize": settings.upload_megabytes,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        # Tracebacks belong in the log: they show paths of the server.
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        # Python 3.11 cannot parse in two threads at once.
        "runner.magicEnabled": False,
        # With torch in memory, a collection takes a third of a second for each rerun of each user.
        "runner.postScriptGC": False,
    }
    flags = (f"--{name}={str(value).lower()}" for name, value in options.items())
    return ["run", str(PAGE), *flags]


def _variable_name(setting: str) -> str:
    return VARIABLE_PREFIX + setting.upper()


def _parse_integer(setting: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{_variable_name(setting)} must be a whole number, got {text!r}.") from None
