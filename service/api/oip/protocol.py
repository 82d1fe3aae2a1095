"""The body of an `infer` request: JSON, or JSON followed by raw tensor bytes, or nothing but raw bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import MalformedRequest

INPUT = "image"
OUTPUT = "probabilities"
FAMILIARITY = "familiarity"  # of versions that have one

LENGTH_HEADER = "inference-header-content-length"

_ERRORS_SHOWN = 3


class _Part(BaseModel):
    """Keys that are not known are left alone, as the specification asks."""

    model_config = ConfigDict(strict=True, frozen=True)


class InputParameters(_Part):
    binary_data_size: int | None = Field(default=None, ge=0)
    content_type: str | None = None
    shared_memory_region: str | None = None


class OutputParameters(_Part):
    """`classification` asks for the best k as "probability:column:label"; `binary_data` for raw bytes."""

    classification: int = Field(default=0, ge=0)
    binary_data: bool | None = None
    shared_memory_region: str | None = None


class RequestParameters(_Part):
    """`timeout` is in microseconds, 0 leaves it to the server."""

    binary_data_output: bool = False
    timeout: int = Field(default=0, ge=0)


class InputTensor(_Part):
    name: str
    shape: list[int] = Field(max_length=8)
    datatype: str
    parameters: InputParameters | None = None
    data: Any = None


class RequestedOutput(_Part):
    name: str
    parameters: OutputParameters | None = None


class InferRequest(_Part):
    id: str | None = None
    parameters: RequestParameters | None = None
    inputs: list[InputTensor] = Field(max_length=8)
    outputs: list[RequestedOutput] | None = Field(default=None, max_length=8)


class Output(NamedTuple):
    """How one output is to be returned. `classification` is how many classes, 0 the probabilities themselves."""

    name: str = OUTPUT
    binary: bool = False
    classification: int = 0


@dataclass(frozen=True)
class Answer:
    """The outputs that are to be returned; None for all that the version has, `binary` as it says."""

    outputs: tuple[Output, ...] | None = None
    binary: bool = False
    id: str | None = None

    def outputs_of(self, *, has_familiarity: bool) -> tuple[Output, ...]:
        """Those to be returned by a version. Raises MalformedRequest for one that it lacks."""
        offered = (OUTPUT, FAMILIARITY) if has_familiarity else (OUTPUT,)
        if self.outputs is None:
            return tuple(Output(name, self.binary) for name in offered)
        if unknown := [output.name for output in self.outputs if output.name not in offered]:
            raise MalformedRequest(
                f"this version's outputs are {', '.join(map(repr, offered))}, not {', '.join(map(repr, unknown))}"
            )
        return self.outputs


@dataclass(frozen=True)
class Infer:
    """A request whose form has been checked. `raw` is the tensor in bytes, None where `tensor.data` has it as JSON."""

    tensor: InputTensor
    raw: memoryview | None
    answer: Answer
    timeout_us: int


def header_length(header: str | None, body_bytes: int) -> int:
    """How much of the body is JSON: all of it where the header is absent. Raises MalformedRequest."""
    if header is None:
        return body_bytes
    if not (header.isascii() and header.isdecimal() and len(header) < 16 and int(header) <= body_bytes):
        raise MalformedRequest(
            f"Inference-Header-Content-Length must be a whole number from 0 to the body's {body_bytes}, not {header!r}"
        )
    return int(header)


def parse(body: bytes, json_bytes: int) -> Infer:
    """Read a body whose first `json_bytes` are JSON. Raises MalformedRequest."""
    request = _request(body[:json_bytes])
    tensor = _the_input(request)
    parameters = tensor.parameters or InputParameters()
    size, rest = parameters.binary_data_size, memoryview(body)[json_bytes:]
    if parameters.shared_memory_region is not None:
        raise MalformedRequest("shared memory is not offered; send the tensor in the body")
    if (size is None) == (tensor.data is None):
        raise MalformedRequest(f"the input {INPUT!r} needs either `data` or the parameter `binary_data_size`")
    if len(rest) != (size or 0):
        raise MalformedRequest(f"binary_data_size is {size or 0} bytes, but {len(rest)} bytes follow the JSON")
    timeout_us = request.parameters.timeout if request.parameters else 0
    return Infer(tensor, None if size is None else rest, _answer(request), timeout_us)


def _request(body: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(
            f"the body is not JSON: {error}; a bare image needs the header Inference-Header-Content-Length: 0"
        ) from error
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)[:_ERRORS_SHOWN]
        said = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}" for fault in faults)
        raise MalformedRequest(f"this is not an inference request: {said}") from error


def _the_input(request: InferRequest) -> InputTensor:
    names = [tensor.name for tensor in request.inputs]
    if names != [INPUT]:
        raise MalformedRequest(f"expected one input {INPUT!r}, got {', '.join(map(repr, names)) or 'none'}")
    return request.inputs[0]


def _answer(request: InferRequest) -> Answer:
    binary = bool(request.parameters and request.parameters.binary_data_output)
    if not request.outputs:
        return Answer(binary=binary, id=request.id)
    names = [output.name for output in request.outputs]
    if len(set(names)) < len(names):
        raise MalformedRequest(f"each output is returned once, asked for were {', '.join(map(repr, names))}")
    return Answer(tuple(_output(output, binary) for output in request.outputs), id=request.id)


def _output(asked: RequestedOutput, binary: bool) -> Output:
    wanted = asked.parameters or OutputParameters()
    if wanted.shared_memory_region is not None:
        raise MalformedRequest("shared memory is not offered; the output comes in the body")
    if wanted.classification and asked.name != OUTPUT:
        raise MalformedRequest(f"classification is offered for {OUTPUT!r}, not for {asked.name!r}")
    return Output(asked.name, binary if wanted.binary_data is None else wanted.binary_data, wanted.classification)
