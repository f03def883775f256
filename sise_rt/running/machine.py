"""The processor: its name, and what it can compute in."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# What a network's speed depends on, as Linux spells it, and for people; on x86 and on 64-bit Arm.
FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimd": "NEON",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
    "bf16": "BF16",
    "sve": "SVE",
}


@dataclass(frozen=True)
class Processor:
    """The machine's processor.

    Attributes:
        name: as the system tells it, else its architecture.
        features: of `FEATURES`; empty where the system does not tell them, as on others than Linux.
    """

    name: str
    features: tuple[str, ...]

    def __str__(self) -> str:
        """Both, in one line."""
        return f"{self.name} ({' '.join(self.features) or 'features unknown'})"


@cache
def processor() -> Processor:
    """This machine's."""
    told: dict[str, str] = {}
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if not key.strip():  # the other cores
                    break
                told[key.strip()] = value.strip()
    except OSError:
        pass
    flags = (told.get("flags") or told.get("Features", "")).split()
    name = told.get("model name") or platform.processor() or platform.machine()
    return Processor(name, tuple(text for flag, text in FEATURES.items() if flag in flags))
