"""Triton's client of the Open Inference Protocol: `python by_tritonclient.py ADDRESS PICTURE`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def ask(address: str, picture: bytes, name: str = "surface") -> None:
    """Print what the client says of each of its calls; a wrong answer is an error."""
    client = triton.InferenceServerClient(
        address.partition("://")[2], network_timeout=120, connection_timeout=120
    )
    told("is_server_live, is_server_ready", client.is_server_live() and client.is_server_ready())
    told("get_server_metadata", client.get_server_metadata())
    metadata = client.get_model_metadata(name)
    told("get_model_metadata", [output["name"] for output in metadata["outputs"]])
    (number,) = metadata["versions"]
    told("is_model_ready, of a version", client.is_model_ready(name, number))

    encoded = np.array([picture, picture], np.object_)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    for values, kind in ((encoded, "BYTES"), (pictures, "UINT8")):
        for there in (True, False):
            if kind == "BYTES" and not there:
                continue  # the client writes bytes as text, which a picture is not
            given = triton.InferInput("image", list(values.shape), kind)
            given.set_data_from_numpy(values, binary_data=there)
            for back in (True, False):
                check(client, name, given, kind, there, back)
    answer = client.infer(name, [given], model_version=number, parameters={"budget": 0.1})
    told("infer, all outputs, of a version", [one["name"] for one in answer.get_response()["outputs"]])
    try:
        client.infer(name, [given], parameters={"target": 10**6})
        raise SystemExit("a class that is none was not refused")
    except InferenceServerException as error:
        told("infer, no such class", f"{error.status()} {error.message()}")


def check(client: Any, name: str, given: Any, kind: str, there: bool, back: bool) -> None:
    """One inference."""
    wanted = [triton.InferRequestedOutput(output, binary_data=back) for output in ("map", "class", "logits")]
    answer = client.infer(name, [given], outputs=wanted, parameters={"budget": 0.1}, request_id="7")
    assert answer.get_response()["id"] == "7"
    found = {output: answer.as_numpy(output) for output in ("map", "class", "logits")}
    assert found["map"].dtype == np.float32
    assert found["map"].min() >= 0
    assert found["map"].max() <= 1
    assert (found["logits"].argmax(1) == found["class"]).all()
    ways = {True: "bytes", False: "JSON"}
    told(
        f"infer, {kind} as {ways[there]}, {ways[back]} back",
        {key: value.shape for key, value in found.items()},
    )


def told(what: str, answer: object) -> None:
    """Print an answer, which is none that says no."""
    assert answer, what
    print(f"| tritonclient {version('tritonclient')} | {what} | {answer} |", flush=True)


if __name__ == "__main__":
    ask(sys.argv[1], Path(sys.argv[2]).read_bytes())
