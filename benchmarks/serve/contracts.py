"""Whether others' clients get what they expect of the service, and whether any request breaks it.

    python -m benchmarks.serve.contracts FOLDER [kserve] [tritonclient] [schemathesis] [--cases 5000]

kserve         KServe's own client, of protocol v1 and v2
tritonclient   Triton's, of the Open Inference Protocol with tensors as bytes
schemathesis   requests made of /openapi.json, right and wrong ones: no 500, no answer that the document does
               not have, none that takes longer than `PATIENCE`

Each is installed in an environment of its own below FOLDER, once. The model and the picture are those that
ship.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.serve.client import Client, served
from sise_rt.serve.models import example_picture

PACKAGES = {
    "kserve": "kserve==0.21.*",
    "tritonclient": "tritonclient[http]==2.73.*",
    "schemathesis": "schemathesis==4.32.*",
}
SCRIPTS = Path(__file__).parent / "clients"
PATIENCE = 60  # seconds that an answer may take
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    "response_schema_conformance",
)
ROUND = 20  # cases of an operation that a round of fuzzing asks for; the document's own cases come first
SUMMARY = re.compile(r"^\s*(\d+) generated.*$", re.MULTILINE)


def environment(name: str, folder: Path) -> Path:
    """Where a client's packages are; they are installed there if they are not."""
    target = folder / f"env-{name}"
    if not (target / "installed").exists():
        python = ["--python", str(target / "bin" / "python")]
        for command in (
            [sys.executable, "-m", "venv", "--without-pip", str(target)],
            [sys.executable, "-m", "pip", *python, "install", "-q", PACKAGES[name]],
        ):
            subprocess.run(command, check=True)
        (target / "installed").touch()
    return target


def ask_as(name: str, folder: Path, client: Client) -> Iterator[str]:
    """What a client prints of its calls.

    Raises:
        AssertionError: it did not get what it expects.
    """
    command = [str(environment(name, folder) / "bin" / "python"), str(SCRIPTS / f"by_{name}.py")]
    command += [f"http://127.0.0.1:{client.port}", str(example_picture())]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    yield from ended.stdout.splitlines()
    assert not ended.returncode, ended.stderr


def fuzz(folder: Path, client: Client, cases: int) -> Iterator[str]:
    """Rounds of requests until there were so many, each with what is left of it.

    Raises:
        AssertionError: an answer is not as the document has it, or there is none.
    """
    done, seed = 0, 1
    while done < cases:
        phases = "examples,coverage,fuzzing" if seed == 1 and cases > 1000 else "examples,fuzzing"
        least = max(1, min(ROUND, cases // 26))
        command = [str(environment("schemathesis", folder) / "bin" / "schemathesis"), "run"]
        command += [f"http://127.0.0.1:{client.port}/openapi.json", "--phases", phases, "-n", str(least)]
        command += ["--seed", str(seed), "--checks", ",".join(CHECKS), "--request-timeout", str(PATIENCE)]
        ended = subprocess.run(
            [*command, "--continue-on-failure", "--no-color"],
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
        assert not ended.returncode, ended.stdout
        found = SUMMARY.search(ended.stdout)
        assert found, ended.stdout
        done, seed = done + int(found[1]), seed + 1
        assert client.json("GET", "/v2/health/live")[1]["live"]
        yield f"| schemathesis, seed {seed - 1} | {found[0].strip()} |"
    client.idle()
    yield f"| schemathesis | {done} requests; the server lives, and nothing is left in its queue |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=tuple(PACKAGES), metavar="NAME")
    parser.add_argument("--cases", type=int, default=5000, help="of schemathesis, at least")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(PACKAGES):
        parser.error(f"no client {', '.join(sorted(unknown))}; there are {', '.join(PACKAGES)}")
    for name in given.names:
        with served() as (client, _):
            lines = fuzz(given.folder, client, given.cases) if name == "schemathesis" else None
            for line in lines or ask_as(name, given.folder, client):
                print(line, flush=True)


if __name__ == "__main__":
    main()
