"""The planted mistakes: one that is refused, one that costs a graph, and one that is none."""

import pytest

pytest.importorskip("onnx")

from benchmarks import mutations


def test_a_family(tmp_path, monkeypatch):
    chosen = {name: mutations.CHANGES[name] for name in ("sign", "a tenth more")}
    monkeypatch.setattr(mutations, "CHANGES", chosen | {"none": lambda op, g: g})
    family = next(f for f in mutations.FAMILIES if f.__name__ == "powers")
    results = list(mutations.plant(family, tmp_path))
    assert {result["outcome"] for result in results} == {mutations.REFUSED, mutations.LEFT_OUT}
    assert {result["mistake"] for result in results} == chosen.keys()
    outcomes = {(result["operator"], result["mistake"]): result["outcome"] for result in results}
    assert outcomes["Pow", "sign"] == mutations.REFUSED
