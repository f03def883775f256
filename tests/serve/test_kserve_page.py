"""The examples of docs/kserve.md are run, by a shell, against the model that ships."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sise_rt.serve.models import built_in, load_models

from .conftest import running

PAGE = Path(__file__).parents[2] / "docs" / "kserve.md"
EXAMPLES = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What each example prints, in their order, in one folder."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    folder = tmp_path_factory.mktemp("curl")
    with running(load_models({"surface": built_in()}, provider="cpu"), example=True) as server:
        found = []
        for example in EXAMPLES:
            script = "set -e\n" + example.replace("localhost:8080", f"127.0.0.1:{server.port}")
            ended = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True)
            assert not ended.returncode, ended.stderr
            found.append(ended.stdout)
    found.append((folder / "answer.json").read_text())
    return found


def test_protocol_v1(printed):
    answer = json.loads(printed[-1])
    assert [one["label"] for one in answer["predictions"]] == ["pit"]
    assert [list(one) for one in answer["explanations"]] == [["record", "overlay", "map"]]
    assert json.loads(printed[1])["predictions"] == answer["predictions"]


def test_instances_of_several_kinds(printed):
    first, second = json.loads(printed[2])["explanations"]
    assert first["record"]["target"]["label"] == "scratch"
    assert first["record"]["settings"]["budget"] == 0.1
    assert (list(first), list(second)) == (["record"], ["record", "map_list"])


def test_protocol_v2(printed):
    metadata, answer = map(json.loads, re.split(r"(?<=\})(?=\{\"model_name)", printed[3]))
    assert metadata["name"] == answer["model_name"] == "surface"
    found = {output["name"]: output["data"] for output in answer["outputs"]}
    assert (found["class"], found["label"]) == ([2], ["pit"])
    assert len(found["map"]) == 160 * 160
