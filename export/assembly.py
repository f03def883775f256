"""The files of a bundle, and the proof that they give the source's numbers: of an export, and of a trial."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sise_rt.bundle import MANIFEST, PROBE, Block, Manifest, sha256
from sise_rt.errors import ModelError
from sise_rt.running.sessions import Sessions
from sise_rt.wording import counted

from .graphs.building import Graphs, build_graphs
from .preparation import Preparation
from .proof.parity import measure
from .proof.shared_forward import takes_several_targets
from .write import write_graphs


def assemble(
    folder: Path, prepared: Preparation, manifest: Manifest
) -> tuple[Manifest, Graphs, dict[str, int]]:
    """Write every file of a bundle but its manifest, and compare its numbers with the source's.

    Args:
        folder: an empty one.
        prepared: the model.
        manifest: from `prepared.manifest`; it names the graphs to build.

    Returns:
        The manifest with files and parity, the graphs, and where each weight begins in `weights.bin`.

    Raises:
        UnsupportedOperator: an operator on the way of a gradient score has no gradient rule.
        ParityError: the graphs' numbers differ from the source's.
        ModelError: they cannot be built or run.
    """
    graphs = build_graphs(prepared.network, manifest)
    offsets = write_graphs(folder, prepared.network, graphs.files)
    if manifest.shared_forward and not takes_several_targets(folder, manifest):
        manifest = replace(manifest, shared_forward=False)
        graphs = build_graphs(prepared.network, manifest)
        offsets = write_graphs(folder, prepared.network, graphs.files)
    paths = manifest.graphs.without(graphs.missing)
    manifest = replace(manifest, graphs=paths, files=_hashes(folder))
    return _with_parity(folder, manifest, prepared), graphs, offsets


def _with_parity(folder: Path, manifest: Manifest, prepared: Preparation) -> Manifest:
    """The manifest with the parity that was measured, whose probe is stored beside the graphs.

    Raises:
        ParityError: the graphs' numbers differ from the source's.
        ModelError: they cannot be run.
    """
    sessions = Sessions(folder, manifest, provider="cpu")
    try:
        parity, probe, by_chance = measure(sessions, prepared.source, prepared.network)
    except MemoryError as error:
        raise ModelError(
            f"images of {manifest.input.height}x{manifest.input.width} pixels need more memory than there "
            "is: choose a smaller input size",
            settings=("input_size",),
        ) from error
    probe.save(folder)
    files = {**manifest.files, PROBE: sha256(folder / PROBE)}
    graphs = manifest.graphs
    if "image_gradient" in parity.unproven:
        (folder / graphs.image_gradient).unlink()
        del files[graphs.image_gradient]
        graphs = graphs.without(("image_gradient",))
    warnings = (*manifest.warnings, *map(_by_chance, by_chance))
    return replace(manifest, parity=parity, files=files, graphs=graphs, warnings=warnings)


def _by_chance(block: Block) -> str:
    return (
        f"the gradient scores of {block.name} ({block.tensor}) are nothing but rounding, as in front of a "
        "normalisation over each map: its maps are chosen by chance, and others on another machine; "
        "export it again with other blocks, as with a tensor behind that normalisation"
    )


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def limits_of_proof(manifest: Manifest, prepared: Preparation) -> Iterator[str]:
    """What the parity does not cover."""
    compared, blocks = manifest.parity.compared.alpha, len(manifest.blocks)
    if manifest.has_gradients and prepared.source.program is not None and compared < blocks:
        yield f"alpha compared with torch autograd for {compared} of {counted(blocks, 'block')}"
    if "image_gradient" in manifest.parity.unproven:
        yield (
            "no integrated gradients and no extremal perturbation, which need the image's gradient: "
            "it was not shown to be right"
        )
    if manifest.parity.quantised:
        yield (
            "the model rounds its tensors: its gradients pass straight through the rounding, as in training; "
            "they are not compared with central differences, as a step function has none"
        )
