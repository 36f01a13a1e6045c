"""Start the app: Streamlit, with what an app for strangers needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from sk_denoise._extras import require_extra

__all__ = ["Settings", "run"]

PAGE = Path(__file__).with_name("page.py")


def run(
    settings: Settings | None = None, *, host: str = "localhost", port: int = 8501, browser: bool = True
) -> None:
    """Serve the web app, until it is interrupted.

    A page on which images are uploaded, fetched from the web or taken from samples, and denoised. Nothing
    is sent anywhere else: no statistics of use are gathered, and the page takes nothing from other servers.

    Parameters
    ----------
    settings : Settings, optional
        Limits; by default what the environment says (``SK_DENOISE_APP_MEGAPIXELS`` and so on), and else the
        defaults.
    host : str, default="localhost"
        The address to listen on; "0.0.0.0" is for all of them, so that others reach it.
    port : int, default=8501
        The port.
    browser : bool, default=True
        Whether to open a browser.

    Raises
    ------
    MissingExtraError
        Without Streamlit and what else the extra ``app`` brings.

    Examples
    --------
    >>> from sk_denoise.app import Settings, run
    >>> run(Settings(megapixels=24), port=8600)  # doctest: +SKIP
    """
    require_extra("The app", "app")
    settings = Settings.from_environment() if settings is None else settings
    os.environ.update(settings.to_environment())
    from streamlit.web import cli

    cli.main(_arguments(settings, host, port, browser), prog_name="streamlit", standalone_mode=False)


def _arguments(settings: Settings, host: str, port: int, browser: bool) -> list[str]:
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": not browser,
        "server.maxUploadSize": settings.upload_megabytes,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",  # what failed is for the log, not for strangers
        "client.toolbarMode": "minimal",
        "runner.magicEnabled": False,  # Python 3.11 cannot parse in two threads at once
        "runner.postScriptGC": False,  # a third of a second for each look of each user, with torch in memory
    }
    flags = (f"--{name}={str(value).lower()}" for name, value in options.items())
    return ["run", str(PAGE), *flags]


PREFIX = "SK_DENOISE_APP_"


@dataclass(frozen=True)
class Settings:
    """Limits of the app, so that no number of users and no image takes the machine.

    Parameters
    ----------
    megapixels : int
        The largest image. Its size is read from its header, before anything is decoded.
    upload_megabytes : int
        The largest file.
    workers : int
        How many images are worked on at once; the others wait their turn. Memory is needed for so many
        images, whatever the number of users.
    waiting : int
        How many may wait; those who come later are told to come again.
    disk_megabytes : int
        How much room images and results of all users take in the folder for temporary files. Those that
        were looked at longest ago make way.
    patience : int
        Seconds after which work is given up whose page nobody looks at any more.
    minutes : int
        The longest that one image is worked on, so that a slow model does not keep all others waiting.

    Raises
    ------
    ValueError
        For what is no whole number of at least 1.

    Examples
    --------
    >>> from sk_denoise.app import Settings
    >>> Settings(megapixels=24).most_pixels
    24000000
    """

    megapixels: int = 64
    upload_megabytes: int = 200
    workers: int = 1
    waiting: int = 50
    disk_megabytes: int = 4096
    patience: int = 180
    minutes: int = 120

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{field.name} must be a whole number of at least 1, got {value!r}.")

    @property
    def most_pixels(self) -> int:
        """The largest image, in pixels."""
        return self.megapixels * 10**6

    def to_environment(self) -> dict[str, str]:
        """Return the settings as environment variables."""
        return {_variable(field.name): str(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Return the settings that the environment tells; what it does not tell is the default."""
        environment = os.environ if environment is None else environment
        told = {field.name: environment.get(_variable(field.name), "") for field in fields(cls)}
        return cls(**{name: _number(name, text) for name, text in told.items() if text})


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{_variable(name)} must be a whole number, got {text!r}.") from None
