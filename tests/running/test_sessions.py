"""ONNX Runtime: providers are as asked for or refused, threads fit the machine."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import metadata

import numpy as np
import onnxruntime
import pytest

import sise_rt
from sise_rt.bundle import LATER, read_bundle
from sise_rt.errors import BundleError, ProviderError
from sise_rt.running import provider, runtime
from sise_rt.running import sessions as module
from sise_rt.running.sessions import Sessions, available_threads

CPU, CUDA, TENSORRT = (provider.PROVIDERS[name] for name in ("cpu", "cuda", "tensorrt"))


@pytest.fixture
def gpu_build(monkeypatch):
    """An ONNX Runtime that was built for CUDA, on a machine that has none; `made` counts sessions."""
    made = []

    def silent(model, options, providers, **_):
        made.append([name for name, _ in providers])
        return real(model, options, providers=[CPU])

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", silent)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn"), raising=False)
    return made


# ---------------------------------------------------------------------------------------------- providers


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_this_build_has_not(small_bundle, monkeypatch, provider):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", CPU])
    with pytest.raises(ProviderError) as caught:
        sise_rt.load(small_bundle, provider)
    assert str(caught.value) == (
        f"{provider} was asked for, but this ONNX Runtime has only cpu; "
        "install the package onnxruntime-gpu in place of onnxruntime"
    )


def test_an_unknown_provider(small_bundle):
    known = "auto, cpu, cuda, tensorrt, openvino, and plugin:NAME"
    with pytest.raises(ProviderError, match=f"unknown provider 'gpu'; known are {known}"):
        sise_rt.load(small_bundle, "gpu")


def test_both_wheels(small_bundle, monkeypatch, request):
    request.addfinalizer(runtime.installed.cache_clear)
    runtime.installed.cache_clear()
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")
    with pytest.raises(ProviderError, match=r"both installed .* uninstall both .*then install"):
        sise_rt.load(small_bundle)


def test_no_wheel(small_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ProviderError, match=r"cannot be imported .*pip install 'sise-rt\[cpu\]', or 'sise"):
        sise_rt.load(small_bundle)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_silent_fall_back_is_refused(small_bundle, gpu_build, capsys, provider):
    with pytest.raises(ProviderError, match=f"{provider} was asked for, but .* offers {CPU}"):
        sise_rt.load(small_bundle, provider)
    assert capsys.readouterr().out == "", "standard output is the caller's"
    assert gpu_build == [[TENSORRT, CUDA, CPU] if provider == "tensorrt" else [CUDA, CPU]]


def test_auto_says_that_it_fell_back(small_bundle, gpu_build):
    explainer = sise_rt.load(small_bundle)
    assert explainer.engine.provider == "cpu"
    explanation = explainer.explain(np.zeros((32, 32, 3), np.uint8), 0)
    assert explanation.provider == "cpu"
    assert explanation.warnings[0].startswith("running on the CPU: cuda was asked for, but ONNX Runtime")


def test_a_provider_that_fails_to_start(small_bundle, gpu_build, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("CUDA failure 35: driver too old\nat line 7")

    monkeypatch.setattr(onnxruntime, "InferenceSession", failing)
    with pytest.raises(
        ProviderError, match=r"cuda cannot run .*features.onnx: CUDA failure 35: driver too old$"
    ):
        sise_rt.load(small_bundle, "cuda")


def test_onnx_runtimes_own_fall_back_is_off(small_bundle, monkeypatch):
    asked = []
    real = onnxruntime.InferenceSession

    def spy(*arguments, **options):
        asked.append(options["enable_fallback"])
        return real(*arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    sise_rt.load(small_bundle, "cpu")
    assert asked == [0, 0]


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_a_choice(small_bundle, monkeypatch, tf32):
    given = []

    def spy(model, options, providers, **_):
        given.append(dict(providers))
        session = real(model, options, providers=[CPU])
        monkeypatch.setattr(session, "get_providers", lambda: [CUDA, CPU])
        return session

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    engine = sise_rt.load(small_bundle, "cuda", tf32=tf32).engine
    assert engine.tf32 is tf32
    assert [one[CUDA]["use_tf32"] for one in given] == [str(int(tf32))] * 2
    assert all(one[CUDA]["cudnn_conv_algo_search"] == "HEURISTIC" for one in given)


def test_tf32_on_a_cpu_is_said_to_be_none(small_bundle):
    explanation = sise_rt.load(small_bundle, "cpu", tf32=True).explain(np.ones((9, 9, 3), np.uint8), 0)
    assert not explanation.tf32
    assert explanation.warnings[0] == "TensorFloat-32 was allowed, which the CPU does not have"


# ---------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 6),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("900000 100000", 6),
    ],
)
def test_threads_follow_affinity_and_quota(monkeypatch, tmp_path, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(module, "CPU_QUOTA", tmp_path / "cpu.max")
    assert available_threads() == expected


@pytest.mark.parametrize("content", [None, "", "nonsense", "a b"])
def test_threads_without_a_readable_quota(monkeypatch, tmp_path, content):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    if content is not None:
        (tmp_path / "cpu.max").write_text(content)
    monkeypatch.setattr(module, "CPU_QUOTA", tmp_path / "cpu.max")
    assert available_threads() == 2


def test_threads_where_there_is_no_affinity(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(module, "CPU_QUOTA", tmp_path / "cpu.max")
    assert available_threads() == 3


def test_threads_reach_the_sessions(small_bundle):
    chosen = sise_rt.load(small_bundle, "cpu", threads=1).engine
    assert chosen.score_graph.session.get_session_options().intra_op_num_threads == 1
    with pytest.raises(ValueError, match="threads is 0"):
        sise_rt.load(small_bundle, "cpu", threads=0)


PICTURE = np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("asked", "oversubscribe", "used"),
    [(None, False, 2), (1, False, 1), (2, False, 2), (3, False, 2), (9999, False, 2), (5, True, 5)],
)
def test_threads_are_cut_to_the_cores(small_bundle, monkeypatch, asked, oversubscribe, used):
    """And every explanation says so, in one line."""
    monkeypatch.setattr(module, "available_threads", lambda: 2)
    explainer = sise_rt.load(small_bundle, "cpu", asked, oversubscribe=oversubscribe)
    for graph in (explainer.engine.score_graph, explainer.engine.features_graph):
        assert graph.session.get_session_options().intra_op_num_threads == used
    line = (
        f"2 threads instead of {asked}, as this process may use no more cores; "
        "to start more all the same, say that the cores are to be oversubscribed"
    )
    cut = [line] if asked is not None and asked > used else []
    assert explainer.engine.warnings == cut
    assert [warning for warning in explainer.explain(PICTURE).warnings if "threads instead" in warning] == cut


# ------------------------------------------------------------------------------------------- nothing is sent

SPY = """
import os, sys
class Spy:
    def find_spec(self, name, *_):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Spy())
"""
WAYS = {
    "load": "import sise_rt; sise_rt.load(sys.argv[1], 'cpu')",
    "command": "from sise_rt.cli import main; sys.argv[1:] = ['verify', sys.argv[1], '-p', 'cpu']; main()",
    "export": "import sise_rt.export",
    "vjp": "from sise_rt.export.gradients import vjp",
}


def without_telemetry_setting(**settings):
    return {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | settings


@pytest.mark.parametrize("way", WAYS)
def test_reports_are_off_before_onnx_runtime_is_imported(small_bundle, way):
    code = SPY + WAYS[way].replace("-p', 'cpu", "--provider', 'cpu")
    command = [sys.executable, "-P", "-c", code, str(small_bundle)]
    told = subprocess.run(
        command, env=without_telemetry_setting(), capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.splitlines()[0] == "1"


def test_who_has_set_it_has_decided(small_bundle):
    command = [sys.executable, "-P", "-c", SPY + WAYS["load"], str(small_bundle)]
    environment = without_telemetry_setting(ORT_DISABLE_TELEMETRY="true")
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.splitlines()[0] == "true"


def test_a_loaded_explainer_calls_nobody_and_writes_nothing(small_bundle, tmp_path):
    """By the system's own account: what native code does, no hook of Python's sees."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace is not there, or may not trace")
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    code = (
        "import sys, time, numpy, sise_rt; explainer = sise_rt.load(sys.argv[1], 'cpu', 1)\n"
        "explainer.explain(numpy.zeros((32, 32, 3), 'uint8') + numpy.arange(32, dtype='uint8')[:, None], 0)\n"
        "time.sleep(float(sys.argv[2]))"
    )
    seconds = os.environ.get("SISE_RT_TRACED_SECONDS", "2")  # the first call comes after some
    traced = [strace, "-f", "-qq", "-e", "trace=network,openat,mkdir,unlink,rename", "-o", tmp_path / "calls"]
    subprocess.run(
        [*traced, sys.executable, "-P", "-B", "-c", code, str(small_bundle), seconds],
        env=without_telemetry_setting(HOME=str(home), TMPDIR=str(temporary)),
        check=True,
        timeout=300,
    )
    lines = (tmp_path / "calls").read_text().splitlines()
    assert len(lines) > 100, "the run was traced"
    called = [line for line in lines if re.search(r"\b(socket|connect|sendto|sendmsg|bind)\(", line)]
    written = [line for line in lines if re.search(r"O_CREAT|\bmkdir\(", line) and "ENOENT" not in line]
    assert not called, called[:3]
    assert not written, written[:3]
    assert not [*home.rglob("*"), *temporary.rglob("*")]


def test_a_graph_that_the_bundle_does_not_have_is_said(small_bundle):
    manifest = read_bundle(small_bundle)
    older = replace(manifest, graphs=manifest.graphs.without(LATER))
    for name in ("forward", "image_gradient"):
        with pytest.raises(BundleError, match=f"no graph '{name}': it was exported by an older sise-rt"):
            Sessions(small_bundle, older, provider="cpu").open(name)
    lacking = replace(manifest, graphs=manifest.graphs.without(("image_gradient",)))
    with pytest.raises(BundleError, match="no gradient rule, the export says which"):
        Sessions(small_bundle, lacking, provider="cpu").open("image_gradient")
