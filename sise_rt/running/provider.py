"""A provider on a device: what it is told, and what it computes in."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sise_rt.errors import ProviderError
from sise_rt.wording import counted

from .machine import processor

FP32, BF16 = "fp32", "bf16"
VERIFIED = "verified"  # bf16 where it was found good enough, else fp32
BF16_ON_X86 = {"AVX512-BF16", "AMX-BF16"}  # without them OpenVINO offers it too, more slowly than float32
BF16_ON_ARM = "mlas.enable_gemm_fastmath_arm64_bfloat16"
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
# OpenVINO 2026.4.1 takes the packed weights of a convolution for those of a transposed one with the same ones
# and as many channels in as out, and both are in a graph with gradients.
WRONG_GRADIENTS = ("OpenVINOExecutionProvider",)
ON_CUDA = ("cuda", "tensorrt")  # whose tensors may stay on the device, in CUDA's memory


@dataclass(frozen=True)
class Provider:
    """A provider on one device of this machine.

    Attributes:
        name: as it is asked for: `cpu`, `cuda`, `tensorrt`, `openvino`, or `plugin:` and a name.
        full: as ONNX Runtime calls it.
        version: of ONNX Runtime, or of the plug-in.
        device: the name of the device, as far as the provider tells it.
        kind: `cpu`, `gpu` or `npu`.
        handle: ONNX Runtime's, of a plug-in's device.
        told: what a plug-in tells of its device.
    """

    name: str
    full: str
    version: str
    device: str
    kind: str
    handle: Any = field(default=None, repr=False, compare=False)
    told: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        """What it is and what it computes in, in one line."""
        return f"{self.full} {self.version} on {self.device}, {self.computes}"

    @property
    def computes(self) -> str:
        """What it computes in, for people."""
        if self.name in ON_CUDA:
            return "float32, TensorFloat-32 where allowed, float16 with bundles that have it"
        names = {FP32: "float32", BF16: "bfloat16 for masked copies where asked"}
        return ", ".join(names[one] for one in self.precisions) or "whatever the plug-in takes"

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it can be told to compute in, `fp32` first; none of a plug-in that cannot be told."""
        if self.handle is not None and self.full not in SETTINGS:
            return ()
        features, has = set(processor().features), False
        if self.full in SETTINGS:  # where the system tells no features, OpenVINO's word has to do
            has = BF16 in self.told.get("OPTIMIZATION_CAPABILITIES", "").lower().split()
            has = has and (not features or bool(features & BF16_ON_X86))
        elif self.name == "cpu":
            has = platform.machine() in ("aarch64", "arm64") and "BF16" in features
        return (FP32, BF16) if has else (FP32,)

    @property
    def has_gradients(self) -> bool:
        """Whether graphs with gradients are right on it."""
        return self.full not in WRONG_GRADIENTS

    @property
    def on_cpu(self) -> bool:
        """Whether the device is the CPU."""
        return self.kind == "cpu"

    def configure(
        self, options: Any, threads: int, precision: str = FP32, *, tf32: bool = False
    ) -> list[Any] | None:
        """Set a session's options to run on it.

        Args:
            options: ONNX Runtime's `SessionOptions`, which are changed.
            threads: of the CPU.
            precision: of `precisions`; a plug-in that has none takes what it likes.
            tf32: whether CUDA may round to TensorFloat-32.

        Returns:
            The session's `providers`; None where the options tell.
        """
        if self.handle is None:
            if precision == BF16:
                options.add_session_config_entry(BF16_ON_ARM, "1")
            own = {"cuda": {"use_tf32": str(int(tf32))}}
            return [
                (PROVIDERS[name], OPTIONS.get(name, {}) | own.get(name, {})) for name in CHAINS[self.name]
            ]
        settings = SETTINGS[self.full](threads, precision) if self.full in SETTINGS else {}
        options.add_provider_for_devices([self.handle], settings)
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return None

    def left_out(self, session: Any) -> tuple[str, ...]:
        """The kind of each operator that a plug-in has left to ONNX Runtime's CPU provider.

        Raises:
            ProviderError: it has taken none.
        """
        if self.handle is None:
            return ()
        taken = [
            (part.ep_name == self.full, node.op_type)
            for part in session.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]
        if not any(own for own, _ in taken):
            raise ProviderError(f"{self.name} takes none of a graph's {counted(len(taken), 'operator')}")
        return tuple(kind for own, kind in taken if not own)


def _openvino(threads: int, precision: str) -> dict[str, str]:
    """OpenVINO's settings; untold it takes bfloat16 where a CPU has it, which changes what is selected."""
    hint = {FP32: "f32", BF16: "bf16"}[precision]
    told = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1"}
    return {"load_config": json.dumps({"CPU": told})}


SETTINGS: dict[str, Callable[[int, str], dict[str, str]]] = {"OpenVINOExecutionProvider": _openvino}
