"""What an audit asks for: which picture, which model, which program, when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from sise_rt.preprocessing import Preprocess
from sise_rt.wording import counted

from .elements import Child, element
from .sentences import Record, cut, file_name, named, share

LONGEST = 90  # characters of a term's text, so that the page stays one sheet; the record has all of it
# Keys of preprocessing that are no words, where something was assumed of them.
WORDS = {
    "color": "colours in the order",
    "crop_mode": "crop:",
    "crop_pct": "the crop's share of a side is",
    "mean": "mean of",
    "scale": "pixel values divided by",
    "std": "standard deviation of",
}
PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "unknown": "a precision of its own"}


def audit(record: Record) -> Element:
    """Names, hashes and versions, as a list of terms."""
    terms: list[Child] = []
    for term, told in _terms(record):
        terms += [element("dt", term), element("dd", *told)]
    return element("dl", *terms)


def _terms(record: Record) -> Iterator[tuple[str, list[Child]]]:
    picture, bundle, target = record["picture"], record["bundle"], record["target"]
    yield "Explained class", [named(**target, most=LONGEST)]
    yield "Picture", [file_name(record, LONGEST), f": {_size(picture)}"]
    if picture["sha256"]:
        yield f"SHA-256 of the {picture['sha256_of']}", [element("code", picture["sha256"])]
    yield "Model's input", [_input(record["preprocessing"])]
    if record["described"]:
        yield "Taken from its files", [cut("; ".join(map(_origin, record["described"])), 2 * LONGEST)]
    if record["assumed"]:
        yield "Assumed at export", [cut("; ".join(map(_assumption, record["assumed"])), 2 * LONGEST)]
    made = _source(bundle["source"]) + _amended(bundle["amended"])
    yield "Bundle", [f"{cut(bundle['name'], LONGEST)}; {made}"]
    yield "SHA-256 of the bundle", [element("code", bundle["sha256"])]
    if bundle["source"]["sha256"]:
        yield "SHA-256 of its source", [element("code", bundle["source"]["sha256"])]
    yield "Made by", [_made_by(record)]
    yield "Time", [_time(record)]


def _origin(line: str) -> str:
    """A line of `described`, as `from config.json: 5 labels`."""
    return line.removeprefix("from ")


def _assumption(line: str) -> str:
    """A line of `assumed`, as `crop_pct 0.875`, in words."""
    key, _, value = line.partition(" ")
    return f"{WORDS.get(key, key)} {value}".strip()


def _input(preprocessing: Record) -> str:
    """How the picture became the model's input."""
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in preprocessing.items()
    }
    return Preprocess(**plain).sentence()


def _size(picture: Record) -> str:
    seen = picture["crop"]["share"]
    part = "all of it" if seen == 1 else f"{share(seen)} of it"
    size = f"{picture['width']} × {picture['height']} pixels of {picture['bit_depth']} bits"
    return f"{size}; the model saw {part}"


def _source(source: Record) -> str:
    made = ", ".join(source[key] for key in ("format", "producer") if source[key])
    told = " ".join(filter(None, [source["name"], f"({made})" if made else ""]))
    return f"exported from {cut(told, LONGEST)}" if told else "of unknown source"


def _amended(settings: list[str]) -> str:
    return f"; stated anew after the export: {', '.join(settings)}" if settings else ""


def _made_by(record: Record) -> str:
    product, runtime = record["product"], record["runtime"]
    provider = f"provider {cut(runtime['provider'], LONGEST)}"
    if runtime["provider_version"] != runtime["onnxruntime"]:
        provider += f" {runtime['provider_version']}"
    precision = PRECISIONS[runtime["precision"]] + (" and TensorFloat-32" if runtime["tf32"] else "")
    return (
        f"{product['name']} {product['version']}, ONNX Runtime {runtime['onnxruntime']}, {provider} on "
        f"{cut(runtime['device'], LONGEST) or 'an unnamed device'}, in {precision}, "
        f"{counted(runtime['threads'], 'thread')}, at most {counted(runtime['batch'], 'picture')} a pass"
    )


def _time(record: Record) -> str:
    shared, own = (sum(record["seconds"][whose].values()) for whose in ("shared", "own"))
    date, _, clock = record["time"].removesuffix("Z").partition("T")
    return (
        f"{date}, {clock[:8]} UTC. It took {shared + own:.2f} seconds, {shared:.2f} of them shared by all "
        "classes that were asked for at once."
    )
