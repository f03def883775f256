"""Tensors of the Open Inference Protocol (v2): as JSON, and as bytes behind it."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from .bodies import decode_json, parse_json
from .json_pictures import read_base64, read_numbers
from .refusals import Refused
from .replies import Json

LENGTH = "Inference-Header-Content-Length"  # the header: bytes of JSON, behind which tensors follow
DTYPES: Mapping[str, Any] = {"UINT8": np.uint8, "UINT16": np.uint16}  # of pictures that are arrays
WRITTEN = {"FP32": "<f4", "INT64": "<i8"}
BYTES = "BYTES"
MOST_DIMENSIONS = 8
BASE64 = "base64"  # the content type of a text that stands for bytes, as MLServer calls it
CONTENT_TYPES = (BASE64, "np")

Extent = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class SentTensor(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor of a request; its numbers are in `data`, or behind the JSON."""

    name: str
    shape: Annotated[list[Extent], msgspec.Meta(max_length=MOST_DIMENSIONS)]
    datatype: str
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class WantedTensor(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor that the answer is to have."""

    name: str
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class Inference(msgspec.Struct, forbid_unknown_fields=True):
    """A request. KServe's client names the model here too."""

    inputs: list[SentTensor]
    id: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    outputs: list[WantedTensor] | None = None


@dataclass(frozen=True)
class GivenTensor:
    """A tensor of an answer.

    Attributes:
        name: of it.
        datatype: of `WRITTEN`, or `BYTES`.
        values: an array, or bytes objects, of which the shape is their number.
        text: whether these are text in UTF-8; else JSON has them in base64.
    """

    name: str
    datatype: str
    values: np.ndarray | Sequence[bytes]
    text: bool = False

    @property
    def shape(self) -> list[int]:
        """Its extents."""
        return list(self.values.shape) if isinstance(self.values, np.ndarray) else [len(self.values)]

    def raw(self) -> bytes:
        """Its values as bytes, little-endian; each of `BYTES` behind its length as uint32."""
        if isinstance(self.values, np.ndarray):
            return self.values.astype(WRITTEN[self.datatype]).tobytes()
        return b"".join(struct.pack("<I", len(value)) + value for value in self.values)

    def listed(self) -> list[Any]:
        """Its values for JSON, in row-major order."""
        if isinstance(self.values, np.ndarray):
            return self.values.ravel().tolist()
        return [
            value.decode() if self.text else base64.b64encode(value).decode("ascii") for value in self.values
        ]


def split_body(body: bytes, length: str | None) -> tuple[Inference, bytes]:
    """The JSON of a request, and what follows it.

    Args:
        body: of the request.
        length: its header `LENGTH`; None where the body is JSON alone.

    Raises:
        Refused: the header is no such number, or the JSON is no request.
    """
    if length is None:
        return parse_json(body, Inference), b""
    if not (length.isascii() and length.isdecimal() and len(length) < 18 and int(length) <= len(body)):
        text = f"{LENGTH} is {length!r}, and the body has {len(body):,} bytes"
        raise Refused(400, text, LENGTH)
    return parse_json(body[: int(length)], Inference), body[int(length) :]


def read_pictures(tensor: SentTensor, field: str, binary: bytes, max_pixels: int) -> list[bytes] | np.ndarray:
    """The pictures of a tensor: encoded ones, or an array (N, H, W, C) of uint8 or uint16.

    Args:
        tensor: of the request.
        field: that it stands in, as `inputs[0]`.
        binary: what follows the JSON.
        max_pixels: more are refused before anything is decoded.

    Raises:
        Refused: shape, type and data do not fit each other, or are no pictures.
    """
    raw = _binary(tensor, field, binary)
    kind = tensor.parameters.get("content_type")
    if set(tensor.parameters) - {"binary_data_size", "content_type"} or kind not in (None, *CONTENT_TYPES):
        text = f"{field}.parameters has binary_data_size, and content_type as {' or '.join(CONTENT_TYPES)}"
        raise Refused(400, text, f"{field}.parameters")
    if tensor.datatype == BYTES:
        encoded = _texts(tensor, field) if raw is None else _lengths(raw, field)
        if tensor.shape not in ([len(encoded)], [len(encoded), 1]):
            text = f"{field}.shape is {tensor.shape}, and there are {len(encoded)} elements: it is [N]"
            raise Refused(400, text, f"{field}.shape")
        return encoded
    if tensor.datatype not in DTYPES:
        known = f"{', '.join(DTYPES)}, or {BYTES} of PNG or JPEG"
        text = f"{field}.datatype is {tensor.datatype!r}, where {known} is needed"
        raise Refused(400, text, f"{field}.datatype")
    return _pixels(tensor, field, raw, max_pixels)


def _pixels(tensor: SentTensor, field: str, raw: bytes | None, max_pixels: int) -> np.ndarray:
    shape, dtype = tuple(tensor.shape), DTYPES[tensor.datatype]
    if len(shape) != 4 or not all(shape):
        raise Refused(400, f"{field}.shape is {list(shape)}, where [N, H, W, C] is needed", f"{field}.shape")
    if math.prod(shape[:3]) > max_pixels:
        raise Refused(413, f"{field}.shape has more than {max_pixels:,} pixels", f"{field}.shape")
    if raw is None:
        array = read_numbers(tensor.data, dtype, f"{field}.data")  # type: ignore[arg-type]
    else:
        wanted = math.prod(shape) * np.dtype(dtype).itemsize
        if len(raw) != wanted:
            text = f"{field} has {len(raw):,} bytes, where its shape and type need {wanted:,}"
            raise Refused(400, text, f"{field}.parameters.binary_data_size")
        array = np.frombuffer(raw, np.dtype(dtype).newbyteorder("<"))
    if array.size != math.prod(shape) or array.shape not in ((array.size,), shape):
        text = f"{field}.data has the shape {list(array.shape)}, and {field}.shape is {list(shape)}"
        raise Refused(400, text, f"{field}.data")
    return array.reshape(shape)


def _binary(tensor: SentTensor, field: str, binary: bytes) -> bytes | None:
    """The bytes of a request's one tensor; None where its data are JSON."""
    at = f"{field}.parameters.binary_data_size"
    size = tensor.parameters.get("binary_data_size")
    if (size is None) == (tensor.data is msgspec.UNSET):
        text = "both data and binary_data_size" if size is not None else "neither data nor binary_data_size"
        raise Refused(400, f"{field} has {text}", f"{field}.data")
    if (0 if size is None else size) != len(binary) or isinstance(size, bool):
        text = f"{field} has a binary_data_size of {size!r}, and {len(binary):,} bytes follow the JSON"
        raise Refused(400, text, at)
    return None if size is None else binary


def _texts(tensor: SentTensor, field: str) -> list[bytes]:
    texts = decode_json(tensor.data, list[str], f"{field}.data")  # type: ignore[arg-type]
    return [read_base64(text, f"{field}.data[{place}]") for place, text in enumerate(texts)]


def _lengths(raw: bytes, field: str) -> list[bytes]:
    """What is behind lengths as uint32."""
    found, at = [], 0
    while at < len(raw):
        end = at + 4 + struct.unpack_from("<I", raw, at)[0] if at + 4 <= len(raw) else len(raw) + 1
        if end > len(raw):
            text = (
                f"{field} ends within an element: each of {BYTES} follows its length as uint32, little-endian"
            )
            raise Refused(400, text, f"{field}.parameters.binary_data_size")
        found.append(raw[at + 4 : end])
        at = end
    return found


def write_answer(
    head: Mapping[str, Any], tensors: Sequence[tuple[GivenTensor, bool]]
) -> tuple[bytes, int | None]:
    """An answer.

    Args:
        head: of its JSON, which `outputs` is added to.
        tensors: each with whether it follows the JSON as bytes.

    Returns:
        The body, and the bytes of its JSON; None where it is JSON alone.
    """
    outputs: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for tensor, binary in tensors:
        told: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if binary:
            behind.append(tensor.raw())
            told["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            if tensor.datatype == BYTES and not tensor.text:
                told["parameters"] = {"content_type": BASE64}
            told["data"] = tensor.listed()
        outputs.append(told)
    json = Json({**head, "outputs": outputs}).body
    return b"".join([json, *behind]), len(json) if behind else None
