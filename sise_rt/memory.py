"""The process's memory."""

from __future__ import annotations

import ctypes
import sys


def give_back_memory() -> None:
    """Hand freed memory to the system, as after opening or closing a session: glibc keeps what was small."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # other C libraries have no such function, and no such habit
        trim(0)
