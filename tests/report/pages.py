"""A report open in a browser, and what can be measured of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BROWSERS", "CLIPPED", "CONTRAST", "OVERLAPS", "PHONE", "WIDE", "Opened", "opened"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE, WIDE = (390, 844), (1280, 900)

CLIPPED = """() => {
  // Text outside the page, or cut off by a box that neither scrolls nor means to hide.
  const found = [];
  const width = document.documentElement.clientWidth;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("script, .sr, .skip, .turned, #tip, nav ul")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (!box.width) continue;
    if (element.closest(".scroll, .strip, pre")) continue;
    if (box.left < -0.5 || box.right > width + 0.5) found.push(node.data.trim().slice(0, 60));
    for (let up = element; up && up !== document.body; up = up.parentElement) {
      if (getComputedStyle(up).overflowX !== "hidden") continue;
      const edge = up.getBoundingClientRect();
      const cut = box.left < edge.left - 1 || box.right > edge.right + 1;
      if (cut) found.push("cut: " + node.data.trim().slice(0, 60));
    }
  }
  return found;
}"""

OVERLAPS = """() => {
  // Words of a plot that lie on one another, and cards that do.
  const found = [];
  const apart = (boxes, what) => {
    for (let i = 0; i < boxes.length; i++) for (let k = i + 1; k < boxes.length; k++) {
      const [a, b] = [boxes[i].box, boxes[k].box];
      const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (x > 1 && y > 2) found.push(`${what}: ${boxes[i].name} and ${boxes[k].name}`);
    }
  };
  const of = (list) => list.filter((e) => e.checkVisibility()).map((e) => ({
    box: e.getBoundingClientRect(), name: e.textContent.trim().slice(0, 30) }));
  for (const svg of document.querySelectorAll(".plot > svg")) {
    const texts = [...svg.querySelectorAll("text")].filter((t) => !t.classList.contains("mark"));
    apart(of(texts), "words");
  }
  const boxes = [...document.querySelectorAll(".card, .chart, .film > *, section > h2")];
  apart(of(boxes.filter((e) => !e.closest(".film .chart"))), "boxes");
  return found;
}"""

CONTRAST = """() => {
  // Contrast of all text with what is behind it (WCAG 2.1, 1.4.3).
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const cache = new Map();
  const rgba = (colour) => {
    if (!cache.has(colour)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
      cache.set(colour, [...pen.getImageData(0, 0, 1, 1).data].map((v) => v / 255));
    }
    return cache.get(colour);
  };
  const light = ([r, g, b]) => {
    const line = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b);
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, .sr, .skip, #tip")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const ink = rgba(element.closest("svg") ? style.fill : style.color);
    let ground = rgba("rgb(255 255 255)");
    for (let up = element; up; up = up.parentElement) {
      const colour = rgba(getComputedStyle(up).backgroundColor);
      if (colour[3] > 0.99) { ground = colour; break; }
    }
    const [a, b] = [light(ink), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    count += 1;
    if (ratio < (large ? 3 : 4.5)) {
      const name = element.className.baseVal ?? element.className;
      found.add(`${ratio.toFixed(2)} ${name}: ${walker.currentNode.data.trim().slice(0, 30)}`);
    }
  }
  return { count, low: [...found] };
}"""


@dataclass
class Opened:
    """A page, and what it complained of or asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)

    def run(self, code: str, *values: Any) -> Any:
        return self.page.evaluate(code, *values)


@contextmanager
def opened(
    browser: Any,
    path: Path,
    *,
    size: tuple[int, int] = WIDE,
    scheme: str = "light",
    script: bool = True,
) -> Iterator[Opened]:
    """The report as a browser shows it from a disk, without a network."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        java_script_enabled=script,
        reduced_motion="reduce",
        offline=True,
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    found = Opened(page)
    own = path.as_uri()
    page.on("console", lambda m: found.said.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda error: found.said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (found.said.append("dialog"), dialog.dismiss()))
    page.on(
        "request",
        lambda r: None if r.url.startswith("data:") or r.url == own else found.asked.append(r.url),
    )
    page.on(
        "requestfailed",
        lambda r: found.blocked.append(r.url) if r.failure == "csp" else None,
    )
    page.goto(own)
    try:
        yield found
    finally:
        context.close()
