"""The zoo benchmark: what it measures, what it calls ok, and that a run can be taken up again."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")
import torch

from benchmarks.zoo import examination, networks, processes, sources
from benchmarks.zoo.results import read_results
from benchmarks.zoo.table import markdown, not_run

SIZE = (3, 24, 24)


class Cnn(torch.nn.Module):
    """Two blocks; the residual branch of the second starts at zero, as many families have it."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.second = torch.nn.Conv2d(4, 6, 3, 2, 1)
        self.branch = torch.nn.Conv2d(6, 6, 1)
        torch.nn.init.zeros_(self.branch.weight)
        self.last = torch.nn.Linear(6, 5)

    def forward(self, x):
        x = self.second(self.norm(self.first(x)).relu())
        return self.last((x + self.branch(x).sigmoid() * x).relu().mean((2, 3)))


@pytest.fixture
def built(monkeypatch):
    def build(source):
        torch.manual_seed(0)
        model = Cnn().eval()
        networks.liven(model, SIZE)
        return model, SIZE

    from sise_rt.export.proof import parity

    monkeypatch.setattr(parity, "EXPORT_TOLERANCES", dict(parity.EXPORT_TOLERANCES))
    monkeypatch.setattr(examination, "build", build)


def record(source="timm:a", section="timm", **changes):
    return {
        "source": source,
        "section": section,
        "date": "2000-01-01",
        "versions": {"torch": "1"},
        "cores": 2,
        "seconds": 3.0,
        "verdict": "refused",
        "reason": "no rule",
    } | changes


def test_a_model_is_ok_where_alpha_was_compared_for_every_block(built):
    result = examination.examine("timm:small")
    assert (result["verdict"], result["reason"]) == ("ok", "")
    assert result["blocks"] == [[4, 24, 24], [6, 12, 12]]
    assert (result["compared"], result["reference"]) == (2, "torch autograd, float64")
    assert 0 < result["errors"]["alpha"] < 1e-3
    assert {"Conv", "Relu", "Sigmoid", "Mul", "Add", "ReduceMean"} <= set(result["operators"])
    assert result["parameters"] == sum(p.numel() for p in Cnn().parameters())


def test_a_wrong_gradient_is_reported_with_its_numbers(built, monkeypatch):
    from sise_rt.export.gradients import rules

    monkeypatch.setitem(rules.RULES, "Sigmoid", lambda op, gradient, y, x: [gradient])
    result = examination.examine("timm:small")
    assert result["verdict"] == "failed"
    assert result["errors"]["alpha"] > 1e-3
    assert re.search(r"alpha \S+ is above 1e-03", result["reason"])


def test_a_refusal_keeps_its_words(built, monkeypatch):
    from sise_rt.export.gradients import rules

    monkeypatch.delitem(rules.RULES, "Sigmoid")
    result = examination.examine("timm:small")
    assert result["verdict"] == "refused"
    assert "Sigmoid" in result["reason"]
    assert result["input"] == [3, 24, 24]


def test_no_branch_is_idle_and_batch_norm_knows_its_input():
    torch.manual_seed(0)
    model = Cnn().eval()
    before = model.first.weight.clone()
    networks.liven(model, SIZE)
    assert not any(module.training for module in model.modules())
    assert model.branch.weight.abs().min() > 0
    assert torch.equal(model.first.weight, before), "values that differ are the family's own"
    assert (model.norm.bias - networks.CENTRE).abs().max() < 1
    values = model.first(networks.pictures(SIZE)).detach().numpy()
    np.testing.assert_allclose(model.norm.running_mean, values.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.norm.running_var, values.var((0, 2, 3), ddof=1), rtol=1e-3)
    torch.manual_seed(0)
    again = Cnn().eval()
    networks.liven(again, SIZE)
    assert torch.equal(again.branch.weight, model.branch.weight)


def test_the_latest_result_counts_and_a_line_cut_off_does_not(tmp_path):
    path = tmp_path / "results.jsonl"
    assert read_results(path) == {}
    lines = [json.dumps(record(reason=reason)) for reason in ("first", "second")]
    path.write_text("\n".join([*lines, '{"source": "timm:b", "ver']))
    assert {source: latest["reason"] for source, latest in read_results(path).items()} == {"timm:a": "second"}


@pytest.mark.parametrize(
    ("code", "seconds", "reason"),
    [
        ("import time; time.sleep(60)", 1, "not finished in 1 s"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 60, "ended by SIGSEGV"),
        ("raise RuntimeError('no such model')", 60, "RuntimeError: no such model"),
    ],
)
def test_a_process_that_does_not_finish_is_a_failure_with_a_reason(monkeypatch, code, seconds, reason):
    started = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **options: started([sys.executable, "-c", code], **options)
    )
    result = processes.run_one("timm:a", [0], seconds, 100, set())
    assert (result["verdict"], result["reason"]) == ("failed", reason)


def test_the_table_has_the_counts_and_the_reasons():
    errors = {"logits": 1e-7, "maps": 2e-7, "alpha": 3e-7}
    measured = {"parameters": 5_400_000, "input": [3, 64, 96], "export_seconds": 12.3, "compared": 2}
    measured |= {"operators": ["Conv", "Relu"], "blocks": [[8, 32, 48], [16, 16, 24]], "errors": errors}
    fine = record("timm:fine", verdict="ok", reason="", **measured)
    partly = record("timm:partly", verdict="unchecked", reason="renamed", **measured | {"compared": 1})
    lines = markdown([fine, partly, record("timm:b"), not_run("timm:c", "timm")]).splitlines()
    assert "| timm, convolutional | 4 | 1 | 1 | 0 | 1 | 1 | 3.0e-07 |" in lines
    assert "| `timm:c` |  |  |  |  |  |  |  |  | not run |" in lines
    cells = "| `timm:fine` | 5.4 | 64x96 | 8/16 | 2 | 12 | 1.0e-07 | 2.0e-07 | 3.0e-07 | ok |"
    assert cells in lines
    assert any("3.0e-07 (1 of 2 blocks)" in line for line in lines)
    assert "- `timm:b` refused: no rule" in lines
    assert all("`timm:fine`" not in line for line in lines[lines.index("## What is not ok") :])


def test_the_lists_name_each_model_once_and_only_those_there_are(torchvision):
    timm = pytest.importorskip("timm")
    listed = sources.sections()
    assert len(set(sources.TIMM)) == len(sources.TIMM)
    assert len(set(sources.HYBRIDS)) == len(sources.HYBRIDS)
    assert set(sources.LARGE) <= {source.removeprefix("torchvision:") for source in listed}
    names = {source.removeprefix("timm:") for source in listed if source.startswith("timm:")}
    assert names <= set(timm.list_models())
    models = torchvision.models
    classifiers = {f"torchvision:{name}" for name in models.list_models(module=models)}
    assert {source for source in listed if source.startswith("torchvision:")} == classifiers
