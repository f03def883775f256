"""What a single file, `explain.onnx`, says of itself in its metadata."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from .errors import BundleError
from .manifest import Block, Origin
from .preprocessing import Preprocess

OWN_KEYS = ("labels", "preprocessing")  # without a prefix: whoever runs the file needs them
PREFIX = "sise_rt."
FORMAT = "1"  # of the file: its inputs, outputs and metadata
FINE, SILENT, FLAT, NOT_FINITE, IMPOSSIBLE = range(5)  # values of the output `status`


@dataclass(frozen=True)
class SelfTest:
    """A small picture, and what the file gives for it where it was made.

    Attributes:
        pixels: (C, rows, columns) uint8 in base64, enlarged by repeating pixels to the input's size.
        shape: (C, rows, columns).
        max_masks: that were scored at most; 0 where the method scores none.
        target: the best class.
        confidence: in it.
        status: of the run.
        cells: means of the explanation over at most 16 x 16 cells, row by row.
    """

    pixels: str
    shape: tuple[int, int, int]
    max_masks: int
    target: int
    confidence: float
    status: int
    cells: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Facts:
    """What a single file says of itself.

    Attributes:
        labels: one a class, or empty if unknown.
        preprocessing: how a picture becomes the model's input; what the graph does itself where `picture`.
        format: of the file, `1`.
        version: of the sise-rt that made it.
        name: of the model.
        method: `sise`, or one of the gradient CAMs.
        activation: as of `Manifest`, as are the next ones.
        blocks: whose maps are explained by.
        source: the model.
        assumed: what nobody said of the model.
        described: what was taken from which of its files.
        warnings: what makes explanations mean something else than one would think.
        licence: of the weights.
        picture: whether the graph takes pixels, uint8 (height, width, 3), and does the preprocessing itself.
        parity: errors against the source and against the runtime, as measured.
        self_test: what it gives for a small picture; None before that is known.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocess
    version: str
    name: str
    method: str
    activation: str
    blocks: tuple[Block, ...]
    source: Origin
    format: str = FORMAT
    assumed: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    licence: str | None = None
    picture: bool = False
    parity: Mapping[str, float] = field(default_factory=dict)
    self_test: SelfTest | None = None

    def properties(self) -> dict[str, str]:
        """The metadata, JSON but for texts: `labels` and `preprocessing`, and behind `sise_rt.` the rest."""
        values = msgspec.to_builtins(self)
        return {
            key if key in OWN_KEYS else PREFIX + key: value if isinstance(value, str) else json.dumps(value)
            for key, value in values.items()
            if value is not None
        }


def read_facts(properties: Mapping[str, str], file: str) -> Facts:
    """What a file says of itself.

    Args:
        properties: the model's metadata.
        file: for messages.

    Raises:
        BundleError: it is no single file of sise-rt, or of a format that this version does not read.
    """
    if PREFIX + "format" not in properties:
        raise BundleError(
            f"{file} is a model that does not explain itself: export it, to a bundle or to a single file"
        )
    if (form := properties[PREFIX + "format"]) != FORMAT:
        raise BundleError(f"{file} has format {form[:20]!r}, this version reads {FORMAT}: update sise-rt")
    try:
        values = {each.name: _value(properties, each.name) for each in fields(Facts)}
        return msgspec.convert({name: v for name, v in values.items() if v is not None}, Facts)
    except (ValueError, RecursionError, msgspec.ValidationError, BundleError) as error:
        raise BundleError(f"the metadata of {file} cannot be used: {error}") from error


def _value(properties: Mapping[str, str], name: str) -> Any:
    text = properties.get(name if name in OWN_KEYS else PREFIX + name)
    plain = name in ("format", "version", "name", "method", "activation", "licence")
    return text if text is None or plain else json.loads(text)


def is_single_file(path: Path) -> bool:
    """Whether a file is an ONNX model that says that it explains itself."""
    if path.suffix != ".onnx" or not path.is_file():
        return False
    with path.open("rb") as file, suppress(ValueError):  # of an empty file
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.rfind(f"{PREFIX}format".encode()) >= 0
    return False
