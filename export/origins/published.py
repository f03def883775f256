"""A folder of a published model: which of its files is the model, and what lies around it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sise_rt.errors import ModelError
from sise_rt.literals import read_object

# What an exporter appends to the name of a model that it rounds or optimises for one kind of machine.
VARIANT = re.compile(
    r"([._-](fp16|float16|bf16|u?int8|u?int4|q8|q4|q4f16|bnb4|quanti[sz]ed|quant|qu?int8|qdq|static|dynamic|"
    r"arm64|avx2|avx512|vnni|optimi[sz]ed|o[1-4]))+",
    re.IGNORECASE,
)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the same weights twice, the safe format first
OTHERS = frozenset(
    ".bin .ckpt .h5 .keras .mlmodel .msgpack .pb .pdmodel .pt .pth .safetensors .tflite .xml".split()
)
NAMED = 5  # files that a message names at most


@dataclass(frozen=True)
class Published:
    """A model, and what lies around it for a kind of origin to read.

    Attributes:
        folder: where files that describe the model lie; None where only the model itself may speak.
        model: the model file.
        properties: the `metadata_props` of an ONNX file.
        size: (channels, height, width) of its input, each None where it is free and the user gave none.
    """

    folder: Path | None
    model: Path
    properties: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int | None, int | None, int | None] = (None, None, None)

    def file(self, name: str) -> Path | None:
        """A file that describes the model, None where there is none of that name.

        Raises:
            ModelError: it is a link to nothing, as to a file that was not fetched.
        """
        path = self.folder / name if self.folder else None
        if path and path.is_symlink() and not path.exists():
            raise ModelError(f"{path} is a link that leads nowhere")
        return path if path and path.is_file() else None

    def object(self, name: str) -> dict[str, Any] | None:
        """The JSON object in such a file.

        Raises:
            ModelError: it is no JSON object, or a link to nothing.
        """
        path = self.file(name)
        return read_object(path) if path else None


@dataclass(frozen=True)
class Choice:
    """The model of a folder.

    Attributes:
        folder: where what describes it lies.
        model: an ONNX file or a weight file.
        others: the models beside it that are not taken, by name.
    """

    folder: Path
    model: Path
    others: tuple[str, ...]


def model_of(folder: Path) -> Choice:
    """The one model of a folder: an ONNX file there or in its `onnx`, else the weights of one.

    A file whose name is another's with `_int8` or the like behind it is not looked at.

    Raises:
        ModelError: there is none, or more than one.
    """
    names = _models(folder)
    whole = [name for name in names if not _is_variant(name, names)]
    if len(whole) > 1:
        raise ModelError(f"{folder} holds {len(whole)} models ({_list(whole)}): name the file of one")
    weights = [name for name in WEIGHTS if (folder / name).is_file()]
    if whole:
        others = [name for name in names if name != whole[0]]
        return Choice(folder, folder / whole[0], (*others, *weights))
    if weights:
        return Choice(folder, folder / weights[0], tuple(weights[1:]))
    others = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in OTHERS]
    raise ModelError(
        f"{folder} holds no ONNX model"
        + (f"; {_list(others)} cannot be read: export the model to ONNX first" if others else "")
    )


def home_of(model: Path) -> tuple[Path | None, str | None]:
    """The folder whose files describe an ONNX file that was named, and why those there do not if so.

    It is the file's own folder, or the one above where that is called `onnx`; unless several models lie
    there, of which its files do not say which they mean.
    """
    folder = model.parent.parent if model.parent.name == "onnx" else model.parent
    names = _models(folder)
    whole = [name for name in names if not _is_variant(name, names)]
    if len(whole) > 1:
        return None, f"{folder} holds {len(whole)} models ({_list(whole)})"
    return folder, None


def _models(folder: Path) -> list[str]:
    """The ONNX files of a folder and of its `onnx`, relative to it."""
    try:
        paths = sorted(folder.glob("*.onnx")) + sorted(folder.glob("onnx/*.onnx"))
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror}") from error
    return [str(path.relative_to(folder)) for path in paths if path.is_file()]


def _is_variant(name: str, names: Sequence[str]) -> bool:
    """Whether a file's name is that of another one with a word for its precision behind it."""
    stem = Path(name).stem
    for other in names:
        base = Path(other).stem
        if other != name and stem.startswith(base) and VARIANT.fullmatch(stem, len(base)):
            return True
    return False


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
