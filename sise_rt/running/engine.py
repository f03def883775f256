"""The engine: a bundle's graphs, open on one provider, and masked scoring in batches."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from sise_rt.bundle import WEIGHTS, Manifest
from sise_rt.cautions import Caution
from sise_rt.errors import ArgumentError, BundleError, ProviderError
from sise_rt.graphs import gradient_name, head_graph
from sise_rt.pictures.flatness import is_almost_constant, is_constant
from sise_rt.pictures.resizing import resize_by_neighbours
from sise_rt.wording import in_bytes

from .batches import Batches
from .gate_record import unproven
from .passes import FeaturePass, OpenGraph, cannot_run, run_features
from .provider import ON_CUDA
from .runtime import onnxruntime
from .sessions import Sessions

CPU_BATCHES, GPU_BATCHES = (1, 2, 4, 8), (8, 16, 32, 64, 128)

MEMORY = 10**9

_batches: dict[tuple, Batches] = {}


class Engine:
    """Runs a bundle's graphs on one provider. Thread-safe: a session may be run from several threads.

    Args:
        sessions: of the bundle. Where they chose CUDA by themselves and it does not start, the CPU runs it.
        memory: bytes that the images of a pass may take, besides the model; None takes `MEMORY`.

    Attributes:
        sessions: of the provider in use.
        warnings: what the user should know of the choice.
        unproven: likewise, of scores in bfloat16.

    Raises:
        ProviderError: the provider that was asked for is not there.
        BundleError: a graph cannot be loaded, or does not fit the manifest.
        ArgumentError: `memory` is below 1.
    """

    def __init__(self, sessions: Sessions, memory: int | None = None):
        if memory is not None and memory < 1:
            raise ArgumentError(f"memory is {memory}, at least 1 byte is needed", settings=("memory",))
        self.sessions, self.memory = sessions, memory or MEMORY
        self.warnings: list[Caution] = [
            *sessions.warnings,
            *self._warnings_of_memory(asked=memory is not None),
        ]
        try:
            self._open()
        except ProviderError as error:
            if sessions.chosen:
                raise
            self.warnings.append(Caution("cpu-instead", f"running on the CPU: {error}"))
            self.sessions = sessions.on_cpu()
            self._open()
        if sessions.tf32_allowed and not self.tf32:
            device = "the CPU" if self.sessions.provider.on_cpu else self.sessions.provider.device
            text = f"TensorFloat-32 was allowed, which {device} does not have"
            self.warnings.append(Caution("tf32-unavailable", text))
        if self.manifest.precision == "fp16" and self.sessions.provider.on_cpu:
            text = "the bundle scores in float16, which gains nothing on a CPU"
            self.warnings.append(Caution("float16-on-cpu", text))
        self.unproven = unproven(self.sessions)
        self._others: dict[str, OpenGraph] = {}
        self._opening = threading.Lock()

    @property
    def folder(self) -> Path:
        """The bundle."""
        return self.sessions.folder

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.sessions.manifest

    @property
    def provider(self) -> str:
        """The name of the provider in use, as it is asked for."""
        return self.sessions.provider.name

    @property
    def threads(self) -> int:
        """How many cores the CPU's operators use."""
        return self.sessions.threads

    @property
    def tf32(self) -> bool:
        """Whether convolutions and matrix products may be rounded to TensorFloat-32."""
        return self.sessions.tf32

    def _warnings_of_memory(self, asked: bool) -> list[Caution]:
        needed = self.manifest.memory
        if not needed and asked:
            text = (
                "the memory is not bounded: the bundle is of an older sise-rt and does not tell what a pass "
                "takes; export it again"
            )
            return [Caution("memory-unbounded", text)]
        texts, more = [], f"more than the {in_bytes(self.memory)} allowed"
        if needed and needed["forward"] > self.memory:
            one = f"a single image takes about {in_bytes(needed['forward'])} in a pass"
            texts.append(f"{one}, {more}: images are run one at a time")
        if needed and asked and self.manifest.has_gradients and needed["backward"] > self.memory:
            gradients = f"the pass for an image's gradients may take {in_bytes(needed['backward'])}"
            texts.append(f"{gradients}, {more}: it cannot be done in parts, and is run all the same")
        return [Caution("memory-exceeded", text) for text in texts]

    def _open(self) -> None:
        """Open the two graphs that SISE runs; on a CPU at the same time, as opening is slow there."""
        if self.sessions.provider.on_cpu:
            with ThreadPoolExecutor(1) as pool:
                score = pool.submit(self.sessions.open, "score")
                self.features_graph = self.sessions.open("features")
                self.score_graph = score.result()
        else:
            self.features_graph, self.score_graph = map(self.sessions.open, ("features", "score"))
        self.warnings += self.features_graph.notes + self.score_graph.notes

    def features(self, images: np.ndarray, targets: np.ndarray) -> FeaturePass:
        """Feature maps, gradient scores and logits, as `run_features` gives them."""
        return run_features(self.features_graph, self.manifest, images, targets)

    def forward(self, images: np.ndarray) -> np.ndarray:
        """The logits (N, classes) of images (N, C, H, W)."""
        (logits,) = self._run_other("forward", {"images": images})
        return logits

    def last_block_gradient(
        self, images: np.ndarray, cotangents: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The last block's maps, a gradient with respect to them, and the logits.

        Args:
            images: (N, C, H, W) float32.
            cotangents: (N, classes) float32, the weight of each logit in what is differentiated.

        Returns:
            A_B (N, K, h, w), the gradient of sum(cotangents * logits) shaped alike, logits (N, classes).
        """
        maps, gradient, logits = self._run_other(
            "last_block_gradient", {"images": images, "cotangents": cotangents}
        )
        return maps, gradient, logits

    def image_gradient(self, images: np.ndarray, cotangents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient of sum(cotangents * logits) with respect to the images, and the logits."""
        gradient, logits = self._run_other("image_gradient", {"images": images, "cotangents": cotangents})
        return gradient, logits

    def classify(self, maps: np.ndarray) -> np.ndarray:
        """The logits (N, classes) that the last block's maps (N, K, h, w) lead to."""
        (logits,) = self._run_other("classifier", {self.manifest.blocks[-1].tensor: maps})
        return logits

    def block_gradients(
        self, images: np.ndarray, maps: Sequence[np.ndarray], cotangents: np.ndarray
    ) -> list[np.ndarray]:
        """The gradient of sum(cotangents * logits) with respect to every block's maps.

        Args:
            images: (N, C, H, W) float32.
            maps: A_b (N, K, h, w) of the images, for every block.
            cotangents: (N, classes) float32.

        Returns:
            Of each block an array shaped like its maps.
        """
        _, behind, _ = self.last_block_gradient(images, cotangents)
        gradients = [behind]
        for index in range(len(maps) - 1, 0, -1):  # each block's head takes the gradient at the next block
            block = self.manifest.blocks[index - 1]
            inputs = {block.tensor: maps[index - 1], gradient_name(index + 1): gradients[0]}
            gradient, _ = self._run_other(head_graph(index), inputs)
            gradients.insert(0, gradient)
        return gradients

    def require(self, name: str) -> OpenGraph:
        """A graph that SISE does not need, opened at the first use and kept.

        Raises:
            BundleError: the bundle does not have the graph.
        """
        with self._opening:
            if name not in self._others:
                self._others[name] = self.sessions.open(name)
                self.warnings += self._others[name].notes
            return self._others[name]

    def _run_other(self, name: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run a graph that SISE does not need.

        Raises:
            BundleError: as `require`, or as `OpenGraph.run`.
            ModelError: likewise.
        """
        graph, count = self.require(name), len(next(iter(inputs.values())))
        at_once = self.sessions.at_once(count)
        parts = [
            graph.run({key: value[start : start + at_once] for key, value in inputs.items()})
            for start in range(0, count, at_once)
        ]
        return parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]

    def scorer(self, image: np.ndarray, targets: np.ndarray) -> Scorer:
        """Masked scoring of one image (1, C, H, W) for targets (T,)."""
        return Scorer(self, image, targets)

    def batches(self, graph: str, size: int | None = None) -> Batches:
        """How to split work for one of the graphs.

        Without a size the fastest that fits into the memory is found, once a process.
        """
        if fixed := self.manifest.input.batch:
            return Batches((fixed,))
        if size is not None:
            return Batches((size,))
        most = self.most_at_once(graph)
        sizes = tuple(n for n in (CPU_BATCHES if self.sessions.provider.on_cpu else GPU_BATCHES) if n <= most)
        sizes, shape = sizes or (most,), self.manifest.preprocess.input_size
        key = (
            self.manifest.files[WEIGHTS],
            graph,
            self.provider,
            self.sessions.scored_in,
            self.threads,
            *shape,
            sizes,
        )
        return _batches.setdefault(key, Batches(sizes))

    @property
    def targets_at_once(self) -> int:
        """How many targets a run of the features graph takes, at least one."""
        return self.most_at_once("features") if self.manifest.shared_forward else 1

    def most_at_once(self, graph: str) -> int:
        """How many images, or targets of one, fit into the memory that a pass may take; at least one."""
        if not self.manifest.memory:
            return max(GPU_BATCHES)
        direction = "forward" if graph in ("score", "forward", "classifier") else "backward"
        return max(1, self.memory // self.manifest.memory[direction])


class Scorer:
    """Scores masked copies of one image; on a GPU the image and the targets stay on the device.

    Attributes:
        targets: how many there are.
        size: (H, W) of the image.
        rounding: of an area, which is a sum over all pixels.
    """

    rounding = 1e-3

    def __init__(self, engine: Engine, image: np.ndarray, targets: np.ndarray):
        self._graph, self._on_cpu = engine.score_graph, engine.provider not in ON_CUDA
        self.targets, self.size = len(targets), image.shape[2:]
        self._inputs = {"image": image, "targets": targets}
        if not self._on_cpu:
            ort = onnxruntime()
            try:
                self._binding = self._graph.session.io_binding()
                for name, value in self._inputs.items():
                    held = ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0)
                    self._binding.bind_ortvalue_input(name, held)
            except Exception as error:
                raise cannot_run(error) from error

    def __call__(
        self, maps: np.ndarray, most: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Score a batch of feature maps.

        Args:
            maps: (M, h, w).
            most: maps that a batch may have; a GPU is given no more, unless M is.

        Returns:
            Confidences (M, T), and of each map resized to the input its minimum (M,), its maximum (M,), and
            the sum of its normalised mask over the pixels (M,).

        Raises:
            OutOfMemory: the device's memory is full.
            ModelError: ONNX Runtime cannot run the graph.
            BundleError: an output has another type or shape than the manifest says, or is what no mask has.
        """
        count = len(maps)
        maps = np.ascontiguousarray(maps, np.float32)[:, None]
        if self._on_cpu:
            return self._sound(maps, self._graph.run({**self._inputs, "maps": maps}))
        # Every new shape would search for kernels again, so that there are few of them.
        padded = 1 << (count - 1).bit_length()
        padded = max(count, min(padded, most)) if most else padded
        maps = np.concatenate([maps, np.repeat(maps[-1:], padded - count, axis=0)])
        try:
            self._binding.bind_cpu_input("maps", maps)
            for output in self._graph.spec.outputs:
                self._binding.bind_output(output.name)
            self._graph.session.run_with_iobinding(self._binding)
            outputs = self._binding.copy_outputs_to_cpu()
        except Exception as error:
            raise cannot_run(error) from error
        self._graph.require_fit({**self._inputs, "maps": maps}, outputs)
        return self._sound(maps[:count], [value[:count] for value in outputs])

    def _sound(
        self, maps: np.ndarray, outputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The outputs, once it is seen that masks of these maps can have such extremes and areas.

        A mask of a map that is not flat is 0 at one pixel at least and 1 at another.
        """
        confidences, low, high, area = outputs
        pixels, slack = math.prod(self.size), 1 + self.rounding
        sound = np.isfinite([low, high, area]).all(axis=0) & (low <= high)
        for k in np.flatnonzero(sound).tolist():
            if is_constant(low[k], high[k]):
                sound[k] = is_almost_constant(resize_by_neighbours(maps[k, 0], self.size))
            else:
                sound[k] = area[k] * slack >= 1 and area[k] <= pixels * slack
        if not sound.all():
            k = int(np.argmin(sound))
            raise BundleError(
                f"{self._graph.file} gives a minimum of {low[k]:.6g}, a maximum of {high[k]:.6g} and an area "
                f"of {area[k]:.6g} for a mask of {pixels} pixels, which cannot be: export the bundle again"
            )
        return confidences, low, high, area
