"""What a notebook shows of an explanation: less than the page, and nothing that changes its style."""

from __future__ import annotations

from . import sentences
from .elements import data_uri, element, written
from .sentences import Record, named


def fragment(record: Record, png: bytes | None) -> str:
    """The picture with the map and its words, and what is to be heeded, as HTML for the output of a cell.

    Args:
        record: from `Explanation.record`.
        png: from `Explanation.png`; None where the picture is gone.
    """
    shown = None
    if png is not None:
        alt = f"What speaks for {named(**record['target'])}, over the picture"
        shown = element("img", src=data_uri(png, "png"), alt=alt, style="max-width: 100%")
    region = record["check"] and record["check"].get("region")
    lines = [sentences.decision(record), sentences.method(record)]
    lines += [sentences.bearing(record)] if region else []
    lines += [f"Note: {warning['message']}" for warning in record["warnings"]]
    return written(element("div", shown, *(element("p", line) for line in lines)))
