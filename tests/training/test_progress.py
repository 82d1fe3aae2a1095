"""`training.progress`: how far a phase is, said neither too often nor for short phases."""

from __future__ import annotations

import io

import pytest

from training.progress import Counted, ProgressLines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def shown(out: io.StringIO, *phases: tuple[str, float], total: int = 100) -> str:
    """What is written while each phase takes so many seconds."""
    clock = Clock()
    progress = ProgressLines(out, every_s=10.0, clock=clock)
    for phase, seconds in phases:
        for done in range(total + 1):
            progress(phase, done, total)
            clock.now_s += seconds / total
    return out.getvalue()


def test_a_log_gets_a_line_now_and_then_with_the_time_left():
    lines = shown(io.StringIO(), ("reading images", 40)).splitlines()
    assert lines == [
        "reading images: 5 of 100, 38 s left",
        "reading images: 30 of 100, 28 s left",
        "reading images: 55 of 100, 18 s left",
        "reading images: 80 of 100, 8 s left",
    ]


def test_a_log_of_a_long_phase_has_a_line_for_each_tenth_at_most():
    lines = shown(io.StringIO(), ("epochs", 3_600)).splitlines()
    assert lines == [f"epochs: {done} of 100, {36 * (100 - done) // 60} min left" for done in range(1, 100, 10)]


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_a_phase_that_is_over_at_once_says_nothing(out: io.StringIO):
    assert shown(out, ("reading images", 1.5)) == ""


def test_a_terminal_shows_one_line_that_is_gone_at_the_end():
    text = shown(Terminal(), ("reading images", 300))
    assert "\n" not in text
    assert text.endswith("\r")
    assert "5 min left" in text


def test_what_was_done_before_does_not_shorten_the_time_left():
    clock, out = Clock(), io.StringIO()
    progress = ProgressLines(out, every_s=10.0, clock=clock)
    for done in range(40, 48):
        progress("epochs", done, 48)
        clock.now_s += 30
    assert out.getvalue().splitlines()[0] == "epochs: 41 of 48, 4 min left"


def test_each_phase_counts_from_its_own_beginning():
    lines = shown(io.StringIO(), ("reading images", 40), ("epochs", 20), total=40).splitlines()
    assert [line.split(":")[0] for line in lines] == ["reading images"] * 4 + ["epochs"] * 2
    assert lines[-2] == "epochs: 4 of 40, 18 s left"


def test_parts_of_a_phase_are_added_up():
    heard: list[tuple[str, int, int]] = []
    counted = Counted(lambda *call: heard.append(call), "reading images", 100)
    for more in (64, 36):
        counted.add(more)
    assert heard == [("reading images", 64, 100), ("reading images", 100, 100)]
