"""Matplotlib figures as SVG that stands inside a page: text as text, colours that follow the page's, few bytes."""

from __future__ import annotations

import re
import warnings
from io import StringIO
from typing import Any
from xml.etree import ElementTree

from fastlrp.plot.canvas import FAINT, GRID, INK, SERIES

#: Colours that the style sheet names, which gives them other values on a dark page.
_NAMED = {INK: "ink", FAINT: "faint", "#ffffff": "paper", "#000000": "ink", GRID: "line"} | {
    colour: f"series{k}" for k, colour in enumerate(SERIES, 1)
}
_MANY = 250  # marks of one kind beyond which they are drawn as an image, whose size their number does not change
_FONT = re.compile(r"(font-family:|font:[^;]*?px) [^;]*")  # matplotlib 3.11 writes the first, earlier ones the second
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # which names may hold
_LONG = re.compile(r"(\d\.\d\d)\d+")


def inline_svg(figure: Any, name: str, words: str) -> str:
    """The figure as an ``<svg>`` element, which is one picture, described in words, to a screen reader.

    ``name`` stands before the names of its parts, so that no two figures of a page share one.
    """
    import matplotlib

    for axes in figure.axes:
        for marks in axes.collections:
            marks.set_rasterized(max(len(marks.get_offsets()), len(marks.get_paths())) > _MANY)
    file = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has fonts for what matplotlib's lacks
        figure.savefig(file, format="svg", dpi=144, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = ElementTree.fromstring(_NO_XML.sub("\ufffd", file.getvalue()))  # noqa: S314  # what matplotlib wrote
    used = {link for part in svg.iter() for value in part.attrib.values() for link in re.findall(r"#([\w.]+)", value)}
    for part in svg.iter():
        part.tag = part.tag.rpartition("}")[2]
        part.tail = None
        part.text = part.text if part.text and part.text.strip() else None
        part.attrib = {key.rpartition("}")[2]: _attribute(name, key, value) for key, value in part.attrib.items()
                       if key != "id" or value in used}  # fmt: skip
        for style in [child for child in part if child.tag.endswith(("}metadata", "}style"))]:
            part.remove(style)
    svg.attrib = {"role": "img", "aria-label": words, "viewBox": svg.attrib["viewBox"]}
    return ElementTree.tostring(svg, encoding="unicode")


def _attribute(name: str, key: str, value: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return "".join(value.split()) if value.startswith("data:") else f"#{name}-{value[1:]}"
    if key == "d":
        return _LONG.sub(r"\1", " ".join(value.split()))
    if key == "style":
        for colour, of in _NAMED.items():
            value = value.replace(colour, f"var(--{of})")
        value = _FONT.sub(r"\1 var(--font)", value)
    return value.replace("url(#", f"url(#{name}-")
