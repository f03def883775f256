"""Threads, and sessions of ONNX Runtime for a bundle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

from sise_rt.bundle import MANIFEST, WEIGHTS, Manifest, read_again
from sise_rt.cautions import Caution
from sise_rt.errors import ArgumentError, BundleError, ProviderError
from sise_rt.graphs import graph_specs
from sise_rt.memory import give_back_memory
from sise_rt.wording import counted

from .gate_record import choose_verified
from .passes import OpenGraph, first_line
from .provider import BF16, FP32, ON_CUDA, VERIFIED, Provider
from .providers import choose
from .runtime import onnxruntime

ELEMENTS = {"tensor(float)": "float32", "tensor(int64)": "int64"}  # as ONNX Runtime calls them

# The graphs that have gradients, or the folder that they lie in.
BACKWARD = ("features", "heads/", "last_block_gradient", "image_gradient")

NOWHERE = os.devnull  # in place of a folder in which a graph's weights are looked for

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_threads() -> int:
    """The cores this process may use: its CPU affinity, cut by a container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


def _fewer_threads(asked: int, cores: int) -> Caution:
    return Caution(
        "fewer-threads",
        f"{counted(cores, 'thread')} instead of {asked}, as this process may use no more cores; "
        "to start more all the same, say that the cores are to be oversubscribed",
    )


class Sessions:
    """Opens a bundle's graphs on one provider and keeps none, as each session holds its weights again.

    Args:
        folder: the bundle.
        manifest: its manifest, already checked.
        provider: as for `choose`.
        threads: of the CPU; None takes the cores that the process may use, and more are cut to these.
        tf32: let CUDA round to TensorFloat-32 in convolutions and matrix products, which is faster. Not by
            default: the selection and Otsu's threshold are hard decisions.
        precision: that masked copies are scored in, as for `choose`, or `verified`: bfloat16 where that was
            found good enough for this bundle on such a machine, else float32, as all other graphs are.
        oversubscribe: start as many threads as were asked for, on however few cores.
        files: the bundle's, in memory, from `load_bundle`; those that are no longer there are read again, and
            refused if they have changed. None reads the folder at each opening, for whoever has just written
            it.

    Attributes:
        provider: the one in use.
        chosen: whether the caller named it, or what only some can do.
        threads: in use.
        warnings: what is other than asked for.
        precision: in use.
        tf32_allowed: whether TensorFloat-32 is.
        specs: what each of the bundle's graphs takes and gives, by name.

    Raises:
        ProviderError: the provider is not there, or has no device.
        ArgumentError: `threads` is below 1.
    """

    def __init__(
        self,
        folder: str | Path,
        manifest: Manifest,
        provider: str = "auto",
        threads: int | None = None,
        tf32: bool = False,
        *,
        precision: str = FP32,
        oversubscribe: bool = False,
        files: Mapping[str, bytes] | None = None,
    ):
        if threads is not None and threads < 1:
            raise ArgumentError(f"threads is {threads}, at least 1 is needed", settings=("threads",))
        self.folder, self.manifest = Path(folder), manifest
        self._place = self.folder.absolute()  # wherever the process goes meanwhile
        self.specs = graph_specs(manifest)
        cores = available_threads()
        self.threads = threads if threads and oversubscribe else min(threads or cores, cores)
        self.warnings: tuple[Caution, ...] = ()
        if threads is not None and threads != self.threads:
            self.warnings += (_fewer_threads(threads, cores),)
        if precision == VERIFIED:
            self.provider, self.precision, why = choose_verified(provider, self.folder, manifest)
            self.warnings += why
        else:
            self.provider, self.precision = choose(provider, precision), precision
        self.chosen = provider != "auto" or precision not in (FP32, VERIFIED)
        self.tf32_allowed, self._files = tf32, files
        if self.precision == BF16 and manifest.precision != FP32:
            raise ArgumentError(
                f"the bundle scores in {manifest.precision}: export it in fp32 to score in {BF16}",
                settings=("precision",),
            )

    @property
    def scored_in(self) -> str:
        """What the score graph computes in, as of `precision_of`."""
        return self.precision_of("score")

    def precision_of(self, graph: str) -> str:
        """What a graph computes in: `fp32`, `bf16`, `fp16`, or `unknown` where a plug-in decides."""
        if not self._provider_of(graph).precisions:
            return "unknown"
        if graph != "score":
            return FP32
        return BF16 if self.precision == BF16 else self.manifest.precision

    @property
    def tf32(self) -> bool:
        """Whether convolutions and matrix products may be rounded to TensorFloat-32."""
        return self.tf32_allowed and self.provider.name in ON_CUDA

    def on_cpu(self) -> Sessions:
        """The same on the CPU."""
        return Sessions(
            self.folder,
            self.manifest,
            "cpu",
            self.threads,
            self.tf32_allowed,
            oversubscribe=True,
            files=self._files,
        )

    def with_weights(self) -> Sessions:
        """The same, with the weights in memory for whoever opens many graphs.

        Raises:
            BundleError: they have changed since the bundle was loaded.
        """
        whole = copy(self)
        if self._files is not None:
            whole._files = {**self._files, WEIGHTS: self.read(WEIGHTS)}
        return whole

    def read(self, path: str) -> bytes:
        """A file of the bundle.

        Raises:
            OSError: it is not there.
            BundleError: it has changed since the bundle was loaded.
        """
        if self._files is None:
            return (self.folder / path).read_bytes()
        return self._files[path] if path in self._files else read_again(self._place, path, self.manifest)

    @cached_property
    def bundle_sha256(self) -> str:
        """The sha256 of the bundle's manifest, which has those of all its other files."""
        return hashlib.sha256(self.read(MANIFEST)).hexdigest()

    def _reason(self, name: str) -> str:
        """Why the bundle does not have a graph."""
        if name != "forward" and not self.manifest.has_gradients:
            return "it was exported without gradients"
        if "forward" not in self.specs:
            return "it was exported by an older sise-rt: export it again"
        return "one of the model's operators has no gradient rule, the export says which"

    def open(self, name: str) -> OpenGraph:
        """Open one of the bundle's graphs on the provider.

        Args:
            name: of `specs`.

        Raises:
            ProviderError: ONNX Runtime could not start the provider, or silently left it out.
            BundleError: the bundle does not have the graph, or it cannot be loaded, or its inputs and
                outputs are not those of its spec.
        """
        if name not in self.specs:
            raise BundleError(f"{self.manifest.name} has no graph {name!r}: {self._reason(name)}")
        spec = self.specs[name]
        provider = self._provider_of(name)
        session = self._load(spec.path, provider, self.precision if name == "score" else FP32)
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
        return OpenGraph(session, spec, self.folder / spec.path, _left_out(name, session, provider))

    def _provider_of(self, name: str) -> Provider:
        """What runs one of the graphs: the CPU provider, where the one in use gets gradients wrong."""
        backward = self.manifest.has_gradients and name.startswith(BACKWARD)
        return choose("cpu") if backward and not self.provider.has_gradients else self.provider

    def at_once(self, images: int) -> int:
        """How many of some images a pass takes."""
        return self.manifest.input.batch or images

    def _load(self, graph: str, provider: Provider, precision: str) -> Any:
        """A session for a file of the bundle, whatever it takes and gives; raises as `open` does."""
        ort = onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised
        # It keeps a plan of the memory for every input shape; on a CPU each block's last batch has its own.
        options.enable_mem_pattern = not provider.on_cpu
        # ONNX Runtime copies what it needs of them while the session is made, and says so.
        weights = None if self._files is None else self.read(WEIGHTS)
        self._give_weights(options, weights)
        try:
            wanted = provider.configure(options, self.threads, precision, tf32=self.tf32)
            model = self.read(graph)
            # ONNX Runtime's own fall-back would print to standard output and go on with the CPU.
            session = ort.InferenceSession(model, options, providers=wanted, enable_fallback=0)
        except Exception as error:
            if provider.name != "cpu":
                raise ProviderError(
                    f"{provider.name} cannot run {self.folder / graph}: {first_line(error)}"
                ) from error
            raise BundleError(f"{self.folder / graph} cannot be loaded: {first_line(error)}") from error
        if session.get_providers()[0] != provider.full:
            raise ProviderError(
                f"{provider.name} was asked for, but ONNX Runtime could not start it on this machine "
                f"(driver or CUDA libraries missing?) and offers {', '.join(session.get_providers())}"
            )
        del weights
        give_back_memory()  # opening takes several times what it keeps
        return session

    def _give_weights(self, options: Any, weights: bytes | None) -> None:
        """Tell ONNX Runtime where a graph's weights are: in memory, or beside the manifest."""
        place = str(self.folder.resolve())
        if weights is not None:
            options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
            place = NOWHERE
        # Graphs in subfolders share the weights beside the manifest.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", place)


def _left_out(name: str, session: Any, provider: Provider) -> tuple[Caution, ...]:
    """What is told of the operators of a graph that a plug-in has not taken."""
    if not (kinds := provider.left_out(session)):
        return ()
    count, which = counted(len(kinds), "operator"), ", ".join(sorted(set(kinds)))
    text = f"{provider.name} leaves {count} of {name} to the CPU provider: {which}"
    return (Caution("operators-left", text),)
