"""The command `sightline` itself: its list, its help, its exit codes, and one line for whatever goes wrong."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from classifier.commands import COMMANDS, Command
from classifier.commands.cli import load, main, run
from classifier.commands.parameters import path, reference, whole_number, whole_numbers
from service.client.version import VERSION
from training.commands import fit
from training.fitting.run import Epoch, write_history

ROOT = Path(__file__).parents[3]
ROWS, COLUMNS = 24, 80  # of a terminal


def sightline(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "classifier.commands", *words]
    options = {"cwd": ROOT, "text": True, "capture_output": True} | more
    return subprocess.run(command, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=lambda words: words[0] if words else "all")
def test_help_fits_a_screen(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < ROWS
    assert max(map(len, lines)) <= COLUMNS


def test_every_command_and_every_option_says_what_it_is() -> None:
    for name, command in COMMANDS.items():
        loaded = load(name, command)
        assert loaded.help, name
        for parameter in loaded.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_nothing_asked_is_answered_with_the_list_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert all(re.search(rf"  {name} |Also: .*\b{name}[,.]", said.err) for name in COMMANDS)


def test_a_misspelt_command_is_answered_with_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fti"]) == 2
    assert capsys.readouterr().err == "error: No such command 'fti'. Did you mean 'fit'?; see `sightline --help`\n"


def test_the_version_is_the_one_there_is_and_the_engines_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"sightline {VERSION} (Python 3.")
    assert "OpenVINO" in said


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["list", "--help"], ["fit", "--help"]], ids=" ".join)
def test_help_imports_no_engine_and_no_room_that_is_not_asked(words: list[str]) -> None:
    script = f"""
import sys
from classifier.commands.cli import main
code = main({words!r})
assert not {{"tensorflow", "keras", "openvino", "PIL", "bentoml"}} & set(sys.modules)
assert ("training" in sys.modules) == ({words[0]!r} == "fit")
assert "service" not in sys.modules
sys.exit(code)
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def completed(words: str) -> set[str]:
    """What bash is offered after `words`."""
    asked = {"_SIGHTLINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return set(sightline(env=os.environ | asked).stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [("sightline re", {"recheck", "recipes", "release", "report"}), ("sightline predict cif", {"cifar-10"})],
    ids=["commands", "models"],
)
def test_shells_complete_commands_and_models(words: str, expected: set[str]) -> None:
    assert completed(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [("sightline predict --", "--top-k"), ("sightline fit asl", "asl-augmented")],
    ids=["options", "recipes"],
)
def test_shells_complete_options_and_recipes(words: str, expected: str) -> None:
    assert expected in completed(words)


def test_the_completion_for_a_shell_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # and not what runs the tests
    shown = CliRunner().invoke(_with_completion(), ["--show-completion"])
    assert "_COMPLETE=complete_bash" in shown.output


def _with_completion() -> typer.Typer:
    app = typer.Typer()
    app.command()(lambda: None)
    return app


# Without training, or without what it needs


@pytest.fixture
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name))


@pytest.mark.usefixtures("without_tensorflow")
@pytest.mark.parametrize("name", ["fit", "preview", "learning-curve", "pipeline", "recheck"])
def test_what_trains_says_in_one_line_how_to_install_tensorflow(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "asl-augmented", "--data", "."]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "error: this needs TensorFlow, which is not installed: `make train-env` in a checkout, "
        'else `pip install "sightline[train]"`\n'
    )


@pytest.mark.usefixtures("without_tensorflow")
def test_without_tensorflow_there_is_help_for_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    assert "--data" in capsys.readouterr().out
    assert main(["recipes"]) == 0


@pytest.fixture
def bento(tmp_path: Path) -> Path:
    """What a Bento holds of the code."""
    for room in ("classifier", "service"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.slow
def test_in_a_bento_the_commands_of_the_other_rooms_work(bento: Path, tiny_models_root: Path) -> None:
    assert "fit" in sightline("--help", cwd=bento).stdout
    assert "tiny-colour" in sightline("list", "--models", str(tiny_models_root), cwd=bento).stdout


def test_a_room_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    absent = {"teach": Command("training.commands.teach", "Not there.")}
    assert run("sightline", "About.", absent, ["teach"]) == 1
    assert capsys.readouterr().err.startswith("error: this installation has no training.commands.teach; ")


# What goes wrong


class Failing:
    """A module with a command that fails, put where commands are imported from."""

    def __init__(self, error: BaseException) -> None:
        self.__doc__ = "Fail."
        self.error = error

    def run(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "/secret"), 1, "error: /secret: Permission denied\n"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device\n"),
        (ModuleNotFoundError("No module named 'tqdm'", name="tqdm"), 1, "error: this needs tqdm, which is not"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=["unreadable", "full", "library", "Ctrl-C"],
)
def test_a_trouble_is_one_line(error: BaseException, code: int, said: str, monkeypatch, capfd) -> None:
    monkeypatch.setitem(sys.modules, "failing", Failing(error))
    assert run("sightline", "About.", {"fail": Command("failing", "Fail.")}, ["fail"]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.count("\n") == (1 if said else 0)


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "failing", Failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run("sightline", "About.", {"fail": Command("failing", "Fail.")}, ["fail"])


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["list"], ["recipes"]], ids=" ".join)
def test_a_full_disk_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = sightline(*words, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["list", "--json"], ["recipes"]], ids=" ".join)
def test_a_reader_who_left_is_no_trouble(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = sightline(*words, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert done.stderr == ""


@pytest.mark.slow
def test_a_closed_stdout_is_no_trouble() -> None:
    shell = ["sh", "-c", f"exec {sys.executable} -m classifier.commands recipes >&-"]
    done = subprocess.run(shell, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_tensorflow_says_nothing_while_verifying_and_exporting(tiny_models_root: Path, tmp_path: Path) -> None:
    store = ["--models", str(tiny_models_root)]
    verified = sightline("verify", "tiny-colour", *store)
    assert (verified.returncode, verified.stderr) == (0, "")
    out = tmp_path / "tiny.tflite"
    exported = sightline("export", "tiny-colour", "--format", "tflite", *store, "--out", str(out))
    assert (exported.returncode, exported.stderr, exported.stdout) == (0, "", f"{out}\n")


@pytest.fixture
def ctrl_c_counts() -> Iterator[None]:
    """Shells have what they start in the background ignore SIGINT, and so would every process started from here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c_counts")
def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    pipe = tmp_path / "image.jpg"
    os.mkfifo(pipe)  # reading it waits for ever
    command = [sys.executable, "-m", "classifier.commands", "predict", "asl", str(pipe), "--models", "models"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        try:
            writer = _writer(pipe)
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=60)
            os.close(writer)
        finally:
            running.kill()
    assert (running.returncode, err) == (130, b"")


def _writer(pipe: Path) -> int:
    """The pipe opened for writing, which succeeds once somebody reads it."""
    until = time.monotonic() + 60
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("epochs", "goes_on"),
    [
        ((), "no epoch is complete: the same command begins anew"),
        ((1,), "one epoch is complete: the same command with --resume goes on from there"),
        ((2, 5), "7 epochs are complete: the same command with --resume goes on from there"),
    ],
    ids=["none", "one", "two folds"],
)
def test_who_stops_a_fit_reads_how_it_goes_on(
    epochs: tuple[int, ...], goes_on: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, count in enumerate(epochs):
        folder = tmp_path / ("cups.features.seed-1" + number * ".fold-2-of-2")
        folder.mkdir()
        write_history([Epoch(n, 1.0, 0.7, 0.5, 0.6, 0.6) for n in range(1, count + 1)], folder / "history.csv")
    (tmp_path / "cups.features.seed-10").mkdir()
    write_history([Epoch(1, 1.0, 0.7, 0.5, 0.6, 0.6)], tmp_path / "cups.features.seed-10" / "history.csv")
    with pytest.raises(typer.Exit) as stopped, fit.resumable(tmp_path / "cups.features.seed-1"):
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130
    assert capsys.readouterr().err == f"\nstopped; {goes_on}\n"


def test_who_stops_a_fit_while_images_are_read_has_nothing_to_go_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), fit.resumable():
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "\nstopped; no epoch is complete: the same command begins anew\n"


# Parameters


@pytest.mark.parametrize(("text", "read"), [("asl", ("asl", None)), ("asl@12", ("asl", 12))])
def test_a_model_is_named_with_or_without_a_version(text: str, read: tuple[str, int | None]) -> None:
    assert reference(text) == read


@pytest.mark.parametrize("text", ["", "@1", "asl@", "asl@0", "asl@latest", "asl@1@2", "asl@-1", "asl@\u0663"])
def test_what_names_no_model_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected MODEL or MODEL@VERSION with a whole number from 1, got"):
        reference(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "x", "9"])
def test_a_number_outside_its_range_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=f"expected a whole number from 1 to 8, got {text!r}"):
        whole_number(1, 8)(text)


def test_numbers_are_typed_with_commas() -> None:
    assert whole_numbers(1)("10,30") == (10, 30)
    with pytest.raises(typer.BadParameter, match="commas between"):
        whole_numbers(1)("10,,30")


def test_the_home_folder_may_be_abbreviated(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path("~/x") == tmp_path / "x"
    assert main(["evaluate", "asl", "--data=~/photos", f"--models={ROOT / 'models'}"]) == 1
    assert str(tmp_path / "photos") in capsys.readouterr().err
