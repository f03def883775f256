"""A bundle's way to the nodes: once into Ray's object store, and from there once to the disk of each node."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.bundle import MANIFEST, load_bundle, read_bundle, sha256
from sise_rt.errors import BundleError, OutputError
from sise_rt.files import make_folder
from sise_rt.wording import reason

from .cluster import import_ray


@dataclass(frozen=True)
class Shipped:
    """A bundle in the object store.

    Attributes:
        name: of its folder.
        sha256: of its manifest, which has those of all other files.
        content: reference of the files' content by path, each (bytes,) uint8. Inside this object Ray leaves
            it alone: a node that has the bundle already does not fetch it.
    """

    name: str
    sha256: str
    content: Any

    def folder(self) -> Path:
        """The bundle's folder on this node, unpacked there by whoever asks first.

        It lies in the node's folder for temporary files, under the hash of its manifest, appears whole or not
        at all, and stays for the next run.

        Raises:
            BundleError: what is there, or what arrived, is not what was shipped.
            OutputError: the disk does not take it.
        """
        folder = _place() / f"{self.sha256[:32]}.sise"
        if not folder.exists():
            self._unpack(folder)
        elif not _whole(folder, self.sha256):  # as what a cleaner of temporary files left
            damaged = Path(tempfile.mkdtemp(prefix=".damaged-", dir=folder.parent))
            try:
                os.rename(folder, damaged / folder.name)  # out of the way at once, whoever else is at it
            except FileNotFoundError:
                pass
            shutil.rmtree(damaged, ignore_errors=True)
            self._unpack(folder)
        return folder

    def _unpack(self, folder: Path) -> None:
        content = import_ray().get(self.content)
        try:
            scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
            try:
                for path, data in content.items():
                    file = scratch / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)
                _require(scratch, self.sha256)
                scratch.chmod(0o755)
                _appear(scratch, folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"bundle {self.name} cannot be unpacked to {folder}: {reason(error)}"
            ) from error


def ship(bundle: str | Path) -> Shipped:
    """Put a bundle into the object store of the Ray that this process is connected to.

    Raises:
        BundleError: it is no bundle, or not whole.
    """
    with load_bundle(bundle) as (_, files):
        content = {path: np.frombuffer(data, np.uint8) for path, data in files.items()}
        digest = hashlib.sha256(files[MANIFEST]).hexdigest()
        reference = import_ray().put(content)
    return Shipped(Path(bundle).name, digest, reference)


def _place() -> Path:
    """The folder of shipped bundles: nobody else may write there."""
    user = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    place = Path(tempfile.gettempdir()) / f"sise-rt-{user}"
    make_folder(place)
    state = place.lstat()
    if place.is_symlink() or (hasattr(os, "getuid") and state.st_uid != os.getuid()):
        raise OutputError(f"{place} is somebody else's: remove it, or set TMPDIR on the nodes")
    place.chmod(0o700)
    return place


def _appear(scratch: Path, folder: Path) -> None:
    """Let the folder appear; where another one was faster, that one stays."""
    try:
        os.rename(scratch, folder)
    except OSError:
        if not folder.is_dir():
            raise


def _whole(folder: Path, digest: str) -> bool:
    try:
        _require(folder, digest)
    except BundleError:
        return False
    return True


def _require(folder: Path, digest: str) -> None:
    """See that a folder is the bundle of this hash.

    Raises:
        BundleError: it is not.
    """
    read_bundle(folder)
    if sha256(folder / MANIFEST) != digest:
        raise BundleError(f"{folder} is another bundle than the one that was shipped: remove it")
