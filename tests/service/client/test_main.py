"""`python -m service.client` against a server that is a function."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import __main__ as command
from service.client.blocking import Client
from tests.service.client.test_streams import images_of

URL = "http://sightline:3000"
REFUSED = {"code": "not-an-image", "title": "Not an image we read", "detail": "it is text", "status": 415}

Run = Callable[..., int]


@pytest.fixture
def requests() -> list[httpx.Request]:
    return []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, requests: list[httpx.Request]) -> Run:
    def server(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if "/pets/" not in request.url.path:
            unknown = {"code": "unknown-model", "detail": "no model 'cars'; this server has: pets"}
            return httpx.Response(404, json=unknown, headers={"content-type": "application/problem+json"})
        ranked = [{"label": "cat", "probability": 0.9}, {"label": "hamster", "probability": 0.1}]
        head = {"model": "pets", "version": 2}
        results = [{"error": REFUSED} if i == b"text" else {"predictions": ranked} for i in images_of(request)]
        if request.url.path.endswith("/predict-batch"):
            return httpx.Response(200, json=head | {"results": results})
        if "error" in results[0]:
            return httpx.Response(415, json=REFUSED, headers={"content-type": "application/problem+json"})
        return httpx.Response(200, json=head | results[0])

    def client(url: str, **options: Any) -> Client:
        return Client(url, transport=httpx.MockTransport(server), **options)

    monkeypatch.setattr(command, "Client", client)
    return lambda *arguments: command.main([URL, *map(str, arguments)])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("1.jpg", "2.jpg"):
        (folder / name).write_bytes(b"jpeg")
    return folder


def test_a_readable_answer_for_each_image(run: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pets", photos / "2.jpg", photos / "1.jpg") == 0
    ranked = "  cat       90.0%\n  hamster   10.0%\n"
    assert capsys.readouterr().out == f"{photos}/2.jpg\n{ranked}{photos}/1.jpg\n{ranked}"


def test_a_folder_stands_for_its_images(run: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pets", photos, photos / "1.jpg") == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert printed == [str(photos / name) for name in ("1.jpg", "2.jpg", "1.jpg")]


def test_options_reach_the_server(run: Run, photos: Path, requests: list[httpx.Request], tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    assert run("pets", photos, "--version", 2, "--top-k", 1, "--concurrency", 1, "--api-key-file", key) == 0
    path = f"{URL}/v1/models/pets/versions/2/predict"
    assert {str(r.url) for r in requests} <= {f"{path}?top_k=1", f"{path}-batch?top_k=1"}
    assert {r.headers["authorization"] for r in requests} == {"Bearer secret"}


def test_json_is_one_list_with_an_answer_or_an_error_for_each(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "2.jpg").write_bytes(b"text")
    assert run("pets", photos, "--json") == 1
    good, bad = json.loads(capsys.readouterr().out)
    error = {member: REFUSED[member] for member in ("code", "title", "detail")}
    assert good == {
        "image": str(photos / "1.jpg"),
        "model": "pets",
        "version": 2,
        "predictions": [{"label": "cat", "probability": 0.9}, {"label": "hamster", "probability": 0.1}],
    }
    assert bad == {"image": str(photos / "2.jpg"), "model": "pets", "error": error}


def test_an_image_that_fails_is_named_and_the_others_are_answered(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "text.png").write_bytes(b"text")
    assert run("pets", photos / "none.jpg", photos / "text.png", photos / "1.jpg") == 1
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{photos}/1.jpg\n")
    none, text = shown.err.splitlines()
    assert none == f"error: {photos}/none.jpg: {photos}/none.jpg cannot be read (No such file or directory)"
    assert text == f"error: {photos}/text.png: it is text"


def test_what_would_befall_every_image_is_said_once(
    run: Run, photos: Path, requests: list[httpx.Request], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("cars", *[photos / "1.jpg"] * 500, "--concurrency", 1) == 1
    assert capsys.readouterr().err == "error: no model 'cars'; this server has: pets\n"
    assert len(requests) < 20


@pytest.mark.parametrize("key", ["", "one\ntwo"], ids=["empty", "two lines"])
def test_a_key_file_that_holds_no_key_is_refused(
    run: Run, photos: Path, tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text(key)
    with pytest.raises(SystemExit, match="2"):
        run("pets", photos, "--api-key-file", tmp_path / "key")
    assert "the API key has characters" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["pets"],
        ["pets", "x.jpg", "--top-k", "0"],
        ["pets", "x.jpg", "--version", "v1"],
        ["pets", "x.jpg", "--timeout", "0"],
        ["pets", "x.jpg", "--api-key-file", "/none"],
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_sense_end_with_2(run: Run, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)


def test_an_address_that_is_none_is_such_an_argument(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["localhost:3000", "pets", str(photos)])
    assert "expected the address of a server, such as http://" in capsys.readouterr().err


def test_who_stops_it_gets_no_traceback(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "classify", interrupted)
    assert run("pets", photos) == 130


def test_a_table_has_a_row_for_each_image(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "text.png").write_bytes(b"text")
    out = tmp_path / "answers.csv"
    assert run("pets", photos, "--alias", "stable", "--out", out) == 1
    assert capsys.readouterr().out == f"{out}\n"
    head, *rows = csv.reader(out.read_text(encoding="utf-8").splitlines())
    assert head == ["image", "model", "version", "label", "probability", "familiar", "familiarity", "error"]
    good = [[str(photos / name), "pets", "2", "cat", "0.9", "", "", ""] for name in ("1.jpg", "2.jpg")]
    assert rows == [*good, [str(photos / "text.png"), "pets", "", "", "", "", "", "not-an-image"]]


@pytest.mark.parametrize("name", ["answers.xlsx", "answers", "none/answers.csv"])
def test_a_table_that_cannot_be_written_is_refused_before_anything_is_asked(
    run: Run, photos: Path, tmp_path: Path, requests: list[httpx.Request], name: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("pets", photos, "--out", tmp_path / name)
    assert (ended.value.code, requests) == (2, [])


def test_parquet_without_its_library_says_what_to_install(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SystemExit):
        run("pets", photos, "--out", tmp_path / "answers.parquet")
    assert "pip install 'sightline-client[parquet]'" in capsys.readouterr().err


def test_parquet_has_the_same_rows_with_their_types(run: Run, photos: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    (photos / "text.png").write_bytes(b"text")
    out = tmp_path / "answers.parquet"
    assert run("pets", photos, "--out", out) == 1
    table = parquet.read_table(out)
    assert table.column("probability").to_pylist() == [0.9, 0.9, None]
    assert table.column("version").to_pylist() == [2, 2, None]
    assert table.column("error").to_pylist() == [None, None, "not-an-image"]


def test_a_folder_without_images_is_one_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pets", tmp_path) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} has no images")


def test_waiting_for_the_server_is_said(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def starting(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    def client(url: str, **options: Any) -> Client:
        return Client(url, transport=httpx.MockTransport(starting), retries=2, sleep=lambda _: None, **options)

    monkeypatch.setattr(command, "Client", client)
    assert run("pets", photos / "1.jpg") == 1
    waiting, error = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"{URL} cannot be reached: refused; trying again in 0\.\d s", waiting)
    assert error == f"error: {URL} cannot be reached: refused"
