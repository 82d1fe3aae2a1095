from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.settings import PREFIX, Settings, describe


def test_without_environment_every_default_holds() -> None:
    assert Settings.from_environment({"PATH": "/bin"}) == Settings()


def test_models_lie_beside_the_package_by_default() -> None:
    assert Settings().models == Path(__file__).parents[2] / "models"


def test_each_kind_of_value_is_read_from_its_variable(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "SIGHTLINE_MODELS": str(tmp_path),
            "SIGHTLINE_ENGINE": "tensorflow",
            "SIGHTLINE_MAX_BATCH": "8",
            "SIGHTLINE_MAX_LAG_MS": "2.5",
        }
    )
    assert settings == Settings(models=tmp_path, engine="tensorflow", max_batch=8, max_lag_ms=2.5)


def test_origins_are_read_as_browsers_send_them() -> None:
    given = ("https://shop.example", "http://localhost:5173", "http://[::1]:8080", "capacitor://localhost", "*")
    assert Settings.from_environment({"SIGHTLINE_CORS_ORIGINS": ", ".join(given)}).cors_origins == given


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("MAX_BATCH", "many", "a whole number"),
        ("MAX_BATCH", "2.5", "a whole number"),
        ("MAX_BATCH", "-1", "0 or more"),
        ("STREAMS", "-1", "0 or more"),
        ("MAX_LAG_MS", "soon", "a number"),
        ("MAX_LAG_MS", "nan", "1 or more"),
        ("MIN_UPLOAD_BYTES_PER_S", "-1", "0 or more"),
        ("REQUEST_TIMEOUT_MS", "inf", "1 or more"),
        ("ENGINE", "onnx", "one of auto, openvino, tensorflow, jax"),
        ("ALLOWED_HOSTS", "https://sightline.example", "without a port"),
        ("ALLOWED_HOSTS", "localhost, ::1", "IPv6 in brackets"),
        ("ALLOWED_HOSTS", "localhost:3000", "without a port"),
        ("CORS_ORIGINS", "shop.example", "https://shop.example:8443"),
        ("CORS_ORIGINS", "https://shop.example/", "no / at the end"),
        ("CORS_ORIGINS", "https://Shop.example", "lower case"),
        ("CORS_ORIGINS", "https://shop.example:443", "no usual port"),
        ("CORS_ORIGINS", "http://shop.example:80", "no usual port"),
        ("CORS_ORIGINS", "null", "lower case"),
        ("TRUSTED_PROXIES", "nginx", "addresses and networks such as 10.0.0.0/8"),
        ("TRUSTED_PROXIES", "10.0.0.0/99", "addresses and networks"),
        ("MODELS", "/nowhere/at/all", "a folder that exists"),
        ("MODELS", "", "a folder that exists"),
        ("QUEUE_LIMIT", "4", "no room for SIGHTLINE_MAX_IMAGES=64"),
        ("MAX_BATCH", "300", "no room for SIGHTLINE_MAX_BATCH=300"),
        ("MAX_IMAGES", "300", "no room for SIGHTLINE_MAX_IMAGES=300"),
    ],
)
def test_a_wrong_value_stops_the_start_saying_what_was_expected(name: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected) as error:
        Settings.from_environment({PREFIX + name: text})
    assert PREFIX + name in str(error.value)


def test_a_setting_that_was_deleted_is_an_unknown_name() -> None:
    with pytest.raises(SettingsError, match="no setting SIGHTLINE_MAX_WAIT_MS; there is"):
        Settings.from_environment({"SIGHTLINE_MAX_WAIT_MS": "5"})


def test_a_misspelt_name_stops_the_start_listing_the_right_ones() -> None:
    with pytest.raises(SettingsError, match=r"no setting SIGHTLINE_MAX_BTCH; there is .*SIGHTLINE_MAX_BATCH"):
        Settings.from_environment({"SIGHTLINE_MAX_BTCH": "8"})


@pytest.mark.parametrize(
    "name",
    [
        "SIGHTLINE_SERVICE_HOST",
        "SIGHTLINE_SERVICE_PORT",
        "SIGHTLINE_SERVICE_PORT_HTTP",
        "SIGHTLINE_PORT",
        "SIGHTLINE_PORT_3000_TCP_ADDR",
        "SIGHTLINE_API_SERVICE_HOST",
        "SIGHTLINE_API_SERVICE_PORT_HTTP",
        "SIGHTLINE_V2_PORT",
        "SIGHTLINE_V2_PORT_80_TCP",
        "SIGHTLINE_V2_PORT_80_TCP_PROTO",
    ],
)
def test_what_kubernetes_says_of_a_service_named_sightline_is_no_setting(name: str) -> None:
    assert Settings.from_environment({name: "tcp://10.0.0.1:3000"}) == Settings()


def test_engines_are_warmed_with_the_smallest_and_the_largest_batch() -> None:
    assert Settings(max_batch=8).engine_options.warm_batch_sizes == (1, 2, 4, 8)
    assert Settings(max_batch=1).engine_options.warm_batch_sizes == (1,)


def test_engines_whose_batch_is_to_be_measured_are_warmed_with_one_image() -> None:
    assert Settings(max_batch=0).engine_options.warm_batch_sizes == (1,)


def test_engines_are_warmed_with_every_size_that_batches_are_padded_to() -> None:
    assert Settings(max_batch=12, pad_batches=True).engine_options.warm_batch_sizes == (1, 2, 4, 8, 12)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Settings)])
def test_every_setting_is_described(name: str) -> None:
    rows = {row.variable: row for row in describe()}
    assert len(rows[PREFIX + name.upper()].meaning) > 20
    assert rows[PREFIX + name.upper()].default


@pytest.mark.parametrize("name", ["SIGHTLINE_API_KEYS", "SIGHTLINE_API_KEYS_FILE"])
@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_keys_that_are_set_but_empty_stop_the_start(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is set but empty"):
        Settings.from_environment({name: text})


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("max_timeout_ms", "request_timeout_ms"), ("max_held_bytes", "max_body_bytes")],
)
def test_a_limit_below_what_it_has_to_hold_stops_the_start_and_both_are_named(smaller: str, larger: str) -> None:
    with pytest.raises(SettingsError, match=f"{PREFIX}{smaller.upper()}=10 .*{PREFIX}{larger.upper()}=20"):
        Settings(**{smaller: 10, larger: 20})  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "value"), [("true", True), ("FALSE", False), ("1", True), ("no", False)])
def test_a_switch_is_on_or_off(text: str, value: bool) -> None:
    assert Settings.from_environment({f"{PREFIX}PAD_BATCHES": text}).pad_batches is value


def test_a_switch_that_is_neither_stops_the_start() -> None:
    with pytest.raises(SettingsError, match=f"{PREFIX}PAD_BATCHES must be true or false, not 'maybe'"):
        Settings.from_environment({f"{PREFIX}PAD_BATCHES": "maybe"})


@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_KEY"])
def test_a_certificate_without_its_key_and_a_key_without_its_certificate_stop_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match="SIGHTLINE_TLS_CERT and SIGHTLINE_TLS_KEY belong together"):
        Settings.from_environment({PREFIX + name: "/etc/tls/file"})


def test_proxies_are_addresses_and_networks() -> None:
    settings = Settings.from_environment({"SIGHTLINE_TRUSTED_PROXIES": "10.0.0.0/8, fd00::1"})
    assert settings.trusted_proxies == ("10.0.0.0/8", "fd00::1")


def test_what_is_shown_of_the_settings_has_everything_but_secrets_and_paths() -> None:
    shown = Settings(models=Path("/srv/models")).shown()
    secret = {"api_keys", "api_keys_file", "admin_keys_file", "tls_cert", "tls_key"}
    assert {field.name for field in dataclasses.fields(Settings)} - shown.keys() == secret
    assert shown["models"] == "models"
