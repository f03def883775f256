"""The methods of explaining, one module each, and what is asked of them."""

from .method import Method, Option, Range
from .query import Answer, BlockEvidence, Call, Clock, Finding, Nothing, Preview, Progress, Query, Stop
from .requests import PRESETS, Request, parse, parse_all, repeated, request, with_preset
from .table import METHODS

__all__ = [
    "METHODS",
    "PRESETS",
    "Answer",
    "BlockEvidence",
    "Call",
    "Clock",
    "Finding",
    "Method",
    "Nothing",
    "Option",
    "Preview",
    "Progress",
    "Query",
    "Range",
    "Request",
    "Stop",
    "parse",
    "parse_all",
    "repeated",
    "request",
    "with_preset",
]
