"""Images on the page: one alone, or two over each other, with a line that mouse, finger and keys move."""

from __future__ import annotations

import streamlit as st

__all__ = ["compare", "single"]

HTML = """
<div class="compare">
  <img class="after" draggable="false">
  <img class="before" draggable="false">
  <span class="name left"></span><span class="name right"></span>
  <div class="line"></div>
  <input type="range" min="0" max="100" step="0.5" value="50">
</div>
"""

CSS = """
.compare {
  --at: 50%; --ratio: 1; --shape: clamp(0.25, var(--ratio), 10);  /* thin ones are widened, to be seen */
  position: relative; width: min(100%, 85vh * var(--shape)); aspect-ratio: var(--shape); margin: 0 auto;
  line-height: 0; border-radius: 0.5rem; overflow: hidden;
}
.compare img { display: block; width: 100%; height: 100%; user-select: none; }
.compare.single :not(.after) { display: none; }
.compare img.before {
  position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--at)) 0 0);
}
.compare.pixels img { image-rendering: pixelated; }
.compare .line {
  position: absolute; top: 0; bottom: 0; left: var(--at); width: 0; pointer-events: none;
  border-left: 2px solid white; box-shadow: 0 0 3px black;
}
.compare .line::after {
  content: "\\2194"; position: absolute; top: 50%; left: -1px; transform: translate(-50%, -50%);
  width: 2rem; height: 2rem; line-height: 2rem; border-radius: 50%; text-align: center;
  font-size: 1.2rem; background: white; color: #222; box-shadow: 0 0 4px rgba(0, 0, 0, 0.6);
}
.compare .name {
  position: absolute; bottom: 0.5rem; padding: 0.15rem 0.5rem; border-radius: 0.3rem; line-height: 1.3;
  font-family: var(--st-font); font-size: 0.85rem; background: rgba(0, 0, 0, 0.6); color: white;
}
.compare .left { left: 0.5rem; }
.compare .right { right: 0.5rem; }
.compare input {
  position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; touch-action: pan-y pinch-zoom;
}
.compare:focus-within { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
"""

JS = """
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".compare");
  const handle = root.querySelector("input");
  const move = () => root.style.setProperty("--at", handle.value + "%");
  for (const [side, name] of [["before", data.names[0]], ["after", data.names.at(-1)]]) {
    const image = root.querySelector("img." + side);
    if (data[side] && image.src !== data[side]) image.src = data[side];
    image.alt = name;
  }
  const after = root.querySelector("img.after");
  after.onload = () => root.style.setProperty("--ratio", after.naturalWidth / after.naturalHeight);
  root.querySelector(".left").textContent = data.names[0];
  root.querySelector(".right").textContent = data.names.at(-1);
  root.classList.toggle("pixels", data.pixels);
  root.classList.toggle("single", !data.before);
  handle.setAttribute("aria-label", data.names.join(" and "));
  handle.addEventListener("input", move);
  move();
  return () => handle.removeEventListener("input", move);
}
"""

_component = st.components.v2.component("sk_denoise_compare", html=HTML, css=CSS, js=JS)


def compare(before: str, after: str, *, names: tuple[str, str], pixels: bool, key: str) -> None:
    """Show two images of the same size.

    Parameters
    ----------
    before, after : str
        Their addresses, which may hold them (``data:``).
    names : pair of str
        What stands on them.
    pixels : bool
        Whether pixels show as squares.
    key : str
        Of the element.
    """
    _component(data={"before": before, "after": after, "names": names, "pixels": pixels}, key=key)


def single(image: str, *, name: str, pixels: bool, key: str) -> None:
    """Show an image, as large as those of :func:`compare`; its name is for those who cannot see it."""
    _component(data={"after": image, "names": [name], "pixels": pixels}, key=key)
