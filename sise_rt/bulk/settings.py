"""What the results of a run depend on, kept beside them: others are refused, and both are named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sise_rt import __version__
from sise_rt.errors import ArgumentError, OutputError
from sise_rt.files import write_whole
from sise_rt.wording import reason

if TYPE_CHECKING:
    from sise_rt.explainer import Explainer

FINGERPRINTS = {"bundle"}  # settings that say nothing to a reader
LONGEST = 80  # characters of a value that is told


def of_model(explainer: Explainer) -> dict[str, Any]:
    """What every result of a model depends on, ready for JSON.

    The batch size changes no more than the last digits, and may have to fall where memory ran out.
    """
    return {
        "version": __version__,
        "model": explainer.manifest.name,
        "bundle": explainer.engine.sessions.bundle_sha256,
        "provider": explainer.engine.provider,
        "precision": explainer.engine.sessions.scored_in,
    }


def in_json(settings: Mapping[str, Any]) -> bytes:
    """Settings as a file of JSON.

    Raises:
        ArgumentError: one of them is not finite, or no JSON.
    """
    try:
        return json.dumps(settings, indent=2, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"settings cannot be kept: {error}", settings=("settings",)) from error


def kept(path: Path) -> bytes | None:
    """The settings that a folder has; None where it has none.

    Raises:
        OutputError: they cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"folder {str(path.parent)!r} cannot be used: {reason(error)}") from error


def keep(path: Path, content: bytes, before: bytes | None, *, started: bool, what: str, setting: str) -> None:
    """Write a run's settings, or see to it that they are those that the folder has.

    Args:
        path: of their file.
        content: from `in_json`.
        before: from `kept`.
        started: whether the folder has results, which depend on them. Settings without results are replaced.
        what: the folder holds, as `an evaluation`.
        setting: the caller's argument for the folder, by its name in Python.

    Raises:
        OutputError: the folder has other settings, or they are damaged, or cannot be written.
    """
    if before is None:
        return write_whole(path, content)
    there, now = _settings(path, before), json.loads(content)
    if not started and there.keys() == now.keys():  # with other keys the file is somebody else's
        return write_whole(path, content)
    if changed := list(_differing(there, now)):
        raise OutputError(
            f"{path.parent} holds {what} with other settings ({'; '.join(changed)}): give another folder, "
            "or the same settings to go on with it",
            settings=(setting,),
        )
    return None


def _differing(there: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """What differs, in words: of groups of settings what within them does, as a whole group is too long."""
    for key in {**now, **there}:
        before, after = there.get(key), now.get(key)
        name = f"{above}{key}"
        if before == after:
            continue
        if name in FINGERPRINTS:
            yield f"another {name}"
        elif not (isinstance(before, dict) and isinstance(after, dict)):
            yield f"{name}: {_brief(before)} there, {_brief(after)} now"
        elif before.keys() == after.keys():
            yield from _differing(before, after, f"{name}, ")
        else:
            yield f"{name}: {_brief([*before])} there, {_brief([*after])} now"


def _settings(path: Path, content: bytes) -> dict[str, Any]:
    try:
        settings = json.loads(content)
        settings.keys()
    except (ValueError, AttributeError, RecursionError) as error:
        raise OutputError(f"{path} is damaged: give another folder") from error
    return settings


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
