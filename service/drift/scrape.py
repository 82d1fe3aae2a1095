"""What a server counted of a version's answers, from the text that it gives Prometheus."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from classifier.errors import SightlineError
from service.metrics import CONFIDENCE, FAMILIARITY, PREDICTIONS

PATIENCE_S = 10.0
_BUCKETS, _FAMILIARITY_BUCKETS = f"{CONFIDENCE.name}_bucket", f"{FAMILIARITY.name}_bucket"

Key = TypeVar("Key")


class UnusableMetrics(SightlineError):
    """The text cannot be had, is none of Prometheus's, or says nothing of the version."""

    code = "unusable-metrics"
    title = "The metrics cannot be used"


class Counted(NamedTuple):
    """Images by their most probable label, by the upper bound of that label's probability, and of the familiarity.

    The last is empty where the version says nothing of it.
    """

    labels: dict[str, int]
    confidence: dict[float, int]
    familiarity: dict[float, int]


def read_metrics(source: str) -> str:
    """The text at a URL, in a file, or on stdin for `-`. Raises UnusableMetrics."""
    try:
        if source.startswith(("http://", "https://")):
            with urllib.request.urlopen(source, timeout=PATIENCE_S) as answer:  # noqa: S310 (HTTP, as was just seen)
                return str(answer.read().decode("utf-8"))
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except urllib.error.HTTPError as error:
        hint = "; save the text with curl and the key, and name the file" if error.code == 401 else ""
        raise UnusableMetrics(f"{source}: the server answers {error.code} {error.reason}{hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UnusableMetrics(f"{source}: cannot be read ({reason}); expected a URL, a file, or - for stdin") from error


def counted(text: str, name: str, version: int) -> Counted:
    """What was counted since the start, of all servers where the text is of several. Raises UnusableMetrics."""
    labels: Counter[str] = Counter()
    cumulative: Counter[float] = Counter()
    familiarity: Counter[float] = Counter()
    seen = set()
    for sample in _samples(text):
        model = sample.labels.get("model", "?"), sample.labels.get("version", "?")
        if sample.name == _BUCKETS:
            seen.add("@".join(model))
        if model != (name, str(version)):
            continue
        if sample.name == _BUCKETS:
            cumulative[float(sample.labels["le"])] += round(sample.value)
        elif sample.name == _FAMILIARITY_BUCKETS:
            familiarity[float(sample.labels["le"])] += round(sample.value)
        elif sample.name == PREDICTIONS.name:
            labels[sample.labels["label"]] += round(sample.value)
    if not cumulative:
        there = f"it has {', '.join(sorted(seen))}" if seen else "it is not of a server of Sightline"
        raise UnusableMetrics(f"the metrics say nothing of {name}@{version}; {there}")
    return Counted(dict(labels), _apart(cumulative), _apart(familiarity))


def between(earlier: Counted, later: Counted) -> Counted | None:
    """What was counted between two looks at a server; None where it was started anew meanwhile."""
    labels, confidence = _less(later.labels, earlier.labels), _less(later.confidence, earlier.confidence)
    familiarity = _less(later.familiarity, earlier.familiarity)
    was_reset = any(images < 0 for counts in (labels, confidence, familiarity) for images in counts.values())
    return None if was_reset else Counted(labels, confidence, familiarity)


def _samples(text: str) -> Iterator[Sample]:
    try:
        for family in text_string_to_metric_families(text):
            yield from family.samples
    except (ValueError, KeyError, IndexError) as error:  # as its parser happens to fail
        raise UnusableMetrics(f"this is not Prometheus's text format ({error})") from error


def _apart(cumulative: dict[float, int]) -> dict[float, int]:
    """The images of each bucket alone."""
    below, found = 0, {}
    for bound, images in sorted(cumulative.items()):
        found[bound], below = images - below, images
    return found


def _less(after: dict[Key, int], before: dict[Key, int]) -> dict[Key, int]:
    return {key: after.get(key, 0) - before.get(key, 0) for key in {**before, **after}}
