"""What any report must hold to, as a reader, a parser and a browser see it."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """What a browser would see: tags, attributes and the text outside the style sheet."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._is_in_style = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._is_in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._is_in_style = False

    def handle_data(self, data: str) -> None:
        if not self._is_in_style:
            self.text += data


def plain(source: str) -> str:
    """The page's words, with every run of white space as one space."""
    return " ".join(Page(source).text.split())


def drawings(source: str) -> list[str]:
    """The SVG of every drawing."""
    return re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL)


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two `#rrggbb` colours."""

    def luminance(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# Runs in the page that holds the reports in frames: lists what sticks out of each frame, of a
# scroller (tables of the realistic report must not need one) or of its drawing.
_MEASURE = """
addEventListener("load", () => {
  const found = [];
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, root = page.documentElement;
    const tell = (what, by) => found.push(`${frame.title}: ${what} by ${Math.round(by)} px`);
    const excess = root.scrollWidth - frame.clientWidth;
    if (excess > 0) tell("page", excess);
    for (const one of page.querySelectorAll("body *")) {
      const box = one.getBoundingClientRect();
      if (!box.width || one.closest("svg")) continue;
      if (frame.dataset.scrolls && one.closest(".scroll")) continue;
      const over = Math.max(box.right - frame.clientWidth, -box.left);
      if (over > 0.5) tell(`${one.tagName}.${one.className}`, over);
    }
    for (const text of page.querySelectorAll("svg text")) {
      const box = text.getBoundingClientRect();
      if (!box.width) continue;
      const around = text.closest("svg").getBoundingClientRect();
      const over = Math.max(box.right - around.right, around.left - box.left,
                            box.bottom - around.bottom, around.top - box.top);
      if (over > 1.5) tell(`svg text ${text.textContent.slice(0, 30)}`, over);
    }
    const all = [...page.querySelectorAll("svg")];
    const shown = all.filter(one => one.getBoundingClientRect().width);
    found.push(`${frame.title}: ${shown.length} drawings shown`);
  }
  document.body.innerHTML = "";
  document.body.textContent = JSON.stringify(found);
});
"""


def browser_complaints(
    sources: Mapping[str, str], widths: Sequence[int], *, folder: Path, scrolls: Sequence[str] = ()
) -> tuple[list[str], list[int]]:
    """What sticks out of the reports at these widths, and how many drawings each shows.

    Args:
        sources: Pages by name.
        widths: In px.
        folder: For the page that holds them, and the browser's profile.
        scrolls: Names of pages whose tables may need a scroller.
    """
    assert CHROMIUM is not None
    frames = ""
    for name, source in sources.items():
        for width in widths:
            frames += (
                f'<iframe title="{name} {width}" data-scrolls="{"yes" if name in scrolls else ""}" '
                f'srcdoc="{html.escape(source)}" '
                f'style="width:{width}px;height:900px;border:0"></iframe>'
            )
    page = folder / "frames.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><body>{frames}<script>{_MEASURE}</script>", "utf-8"
    )
    told = _dump_dom(CHROMIUM, page, profile=folder / "profile")
    drawn = [line for line in told if line.endswith("drawings shown")]
    assert len(drawn) == len(sources) * len(widths)
    return [line for line in told if line not in drawn], [int(one.split()[-3]) for one in drawn]


def _dump_dom(chromium: str, page: Path, *, profile: Path) -> list[str]:
    switches = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --window-size=1300,900"
    )
    done = subprocess.run(
        [
            chromium,
            *switches.split(),
            f"--user-data-dir={profile}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    body = re.search(r"<body>(.*)</body>", done.stdout, flags=re.DOTALL)
    assert body, done.stdout[:500]
    told: list[str] = json.loads(html.unescape(body.group(1)))
    return told
