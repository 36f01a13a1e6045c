"""Find links inside the built site that lead nowhere.

python docs/check_links.py docs/_build/html
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the links and the anchors of a tag."""
        for name, value in attrs:
            if value and (
                name in ("href", "src") or (tag == "object" and name == "data")
            ):
                self.links.append(value)
            elif value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)


def broken_links(root: Path) -> list[str]:
    """Return a line for each broken link inside the site."""
    files = sorted(root.rglob("*.html"))
    # files in _static are parts of themes, not pages
    pages = {path: Page(path) for path in files if "_static" not in path.parts}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (
                (path.parent / unquote(parts.path)).resolve() if parts.path else path
            )
            anchor = unquote(parts.fragment)
            found = target.exists() and (
                not anchor or target not in pages or anchor in pages[target].anchors
            )
            if not found:
                broken.append(f"{path.relative_to(root)}: {link}")
    return broken


if __name__ == "__main__":
    site = Path(sys.argv[1]).resolve()
    lines = broken_links(site)
    print(
        "\n".join(lines)
        or f"No broken link among the {len(list(site.rglob('*.html')))} pages."
    )
    sys.exit(bool(lines))
