"""One picture: what of it is salient, and its forms with parts hidden in files without losses."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sise_rt.answering import predict
from sise_rt.bulk.items import DONE, NO_EVIDENCE, SKIPPED
from sise_rt.errors import NoEvidence
from sise_rt.explainer import Explainer
from sise_rt.files import make_folder, whole_file
from sise_rt.methods import Request
from sise_rt.naming import base_name
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import to_original
from sise_rt.pictures.reading import MAX_PIXELS
from sise_rt.running.logits import confidences

from .labels import KINDS, ORIGINAL, RANDOM, REST, SALIENT
from .occlusion import FILLS, at_least, highest_share, occluded, random_map

IMAGES = "images"
SURE = 0.5  # the confidence of a sigmoid's class that is taken for present
NOTHING = "its map marks nothing, or all of the picture"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is made of every picture.

    Attributes:
        request: the method that finds out what is salient; None takes random maps.
        targets: for each class of the data set that the model has, the model's classes.
        area: the share of what the model sees that is salient; None takes the threshold.
        threshold: the value of the map from which on a pixel is salient; None takes the area.
        fill: of `FILLS`.
        salient_label: of `sise_rt.augmenting.labels.SALIENT_LABELS`.
        kept: classes of the model that keep their label whatever is hidden.
        every: whether pictures are taken that the model gets wrong.
        seed: of all that is random.
        batch_size: images a forward pass.
        max_pixels: larger pictures are refused.
        bit_depth: of pictures that are stored in 16 bits; None takes what each file or the model says.
    """

    request: Request | None
    targets: Mapping[str, tuple[int, ...]]
    area: float | None
    threshold: float | None
    fill: str
    salient_label: str
    kept: tuple[int, ...]
    every: bool
    seed: int
    batch_size: int
    max_pixels: int = MAX_PIXELS
    bit_depth: int | None = None

    @property
    def method(self) -> str:
        """What found out what is salient."""
        return RANDOM if self.request is None else self.request.label


@dataclass(frozen=True)
class Job:
    """A picture.

    Attributes:
        id: its path below the data set's folder.
        stem: what its files are called, below the folder of pictures.
        present: the model's classes that it has.
    """

    id: str
    stem: str
    present: tuple[int, ...]


Found = tuple[dict[str, Any], np.ndarray | None, np.ndarray | None]
"""What a line tells, what is salient, bool (H, W), and what was seen; None where there is no augmentation."""


def find(explainer: Explainer, job: Job, picture: Picture, plan: Plan) -> Found:
    """What of a picture is salient for its class; of several classes for the one the model is surest of.

    Raises:
        SiseError: the model cannot be run on it.
    """
    trust = confidences(predict(explainer.engine, picture.tensor), explainer.manifest.activation)
    target, best = max(job.present, key=lambda index: trust[index]), int(trust.argmax())
    line: dict[str, Any] = {
        "id": job.id,
        "status": DONE,
        "part": [1, 1],
        "files": [],
        "target": target,
        "present": list(job.present),
        "predicted": best,
        "confidence": float(trust[target]),
        "area": None,
        "bit_depth": picture.bit_depth,
        "message": None,
    }
    several = explainer.manifest.activation == "sigmoid"
    right = trust[target] >= SURE if several else best == target
    if not (right or plan.every):
        said = explainer.manifest.label(best)
        message = "the model does not see it" if several else f"the model says {said}"
        return line | {"status": SKIPPED, "message": message}, None, None
    try:
        map_ = _map(explainer, job, picture, target, plan)
    except NoEvidence as nothing:
        return line | {"status": NO_EVIDENCE, "message": nothing.message}, None, None
    placed, seen = to_original(map_, picture.placement)
    if plan.area is not None:
        salient = highest_share(placed, seen, plan.area)
    else:
        assert plan.threshold is not None
        salient = at_least(placed, seen, plan.threshold)
    if not salient.any() or (salient == seen).all():
        return line | {"status": NO_EVIDENCE, "message": NOTHING}, None, None
    return line | {"area": float(salient.sum() / seen.sum())}, salient, seen


def _map(explainer: Explainer, job: Job, picture: Picture, target: int, plan: Plan) -> np.ndarray:
    """The map (H, W) float32 over the model's input.

    Raises:
        NoEvidence: nothing speaks for the target.
    """
    if plan.request is None:
        return random_map(picture.placement.input, chance(plan.seed, job.id, RANDOM))
    (answer,) = explainer.explain_methods(picture, [target], [plan.request], batch_size=plan.batch_size)[
        plan.request.label
    ]
    if isinstance(answer, NoEvidence):
        raise answer
    return answer.map


def chance(seed: int, identity: str, use: str) -> np.random.Generator:
    """A source of chance for one picture and use, which does not depend on what was done before."""
    text = f"{seed}:{use}:{identity}".encode("utf-8", "surrogateescape")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))


def write_forms(out: Path, job: Job, pixels: np.ndarray, found: Found, plan: Plan) -> dict[str, Any]:
    """Write the pictures of a job; gives its line.

    Raises:
        OutputError: one cannot be written; `Unwritable` where no other one could be.
    """
    line, salient, seen = found
    shown = {ORIGINAL: pixels}
    if salient is not None and seen is not None:
        for kind, hidden in ((REST, seen & ~salient), (SALIENT, salient)):
            rng = chance(plan.seed, job.id, kind)
            shown[kind] = occluded(pixels, hidden, FILLS[plan.fill], rng)
    files = []
    for kind in KINDS[: len(shown)]:
        ending, data = encoded(shown[kind])
        files.append(f"{IMAGES}/{base_name(job.stem, line['target'], kind)}{ending}")
        make_folder((out / files[-1]).parent, settings=("out",))
        write(out / files[-1], data)
    return line | {"files": files}


def encoded(pixels: np.ndarray) -> tuple[str, bytes]:
    """A picture (H, W, C) as a file without losses, with its ending: PNG, or NumPy's for what is not RGB."""
    if pixels.shape[2] == 3:
        return ".png", cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()
    buffer = io.BytesIO()
    np.save(buffer, pixels, allow_pickle=False)
    return ".npy", buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write a file whole; what a kill leaves of it has a name that the next run replaces.

    Raises:
        OutputError: it cannot be written; `Unwritable` where no other one could be.
    """
    with whole_file(path, path.with_name(f".{path.name}.tmp")) as file:
        file.write(data)
