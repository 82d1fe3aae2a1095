"""The line that says how far a command is with many images."""

from __future__ import annotations

import io
import time

import pytest

from classifier.scoring.progress import Progress, ProgressLine, described


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(3_400, 3_400, 20_000, 4.0), "3,400 of 20,000 images, 850/s, 20 s left"),
        (Progress(3_400, 400, 20_000, 4.0), "3,400 of 20,000 images, 100/s, 3 min left"),
        (Progress(10, 10, 1_000_000, 1.0), "10 of 1,000,000 images, 10/s, 27.8 h left"),
        (Progress(12, 12, None, 2.0), "12 images, 6/s"),
        (Progress(12, 0, 20, 2.0), "12 of 20 images, 0/s"),
    ],
)
def test_the_rate_is_that_of_this_run(progress: Progress, text: str) -> None:
    assert described(progress) == text


@pytest.mark.parametrize(
    ("to", "written"),
    [(Terminal(), "\r\x1b[K1 images, 1/s\r\x1b[K2 images, 1/s\r\x1b[K"), (io.StringIO(), "2 images, 1/s\n")],
)
def test_a_terminal_has_one_line_that_is_cleared_and_a_file_one_each_ten_seconds(
    to: io.StringIO, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 1.0, 11.0, 11.1])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    line = ProgressLine(to)
    for done in (1, 2, 3):
        line(Progress(done, done, None, float(done)))
    line.end()
    assert to.getvalue() == written
