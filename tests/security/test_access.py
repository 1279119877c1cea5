"""Who is let in as what: keys at the native door, tokens over HTTP and gRPC, on one mesh in one process."""

import asyncio
import re
import time
import unittest
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import shoal
from tritonclient.grpc import service_pb2 as protocol

import raw_grpc
from keyring import Keyring, entry_of, run_shoal
from raw_http import INFER, Connection, ask, infer_body, request, until
from running_mesh import RunningMesh

REVOKED_WITHIN = 5.0  # seconds
X = np.arange(6, dtype=np.float32).reshape(2, 3)
ONCE = {"retry_ratio": 0, "retry_reserve": 0}  # no retries

keys: Keyring
mesh: RunningMesh
token: dict[str, str]
key: dict[str, Path]


def setUpModule() -> None:
    global keys, mesh, token, key
    keys = unittest.enterModuleContext(Keyring())
    key = {"gateway": keys.key("gateway", "gateway"), "worker": keys.key("worker", "worker")}
    key |= {"client": keys.key("search"), "admin": keys.key("operator", "admin")}
    token = {role: keys.token(f"{role}-token", role) for role in ("client", "observer", "admin")}
    mesh = unittest.enterModuleContext(RunningMesh("--workers", "1", "--threads", "1", *keys.settings))


class NativeDoor(unittest.IsolatedAsyncioTestCase):
    async def connected(self, with_key: Path | None, **options) -> shoal.Mesh:
        return await self.enterAsyncContext(shoal.connect(mesh.address, key=with_key, **options))

    async def refused(self, sentence: str, with_key: Path | None) -> None:
        with self.assertRaisesRegex(shoal.ShoalError, sentence):
            async with shoal.connect(mesh.address, key=with_key, timeout=20.0, wait_for_gateway=True) as client:
                await client.infer("identity", {"x": X}, deadline=20.0)

    async def same(self, client: shoal.Mesh) -> None:
        np.testing.assert_array_equal((await client.infer("identity", {"x": X}, deadline=30.0))["y"], X)

    async def test_a_key_is_let_in_and_infers(self) -> None:
        client = await self.connected(key["client"])
        await self.same(client)
        large = np.random.default_rng(1).standard_normal((3, 1 << 20), np.float32)  # in pieces, both ways
        np.testing.assert_array_equal((await client.infer("identity", {"x": large}, deadline=60.0))["y"], large)
        self.assertEqual([model.name for model in await client.models()], ["identity"])

    async def test_nobody_is_let_in_without_a_key(self) -> None:
        await self.refused("does not speak in the clear: give `connect` the key file of a client", None)

    async def test_a_key_that_is_not_on_the_list_is_refused(self) -> None:
        with Keyring() as others:
            others.key("gateway", "gateway")
            stranger = keys.changed_key(others.key("stranger"), gateways=[_public(key["gateway"])])
        await self.refused("does not let in this key: it is not, or no longer, in its access list", stranger)

    async def test_a_gateway_that_is_not_believed_is_left(self) -> None:
        await self.refused(
            "none of the gateways' keys", keys.changed_key(key["client"], gateways=[_public(key["worker"])])
        )

    async def test_a_key_with_another_secret_is_refused(self) -> None:
        stolen = keys.changed_key(key["client"], secret=_secret(key["worker"]))
        await self.refused("none of the gateways' keys|does not let in this key|no gateway can be reached", stolen)

    async def test_a_services_key_is_no_clients(self) -> None:
        with self.assertRaisesRegex(shoal.InvalidArgument, "is not a client's"):
            shoal.connect(mesh.address, key=key["worker"])
        as_client = keys.changed_key(key["worker"], role="client", gateways=[_public(key["gateway"])])
        await self.refused("is of the role worker and cannot act as a client", as_client)

    async def test_only_an_admin_loads_and_unloads(self) -> None:
        client, admin = await self.connected(key["client"]), await self.connected(key["admin"])
        for verb in (client.unload, client.load):
            with self.assertRaises(shoal.PermissionDenied):
                await _said(verb("identity"))
            await self.same(client)
        await _said(admin.unload("identity"))
        with self.assertRaises(shoal.NotFound):
            await client.infer("identity", {"x": X})
        await _said(admin.load("identity"))
        await self.same(client)
        await self.same(admin)

    async def test_a_revoked_key_is_cut_off_and_comes_back_with_its_entry(self) -> None:
        file = await asyncio.to_thread(keys.key, "leaving")
        leaver = await self.connected(file, **ONCE)
        stayer = await self.connected(key["client"], **ONCE)
        await self.same(leaver)
        listed = keys.allowed.read_text()
        await asyncio.to_thread(keys.revoke, "leaving")
        began = time.monotonic()
        with self.assertRaises(shoal.ShoalError) as caught:
            while time.monotonic() - began < 2 * REVOKED_WITHIN:
                await leaver.infer("identity", {"x": X}, deadline=1.0)
                await self.same(stayer)
                await asyncio.sleep(0.05)
        self.assertLess(time.monotonic() - began, REVOKED_WITHIN, caught.exception)
        await self.refused("does not let in this key", file)
        await self.same(stayer)
        keys.write(listed)
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.same(leaver)  # by the same client object
                    break
                except shoal.ShoalError:
                    await asyncio.sleep(0.1)
        keys.remove("leaving")

    async def test_the_command_line_shows_its_key(self) -> None:
        def run(*arguments: object):
            return run_shoal(*arguments, "--at", mesh.address, "--timeout", 30)

        def check() -> None:
            self.assertRegex(run("models", "--key", key["client"]).stdout, "identity/1 +ready")
            for verb in ("models", "status"):
                ran = run(verb)
                self.assertNotEqual(ran.returncode, 0)
                self.assertNotIn("identity", ran.stdout)
            ran = run("unload", "identity", "--key", key["client"])
            self.assertEqual(ran.returncode, 1, ran)
            self.assertIn("role", ran.stderr)
            for verb in ("unload", "load"):
                ran = run(verb, "identity", "--key", key["admin"])
                self.assertEqual(ran.returncode, 0, ran)

        await asyncio.to_thread(check)


async def _said(answers) -> None:
    """Raises the error of a worker, if one has one."""
    for answer in await answers:
        if answer.error is not None:
            raise answer.error


def _value(file: Path, name: str) -> str:
    return re.search(rf"(?m)^{name} = '(.*)'$", file.read_text())[1]


def _public(file: Path) -> str:
    return _value(file, "public")


def _secret(file: Path) -> str:
    return _value(file, "secret")


class HttpTokens(unittest.TestCase):
    def infer(self, with_token: str | None = None, **fields: object):
        return ask(mesh.http, request("POST", INFER, infer_body(), with_token, **fields))

    def test_a_token_is_needed(self) -> None:
        self.assertEqual(self.infer(token["client"]).status, 200)
        right = token["client"]
        wrong = [
            None,
            "",
            "shoal_",
            right[:-1],
            right + "A",
            right.swapcase(),
            right.removeprefix("shoal_"),
            "A" * 4000,
        ]
        for each in wrong:
            with self.subTest(each):
                answer = self.infer(each)
                self.assertEqual(answer.status, 401)
                self.assertEqual(answer.fields["www-authenticate"], "Bearer")
                self.assertIn("token", answer.error.lower())
                self.assertNotIn(right[:20], answer.error)

    def test_only_the_scheme_bearer_is_taken(self) -> None:
        right = token["client"]
        for field in (
            f"Basic {right}",
            right,
            f"Bearer{right}",
            f"Bearer\t{right}",
            f"Token {right}",
            f'Bearer "{right}"',
        ):
            with self.subTest(field.replace(right, "…")):
                self.assertEqual(self.infer(Authorization=field).status, 401)
        for field in (f"bearer {right}", f"BEARER   {right}  "):
            self.assertEqual(self.infer(Authorization=field).status, 200)

    def test_a_token_is_taken_from_its_field_only(self) -> None:
        right = token["admin"]
        for path in (f"/v2?access_token={right}", f"/v2?token={right}"):
            self.assertEqual(ask(mesh.http, request("GET", path)).status, 401)
        for fields in (
            {"Cookie": f"token={right}"},
            {"X_Authorization": f"Bearer {right}"},
            {"Proxy_Authorization": f"Bearer {right}"},
        ):
            self.assertEqual(ask(mesh.http, request("GET", "/v2", **fields)).status, 401)

    def test_roles_hold(self) -> None:
        asked = {
            "inference": [("GET", "/v2", b""), ("POST", INFER, infer_body()), ("POST", "/v2/repository/index", b"")],
            "observation": [("GET", "/metrics", b"")],
            "administration": [
                ("POST", f"/v2/repository/models/identity/{verb}", b"{}") for verb in ("unload", "load")
            ],
        }
        may = {"client": {"inference"}, "observer": {"observation"}, "admin": set(asked)}
        for role, allowed in may.items():
            for need, requests in asked.items():
                for method, path, body in requests:
                    with self.subTest(role=role, path=path):
                        answer = ask(mesh.http, request(method, path, body, token[role]))
                        self.assertEqual(answer.status, 200 if need in allowed else 403)
                        if need not in allowed:
                            self.assertIn(f"the role {role}", answer.error)

    def test_a_body_is_not_waited_for_without_a_token(self) -> None:
        head = f"POST {INFER} HTTP/1.1\r\nHost: mesh\r\nContent-Length: 60000000\r\n\r\n".encode()
        with Connection(mesh.http) as connection:
            self.assertEqual(connection.ask(head).status, 401)
            self.assertTrue(connection.is_ended())

    def test_a_connection_may_go_on_with_a_token(self) -> None:
        with Connection(mesh.http) as connection:
            self.assertEqual(connection.ask(request("GET", "/v2", close=False)).status, 401)
            self.assertEqual(connection.ask(request("GET", "/v2", token=token["client"], close=False)).status, 200)
            self.assertEqual(connection.ask(request("GET", "/v2", close=False)).status, 401)

    def test_a_revoked_token_ends_on_a_connection_that_goes_on(self) -> None:
        leaving = keys.token("leaving-http")
        listed = keys.allowed.read_text()
        until(lambda: self.infer(leaving).status == 200, REVOKED_WITHIN)
        with Connection(mesh.http) as connection:

            def status() -> int:
                return connection.ask(request("POST", INFER, infer_body(), leaving, close=False)).status

            self.assertEqual(status(), 200)
            keys.revoke("leaving-http")
            until(lambda: _closed_or(lambda: self.infer(leaving).status) == 401, REVOKED_WITHIN)
            with Connection(mesh.http) as another:
                self.assertEqual(another.ask(request("GET", "/v2", token=token["client"])).status, 200)
            self.assertEqual(status(), 401)
        keys.write(listed)
        until(lambda: self.infer(leaving).status == 200, REVOKED_WITHIN)
        keys.remove("leaving-http")

    def test_a_token_may_ask_so_often(self) -> None:
        limited = keys.written_token("often", requests_per_second=2)
        until(lambda: self.infer(limited).status == 200, REVOKED_WITHIN)
        statuses = []
        with Connection(mesh.http) as connection:
            for _ in range(40):
                answer = connection.ask(request("GET", "/v2", token=limited, close=False))
                statuses.append(answer.status)
                if answer.status == 503:
                    self.assertGreaterEqual(int(answer.fields["retry-after"]), 1)
                    self.assertIn("the token 'often' has reached its limit of 2", answer.error)
                    break
        self.assertEqual(statuses[-1], 503, statuses)
        self.assertEqual(self.infer(token["client"]).status, 200)  # another's is another's
        until(lambda: self.infer(limited).status == 200, 10.0, every=0.6)

    def test_a_token_may_have_so_many_in_flight(self) -> None:
        limited = keys.written_token("few", in_flight=1)
        until(lambda: self.infer(limited).status == 200, REVOKED_WITHIN)
        whole = request("POST", INFER, infer_body(), limited)
        for ends_well in (True, False):  # a client that leaves gives its place back, too
            with Connection(mesh.http) as slow:
                slow.send(whole[:-10])
                answer = until_answer(lambda: self.infer(limited), 503)
                self.assertIn("retry-after", answer.fields)
                self.assertEqual(self.infer(token["client"]).status, 200)
                if ends_well:
                    self.assertEqual(slow.ask(whole[-10:]).status, 200)
            until(lambda: self.infer(limited).status == 200, 10.0)


def until_answer(make: Callable, status: int, within: float = 10.0):
    """The first answer with that status."""
    last = None

    def right() -> bool:
        nonlocal last
        last = make()
        return last.status == status

    until(right, within)
    return last


def _closed_or(status: Callable[[], int]) -> int:
    try:
        return status()
    except (EOFError, ConnectionError):
        return 0


class GrpcTokens(unittest.TestCase):
    def setUp(self) -> None:
        self.channel = self.enterContext(grpc.insecure_channel(mesh.grpc))

    def code(self, method: str, message: bytes = b"", with_token: str | None = None) -> grpc.StatusCode:
        return raw_grpc.code(raw_grpc.call(self.channel, method, message, with_token))

    def infer(self, with_token: str | None) -> grpc.StatusCode:
        return self.code("ModelInfer", raw_grpc.infer_request(), with_token)

    def test_a_token_is_needed(self) -> None:
        self.assertEqual(self.infer(token["client"]), grpc.StatusCode.OK)
        for wrong in (None, "", token["client"][:-1], token["client"] + "A"):
            answer = raw_grpc.call(self.channel, "ModelInfer", raw_grpc.infer_request(), wrong)
            self.assertEqual(raw_grpc.code(answer), grpc.StatusCode.UNAUTHENTICATED)
            self.assertIn("token", answer.details().lower())

    def test_roles_hold(self) -> None:
        load = protocol.RepositoryModelLoadRequest(model_name="identity").SerializeToString()
        unload = protocol.RepositoryModelUnloadRequest(model_name="identity").SerializeToString()
        for role in ("client", "observer"):
            self.assertEqual(self.code("RepositoryModelUnload", unload, token[role]), grpc.StatusCode.PERMISSION_DENIED)
            self.assertEqual(self.code("RepositoryModelLoad", load, token[role]), grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual(self.infer(token["observer"]), grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual(self.code("RepositoryModelUnload", unload, token["admin"]), grpc.StatusCode.OK)
        self.assertEqual(self.infer(token["client"]), grpc.StatusCode.NOT_FOUND)
        self.assertEqual(self.code("RepositoryModelLoad", load, token["admin"]), grpc.StatusCode.OK)
        self.assertEqual(self.infer(token["client"]), grpc.StatusCode.OK)

    def test_a_revoked_token_ends_on_a_channel_and_within_a_stream(self) -> None:
        leaving = keys.token("leaving-grpc")
        listed = keys.allowed.read_text()
        until(lambda: self.infer(leaving) == grpc.StatusCode.OK, REVOKED_WITHIN)
        answered = 0
        revoked = 0.0

        def requests():
            nonlocal revoked
            yield raw_grpc.infer_request()
            while answered < 1:
                time.sleep(0.01)
            keys.revoke("leaving-grpc")
            revoked = time.monotonic()
            while time.monotonic() - revoked < 3 * REVOKED_WITHIN:
                yield raw_grpc.infer_request()
                time.sleep(0.1)

        stream = self.channel.stream_stream(raw_grpc.SERVICE + "ModelStreamInfer")
        with self.assertRaises(grpc.RpcError) as caught:
            for message in stream(requests(), timeout=60, metadata=raw_grpc.metadata(leaving)):
                self.assertEqual(protocol.ModelStreamInferResponse.FromString(message).error_message, "")
                answered += 1
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertLess(time.monotonic() - revoked, REVOKED_WITHIN)
        self.assertEqual(self.infer(leaving), grpc.StatusCode.UNAUTHENTICATED)
        keys.write(listed)
        until(lambda: self.infer(leaving) == grpc.StatusCode.OK, REVOKED_WITHIN)
        keys.remove("leaving-grpc")

    def test_limits_are_told(self) -> None:
        limited = keys.token("often-grpc", "client", "--requests-per-second", 2)
        until(lambda: self.infer(limited) == grpc.StatusCode.OK, REVOKED_WITHIN)
        codes = [self.code("ServerMetadata", b"", limited) for _ in range(20)]
        self.assertIn(grpc.StatusCode.RESOURCE_EXHAUSTED, codes)
        self.assertLessEqual(set(codes), {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED})
        self.assertEqual(self.infer(token["client"]), grpc.StatusCode.OK)

    def test_a_stream_holds_one_place_for_each_request(self) -> None:
        limited = keys.written_token("few-grpc", in_flight=1)
        until(lambda: self.infer(limited) == grpc.StatusCode.OK, REVOKED_WITHIN)
        stream = self.channel.stream_stream(raw_grpc.SERVICE + "ModelStreamInfer")
        for _ in range(5):  # one after the other, each gives its place back
            answers = list(stream(iter([raw_grpc.infer_request()]), timeout=60, metadata=raw_grpc.metadata(limited)))
            self.assertEqual(protocol.ModelStreamInferResponse.FromString(answers[0]).error_message, "")
        until(lambda: self.infer(limited) == grpc.StatusCode.OK, REVOKED_WITHIN)


class TheList(unittest.TestCase):
    """What is done with a list that became wrong."""

    def test_a_slip_in_the_list_changes_nothing(self) -> None:
        listed = keys.allowed.read_text()
        self.addCleanup(keys.write, listed)
        keys.write(listed + "\n[[token]]\nname = 'half")
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            self.assertEqual(ask(mesh.http, request("GET", "/v2", token=token["client"])).status, 200)
            self.assertEqual(ask(mesh.http, request("GET", "/v2")).status, 401)
            time.sleep(0.1)
        keys.allowed.unlink()
        time.sleep(1.5)
        self.assertEqual(ask(mesh.http, request("GET", "/v2", token=token["client"])).status, 200)
        self.assertEqual(ask(mesh.http, request("GET", "/v2")).status, 401)

    def test_an_empty_list_lets_in_nobody_but_health(self) -> None:
        listed = keys.allowed.read_text()
        self.addCleanup(until, lambda: ask(mesh.http, request("GET", "/v2", token=token["client"])).status == 200, 10.0)
        self.addCleanup(keys.write, listed)
        keys.write("")
        until(lambda: ask(mesh.http, request("GET", "/v2", token=token["client"])).status == 401, REVOKED_WITHIN)
        self.assertEqual(ask(mesh.http, request("GET", "/v2/health/ready")).status, 200)

    def test_a_role_that_is_changed_holds(self) -> None:
        listed = keys.allowed.read_text()
        self.addCleanup(
            until, lambda: ask(mesh.http, request("GET", "/metrics", token=token["admin"])).status == 200, 10.0
        )
        self.addCleanup(keys.write, listed)
        own = entry_of(listed, "admin-token")
        keys.write(listed.replace(own, own.replace('"admin"', '"client"')))
        until(lambda: ask(mesh.http, request("GET", "/metrics", token=token["admin"])).status == 403, REVOKED_WITHIN)
        self.assertEqual(ask(mesh.http, request("GET", "/v2", token=token["admin"])).status, 200)


class Anonymous(unittest.TestCase):
    """gateway.anonymous = infer"""

    @classmethod
    def setUpClass(cls) -> None:
        cls.open = cls.enterClassContext(
            RunningMesh("--workers", "1", "--threads", "1", *keys.settings, "--set", "gateway.anonymous=infer")
        )

    def test_inference_and_health_pass_and_nothing_else(self) -> None:
        self.assertEqual(ask(self.open.http, request("POST", INFER, infer_body())).status, 200)
        self.assertEqual(ask(self.open.http, request("GET", "/v2/health/ready")).status, 200)
        self.assertEqual(ask(self.open.http, request("GET", "/v2")).status, 200)
        for method, path in (
            ("POST", "/v2/repository/models/identity/unload"),
            ("POST", "/v2/repository/models/identity/load"),
            ("GET", "/metrics"),
        ):
            answer = ask(self.open.http, request(method, path, b"{}" if method == "POST" else b""))
            self.assertEqual(answer.status, 401, path)
            self.assertEqual(answer.fields["www-authenticate"], "Bearer")
        self.assertEqual(ask(self.open.http, request("GET", "/metrics", token=token["observer"])).status, 200)

    def test_whoever_shows_a_token_shows_the_right_one(self) -> None:
        for wrong in ("nobody's", token["observer"]):
            answer = ask(self.open.http, request("POST", INFER, infer_body(), wrong))
            self.assertIn(answer.status, (401, 403))

    def test_grpc(self) -> None:
        with grpc.insecure_channel(self.open.grpc) as channel:

            def code(*call) -> grpc.StatusCode:
                return raw_grpc.code(raw_grpc.call(channel, *call))

            self.assertEqual(code("ModelInfer", raw_grpc.infer_request()), grpc.StatusCode.OK)
            self.assertEqual(code("ServerReady"), grpc.StatusCode.OK)
            unload = protocol.RepositoryModelUnloadRequest(model_name="identity").SerializeToString()
            self.assertEqual(code("RepositoryModelUnload", unload), grpc.StatusCode.UNAUTHENTICATED)
            self.assertEqual(code("RepositoryModelLoad", unload), grpc.StatusCode.UNAUTHENTICATED)
            self.assertEqual(code("ModelInfer", raw_grpc.infer_request(), "nobody's"), grpc.StatusCode.UNAUTHENTICATED)

    def test_the_native_door_knows_nobody_without_a_key(self) -> None:
        with self.assertRaisesRegex(shoal.ShoalError, "does not speak in the clear"):
            shoal.connect_sync(self.open.address, timeout=10.0)
        with shoal.connect_sync(self.open.address, key=key["client"], timeout=30.0) as client:
            np.testing.assert_array_equal(client.infer("identity", {"x": X})["y"], X)


if __name__ == "__main__":
    unittest.main()
