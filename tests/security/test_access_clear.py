"""What may be reached from other machines: nothing in the clear, and nothing without an access list, unless named."""

import re
import tempfile
import unittest
from pathlib import Path

from keyring import Keyring, certificate
from running_mesh import FIXTURES
from service_process import ServiceProcess, free_port

SOURCE = Path(__file__).parents[2] / "services" / "host" / "access_settings.cpp"


def address_keys() -> list[str]:
    """Of the table in the source, so that one that is added is tried."""
    table = re.search(r"addresses\{(.*?)\};", SOURCE.read_text(), re.DOTALL)[1]
    return re.findall(r'"(\w+\.\w+)"', table)


class OffLoopback(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.memory = self.enterContext(tempfile.TemporaryDirectory(dir="/dev/shm"))

    def start(self, service: str, *settings: str) -> ServiceProcess:
        own = tempfile.mkdtemp(dir=self.folder)
        quiet = {  # nothing but what a test names
            "gateway": ["http=", "grpc=", "metrics=", "listen=", "schedulers=tcp://127.0.0.1:1"],
            "scheduler": ["listen=tcp://127.0.0.1:0", "metrics=", "profiles="],
            "worker": ["metrics=", f"models={FIXTURES / 'models'}", "schedulers=", "gateways="],
            "cache": [
                "listen=tcp://127.0.0.1:0",
                "metrics=",
                f"ssd={own}",
                f"dram={tempfile.mkdtemp(dir=self.memory)}",
            ],
            "precision": ["listen=tcp://127.0.0.1:0", "metrics=", f"models={FIXTURES / 'models'}", "policy=fp32"],
        }
        return self.enterContext(ServiceProcess(service, *(f"{service}.{each}" for each in quiet[service]), *settings))

    def address(self, key: str, host: str, port: int) -> str:
        return f"{key}={'tcp://' if key.endswith('.listen') else ''}{host}:{port}"

    def test_in_the_clear_only_what_is_named(self) -> None:
        keys = address_keys()
        self.assertGreaterEqual(len(keys), 11)
        for key in keys:
            service = key.partition(".")[0]
            other = "gateway.http" if key != "gateway.http" else "gateway.grpc"
            with self.subTest(key):
                port = free_port()
                for more in ((), (f"access.clear={other}",)):
                    refused = self.start(service, self.address(key, "0.0.0.0", port), *more)
                    self.assertIn(refused.ended(), (1, 2), refused.output)
                    self.assertIn(key, refused.output)
                    self.assertIn(f'access.clear = ["{key}"]', refused.output)
                named = self.start(service, self.address(key, "0.0.0.0", port), f"access.clear={key}")
                self.assertTrue(named.is_listening(port), named.output)

    def test_every_way_to_write_it(self) -> None:
        for host in ("*", "[::]", "[::ffff:0.0.0.0]", "127.0.0.1.example.com", "eth0"):
            with self.subTest(host):
                refused = self.start("gateway", f"gateway.listen=tcp://{host}:{free_port()}")
                self.assertIn(refused.ended(), (1, 2), refused.output)
                self.assertIn("in the clear", refused.output)
        for host in ("0.0.0.0", "[::]"):
            refused = self.start("gateway", f"gateway.http={host}:{free_port()}")
            self.assertIn(refused.ended(), (1, 2), refused.output)
            self.assertIn("in the clear", refused.output)
        second = self.start("gateway", f"gateway.listen=tcp://127.0.0.1:0,tcp://0.0.0.0:{free_port()}")
        self.assertIn(second.ended(), (1, 2), second.output)

    def test_a_name_that_is_no_address_is_told(self) -> None:
        wrong = self.start("gateway", "access.clear=gateway.htp")
        self.assertIn(wrong.ended(), (1, 2))
        self.assertIn("'gateway.htp' is not the key of an address", wrong.output)

    def test_with_keys_and_certificates_it_is_let_through(self) -> None:
        chain, key = certificate(self.folder)
        secured = (f"gateway.certificate={chain}", f"gateway.certificate_key={key}")
        with Keyring() as keys:
            keys.key("gateway", "gateway")
            settings = keys.settings[1::2]
            http, native = free_port(), free_port()
            gateway = self.start(
                "gateway", *secured, *settings, f"gateway.http=0.0.0.0:{http}", f"gateway.listen=tcp://0.0.0.0:{native}"
            )
            self.assertTrue(gateway.is_listening(http), gateway.output)
            self.assertTrue(gateway.is_listening(native), gateway.output)

    def test_tls_without_an_access_list_is_not_enough(self) -> None:
        """Who is there would be known to the clients, and not to the server: everybody might load and unload."""
        chain, key = certificate(self.folder)
        for door in ("http", "grpc"):
            port = free_port()
            open_to_all = self.start(
                "gateway",
                f"gateway.certificate={chain}",
                f"gateway.certificate_key={key}",
                f"gateway.{door}=0.0.0.0:{port}",
            )
            self.assertIn(open_to_all.ended(), (1, 2), open_to_all.output)
            self.assertIn("access.allowed", open_to_all.output)

    def test_a_list_without_a_key_leaves_no_link_in_the_clear(self) -> None:
        """HTTP and gRPC would ask for tokens, and the native door beside them nobody."""
        with Keyring() as keys:
            keys.key("gateway", "gateway")
            allowed, port = f"access.allowed={keys.allowed}", free_port()
            listening = f"gateway.listen=tcp://127.0.0.1:{port}"
            refused = self.start("gateway", allowed, listening)
            self.assertIn(refused.ended(), (1, 2), refused.output)
            self.assertIn("set access.key", refused.output)
            named = self.start("gateway", allowed, listening, "access.clear=gateway.listen")
            self.assertTrue(named.is_listening(port), named.output)
            by_file = self.start(
                "gateway", allowed, f"gateway.listen=ipc://{self.folder}/gateway", f"gateway.http=127.0.0.1:{port + 1}"
            )
            self.assertTrue(by_file.is_listening(port + 1), by_file.output)


class KeySettings(unittest.TestCase):
    """Keys that do not fit are a clear error at start."""

    def test_wrong_keys(self) -> None:
        with Keyring() as keys:
            keys.key("gateway", "gateway")
            keys.key("worker", "worker")
            garbage = keys.folder / "garbage"
            garbage.write_text("nothing = {")
            mixed = keys.changed_key(keys.folder / "gateway.key", secret=keys.secrets[1])
            allowed = f"access.allowed={keys.allowed}"
            wrong = {
                "needs access.allowed": (f"access.key={keys.folder / 'gateway.key'}",),
                "there is no key file": (f"access.key={keys.folder / 'absent.key'}", allowed),
                "is the key of a worker, not of a gateway": (f"access.key={keys.folder / 'worker.key'}", allowed),
                "is not TOML": (f"access.key={garbage}", allowed),
                "do not belong together": (f"access.key={mixed}", allowed),
                "absent.toml cannot be read": (f"access.allowed={keys.folder / 'absent.toml'}",),
                "garbage:1": (f"access.allowed={garbage}",),
            }
            quiet = ("gateway.http=", "gateway.grpc=", "gateway.listen=tcp://127.0.0.1:0")
            started = {
                sentence: self.enterContext(ServiceProcess("gateway", *quiet, *settings))
                for sentence, settings in wrong.items()
            }
            for sentence, gateway in started.items():
                with self.subTest(sentence):
                    self.assertIn(gateway.ended(), (1, 2), gateway.output)
                    self.assertIn(sentence, gateway.output)
                    for secret in keys.secrets:
                        self.assertNotIn(secret, gateway.output)


if __name__ == "__main__":
    unittest.main()
