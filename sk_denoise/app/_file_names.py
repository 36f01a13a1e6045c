"""Names for files, from what servers and addresses say: no folders, nothing hidden, short."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import unquote

from sk_denoise.app._urls import Url

__all__ = ["file_name", "safe_name"]

LONGEST = 60  # characters: 240 bytes at most, which all file systems take
LONGEST_HEADER = 2048
EXTENDED = re.compile(r"filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)
QUOTED = re.compile(r'filename\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)
BARE = re.compile(r'filename\s*=\s*([^;\s"]+)', re.IGNORECASE)


def file_name(url: Url, disposition: str | None = None) -> str:
    """Return what an image is called: as the server says, or else as its address ends.

    Parameters
    ----------
    url : Url
        Where it came from.
    disposition : str, optional
        The header ``Content-Disposition``.

    Returns
    -------
    str
        The name of a file, "image" where there is none.

    Examples
    --------
    >>> from sk_denoise.app._file_names import file_name
    >>> from sk_denoise.app._urls import parse
    >>> file_name(parse("https://example.com/of/my%20cat.png?size=large"))
    'my cat.png'
    >>> file_name(parse("https://example.com/42"), "attachment; filename=../cat.png")
    'cat.png'
    """
    said = safe_name(_said(disposition or ""))
    return said or safe_name(unquote(url.path)) or "image"


def safe_name(name: str) -> str:
    """Return the last part of a path as a name that is safe to show and to write; "" where none is left."""
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    name = "".join(character for character in name if character.isprintable())
    name = re.sub(r'[<>:"|?*]', "_", name).strip(". ")  # what Windows does not take, and what hides a file
    suffix = PurePosixPath(name).suffix
    if len(name) > LONGEST and len(suffix) <= 10:
        return name[: LONGEST - len(suffix)].rstrip(". ") + suffix
    return name[:LONGEST].rstrip(". ")


def _said(disposition: str) -> str:
    """Return the name in a header, by RFC 6266, as far as servers keep to it."""
    header = disposition[:LONGEST_HEADER]
    if extended := EXTENDED.search(header):
        return unquote(extended[2], extended[1])
    if quoted := QUOTED.search(header):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    bare = BARE.search(header)
    return bare[1] if bare else ""
