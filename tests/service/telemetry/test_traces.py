from __future__ import annotations

import pytest

from service.telemetry.traces import Trace, new_trace, read_trace

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE_ID}-{SPAN_ID}-01"


def test_what_a_caller_says_is_kept() -> None:
    trace = read_trace([GIVEN.encode()])
    assert trace == Trace(TRACE_ID, SPAN_ID, "01")
    assert trace.header == GIVEN


@pytest.mark.parametrize("more", ["", "-more-of-it"])
def test_of_a_later_version_what_is_known_is_kept(more: str) -> None:
    assert read_trace([f"cc{GIVEN[2:]}{more}".encode()]) == Trace(TRACE_ID, SPAN_ID, "01")


@pytest.mark.parametrize(
    "values",
    [
        [""],
        ["none"],
        [GIVEN.upper()],
        [f"ff{GIVEN[2:]}"],
        [f"{GIVEN}-more"],
        [f"cc{GIVEN[2:]}more"],
        [f"00-{'0' * 32}-{SPAN_ID}-01"],
        [f"00-{TRACE_ID}-{'0' * 16}-01"],
        [GIVEN[:-1]],
        [f"{GIVEN}\n"],
        [GIVEN.replace("a", "é")],
        [GIVEN, GIVEN],
    ],
    ids=[
        *("empty", "a word", "capitals", "version ff", "more in version 00", "no dash", "no trace", "no span"),
        *("too short", "a line break", "bytes", "twice"),
    ],
)
def test_what_is_invalid_is_replaced_by_a_new_trace(values: list[str]) -> None:
    given = [value.encode() for value in values]
    first, second = read_trace(given), read_trace(given)
    assert first.trace_id not in (TRACE_ID, second.trace_id)
    assert read_trace([first.header.encode()]) == first


def test_a_new_trace_is_nobody_elses_and_not_recorded() -> None:
    assert len({new_trace() for _ in range(10)}) == 10
    assert new_trace().flags == "00"
