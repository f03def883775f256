"""The manifest: what a program needs to know of a bundle. Its types are its schema."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .preprocessing import Preprocess

SCHEMA_VERSION = "1.5"
ACTIVATIONS = ("softmax", "sigmoid", "none")  # what makes confidences of the outputs
PRECISIONS = ("fp32", "fp16")  # that masked copies are scored in
PIXELS = ("mean", "std", "scale", "color")  # settings by which a model sees nothing where they are wrong
BEST = -1  # as a target of the features graph: the class with the highest logit
LATER = ("forward", "last_block_gradient", "image_gradient")  # graphs that bundles have from schema 1.1 on


@dataclass(frozen=True)
class Block:
    """A convolutional block's output: tensor name, channels K, and spatial size (h, w)."""

    name: str
    tensor: str
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class ImageInput:
    """What the graphs take for an image: extents, and whether several at a time.

    Attributes:
        channels: C.
        height: H in pixels.
        width: W in pixels.
        layout: of the source model's input, `NCHW` or `NHWC`; the bundle's graphs take `NCHW`.
        batch: 1 where the graphs take one image at a time, None where they take any number.
    """

    channels: int
    height: int
    width: int
    layout: str = "NCHW"
    batch: int | None = None


@dataclass(frozen=True)
class GraphPaths:
    """The files of the graphs, relative to the bundle; `sise_rt.graphs` says what each takes and gives.

    Attributes:
        features: SISE's phase 1.
        score: SISE's phase 3.
        classifier: behind the last block.
        blocks: one a block.
        heads: one a block, or none where the model was exported without gradients.
        forward: like the two below for other methods than SISE, and empty where the bundle has it not.
        last_block_gradient: likewise.
        image_gradient: likewise.
    """

    features: str
    score: str
    classifier: str
    blocks: tuple[str, ...]
    heads: tuple[str, ...]
    forward: str = ""
    last_block_gradient: str = ""
    image_gradient: str = ""

    def without(self, names: Collection[str]) -> GraphPaths:
        """The same, but for some of the graphs that a bundle may lack."""
        kept = {name: "" if name in names else getattr(self, name) for name in LATER}
        return GraphPaths(self.features, self.score, self.classifier, self.blocks, self.heads, **kept)


@dataclass(frozen=True)
class Origin:
    """The model that was exported: its format, its name, its sha256, and what wrote it."""

    format: str = ""
    name: str = ""
    sha256: str = ""
    producer: str = ""


@dataclass(frozen=True)
class Compared:
    """For how many blocks the source gave feature maps, and gradient scores, to compare with."""

    maps: int = 0
    alpha: int = 0


@dataclass(frozen=True)
class SourcePrecision:
    """What a source was in before it was brought to float32, and how far its results were from those then.

    The error is None where this machine cannot run the source as it is.
    """

    source: str
    error: float | None


@dataclass(frozen=True)
class GateFigures:
    """Explanations by rounded scores against those by float32, on pictures that the model is for.

    Attributes:
        images: pictures that have an explanation.
        left_out: pictures that have none in either precision.
        masks: at most, of each picture.
        correlation: Pearson's, of the explanation maps by the two precisions, in the mean.
        lowest_correlation: of a picture.
        jaccard: of the two sets of feature maps that entered them, in the mean.
        confidence: the largest difference of a masked copy's confidence.
    """

    images: int
    left_out: int
    masks: int
    correlation: float
    lowest_correlation: float
    jaccard: float
    confidence: float


@dataclass(frozen=True)
class HalfPrecision(GateFigures):
    """The figures of float16 scores.

    Attributes:
        peak: the largest absolute value that float16 had to hold.
    """

    peak: float


@dataclass(frozen=True)
class Parity:
    """What the export measured; all at their defaults before that.

    Attributes:
        reference: what the bundle was compared with, for people to read.
        compared: the number of blocks that were.
        errors: by the names of `sise_rt.running.verify`.
        alpha_with_own_kinks: the error of alpha before torch's units were put on the bundle's sides.
        quantised: whether the network rounds to whole steps.
        unproven: names of errors that measure nothing in this network; `image_gradient` where the bundle
            lacks that graph because it was not shown to be right.
        precision: of the source, None if it was in float32.
        gate: of scores in float16, None for a bundle in float32.
    """

    reference: str = ""
    compared: Compared = Compared()
    errors: Mapping[str, float] = field(default_factory=dict)
    alpha_with_own_kinks: float | None = None
    quantised: bool = False
    unproven: tuple[str, ...] = ()
    precision: SourcePrecision | None = None
    gate: HalfPrecision | None = None


@dataclass(frozen=True)
class Amendment:
    """What was stated of a bundle after its export, in place of what it said before.

    Attributes:
        time: of the change, in UTC, ISO 8601.
        manifest: the sha256 of the `manifest.json` that was amended.
        before: what that said, by the settings' names.
    """

    time: str
    manifest: str
    before: Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a program needs to know of a bundle.

    Attributes:
        schema_version: `major.minor`; readers refuse another major.
        name: the bundle's name.
        input: what the graphs take for an image.
        preprocess: how a picture becomes the input.
        activation: `softmax` or `sigmoid`; `none`, since 1.4, where the output itself is explained and no
            confidence is a probability.
        labels: one a class, or empty if unknown.
        classes: the number of logits.
        blocks: the block outputs in the order of the data.
        graphs: where the graphs are.
        opset: the ONNX operator set of the graphs.
        source: the model that was exported.
        parity: the errors measured at export.
        assumed: what the source did not say and the user did not give, a line each, which begins with the
            setting's name.
        licence: of the weights, or None if unknown.
        files: sha256 of every file but the manifest, by path.
        precision: `fp32`, or `fp16` where the score graph has its network in float16; everything that goes
            into a graph or comes out of it is in float32 all the same. Since 1.3.
        memory: bytes that an image takes in a `forward` pass and in a `backward` one, weights aside; empty in
            a bundle before 1.3.
        warnings: what makes explanations mean something else than one would think, a line each; every record
            repeats them. Since 1.4.
        described: what was taken from which of the model's own files, a line each. Since 1.5.
        shared_forward: whether the features graph takes several targets of one image, which share the forward
            pass, and a target of -2 is the class with the second highest logit, and so on; else it takes a
            target for each image. Since 1.5.
        amended: what was stated after the export, in the order of time. Since 1.5, and in an earlier bundle
            that was amended.
    """

    name: str
    input: ImageInput
    preprocess: Preprocess
    activation: str
    labels: tuple[str, ...]
    classes: int
    blocks: tuple[Block, ...]
    graphs: GraphPaths
    opset: int
    source: Origin
    parity: Parity
    assumed: tuple[str, ...]
    licence: str | None
    files: Mapping[str, str]
    schema_version: str = SCHEMA_VERSION
    precision: str = PRECISIONS[0]
    memory: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    shared_forward: bool = False
    amended: tuple[Amendment, ...] = ()

    def label(self, index: int) -> str:
        """The label of a class, its index where labels are unknown."""
        return self.labels[index] if self.labels else str(index)

    @property
    def has_gradients(self) -> bool:
        """Whether the bundle gives gradient scores; without them no map is preferred to another."""
        return bool(self.graphs.heads)

    @property
    def takes_best(self) -> bool:
        """Whether the target `BEST` of the features graph is the class with the highest logit: since 1.2."""
        minor = self.schema_version.split(".")[1:2]
        return self.has_gradients and bool(minor) and minor[0].isdecimal() and int(minor[0]) >= 2

    def assumes(self, *settings: str) -> bool:
        """Whether one of some settings was assumed."""
        return any(is_about(line, settings) for line in self.assumed)

    @property
    def amended_settings(self) -> tuple[str, ...]:
        """The names of what was stated after the export, each once."""
        return tuple(sorted({name for entry in self.amended for name in entry.before}))

    def to_json(self) -> str:
        """The manifest as written to `manifest.json`."""
        data = asdict(self)
        if not self.amended:
            del data["amended"]
        data |= {"input": _stated(self.input), "parity": _stated(self.parity)}
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def is_about(line: str, settings: Collection[str]) -> bool:
    """Whether a line of what was assumed is about one of some settings: it begins with the name."""
    return line.split(maxsplit=1)[0].rstrip(",") in settings if line.strip() else False


def _stated(part: ImageInput | Parity) -> dict[str, Any]:
    """A part of the manifest without what does not apply to the bundle."""
    return {
        key: value
        for key, value in asdict(part).items()
        if value is not None and value is not False and value != ()
    }
