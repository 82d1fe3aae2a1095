"""Promises of `classifier.card`: a card is understood completely or refused by name of the field."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from classifier.card import MOST_BYTES, Card, InputSpec, Metrics, Sample, read_card, write_card
from classifier.errors import BrokenModel
from tests.tiny_models import familiarity_of, passed_check, tiny_card

MODELS = Path(__file__).parents[3] / "models"
FORMAT_1 = Path(__file__).parent / "format_1.json"


def test_a_written_card_reads_back_equal(tmp_path: Path):
    card = tiny_card(checks=(passed_check("openvino", "bfloat16"),), labels=("ä", "ö", "ü"), sample=sample_of("ä"))
    write_card(card, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == card


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/*/card.json")), ids=lambda path: "-".join(path.parts[-3:-1]))
def test_a_shipped_card_is_read_in_the_format_it_has(path: Path):
    card = read_card(path)
    assert card.format == json.loads(path.read_text())["format"]
    assert all(0 < metrics.accuracy <= 1 for metrics in card.metrics.values())


def test_a_card_of_the_first_format_is_still_read():
    card = read_card(FORMAT_1)
    assert (card.format, card.name, card.metrics["test"].images) == (1, "asl", 1195)
    assert (card.calibration, card.prediction_sets, card.familiarity, card.familiarity_trial) == (None,) * 4


def test_cards_are_text_for_people(tmp_path: Path):
    write_card(tiny_card(labels=("ä", "b", "c"), sample=sample_of("ä")), tmp_path / "card.json")
    text = (tmp_path / "card.json").read_text(encoding="utf-8")
    assert '\n  "name": "tiny",\n' in text
    assert '"ä"' in text
    assert text.endswith("}\n")


def sample_of(label: str) -> Sample:
    return Sample(label=label, probabilities=(0.5, 0.25, 0.25))


def changed(**changes: object) -> bytes:
    return json.dumps(json.loads(tiny_card().model_dump_json()) | changes).encode()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        pytest.param(changed(future=1), "future: Extra inputs", id="a key that is not known"),
        pytest.param(
            changed(input={"height": 8, "width": 8, "channels": 3, "mean": 0.5}),
            "input.mean: Extra inputs",
            id="a key that is not known, deeper",
        ),
        pytest.param(changed(format=6), "format: Input should be 1, 2, 3, 4 or 5", id="a later format"),
        pytest.param(changed(name="../evil"), "name:", id="a name that is a path"),
        pytest.param(changed(name="tiny\n"), "name:", id="a name with a line feed"),
        pytest.param(changed(labels=["a", "a", "b"]), "labels repeat", id="a label twice"),
        pytest.param(changed(labels=["a", "b", ""]), "labels.2:", id="a label without letters"),
        pytest.param(changed(labels=["a", "b"]), "2 labels but 3 sample", id="fewer labels than columns"),
        pytest.param(changed(sample={"label": "z", "probabilities": [1, 0, 0]}), "'z' is not one", id="another label"),
        pytest.param(changed(labels=["b", "a", "c"]), "are the labels in order", id="labels in another order"),
        pytest.param(changed(files={"model.keras": {"sha256": "0", "bytes": 1}}), "sha256:", id="a short hash"),
        pytest.param(changed(input={"height": 8, "width": 8, "channels": 2}), "channels:", id="two channels"),
        pytest.param(b"{", "Invalid JSON", id="half a file"),
        pytest.param(b"", "Invalid JSON", id="an empty file"),
        pytest.param(b"\xff\xfe", "Invalid JSON", id="not UTF-8"),
        pytest.param(b"[]", "card:", id="a list"),
    ],
)
def test_what_is_not_understood_is_refused_naming_file_and_field(tmp_path: Path, body, fault):
    path = tmp_path / "card.json"
    path.write_bytes(body)
    with pytest.raises(BrokenModel) as raised:
        read_card(path)
    assert str(path) in str(raised.value)
    assert fault in str(raised.value)


EXPECTED = {
    "data": "noise",
    "split": "test",
    "images": 3,
    "labels": [2, 1, 0],
    "confidence": {"bounds": [0.5, 1.0], "counts": [1, 2]},
}


def test_a_card_may_say_what_answers_are_expected(tmp_path: Path):
    card = Card.model_validate_json(changed(expected=EXPECTED))
    write_card(card, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == card
    assert card.expected is not None
    assert card.expected.confidence.counts == (1, 2)
    assert tiny_card().expected is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param({"labels": [2, 1]}, "3 labels but 2 counts", id="fewer counts than labels"),
        pytest.param({"labels": [2, 2, 0]}, "3 images but 4 in labels", id="another number of labels"),
        pytest.param({"images": 2}, "2 images but 3 in labels", id="another number of images"),
        pytest.param(
            {"confidence": {"bounds": [0.5, 1.0], "counts": [3]}},
            "2 bounds but 1 counts",
            id="fewer counts than bounds",
        ),
        pytest.param(
            {"confidence": {"bounds": [1.0, 0.5], "counts": [1, 2]}}, "do not ascend", id="bounds in another order"
        ),
        pytest.param({"labels": [4, -1, 0]}, "labels.1", id="a negative count"),
    ],
)
def test_expected_counts_that_do_not_fit_together_are_refused(change, fault):
    with pytest.raises(ValidationError, match=fault):
        Card.model_validate_json(changed(expected=EXPECTED | change))


def test_a_card_that_is_far_too_large_is_not_read(tmp_path: Path):
    path = tmp_path / "card.json"
    path.write_bytes(changed() + b" " * MOST_BYTES)
    with pytest.raises(BrokenModel, match=f"at most {MOST_BYTES:,} bytes"):
        read_card(path)


def test_of_many_faults_the_first_are_named_and_the_others_counted(tmp_path: Path):
    path = tmp_path / "card.json"
    path.write_bytes(changed(**{f"key{number}": 1 for number in range(5_000)}))
    with pytest.raises(BrokenModel, match=r"key0: Extra inputs.* and 4,990 more$") as raised:
        read_card(path)
    assert len(str(raised.value)) < 2_000


def test_a_missing_card_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(BrokenModel, match=r"card\.json: cannot be read"):
        read_card(tmp_path / "card.json")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -1.0])
def test_a_loss_is_a_number(loss):
    with pytest.raises(ValidationError):
        Metrics(images=1, loss=loss, accuracy=0.5)


def test_a_card_cannot_be_changed():
    with pytest.raises(ValidationError):
        tiny_card().version = 2


def test_the_shape_is_height_width_channels():
    assert InputSpec(height=2, width=3, channels=1).shape == (2, 3, 1)


def test_a_comparison_is_found_by_engine_and_precision():
    check = passed_check("openvino", "bfloat16")
    card = tiny_card(checks=(passed_check("tensorflow", "bfloat16"), check))
    assert card.check_of("openvino", "bfloat16") == check
    assert card.check_of("openvino", "float16") is None


def test_a_card_says_how_familiar_its_sample_is_where_its_network_does():
    fields = familiarity_of()
    assert tiny_card(**fields).sample.familiarity == 0.5
    with pytest.raises(ValidationError, match="the sample has a familiarity where the network has one"):
        tiny_card(familiarity=fields["familiarity"])
    with pytest.raises(ValidationError, match="the sample has a familiarity where the network has one"):
        tiny_card(sample=fields["sample"])


def test_a_threshold_in_force_is_one_of_the_cards_own():
    record = familiarity_of()["familiarity"].model_dump() | {"keep": 0.5}
    with pytest.raises(ValidationError, match="no operating point keeps"):
        tiny_card(**familiarity_of() | {"familiarity": record})
