"""What stands in for time and for the asynchronous client in the tests of both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from service.client import Answered, AsyncClient, Explanation, Predictions

URL = "http://sightline:3000"

Make = Callable[..., Any]


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class Driven:
    """An AsyncClient that is called as a Client, so that one test speaks of both."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._loop = asyncio.Runner()
        self._client = AsyncClient(*arguments, **options)

    def predict(self, *arguments: Any, **options: Any) -> Predictions:
        return self._loop.run(self._client.predict(*arguments, **options))

    def predict_many(self, *arguments: Any, **options: Any) -> Iterator[Answered]:
        stream = self._client.predict_many(*arguments, **options)
        return self._each(stream)

    def explain(self, *arguments: Any, **options: Any) -> Explanation:
        return self._loop.run(self._client.explain(*arguments, **options))

    def models(self) -> Any:
        return self._loop.run(self._client.models())

    def model(self, *arguments: Any) -> Any:
        return self._loop.run(self._client.model(*arguments))

    def ready(self) -> bool:
        return self._loop.run(self._client.ready())

    def close(self) -> None:
        self._loop.run(self._client.aclose())
        self._loop.close()

    def _each(self, stream: Any) -> Iterator[Answered]:
        async def following() -> Any:
            return await anext(stream)

        try:
            while True:
                try:
                    yield self._loop.run(following())
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run(stream.aclose())
