"""ONNX Runtime, which no other runtime module imports: providers, threads, and sessions for a bundle."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sise_rt.bundle import Manifest
from sise_rt.errors import ArgumentError, BundleError, ModelError, OutOfMemory, ProviderError
from sise_rt.graphs import graph_specs

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# What a session may use, in this order; TensorRT leaves to CUDA what it cannot run.
CHAINS = {"cpu": ("cpu",), "cuda": ("cuda", "cpu"), "tensorrt": ("tensorrt", "cuda", "cpu")}
OPTIONS: dict[str, dict[str, str]] = {
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
}

# How ONNX Runtime, CUDA, cuBLAS and cuDNN say that memory is full.
FULL = re.compile("bad_?alloc|bad allocation|allocate memory|out of memory|alloc_failed", re.IGNORECASE)

ELEMENTS = {"tensor(float)": "float32", "tensor(int64)": "int64"}  # as ONNX Runtime calls them

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


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
        OutOfMemory: the device's memory is full.
        ModelError: ONNX Runtime cannot, as for an input that does not fit.
    """
    try:
        return session.run(None, inputs)
    except Exception as error:
        raise cannot_run(error) from error


def cannot_run(error: Exception) -> ModelError:
    """What is raised for an error of ONNX Runtime, which has one kind for all of them."""
    kind = OutOfMemory if FULL.search(str(error)) else ModelError
    return kind(f"the model cannot be run: {first_line(error)}")


class FeaturePass(NamedTuple):
    """What a run of the features graph gives for N images and as many targets.

    Attributes:
        maps: A_b of each block, (N, K, h, w).
        alphas: alpha_b of each block, (N, K); empty where the bundle has no gradients.
        logits: (N, classes).
    """

    maps: list[np.ndarray]
    alphas: list[np.ndarray]
    logits: np.ndarray


def run_features(session: Any, manifest: Manifest, images: np.ndarray, targets: np.ndarray) -> FeaturePass:
    """Run the features graph.

    Args:
        session: of the graph.
        manifest: of the bundle.
        images: (N, C, H, W) float32.
        targets: (N,) int64.

    Raises:
        ModelError: as `run`.
    """
    inputs = {"images": images} | ({"targets": targets} if manifest.has_gradients else {})
    *blocks, logits = run(session, inputs)
    count = len(manifest.blocks)
    return FeaturePass(blocks[:count], blocks[count:], logits)


def first_line(error: Exception) -> str:
    """What ONNX Runtime says first; the rest is where it was."""
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
        provider: `auto` (CUDA where this ONNX Runtime was built with it, else the CPU), `cpu`, `cuda` or
            `tensorrt`.
        threads: of the CPU; None takes the cores that the process may use.
        tf32: let CUDA round to TensorFloat-32 in convolutions and matrix products, which is faster. Not by
            default: the selection and Otsu's threshold are hard decisions.

    Attributes:
        provider: the one in use, as in the argument.
        chosen: whether the caller named it.
        tf32_allowed: as the argument.
        specs: what each of the bundle's graphs takes and gives, by name.

    Raises:
        ProviderError: this ONNX Runtime was not built with the provider.
        ArgumentError: `threads` is below 1.
    """

    def __init__(
        self,
        folder: str | Path,
        manifest: Manifest,
        provider: str = "auto",
        threads: int | None = None,
        tf32: bool = False,
    ):
        if threads is not None and threads < 1:
            raise ArgumentError(f"threads is {threads}, at least 1 is needed", settings=("threads",))
        self.folder, self.manifest = Path(folder), manifest
        self.specs = graph_specs(manifest)
        self.threads = threads or available_threads()
        self.provider, self.chosen = _choose(provider), provider != "auto"
        self.tf32_allowed = tf32

    @property
    def tf32(self) -> bool:
        """Whether convolutions and matrix products may be rounded to TensorFloat-32."""
        return self.tf32_allowed and self.provider != "cpu"

    def on_cpu(self) -> Sessions:
        """The same on the CPU."""
        return Sessions(self.folder, self.manifest, "cpu", self.threads, self.tf32_allowed)

    def open(self, name: str) -> Any:
        """A session for one of the bundle's graphs on the provider.

        Args:
            name: of `specs`.

        Raises:
            ProviderError: ONNX Runtime could not start the provider, or silently left it out.
            BundleError: the graph cannot be loaded, or its inputs and outputs are not those of its spec.
        """
        spec = self.specs[name]
        session = self._load(spec.path)
        slots = [*session.get_inputs(), *session.get_outputs()]
        tensors = [*spec.inputs, *spec.outputs]
        try:
            fits = len(slots) == len(tensors) and all(
                tensor.fits(slot.name, ELEMENTS.get(slot.type, slot.type), tuple(slot.shape))
                for slot, tensor in zip(slots, tensors, strict=True)
            )
        except UnicodeDecodeError:  # names of dimensions, of a file that nobody exported
            fits = False
        if not fits:
            raise BundleError(f"{self.folder / spec.path} does not fit the manifest: export the bundle again")
        return session

    def at_once(self, images: int) -> int:
        """How many of some images a pass takes."""
        return self.manifest.input.batch or images

    def _load(self, graph: str) -> Any:
        """A session for a file of the bundle, whatever it takes and gives; raises as `open` does."""
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
        chosen = {"cuda": {"use_tf32": str(int(self.tf32))}}
        wanted = [
            (PROVIDERS[name], OPTIONS.get(name, {}) | chosen.get(name, {})) for name in CHAINS[self.provider]
        ]
        try:
            model = (self.folder / graph).read_bytes()
            # ONNX Runtime's own fall-back would print to standard output and go on with the CPU.
            session = ort.InferenceSession(model, options, providers=wanted, enable_fallback=0)
        except Exception as error:
            if self.provider != "cpu":
                raise ProviderError(
                    f"{self.provider} cannot run {self.folder / graph}: {first_line(error)}"
                ) from error
            raise BundleError(f"{self.folder / graph} cannot be loaded: {first_line(error)}") from error
        if session.get_providers()[0] != PROVIDERS[self.provider]:
            raise ProviderError(
                f"{self.provider} was asked for, but ONNX Runtime could not start it on this machine "
                f"(driver or CUDA libraries missing?) and offers {', '.join(session.get_providers())}"
            )
        return session
