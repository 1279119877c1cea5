"""MiniLM and the identity as a custom runtime of MLServer; mlserver_server.py names it in the models' settings.

MLServer's adaptive batching puts the numbers of joined requests one after another under the first one's shape, so
requests of unequal lengths come out as garbage. In the setting `tuned` the runtime therefore joins what waits in its
worker by itself (`Joined`), in a thread, so that the worker can take in the next requests meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from served_models import ROWS, Model, Request, load


class Joined:
    """Runs at once when idle; whatever came meanwhile goes together, up to ROWS rows. Lives on one event loop."""

    def __init__(self, run: Model) -> None:
        self.run = run
        self.waiting: deque[tuple[Request, asyncio.Future]] = deque()
        self.thread = ThreadPoolExecutor(1)
        self.work: asyncio.Task | None = None

    async def ask(self, request: Request) -> Request:
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((request, answer))
        if self.work is None:
            self.work = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting:
            batch = [self.waiting.popleft()]
            rows = len(batch[0][0]["input_ids"])
            while self.waiting and (rows := rows + len(self.waiting[0][0]["input_ids"])) <= ROWS:
                batch.append(self.waiting.popleft())
            try:
                results = await loop.run_in_executor(self.thread, self.run, [request for request, _ in batch])
            except Exception as error:
                for _, answer in batch:
                    answer.set_exception(error)
            else:
                for (_, answer), result in zip(batch, results, strict=True):
                    if not answer.cancelled():
                        answer.set_result(result)
        self.work = None


class Runtime(MLModel):
    async def load(self) -> bool:
        setting = self.settings.parameters.extra["setting"]
        self.run = load(self.name, setting)
        self.joined = Joined(self.run) if setting == "tuned" and self.name == "minilm" else None
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        request = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        answer = self.run([request])[0] if self.joined is None else await self.joined.ask(request)
        outputs = [NumpyCodec.encode_output(name, value) for name, value in answer.items()]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)
