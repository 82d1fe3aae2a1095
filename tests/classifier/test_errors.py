"""Promises of `classifier.errors`: the edge translates an error without a table."""

from __future__ import annotations

import pytest

from classifier import errors

TREE = [value for value in vars(errors).values() if isinstance(value, type)]


@pytest.mark.parametrize("error", TREE)
def test_every_error_is_in_the_tree_and_carries_status_code_and_title(error):
    assert issubclass(error, errors.SightlineError)
    assert 400 <= error.status < 600
    assert error.code.replace("-", "").islower()
    assert error.title


def test_codes_are_stable_and_say_one_thing_each():
    assert {error.__name__: (error.status, error.code) for error in TREE} == {
        "SightlineError": (500, "internal"),
        "ImageError": (422, "bad-image"),
        "NotAnImage": (415, "not-an-image"),
        "UndecodableImage": (422, "undecodable-image"),
        "UnreadableFile": (422, "unreadable-file"),
        "ImageTooLarge": (413, "too-many-pixels"),
        "TooComplexImage": (422, "too-complex-image"),
        "TooSlowToDecode": (422, "too-slow-to-decode"),
        "TooMuchToDecode": (422, "too-much-memory-to-decode"),
        "UnknownModel": (404, "unknown-model"),
        "BrokenModel": (500, "broken-model"),
        "FilesDiffer": (500, "files-differ"),
        "UnreadableCard": (500, "unreadable-card"),
        "UnusableNetwork": (500, "unusable-network"),
        "WrongAnswer": (500, "wrong-answer"),
        "RolloutFileError": (409, "rollout-file"),
        "OutOfMemory": (503, "out-of-memory"),
        "EngineUnavailable": (500, "engine-unavailable"),
    }
