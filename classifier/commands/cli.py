"""The console command `sightline`: finds the module of a command, and words what goes wrong in one line.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from classifier.commands import COMMANDS, VERSION, Command
from classifier.errors import SightlineError

ROOMS = ("classifier", "training", "service")
LIBRARIES = {  # of the extra `train`, as they are imported and as they are called
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "matplotlib": "Matplotlib",
    "onnx": "ONNX",
    "tf2onnx": "tf2onnx",
    "tqdm": "tqdm",
}
INSTALL = '`make train-env` in a checkout, else `pip install "sightline[train]"`'

_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
_CONTEXT = {"help_option_names": ["-h", "--help"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """`sightline` with these arguments, or with the process's. Returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: a missing GPU is no error
    return run("sightline", "Train, package and serve image classifiers.", COMMANDS, arguments)


def run(program: str, about: str, commands: Mapping[str, Command], arguments: Sequence[str] | None) -> int:
    """Run one of these commands and return its exit code. Everything but a bug of ours is one line on stderr."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    try:
        read_only = MappingProxyType(dict(commands))  # Typer writes a key of its own into a dict
        code = _group(about, commands).main(arguments, prog_name=program, standalone_mode=False, obj=read_only)
        sys.stdout.flush()  # here, where a broken pipe and a full disk are caught
        return int(code or 0)
    except typer.TyperException as wrong:
        return _fail(_usage(wrong), wrong.exit_code)
    except SightlineError as error:
        return _fail(str(error))
    except ModuleNotFoundError as missing:
        return _fail(_what_to_install(missing))
    except (BrokenPipeError, SystemExit):  # the reader, say `head`, has what it wanted; Typer exits then
        _drop_output()
        return 1
    except OSError as error:
        _drop_output()
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
    except KeyboardInterrupt:
        return 130


class _Commands(TyperGroup):
    """The list of commands. A command's module is imported when that command is asked for, and no other."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and load(str(name), ctx.find_root().obj[name]), rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        options = [
            parameter.opts[-1] for parameter in self.get_params(ctx) if parameter.opts[-1] != "--show-completion"
        ]
        formatter.write(f"\nOptions: {' '.join(options)}. Each command has --help.\n")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        known = ctx.find_root().obj
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in known.items() if not command.rare])
        if rare := [name for name, command in known.items() if command.rare]:
            formatter.write(f"\nAlso: {', '.join(rare)}.")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["COMMAND [OPTIONS] [ARGUMENTS]"]


class _Command(TyperCommand):
    """A command whose help has no types and braces beside the names of arguments."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [re.sub(r"[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                is_option = record[0].startswith("-")
                name = record[0] if is_option else record[0].split(" <")[0]
                meaning = record[1].replace("[default: ", "[") if is_option else record[1].split("  [")[0]
                rows["Options" if is_option else "Arguments"].append((name, meaning))
        for title, listed in rows.items():
            if listed:
                with formatter.section(title):
                    formatter.write_dl(listed)


def _group(about: str, commands: Mapping[str, Command]) -> Any:
    app = typer.Typer(cls=_Commands, help=about, context_settings=_CONTEXT, **_PLAIN)
    app.callback(invoke_without_command=True)(_root)
    for name, command in commands.items():
        app.command(name, help=command.help)(_listed)
    return typer.main.get_command(app)


def load(name: str, command: Command) -> Any:
    """Import a command's module and make Typer's command of it."""
    module = importlib.import_module(command.module)
    app = typer.Typer(add_completion=False, **_PLAIN)
    app.command(name, cls=_Command, help=module.__doc__, context_settings=_CONTEXT)(module.run)
    return typer.main.get_command(app)


def _listed() -> None:
    """A command in the list; `load` gives the one that runs."""


def _show_version(wanted: bool) -> None:
    if wanted:
        version = importlib.import_module(VERSION).VERSION
        names = ("OpenVINO", "TensorFlow", "JAX")
        engines = [f"{name} {found}" for name in names if (found := _installed(name.lower()))]
        print(f"sightline {version} ({', '.join([f'Python {platform.python_version()}', *engines])})")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _usage(wrong: typer.TyperException) -> str:
    said = " ".join(wrong.format_message().removesuffix(".").replace("Value error, ", "").split())
    context = getattr(wrong, "ctx", None)
    return f"{said}; see `{context.command_path} --help`" if context else said


def _what_to_install(missing: ModuleNotFoundError) -> str:
    name = (missing.name or "").split(".")[0]
    if name in LIBRARIES:
        return f"this needs {LIBRARIES[name]}, which is not installed: {INSTALL}"
    if name in ("nncf", "onnxruntime"):
        return 'this needs NNCF and ONNX Runtime, which are not installed: `pip install "sightline[quantize]"`'
    if name in ROOMS:
        return f"this installation has no {missing.name}; a checkout and the package `sightline` have all commands"
    raise missing


def _fail(message: str, code: int = 1) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _open_closed_streams() -> None:
    """Where stdout or stderr was closed, as by `>&-`, write to nowhere; a file of ours would get its number else."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (for the life of the process)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _drop_output() -> None:
    """Send what is still in stdout's buffer to nowhere, or Python would complain of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
