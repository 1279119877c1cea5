"""TLS at the HTTP and gRPC doors."""

import gzip
import json
import socket
import ssl
import tempfile
import time
import unittest
import warnings
from pathlib import Path

import grpc
import numpy as np

import raw_grpc
from keyring import Keyring, certificate
from raw_http import INFER, Connection, ask, infer_body, request, until
from running_mesh import RunningMesh
from service_process import ServiceProcess, free_port

RENEWED_WITHIN = 10.0  # seconds


def trusting(chain: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(chain))


def of_version(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Speaks that one only, whatever the machine's policy is, and believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        context.minimum_version = version
    return context


def shown_at(address: str, alpn: tuple[str, ...] = ()) -> bytes:
    """The certificate that a new connection is shown."""
    context = of_version(ssl.TLSVersion.TLSv1_3)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    with Connection(address, context) as connection:
        return connection.socket.getpeercert(binary_form=True)


class Doors(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.chain, cls.key = certificate(cls.folder)
        cls.tls = trusting(cls.chain)
        cls.keys = cls.enterClassContext(Keyring())
        cls.keys.key("gateway", "gateway")
        cls.token = cls.keys.written_token("web")
        cls.mesh = cls.enterClassContext(
            RunningMesh(
                "--workers",
                "1",
                "--threads",
                "1",
                *cls.keys.settings,
                "--set",
                f"gateway.certificate={cls.chain}",
                "--set",
                f"gateway.certificate_key={cls.key}",
            )
        )

    def infer(self, connection: Connection, **fields: object):
        return connection.ask(request("POST", INFER, infer_body(), self.token, close=False, **fields))

    def test_a_connection_takes_one_request_after_the_other(self) -> None:
        with Connection(self.mesh.http, self.tls) as connection:
            for _ in range(20):
                answer = self.infer(connection)
                self.assertEqual(answer.status, 200)
                self.assertEqual(json.loads(answer.body)["outputs"][0]["data"], [0, 1, 2])
            self.assertEqual(connection.ask(request("GET", "/v2", close=False)).status, 401)
            self.assertEqual(connection.ask(request("GET", "/v2/health/live")).status, 200)

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        with Connection(self.mesh.http, self.tls) as connection:
            one = request("POST", INFER, infer_body(), self.token, close=False)
            connection.send(one + request("GET", "/v2/models/nobody", token=self.token, close=False) + one)
            self.assertEqual([connection.answer().status for _ in range(3)], [200, 404, 200])

    def test_large_bodies_go_both_ways(self) -> None:
        values = np.random.default_rng(1).standard_normal((4, 1 << 20), np.float32)
        tensor = {"name": "x", "datatype": "FP32", "shape": list(values.shape)}
        tensor["parameters"] = {"binary_data_size": values.nbytes}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        asked = request("POST", INFER, head + values.tobytes(), self.token, Inference_Header_Content_Length=len(head))
        answer = ask(self.mesh.http, asked, tls=self.tls)
        self.assertEqual(answer.status, 200, answer.body[:200])
        length = int(answer.fields["inference-header-content-length"])
        self.assertEqual(answer.body[length:], values.tobytes())

    def test_gzip_goes_both_ways(self) -> None:
        body = infer_body(6000)
        asked = request("POST", INFER, gzip.compress(body), self.token, Content_Encoding="gzip", Accept_Encoding="gzip")
        answer = ask(self.mesh.http, asked, tls=self.tls)
        self.assertEqual((answer.status, answer.fields.get("content-encoding")), (200, "gzip"))
        data = json.loads(gzip.decompress(answer.body))["outputs"][0]["data"]
        self.assertEqual(data, list(range(6000)))

    def test_the_slow_are_cut_off(self) -> None:
        """Within a header with 408; without a handshake without a word."""
        with Connection(self.mesh.http) as silent, Connection(self.mesh.http, self.tls) as slow:
            slow.send(b"GET /v2/health/live HTTP/1.1\r\nHost:")
            with Connection(self.mesh.http, self.tls) as other:
                self.assertEqual(self.infer(other).status, 200)
            self.assertEqual(slow.answer().status, 408)
            self.assertTrue(slow.is_ended())
            self.assertTrue(silent.is_ended())

    def test_nothing_is_answered_in_the_clear(self) -> None:
        for data in (request("GET", "/v2/health/live"), request("POST", INFER, infer_body(), self.token)):
            with Connection(self.mesh.http) as connection:
                connection.send(data)
                received = b""
                try:
                    while piece := connection.socket.recv(4096):
                        received += piece
                except ConnectionError:
                    pass
            self.assertNotIn(b"HTTP", received)
        with grpc.insecure_channel(self.mesh.grpc) as channel:
            answer = raw_grpc.call(channel, "ServerLive", timeout=20)
            self.assertEqual(raw_grpc.code(answer), grpc.StatusCode.UNAVAILABLE)

    def test_versions_before_1_2_are_refused(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]
        for address in (self.mesh.http, self.mesh.grpc):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = of_version(version)
                context.set_alpn_protocols(["h2"] if address == self.mesh.grpc else ["http/1.1"])
                Connection(address, context).socket.close()
            for version in old:
                with (
                    self.subTest(f"{version!r} {address}"),
                    self.assertRaises((ssl.SSLError, ConnectionError)) as caught,
                ):
                    Connection(address, of_version(version)).socket.close()
                self.assertNotRegex(str(caught.exception), "(?i)no protocols available|no ciphers available")  # ours

    def test_grpc(self) -> None:
        credentials = grpc.ssl_channel_credentials(self.chain.read_bytes())
        with grpc.secure_channel(self.mesh.grpc, credentials) as channel:
            asked = raw_grpc.infer_request()
            self.assertEqual(raw_grpc.code(raw_grpc.call(channel, "ModelInfer", asked, self.token)), grpc.StatusCode.OK)
            self.assertEqual(raw_grpc.code(raw_grpc.call(channel, "ServerLive")), grpc.StatusCode.OK)
            refused = raw_grpc.call(channel, "ModelInfer", asked)
            self.assertEqual(raw_grpc.code(refused), grpc.StatusCode.UNAUTHENTICATED)

    def test_many_that_leave_within_the_handshake_keep_nobody_out(self) -> None:
        host, port = self.mesh.http.rsplit(":", 1)
        hello = ssl.MemoryBIO(), ssl.MemoryBIO()
        handshake = of_version(ssl.TLSVersion.TLSv1_3).wrap_bio(*hello)
        with self.assertRaises(ssl.SSLWantReadError):
            handshake.do_handshake()
        first = hello[1].read()
        for i in range(200):
            with socket.create_connection((host, int(port)), 60) as connection:
                connection.sendall(first[: 1 + i % len(first)])
        with Connection(self.mesh.http, self.tls) as connection:
            self.assertEqual(self.infer(connection).status, 200)

    def test_a_renewed_certificate_is_shown_without_a_restart(self) -> None:
        doors = ((self.mesh.http, ("http/1.1",)), (self.mesh.grpc, ("h2",)))
        before = [shown_at(*door) for door in doors]
        with Connection(self.mesh.http, self.tls) as old:
            self.assertEqual(self.infer(old).status, 200)
            with tempfile.TemporaryDirectory() as fresh:
                chain, key = certificate(Path(fresh), "renewed")
                chain_text, key_text = chain.read_bytes(), key.read_bytes()
            for file, text in ((self.chain, chain_text), (self.key, key_text)):
                file.with_suffix(".new").write_bytes(text)
                file.with_suffix(".new").replace(file)
                if file == self.chain:  # half of it, which does not fit
                    time.sleep(1.5)
                    self.assertEqual(shown_at(*doors[0]), before[0])
            for door, shown in zip(doors, before, strict=True):
                with self.subTest(door):
                    until(lambda door=door, shown=shown: shown_at(*door) != shown, RENEWED_WITHIN)
            self.assertEqual(self.infer(old).status, 200)
        type(self).tls = trusting(self.chain)
        with Connection(self.mesh.http, self.tls) as connection:
            self.assertEqual(self.infer(connection).status, 200)
        credentials = grpc.ssl_channel_credentials(self.chain.read_bytes())
        with grpc.secure_channel(self.mesh.grpc, credentials) as channel:
            self.assertEqual(raw_grpc.code(raw_grpc.call(channel, "ServerLive")), grpc.StatusCode.OK)


class WrongFiles(unittest.TestCase):
    """A gateway that cannot show its certificate says so, and ends."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.chain, self.key = certificate(self.folder)

    def start(self, *settings: str) -> ServiceProcess:
        return self.enterContext(
            ServiceProcess("gateway", "gateway.listen=", "gateway.schedulers=tcp://127.0.0.1:1", *settings)
        )

    def wrong(self) -> dict[str, tuple[Path, Path]]:
        garbage, absent = self.folder / "garbage.pem", self.folder / "absent.pem"
        garbage.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        with tempfile.TemporaryDirectory() as other:
            stranger = self.folder / "stranger.pem"
            stranger.write_bytes(certificate(Path(other))[1].read_bytes())
        return {
            "no certificate": (absent, self.key),
            "no key": (self.chain, absent),
            "a certificate that is none": (garbage, self.key),
            "a key that is none": (self.chain, garbage),
            "another's key": (self.chain, stranger),
        }

    def check(self, *doors: str) -> None:
        started = {
            what: self.start(f"gateway.certificate={chain}", f"gateway.certificate_key={key}", *doors)
            for what, (chain, key) in self.wrong().items()
        }
        for what, gateway in started.items():
            with self.subTest(what):
                self.assertIn(gateway.ended(), (1, 2), gateway.output)
                self.assertRegex(gateway.output, "certificate|\\.pem")

    def test_at_the_http_door(self) -> None:
        self.check("gateway.http=127.0.0.1:0", "gateway.grpc=")

    def test_at_the_grpc_door_alone(self) -> None:
        self.check("gateway.http=", "gateway.grpc=127.0.0.1:0")

    def test_one_of_the_two_files(self) -> None:
        for setting in (f"gateway.certificate={self.chain}", f"gateway.certificate_key={self.key}"):
            gateway = self.start(setting, "gateway.http=127.0.0.1:0", "gateway.grpc=")
            self.assertIn(gateway.ended(), (1, 2), gateway.output)
            self.assertIn("go together", gateway.output)

    def test_the_right_ones_are_served(self) -> None:
        http, grpc_port = free_port(), free_port()
        gateway = self.start(
            f"gateway.certificate={self.chain}",
            f"gateway.certificate_key={self.key}",
            f"gateway.http=127.0.0.1:{http}",
            f"gateway.grpc=127.0.0.1:{grpc_port}",
        )
        self.assertTrue(gateway.is_listening(grpc_port), gateway.output)
        self.assertEqual(
            ask(f"127.0.0.1:{http}", request("GET", "/v2/health/live"), tls=trusting(self.chain)).status, 200
        )


if __name__ == "__main__":
    unittest.main()
