"""A proxy in front of a simulated Jenkins, which may answer for it or change what it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}


@dataclass
class Passing:
    """One request on its way to Jenkins. Rules may change its path before, and the rest after it was answered."""

    method: str
    path: str
    """With the query."""
    body: bytes
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""


Rule = Callable[[Passing], Awaitable[web.Response | None]]
"""Answers itself, or lets the request pass by returning None."""
Change = Callable[[Passing], None]


@dataclass
class FrontProxy:
    """``before`` rules are asked in order; ``rewrite_request`` and ``rewrite_answer`` change what passes."""

    upstream: str
    url: str = ""
    before: list[Rule] = field(default_factory=list)
    rewrite_request: list[Change] = field(default_factory=list)
    rewrite_answer: list[Change] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, part: str, status: int, text: str = "", **more: Any) -> None:
        """Answer requests whose path holds ``part``. ``count``: so often, then let them pass. ``headers``."""
        left = [more.get("count", 10**9)]

        async def rule(passing: Passing) -> web.Response | None:
            if passing.method != method or part not in passing.path or left[0] <= 0:
                return None
            left[0] -= 1
            headers = more.get("headers", {})
            return web.Response(status=status, body=text.encode(), headers=headers)

        self.before.append(rule)

    def count(self, method: str, part: str) -> int:
        return sum(1 for one, path in self.requests if one == method and part in path)

    async def handle(
        self, request: web.BaseRequest, session: aiohttp.ClientSession
    ) -> web.Response:
        passing = Passing(request.method, request.raw_path, await request.read())
        self.requests.append((passing.method, passing.path))
        for rule in self.before:
            answer = await rule(passing)
            if answer is not None:
                return answer
        for change in self.rewrite_request:
            change(passing)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        headers["Host"] = request.headers["Host"]
        async with session.request(
            passing.method,
            URL(self.upstream.rstrip("/") + passing.path, encoded=True),
            data=passing.body,
            headers=headers,
            allow_redirects=False,
        ) as reply:
            passing.status, passing.answer = reply.status, await reply.read()
            passing.headers = {
                k: v for k, v in reply.headers.items() if k.lower() not in _HOP_BY_HOP
            }
        for change in self.rewrite_answer:
            change(passing)
        return web.Response(status=passing.status, body=passing.answer, headers=passing.headers)


@asynccontextmanager
async def front_proxy(upstream: str) -> AsyncIterator[FrontProxy]:
    proxy = FrontProxy(upstream)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        server = web.Server(lambda request: proxy.handle(request, session))
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        proxy.url = f"http://127.0.0.1:{port}/"
        try:
            yield proxy
        finally:
            await asyncio.wait_for(runner.cleanup(), 10)


def with_queue_ids(proxy: FrontProxy, shown: Callable[[int], int | str]) -> None:
    """Let Jenkins' queue items have other ids, in each answer and each request."""
    hidden: dict[str, int] = {}

    def show(number: int) -> int | str:
        hidden[str(shown(number))] = number
        return shown(number)

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        changed = {key: walk(item) for key, item in value.items()}
        if isinstance(changed.get("queueId"), int) and changed["queueId"] > 0:
            changed["queueId"] = show(changed["queueId"])
        if isinstance(changed.get("id"), int) and "task" in changed:
            changed["id"] = show(changed["id"])
        return changed

    def request(passing: Passing) -> None:
        for text, number in hidden.items():
            passing.path = passing.path.replace(f"/queue/item/{text}/", f"/queue/item/{number}/")
            if passing.path.endswith(f"cancelItem?id={text}"):
                passing.path = passing.path.removesuffix(text) + str(number)

    def answer(passing: Passing) -> None:
        head, item, rest = passing.headers.get("Location", "").partition("/queue/item/")
        if item:
            passing.headers["Location"] = f"{head}{item}{show(int(rest.strip('/')))}/"
        if "application/json" in passing.headers.get("Content-Type", ""):
            passing.answer = json.dumps(walk(json.loads(passing.answer))).encode()

    proxy.rewrite_request.append(request)
    proxy.rewrite_answer.append(answer)
