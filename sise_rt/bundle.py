"""The bundle: reading it safely."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from .errors import BundleError
from .manifest import ACTIVATIONS, BEST, LATER, PRECISIONS, SCHEMA_VERSION, Block, Manifest
from .preprocessing import DEPTHS, Preprocess
from .wording import counted, reason

__all__ = [
    "ACTIVATIONS",
    "BEST",
    "DEPTHS",
    "LATER",
    "MANIFEST",
    "PRECISIONS",
    "Block",
    "Bundle",
    "Manifest",
    "Preprocess",
    "load_bundle",
    "parse_manifest",
    "read_again",
    "read_bundle",
    "sha256",
]

MANIFEST = "manifest.json"
WEIGHTS = "weights.bin"
PROBE = "parity.npz"
PASSES = ("forward", "backward")  # whose memory is known


def parse_manifest(text: str, origin: str) -> Manifest:
    """Check a manifest against the schema. Fields that are not known belong to a later minor version.

    Raises:
        BundleError: it is no JSON, of an unknown major version, incomplete, contradictory, or names unsafe
            paths.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{origin} is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise BundleError(f"{origin} holds no JSON object")
    version = data.get("schema_version")
    if not isinstance(version, str):
        raise BundleError(
            f"{origin} has no schema_version, a text such as {SCHEMA_VERSION!r}: export the bundle again"
        )
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise BundleError(
            f"{origin} has schema {version}, this version reads {SCHEMA_VERSION}: "
            "update sise-rt or export again"
        )
    try:
        manifest = msgspec.convert(data, Manifest)
        _refuse_contradictions(manifest)
    except (msgspec.ValidationError, UnicodeError, BundleError) as error:
        raise BundleError(f"{origin}: {error}") from error
    return manifest


def _refuse_contradictions(manifest: Manifest) -> None:
    """Refuse a manifest whose fields, each of its type, do not go together.

    Raises:
        BundleError: says which.
    """
    image, graphs, memory = manifest.input, manifest.graphs, manifest.memory
    size = (image.channels, image.height, image.width)
    if size != manifest.preprocess.input_size:
        raise BundleError(f"input {size} and preprocessing {manifest.preprocess.input_size} differ")
    if image.batch not in (None, 1):
        raise BundleError(f"unknown batch {image.batch!r}")
    if manifest.activation not in ACTIVATIONS:
        raise BundleError(f"unknown activation {manifest.activation!r}")
    if manifest.precision not in PRECISIONS:
        raise BundleError(f"unknown precision {manifest.precision!r}; known are {', '.join(PRECISIONS)}")
    if memory and not all(0 < memory.get(key, 0) < 2**63 for key in PASSES):
        raise BundleError(f"unknown memory {memory!r}")
    if manifest.classes < 1:
        raise BundleError(f"{manifest.classes} classes, where at least 1 is needed")
    if manifest.labels and len(manifest.labels) != manifest.classes:
        labels, classes = len(manifest.labels), manifest.classes
        raise BundleError(f"{counted(labels, 'label')} for {counted(classes, 'class', 'classes')}")
    count = len(manifest.blocks)
    if not count or len(graphs.blocks) != count:
        raise BundleError("every block needs its graph")
    if len(graphs.heads) not in (0, count):
        raise BundleError("either every block has its head, or none has")
    further = [path for path in (getattr(graphs, name) for name in LATER) if path]
    needed = [graphs.features, graphs.score, graphs.classifier, *further, *graphs.blocks, *graphs.heads]
    for path in [*needed, WEIGHTS, PROBE]:
        if path not in manifest.files:
            raise BundleError(f"{path} is not listed among the files")
    for path in manifest.files:
        pure = PurePosixPath(path)
        unsafe = pure.is_absolute() or ".." in pure.parts or any(sign in path for sign in "\\:\0")
        if unsafe or not pure.parts:
            raise BundleError(f"file {path!r} lies outside the bundle")


class Bundle(NamedTuple):
    """A bundle in memory: what was held against its hash is what is used.

    Attributes:
        manifest: what is known of it.
        files: the content of the manifest and of every file that it lists, by path; of the weights, which
            are large, until the context of `load_bundle` ends. `read_again` has them later.
    """

    manifest: Manifest
    files: Mapping[str, bytes]


@contextmanager
def load_bundle(folder: str | Path) -> Iterator[Bundle]:
    """A context in which a bundle is opened, after reading it whole into memory.

    Every file is checked against its hash: the weights, which are large, while the context opens what the
    caller may use when it has ended.

    Raises:
        BundleError: the folder is no bundle, a file is missing, altered or a link, or memory is too small;
            also in place of what the context raises of weights that were altered.
    """
    folder = Path(folder)
    with _readable(folder):
        manifest, written = _manifest(folder)
        files = {path: _whole(folder, path).read_bytes() for path in manifest.files}
        for path in files.keys() - {WEIGHTS}:
            _require_unaltered(folder / path, hashlib.sha256(files[path]).hexdigest(), manifest.files[path])
        files[MANIFEST] = written
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(lambda: hashlib.sha256(files[WEIGHTS]).hexdigest())
        try:
            yield Bundle(manifest, files)
        finally:
            _require_unaltered(folder / WEIGHTS, digest.result(), manifest.files[WEIGHTS])
            del files[WEIGHTS]


def read_again(folder: Path, path: str, manifest: Manifest) -> bytes:
    """A file of a bundle that was loaded, as it was then.

    Raises:
        BundleError: it is another one now, or it is missing.
    """
    with _readable(folder):
        content = _whole(folder, path).read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest.files[path]:
        raise BundleError(f"{folder / path} has changed since the bundle was loaded: load it again")
    return content


def read_bundle(folder: str | Path) -> Manifest:
    """Read a bundle's manifest and check every file against its hash.

    Raises:
        BundleError: the folder is no bundle, or a file is missing, altered, or a link.
    """
    folder = Path(folder)
    with _readable(folder):
        manifest, _ = _manifest(folder)
        for path, expected in manifest.files.items():
            _require_unaltered(folder / path, sha256(_whole(folder, path)), expected)
    return manifest


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """What the system says while a bundle is read, as a BundleError."""
    try:
        yield
    except BundleError:
        raise
    except MemoryError as error:
        raise BundleError(f"{folder} cannot be read: it needs more memory than there is") from error
    # ValueError: text that is no UTF-8, names that are no file names. RuntimeError: a link to itself.
    except (OSError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"{getattr(error, 'filename', None) or folder} cannot be read: {reason(error)}"
        ) from error


def _manifest(folder: Path) -> tuple[Manifest, bytes]:
    """The manifest of a folder, which may be no bundle, and the bytes that it was read from."""
    if not folder.is_dir():
        file = "it is a file; a model is exported to a bundle first"
        kind = file if folder.exists() else "no such folder"
        raise BundleError(f"{folder} is no bundle: {kind}")
    if not _inside(folder, MANIFEST).is_file():
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}")
    written = (folder / MANIFEST).read_bytes()
    return parse_manifest(written.decode("utf-8"), str(folder / MANIFEST)), written


def _whole(folder: Path, path: str) -> Path:
    """A file of the bundle, which is there."""
    file = _inside(folder, path)
    if not file.is_file():
        raise BundleError(f"{file} is missing; copy the whole bundle, or export it again")
    return file


def _require_unaltered(file: Path, digest: str, expected: str) -> None:
    if digest != expected:
        raise BundleError(
            f"{file} was altered since the export (its sha256 differs): copy or export the bundle again"
        )


def _inside(folder: Path, path: str) -> Path:
    file = folder / path
    if file.resolve() != folder.resolve() / path:
        raise BundleError(f"{file} is a link; a bundle's files must lie inside it")
    return file


def sha256(path: Path) -> str:
    """The sha256 of a file, hexadecimal.

    Raises:
        BundleError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {reason(error)}") from error
