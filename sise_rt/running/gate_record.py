"""What comparisons of a lower precision with float32 found, kept beside the bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sise_rt.cautions import Caution
from sise_rt.errors import ProviderError
from sise_rt.files import write_whole
from sise_rt.manifest import GateFigures, Manifest

from .machine import processor
from .provider import BF16, FP32, Provider
from .providers import choose

if TYPE_CHECKING:
    from .sessions import Sessions

UNPROVEN = Caution(
    "bfloat16-unproven",
    "masked copies are scored in bfloat16, which was not found good enough for this bundle, provider and "
    "processor: verify it with pictures of the kind that the model is for",
)
NOT_IN_BF16 = "masked copies are scored in float32, though bfloat16 was found good enough here once"
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
        return cls(**_key(sessions.manifest, sessions.provider), **figures)


def records_file(folder: Path) -> Path:
    """Where records are: beside the bundle, as `model.sise.bf16.json`; what is in it is hashed."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}.{BF16}.json")


def unproven(sessions: Sessions) -> list[Caution]:
    """A warning where some sessions score in bfloat16, and nobody has found that good enough."""
    if sessions.precision != BF16:
        return []
    key = _key(sessions.manifest, sessions.provider)
    return [] if any(r.passed and _fits(r, key) for r in _records(sessions.folder)) else [UNPROVEN]


def choose_verified(name: str, folder: Path, manifest: Manifest) -> tuple[Provider, str, tuple[Caution, ...]]:
    """A provider by its name, in bfloat16 if that was found good enough for a bundle on such a machine.

    Args:
        name: as for `choose`; where it leads to no CPU, bfloat16 is none of its precisions.
        folder: the bundle.
        manifest: its own.

    Returns:
        The provider, its precision, and why that is float32 though bfloat16 was found good enough once.

    Raises:
        ProviderError: there is no such provider, or it is not installed.
    """
    usual = choose(name)
    bundle, machine = _hash(manifest), str(processor())
    passed = [r for r in _records(folder) if r.passed and (r.bundle, r.processor) == (bundle, machine)]
    if not passed or not usual.on_cpu:
        return usual, FP32, ()
    try:
        rounded = choose(name, BF16)
    except ProviderError as error:
        return usual, FP32, (_in_float32(error.message),)
    if not any(_fits(record, _key(manifest, rounded)) for record in passed):
        before = ", ".join(sorted({f"{r.provider} {r.version}" for r in passed}))
        now = f"{rounded.full} {rounded.version}"
        return usual, FP32, (_in_float32(f"verified was {before}, not {now}: verify it again"),)
    return rounded, BF16, ()


def _in_float32(why: str) -> Caution:
    return Caution("bfloat16-left", f"{NOT_IN_BF16}: {why}")


def write_record(sessions: Sessions, record: GateRecord) -> None:
    """Add a record to those of other machines, versions and bundles, in place of an earlier one of its own.

    Raises:
        OutputError: it cannot be written.
    """
    key = _key(sessions.manifest, sessions.provider)
    kept = [other for other in _records(sessions.folder) if not _fits(other, key)]
    text = msgspec.json.format(msgspec.json.encode([*kept, record]), indent=2)
    write_whole(records_file(sessions.folder), text + b"\n")


def _hash(manifest: Manifest) -> str:
    """Of what was loaded: the folder may hold another bundle by now."""
    return hashlib.sha256(manifest.to_json().encode()).hexdigest()


def _key(manifest: Manifest, provider: Provider) -> dict[str, Any]:
    """What a comparison holds for."""
    return {
        "bundle": _hash(manifest),
        "provider": provider.full,
        "version": provider.version,
        "processor": str(processor()),
    }


def _fits(record: GateRecord, key: dict[str, Any]) -> bool:
    return all(getattr(record, name) == value for name, value in key.items())


def _records(folder: Path) -> list[GateRecord]:
    """The records that are there; a file that holds something else holds none."""
    try:
        with records_file(folder).open("rb") as file:
            return msgspec.json.decode(file.read(MANY), type=list[GateRecord])
    except (OSError, ValueError, msgspec.MsgspecError):
        return []
