"""A page read as text: its tables, its elements and what its script reads."""

from __future__ import annotations

import json
from html.parser import HTMLParser

#: Names of features that a page must show as text.
HOSTILE = [
    '</script><script>document.title="owned"</script>',
    'a & b <i>$x^2$</i> {{ 7*7 }} "q"',
    "<img src=x onerror=1>",
]


class Page(HTMLParser):
    """Tables by caption (rows of cells, the head first), elements by tag (their attributes), and scripts."""

    def __init__(self, path):
        super().__init__()
        self.tables, self.elements, self.texts = {}, {}, []
        self._rows, self._cell, self._inside = None, None, []
        self.feed(path.read_text(encoding="utf-8"))

    @property
    def stocks(self):
        (script,) = (text for within, text in self.texts if within == "script" and text.startswith("{"))
        return json.loads(script)

    def text(self, tag):
        return " ".join(text for within, text in self.texts if within == tag)

    def handle_starttag(self, tag, attributes):
        self.elements.setdefault(tag, []).append(dict(attributes))
        self._inside.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass
        if tag == "table":
            self.tables[self._caption], self._rows = self._rows, None

    def handle_data(self, text):
        within = self._inside[-1] if self._inside else ""
        if text.strip():
            self.texts.append((within, text.strip()))
        if within == "caption":
            self._caption += text
        elif within in ("td", "th") and self._rows:
            self._rows[-1][-1] += text
