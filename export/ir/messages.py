"""Words for error messages: the gist of a foreign exception, and shapes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sise_rt.errors import SiseError

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
RUNTIMES = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")  # what ONNX Runtime begins a message with
RUNNING = re.compile(
    r"Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: "
)


def gist(error: BaseException) -> str:
    """The first line of what an exception was raised from, cut to 300 characters.

    Empty lines and colours are left out. So are the settings of an error of sise-rt: whoever raises it again
    passes them on. Where there is no text, it is the exception's type.
    """
    while error.__cause__ is not None and not isinstance(error, SiseError):
        error = error.__cause__
    text = error.message if isinstance(error, SiseError) else str(error)
    text = RUNNING.sub(r"node '\2' (\1): ", RUNTIMES.sub("", COLOURS.sub("", text)))
    lines = text.splitlines()
    return next((line for line in lines if line.strip()), type(error).__name__)[:300]


def described(shape: Sequence[int | str | None]) -> str:
    """A shape as `(?, 3, 224, 224)`, where ? is free."""
    return "(" + ", ".join("?" if d is None else str(d) for d in shape) + ")"
