"""How far an engine's answers may be from the card's, and whether a reduced precision may be chosen unasked."""

from __future__ import annotations

from classifier.card import AgreementCheck

SAMPLE_TOLERANCE = {  # docs/tuning.md#tolerance-of-the-samples-answer
    "float32": 1e-3,
    "bfloat16": 0.05,
    "float16": 0.05,
    "int8": 0.05,
}

MIN_SAME_TOP_CLASS = 0.999  # a reduced precision that changes one answer in a thousand is not offered unasked
MIN_SAME_VERDICT = 0.99  # of whether an image is familiar, where the version has a word on that
MIN_IMAGES = 1_000  # of fewer, no changed answer does not say that fewer than one in a thousand changes
MAX_ACCURACY_CHANGE = 0.001
_ROUNDING = 1e-9  # of a difference of two shares: 0.8455 - 0.8445 is more than 0.001

# Int8 is not unasked: somebody made a version of it.
MIN_SAME_TOP_CLASS_INT8 = 0.99
MAX_ACCURACY_CHANGE_INT8 = 0.003


def close_enough(check: AgreementCheck | None) -> bool:
    """Whether a recorded comparison allows a reduced precision to be chosen automatically.

    The sample's answer is held to the tolerance that loading uses. Where a card does not say how far it is off,
    loading finds out.
    """
    if check is None:
        return False
    least_same, most_change = MIN_SAME_TOP_CLASS, MAX_ACCURACY_CHANGE
    if check.precision == "int8":
        least_same, most_change = MIN_SAME_TOP_CLASS_INT8, MAX_ACCURACY_CHANGE_INT8
    return (
        check.images >= MIN_IMAGES
        and check.same_top_class >= least_same
        and (check.same_verdict is None or check.same_verdict >= MIN_SAME_VERDICT)
        and abs(check.accuracy - check.reference_accuracy) <= most_change + _ROUNDING
        and (check.sample_difference is None or check.sample_difference <= SAMPLE_TOLERANCE[check.precision])
    )
