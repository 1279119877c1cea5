"""A test for each of the holes that were found in systems on ZeroMQ: frames of strangers, bytes before any key."""

import pickle
import re
import socket
import struct
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import shoal
import zmq

import hole
from evil_models import pickle_that_touches
from hole import Hole
from keyring import Keyring
from native_peer import NativePeer
from raw_http import ask, request, until
from running_mesh import FIXTURES, RunningMesh

X = np.arange(3, dtype=np.float32)[None, :]

keys: Keyring
mesh: RunningMesh  # with keys, besides the one of `hole`
token: dict[str, str]


def setUpModule() -> None:
    global keys, mesh, token
    hole.serve(lambda _: [FIXTURES / "models" / "identity"])
    keys = unittest.enterModuleContext(Keyring())
    keys.key("gateway", "gateway")
    keys.key("search")
    token = {"observer": keys.written_token("observer-token", "observer")}
    mesh = unittest.enterModuleContext(RunningMesh("--workers", "1", "--threads", "1", *keys.settings))


def link_dropped() -> float:
    page = ask(hole.mesh.http, request("GET", "/metrics")).body.decode()
    return sum(float(value) for value in re.findall(r"(?m)^\w*link_dropped\w*\{[^}]*\} (\S+)$", page))


class PickleOverZeroMq(Hole):
    """CVE-2024-50050: whatever came in at a ZeroMQ socket was unpickled."""

    def messages(self) -> list[list[bytes]]:
        evil_pickles = [pickle_that_touches(hole.marker, number) for number in range(pickle.HIGHEST_PROTOCOL + 1)]
        frames = [[each] for each in evil_pickles]
        frames += [[b"", each] for each in evil_pickles] + [[each, each, each] for each in evil_pickles[-1:]]
        return frames + [[b""], [b"\x80\x05."], [b"\0" * 4096], [b"\xff" * 4096], [b"x"] * 200]

    def test_a_pickle_is_dropped_and_counted(self) -> None:
        for greets in (False, True):
            before = link_dropped()
            with NativePeer(hole.mesh.address) as peer:
                if greets:
                    peer.greet()
                for frames in self.messages():
                    peer.socket.send_multipart(frames)
                until(lambda before=before: link_dropped() >= before + len(self.messages()), 30.0)
                if greets:
                    self.assertIsNone(peer.infer([1, 3], bytes(12)).error)

    def test_a_pickle_in_place_of_a_tensor_stays_bytes(self) -> None:
        bytes_of_pickle = pickle_that_touches(hole.marker).ljust(120, b".")
        values = np.frombuffer(bytes_of_pickle[: len(bytes_of_pickle) // 4 * 4], np.float32)[None, :]
        with shoal.connect_sync(hole.mesh.address, timeout=30.0) as client:
            self.assertEqual(client.infer("identity", {"x": values})["y"].tobytes(), values.tobytes())

    def test_other_kinds_of_sockets(self) -> None:
        context = zmq.Context()
        self.addCleanup(context.destroy, 0)
        for kind in (zmq.REQ, zmq.PUSH, zmq.PUB, zmq.ROUTER, zmq.PAIR):
            peer = context.socket(kind)
            peer.linger = 0
            peer.connect(hole.mesh.address)
            try:
                peer.send_multipart([b"a", pickle_that_touches(hole.marker)], zmq.NOBLOCK)
            except zmq.ZMQError:
                pass
        time.sleep(0.5)


class ZeroMqBeforeCurve(unittest.TestCase):
    """CVE-2019-13132, CVE-2020-15166: bytes from nobody in particular, before any key was shown, ran over a
    buffer; connections that said nothing kept those with a key out."""

    GREETING = b"\xff" + bytes(8) + b"\x7f"

    def setUp(self) -> None:
        host, port = mesh.address.removeprefix("tcp://").rsplit(":", 1)
        self.door = host, int(port)

    def served(self, within: float = 60.0) -> None:
        with shoal.connect_sync(mesh.address, key=keys.folder / "search.key", timeout=within) as client:
            np.testing.assert_array_equal(client.infer("identity", {"x": X}, deadline=within)["y"], X)

    def greeting(self, mechanism: bytes = b"CURVE", major: int = 3, minor: int = 0) -> bytes:
        return self.GREETING + bytes([major, minor]) + mechanism.ljust(20, b"\0") + bytes(32)

    def first_bytes(self) -> list[bytes]:
        random = np.random.default_rng(7)
        curve = self.greeting()

        def command(body: bytes, flags: int = 4) -> bytes:
            return (
                bytes([flags, len(body)]) + body
                if len(body) < 256
                else bytes([flags | 2]) + struct.pack(">Q", len(body)) + body
            )

        hello = b"\x05HELLO" + bytes([1, 0]) + bytes(72) + bytes(32) + bytes(8) + bytes(80)
        made = [random.bytes(size) for size in (1, 9, 10, 11, 63, 64, 65, 200, 5000, 1 << 20)]
        made += [curve[:size] for size in (1, 2, 9, 10, 11, 12, 31, 32, 33, 63)]
        made += [
            self.greeting(b"NULL"),
            self.greeting(b"PLAIN"),
            self.greeting(b"\xff" * 20),
            self.greeting(major=2),
            self.greeting(major=9),
        ]
        made += [b"\x01\x00", b"\x01\x7fidentity", b"\xff" + b"\xff" * 8, b"\x00" * 100]  # ZMTP 1.0 and 2.0
        made += [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00" + bytes(200)]
        made += [
            curve + each
            for each in (
                command(hello),
                command(hello[:-1]),
                command(hello + bytes(4000)),
                command(b"\x05READY"),
                command(b"\x05HELLO"),
                command(b"\x08INITIATE" + bytes(8 + 113)),
                command(b"\x08INITIATE" + b"\xff" * 60000),
                command(hello) + command(b"\x08INITIATE" + bytes(60000)),
                command(b"\xffHELLO"),
                command(b""),
                bytes([6]) + struct.pack(">Q", (1 << 63) - 1),
                bytes([6]) + struct.pack(">Q", (1 << 64) - 1),
                bytes([2]) + struct.pack(">Q", 1 << 40) + b"x" * 1000,
                bytes([0, 5]) + b"hello",
                bytes([255] * 64),
                command(hello, 0),
            )
        ]
        return made

    def test_whatever_comes_first_the_others_are_served(self) -> None:
        first = self.first_bytes()
        for close_at_once in (True, False):
            held = []
            for data in first:
                connection = socket.create_connection(self.door, 60)
                try:
                    connection.sendall(data)
                except ConnectionError:
                    pass
                if close_at_once:
                    connection.close()
                else:
                    held.append(self.enterContext(connection))
            self.served()
            self.cut_off(held)
        self.served()

    def test_hundreds_that_say_nothing_are_cut_off_and_keep_nobody_out(self) -> None:
        idle = [self.enterContext(socket.create_connection(self.door, 60)) for _ in range(400)]
        for connection in idle[::2]:
            connection.sendall(self.greeting()[:11])
        self.served()
        self.cut_off(idle)
        self.served()

    def cut_off(self, connections: list[socket.socket], within: float = 60.0) -> None:
        """The server ends each of them itself."""
        end = time.monotonic() + within
        for number, connection in enumerate(connections):
            try:
                while True:
                    connection.settimeout(max(0.1, end - time.monotonic()))
                    if not connection.recv(4096):
                        break
            except ConnectionError:
                pass
            except TimeoutError:
                self.fail(f"connection {number} of {len(connections)} goes on after {within} s")

    def test_connections_come_and_go_while_others_infer(self) -> None:
        until_then = time.monotonic() + 4.0

        def storm(seed: int) -> None:
            random = np.random.default_rng(seed)
            while time.monotonic() < until_then:
                with socket.create_connection(self.door, 60) as connection:
                    try:
                        connection.sendall(self.greeting()[: random.integers(65)] + random.bytes(random.integers(200)))
                    except ConnectionError:
                        pass

        with ThreadPoolExecutor(4) as pool:
            storms = [pool.submit(storm, seed) for seed in range(4)]
            with shoal.connect_sync(mesh.address, key=keys.folder / "search.key", timeout=60.0) as client:
                answered = 0
                while time.monotonic() < until_then:
                    np.testing.assert_array_equal(client.infer("identity", {"x": X}, deadline=30.0)["y"], X)
                    answered += 1
            for each in storms:
                each.result()
        self.assertGreater(answered, 5)

    def test_a_key_that_is_refused_is_counted(self) -> None:
        def refused() -> float:
            page = ask(mesh.http, request("GET", "/metrics", token=token["observer"])).body.decode()
            return sum(float(value) for value in re.findall(r"(?m)^\w*keys_refused\w*(?:\{[^}]*\})? (\S+)$", page))

        before = refused()
        context = zmq.Context()
        self.addCleanup(context.term)
        peer = context.socket(zmq.DEALER)
        self.addCleanup(peer.close, 0)
        peer.curve_publickey, peer.curve_secretkey = zmq.curve_keypair()
        peer.curve_serverkey = re.search(r"public = '(.*)'", (keys.folder / "gateway.key").read_text())[1].encode()
        peer.connect(mesh.address)
        until(lambda: refused() > before, 30.0)


if __name__ == "__main__":
    unittest.main()
