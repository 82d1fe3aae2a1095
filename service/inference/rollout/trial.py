"""A version on trial beside the one that answers: as a canary it gets traffic and a guard, as a shadow copies of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from classifier.rollout_file import ModelRollout
from service.inference.classifier import Classifier
from service.inference.rollout.guard import CanaryGuard
from service.inference.rollout.mirror import Mirror
from service.inference.rollout.split import Split
from service.inference.samples import SampleKeeper
from service.metrics import Metrics


class Parts(NamedTuple):
    """Who is on trial for a model, and what the file says. Another set of parts is another trial."""

    said: ModelRollout
    answering: Classifier
    canary: Classifier | None
    shadow: Classifier | None


class Trial:
    """Runs until it is closed. `shut_off` is called with a limit's name and a reason once the canary is beyond it."""

    def __init__(
        self,
        parts: Parts,
        metrics: Metrics,
        shut_off: Callable[[str, str], None],
        samples: SampleKeeper | None = None,
    ) -> None:
        self.parts = parts
        self._samples = samples
        self.split: Split | None = None
        self._metrics = metrics
        self._mirrors: list[Mirror] = []
        if parts.canary is not None and parts.said.canary_weight:
            self._send_to(parts.canary, CanaryGuard(parts.said.guard, shut_off))
        if parts.shadow is not None and parts.said.shadow_share:
            self._copy(parts.answering, parts.shadow, parts.said.shadow_share)

    def close(self) -> None:
        """Send the canary nothing more, and compare nothing more."""
        self.split = None
        if self.parts.canary is not None:
            self.parts.canary.statistics.watch = None
        for mirror in self._mirrors:
            mirror.of.followers = tuple(follower for follower in mirror.of.followers if follower is not mirror)
            mirror.close()

    def _send_to(self, canary: Classifier, guard: CanaryGuard) -> None:
        said, stable = self.parts.said, self.parts.answering
        self.split = Split(canary, said.canary_weight, said.sticky)
        canary.statistics.watch = guard.answered
        if said.guard.compare_share:
            self._copy(stable, canary, said.guard.compare_share, guard)
            self._copy(canary, stable, said.guard.compare_share, guard)

    def _copy(self, of: Classifier, shadow: Classifier, share: float, guard: CanaryGuard | None = None) -> None:
        tries_of = of is not self.parts.answering
        tried, other = (of, shadow) if tries_of else (shadow, of)
        counted = self._metrics.shadow(tried.card, other.card.version)
        compared = guard.compared if guard else _ignore
        failed = guard.failed_behind if guard and not tries_of else _ignore
        mirror = Mirror(of, shadow, share, counted, compared, failed, tries_of=tries_of, samples=self._samples)
        self._mirrors.append(mirror)
        of.followers = (*of.followers, mirror)


def _ignore(_: object) -> None:
    """For a shadow, which nobody judges."""
