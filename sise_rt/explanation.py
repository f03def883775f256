"""The explanation: what SISE found for one picture and target, as a record and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .captions import caption_of, class_named
from .cautions import Caution
from .drawing.drawn import drawn, paint
from .drawing.painting import BARE, transparent
from .drawing.palettes import INFERNO
from .drawing.png import encode_png
from .drawing.sizes import SIZE
from .drawing.strips import strip
from .errors import ArgumentError
from .methods import BlockEvidence
from .pictures.picture import Picture, in_rgb
from .pictures.placement import Placement, to_original
from .pictures.raster import in_eight_bits
from .pictures.reading import load_image
from .records import Provenance, record_of
from .report import figures, notebook, page
from .saving import USUAL, no_picture, write_explanation
from .wording import counted, probability


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
        best: the classes with the highest confidence, best first: five, or all of fewer.
        method: one of `sise_rt.methods.METHODS`.
        settings: the method's options, as `mu` (selection threshold) and `fusion` of SISE.
        masks: how many masked copies were scored; shared by the targets of one call.
        passes: images that went through the network for it, shared ones included.
        seconds: per phase, as if it had been asked for alone.
        shared_seconds: of those the ones that the targets of one call share, and that add up once.
        provider: what ran the model.
        provider_version: of ONNX Runtime, or of the plug-in.
        device: that it ran on, as far as the provider tells its name.
        precision: that masked copies were scored in: `fp32`, `bf16`, `fp16`, or `unknown` where a plug-in
            decides.
        tf32: whether it might round to TensorFloat-32.
        batch: masks per forward pass.
        warnings: what the user should know: strings, each with the `code` of its kind.
        partial: whether the caller, or the time, ended it before it was done.
        guessed: masks whose confidence was predicted from that of the others.
        name: of the picture.
        model: name of the bundle.
        placement: where the model's input lies in the picture.
        provenance: what it was made of and by, with hashes, versions and the time.
        bit_depth: of the picture: 2 ** bit_depth - 1 is full scale.
        check: what the model said of the map, as `sise_rt.metrics.check` gives it; None if it was not asked.
        activation: what makes confidences of the model's outputs: `softmax`, `sigmoid` or `none`.
        assumed: what was assumed of the model when it was exported, as its preprocessing, a line each.
        picture: the one that was explained, which what draws takes; no copy. None where it was let go of: in
            what is pickled or copied, and after `dataclasses.replace(explanation, picture=None)`.
    """

    map: np.ndarray = field(repr=False)
    raw: np.ndarray = field(repr=False)
    blocks: tuple[BlockEvidence, ...] = field(repr=False)
    target: int
    label: str
    confidence: float
    best: tuple[Prediction, ...]
    method: str
    settings: dict[str, Any]
    masks: int
    passes: int
    seconds: dict[str, float]
    shared_seconds: dict[str, float]
    provider: str
    provider_version: str
    device: str
    precision: str
    tf32: bool
    batch: int
    warnings: tuple[Caution, ...]
    partial: bool
    guessed: int
    name: str
    model: str
    placement: Placement
    provenance: Provenance = field(repr=False)
    bit_depth: int = 8
    check: Mapping[str, Any] | None = None
    activation: str = "softmax"
    assumed: tuple[str, ...] = ()
    picture: Picture | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: all but the picture, which may be large and is mostly where it came from."""
        return self.__dict__ | {"picture": None}

    @property
    def predicted(self) -> Prediction:
        """The class with the highest confidence, which need not be the target."""
        return self.best[0]

    def said(self, confidence: float) -> str:
        """A confidence of the model, or its output where that is explained itself, for people to read."""
        if self.activation == "none":
            return f"output {confidence:.4g}"
        return f"confidence {probability(confidence)}"

    def heading(self) -> str:
        """What a picture of it is headed by: the target, and the model's confidence in it."""
        return f"{class_named(self.label, self.target)}, {self.said(self.confidence)}"

    def record(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON, and valid against `sise_rt.records.record_schema`."""
        return record_of(self)

    def pixels(self, picture: Any = None) -> np.ndarray:
        """The picture that was explained as it is shown, (H0, W0, 3) uint8 RGB.

        The argument and the errors are those of `overlay`.
        """
        picture = self.picture if picture is None else picture
        if picture is None:
            raise no_picture(self)
        if isinstance(picture, Picture):
            pixels = picture.pixels
        else:
            pixels = in_eight_bits(load_image(picture), self.bit_depth)
        if pixels.shape[:2] != self.placement.original:
            height, width = self.placement.original
            raise ArgumentError(
                f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels is not the one that was "
                f"explained, {self.name}, which has {width} x {height}",
                settings=("picture",),
            )
        return in_rgb(pixels)

    def png(
        self,
        picture: Any = None,
        *,
        size: int = SIZE,
        outline: float | None = 0.5,
        palette: str = INFERNO,
    ) -> bytes:
        """The picture to show to others, as PNG: map, outline, and in words what is seen.

        Args:
            picture: as for `overlay`.
            size: pixels that the picture's short side has at least; 32 to 4096.
            outline: the value of the map that a line goes around, in (0, 1]; None for no line.
            palette: `inferno`, `magma`, `viridis` or `cividis`.

        Raises:
            ArgumentError: an argument is out of its range; and as `overlay` does.
            ImageError: likewise.
        """
        shown = self.pixels(picture)
        return encode_png(
            drawn(
                shown,
                self.map,
                self.placement,
                caption_of(self),
                size=size,
                outline=outline,
                palette=palette,
            )
        )

    def plain_png(self, picture: Any = None, *, outline: float | None = 0.5, palette: str = INFERNO) -> bytes:
        """The map over the picture as PNG, in the picture's own size and without words.

        The arguments and the errors are those of `png`.
        """
        return encode_png(self.overlay(picture, outline=outline, palette=palette))

    def transparent_png(self, *, palette: str = INFERNO) -> bytes:
        """The map alone as PNG with an alpha channel, which is the map, in the picture's own size.

        Raises:
            ArgumentError: there is no such palette.
        """
        return encode_png(transparent(np.clip(to_original(self.map, self.placement)[0], 0, 1), palette))

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; nothing where the picture is gone."""
        return None if self.picture is None else self.png()

    def overlay(
        self, picture: Any = None, *, outline: float | None = 0.5, palette: str = INFERNO
    ) -> np.ndarray:
        """The map over the picture, (H0, W0, 3) uint8 RGB.

        Args:
            picture: the one that was explained: a `Picture`, or a path, bytes, PIL image or uint8 RGB array;
                None takes the one that the explanation holds.
            outline: the value of the map that a line goes around, in (0, 1]; None for no line.
            palette: `inferno`, `magma`, `viridis` or `cividis`.

        Raises:
            ArgumentError: the picture has another size than the one that was explained, or there is none, or
                another argument is out of its range.
            ImageError: it cannot be read.
        """
        shown, size = self.pixels(picture), self.placement.original
        return paint(shown, self.map, self.placement, size, outline=outline, palette=palette, look=BARE)[0]

    def strip(self, picture: Any = None) -> np.ndarray:
        """The picture, each block's visualization map, and the explanation, side by side: uint8 RGB.

        The argument and the errors are those of `overlay`.
        """
        maps = [(block.name, block.visualization) for block in self.blocks] + [("explanation", self.map)]
        return strip(self.pixels(picture), maps, placement=self.placement, heading=self.heading())

    def html(self, picture: Any = None) -> str:
        """A page that stands alone, loads nothing and runs nothing; it prints on one sheet of A4.

        It has the pictures, words for all of the record, and what an audit asks for. What the model says with
        the marked region hidden is there where `sise_rt.metrics.check.check_region` was asked before.

        The argument and the errors are those of `overlay`.
        """
        return page.write_page(self.record(), figures.draw(self, self.pixels(picture), wide=page.WIDE))

    def _repr_html_(self) -> str:
        """What a notebook shows: the picture, where it is still there, and the page's main sentences."""
        return notebook.fragment(self.record(), self._repr_png_())

    def save(
        self,
        folder: str | Path,
        picture: Any = None,
        stem: str | None = None,
        *,
        label: str = "",
        outputs: Collection[str] = USUAL,
        blocks: bool = False,
        report: bool = False,
        map_size: int | None = None,
        draw: Callable[[Explanation, Any], bytes] = png,
    ) -> list[Path]:
        """Write `<stem>.<target>.npy` (map), `.json` (record) and `.png` (the picture to show).

        Args:
            folder: is made if missing.
            picture: as for `overlay`; where the explanation holds none and none is given there is no `.png`.
            stem: of the file names; the picture's own if None. With `/`, as `cam1/0001`, they lie in folders
                below, which are made. What is too long for a file's name is cut, with a hash behind it.
            label: comes behind the target in the file names, as where several methods explain it.
            outputs: what is written: some of `map`, `record`, `overlay` (the `.png`), `blocks` and `report`.
            blocks: also write `<stem>.<target>.blocks.png`, the strip, which needs a picture; a method that
                looks at no blocks has none.
            report: also write `<stem>.<target>.html`, the page, which needs one too.
            map_size: pixels that the short side of the map that is written has at most, by averaging; None
                writes it as it is.
            draw: makes the `.png` of the explanation and the picture, as `Explanation.plain_png` does.

        Returns:
            The files: picture, map, record, strip, page, as far as they were written.

        Raises:
            OutputError: a file cannot be written, or one of that name is no earlier result of the same
                picture, model, target and method, by the record beside it.
            ArgumentError: `blocks` or `report` where there is no picture, or the picture is another one; an
                output is unknown; the stem leads out of the folder; or `map_size` is no size.
            ImageError: the picture cannot be read.
        """
        return write_explanation(
            self,
            Path(folder),
            picture,
            stem,
            label=label,
            outputs={*outputs, *(["blocks"] if blocks else []), *(["report"] if report else [])},
            map_size=map_size,
            draw=draw,
        )

    def __repr__(self) -> str:
        """What is explained, by what."""
        return (
            f"<Explanation of {self.name!r}: {self.heading()}, by {self.method} with "
            f"{counted(self.masks, 'mask')}, map {self.map.shape[0]} x {self.map.shape[1]}>"
        )
