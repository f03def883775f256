"""The bundle: its manifest, and reading it safely."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import BundleError
from .wording import counted

SCHEMA_VERSION = "1.3"
MANIFEST = "manifest.json"
WEIGHTS = "weights.bin"
PROBE = "parity.npz"
PRECISIONS = ("fp32", "fp16")  # that masked copies are scored in
PASSES = ("forward", "backward")  # whose memory is known
COLORS = {1: ("GRAY",), 3: ("RGB", "BGR")}  # by channels; a picture has no others
SMALLEST, LARGEST = 1e-9, 1e9  # of what pixels are divided by, or shifted by


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the model's input; key names are timm's, plus `color` and `scale`.

    A pixel value p in [0, 255] becomes (p / scale - mean) / std, channels in the order of `color`.

    Attributes:
        input_size: (channels, height, width) of the model's input.
        interpolation: `bilinear` or `bicubic`, both anti-aliased when shrinking.
        crop_pct: the crop's share of the resized picture's side, in [0.01, 1].
        crop_mode: `center` resizes the short side and crops the middle, `squash` ignores the aspect ratio.
        mean: one value a channel, after scaling.
        std: one value a channel, after scaling, positive.
        color: `RGB` or `BGR` for 3 channels, `GRAY` for 1; `RGB` for any other number, where it says nothing:
            such arrays are taken as they are.
        scale: pixels are divided by it, positive.
    """

    input_size: tuple[int, int, int]
    interpolation: str
    crop_pct: float
    crop_mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: str
    scale: float

    def __post_init__(self) -> None:
        """Refuse values that would give a wrong or non-finite input."""
        size = self.input_size
        _require(
            len(size) == 3 and min(size) > 0,
            f"input_size {size}, where (channels, height, width), all positive, is needed",
        )
        channels = size[0]
        for key, known in (
            ("interpolation", ("bilinear", "bicubic")),
            ("crop_mode", ("center", "squash")),
            ("color", ("RGB", "BGR", "GRAY")),
        ):
            value = getattr(self, key)
            _require(value in known, f"{key} {_cut(value)}; known are {', '.join(known)}")
        colors = COLORS.get(channels, ("RGB",))
        _require(
            self.color in colors,
            f"color {self.color} does not go with {counted(channels, 'channel')} of the model's input: "
            + (f"use {' or '.join(colors)}" if channels in COLORS else "leave it out, they come as they are"),
        )
        # So phrased, because NaN compares false; the limits keep float32 from overflowing.
        _require(0.01 <= self.crop_pct <= 1, f"crop_pct {_cut(self.crop_pct)}, where 0.01 to 1 is needed")
        for key in ("mean", "std"):
            values = getattr(self, key)
            _require(
                len(values) == channels,
                f"{key} of {counted(len(values), 'value')} for {counted(channels, 'channel')}",
            )
        for value in self.mean:
            _require(abs(value) < LARGEST, f"mean {_cut(value)}, where -1e9 to 1e9 is needed")
        for key, values in (("std", self.std), ("scale", (self.scale,))):
            for value in values:
                _require(SMALLEST < value < LARGEST, f"{key} {_cut(value)}, where 1e-9 to 1e9 is needed")


def _require(valid: bool, what: str) -> None:
    if not valid:
        raise BundleError(f"preprocessing is not usable: {what}")


def _cut(value: object) -> str:
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."


@dataclass(frozen=True)
class Block:
    """A convolutional block's output: tensor name, channels K, and spatial size (h, w)."""

    name: str
    tensor: str
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Manifest:
    """What a program needs to know of a bundle.

    Attributes:
        schema_version: `major.minor`; readers refuse another major.
        name: the bundle's name.
        input: `channels`, `height`, `width`, the source model's `layout`, and `batch` (1) where the
            graphs take one image at a time.
        preprocess: how a picture becomes the input.
        activation: `softmax` or `sigmoid`.
        labels: one a class, or empty if unknown.
        classes: the number of logits.
        blocks: the block outputs in the order of the data.
        graphs: paths of `features`, `score` and `classifier`, and lists of `blocks` and `heads`; no heads
            where the model was exported without gradients. Further `forward`, `last_block_gradient` and
            `image_gradient` for other methods than SISE, empty where the bundle has them not.
        opset: the ONNX operator set of the graphs.
        source: `format`, `sha256` and `producer` of the model that was exported.
        parity: the errors measured at export.
        assumed: what the source did not say and the user did not give.
        licence: of the weights, or None if unknown.
        files: sha256 of every file but the manifest, by path.
        precision: `fp32`, or `fp16` where the score graph has its network in float16; everything that goes
            into a graph or comes out of it is in float32 all the same. Since 1.3.
        memory: bytes that an image takes in a `forward` pass and in a `backward` one, weights aside; empty in
            a bundle before 1.3.
    """

    name: str
    input: Mapping[str, Any]
    preprocess: Preprocess
    activation: str
    labels: tuple[str, ...]
    classes: int
    blocks: tuple[Block, ...]
    graphs: Mapping[str, Any]
    opset: int
    source: Mapping[str, Any]
    parity: Mapping[str, Any]
    assumed: tuple[str, ...]
    licence: str | None
    files: Mapping[str, str]
    schema_version: str = SCHEMA_VERSION
    precision: str = PRECISIONS[0]
    memory: Mapping[str, int] = field(default_factory=dict)

    def label(self, index: int) -> str:
        """The label of a class, its index where labels are unknown."""
        return self.labels[index] if self.labels else str(index)

    @property
    def has_gradients(self) -> bool:
        """Whether the bundle gives gradient scores; without them no map is preferred to another."""
        return bool(self.graphs["heads"])

    @property
    def takes_best(self) -> bool:
        """Whether the target `BEST` of the features graph is the class with the highest logit: since 1.2."""
        minor = self.schema_version.split(".")[1:2]
        return self.has_gradients and bool(minor) and minor[0].isdecimal() and int(minor[0]) >= 2

    def to_json(self) -> str:
        """The manifest as written to `manifest.json`."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


# The types of the manifest's fields; [kind] is a list of them.
NUMBER = (int, float)
FIELDS: dict[str, Any] = {
    "schema_version": str,
    "name": str,
    "input": dict,
    "preprocess": dict,
    "activation": str,
    "labels": [str],
    "classes": int,
    "blocks": [dict],
    "graphs": dict,
    "opset": int,
    "source": dict,
    "parity": dict,
    "assumed": [str],
    "licence": (str, type(None)),
    "files": dict,
    "precision": str,
    "memory": dict,
}
PREPROCESS: dict[str, Any] = {
    "input_size": [int],
    "interpolation": str,
    "crop_pct": NUMBER,
    "crop_mode": str,
    "mean": [NUMBER],
    "std": [NUMBER],
    "color": str,
    "scale": NUMBER,
}
BLOCK: dict[str, Any] = {"name": str, "tensor": str, "channels": int, "height": int, "width": int}
GRAPHS: dict[str, Any] = {"features": str, "score": str, "classifier": str, "blocks": [str], "heads": [str]}
BEST = -1  # as a target of the features graph
LATER = ("forward", "last_block_gradient", "image_gradient")  # graphs that bundles have from schema 1.1 on


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
    version = str(data.get("schema_version"))
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise BundleError(
            f"{origin} has schema {version}, this version reads {SCHEMA_VERSION}: "
            "update sise-rt or export again"
        )
    try:
        found = _fields({"precision": PRECISIONS[0], "memory": {}} | data, FIELDS, "the manifest")
        settings = _fields(found["preprocess"], PREPROCESS, "preprocess")
        for key in ("input_size", "mean", "std"):
            settings[key] = tuple(settings[key])
        blocks = [_fields(block, BLOCK, "a block") for block in found["blocks"]]
        manifest = Manifest(
            **found
            | {
                "preprocess": Preprocess(**settings),
                "labels": tuple(found["labels"]),
                "assumed": tuple(found["assumed"]),
                "blocks": tuple(Block(**block) for block in blocks),
                "graphs": _graphs(found["graphs"]),
            }
        )
        _check(manifest)
    except BundleError as error:
        raise BundleError(f"{origin}: {error}") from error
    return manifest


def _graphs(data: dict[str, Any]) -> dict[str, Any]:
    """The paths of the graphs; those that an older bundle does not have are empty."""
    later = {name: data.get(name, "") for name in LATER}
    return _fields(data | later, GRAPHS | dict.fromkeys(LATER, str), "graphs")


def _fields(data: dict[str, Any], kinds: Mapping[str, Any], where: str) -> dict[str, Any]:
    wrong = [key for key, kind in kinds.items() if key not in data or not _is_a(data[key], kind)]
    if wrong:
        raise BundleError(f"{', '.join(wrong)} of {where} missing or of the wrong type")
    return {key: data[key] for key in kinds}


def _is_a(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is_a(item, kind[0]) for item in value)
    return isinstance(value, kind) and not isinstance(value, bool)


def _check(manifest: Manifest) -> None:
    size = tuple(manifest.input.get(key) for key in ("channels", "height", "width"))
    if size != manifest.preprocess.input_size:
        raise BundleError(f"input {size} and preprocessing {manifest.preprocess.input_size} differ")
    if manifest.input.get("batch") not in (None, 1):
        raise BundleError(f"unknown batch {manifest.input['batch']!r}")
    if manifest.activation not in ("softmax", "sigmoid"):
        raise BundleError(f"unknown activation {manifest.activation!r}")
    if manifest.precision not in PRECISIONS:
        raise BundleError(f"unknown precision {manifest.precision!r}; known are {', '.join(PRECISIONS)}")
    bytes_an_image = [manifest.memory.get(key) for key in PASSES] if manifest.memory else []
    if not all(_is_a(count, int) and count in range(1, 2**63) for count in bytes_an_image):
        raise BundleError(f"unknown memory {manifest.memory!r}")
    if manifest.classes < 1:
        raise BundleError(f"{manifest.classes} classes, where at least 1 is needed")
    if manifest.labels and len(manifest.labels) != manifest.classes:
        labels, classes = len(manifest.labels), manifest.classes
        raise BundleError(f"{counted(labels, 'label')} for {counted(classes, 'class', 'classes')}")
    count = len(manifest.blocks)
    if not count or len(manifest.graphs["blocks"]) != count:
        raise BundleError("every block needs its graph")
    if len(manifest.graphs["heads"]) not in (0, count):
        raise BundleError("either every block has its head, or none has")
    graphs = [manifest.graphs[key] for key in ("features", "score", "classifier")]
    graphs += [manifest.graphs[key] for key in LATER if manifest.graphs[key]]
    for path in [*graphs, *manifest.graphs["blocks"], *manifest.graphs["heads"], WEIGHTS, PROBE]:
        if path not in manifest.files:
            raise BundleError(f"{path} is not listed among the files")
    for path in manifest.files:
        pure = PurePosixPath(path)
        unsafe = pure.is_absolute() or ".." in pure.parts or any(sign in path for sign in "\\:\0")
        if unsafe or not pure.parts:
            raise BundleError(f"file {path!r} lies outside the bundle")


def read_bundle(folder: str | Path) -> Manifest:
    """Read a bundle's manifest and check every file against its hash.

    Raises:
        BundleError: the folder is no bundle, or a file is missing, altered, or a link.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            kind = "it is a file" if folder.exists() else "no such folder"
            raise BundleError(f"{folder} is no bundle: {kind}")
        if not _inside(folder, MANIFEST).is_file():
            raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}")
        manifest = parse_manifest((folder / MANIFEST).read_text("utf-8"), str(folder / MANIFEST))
        for path, expected in manifest.files.items():
            file = _inside(folder, path)
            if not file.is_file():
                raise BundleError(f"{file} is missing; copy the whole bundle, or export it again")
            if sha256(file) != expected:
                raise BundleError(
                    f"{file} was altered since the export (its sha256 differs): "
                    "copy or export the bundle again"
                )
    except BundleError:
        raise
    # ValueError: text that is no UTF-8, names that are no file names. RuntimeError: a link to itself.
    except (OSError, ValueError, RuntimeError) as error:
        raise BundleError(f"{folder} cannot be read: {error}") from error
    return manifest


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
        raise BundleError(f"{path} cannot be read: {error}") from error
