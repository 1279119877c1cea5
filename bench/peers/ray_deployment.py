"""MiniLM and the identity as deployments of Ray Serve that speak the Open Inference Protocol; ray_server.py runs them."""

from __future__ import annotations

import asyncio

from ray import serve
from ray.serve._private import replica
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from protocol import LENGTH, decode, encode
from served_models import INSTANCES, ROWS, Request, load


def stay_on_loopback() -> None:
    """For the start of every worker: a replica's gRPC door for Ray's proxy would be open on every address."""
    add_port = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, _: add_port(server, "127.0.0.1:0")


class Direct:
    """A replica that does one request after another."""

    def __init__(self, name: str, setting: str) -> None:
        self.name = name
        self.run = load(name, setting)

    async def ask(self, request: Request) -> Request:
        return self.run([request])[0]

    async def __call__(self, http: HttpRequest) -> Response:
        document, request = decode("inputs", await http.body(), http.headers.get(LENGTH))
        binary = bool(document.get("parameters", {}).get("binary_data_output"))
        body, headers = encode("outputs", await self.ask(request), binary, {"model_name": self.name})
        return Response(body, headers=headers)


class Joining(Direct):
    """Joins what waits, in a thread, so that the next requests come in meanwhile; counts requests, not rows."""

    @serve.batch(max_batch_size=ROWS, batch_wait_timeout_s=0)
    async def ask(self, requests: list[Request]) -> list[Request]:
        return await asyncio.to_thread(self.run, requests)


def deployment(name: str, setting: str) -> serve.Deployment:
    """The identity is not joined: there is nothing to gain, and a thread to pay for."""
    joining = setting == "tuned" and name == "minilm"
    options: dict[str, object] = {"name": name, "ray_actor_options": {"num_cpus": 1 if name == "minilm" else 0}}
    if setting == "tuned":
        options |= {"num_replicas": INSTANCES, "max_ongoing_requests": 4 * ROWS}
    return serve.deployment(**options)(Joining if joining else Direct)
