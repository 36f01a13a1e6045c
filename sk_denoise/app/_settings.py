"""What whoever runs the app can set, and how it reaches the page: by environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

__all__ = ["Settings"]

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
