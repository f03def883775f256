"""Writing files whole or not at all."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

from .errors import OutputError


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file; it is either there and whole, or as it was before.

    Args:
        path: where to; its folder exists.
        data: the content.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    beside = path.parent / f".{uuid.uuid4().hex}.tmp"  # a rename is atomic only within a folder
    try:
        with beside.open("xb") as file:
            file.write(data)
        os.replace(beside, path)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise OutputError(f"{str(path)!r} cannot be written: {error}: check folder and rights") from error
    finally:
        with suppress(OSError, ValueError):
            beside.unlink()  # gone already, where all went well
