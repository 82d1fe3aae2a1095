"""docs/honest-answers.md says what the cards say."""

from __future__ import annotations

from docs.honesty import PAGE
from docs.tables import written_honesty

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_what_the_cards_say() -> None:
    assert written_honesty(TEXT) == TEXT, "run `make docs`"
