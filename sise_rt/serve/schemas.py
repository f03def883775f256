"""The JSON Schemas of what the server takes and gives, for its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sise_rt.drawing.palettes import PALETTES
from sise_rt.methods import METHODS, PRESETS, Option
from sise_rt.preprocessing import DEPTHS

from . import tensors, v1, v2
from .asked import CHECKS, LONGEST
from .batch import MOST
from .jobs import ENDS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """The schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(**more: Any) -> Schema:
    """A string."""
    return {"type": "string", **more}


def array(items: Schema, **more: Any) -> Schema:
    """A list of such."""
    return {"type": "array", "items": items, **more}


def record(properties: Mapping[str, Schema], *optional: str, **more: Any) -> Schema:
    """An object that has all of its properties but the optional ones."""
    required = [name for name in properties if name not in optional]
    told: Schema = {"type": "object", "properties": dict(properties), **more}
    return told | ({"required": required} if required else {})


LEVEL = {"type": "integer", "minimum": 0, "maximum": 65535}
INTEGER, NUMBER, BOOLEAN = {"type": "integer"}, {"type": "number"}, {"type": "boolean"}
BEST: Schema = {"index": INTEGER, "label": text(), "confidence": NUMBER}  # a class, and how sure the model is
TEXT_OR_NONE = {"type": ["string", "null"]}


def fields() -> dict[str, Schema]:
    """What can be asked for beside a picture: what all methods share, then the options of each."""
    shared = {
        "target": {
            "anyOf": [text(), INTEGER],
            "description": "Class index or label; the best class if none.",
        },
        "method": text(description="With options as in `rise:masks=1000`.", examples=list(METHODS)),
        "preset": text(enum=list(PRESETS)),
        "max_seconds": {
            **NUMBER,
            "exclusiveMinimum": 0,
            "maximum": LONGEST,
            "description": "That the request may take, waiting included.",
        },
        "check": {"enum": ["0", "1", *CHECKS], "description": "What the model is asked about the map."},
        "bit_depth": {**INTEGER, "minimum": DEPTHS[0], "maximum": DEPTHS[-1]},
        "palette": text(enum=list(PALETTES)),
        "name": text(description="Of the picture, for its record."),
    }
    found: dict[str, list[tuple[str, Schema]]] = {}
    for method in METHODS.values():
        for option in method.options:
            found.setdefault(option.name, []).append((method.name, _option(option)))
    return shared | {name: _united(schemas) for name, schemas in found.items() if name not in shared}


def _option(option: Option) -> Schema:
    """The values of an option; several numbers have a plus between them."""
    told: Schema = {"description": option.help}
    if isinstance(option.default, tuple):
        return told | text(pattern=r"^[0-9.eE-]+(\+[0-9.eE-]+)*$")
    if option.kind is str:
        return told | text(enum=list(option.choices))
    told["type"] = "integer" if option.kind is int else "number"
    low, high = option.range.low, option.range.high
    if low > float("-inf"):
        told["exclusiveMinimum" if option.range.above else "minimum"] = low
    if high < float("inf"):
        told["exclusiveMaximum" if option.range.below else "maximum"] = high
    return told


def _united(schemas: list[tuple[str, Schema]]) -> Schema:
    """One schema of an option that several methods have, with its methods."""
    kinds = {str({**schema, "description": ""}): schema for _, schema in schemas}
    names = ", ".join(name for name, _ in schemas)
    about = f"Of {names}: {schemas[0][1]['description']}"
    if len(kinds) == 1:
        return {**schemas[0][1], "description": about}
    return {"anyOf": list(kinds.values()), "description": about}


def _instance() -> Schema:
    """A picture of KServe's v1, with what is asked about it."""
    options = fields() | {"outputs": array({"enum": list(v1.OUTPUTS)})}
    options["check"] = {"enum": [*options["check"]["enum"], 0, 1, False, True]}
    within = [{"required": [key]} for key in v1.PICTURES]
    own = record({"image": ref("Picture"), "b64": text(), **options}, "image", "b64", *options, oneOf=within)
    return {"anyOf": [ref("Picture"), {**own, "additionalProperties": False}]}


def _numbers() -> Schema:
    """Numbers as lists, nested up to four deep."""
    told: Schema = LEVEL
    for _ in range(3):
        told = {"anyOf": [LEVEL, array(told)]}
    return told


def components() -> dict[str, Schema]:
    """All schemas, by name."""
    return {
        "Error": record({"error": text(), "field": TEXT_OR_NONE}, additionalProperties=False),
        "Alive": record({"status": text()}),
        "Record": {
            "type": "object",
            "description": "As docs/records.md describes it.",
            "required": ["schema"],
        },
        "Best": record(BEST),
        "Names": record({"models": array(text())}),
        "Ready": record({"name": text(), "ready": BOOLEAN}),
        "Health": record({"live": BOOLEAN, "ready": BOOLEAN}),
        **_models(),
        **_jobs(),
        **_first(),
        **_second(),
    }


def _models() -> dict[str, Schema]:
    size = {"channels": INTEGER, "height": INTEGER, "width": INTEGER}
    option = {
        "name": text(),
        "default": {},
        "help": text(),
        "choices": {"type": ["array", "null"]},
        "range": TEXT_OR_NONE,
    }
    method = {"name": text(), "help": text(), "running_map": BOOLEAN, "options": array(record(option))}
    return {
        "Model": record(
            {
                "name": text(),
                "classes": INTEGER,
                "labels": {"type": ["array", "null"]},
                "activation": text(),
                "input": record(size),
                "methods": array(record(method)),
            }
        ),
        "Label": record({"index": INTEGER, "label": text()}),
    }


def _jobs() -> dict[str, Schema]:
    return {
        "Started": record({"id": text(), "location": text()}),
        "Job": record(
            {
                "id": text(),
                "model": text(),
                "status": {"enum": ["queued", "running", *ENDS]},
                "position": INTEGER,
                "scored": INTEGER,
                "total": INTEGER,
                "error": {"anyOf": [ref("Error"), {"type": "null"}]},
                "record": {"anyOf": [ref("Record"), {"type": "null"}]},
                "best": array(ref("Best")),
            }
        ),
        "Check": record({"check": {"type": ["object", "null"]}, "curves": {"type": "object"}}),
    }


def _first() -> dict[str, Schema]:
    """Of KServe's protocol v1."""
    explanation = {
        "record": ref("Record"),
        "overlay": text(),
        "map": text(),
        "map_list": array(array(NUMBER)),
    }
    instances = array(ref("Instance"), minItems=1, maxItems=MOST)
    return {
        "Picture": {
            "description": "Encoded and in base64, or the same as `b64`, or an array (H, W) or (H, W, C).",
            "anyOf": [
                text(contentEncoding="base64"),
                record({"b64": text()}, additionalProperties=False),
                array(array({"anyOf": [LEVEL, array(LEVEL)]}, minItems=1), minItems=1),
            ],
        },
        "Instance": _instance(),
        "Instances": {
            "oneOf": [
                record({name: instances}, additionalProperties=False) for name in ("instances", "inputs")
            ]
        },
        "Prediction": record({**BEST, "best": array(ref("Best"))}),
        "Predicted": record({"predictions": array(ref("Prediction"))}),
        "Explained": record(
            {
                "predictions": array(ref("Prediction")),
                "explanations": array(record(explanation, *explanation)),
            }
        ),
    }


def _second() -> dict[str, Schema]:
    """Of the Open Inference Protocol, v2."""
    tensor = {"name": text(), "datatype": text(), "shape": array(INTEGER)}
    sent = {
        "name": text(enum=[v2.IMAGE]),
        "shape": array({**INTEGER, "minimum": 0}, maxItems=tensors.MOST_DIMENSIONS),
        "datatype": text(enum=[*tensors.DTYPES, tensors.BYTES]),
        "parameters": record(
            {"binary_data_size": INTEGER, "content_type": text(enum=list(tensors.CONTENT_TYPES))},
            *("binary_data_size", "content_type"),
            additionalProperties=False,
        ),
        "data": {"anyOf": [array(text(contentEncoding="base64")), array(_numbers())]},
    }
    wanted = {
        "name": text(enum=list(v2.OUTPUTS)),
        "parameters": record({"binary_data": BOOLEAN}, "binary_data", additionalProperties=False),
    }
    options = fields() | {"binary_data_output": BOOLEAN}
    options["check"] = {"enum": [*options["check"]["enum"], 0, 1, False, True]}
    return {
        "Server": record({"name": text(), "version": text(), "extensions": array(text())}),
        "Metadata": record(
            {
                "name": text(),
                "versions": array(text()),
                "platform": text(),
                "inputs": array(record(tensor)),
                "outputs": array(record(tensor)),
            }
        ),
        "Inference": record(
            {
                "id": TEXT_OR_NONE,
                "model_name": TEXT_OR_NONE,
                "model_version": TEXT_OR_NONE,
                "inputs": array(record(sent, "parameters", "data"), minItems=1, maxItems=1),
                "parameters": record(options, *options, additionalProperties=False),
                "outputs": array(record(wanted, "parameters")),
            },
            *("id", "model_name", "model_version", "parameters", "outputs"),
            additionalProperties=False,
        ),
        "Inferred": record(
            {
                "model_name": text(),
                "model_version": text(),
                "id": text(),
                "outputs": array(
                    record({**tensor, "data": array({}), "parameters": {}}, "data", "parameters")
                ),
            }
        ),
    }
