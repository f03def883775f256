"""Changing what a bundle says of its model and is not in its graphs, without a new export."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .bundle import MANIFEST, Manifest, read_bundle, sha256
from .errors import ArgumentError, ModelError, OutputError
from .label_files.given import given_labels
from .manifest import Amendment, is_about
from .stated import NORMALISATION, far_too_large, normalisation, restated
from .wording import reason
from .writing import new_bundle, write_manifest

OUTDATED_GATE = (
    "scores are in float16, which was judged by pictures that were prepared otherwise, before the bundle was "
    "amended: export it again with such pictures"
)


@dataclass(frozen=True)
class Amended:
    """A bundle that was amended.

    Attributes:
        path: where it is.
        manifest: as written.
        notes: what does not hold any more, or is doubtful, a line each.
    """

    path: Path
    manifest: Manifest
    notes: tuple[str, ...] = ()


def amend(
    bundle: str | Path,
    output: str | Path | None = None,
    *,
    labels: str | Path | Sequence[str] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    licence: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
) -> Amended:
    """Write a bundle anew with other labels, preprocessing, licence or name; its graphs stay as they are.

    The manifest's `amended` gets what was changed, its value before, when, and the hash of the manifest that
    had it. What was assumed of a setting goes when that is stated, though it be with the same value.

    Args:
        bundle: the folder.
        output: the new one; None makes `NAME.amended.sise` beside.
        labels: one a class, in their order, or a file of them.
        preprocess: settings by their names: mean, std, scale, bit_depth, crop_pct, crop_mode, interpolation,
            color.
        licence: of the weights.
        name: of the bundle in records.
        overwrite: replace the bundle that `output` names, which may be the one that is amended.

    Raises:
        BundleError: the bundle is incomplete, altered or of another schema.
        ModelError: a value does not fit the model.
        ArgumentError: nothing was stated, or there is no such setting.
        OutputError: the new bundle cannot be written there.
    """
    bundle = Path(bundle)
    manifest, before = read_bundle(bundle), sha256(bundle / MANIFEST)
    stated = _given(preprocess or {})
    others = _given({"labels": labels, "licence": licence, "name": name})
    said = {*stated, *others}
    if not said:
        raise ArgumentError("nothing is to be amended: state what the bundle should say instead")
    _refuse_half_a_normalisation(manifest, said)
    ids = None
    if labels is not None:
        others["labels"], ids = given_labels(labels, manifest.classes)
    changed = replace(manifest, preprocess=restated(manifest.preprocess, stated), **others)
    changed, notes = _consequences(manifest, changed, said)
    entry = Amendment(datetime.now(UTC).isoformat(timespec="seconds"), before, _values(manifest, said))
    changed = replace(changed, amended=(*manifest.amended, entry))
    path = _beside(bundle) if output is None else Path(output)
    if bundle.resolve() in path.resolve().parents:
        raise OutputError(f"{path} lies inside the bundle that is amended: choose another place")
    return Amended(path, _write(bundle, path, changed, overwrite), (*notes, *filter(None, [ids])))


def _beside(bundle: Path) -> Path:
    """Where a bundle goes whose place nobody named: beside the old one, also where that is `.` or `..`."""
    if bundle.name in ("", ".."):
        bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name.removesuffix('.sise')}.amended.sise")


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _refuse_half_a_normalisation(manifest: Manifest, said: set[str]) -> None:
    """Refuse to leave the other half assumed."""
    halves = {"mean", "std"}
    assumed = {key for key in halves if manifest.assumes(key)}
    if len(said & halves) == 1 and assumed - said:
        raise ModelError(
            "mean and std go together, and one of them was only assumed: state both (a std of 1 is none)",
            settings=("mean", "std"),
        )


def _consequences(manifest: Manifest, changed: Manifest, said: set[str]) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest without what does not hold any more, and what is to be said of that."""
    old, new = manifest.preprocess, changed.preprocess
    warnings, notes, parity = list(manifest.warnings), list[str](), manifest.parity
    if said & NORMALISATION and new != old:
        quotes = [normalisation(old)]
        if "bit_depth" in said:
            quotes.append(f"{2**old.bit_depth - 1} of {old.bit_depth} bits")
        gone = [warning for warning in warnings if any(quote in warning for quote in quotes)]
        warnings = [warning for warning in warnings if warning not in gone]
        notes += [f"left out, as it was about the earlier values: {warning}" for warning in gone]
        if warning := far_too_large(new):
            warnings.append(warning)
    if new != old and parity.gate is not None:
        parity = replace(parity, gate=None)
        warnings.append(OUTDATED_GATE)
    if new.color != old.color and not said & {"mean", "std"} and len({*old.mean}) + len({*old.std}) > 2:
        notes.append(
            f"mean and std stay as they were, now in the order {', '.join(new.color)}: state them as well if "
            "they are of colours"
        )
    assumed = tuple(line for line in manifest.assumed if not is_about(line, said))
    return replace(changed, warnings=tuple(warnings), parity=parity, assumed=assumed), tuple(notes)


def _values(manifest: Manifest, settings: set[str]) -> dict[str, Any]:
    """What a manifest says of some settings."""
    return {
        key: getattr(manifest if hasattr(manifest, key) else manifest.preprocess, key)
        for key in sorted(settings)
    }


def _write(bundle: Path, output: Path, manifest: Manifest, overwrite: bool) -> Manifest:
    """Write the bundle with another manifest, which is read again, as is every file against its hash.

    No file is linked: readers of ONNX refuse weights that have a second name.

    Raises:
        OutputError: it cannot be written there.
        BundleError: a file was altered meanwhile.
    """
    if os.path.lexists(output) and not overwrite:
        raise OutputError(
            f"{output} exists already, and is replaced only if that is asked for", settings=("overwrite",)
        )
    with new_bundle(output, overwrite) as folder:
        for path in manifest.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(bundle / path, folder / path)
            except OSError as error:
                raise OutputError(f"{bundle / path} cannot be copied: {reason(error)}") from error
        write_manifest(folder, manifest)
        return read_bundle(folder)
