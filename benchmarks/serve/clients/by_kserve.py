"""KServe's own client against the service: `python by_kserve.py ADDRESS PICTURE`."""

from __future__ import annotations

import asyncio
import base64
import io
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from httpx import HTTPStatusError
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def ask(address: str, picture: bytes, name: str = "surface") -> None:
    """Print what the client says of each of its calls; a wrong answer is an error."""
    first = InferenceRESTClient(RESTConfig(protocol="v1", retries=0, timeout=120))
    second = InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=120))
    text = base64.b64encode(picture).decode()
    for client, protocol in ((first, "v1"), (second, "v2")):
        told(f"{protocol} is_server_live", await client.is_server_live(address))
        told(f"{protocol} is_model_ready", await client.is_model_ready(address, name))
    told("v2 is_server_ready", await second.is_server_ready(address))

    answer = await first.explain(
        address, name, data={"instances": [text, {"image": {"b64": text}, "target": 0}]}
    )
    maps = [np.load(io.BytesIO(base64.b64decode(one["map"]))) for one in answer["explanations"]]
    told("v1 explain: predictions", [one["label"] for one in answer["predictions"]])
    told("v1 explain: maps", [map_.shape for map_ in maps])
    told(
        "v1 infer (:predict)",
        (await first.infer(address, {"instances": [text]}, name))["predictions"][0]["label"],
    )
    try:
        await first.explain(address, name, data={"instances": [{"image": text, "target": 10**6}]})
        raise SystemExit("a class that is none was not refused")
    except HTTPStatusError as error:
        told("v1 explain, no such class", f"{error.response.status_code} {error.response.json()['field']}")

    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    for binary in (False, True):
        given = InferInput("image", list(pictures.shape), "UINT8")
        given.set_data_from_numpy(pictures, binary_data=binary)
        wanted = [RequestedOutput(output, {"binary_data": binary}) for output in ("map", "confidence")]
        request = InferRequest(name, [given], parameters={"budget": 0.1}, request_outputs=wanted)
        answer = await second.infer(address, request, model_name=name)
        found = {output.name: output.as_numpy() for output in answer.outputs}
        shapes = {key: (value.shape, str(value.dtype)) for key, value in found.items()}
        told(f"v2 infer, {'bytes' if binary else 'JSON'}", shapes)
        assert found["map"].max() <= 1
        assert found["map"].shape[0] == 2
    await first.close()
    await second.close()


def told(what: str, answer: object) -> None:
    """Print an answer, which is none that says no."""
    assert answer, what
    print(f"| kserve {version('kserve')} | {what} | {answer} |", flush=True)


if __name__ == "__main__":
    asyncio.run(ask(sys.argv[1], Path(sys.argv[2]).read_bytes()))
