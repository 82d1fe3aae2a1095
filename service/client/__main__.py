"""Classify image files by a server: `sightline-client URL MODEL IMAGE...`."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .blocking import Client
from .errors import BadRequest, ClientError, ConnectionFailed, ModelNotServed, TimedOut, UnexpectedAnswer
from .protocol import TIMEOUT_S
from .results import Answered
from .sources import ImageLike, each_image
from .streams import CONCURRENCY
from .tables import Table, row_of

_BAR_WIDTH = 24
_PROGRAM = "sightline-client" if __package__ == "sightline_client" else f"python -m {__package__}"

_SAID_EVERY_S = 5.0  # that the client waits for the server

_HOPELESS = (BadRequest, ModelNotServed, UnexpectedAnswer, ConnectionFailed)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every image was classified, 1 if any was not, 2 for arguments that make no sense."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    options = parser().parse_args(arguments)
    try:
        client = _client(options)
        table = Table(options.out) if options.out else None
    except (OSError, ValueError) as error:
        parser().error(str(error))
    try:
        with client, _waiting_is_said(), ExitStack() as files:
            return classify(client, options, table and files.enter_context(table))
    except ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, say `head`, has what it wanted; nothing is left to be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


@contextmanager
def _waiting_is_said() -> Iterator[None]:
    log, waiting = logging.getLogger("sightline_client"), _Waiting(logging.INFO)
    log.addHandler(waiting)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(waiting)


class _Waiting(logging.Handler):
    """Says on stderr that a call is tried again, and why, every few seconds at most."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said_at = -_SAID_EVERY_S

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() - self._said_at >= _SAID_EVERY_S:
            self._said_at = time.monotonic()
            print(record.getMessage(), file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog=_PROGRAM, description="Classify image files by a server.")
    add = root.add_argument
    add("url", metavar="URL", help="the server, such as http://127.0.0.1:3000")
    add("model", metavar="MODEL")
    add("images", nargs="+", type=Path, metavar="IMAGE", help="files, and folders with all images below them")
    which = root.add_mutually_exclusive_group()
    which.add_argument("--version", type=_positive, metavar="V", help="a version (default: the stable one)")
    which.add_argument("--alias", metavar="NAME", help="the version that an alias of the server stands for")
    add("--top-k", type=_positive, metavar="N", help="only the N most probable labels")
    add("--out", type=Path, metavar="FILE", help="write a table, .csv or .parquet, in place of printing")
    add("--json", action="store_true", help="print JSON, per image as the server answers")
    add(
        "--concurrency",
        type=_positive,
        default=CONCURRENCY,
        metavar="N",
        help="requests at once (default: %(default)s)",
    )
    add("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="seconds for one request (default: %(default)s)")
    add("--api-key-file", type=Path, metavar="FILE", help="holds the API key, which is not for a command line")
    return root


def classify(client: Client, options: argparse.Namespace, table: Table | None = None) -> int:
    """Print the answers as they come, or all as JSON, or write a table. Raises what would befall every image alike."""
    failed, records = False, []
    for answered in _stream(client, options):
        if isinstance(answered.result, _HOPELESS) and not isinstance(answered.result, TimedOut):
            raise answered.result
        failed |= isinstance(answered.result, ClientError)
        if table is not None:
            table.add(row_of(options.model, answered))
        elif options.json:
            records.append(_record(options.model, answered))
        else:
            _print_answer(answered)
    if table is not None:
        print(options.out)
    elif options.json:
        print(json.dumps(records, indent=2, ensure_ascii=False))
    return int(failed)


def _client(options: argparse.Namespace) -> Client:
    """Raises OSError or ValueError for a key file, an address or a number that cannot be used."""
    api_key = options.api_key_file.read_text(encoding="utf-8").strip() if options.api_key_file else None
    return Client(options.url, api_key=api_key, timeout_s=options.timeout, max_connections=options.concurrency)


def _stream(client: Client, options: argparse.Namespace) -> Iterator[Answered]:
    return client.predict_many(
        options.model,
        [*_each_file(options.images)],
        version=options.version,
        alias=options.alias,
        top_k=options.top_k,
        concurrency=options.concurrency,
        progress=options.json
        or options.out is not None
        or not sys.stdout.isatty(),  # else the answers themselves are the progress
    )


def _each_file(paths: Sequence[Path]) -> Iterator[ImageLike]:
    for path in paths:
        yield from each_image(path) if path.is_dir() else [path]


def _record(model: str, answered: Answered) -> dict[str, Any]:
    head = {"image": str(answered.image), "model": model}
    if isinstance(answered.result, ClientError):
        error = answered.result
        return head | {"error": {"code": error.code, "title": error.title, "detail": error.detail}}
    ranked = [prediction._asdict() for prediction in answered.result.predictions]
    return head | {"version": answered.result.version, "predictions": ranked}


def _print_answer(answered: Answered) -> None:
    path = str(answered.image)
    if isinstance(answered.result, ClientError):
        print(f"error: {path}: {answered.result}", file=sys.stderr)
        return
    print(path)
    width = max(len(label) for label, _ in answered.result.predictions)
    for label, probability in answered.result.predictions:
        bar = "  " + "\u2588" * round(_BAR_WIDTH * probability) if sys.stdout.isatty() else ""
        print(f"  {label:{width}}  {probability:6.1%}{bar}".rstrip())


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
