"""JSON within limits."""

import json

import pytest

from sise_rt.serve.bodies import DEEPEST, parse_json
from sise_rt.serve.refusals import Refused


def test_json_is_read():
    value = {"instances": [{"image": "a[b{c", "target": 3, "mu": 0.5, "x": None, "y": [True]}]}
    assert parse_json(json.dumps(value).encode()) == value
    deep = b"[" * DEEPEST + b"]" * DEEPEST
    assert parse_json(deep) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[NaN]",
        b"[Infinity]",
        b"[1e999]",
        b'{"a": \xff}',
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000,
        b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
        b"1 2",
    ],
    ids=range(12),
)
def test_what_is_no_json_is_refused(body):
    with pytest.raises(Refused) as refused:
        parse_json(body)
    assert refused.value.status == 400
