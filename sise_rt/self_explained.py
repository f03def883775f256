"""Explanations by a single file, `explain.onnx`: what its graph gives, told as any other explanation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from . import __version__
from .cautions import Caution
from .errors import ImageError, ModelError, NoEvidence
from .explanation import Explanation, Prediction
from .manifest import GraphPaths, ImageInput, Manifest, Parity
from .methods import BlockEvidence
from .pictures.picture import Picture
from .records import Provenance
from .running.logits import confidences
from .running.one_graph import Explained, SingleFile
from .running.runtime import runtime_version
from .single_file import FINE, IMPOSSIBLE, NOT_FINITE, SILENT

BEST = 5  # classes that are told of beside the target


def manifest_of(single: SingleFile) -> Manifest:
    """What the file says of its model, as a bundle's manifest would; it has no graphs."""
    facts = single.facts
    return Manifest(
        name=facts.name,
        input=ImageInput(*facts.preprocessing.input_size),
        preprocess=facts.preprocessing,
        activation=facts.activation,
        labels=facts.labels,
        classes=single.classes,
        blocks=facts.blocks,
        graphs=GraphPaths("", "", "", (), ()),
        opset=0,
        source=facts.source,
        parity=Parity(),
        assumed=facts.assumed,
        licence=facts.licence,
        files={},
        warnings=facts.warnings,
        described=facts.described,
    )


def explain_by_file(
    single: SingleFile, picture: Picture, targets: Sequence[int], top_k: int = 1, mu: float = 0.0
) -> list[Explanation | NoEvidence]:
    """Explain classes of a picture, a run of the file each.

    Args:
        single: the file.
        picture: prepared for it.
        targets: class indices; without any the `top_k` classes with the highest logits.
        top_k: at least 1.
        mu: selection threshold of SISE.

    Returns:
        One explanation a class, or that nothing speaks for it.

    Raises:
        ModelError: the file cannot be run, or its numbers are not finite for this picture.
        ImageError: the graph takes pixels of 8 bits, and the picture has more.
    """
    if single.facts.picture and picture.bit_depth != 8:
        raise ImageError(f"{picture.name} has {picture.bit_depth} bits, and {single.name} takes 8")
    image = picture.pixels if single.facts.picture else picture.tensor
    wanted = list(targets) or [-1]
    found: list[Explanation | NoEvidence] = []
    for place in range(len(targets) or top_k):
        start = time.perf_counter()
        explained = single.explain(image, wanted[place], mu)
        seconds = time.perf_counter() - start
        if explained.status in (NOT_FINITE, IMPOSSIBLE):
            raise ModelError(f"{picture.name}: the model's numbers are not finite for this image")
        if not targets and place == 0:
            wanted = np.argsort(-explained.logits, kind="stable").tolist()
            top_k = min(top_k, len(wanted))
        if place < len(wanted):
            found.append(_told(single, picture, explained, mu, seconds))
    return found


def _told(
    single: SingleFile, picture: Picture, explained: Explained, mu: float, seconds: float
) -> Explanation | NoEvidence:
    facts, target = single.facts, explained.target
    label = facts.labels[target] if facts.labels else str(target)
    if explained.status != FINE:
        why = "no feature map speaks" if explained.status == SILENT else "only flat maps speak"
        return NoEvidence(
            f"{picture.name}: {why} for target {target} ({label}). The picture may be blank, or the class "
            "may not be in it"
        )
    trust = confidences(explained.logits, facts.activation)
    best = np.argsort(-explained.logits, kind="stable")[:BEST].tolist()
    provider, times = single.provider, {"preprocess": picture.seconds, "scoring": seconds}
    return Explanation(
        map=explained.map,
        raw=explained.map.astype(np.float64),
        blocks=_blocks(single, explained),
        target=target,
        label=label,
        confidence=explained.confidence,
        best=tuple(Prediction(i, facts.labels[i] if facts.labels else str(i), float(trust[i])) for i in best),
        method=facts.method,
        settings={"mu": mu, "fusion": "otsu"} if facts.method == "sise" else {},
        masks=explained.masks,
        passes=explained.masks + 1,
        seconds=times,
        shared_seconds={"preprocess": picture.seconds},
        provider=provider.name,
        provider_version=provider.version,
        device=provider.device,
        precision="fp32",
        tf32=False,
        batch=1,
        warnings=(*(Caution("bundle", text) for text in facts.warnings), *picture.notes),
        partial=False,
        guessed=0,
        name=picture.name,
        model=facts.name,
        placement=picture.placement,
        provenance=_provenance(single, picture),
        bit_depth=picture.bit_depth,
        activation=facts.activation,
        assumed=facts.assumed,
        picture=picture,
    )


def _blocks(single: SingleFile, explained: Explained) -> tuple[BlockEvidence, ...]:
    """The evidence of each block; none of a gradient CAM."""
    rows = zip(
        single.facts.blocks, explained.kept, explained.used, explained.visualization_maps, strict=False
    )
    return tuple(
        BlockEvidence(block.name, block.channels, int(kept), int(kept - used), map_ if map_.any() else None)
        for block, kept, used, map_ in rows
    )


def _provenance(single: SingleFile, picture: Picture) -> Provenance:
    facts = single.facts
    return Provenance(
        version=__version__,
        onnxruntime=runtime_version(),
        threads=single.threads,
        bundle_sha256=single.sha256,
        described=facts.described,
        amended=(),
        source=facts.source,
        preprocess=facts.preprocessing,
        picture=picture.fingerprint,
        time=datetime.now(UTC),
    )
