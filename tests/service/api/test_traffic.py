from __future__ import annotations

import asyncio
import logging

import pytest

from service.api.traffic import RejectionLog
from service.telemetry.ids import RequestIds

pytestmark = pytest.mark.anyio


@pytest.mark.slow  # waits for two seconds to begin
async def test_a_flood_of_rejections_is_counted_in_place_of_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service")
    rejections = RejectionLog(lines_per_s=3)
    # All in the same second, and later than what another test's log has still to say.
    await asyncio.sleep(2.01 - asyncio.get_running_loop().time() % 1)
    caplog.clear()
    for _ in range(10):
        rejections.add(429, "queue-full", "POST", "/v1/models/x/predict", "10.0.0.1", RequestIds("id"))
    await asyncio.sleep(1.1)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1] == "rejected as well, more than are logged one by one: 7 queue-full"
    assert len(lines) == 4
