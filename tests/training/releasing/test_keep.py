"""Promises of `release --keep`: a share of genuine images that the card has a threshold for, and no other."""

from __future__ import annotations

import pytest

from tests.tiny_models import familiarity_of, tiny_card
from training.releasing.release import NotReleasable, check_keep


def test_a_share_that_the_card_has_a_threshold_for_is_allowed_and_so_is_none():
    check_keep(tiny_card(**familiarity_of()), 0.99)
    check_keep(tiny_card(), None)


def test_another_share_is_refused_naming_those_there_are():
    with pytest.raises(NotReleasable, match=r"keeps 0\.9; there is: 0\.95, 0\.99"):
        check_keep(tiny_card(**familiarity_of()), 0.9)


def test_a_version_without_a_word_on_unfamiliar_images_has_no_share_to_set():
    with pytest.raises(NotReleasable, match="no --keep"):
        check_keep(tiny_card(), 0.95)


def test_the_share_that_is_in_force_decides_what_is_familiar():
    record = tiny_card(**familiarity_of()).familiarity
    assert record is not None
    assert record.is_familiar(0.05)
    assert not record.is_familiar(0.04)
    assert record.model_copy(update={"keep": 0.99}).is_familiar(0.04)
