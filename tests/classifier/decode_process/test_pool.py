"""Promises of `classifier.decode_process`: the same pixels, from a process that no picture can make a burden."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from classifier.decode_process import DecodeProcesses, messages, pool
from classifier.errors import ImageTooLarge, NotAnImage, TooMuchToDecode, TooSlowToDecode, UndecodableImage
from classifier.images import decode
from tests import pictures
from tests.hostile import png as hostile_png
from tests.hostile import tiff as hostile_tiff
from tests.hostile.png import chunk

SPEC = InputSpec(height=20, width=30, channels=3)
GREY = InputSpec(height=28, width=28, channels=1, contrast="stretch")
SMALL = 1_000_000
GIF = pictures.encoded(pictures.scene(), "GIF")

ROOT = Path(__file__).parents[3]


@pytest.fixture
def processes() -> Iterator[DecodeProcesses]:
    some = DecodeProcesses(2)
    yield some
    some.close()


@pytest.fixture
def slow() -> bytes:
    """A picture that takes some tenths of a second."""
    return next(maker for maker in hostile_png.MAKERS if maker.name == "png-one-column-interlaced")(0).body


def is_there(process_id: int) -> bool:
    stat = Path(f"/proc/{process_id}/stat")
    return stat.exists() and ") Z" not in stat.read_text()


@pytest.mark.parametrize("spec", [SPEC, GREY], ids=["colour", "grey, with contrast"])
@pytest.mark.parametrize("name", pictures.FORMATS)
def test_the_pixels_are_those_of_decoding_here(processes: DecodeProcesses, name: str, spec: InputSpec) -> None:
    body = pictures.encoded(pictures.noise(50, 70), name)
    np.testing.assert_array_equal(processes.decode(body, spec, max_pixels=SMALL), decode(body, spec))


def test_no_process_is_started_before_a_picture_comes_and_one_serves_many(processes: DecodeProcesses) -> None:
    assert processes.idle_ids == []
    used = set()
    for _ in range(3):
        processes.decode(GIF, SPEC, max_pixels=SMALL)
        used |= set(processes.idle_ids)
    assert len(used) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(GIF[:40], UndecodableImage, id="damaged"),
        pytest.param(b"%PDF-1.7", NotAnImage, id="no picture"),
        pytest.param(pictures.claiming("TIFF", 2_000, 2_000), ImageTooLarge, id="too many pixels"),
    ],
)
def test_errors_are_those_of_decoding_here_and_the_process_stays(
    processes: DecodeProcesses, body: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error) as there:
        processes.decode(body, SPEC, max_pixels=SMALL)
    with pytest.raises(error) as here:
        decode(body, SPEC, max_pixels=SMALL)
    assert str(there.value) == str(here.value)
    assert len(processes.idle_ids) == 1


def test_a_picture_that_takes_too_long_for_a_processor_is_refused_and_the_next_is_served(
    processes: DecodeProcesses, slow: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(messages, "CPU_S", 0.02)
        with pytest.raises(TooSlowToDecode, match="of a processor"):
            processes.decode(slow, SPEC, max_pixels=SMALL)
    assert processes.idle_ids == []
    assert processes.decode(slow, SPEC, max_pixels=SMALL).shape == SPEC.shape


def test_a_picture_that_takes_more_memory_than_its_pixels_is_refused(processes: DecodeProcesses) -> None:
    with pytest.raises(TooMuchToDecode, match="memory"):
        processes.decode(hostile_tiff.one_tile(30_000), SPEC, max_pixels=SMALL)
    assert processes.decode(GIF, SPEC, max_pixels=SMALL).shape == SPEC.shape


def test_beyond_its_deadline_the_process_is_ended(processes: DecodeProcesses, slow: bytes) -> None:
    processes.decode(GIF, SPEC, max_pixels=SMALL)
    (before,) = processes.idle_ids
    with pytest.raises(TooSlowToDecode, match="in time"):
        processes.decode(slow, SPEC, max_pixels=SMALL, timeout_s=0.01)
    assert not is_there(before)
    assert processes.idle_ids == []


def test_a_process_that_is_killed_hurts_its_own_picture_alone(processes: DecodeProcesses) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: processes.decode(GIF, SPEC, max_pixels=SMALL), range(8)))
        for one in processes.idle_ids:
            os.kill(one, signal.SIGSTOP)
        first, second = (threads.submit(processes.decode, GIF, SPEC, max_pixels=SMALL) for _ in range(2))
        victim, *others = processes_of(os.getpid())
        os.kill(victim, signal.SIGKILL)
        for one in others:
            os.kill(one, signal.SIGCONT)
        outcomes = [future.exception(20) for future in (first, second)]
    assert [type(error) for error in outcomes if error] in ([TooMuchToDecode], [])
    assert processes.decode(GIF, SPEC, max_pixels=SMALL).shape == SPEC.shape


def test_a_process_that_starts_is_not_ended_by_the_signal_that_ends_the_server(processes: DecodeProcesses) -> None:
    with ThreadPoolExecutor(1) as thread:
        pixels = thread.submit(processes.decode, GIF, SPEC, max_pixels=SMALL)
        while not (started := processes_of(os.getpid())):
            assert not pixels.done()
        for signal_of_the_supervisor in (signal.SIGTERM, signal.SIGINT):
            os.kill(started[0], signal_of_the_supervisor)
        assert pixels.result(30).shape == SPEC.shape
    assert processes.idle_ids == started


def processes_of(parent: int) -> list[int]:
    """The ids of the decode processes that a process has started."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    ids = [int(one) for file in children for one in file.read_text().split()]
    return [one for one in ids if b"classifier.decode_process" in Path(f"/proc/{one}/cmdline").read_bytes()]


def test_no_more_processes_than_agreed(processes: DecodeProcesses) -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: processes.decode(GIF, SPEC, max_pixels=SMALL).shape, range(20)))
    assert answers == [SPEC.shape] * 20
    assert len(processes.idle_ids) <= 2


def test_one_that_waits_too_long_for_a_process_is_refused(slow: bytes) -> None:
    one = DecodeProcesses(1)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(one.decode, slow, SPEC, max_pixels=SMALL)
        while not processes_of(os.getpid()) and not first.done():
            time.sleep(0.001)
        with pytest.raises(TooSlowToDecode, match="no decode process was free"):
            one.decode(GIF, SPEC, max_pixels=SMALL, timeout_s=0.01)
        first.result(20)
    one.close()


def test_processes_that_have_nothing_to_do_are_ended(
    processes: DecodeProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_S", 0.05)
    processes.decode(GIF, SPEC, max_pixels=SMALL)
    (one,) = processes.idle_ids
    until = time.monotonic() + 10
    while processes.idle_ids and time.monotonic() < until:
        time.sleep(0.01)
    assert processes.idle_ids == []
    while Path(f"/proc/{one}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{one}").exists()  # not even as a zombie


PARENT = """
import sys
from classifier.card import InputSpec
from classifier.decode_process import DecodeProcesses
processes = DecodeProcesses(1)
processes.decode(open(sys.argv[1], "rb").read(), InputSpec(height=20, width=30, channels=3), max_pixels=9999)
print(*processes.idle_ids, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_process_ends_with_the_one_that_started_it_even_if_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(GIF)
    command = [sys.executable, "-c", PARENT, str(tmp_path / "a.gif")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_there(child)
        parent.kill()
    until = time.monotonic() + 10
    while is_there(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_there(child)


@pytest.mark.skipif(
    os.getuid() != 0 or not all(folder.stat().st_mode & 1 for folder in Path(sys.executable).resolve().parents),
    reason="only root may become somebody else, who has to be able to reach Python",
)
def test_any_user_may_run_it_from_any_folder() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        picture = Path(folder, "a.gif")
        picture.write_bytes(GIF)
        picture.parent.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", PARENT, str(picture)],
            input="",
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=12_345,
            group=12_345,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
            timeout=60,
        )
    assert done.stdout.strip().isdigit(), done.stderr


def test_the_process_sees_no_secret_of_the_server(processes: DecodeProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_API_KEYS", "k3y")
    processes.decode(GIF, SPEC, max_pixels=SMALL)
    (one,) = processes.idle_ids
    assert b"k3y" not in Path(f"/proc/{one}/environ").read_bytes()


def test_a_large_picture_arrives_whole(processes: DecodeProcesses) -> None:
    body = pictures.png()
    large = body[:33] + chunk(b"tEXt", b"a\0" + b"b" * 900_000) + body[33:]
    np.testing.assert_array_equal(processes.decode(large, SPEC, max_pixels=SMALL), decode(body, SPEC))
