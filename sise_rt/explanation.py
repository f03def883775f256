"""The explanation: what SISE found for one picture and target, as a record and as pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ArgumentError
from .files import make_folder, write_whole
from .methods import BlockEvidence
from .pictures.picture import Picture, in_rgb
from .pictures.placement import Placement, to_original
from .pictures.raster import in_eight_bits
from .pictures.reading import load_image
from .render import overlay, save_png, strip
from .saving import SUFFIXES, base_name, refuse_foreign
from .wording import counted, probability

MOST_IN_A_ROW = 6  # pictures, so that a comparison still fits on a screen


@dataclass(frozen=True)
class Prediction:
    """The class with the highest confidence: index, label, and confidence as that of an explanation."""

    index: int
    label: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the model gave a picture its confidence in one target.

    Attributes:
        map: (H, W) float32 in [0, 1], in the model's input coordinates: the fused map, min-max normalised.
        raw: (H, W) float64, the method's map before that; of SISE in [0, number of usable blocks], the fused
            map as Fig. 5 gives it.
        blocks: the evidence of each block, in the order of the data; empty where a method has none.
        target: class index.
        label: of the target.
        confidence: of the model in the target, for the whole picture, in [0, 1]; where `activation` is
            `none`, the model's output for it, in whatever unit that is.
        predicted: the class with the highest confidence, which need not be the target.
        method: one of `sise_rt.methods.METHODS`.
        settings: the method's options, as `mu` (selection threshold) and `fusion` of SISE.
        masks: how many masked copies were scored; shared by the targets of one call.
        passes: images that went through the network for it, shared ones included.
        seconds: per phase; `features` and `scoring` are shared by the targets of one call.
        provider: what ran the model.
        provider_version: of ONNX Runtime, or of the plug-in.
        device: that it ran on, as far as the provider tells its name.
        precision: that masked copies were scored in: `fp32`, `bf16`, `fp16`, or `unknown` where a plug-in
            decides.
        tf32: whether it might round to TensorFloat-32.
        batch: masks per forward pass.
        warnings: what the user should know.
        partial: whether the caller, or the time, ended it before it was done.
        guessed: masks whose confidence was predicted from that of the others.
        name: of the picture.
        model: name of the bundle.
        placement: where the model's input lies in the picture.
        bit_depth: of the picture: 2 ** bit_depth - 1 is full scale.
        check: what `sise_rt.metrics.check.check` found, None if it was not asked.
        activation: what makes confidences of the model's outputs: `softmax`, `sigmoid` or `none`.
        assumed: what was assumed of the model when it was exported, as its preprocessing, a line each.
    """

    map: np.ndarray = field(repr=False)
    raw: np.ndarray = field(repr=False)
    blocks: tuple[BlockEvidence, ...] = field(repr=False)
    target: int
    label: str
    confidence: float
    predicted: Prediction
    method: str
    settings: dict[str, Any]
    masks: int
    passes: int
    seconds: dict[str, float]
    provider: str
    provider_version: str
    device: str
    precision: str
    tf32: bool
    batch: int
    warnings: tuple[str, ...]
    partial: bool
    guessed: int
    name: str
    model: str
    placement: Placement
    bit_depth: int = 8
    check: Mapping[str, float | None] | None = None
    activation: str = "softmax"
    assumed: tuple[str, ...] = ()

    def said(self, confidence: float) -> str:
        """A confidence of the model, or its output where that is explained itself, for people to read."""
        if self.activation == "none":
            return f"output {confidence:.4g}"
        return f"confidence {probability(confidence)}"

    def heading(self) -> str:
        """What a picture of it is headed by: the target, and the model's confidence in it."""
        unnamed = self.label == str(self.target)
        name = f"class {self.target}" if unnamed else f"{self.label} ({self.target})"
        return f"{name}, {self.said(self.confidence)}"

    def record(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON."""
        return {
            "image": self.name,
            "bit_depth": self.bit_depth,
            "model": self.model,
            "target": {"index": self.target, "label": self.label},
            "confidence": self.confidence,
            "activation": self.activation,
            "predicted": asdict(self.predicted),
            "method": self.method,
            **self.settings,
            "blocks": [
                {
                    "name": b.name,
                    "maps": b.maps,
                    "kept": b.kept,
                    "constant": b.constant,
                    "used": b.visualization is not None,
                }
                for b in self.blocks
            ],
            "masks": self.masks,
            "passes": self.passes,
            "seconds": {phase: round(seconds, 4) for phase, seconds in self.seconds.items()},
            "provider": self.provider,
            "provider_version": self.provider_version,
            "device": self.device,
            "precision": self.precision,
            "tf32": self.tf32,
            "batch": self.batch,
            "partial": self.partial,
            "guessed": self.guessed,
            "assumed": list(self.assumed),
            "warnings": list(self.warnings),
            **({"check": dict(self.check)} if self.check else {}),
        }

    def overlay(self, picture: Any) -> np.ndarray:
        """The map over the picture, (H0, W0, 3) uint8 RGB.

        Args:
            picture: the one that was explained: a `Picture`, or a path, bytes, PIL image or uint8 RGB array.

        Raises:
            ArgumentError: the picture has another size than the one that was explained.
            ImageError: it cannot be read.
        """
        return overlay(_shown(picture, self), *to_original(self.map, self.placement))

    def strip(self, picture: Any) -> np.ndarray:
        """The picture, each block's visualization map, and the explanation, side by side: uint8 RGB.

        The argument and the errors are those of `overlay`.
        """
        maps = [(block.name, block.visualization) for block in self.blocks] + [("explanation", self.map)]
        placed = [(name, None if m is None else to_original(m, self.placement)[0]) for name, m in maps]
        seen = to_original(self.map, self.placement)[1]
        return strip(_shown(picture, self), placed, seen=seen, heading=self.heading())

    def save(
        self,
        folder: str | Path,
        picture: Any = None,
        stem: str | None = None,
        *,
        label: str = "",
        blocks: bool = False,
    ) -> list[Path]:
        """Write `<stem>.<target>.npy` (map), `.json` (record) and, with the picture, `.png` (overlay).

        Args:
            folder: is made if missing.
            picture: the one that was explained, as for `overlay`; without it there is no `.png`.
            stem: of the file names; the picture's own if None.
            label: comes behind the target in the file names, as where several methods explain it.
            blocks: also write `<stem>.<target>.blocks.png`, the strip, which needs the picture.

        Returns:
            The files: overlay, map, record, strip, as far as they were written.

        Raises:
            OutputError: a file cannot be written, or one of that name is no earlier result of the same
                picture, model, target and method.
            ArgumentError: `blocks` without a picture, or the picture is another one.
            ImageError: the picture cannot be read.
        """
        if blocks and picture is None:
            raise ArgumentError("a strip of blocks needs the picture: give it as well", settings=("picture",))
        folder = Path(folder)
        base = base_name(Path(self.name).stem if stem is None else stem, self.target, label)
        record = self.record()
        refuse_foreign(folder, base, record)
        shown = None if picture is None else _shown(picture, self)
        array = io.BytesIO()
        np.save(array, self.map, allow_pickle=False)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        make_folder(folder, settings=("folder",))
        write_whole(folder / f"{base}.npy", array.getvalue())
        # File names may hold bytes that are no UTF-8; JSON writes such a character as Python does.
        write_whole(folder / f"{base}.json", text.encode("utf-8", "backslashreplace"))
        drawn = {}
        if shown is not None:
            drawn = {".png": self.overlay(shown)} | ({".blocks.png": self.strip(shown)} if blocks else {})
        for suffix, pixels in drawn.items():
            save_png(folder / f"{base}{suffix}", pixels)
        written = [suffix for suffix in SUFFIXES if suffix in (".npy", ".json") or suffix in drawn]
        return [folder / f"{base}{suffix}" for suffix in written]

    def __repr__(self) -> str:
        """What is explained, by what."""
        return (
            f"<Explanation of {self.name!r}: {self.heading()}, by {self.method} with "
            f"{counted(self.masks, 'mask')}, map {self.map.shape[0]} x {self.map.shape[1]}>"
        )


def compare(explanations: Mapping[str, Explanation | None], picture: Any) -> np.ndarray:
    """The picture and the maps of several explanations of one target, side by side: uint8 RGB (H, W, 3).

    Of many methods it has several rows.

    Args:
        explanations: by what is written over each, None where there is none; at least one is there.
        picture: as for `Explanation.overlay`, and with its errors.
    """
    first = next(e for e in explanations.values() if e is not None)
    placed = [
        (name, None if e is None else to_original(e.map, e.placement)[0]) for name, e in explanations.items()
    ]
    seen = to_original(first.map, first.placement)[1]
    tiles = len(placed) + 1
    return strip(
        _shown(picture, first),
        placed,
        seen=seen,
        heading=first.heading(),
        columns=ceil(tiles / ceil(tiles / MOST_IN_A_ROW)),
    )


def _shown(picture: Any, explanation: Explanation) -> np.ndarray:
    """The pixels of the explained picture in RGB, (H0, W0, 3) uint8."""
    if isinstance(picture, Picture):
        pixels = picture.pixels
    else:
        pixels = in_eight_bits(load_image(picture), explanation.bit_depth)
    if pixels.shape[:2] != explanation.placement.original:
        height, width = explanation.placement.original
        raise ArgumentError(
            f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels is not the one that was explained, "
            f"{explanation.name}, which has {width} x {height}",
            settings=("picture",),
        )
    return in_rgb(pixels)
