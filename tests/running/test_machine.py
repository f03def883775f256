"""The processor, as the system tells it."""

import pytest

from sise_rt.running import machine
from sise_rt.running.machine import Processor, processor

CPUINFO = """processor\t: 0
model name\t: A  CPU
flags\t\t: fpu avx2 avx512f amx_bf16 amx_int8

processor\t: 1
flags\t\t: avx_vnni
"""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (CPUINFO, Processor("A  CPU", ("AVX2", "AVX-512", "AMX-INT8", "AMX-BF16"))),
        ("Features\t: fp asimd bf16 i8mm\n", Processor("arm", ("NEON", "I8MM", "BF16"))),
        (None, Processor("arm", ())),
    ],
)
def test_the_processor_as_linux_tells_it(monkeypatch, tmp_path, request, content, expected):
    request.addfinalizer(processor.cache_clear)
    processor.cache_clear()
    if content is not None:
        (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine.platform, "processor", lambda: "arm")
    assert processor() == expected
    assert str(Processor("arm", ())) == "arm (features unknown)"
