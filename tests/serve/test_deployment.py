"""What is deployed with: the image's steps, KServe's service, the compose file, the unit of systemd."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
OURS = ("/opt/", "/source")  # paths of the image that its steps write to


# -------------------- the image


def instructions(text):
    """The (name, argument) of each instruction of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.strip().split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


IMAGE = instructions((ROOT / "Dockerfile").read_text("utf-8"))


def last(name):
    """The argument of an instruction, where it stands last."""
    return next(argument for known, argument in reversed(IMAGE) if known == name)


def copied():
    """What the image takes of the checkout."""
    arguments = [argument.split() for name, argument in IMAGE if name == "COPY" and "--from" not in argument]
    return [source for argument in arguments for source in argument[:-1]]


def ignored(path):
    """Whether `.dockerignore` leaves a file of the checkout out; its last line that fits decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = path.split("/")
        if any(fnmatch.fnmatch(part, pattern) for part in (parts if "**" in line else parts[:1])):
            out = not line.startswith("!")
    return out


def test_the_image_gets_what_it_is_made_of():
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    assert ignored("docs")
    assert ignored(".git")
    assert ignored("sise_rt/serve/__pycache__")
    assert not ignored("sise_rt/serve/page/index.html")


def test_nobody_is_root_in_the_image():
    user, _, group = last("USER").partition(":")
    assert int(user) > 0  # by number, which runAsNonRoot asks for
    assert int(group) > 0


def test_the_image_takes_what_kserve_appends():
    entry = json.loads(last("ENTRYPOINT"))
    assert entry[:2] == ["sise-rt", "serve"]
    assert accepted([*entry[2:], "--model_name", "surface", "--http_port", "8080"])["port"] == 8080


def accepted(arguments):
    """What `sise-rt serve` understands of its arguments."""
    pytest.importorskip("starlette", reason="needs the extra serve")
    from sise_rt.commands.serve import serve

    return serve.make_context("serve", list(arguments)).params


class Steps:
    """The steps of the Dockerfile, taken on this machine: its folders are folders of a scratch one."""

    def __init__(self, scratch):
        self.scratch = scratch
        python = Path(sys.base_prefix) / "bin"
        self.environment = {"PATH": f"{python}:/usr/bin:/bin", "HOME": str(scratch), "LANG": "C.UTF-8"}
        self.folder = scratch
        for name, argument in IMAGE:
            getattr(self, name.lower(), self.told)(self.placed(argument))

    def placed(self, text):
        return re.sub(rf"(?<![\w.])({'|'.join(OURS)})", rf"{self.scratch}\1", text)

    def told(self, argument):
        """What only an image has: FROM, USER, EXPOSE, STOPSIGNAL, HEALTHCHECK, ENTRYPOINT."""

    def arg(self, argument):
        name, _, value = argument.partition("=")
        self.environment[name] = value

    def env(self, argument):
        for name, _, value in (pair.partition("=") for pair in shlex.split(argument)):
            self.environment[name] = f"{value}:{self.environment['PATH']}" if name == "PATH" else value

    def workdir(self, argument):
        self.folder = Path(argument)
        self.folder.mkdir(parents=True, exist_ok=True)

    def copy(self, argument):
        if argument.startswith("--from"):
            return  # between stages; both have one scratch folder
        *sources, target = argument.split()
        for source in sources:
            if (ROOT / source).is_dir():
                skip = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, self.folder / target, ignore=skip)
            else:
                shutil.copy(ROOT / source, self.folder / target)

    def run(self, argument):
        command = ["sh", "-euc", argument]
        subprocess.run(command, cwd=self.folder, env=self.environment, umask=0o022, check=True)


def read_only(command):
    """A command on a file system that cannot be written, as a user of its own; only root can have that."""
    user, _, group = last("USER").partition(":")
    dropped = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
    mounted = 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"'
    return ["unshare", "-m", "sh", "-ec", mounted, "sh", *dropped, *command]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.skipif("SISE_RT_IMAGE" not in os.environ, reason="installs packages: set SISE_RT_IMAGE")
def test_the_steps_of_the_image_make_a_service():
    with tempfile.TemporaryDirectory() as scratch:  # pytest's own are for nobody else to read
        Path(scratch).chmod(0o755)
        serves(Steps(Path(scratch)))


def serves(steps):
    """Start what the steps made as the image starts it, and see it explain."""
    port = str(free_port())
    entry = [*json.loads(last("ENTRYPOINT")), "--port", port]
    check = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    check[-1] = check[-1].replace("8080", port)
    entry[0] = str(steps.scratch / "opt/sise-rt/bin" / entry[0])
    command = read_only(entry) if os.geteuid() == 0 else entry
    with subprocess.Popen(command, cwd="/", env=steps.environment) as service:
        try:
            deadline = time.monotonic() + 120
            while subprocess.run(check, env=steps.environment, stderr=subprocess.DEVNULL).returncode:
                assert service.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.5)
            picture = (ROOT / "sise_rt/demo/surface.png").read_bytes()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/explain", picture, timeout=60) as answer:
                assert answer.headers["Content-Type"] == "image/png"
            page = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Accept": "text/html"})
            with urllib.request.urlopen(page, timeout=60) as answer:
                assert b"What did the model look at?" in answer.read()
            service.send_signal(signal.SIGTERM)
            assert service.wait(60) == 0
        finally:
            service.kill()


# -------------------- KServe, compose, systemd


@pytest.fixture(scope="module")
def read():
    """A function that reads a YAML file of the examples."""
    yaml = pytest.importorskip("yaml")
    return lambda name: yaml.safe_load((EXAMPLES / name).read_text("utf-8"))


def test_the_inference_service_is_one_that_the_controller_takes(read):
    service = read("kserve/inferenceservice.yaml")
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert service["spec"]["predictor"]  # mandatory
    explainer = service["spec"]["explainer"]
    (container,) = explainer["containers"]
    assert container["name"] == "kserve-container"
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert [variable["name"] for variable in container["env"]] == ["STORAGE_URI"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["runAsNonRoot"]
    name = service["metadata"]["name"]
    assert re.fullmatch(r"[\w-]+", name)  # the router knows no other
    appended = ["--model_name", name, "--predictor_host", f"{name}-predictor.default", "--http_port", "8080"]
    asked = accepted([*container["args"], *appended])
    assert (asked["model_name"], asked["port"], asked["preset"]) == (name, 8080, "fast")
    assert asked["max_seconds"] < explainer["timeout"]


def test_the_compose_file_runs_the_image_as_it_is_meant(read):
    services = read("compose.yaml")["services"]
    ours, prometheus = services["sise-rt"], services["prometheus"]
    assert (EXAMPLES / ours["build"] / "Dockerfile").exists()
    assert ours["read_only"]
    assert ours["cap_drop"] == ["ALL"]
    assert accepted([*json.loads(last("ENTRYPOINT"))[2:], *ours["command"]])["queue"] == 32
    assert int(ours["stop_grace_period"].removesuffix("s")) > accepted([])["grace"]
    mounted, _, _ = prometheus["volumes"][0].partition(":")
    assert (EXAMPLES / mounted).is_file()
    (job,) = read("prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["sise-rt:8080"]}]  # metrics_path is /metrics by default
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def unit():
    """The lines of the unit, by name; several of one name in their order."""
    lines = re.findall(r"^(\w+)=(.*)$", (EXAMPLES / "sise-rt.service").read_text("utf-8"), re.MULTILINE)
    return {name: [value for known, value in lines if known == name] for name, _ in lines}


def test_the_unit_starts_the_command_and_waits_for_its_end(tmp_path):
    lines = unit()
    (start,) = lines["ExecStart"]
    program, command, *arguments = start.replace("%d", str(tmp_path)).split()
    assert (Path(program).name, command) == ("sise-rt", "serve")
    asked = accepted(arguments)
    assert asked["bundles"] == ("/srv/models",)
    assert asked["grace"] < int(lines["TimeoutStopSec"][0])


def test_systemd_takes_the_unit(tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    text = (EXAMPLES / "sise-rt.service").read_text("utf-8")
    (tmp_path / "sise-rt.service").write_text(text.replace("/opt/sise-rt/bin/sise-rt", "/bin/true"), "utf-8")
    command = [program, "verify", tmp_path / "sise-rt.service"]
    verified = subprocess.run(command, capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
