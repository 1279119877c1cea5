"""The ways into the mesh, as its users take them: the SDK, HTTP and gRPC (Open Inference Protocol v2), OpenAI's embeddings.

`Access` is the one place that says how a client connects: addresses now, keys and tokens when there are any.

The SDK ends a request by its own timer and tries again what can be. Clients of the other doors do what users write around
them: the same timer (deadline and a tenth of a second), and again, with back-off, what a broken connection or a full or
unready mesh refused, as long as there is time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import numpy as np
import shoal
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from .content import Array, Question

ALL_DOORS = ("native", "http", "grpc", "embeddings")
GRACE = 0.1  # seconds after the deadline, as the SDK has it
FIRST_BACKOFF, LAST_BACKOFF = 0.05, 1.0
PRIORITIES = {"critical": 1, "standard": 2, "batch": 3}
# What a client may send again: inference has no effects.
RETRYABLE = frozenset({"unavailable", "overloaded"})


@dataclass(slots=True)
class Access:
    host: str
    key: str | None = None  # the key file for the native door, which asks for one
    native: dict[str, Any] = field(default_factory=dict)  # further arguments of shoal.connect
    headers: dict[str, str] = field(default_factory=dict)  # of HTTP, metadata of gRPC

    def connect(self, **options: Any) -> shoal.Mesh:
        # Two connections, which the front gives to two gateways where there are two: what one of them holds is all that is
        # lost with it.
        address = f"tcp://{self.host}:8002"
        return shoal.connect(address, address, timeout=30.0, key=self.key, **{**self.native, **options})


class Failure(Exception):
    """An outcome that is an error, in the words of the SDK's errors."""

    def __init__(self, code: str, said: str, *, retryable: bool, tries: int = 1) -> None:
        super().__init__(said)
        self.code = code
        self.retryable = retryable
        self.tries = tries


Answer = tuple[Array, int]  # and how often it was tried


class Doors:
    """Those of these names, open."""

    def __init__(self, access: Access, names: Iterable[str] = ALL_DOORS) -> None:
        self._access = access
        self.names = tuple(names)
        self._stack = AsyncExitStack()
        self._native: shoal.Mesh
        self._http: aiohttp.ClientSession
        self._grpc: triton_grpc_aio.InferenceServerClient

    async def __aenter__(self) -> Doors:
        access = self._access
        if "native" in self.names:
            self._native = await self._stack.enter_async_context(access.connect())
        # A name is asked for again soon: a front that is started again may have another address.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=1)
        timeout = aiohttp.ClientTimeout(total=None)
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(f"http://{access.host}:8000", connector=connector, timeout=timeout, headers=access.headers)
        )
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        options.append(("grpc.dns_min_time_between_resolutions_ms", 1000))
        self._grpc = triton_grpc_aio.InferenceServerClient(f"{access.host}:8001", channel_args=options)
        self._stack.push_async_callback(self._grpc.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def of(self, question: Question) -> list[str]:
        """The doors that it can be asked through; a name may be there several times, to be drawn so often."""
        usual = ("native", "embeddings") if question.texts is not None else ("native", "native", "native", "http", "grpc")
        return [name for name in usual if name in self.names]

    def leave_out(self, names: Iterable[str]) -> None:
        self.names = tuple(name for name in self.names if name not in set(names))

    def counts(self) -> dict[str, Any]:
        """Of the SDK."""
        return dict(self._native.counts()) if "native" in self.names else {}

    async def ask(self, door: str, question: Question, priority: str, deadline: float) -> Answer:
        """Raises Failure."""
        if door == "native":
            return await self._ask_native(question, priority, deadline)
        once = {"http": self._ask_http, "grpc": self._ask_grpc, "embeddings": self._ask_embeddings}[door]
        return await retried(lambda left: once(question, priority, left), deadline)

    async def _ask_native(self, question: Question, priority: str, deadline: float) -> Answer:
        inputs = question.inputs if question.texts is None else shoal.text_inputs(question.texts)
        try:
            result = await self._native.infer(question.model, inputs, priority=priority, deadline=deadline)
        except shoal.ShoalError as error:
            raise Failure(error.code.name.lower(), str(error), retryable=error.retryable) from None
        return result[question.output], result.retries + 1

    async def _ask_http(self, question: Question, priority: str, left: float) -> Array:
        inputs = []
        for name, values in question.inputs.items():
            tensor = triton_http.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
            inputs.append(tensor.set_data_from_numpy(values, binary_data=True))
        body, header = triton_http.InferenceServerClient.generate_request_body(
            inputs, priority=PRIORITIES[priority], timeout=int(left * 1e6)
        )
        headers = {"Inference-Header-Content-Length": str(header)} if header is not None else {}
        async with self._http.post(f"/v2/models/{question.model}/infer", data=body, headers=headers) as response:
            answer = await response.read()
            if response.status != 200:
                raise http_failure(response.status, answer)
            length = response.headers.get("Inference-Header-Content-Length")
        result = triton_http.InferenceServerClient.parse_response_body(answer, header_length=int(length) if length else None)
        return result.as_numpy(question.output)

    async def _ask_embeddings(self, question: Question, priority: str, left: float) -> Array:
        body = {"model": question.model, "input": question.texts}
        async with self._http.post("/v1/embeddings", json=body) as response:
            answer = await response.read()
            if response.status != 200:
                raise http_failure(response.status, answer)
        return np.array([each["embedding"] for each in json.loads(answer)["data"]], np.float32)

    async def _ask_grpc(self, question: Question, priority: str, left: float) -> Array:
        inputs = []
        for name, values in question.inputs.items():
            tensor = triton_grpc.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
            inputs.append(tensor.set_data_from_numpy(values))
        try:
            result = await self._grpc.infer(
                question.model, inputs, priority=PRIORITIES[priority], timeout=int(left * 1e6), client_timeout=left + GRACE
            )
        except InferenceServerException as error:
            raise grpc_failure(str(error.status()), str(error)) from None
        return result.as_numpy(question.output)


async def retried(once: Callable[[float], Awaitable[Array]], deadline: float) -> Answer:
    """Until it is answered, or refused for good, or the time is over."""
    loop = asyncio.get_running_loop()
    due = loop.time() + deadline
    tries, last = 0, ""
    try:
        async with asyncio.timeout_at(due + GRACE):
            while True:
                tries += 1
                try:
                    return await once(max(0.001, due - loop.time())), tries
                except (aiohttp.ClientError, ConnectionError) as broken:
                    failure = Failure("unavailable", f"{type(broken).__name__}: {broken}", retryable=True)
                except Failure as refused:
                    failure = refused
                failure.tries = tries
                # Doubled each time, but so that the time that is left is worth a few more tries.
                wait = min(LAST_BACKOFF, FIRST_BACKOFF * 2 ** (tries - 1), max(FIRST_BACKOFF, (due - loop.time()) / 4))
                if failure.code not in RETRYABLE or loop.time() + wait >= due:
                    raise failure
                last = str(failure)
                await asyncio.sleep(wait)
    except TimeoutError:
        said = "our own timer ended it" + (f"; before that: {last}" if last else "")
        raise Failure("deadline_exceeded", said, retryable=False, tries=tries) from None


_HTTP_CODES = {
    400: "invalid_argument",
    404: "not_found",
    413: "too_large",
    429: "overloaded",
    500: "internal",
    501: "unsupported",
    503: "unavailable",
    504: "deadline_exceeded",
}


def http_failure(status: int, answer: bytes) -> Failure:
    code = _HTTP_CODES.get(status, f"http_{status}")
    return Failure(code, f"{status}: {answer[:300].decode(errors='replace')}", retryable=code in RETRYABLE)


_GRPC_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: "invalid_argument",
    grpc.StatusCode.NOT_FOUND: "not_found",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "overloaded",
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline_exceeded",
    grpc.StatusCode.CANCELLED: "unavailable",
    grpc.StatusCode.INTERNAL: "internal",
}


def grpc_failure(status: str, said: str) -> Failure:
    code = next((code for known, code in _GRPC_CODES.items() if str(known) == status), status)
    # How gRPC says that the connection broke in the middle of an answer.
    if code == "internal" and ("RST_STREAM" in said or "Connection reset" in said):
        code = "unavailable"
    return Failure(code, said[:300], retryable=code in RETRYABLE)
