"""HTML as a tree of the standard library's, which escapes whatever comes from outside as it is written.

File names, labels and messages are text and values of attributes, and nothing else: there is no way to put
them into the tree as markup.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from sise_rt.wording import printable

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: str | None) -> Element:
    """An element with texts and elements in it, in their order.

    Args:
        tag: its name.
        children: what is in it; None is left out.
        attributes: by their names, with `_` for `-`, and one at the end of what Python keeps for itself
            (`class_`); None is left out.
    """
    names = {key: key.rstrip("_").replace("_", "-") for key in attributes}
    made = Element(
        tag, {names[key]: readable(value) for key, value in attributes.items() if value is not None}
    )
    for child in children:
        if isinstance(child, str):
            put_text(made, readable(child))
        elif child is not None:
            made.append(child)
    return made


def put_text(parent: Element, text: str) -> None:
    """Put text behind what is in an element already."""
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def readable(text: str) -> str:
    """A text of any origin as it can be shown and encoded.

    Control characters and bytes that are no UTF-8, as file names may hold them, are written as escapes. So
    are characters that turn the direction of writing, which would make another name of one.
    """
    return printable(text).encode("utf-8", "backslashreplace").decode("utf-8")


def data_uri(data: bytes, form: str) -> str:
    """A picture's file, of the form `png` or `jpeg`, as an address that holds it."""
    return f"data:image/{form};base64,{base64.b64encode(data).decode('ascii')}"


def document(
    title: str,
    style: str,
    body: Iterable[Child],
    *,
    language: str = "en",
    script: str | None = None,
    frames: str = "'none'",
) -> str:
    """A whole page that loads nothing, and runs nothing and has no style but its own.

    Args:
        title: of the window.
        style: the style sheet, which the page's security policy allows by its hash.
        body: what is in it.
        language: of its words.
        script: what runs when the page is there, likewise allowed by its hash. It cannot make markup of text.
        frames: what the page may show in frames, as the policy's `frame-src` has it.
    """
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; base-uri 'none'; form-action 'none'"
    )
    if script is not None:
        policy += f"; script-src {_digest(script)}; frame-src {frames}; "
        policy += "require-trusted-types-for 'script'; trusted-types 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        _verbatim("style", style),
    )
    last = None if script is None else _verbatim("script", script)
    page = element("html", head, element("body", *body, last), lang=language)
    return f"<!DOCTYPE html>\n{written(page)}\n"


def _digest(text: str) -> str:
    """What the security policy allows a style or a script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _verbatim(tag: str, text: str) -> Element:
    """A style or a script of ours, which is written as it is."""
    made = Element(tag)
    made.text = text
    return made


def bar(part: float) -> Element:
    """A bar of a share in [0, 1]; drawn, because browsers do not print the colours of backgrounds."""
    box = {"height": "10", "x": "0", "y": "0"}
    return element(
        "svg",
        element("rect", class_="all", width="100", **box),
        element("rect", class_="part", width=f"{100 * min(max(part, 0), 1):.2f}", **box),
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def written(tree: Element) -> str:
    """A tree as HTML."""
    return tostring(tree, encoding="unicode", method="html")
