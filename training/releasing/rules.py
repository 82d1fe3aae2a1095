"""Whether a comparison keeps the policy: a line for each rule that is broken."""

from __future__ import annotations

from collections.abc import Iterator

from training.evaluation.comparison.record import Comparison
from training.releasing.policy import Policy
from training.reports.comparison.text import label_line, p_text


def broken_rules(found: Comparison, policy: Policy, *, new_labels: bool) -> list[str]:
    """What the candidate breaks, in the order of the policy, each with its figure and the limit; [] where nothing.

    Where there is no baseline only the limits that need none are looked at.
    """
    return [*_accuracy(found, policy), *_classes(found, policy), *_costs(found, policy), *_labels(found, new_labels)]


def _accuracy(found: Comparison, policy: Policy) -> Iterator[str]:
    ours, theirs, pairs = found.candidate, found.baseline, found.pairs
    if theirs is None or pairs is None or ours.accuracy >= theirs.accuracy:
        return
    if policy.within_interval and ours.accuracy < theirs.interval[0]:
        low, high = theirs.interval
        yield (
            f"accuracy: {ours.accuracy:.4f} is below the 95 % interval of version {theirs.version}, "
            f"{low:.4f} to {high:.4f}"
        )
    elif pairs.p_value < policy.significance:
        yield (
            f"accuracy: {ours.accuracy:.4f} is below the {theirs.accuracy:.4f} of version {theirs.version}, and hardly "
            f"by chance: McNemar's exact p is {p_text(pairs.p_value)}, the limit {policy.significance:g}"
        )


def _classes(found: Comparison, policy: Policy) -> Iterator[str]:
    for each in found.classes:
        if each.change is not None and -each.change > policy.max_class_drop + 1e-9:  # 0.02 is not 0.02 in binary
            yield (
                f"class {each.label}: recall {each.recall:.4f} is {-each.change:.4f} lower ({each.baseline} to "
                f"{each.candidate} of {each.images} images); it may fall by {policy.max_class_drop:g}"
            )


def _costs(found: Comparison, policy: Policy) -> Iterator[str]:
    ours, theirs = found.candidate, found.baseline
    if ours.calibration_error > policy.max_ece:
        yield f"calibration: ECE {ours.calibration_error:.4f}; it may be {policy.max_ece:g}"
    if policy.max_p50_ms and ours.p50_ms > policy.max_p50_ms:
        yield f"time: an image takes {ours.p50_ms:.2f} ms (p50); it may take {policy.max_p50_ms:g} ms"
    if policy.max_size_mb and ours.size_bytes > policy.max_size_mb * 1e6:
        yield f"size: model.onnx has {ours.size_bytes / 1e6:.1f} MB; it may have {policy.max_size_mb:g} MB"
    if theirs is None:
        return
    if (rise := ours.calibration_error - theirs.calibration_error) > policy.max_ece_rise:
        yield (
            f"calibration: ECE {ours.calibration_error:.4f} is {rise:.4f} higher; "
            f"it may rise by {policy.max_ece_rise:g}"
        )
    if (ratio := ours.p50_ms / theirs.p50_ms) > policy.max_p50_ratio:
        yield (
            f"time: an image takes {ours.p50_ms:.2f} ms (p50), {ratio:.1f} times as long; it may take "
            f"{policy.max_p50_ratio:g} times"
        )
    if (ratio := ours.size_bytes / theirs.size_bytes) > policy.max_size_ratio:
        yield (
            f"size: model.onnx has {ours.size_bytes / 1e6:.1f} MB, {ratio:.1f} times as much; it may have "
            f"{policy.max_size_ratio:g} times"
        )


def _labels(found: Comparison, new_labels: bool) -> Iterator[str]:
    if not found.labels.is_none and not new_labels:
        yield f"labels: {label_line(found.labels)}; clients rely on them. --new-labels allows that"
