"""Start the app: Streamlit, with what an app for strangers needs."""

from __future__ import annotations

import os
from pathlib import Path

from sk_denoise._extras import require_extra
from sk_denoise.app._settings import Settings

__all__ = ["run"]

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
