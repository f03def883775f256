"""Running a single file, `explain.onnx`, by ONNX Runtime alone."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.bundle import BEST
from sise_rt.errors import BundleError, ProviderError
from sise_rt.single_file import SelfTest, read_facts
from sise_rt.wording import reason

from .passes import first_line, run
from .probe import CELLS, probe_tensor
from .providers import choose
from .runtime import onnxruntime
from .sessions import available_threads

TOLERANCES = {"confidence": 1e-3, "explanation": 2e-2}  # on another machine, for a picture of few pixels
TEST_EXTENT = 32  # of the stored picture, at most
OUTPUTS = ("explanation", "confidence", "class", "logits", "status")


@dataclass(frozen=True)
class Explained:
    """What a single file gives for a picture.

    Attributes:
        map: (H, W) float32 in [0, 1].
        confidence: in the class.
        target: class index, -1 where there is none.
        logits: (classes,).
        status: one of those in `sise_rt.single_file`.
        visualization_maps: U_b of each block, (B, H, W); like the next ones empty, or 0, of a gradient CAM.
        kept: how many maps of each block speak for the class, (B,).
        used: how many of these entered its map, (B,).
        masks: that were scored.
    """

    map: np.ndarray
    confidence: float
    target: int
    logits: np.ndarray
    status: int
    visualization_maps: np.ndarray
    kept: np.ndarray
    used: np.ndarray
    masks: int


class SingleFile:
    """A model that explains itself, open on a provider.

    Args:
        model: the file's content.
        name: of the file, for messages.
        provider: as for `choose`.
        threads: of the CPU; None takes the cores that the process may use.

    Attributes:
        facts: what it says of itself.
        sha256: of the content.
        classes: how many there are.
        provider: the one in use.
        threads: in use.

    Raises:
        BundleError: it cannot be loaded, or is no single file.
        ProviderError: the provider is not there, or gives wrong gradients.
    """

    def __init__(self, model: bytes, name: str, provider: str = "cpu", threads: int | None = None):
        ort = onnxruntime()
        self.name, self.sha256 = name, hashlib.sha256(model).hexdigest()
        self.provider = choose(provider)
        if not self.provider.has_gradients:
            raise ProviderError(f"{self.provider.full} gives wrong gradients, which are inside {name}")
        cores = available_threads()
        self.threads = min(threads or cores, cores)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 4  # that its settings have defaults is warned of
        try:
            wanted = self.provider.configure(options, self.threads, "fp32", tf32=False)
            self.session = ort.InferenceSession(model, options, providers=wanted, enable_fallback=0)
        except Exception as error:
            raise BundleError(f"{name} cannot be loaded: {first_line(error)}") from error
        self.facts = read_facts(self.session.get_modelmeta().custom_metadata_map, name)
        self._outputs = [output.name for output in self.session.get_outputs()]
        inputs = (*self.session.get_inputs(), *self.session.get_overridable_initializers())
        self._types = {value.name: value.type for value in inputs}
        shapes = {output.name: output.shape for output in self.session.get_outputs()}
        if missing := set(OUTPUTS) - set(self._outputs):
            raise BundleError(f"{name} has no output {sorted(missing)[0]!r}: export it again")
        self.classes = int(shapes["logits"][0])

    def explain(
        self, image: np.ndarray, target: int = BEST, mu: float = 0.0, max_masks: int | None = None
    ) -> Explained:
        """Explain a class of a picture.

        Args:
            image: (1, C, H, W) float32, or pixels (H0, W0, C) uint8 where the graph does the preprocessing.
            target: class index, -1 for the best one.
            mu: selection threshold (eq. 7).
            max_masks: that are scored at most; None for all.

        Raises:
            ModelError: ONNX Runtime cannot run it, as for a picture of another size.
        """
        most = np.iinfo(np.int64).max if max_masks is None else max_masks
        given: dict[str, Any] = {
            "image": image,
            "target": np.array(target, np.int64),
            "mu": np.array(mu, np.float32),
            "max_masks": np.array(most, np.int64),
        }
        values = run(self.session, {name: given[name] for name in self._types if name in given})
        out = dict(zip(self._outputs, values, strict=True))
        nothing = np.zeros(0, np.int64)
        return Explained(
            map=out["explanation"],
            confidence=float(out["confidence"]),
            target=int(out["class"]),
            logits=out["logits"],
            status=int(out["status"]),
            visualization_maps=out.get("visualization_maps", np.zeros((0, *out["explanation"].shape), "f")),
            kept=out.get("kept", nothing),
            used=out.get("used", nothing),
            masks=int(out.get("masks_scored", 0)),
        )


def open_single_file(path: Path, provider: str = "cpu", threads: int | None = None) -> SingleFile:
    """Open a file; raises as `SingleFile` does, and `BundleError` where it cannot be read."""
    try:
        model = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {reason(error)}") from error
    return SingleFile(model, str(path), provider, threads)


def self_test(single: SingleFile, picture: np.ndarray, max_masks: int) -> SelfTest:
    """What the file gives for a small picture (C, rows, columns) uint8."""
    test = SelfTest(base64.b64encode(picture.tobytes()).decode(), picture.shape, max_masks, 0, 0.0, 0, ())
    explained = _tested(single, test)
    cells = tuple(tuple(round(float(value), 6) for value in row) for row in cell_means(explained.map))
    return replace(
        test,
        target=explained.target,
        confidence=explained.confidence,
        status=explained.status,
        cells=cells,
    )


def verify_single_file(single: SingleFile) -> dict[str, float]:
    """Run a file's own test again: errors by the names in `TOLERANCES`.

    Raises:
        BundleError: the file has no test, or finds another class or status than where it was made.
    """
    test = single.facts.self_test
    if test is None:
        raise BundleError(f"{single.name} holds no numbers to be compared with: export it again")
    explained = _tested(single, test)
    found, stored = (explained.target, explained.status), (test.target, test.status)
    if found != stored:
        raise BundleError(
            f"{single.name} gives class {found[0]} and status {found[1]} for its own picture, and gave "
            f"{stored[0]} and {stored[1]} where it was made: export it again"
        )
    cells, before = cell_means(explained.map), np.array(test.cells)
    if cells.shape != before.shape:
        raise BundleError(f"the stored map of {single.name} is of another size: export it again")
    return {
        "confidence": abs(explained.confidence - test.confidence),
        "explanation": float(np.abs(cells - before).max()),
    }


def _tested(single: SingleFile, test: SelfTest) -> Explained:
    spec = single.facts.preprocessing
    try:
        small = np.frombuffer(base64.b64decode(test.pixels), np.uint8).reshape(test.shape)
    except ValueError as error:
        raise BundleError(f"the picture inside {single.name} cannot be used: {error}") from error
    channels, height, width = spec.input_size
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), test.shape[1:], strict=True))
    picture = small[:channels, rows[:, None], columns]
    image = probe_tensor(picture, spec)
    if single.facts.picture:
        image = np.ascontiguousarray(np.broadcast_to(picture.transpose(1, 2, 0), (height, width, 3)))
    return single.explain(image, max_masks=test.max_masks or None)


def cell_means(map_: np.ndarray) -> np.ndarray:
    """Means of a map (H, W) over at most 16 x 16 cells."""
    means = map_.astype(np.float64)
    for axis in (0, 1):
        extent = means.shape[axis]
        starts = np.linspace(0, extent, min(CELLS, extent), endpoint=False).astype(int)
        lengths = np.diff([*starts, extent])
        means = np.add.reduceat(means, starts, axis=axis) / (lengths if axis else lengths[:, None])
    return means
