"""What comparisons of a lower precision with float32 found, kept beside the bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sise_rt.files import write_whole
from sise_rt.manifest import GateFigures

from .machine import processor
from .provider import BF16
from .sessions import Sessions

UNPROVEN = (
    "masked copies are scored in bfloat16, which was not found good enough for this bundle, provider and "
    "processor: verify it with pictures of the kind that the model is for"
)
MANY = 2**20  # bytes; no file of records is longer


@dataclass(frozen=True, kw_only=True)
class GateRecord(GateFigures):
    """The figures of bfloat16 scores, and what they hold for.

    Attributes:
        bundle: the sha256 of its manifest, which has those of all other files.
        provider: as ONNX Runtime calls it.
        version: of the provider.
        processor: its name and features; another one rounds otherwise.
        passed: whether the figures were good enough.
    """

    bundle: str
    provider: str
    version: str
    processor: str
    passed: bool

    @classmethod
    def of(cls, sessions: Sessions, **figures: Any) -> GateRecord:
        """The record of figures that were measured with some sessions."""
        return cls(**_key(sessions), **figures)


def records_file(sessions: Sessions) -> Path:
    """Where records are: beside the bundle, as `model.sise.bf16.json`; what is in it is hashed."""
    folder = sessions.folder.resolve()
    return folder.with_name(f"{folder.name}.{sessions.precision}.json")


def unproven(sessions: Sessions) -> list[str]:
    """A warning where some sessions score in bfloat16, and nobody has found that good enough."""
    return [UNPROVEN] if sessions.precision == BF16 and not has_passed(sessions) else []


def has_passed(sessions: Sessions) -> bool:
    """Whether the precision of some sessions was compared, and found good enough, on such a machine."""
    key = _key(sessions)
    return any(record.passed for record in _records(sessions) if _fits(record, key))


def write_record(sessions: Sessions, record: GateRecord) -> None:
    """Add a record to those of other machines, versions and bundles, in place of an earlier one of its own.

    Raises:
        OutputError: it cannot be written.
    """
    key = _key(sessions)
    kept = [other for other in _records(sessions) if not _fits(other, key)]
    text = msgspec.json.format(msgspec.json.encode([*kept, record]), indent=2)
    write_whole(records_file(sessions), text + b"\n")


def _key(sessions: Sessions) -> dict[str, Any]:
    """What a comparison holds for."""
    return {
        # Of what was loaded: the folder may hold another bundle by now.
        "bundle": hashlib.sha256(sessions.manifest.to_json().encode()).hexdigest(),
        "provider": sessions.provider.full,
        "version": sessions.provider.version,
        "processor": str(processor()),
    }


def _fits(record: GateRecord, key: dict[str, Any]) -> bool:
    return all(getattr(record, name) == value for name, value in key.items())


def _records(sessions: Sessions) -> list[GateRecord]:
    """The records that are there; a file that holds something else holds none."""
    try:
        with records_file(sessions).open("rb") as file:
            return msgspec.json.decode(file.read(MANY), type=list[GateRecord])
    except (OSError, ValueError, msgspec.MsgspecError):
        return []
