"""The page: sections put into the template, with everything inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files

import fastlrp
from fastlrp.reporting.parts import Section

#: Most bytes of a page, whatever it is about.
LIMIT = 2_000_000


def page(title: str, lead: str, sections: Sequence[Section], stocks: Callable[[int], str], asset: str) -> bytes:
    """The whole page in UTF-8, at most ``LIMIT`` bytes; ``stocks`` gives the cross-section in the bytes that are left.

    Text from files is escaped, by the template and by ElementTree; the content security policy lets the page load
    nothing, and run its own script alone.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    here = files("fastlrp.reporting")
    source, style, script = ((here / f"page.{end}").read_text(encoding="utf-8") for end in ("html.jinja", "css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)

    ours = {"style": Markup(style), "script": Markup(script)}  # noqa: S704  # files of this package

    def filled(stocks: str) -> bytes:
        embedded = Markup(stocks)  # noqa: S704  # JSON, with every < escaped
        text: str = template.render(
            title=title, lead=lead, sections=sections, version=fastlrp.__version__, **ours,
            script_hash=f"sha256-{digest}", stocks=embedded, asset=asset,
        )  # fmt: skip
        return text.encode()

    room = LIMIT - len(filled(""))
    return filled(stocks(room))
