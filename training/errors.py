"""What is wrong with what a person gave to training."""

from __future__ import annotations

from classifier.errors import SightlineError


class DatasetError(SightlineError):
    """The data is not what the reader expects. The message says what was expected, what was found and what to do."""

    code = "dataset"
    title = "The data set cannot be used"
