"""Which provider runs a model: one that ONNX Runtime was built with, or a plug-in."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib.util import find_spec

from sise_rt.errors import ArgumentError, ProviderError
from sise_rt.wording import installing

from .machine import processor
from .plug_ins import PLUG_IN, installed_plug_ins, module_of, plugged_in
from .provider import BF16, BF16_ON_X86, FP32, ON_CUDA, PROVIDERS, VERIFIED, Provider
from .runtime import onnxruntime

OPENVINO = "openvino"
PLUG_INS = {OPENVINO: "onnxruntime_ep_openvino"}  # those with an extra of their own, and their modules
PRECISIONS = (FP32, BF16)


def choose(name: str, precision: str = FP32) -> Provider:
    """A provider by its name, which can score in a precision.

    Args:
        name: `cpu`, `cuda`, `tensorrt`, `openvino`, `plugin:` and the name of another plug-in, or `auto`:
            CUDA where this ONNX Runtime was built with it, else the CPU; for bfloat16, the CPU where ONNX
            Runtime has it there, else OpenVINO where its plug-in is installed.
        precision: of `PRECISIONS`.

    Raises:
        ProviderError: there is no such provider, it is not installed, it has no device here, or it does not
            compute in the precision.
        ArgumentError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(
            f"unknown precision {precision!r}; known are {', '.join((*PRECISIONS, VERIFIED))}",
            settings=("precision",),
        )
    if precision == FP32:
        return _named(name)
    if name == "auto":
        name = "cpu" if BF16 in _named("cpu").precisions else OPENVINO
    try:
        provider = _named(name)
    except ProviderError as error:
        raise ProviderError(f"for {precision}: {error.message}", settings=("precision",)) from error
    if precision not in provider.precisions:
        raise ProviderError(
            f"{precision} was asked for, but {_why_not_bf16(provider)}", settings=("precision",)
        )
    return provider


def _named(name: str) -> Provider:
    if name in PLUG_INS:
        if find_spec(PLUG_INS[name]) is None:
            raise ProviderError(f"{name} cannot run: its plug-in is not installed: {installing(name)}")
        return plugged_in(name, PLUG_INS[name])
    if name.startswith(PLUG_IN):
        return plugged_in(name, module_of(name.removeprefix(PLUG_IN)))
    return _built_in(name)


def _built_in(name: str) -> Provider:
    """A provider that this ONNX Runtime was built with."""
    ort = onnxruntime()
    available = ort.get_available_providers()
    if name == "auto":
        name = "cuda" if PROVIDERS["cuda"] in available else "cpu"
    if name not in PROVIDERS:
        names = ", ".join(("auto", *PROVIDERS, *PLUG_INS))
        raise ProviderError(f"unknown provider {name!r}; known are {names}, and {PLUG_IN}NAME")
    if PROVIDERS[name] not in available:
        raise ProviderError(
            f"{name} was asked for, but this ONNX Runtime has only "
            + ", ".join(other for other, full in PROVIDERS.items() if full in available)
            + ("; install the package onnxruntime-gpu in place of onnxruntime" if name != "cpu" else "")
        )
    if name != "cpu" and hasattr(ort, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # it prints what it misses, and standard output is the caller's
            ort.preload_dlls()
    kind = "cpu" if name == "cpu" else "gpu"
    device = processor().name if kind == "cpu" else "CUDA"
    return Provider(name, PROVIDERS[name], ort.__version__, device, kind)


def _why_not_bf16(provider: Provider) -> str:
    """What stands in the way of bfloat16, and what would help."""
    if provider.name in ON_CUDA:
        return f"on {provider.name} bundles score in half precision that are exported so, in fp16"
    if not provider.precisions:
        return f"{provider.name} cannot be told what to compute in"
    features = set(processor().features)
    if provider.name == OPENVINO or (features and not features & BF16_ON_X86):
        return f"this processor does not compute in it: {processor()}"
    return (
        f"{provider.name} does not compute in it on {processor().name}; openvino does on Intel processors: "
        f"{installing(OPENVINO)} and choose it"
    )


def listed() -> list[str]:
    """The names of what may be there: what ONNX Runtime can be built with, and plug-ins."""
    others = (names[0] for module, names in installed_plug_ins() if module not in PLUG_INS.values())
    return [*PROVIDERS, *PLUG_INS, *(f"{PLUG_IN}{name}" for name in others)]
