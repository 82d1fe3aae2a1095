"""Everything an operator may set, read once from `SIGHTLINE_<FIELD>` when the server starts."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from classifier.engines import EngineOptions, batch_sizes
from classifier.images import MAX_PIXELS
from service.errors import SettingsError
from service.surroundings.trusted_proxies import read_network

PREFIX = "SIGHTLINE_"

# Kubernetes tells every pod the addresses of the services beside it. Variables like these, of a service "sightline" or
# "sightline-api", are not ours.
_KUBERNETES = re.compile(r"SIGHTLINE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")

_HOST = re.compile(r"\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")

_ORIGIN = re.compile(
    r"(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
)

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}

# True of a checkout and of a built Bento alike.
_BESIDE_THE_PACKAGE = Path(__file__).resolve().parent.parent / "models"


_LEAST = {
    0: (
        *("keep_samples_below", "streams", "max_batch", "decode_threads", "max_timeout_ms", "min_upload_bytes_per_s"),
        *("shutdown_notice_ms", "max_connections_per_client", "min_read_bytes_per_s"),
    ),
    1: (
        *("queue_limit", "max_body_bytes", "max_pixels", "max_images", "request_timeout_ms"),
        *("max_lag_ms", "max_held_bytes", "upload_stall_ms", "upload_timeout_ms", "header_timeout_ms"),
        *("max_connections", "keep_alive_ms", "write_stall_ms", "shutdown_timeout_ms"),
        *("keep_samples_per_hour", "keep_samples_bytes"),
    ),
    1024: ("max_header_bytes",),  # browsers send half of that
}


@dataclass(frozen=True)
class Settings:
    """How this server is to run. A wrong value or an unknown name stops the start with SettingsError.

    Each annotation gives the unit and the reason; `describe` makes the documentation's table of them.
    """

    models: Annotated[Path, "folder of NAME/VERSION/ to serve; every complete version in it is loaded"] = (
        _BESIDE_THE_PACKAGE
    )
    reload: Annotated[
        Literal["off", "watch", "poll", "admin"],
        "when new versions and a changed `rollout.toml` are taken up while it runs: as the system tells of changes, by "
        "looking every second (for network volumes, which do not tell), or only on `POST /v1/admin/reload`",
    ] = "off"
    engine: Annotated[
        Literal["auto", "openvino", "tensorflow", "jax"],
        "what runs the networks; `auto` takes TensorFlow or JAX where it sees an NVIDIA GPU, else OpenVINO",
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        "arithmetic; `auto` goes below float32 only where the model card shows that answers stay the same",
    ] = "auto"
    streams: Annotated[int, "batches in flight at once over all models; 0 leaves it to the engine"] = 0
    max_batch: Annotated[
        int,
        "images per forward pass; 0 measures when a model is loaded: the fewest within 5 % of the most images/s",
    ] = 0
    pad_batches: Annotated[
        bool, "fill batches up to the next power of two, so that a GPU meets few sizes; a waste of time on a CPU"
    ] = False
    queue_limit: Annotated[int, "images being decoded or waiting, per model version; beyond it callers get 429"] = 256
    max_body_bytes: Annotated[
        int, "bytes of one request's body, also of a predict-batch; most phone photos have less than 5 MB"
    ] = 10_000_000
    max_pixels: Annotated[int, "pixels of one picture; refused by its header, before any is decoded"] = MAX_PIXELS
    max_images: Annotated[int, "images in one predict-batch; each counts in the queue"] = 64
    request_timeout_ms: Annotated[
        float, "milliseconds from the end of a request's upload, after which its caller gets 504"
    ] = 30_000.0
    max_timeout_ms: Annotated[
        float, "milliseconds that `X-Request-Timeout-Ms` may ask for at most; 0 is as many as the request timeout"
    ] = 0.0
    decode_threads: Annotated[
        int,
        "threads that decode photos; 0 is one per processor that it may use. Very large ones share one thread more",
    ] = 0
    max_lag_ms: Annotated[
        float, "milliseconds that the event loop may be behind; while it is, new requests get 429 before they are read"
    ] = 500.0
    max_held_bytes: Annotated[int, "bytes of bodies read, unfolded, parsed or worked on; beyond it callers get 429"] = (
        256_000_000
    )
    upload_stall_ms: Annotated[
        float, "milliseconds without a byte of an unfinished body, after which its caller gets 408"
    ] = 5_000.0
    min_upload_bytes_per_s: Annotated[
        int, "slower uploads get 408 once they have taken as long as one may stall; 0 lets them be"
    ] = 1_000
    upload_timeout_ms: Annotated[
        float, "milliseconds that an upload may take however fast it is; its caller gets 408 then"
    ] = 300_000.0
    header_timeout_ms: Annotated[
        float, "milliseconds that a connection may take to send a request's head; it is cut off then"
    ] = 10_000.0
    max_header_bytes: Annotated[int, "bytes of a request's head; beyond it callers get 431"] = 32_768
    max_connections: Annotated[
        int, "connections open at once; fewer where the process may not open as many files. One more gets 503"
    ] = 2_000
    max_connections_per_client: Annotated[
        int,
        "connections open at once from one address, one more gets 503; 0 is as many as of all. Trusted proxies may "
        "have more",
    ] = 0
    keep_alive_ms: Annotated[
        float,
        "milliseconds that a connection may lie idle; more than a load balancer in front keeps it. The longest idle "
        "one makes room for a newcomer",
    ] = 75_000.0
    write_stall_ms: Annotated[
        float, "milliseconds that a caller may leave an answer unread; the connection is cut off then"
    ] = 10_000.0
    min_read_bytes_per_s: Annotated[
        int,
        "callers who read an answer more slowly are cut off once it may lie unread no longer; 0 lets them be",
    ] = 1_000
    shutdown_notice_ms: Annotated[
        float,
        "milliseconds after SIGTERM in which /readyz is answered 503 and all else as before, so that routers notice",
    ] = 2_000.0
    shutdown_timeout_ms: Annotated[
        float, "milliseconds after the notice in which accepted requests are finished; the others get 503 then"
    ] = 25_000.0
    api_keys: Annotated[
        tuple[str, ...], "keys that callers may show, with commas between; two while one replaces the other"
    ] = field(default=(), repr=False)
    api_keys_file: Annotated[str, "file with more keys, one a line; read anew when it changes"] = field(
        default="", repr=False
    )
    admin_keys_file: Annotated[
        str, "file with keys for `/v1/admin/`, one a line; other keys do not open it. None: nobody may ask there"
    ] = field(default="", repr=False)
    allow_anonymous: Annotated[
        bool, "answer callers without a key on every address; otherwise only on loopback while no keys are set"
    ] = False
    open_metrics: Annotated[bool, "answer /metrics without a key where keys are asked for"] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        "names and addresses that a Host header may have, with commas between; others get 421. `*` is any. None: those "
        "of loopback where callers without a key are answered on loopback, else any",
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...],
        "origins of pages elsewhere that may read answers, as `https://shop.example`, with commas between. `*` is any. "
        "None: only the page of this server",
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        "addresses and networks of proxies, with commas between, whose `X-Forwarded-For` names the caller in the log",
    ] = ()
    tls_cert: Annotated[
        str, "file of a certificate chain in PEM, to serve by TLS only; read anew when it changes, as its key is"
    ] = field(default="", repr=False)
    tls_key: Annotated[str, "file of the certificate's key in PEM, without a password"] = field(default="", repr=False)
    log_format: Annotated[
        Literal["text", "json"],
        "what a log line is; `json` has `time`, `level`, `logger`, `message`, and `exception`, `request_id` and "
        "`trace_id` where there is one",
    ] = "text"
    keep_samples: Annotated[
        str,
        "folder for pictures that look unfamiliar or that a model was unsure of, for somebody to sort; none: off",
    ] = ""
    keep_samples_below: Annotated[float, "a picture is kept where its most probable label is less probable, 0 to 1"] = (
        0.6
    )
    keep_samples_per_hour: Annotated[int, "pictures kept of one hour, drawn evenly from all that could be"] = 100
    keep_samples_bytes: Annotated[int, "bytes of all pictures in that folder; beyond it no more are kept"] = (
        1_000_000_000
    )
    access_log: Annotated[bool, "write a line for every answer, not only for rejections; it costs speed"] = False

    def __post_init__(self) -> None:
        if wrong := [host for host in self.allowed_hosts if not _HOST.fullmatch(host)]:
            expected = "names and addresses without a port, IPv6 in brackets, or *"
            raise SettingsError(f"{PREFIX}ALLOWED_HOSTS must be {expected}, not {wrong[0]!r}")
        for entry in self.trusted_proxies:
            _check_network(entry)
        for origin in self.cors_origins:
            _check_origin(origin)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise SettingsError(f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY belong together; set both or none")
        self._check_numbers()
        if self.reload == "admin" and not self.admin_keys_file:
            raise SettingsError(f"{PREFIX}RELOAD=admin wants {PREFIX}ADMIN_KEYS_FILE, or nobody could ask for it")
        if self.keep_samples and not Path(self.keep_samples).is_dir():
            raise SettingsError(f"{PREFIX}KEEP_SAMPLES must be a folder that exists, not {self.keep_samples!r}")

    def _check_numbers(self) -> None:
        for least, names in _LEAST.items():
            for name in names:
                if not least <= getattr(self, name) < math.inf:  # written so that NaN fails
                    raise SettingsError(f"{PREFIX}{name.upper()} must be {least} or more, not {getattr(self, name)}")
        if self.max_timeout_ms and self.max_timeout_ms < self.request_timeout_ms:
            wanted = f"{PREFIX}REQUEST_TIMEOUT_MS={self.request_timeout_ms:g}"
            raise SettingsError(f"{PREFIX}MAX_TIMEOUT_MS={self.max_timeout_ms:g} is below {wanted}")
        if self.max_held_bytes < self.max_body_bytes:
            wanted = f"{PREFIX}MAX_BODY_BYTES={self.max_body_bytes}"
            raise SettingsError(f"{PREFIX}MAX_HELD_BYTES={self.max_held_bytes} has no room for {wanted}")
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
        for name in ("api_keys", "api_keys_file"):
            if name in given and not given[name].strip(" ,"):
                raise SettingsError(
                    f"{PREFIX}{name.upper()} is set but empty, which would let everybody in; give it keys, or unset it"
                )
        if unknown := sorted(given.keys() - kinds.keys()):
            raise SettingsError(
                f"no setting {', '.join(PREFIX + name.upper() for name in unknown)}; "
                f"there is {', '.join(PREFIX + name.upper() for name in kinds)}"
            )
        return cls(**{name: _parsed(name, kinds[name], text) for name, text in given.items()})

    def shown(self) -> dict[str, Any]:
        """The settings that may be known to whoever may ask: no secret, which `repr` leaves out, and no path."""
        shown = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.repr}
        return shown | {"models": self.models.name}

    @property
    def longest_timeout_ms(self) -> float:
        """The most that a caller may ask for."""
        return self.max_timeout_ms or self.request_timeout_ms

    @property
    def engine_options(self) -> EngineOptions:
        return self.engine_options_for(self.max_batch or 1)

    def engine_options_for(self, max_batch: int) -> EngineOptions:
        """How an engine is to be opened whose batches will hold up to `max_batch` images."""
        sizes = batch_sizes(max_batch)
        return EngineOptions(engine=self.engine, precision=self.precision, streams=self.streams, warm_batch_sizes=sizes)


def _check_origin(text: str) -> None:
    """Raise SettingsError unless a browser would send this origin as it stands. Another one would open nothing."""
    if text != "*" and not _ORIGIN.fullmatch(text):
        expected = "* or origins as https://shop.example:8443: lower case, no path, no usual port, no / at the end"
        raise SettingsError(f"{PREFIX}CORS_ORIGINS must be {expected}; got {text!r}")


def _check_network(text: str) -> None:
    try:
        read_network(text)
    except ValueError as error:
        expected = "addresses and networks such as 10.0.0.0/8"
        raise SettingsError(f"{PREFIX}TRUSTED_PROXIES must be {expected}, not {text!r}") from error


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
    if isinstance(default, Path):
        return "`models/` beside the package"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if default not in ((), "") else "none"


def _parsed(name: str, kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise SettingsError(f"{PREFIX}{name.upper()} must be one of {', '.join(get_args(kind))}, not {text!r}")
        return text
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise SettingsError(f"{PREFIX}{name.upper()} must be true or false, not {text!r}")
        return _BOOLEANS[text.lower()]
    if kind is Path and not (text and Path(text).is_dir()):
        raise SettingsError(f"{PREFIX}{name.upper()} must be a folder that exists, not {text!r}")
    try:
        return kind(text)
    except ValueError as error:
        expected = {int: "a whole number", float: "a number"}[kind]
        raise SettingsError(f"{PREFIX}{name.upper()} must be {expected}, not {text!r}") from error
