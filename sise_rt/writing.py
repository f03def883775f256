"""Where a bundle is written: a folder that appears whole or not at all, whose manifest comes last."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from .bundle import MANIFEST, Manifest, parse_manifest
from .errors import BundleError, OutputError
from .files import make_folder
from .wording import reason


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; a folder without one is no bundle.

    What UTF-8 does not hold, as of a file name that is no text, becomes JSON's escape for it.
    """
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8", errors="backslashreplace")


@contextmanager
def new_bundle(output: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `output` when the block ends without an error, else nothing changes.

    Raises:
        OutputError: `output` exists and may not be replaced, or cannot be written.
    """
    try:
        _check_free(output, overwrite)
        make_folder(output.parent)
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {reason(error)}") from error
    try:
        scratch.chmod(0o755)
        yield scratch
        _check_free(output, overwrite)  # again, as an export takes its time
        _move(scratch, output)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {reason(error)}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_free(output: Path, overwrite: bool) -> None:
    """Refuse to replace anything but a whole bundle: what else lies there may exist nowhere else.

    Raises:
        OutputError: `output` exists and is no bundle, or one that may not be replaced.
    """
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not (output / MANIFEST).is_file():
        kind = "a link" if output.is_symlink() else "no bundle"
        raise OutputError(f"{output} exists already and is {kind}, so it stays as it is: choose another name")
    try:
        manifest = parse_manifest((output / MANIFEST).read_text("utf-8"), MANIFEST)
    except (BundleError, ValueError) as error:  # ValueError: text that is no UTF-8
        raise OutputError(
            f"{output} exists already and is no bundle that this version reads ({error}), "
            "so it stays as it is: delete it by hand, or choose another name"
        ) from error
    own = {PurePosixPath(path) for path in (MANIFEST, *manifest.files)}
    own |= {folder for path in own for folder in path.parents}
    present = (PurePosixPath(path.relative_to(output).as_posix()) for path in output.rglob("*"))
    if foreign := sorted(str(path) for path in present if path not in own):
        raise OutputError(
            f"{output} exists already and holds what is not the bundle's ({', '.join(foreign[:3])}"
            f"{', ...' if len(foreign) > 3 else ''}), so it stays as it is: choose another name"
        )
    if not overwrite:
        raise OutputError(
            f"{output} exists already, and is replaced only if that is asked for", settings=("overwrite",)
        )


def _move(scratch: Path, output: Path) -> None:
    """Put the finished folder in its place; an old bundle there goes once the new one stands."""
    old = scratch.with_name(f"{scratch.name}.old")
    if replaced := output.exists():
        os.replace(output, old)
    try:
        os.replace(scratch, output)
    except BaseException:
        if replaced:
            os.replace(old, output)
        raise
    shutil.rmtree(old, ignore_errors=True)
