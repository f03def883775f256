"""The record of an explanation: all that an audit asks of it but the map, ready for JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from .manifest import Origin
from .metrics import border_share
from .pictures.fingerprint import Fingerprint
from .pictures.placement import Placement, seen_rectangle
from .preprocessing import Preprocess

if TYPE_CHECKING:
    from .explanation import Explanation

SCHEMA = "sise-rt/record/1"
"""What a record is: the number changes where a key changes its meaning or goes; others may come."""


@dataclass(frozen=True)
class Provenance:
    """What an explanation was made of and by, beside what it tells itself.

    Attributes:
        version: of sise-rt.
        onnxruntime: version of ONNX Runtime, whatever the provider.
        threads: of the CPU.
        bundle_sha256: of the bundle's manifest, which has those of its other files.
        described: what was taken at export from which of the model's own files, a line each.
        amended: the settings of the bundle that were stated after its export.
        source: the model that was exported.
        preprocess: how the picture became the model's input.
        picture: of the file, bytes or array; None where somebody made the model's input by hand.
        time: when it was made, with its zone.
    """

    version: str
    onnxruntime: str
    threads: int
    bundle_sha256: str
    described: tuple[str, ...]
    amended: tuple[str, ...]
    source: Origin
    preprocess: Preprocess
    picture: Fingerprint | None
    time: datetime


def record_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every record is valid against.

    The package has it as the file `sise_rt/record.schema.json`.
    """
    return json.loads(resources.files(__package__).joinpath("record.schema.json").read_text("utf-8"))


def record_of(explanation: Explanation) -> dict[str, Any]:
    """The record; `docs/records.md` tells what each key means."""
    made = explanation.provenance
    height, width = explanation.map.shape
    return {
        "schema": SCHEMA,
        "product": {"name": "sise-rt", "version": made.version},
        "time": made.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "picture": _picture(explanation, made.picture),
        "bundle": {
            "name": explanation.model,
            "sha256": made.bundle_sha256,
            "amended": list(made.amended),
            "source": asdict(made.source) | {"sha256": made.source.sha256 or None},
        },
        "preprocessing": _plain(asdict(made.preprocess)),
        "target": {"index": explanation.target, "label": explanation.label},
        "confidence": explanation.confidence,
        "activation": explanation.activation,
        "best": [asdict(prediction) for prediction in explanation.best],
        "method": explanation.method,
        "settings": _plain(explanation.settings),
        "map": {"width": width, "height": height, "border_share": round(border_share(explanation.map), 6)},
        "blocks": [
            {
                "name": block.name,
                "maps": block.maps,
                "kept": block.kept,
                "constant": block.constant,
                "used": block.visualization is not None,
            }
            for block in explanation.blocks
        ],
        "masks": explanation.masks,
        "guessed": explanation.guessed,
        "passes": explanation.passes,
        "partial": explanation.partial,
        "runtime": {
            "provider": explanation.provider,
            "provider_version": explanation.provider_version,
            "onnxruntime": made.onnxruntime,
            "device": explanation.device,
            "precision": explanation.precision,
            "tf32": explanation.tf32,
            "threads": made.threads,
            "batch": explanation.batch,
        },
        "seconds": _seconds(explanation.seconds, explanation.shared_seconds),
        "described": list(made.described),
        "assumed": list(explanation.assumed),
        "warnings": [caution.record() for caution in explanation.warnings],
        "check": None if explanation.check is None else _plain(explanation.check),
    }


def _picture(explanation: Explanation, fingerprint: Fingerprint | None) -> dict[str, Any]:
    height, width = explanation.placement.original
    return {
        "name": explanation.name,
        "sha256": fingerprint and fingerprint.sha256,
        "sha256_of": fingerprint and fingerprint.of,
        "dtype": (fingerprint and fingerprint.dtype) or None,
        "shape": list(fingerprint.shape) if fingerprint and fingerprint.shape else None,
        "width": width,
        "height": height,
        "bit_depth": explanation.bit_depth,
        "crop": _crop(explanation.placement),
    }


def _crop(placement: Placement) -> dict[str, float]:
    """The part of the picture that the model saw."""
    height, width = placement.original
    left, top, right, bottom = (round(edge, 3) for edge in seen_rectangle(placement))
    share = (right - left) * (bottom - top) / (width * height)
    return {"left": left, "top": top, "right": right, "bottom": bottom, "share": round(share, 6)}


def _seconds(all_of: Mapping[str, float], shared: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The seconds of each phase, those shared by the targets of a call apart from the target's own."""
    own = {phase: seconds - shared.get(phase, 0.0) for phase, seconds in all_of.items()}
    return {
        "shared": {phase: round(seconds, 4) for phase, seconds in shared.items()},
        "own": {phase: round(seconds, 4) for phase, seconds in own.items() if seconds > 0},
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them: no tuples."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
