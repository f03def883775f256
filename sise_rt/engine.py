"""ONNX Runtime: sessions, providers, threads and batch sizes. The only runtime module that imports it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import WEIGHTS, Manifest
from .errors import BundleError, ModelError, ProviderError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# What a session may use, in this order; TensorRT leaves to CUDA what it cannot run.
CHAINS = {"cpu": ("cpu",), "cuda": ("cuda", "cpu"), "tensorrt": ("tensorrt", "cuda", "cpu")}
OPTIONS: dict[str, dict[str, str]] = {
    # Exact float32 by default: the selection and Otsu's threshold are hard decisions.
    "cuda": {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    },
}
CPU_BATCHES, GPU_BATCHES = (1, 2, 4, 8), (8, 16, 32, 64, 128)
CALIBRATION_SECONDS = 3.0

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")

_best_batches: dict[tuple, int] = {}


def onnxruntime() -> Any:
    """Import ONNX Runtime.

    Raises:
        ProviderError: it is missing, or both of its wheels are installed and overwrite each other.
    """
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(installed) == 2:
        raise ProviderError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
            "uninstall both (pip uninstall onnxruntime onnxruntime-gpu), "
            "then install sise-rt[cpu] or sise-rt[gpu]"
        )
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            f"ONNX Runtime cannot be imported ({error}): pip install 'sise-rt[cpu]', "
            "or 'sise-rt[gpu]' for CUDA"
        ) from error
    return onnxruntime


@cache
def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _choose(provider: str) -> str:
    """The provider to try; `auto` becomes one that this ONNX Runtime was built with."""
    ort = onnxruntime()
    available = ort.get_available_providers()
    if provider == "auto":
        provider = "cuda" if PROVIDERS["cuda"] in available else "cpu"
    if provider not in PROVIDERS:
        raise ProviderError(f"unknown provider {provider!r}; known are auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[provider] not in available:
        raise ProviderError(
            f"{provider} was asked for, but this ONNX Runtime has only "
            + ", ".join(name for name, full in PROVIDERS.items() if full in available)
            + ("; pip install 'sise-rt[gpu]' in place of 'sise-rt[cpu]'" if provider != "cpu" else "")
        )
    if provider != "cpu" and hasattr(ort, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # it prints what it misses, and standard output is the caller's
            ort.preload_dlls()
    return provider


def run(session: Any, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session.

    Raises:
        ModelError: ONNX Runtime cannot, be it for memory or for an input that does not fit.
    """
    try:
        return session.run(None, inputs)
    except Exception as error:
        raise ModelError(f"the model cannot be run: {_first_line(error)}") from error


def run_features(
    session: Any, manifest: Manifest, images: np.ndarray, targets: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Run the features graph.

    Args:
        session: from `Sessions.open_features`.
        manifest: of the bundle.
        images: (N, C, H, W) float32.
        targets: (N,) int64.

    Returns:
        A_b (N, K, h, w) of each block, alpha_b (N, K) of each block, logits (N, classes). A bundle
        without gradients gives no alphas.

    Raises:
        ModelError: as `run`.
    """
    inputs = {"images": images} | ({"targets": targets} if manifest.has_gradients else {})
    *found, logits = run(session, inputs)
    count = len(manifest.blocks)
    return found[:count], found[count:], logits


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def available_threads() -> int:
    """The cores this process may use: its CPU affinity, cut by a container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


class Sessions:
    """Opens a bundle's graphs on one provider and keeps none, as each session holds its weights again.

    Args:
        folder: the bundle.
        manifest: its manifest, already checked.
        provider: as for `Engine`.
        threads: as for `Engine`.

    Raises:
        ProviderError: this ONNX Runtime was not built with the provider.
    """

    def __init__(
        self, folder: str | Path, manifest: Manifest, provider: str = "auto", threads: int | None = None
    ):
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}, at least 1 is needed")
        self.folder, self.manifest = Path(folder), manifest
        self.threads = threads or available_threads()
        self.provider = _choose(provider)

    def session(self, graph: str) -> Any:
        """A session for one of the bundle's graphs on the engine's provider.

        Raises:
            ProviderError: ONNX Runtime could not start the provider, or silently left it out.
            BundleError: the graph cannot be loaded.
        """
        ort = onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised
        # It keeps a plan of the memory for every input shape; on a CPU each block's last batch has its own.
        options.enable_mem_pattern = self.provider != "cpu"
        # Graphs in subfolders share the weights beside the manifest.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(self.folder.resolve())
        )
        wanted = [(PROVIDERS[name], OPTIONS.get(name, {})) for name in CHAINS[self.provider]]
        try:
            model = (self.folder / graph).read_bytes()
            # ONNX Runtime's own fall-back would print to standard output and go on with the CPU.
            session = ort.InferenceSession(model, options, providers=wanted, enable_fallback=0)
        except Exception as error:
            if self.provider != "cpu":
                raise ProviderError(
                    f"{self.provider} cannot run {self.folder / graph}: {_first_line(error)}"
                ) from error
            raise BundleError(f"{self.folder / graph} cannot be loaded: {_first_line(error)}") from error
        if session.get_providers()[0] != PROVIDERS[self.provider]:
            raise ProviderError(
                f"{self.provider} was asked for, but ONNX Runtime could not start it on this machine "
                f"(driver or CUDA libraries missing?) and offers {', '.join(session.get_providers())}"
            )
        return session

    def open_features(self) -> Any:
        """A session for the features graph; raises as `session` does, or because it misfits the manifest."""
        blocks, size = self.manifest.blocks, self.manifest.preprocess.input_size
        expected = [("images", size), *([("targets", ())] if self.manifest.has_gradients else [])]
        expected += [(block.tensor, (block.channels, block.height, block.width)) for block in blocks]
        if self.manifest.has_gradients:
            expected += [(f"alpha_{i}", (block.channels,)) for i, block in enumerate(blocks, 1)]
        return self._open_fitting("features", [*expected, ("logits", (self.manifest.classes,))])

    def open_score(self) -> Any:
        """A session for the score graph; raises as `open_features` does."""
        expected = [("image", self.manifest.preprocess.input_size), ("maps", (1, "h", "w")), ("targets", ())]
        expected += [("confidences", ("T",)), ("minimum", ()), ("maximum", ()), ("area", ())]
        return self._open_fitting("score", expected)

    def _open_fitting(self, name: str, expected: list[tuple[str, tuple]]) -> Any:
        """A session for a graph whose tensors have to be those that the manifest describes."""
        graph = self.manifest.graphs[name]
        session = self.session(graph)
        slots = [*session.get_inputs(), *session.get_outputs()]
        try:
            found = [(slot.name, tuple(slot.shape[1:])) for slot in slots]
        except UnicodeDecodeError:  # names of dimensions, of a file that nobody exported
            found = []
        if found != expected:
            raise BundleError(f"{self.folder / graph} does not fit the manifest: export the bundle again")
        return session


class Engine(Sessions):
    """Runs a bundle's graphs on one provider. Thread-safe: a session may be run from several threads.

    Args:
        folder: the bundle.
        manifest: its manifest, already checked.
        provider: `auto` (CUDA where this ONNX Runtime and machine have it, else the CPU), `cpu`, `cuda` or
            `tensorrt`.
        threads: of the CPU; None takes the cores that the process may use.

    Attributes:
        provider: the one in use, as in the argument.
        warnings: what the user should know of the choice.

    Raises:
        ProviderError: the provider that was asked for is not there.
        BundleError: a graph cannot be loaded, or does not fit the manifest.
    """

    def __init__(
        self, folder: str | Path, manifest: Manifest, provider: str = "auto", threads: int | None = None
    ):
        super().__init__(folder, manifest, provider, threads)
        self.warnings: list[str] = []
        try:
            self.features_session = self.open_features()
        except ProviderError as error:
            if provider != "auto":
                raise
            self.warnings.append(f"running on the CPU: {error}")
            self.provider = "cpu"
            self.features_session = self.open_features()
        self.score_session = self.open_score()
        self._others: dict[str, Any] = {}
        self._opening = threading.Lock()

    def features(
        self, images: np.ndarray, targets: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Feature maps, gradient scores and logits, as `run_features` gives them."""
        return run_features(self.features_session, self.manifest, images, targets)

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

    def require(self, name: str) -> Any:
        """The session of a graph that SISE does not need, opened at the first use and kept.

        Raises:
            BundleError: the bundle does not have the graph.
        """
        with self._opening:
            if name not in self._others:
                self._others[name] = self._open_other(name)
            return self._others[name]

    def _run_other(self, name: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run a graph that SISE does not need.

        Raises:
            BundleError: as `require`.
            ModelError: as `run`.
        """
        session, count = self.require(name), len(inputs["images"])
        at_once = self.manifest.input.get("batch") or count
        parts = [
            run(session, {key: value[start : start + at_once] for key, value in inputs.items()})
            for start in range(0, count, at_once)
        ]
        return parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _open_other(self, name: str) -> Any:
        size, logits = self.manifest.preprocess.input_size, ("logits", (self.manifest.classes,))
        last, cotangents = self.manifest.blocks[-1], ("cotangents", (self.manifest.classes,))
        shape = (last.channels, last.height, last.width)
        expected: dict[str, list[tuple[str, tuple]]] = {
            "forward": [("images", size), logits],
            "last_block_gradient": [
                *(("images", size), cotangents),
                *((last.tensor, shape), ("last_block_gradient", shape), logits),
            ],
            "image_gradient": [("images", size), cotangents, ("image_gradient", size), logits],
        }
        if not self.manifest.graphs[name]:
            raise BundleError(
                f"{self.manifest.name} has no graph {name!r}: it was exported without gradients, one of its "
                "operators has no gradient rule (the export says so), or it was exported by an older "
                "sise-rt: then export it again"
            )
        return self._open_fitting(name, expected[name])

    def scorer(self, image: np.ndarray, targets: np.ndarray, batch: int) -> Scorer:
        """Masked scoring of one image (1, C, H, W) for targets (T,), in batches of `batch` masks.

        Where the graphs take one image at a time, so does the scorer.
        """
        return Scorer(self, image, targets, self.manifest.input.get("batch") or batch)

    def best_batch(self) -> int:
        """The batch size with the highest throughput of masked scoring, measured once a process and model."""
        if fixed := self.manifest.input.get("batch"):
            return int(fixed)
        size = self.manifest.preprocess.input_size
        key = (self.manifest.files[WEIGHTS], self.provider, self.threads, *size)
        if key not in _best_batches:
            _best_batches[key] = self._calibrate()
        return _best_batches[key]

    def _calibrate(self) -> int:
        block = self.manifest.blocks[-1]
        image = np.zeros((1, *self.manifest.preprocess.input_size), np.float32)
        size = (block.height, block.width)
        ramp = np.linspace(0, 1, block.height * block.width, dtype=np.float32).reshape(size)
        fastest, best, started = np.inf, 1, time.perf_counter()
        batches = CPU_BATCHES if self.provider == "cpu" else GPU_BATCHES
        for batch in batches:
            scorer = self.scorer(image, np.zeros(1, np.int64), batch)
            maps = np.broadcast_to(ramp, (batch, *size))
            seconds = []
            try:
                for _ in range(3 if batch < 4 else 2):  # the first run of a shape allocates and tunes
                    start = time.perf_counter()
                    scorer(maps)
                    seconds.append((time.perf_counter() - start) / batch)
            except ModelError:  # the device's memory is full
                if batch == batches[0]:
                    raise
                break
            if min(seconds) < 0.98 * fastest:  # a larger batch costs memory, so it must pay
                fastest, best = min(seconds), batch
            if time.perf_counter() - started > CALIBRATION_SECONDS:
                break
        return best


class Scorer:
    """Scores masked copies of one image; on a GPU the image and the targets stay on the device."""

    def __init__(self, engine: Engine, image: np.ndarray, targets: np.ndarray, batch: int):
        self.batch, self._session, self._on_cpu = batch, engine.score_session, engine.provider == "cpu"
        self._inputs = {"image": image, "targets": targets}
        if not self._on_cpu:
            ort = onnxruntime()
            self._binding = self._session.io_binding()
            for name, value in self._inputs.items():
                self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0))

    def __call__(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Score up to `batch` feature maps (M, h, w).

        Returns:
            Confidences (M, T), and of each map resized to the input its minimum (M,), its maximum (M,), and
            the sum of its normalised mask over the pixels (M,).
        """
        count = len(maps)
        maps = np.ascontiguousarray(maps, np.float32)[:, None]
        if self._on_cpu:
            confidences, low, high, area = run(self._session, {**self._inputs, "maps": maps})
            return confidences, low, high, area
        if count < self.batch:  # every new shape would search for kernels again
            maps = np.concatenate([maps, np.repeat(maps[-1:], self.batch - count, axis=0)])
        self._binding.bind_cpu_input("maps", maps)
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise ModelError(f"the model cannot be run: {_first_line(error)}") from error
        confidences, low, high, area = (value[:count] for value in self._binding.copy_outputs_to_cpu())
        return confidences, low, high, area
