"""Look through the built site for links inside it that lead nowhere.

python docs/check_links.py docs/_build/html
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page and the places in it that links can lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what a tag refers to and what it can be referred to by."""
        for name, value in attrs:
            if value and (name in ("href", "src") or (tag == "object" and name == "data")):
                self.links.append(value)
            elif value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)


def broken_links(root: Path) -> list[str]:
    """Return a line for each link inside the site that leads nowhere."""
    files = (path for path in sorted(root.rglob("*.html")) if "_static" not in path.parts)  # no pages, those
    pages = {path: Page(path) for path in files}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            found = target.exists() and (not anchor or target not in pages or anchor in pages[target].anchors)
            if not found:
                broken.append(f"{path.relative_to(root)}: {link}")
    return broken


if __name__ == "__main__":
    site = Path(sys.argv[1]).resolve()
    lines = broken_links(site)
    print("\n".join(lines) or f"No broken link among the {len(list(site.rglob('*.html')))} pages.")
    sys.exit(bool(lines))
