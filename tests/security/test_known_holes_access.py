"""A test for each of the holes that were found in other inference servers: ways in, on a mesh with an access list."""

import re
import time
import unittest
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import shoal
import zmq
from shoal import _wire
from tritonclient.grpc import service_pb2 as protocol

import raw_grpc
from keyring import Keyring
from raw_http import INFER, Connection, all_answers, ask, infer_body, request
from running_mesh import RunningMesh

GATEWAY = Path(__file__).parents[2] / "actors" / "gateway"
SCHEMA = Path(__file__).parents[2] / "schemas" / "inference.proto"
X = np.arange(3, dtype=np.float32)[None, :]

keys: Keyring
mesh: RunningMesh
token: dict[str, str]


def setUpModule() -> None:
    global keys, mesh, token
    keys = unittest.enterModuleContext(Keyring())
    keys.key("gateway", "gateway")
    keys.key("search")
    keys.key("operator", "admin")
    token = {role: keys.written_token(f"{role}-token", role) for role in ("client", "observer", "admin")}
    mesh = unittest.enterModuleContext(RunningMesh("--workers", "1", "--threads", "1", *keys.settings))


@dataclass(frozen=True)
class Route:
    pattern: str
    method: str
    need: str  # administration, if it does not say

    @property
    def path(self) -> str:
        return re.sub(r"/M(?=/|$)", "/identity", self.pattern)


def routes() -> list[Route]:
    """The table of the HTTP door."""
    table = re.findall(
        r'\broute\{\s*"([^"]+)",\s*"([A-Z]+)",\s*\w+(?:,\s*([\w:]+))?\s*\}',
        (GATEWAY / "http_door/routes.cpp").read_text(),
    )
    return [Route(pattern, method, (need or "administration").rpartition(":")[2]) for pattern, method, need in table]


def methods() -> dict[str, str]:
    """The table of the gRPC door: path to need."""
    table = re.findall(
        r'\bmethod\{\s*"([^"]+)",\s*\w+(?:,\s*access::need::(\w+))?', (GATEWAY / "grpc_door/methods.cpp").read_text()
    )
    return {path: need or "administration" for path, need in table}


MAY = {"client": {"inference"}, "observer": {"observation"}, "admin": {"inference", "observation", "administration"}}


def spellings(path: str) -> list[str]:
    """Of the same path, or of what a careless reader might take for it."""
    encoded = "/" + "".join(f"%{ord(c):02x}" for c in path[1:])
    half = path.replace("o", "%6f").replace("e", "%65").replace("s", "%73")
    return [
        path,
        encoded,
        half,
        half.upper(),
        path.replace("/", "//"),
        "/" + path,
        path + "/",
        path + "//",
        path + "/.",
        path + "/..",
        "/." + path,
        "/v2/health/live/../../.." + path,
        "/v2/health/live/..%2f..%2f.." + path,
        "/v2/health/ready/..;/../.." + path,
        path + "?x=/v2/health/live",
        path + "#/v2/health/live",
        path + ";/v2/health/live",
        path + "%00",
        path + "%20",
        path + "%0a",
        path + "/v2/health/live",
        "/v2/health/live" + path,
        path.upper(),
        path.replace("/", "\\"),
        path.replace("/", "%2f"),
        path.replace("/", "%252f"),
        f"http://mesh{path}",
        f"HTTP://mesh{path}",
        f"https://user:word@mesh{path}",
        f"http://mesh//{path}",
        f"//mesh{path}",
        path.replace("identity", "identity/versions/1"),
        path.replace("identity", "versions"),
        f"{path}%3f",
        path[1:],
        "*",
    ]


class Door(unittest.TestCase):
    def dealer(self) -> zmq.Socket:
        context = zmq.Context()
        self.addCleanup(context.term)
        peer = context.socket(zmq.DEALER)
        self.addCleanup(peer.close, 0)
        return peer


class SecondWayIn(Door):
    """CVE-2026-24207: one of several doors did not ask who came in."""

    def denied(self, answer, what: object) -> None:
        with self.subTest(str(what)[:200]):
            self.assertIn(answer.status, (400, 401, 404, 405, 501), what)
            if answer.status != 401:
                self.assertNotIn(b"identity", answer.body)
            self.assertNotIn(b"shoal_", answer.body)

    def test_the_tables_are_read_whole(self) -> None:
        found = {(route.pattern, route.method): route.need for route in routes()}
        table = re.search(
            r"std::array route_table\{(.*?)\n\};", (GATEWAY / "http_door/routes.cpp").read_text(), re.DOTALL
        )[1]
        self.assertEqual(len(found), table.count("route{"))
        self.assertEqual(found["/v2/repository/models/M/load", "POST"], "administration")
        self.assertEqual(found["/metrics", "GET"], "observation")
        self.assertEqual(
            {pattern for (pattern, _), need in found.items() if need == "nothing"},
            {"/v2/health/live", "/v2/health/ready"},
        )
        text = (GATEWAY / "grpc_door/methods.cpp").read_text()
        table = re.search(r"std::array method_table\{(.*?)\n\};", text, re.DOTALL)[1]
        self.assertEqual(len(methods()), table.count("method{"))
        self.assertEqual(
            {path.rpartition("/")[2] for path, need in methods().items() if need == "nothing"},
            {"ServerLive", "ServerReady"},
        )

    def test_every_route_by_every_role(self) -> None:
        body = {"infer": infer_body(), "embeddings": b'{"model":"identity","input":"a"}'}
        by_unload_last = sorted(
            routes(), key=lambda route: (route.pattern.endswith("/load"), route.pattern)
        )  # loaded in the end
        for route in by_unload_last:
            for who in (None, "", "nobody's", *token):
                sent = body.get(route.pattern.rpartition("/")[2], b"{}") if route.method == "POST" else b""
                answer = ask(
                    mesh.http, request(route.method, route.path, sent, token.get(who, who) if who is not None else None)
                )
                with self.subTest(route=route, who=who):
                    if route.need == "nothing":
                        self.assertEqual(answer.status, 200)
                    elif who not in MAY:
                        self.assertEqual(answer.status, 401)
                        self.assertEqual(answer.fields["www-authenticate"], "Bearer")
                    elif route.need not in MAY[who]:
                        self.assertEqual(answer.status, 403)
                    else:
                        self.assertNotIn(answer.status, (401, 403))

    def test_no_spelling_and_no_method_leads_past_the_doorman(self) -> None:
        asked_methods = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "PROPFIND")
        for route in routes():
            if route.need == "nothing":
                continue
            with Connection(mesh.http) as connection:
                for number, path in enumerate(spellings(route.path)):
                    for method in asked_methods if number < 3 else (route.method, "HEAD"):
                        asked = request(method, path, close=False)
                        try:
                            answer = connection.ask(asked, method)
                        except EOFError:
                            connection = self.enterContext(
                                Connection(mesh.http)
                            )  # it was closed after the answer before
                            answer = connection.ask(asked, method)
                        self.denied(answer, f"{method} {path}")
        self.assertEqual(ask(mesh.http, request("POST", INFER, infer_body(), token["client"])).status, 200)

    def test_connect_and_host_lead_nowhere(self) -> None:
        end = b"Connection: close\r\n\r\n"
        for asked in (
            b"CONNECT mesh:8000 HTTP/1.1\r\nHost: mesh\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: mesh\r\nHost: localhost\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: mesh\r\nX-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /v2/health/live\r\n"
            + end,
            b"GET /v2/health/live HTTP/1.1\r\nHost: mesh\r\nX-Rewrite-URL: /metrics\r\nX-HTTP-Method-Override: POST\r\n"
            + end,
        ):
            for answer in all_answers(mesh.http, asked):
                self.assertNotIn(b"shoal_", answer.body)
                if b"/v2/health/live HTTP" not in asked:
                    self.assertNotEqual(answer.status, 200)

    def test_http_1_0(self) -> None:
        for route in routes():
            if route.need == "nothing":
                continue
            length = "Content-Length: 2\r\n\r\n{}" if route.method == "POST" else "\r\n"
            for head in (
                f"{route.method} {route.path} HTTP/1.0\r\n",
                f"{route.method} {route.path} HTTP/1.0\r\nConnection: keep-alive\r\n",
            ):
                self.denied(ask(mesh.http, (head + length).encode()), head)
            for answer in all_answers(mesh.http, f"{route.method} {route.path}\r\n\r\n".encode()):  # HTTP/0.9
                self.denied(answer, route.path)

    def test_what_follows_a_request_that_may_is_asked_again(self) -> None:
        for first in (
            request("GET", "/v2/health/live", close=False),
            request("GET", "/v2", token=token["admin"], close=False),
            request("POST", INFER, infer_body(), token["admin"], close=False),
        ):
            for route in routes():
                if route.need == "nothing":
                    continue
                answers = all_answers(mesh.http, first + request(route.method, route.path))
                with self.subTest(route.path):
                    self.assertEqual([answer.status for answer in answers], [200, 401])

    def test_two_fields_are_one_at_most(self) -> None:
        right, wrong = f"Authorization: Bearer {token['admin']}", "Authorization: Bearer nobody's"
        for fields in ((wrong, right), (f"{wrong}, Bearer {token['admin']}",)):
            head = "\r\n".join(["GET /metrics HTTP/1.1", "Host: mesh", *fields, "Connection: close", "", ""])
            self.denied(ask(mesh.http, head.encode()), fields)

    def test_health_passes(self) -> None:
        for path in ("/v2/health/live", "/v2/health/ready"):
            answer = ask(mesh.http, request("GET", path))
            self.assertEqual((answer.status, answer.body), (200, b""))

    def test_every_grpc_method_by_every_role(self) -> None:
        named = protocol.ModelReadyRequest(name="identity").SerializeToString()
        load = protocol.RepositoryModelLoadRequest(model_name="identity").SerializeToString()
        messages = {
            "ModelInfer": raw_grpc.infer_request(),
            "ModelStreamInfer": raw_grpc.infer_request(),
            "RepositoryModelLoad": load,
            "RepositoryModelUnload": load,
            "RepositoryIndex": b"",
        }
        in_order = sorted(methods().items(), key=lambda each: each[0].endswith("ModelLoad"))  # loaded in the end
        with grpc.insecure_channel(mesh.grpc) as channel:
            for path, need in in_order:
                for who in (None, "", "nobody's", *token):
                    name = path.rpartition("/")[2]
                    shown = token.get(who, who) if who is not None else None
                    code = raw_grpc.code(raw_grpc.call(channel, path, messages.get(name, named), shown))
                    with self.subTest(path=path, who=who):
                        if need == "nothing":
                            self.assertEqual(code, grpc.StatusCode.OK)
                        elif who not in MAY:
                            self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED)
                        elif need not in MAY[who]:
                            self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)
                        else:
                            self.assertEqual(code, grpc.StatusCode.OK)

    def test_grpc_has_no_other_methods(self) -> None:
        offered = {path.rpartition("/")[2] for path in methods()}
        others = [
            raw_grpc.SERVICE + name
            for name in (
                "LogSettings",
                "TraceSetting",
                "SystemSharedMemoryStatus",
                "CudaSharedMemoryRegister",
                "Serverlive",
                "ModelInfer/",
                "/ModelInfer",
                "",
                "ModelInfer%20",
            )
        ]
        others += [
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.health.v1.Health/Check",
            "/grpc.channelz.v1.Channelz/GetServers",
            "/inference.grpcinferenceservice/ModelInfer",
            "/GRPCInferenceService/ModelInfer",
        ]
        self.assertLessEqual(set(re.findall(r"rpc (\w+)\(", SCHEMA.read_text())), offered)
        with grpc.insecure_channel(mesh.grpc) as channel:
            for path in others:
                for shown in (None, token["admin"]):
                    with self.subTest(path=path):
                        code = raw_grpc.code(raw_grpc.call(channel, path, raw_grpc.infer_request(), shown))
                        self.assertIn(code, (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED))

    def test_grpc_metadata_of_other_names_and_shapes(self) -> None:
        right = token["admin"]
        with grpc.insecure_channel(mesh.grpc) as channel:
            call = channel.unary_unary(raw_grpc.SERVICE + "ModelInfer")
            for fields in (
                (("x-authorization", f"Bearer {right}"),),
                (("authorization-bin", f"Bearer {right}".encode()),),
                (("authorization", right),),
                (("authorization", f"Basic {right}"),),
                (("token", right),),
                (("cookie", f"authorization=Bearer {right}"),),
            ):
                with self.subTest(fields[0][0]), self.assertRaises(grpc.RpcError) as caught:
                    call(raw_grpc.infer_request(), timeout=60, metadata=fields)
                self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def test_the_native_door_in_the_clear(self) -> None:
        peer = self.dealer()
        peer.connect(mesh.address)
        epoch = time.time_ns() // 1000
        for message in (
            _wire.encode_hello(epoch, 12345, 1 << 28),
            _wire.encode_signal(epoch, "describe"),
            _wire.encode_signal(epoch, "inquire"),
            _wire.encode_manage(epoch, 1, "unload", "identity", 0, False, 10.0),
        ):
            peer.send(message)
        self.assertEqual(peer.poll(5000), 0)
        with shoal.connect_sync(mesh.address, key=keys.folder / "search.key", timeout=30.0) as client:
            np.testing.assert_array_equal(client.infer("identity", {"x": X})["y"], X)

    def test_the_native_door_with_a_pair_that_nobody_allowed(self) -> None:
        peer = self.dealer()
        peer.curve_publickey, peer.curve_secretkey = zmq.curve_keypair()
        peer.curve_serverkey = re.search(r"public = '(.*)'", (keys.folder / "gateway.key").read_text())[1].encode()
        peer.connect(mesh.address)
        peer.send(_wire.encode_hello(time.time_ns() // 1000, 12345, 1 << 28))
        self.assertEqual(peer.poll(5000), 0)

    def test_a_clients_key_for_an_admins_verbs(self) -> None:
        with shoal.connect_sync(mesh.address, key=keys.folder / "search.key", timeout=30.0) as client:
            for verb in ("load", "unload"):
                with self.subTest(verb), self.assertRaises(shoal.PermissionDenied):
                    for answer in getattr(client, verb)("identity"):
                        raise answer.error or AssertionError(answer)
            np.testing.assert_array_equal(client.infer("identity", {"x": X})["y"], X)

    def test_a_client_cannot_say_what_services_say(self) -> None:
        """Bodies of the schema that only a scheduler or a worker may send, from a client with a key."""
        schema = _wire.schema
        own = (keys.folder / "search.key").read_text()
        for service in ("scheduler", "worker", "gateway", "cache", "precision"):
            with self.subTest(service):
                peer = self.dealer()
                peer.curve_publickey = re.search(r"public = '(.*)'", own)[1].encode()
                peer.curve_secretkey = re.search(r"secret = '(.*)'", own)[1].encode()
                peer.curve_serverkey = re.search(r"gateways = \['(.*)'\]", own)[1].encode()
                peer.connect(mesh.address)
                epoch = time.time_ns() // 1000
                envelope = schema.Envelope.new_message(epoch=epoch)
                hello = envelope.init("hello")
                hello.protocolVersion, hello.newestVersion = schema.protocolVersion, schema.newestVersion
                hello.service, hello.instance, hello.epoch, hello.maxMessageBytes = service, 4711, epoch, 1 << 28
                peer.send(envelope.to_bytes())
                self.assertNotEqual(peer.poll(30_000), 0)
                with schema.Envelope.from_bytes(peer.recv_multipart()[0]) as said:
                    self.assertEqual(said.which(), "refused")
                    self.assertIn(f"cannot act as a {service}", said.refused.message)


if __name__ == "__main__":
    unittest.main()
