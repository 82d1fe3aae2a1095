from __future__ import annotations

from typing import Any

import orjson
import pytest

from service.api.oip import protocol
from service.api.oip.protocol import FAMILIARITY, OUTPUT, Answer, Output, header_length
from service.errors import MalformedRequest

IMAGE: dict[str, Any] = {"name": "image", "shape": [1, 2], "datatype": "UINT8", "data": [1, 2]}


def parsed(request: Any, raw: bytes = b"") -> protocol.Infer:
    head = orjson.dumps(request)
    return protocol.parse(head + raw, len(head))


@pytest.mark.parametrize(("header", "length"), [(None, 100), ("0", 0), ("37", 37), ("100", 100)])
def test_the_header_says_how_much_is_json(header: str | None, length: int) -> None:
    assert header_length(header, 100) == length


@pytest.mark.parametrize("header", ["101", "-1", "", "1e1", "ten", "٣", "9" * 5000])
def test_a_header_outside_the_body_is_refused(header: str) -> None:
    with pytest.raises(MalformedRequest, match="from 0 to the body's 100"):
        header_length(header, 100)


def test_json_data_and_raw_bytes_are_distinguished() -> None:
    assert parsed({"inputs": [IMAGE]}).raw is None
    raw = {"name": "image", "shape": [1, 2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}}
    assert parsed({"inputs": [raw]}, b"\x01\x02").raw == b"\x01\x02"


@pytest.mark.parametrize(
    ("outputs", "parameters", "answer"),
    [
        (None, {}, Output()),
        ([], {"binary_data_output": True}, Output(binary=True)),
        ([{"name": "probabilities"}], {"binary_data_output": True}, Output(binary=True)),
        ([{"name": "probabilities", "parameters": {"binary_data": False}}], {"binary_data_output": True}, Output()),
        ([{"name": "probabilities", "parameters": {"binary_data": True}}], {}, Output(binary=True)),
        ([{"name": "probabilities", "parameters": {"classification": 3}}], None, Output(classification=3)),
    ],
    ids=["nothing said", "all binary", "one of all", "one is not", "one is", "classes"],
)
def test_the_request_says_how_the_output_comes(outputs: Any, parameters: Any, answer: Output) -> None:
    asked = parsed({"inputs": [IMAGE], "outputs": outputs, "parameters": parameters}).answer
    assert asked.outputs_of(has_familiarity=False) == (answer,)


def test_a_version_with_a_familiarity_returns_both_outputs_unless_one_is_asked_for() -> None:
    both = [Output(OUTPUT), Output(FAMILIARITY)]
    assert [*parsed({"inputs": [IMAGE]}).answer.outputs_of(has_familiarity=True)] == both
    wanted = [{"name": FAMILIARITY, "parameters": {"binary_data": True}}]
    one = parsed({"inputs": [IMAGE], "outputs": wanted}).answer.outputs_of(has_familiarity=True)
    assert one == (Output(FAMILIARITY, binary=True),)


@pytest.mark.parametrize(
    ("name", "has_familiarity", "offered"),
    [("scores", True, "'probabilities', 'familiarity'"), (FAMILIARITY, False, "'probabilities'")],
)
def test_an_output_that_the_version_lacks_is_refused_naming_those_there_are(
    name: str, has_familiarity: bool, offered: str
) -> None:
    answer = parsed({"inputs": [IMAGE], "outputs": [{"name": name}]}).answer
    with pytest.raises(MalformedRequest, match=f"this version's outputs are {offered}, not '{name}'"):
        answer.outputs_of(has_familiarity=has_familiarity)


def test_what_is_not_known_is_left_alone() -> None:
    extra = {"model_name": "cat", "priority": 1, "parameters": {"priority": 1, "sequence_id": 0, "of_mine": "x"}}
    assert parsed({"id": "7", "inputs": [IMAGE | {"parameters": {"mine": 1}}], **extra}).answer == Answer(id="7")


def test_a_timeout_is_in_microseconds() -> None:
    assert parsed({"inputs": [IMAGE], "parameters": {"timeout": 1500}}).timeout_us == 1500


RAW = {"name": "image", "shape": [1, 2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}}
SHARED = {"shared_memory_region": "x"}


@pytest.mark.parametrize(
    ("request_", "raw", "said"),
    [
        ([], b"", "this is not an inference request"),
        ({}, b"", "inputs: Field required"),
        ({"inputs": []}, b"", "expected one input 'image', got none"),
        ({"inputs": [IMAGE | {"name": "picture"}]}, b"", "expected one input 'image', got 'picture'"),
        ({"inputs": [IMAGE, IMAGE]}, b"", "expected one input 'image', got 'image', 'image'"),
        ({"inputs": [IMAGE] * 10_000}, b"", "at most 8 items"),
        ({"inputs": [IMAGE | {"shape": [1.5, 2]}]}, b"", r"inputs\.0\.shape\.0: Input should be a valid integer"),
        ({"inputs": [IMAGE | {"shape": [True, 2]}]}, b"", r"inputs\.0\.shape\.0"),
        ({"inputs": [IMAGE | {"shape": [1] * 10_000}]}, b"", "at most 8 items"),
        ({"inputs": [IMAGE | {"data": None}]}, b"", "either `data` or the parameter `binary_data_size`"),
        ({"inputs": [RAW | {"data": [1, 2]}]}, b"12", "either `data` or the parameter `binary_data_size`"),
        ({"inputs": [RAW]}, b"", "binary_data_size is 2 bytes, but 0 bytes follow"),
        ({"inputs": [RAW]}, b"123", "binary_data_size is 2 bytes, but 3 bytes follow"),
        ({"inputs": [IMAGE]}, b"1", "binary_data_size is 0 bytes, but 1 bytes follow"),
        ({"inputs": [RAW | {"parameters": {"binary_data_size": -2}}]}, b"12", "binary_data_size"),
        ({"inputs": [IMAGE | {"parameters": SHARED}]}, b"", "shared memory is not offered"),
        ({"inputs": [IMAGE], "outputs": [{"name": "probabilities"}] * 2}, b"", "each output is returned once"),
        (
            {"inputs": [IMAGE], "outputs": [{"name": FAMILIARITY, "parameters": {"classification": 1}}]},
            b"",
            "classification is offered for 'probabilities', not for 'familiarity'",
        ),
        (
            {"inputs": [IMAGE], "outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
            b"",
            "classification: Input should be greater than or equal to 0",
        ),
        (
            {"inputs": [IMAGE], "outputs": [{"name": "probabilities", "parameters": SHARED}]},
            b"",
            "shared memory is not offered",
        ),
        ({"inputs": [IMAGE], "parameters": {"timeout": -1}}, b"", r"parameters\.timeout"),
        ({"inputs": [IMAGE], "parameters": {"timeout": "1"}}, b"", r"parameters\.timeout"),
        ({"inputs": [IMAGE], "id": 7}, b"", "id: Input should be a valid string"),
    ],
)
def test_a_request_of_the_wrong_form_is_refused_saying_what_is_wrong(request_: Any, raw: bytes, said: str) -> None:
    with pytest.raises(MalformedRequest, match=said):
        parsed(request_, raw)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xd8\xff\xe0", b'{"inputs": [NaN]}', b"[" * 100_000])
def test_a_body_that_is_not_json_is_answered_with_how_to_send_a_bare_image(body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="Inference-Header-Content-Length: 0"):
        protocol.parse(body, len(body))


def test_a_refusal_stays_short_however_many_things_are_wrong() -> None:
    with pytest.raises(MalformedRequest) as refused:
        parsed({"inputs": [{"shape": ["a"] * 8}] * 8})
    assert len(str(refused.value)) < 500
