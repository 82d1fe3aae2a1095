"""Everything an operator may set, read once from `SIGHTLINE_<FIELD>` when the server starts."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

from classifier.engines import EngineOptions
from classifier.images import MAX_PIXELS
from service.errors import SettingsError

PREFIX = "SIGHTLINE_"

# Kubernetes tells every pod of a service called "sightline" its address in variables like these; they are not ours.
_KUBERNETES = re.compile(r"SIGHTLINE_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_(TCP|UDP|SCTP)\w*)")

# True of a checkout and of a built Bento alike.
_BESIDE_THE_PACKAGE = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True)
class Settings:
    """How this server is to run. A wrong value or an unknown name stops the start with SettingsError.

    Each annotation gives the unit and the reason; `describe` makes the documentation's table of them.
    """

    models: Annotated[Path, "folder of NAME/VERSION/ to serve; every complete version in it is loaded"] = (
        _BESIDE_THE_PACKAGE
    )
    engine: Annotated[
        Literal["auto", "openvino", "tensorflow"],
        "what runs the networks; `auto` takes TensorFlow where it sees an NVIDIA GPU, else OpenVINO",
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        "arithmetic; `auto` goes below float32 only where the model card shows that answers stay the same",
    ] = "auto"
    streams: Annotated[int, "batches in flight at once over all models; 0 leaves it to the engine"] = 0
    max_batch: Annotated[int, "images per forward pass; speed stops growing between 4 and 16 on a CPU"] = 16
    max_wait_ms: Annotated[
        float,
        "milliseconds a batch may wait for company; 0, because what comes while a batch runs travels together anyway",
    ] = 0.0
    queue_limit: Annotated[int, "images being decoded or waiting, per model version; beyond it callers get 429"] = 256
    max_body_bytes: Annotated[
        int, "bytes of one request's body, also of a predict-batch; most phone photos have less than 5 MB"
    ] = 10_000_000
    max_pixels: Annotated[int, "pixels of one picture; refused by its header, before any is decoded"] = MAX_PIXELS
    max_images: Annotated[int, "images in one predict-batch; they take that many places in the queue"] = 64
    request_timeout_ms: Annotated[
        float, "milliseconds from a request's arrival, upload included, after which its caller gets 504"
    ] = 30_000.0
    decode_threads: Annotated[int, "threads that decode large pictures; 0 is one per processor"] = 0

    def __post_init__(self) -> None:
        at_least_one = ("max_batch", "queue_limit", "max_body_bytes", "max_pixels", "max_images", "request_timeout_ms")
        for name in (*at_least_one, "streams", "max_wait_ms", "decode_threads"):
            least = 1 if name in at_least_one else 0
            if not least <= getattr(self, name) < math.inf:  # written so that NaN fails
                raise SettingsError(f"{PREFIX}{name.upper()} must be {least} or more, not {getattr(self, name)}")
        for name in ("max_batch", "max_images"):
            if getattr(self, name) > self.queue_limit:
                wanted = f"{PREFIX}{name.upper()}={getattr(self, name)}"
                raise SettingsError(f"{PREFIX}QUEUE_LIMIT={self.queue_limit} has no room for {wanted}")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read every `SIGHTLINE_*` of `environ`. Raises SettingsError saying what was expected."""
        ours = {n: text for n, text in environ.items() if n.startswith(PREFIX) and not _KUBERNETES.fullmatch(n)}
        given = {name.removeprefix(PREFIX).lower(): text for name, text in ours.items()}
        kinds = get_type_hints(cls)
        if unknown := sorted(given.keys() - kinds.keys()):
            raise SettingsError(
                f"no setting {', '.join(PREFIX + name.upper() for name in unknown)}; "
                f"there is {', '.join(PREFIX + name.upper() for name in kinds)}"
            )
        return cls(**{name: _parsed(name, kinds[name], text) for name, text in given.items()})

    @property
    def engine_options(self) -> EngineOptions:
        sizes = (1, self.max_batch) if self.max_batch > 1 else (1,)
        return EngineOptions(engine=self.engine, precision=self.precision, streams=self.streams, warm_batch_sizes=sizes)


class SettingRow(NamedTuple):
    """One line of the settings table."""

    variable: str
    default: str
    meaning: str


def describe() -> list[SettingRow]:
    """The settings table of the documentation, in the order of the fields."""
    meanings = {name: hint.__metadata__[0] for name, hint in get_type_hints(Settings, include_extras=True).items()}
    return [
        SettingRow(PREFIX + field.name.upper(), _shown(field.default), meanings[field.name])
        for field in dataclasses.fields(Settings)
    ]


def _shown(default: object) -> str:
    return "`models/` beside the package" if isinstance(default, Path) else f"`{default}`"


def _parsed(name: str, kind: Any, text: str) -> Any:
    if choices := get_args(kind):
        if text not in choices:
            raise SettingsError(f"{PREFIX}{name.upper()} must be one of {', '.join(choices)}, not {text!r}")
        return text
    if kind is Path and not (text and Path(text).is_dir()):
        raise SettingsError(f"{PREFIX}{name.upper()} must be a folder that exists, not {text!r}")
    try:
        return kind(text)
    except ValueError as error:
        expected = {int: "a whole number", float: "a number"}[kind]
        raise SettingsError(f"{PREFIX}{name.upper()} must be {expected}, not {text!r}") from error
