"""Services each with a key of its own over tcp, a mesh of processes with keys, and where secrets must not be seen."""

import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import grpc
import numpy as np
import shoal

import raw_grpc
from keyring import Keyring, run_shoal, secrets_in
from raw_http import INFER, Connection, ask, infer_body, request, until
from running_mesh import BIN, FIXTURES, RunningMesh
from service_process import ServiceProcess, free_port

X = np.arange(3, dtype=np.float32)[None, :]


class Apart(unittest.TestCase):
    """shoal-gateway, shoal-scheduler and shoal-worker over tcp."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.keys = cls.enterClassContext(Keyring())
        for role in ("gateway", "scheduler", "worker", "cache"):
            cls.keys.key(role, role)
        cls.client = cls.keys.key("search")
        cls.models = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (cls.models / "identity").symlink_to(FIXTURES / "models" / "identity")

    def setUp(self) -> None:
        self.gateway_address, self.scheduler_address = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))

    def start(
        self, service: str, key: Path | None = None, allowed: Path | None = None, secured: bool = True
    ) -> ServiceProcess:
        settings = {
            "gateway": [f"listen={self.gateway_address}", f"schedulers={self.scheduler_address}", "http=", "grpc="],
            "scheduler": [f"listen={self.scheduler_address}", "metrics=", "profiles="],
            "worker": [
                f"models={self.models}",
                f"schedulers={self.scheduler_address}",
                f"gateways={self.gateway_address}",
                "metrics=",
                "precision=fp32",
            ],
        }[service]
        access = []
        if secured:
            access = [
                f"access.key={key or self.keys.folder / '{role}.key'}",
                f"access.allowed={allowed or self.keys.allowed}",
            ]
        return self.enterContext(
            ServiceProcess(service, *(f"{service}.{each}" for each in settings), *access, "log.level=debug")
        )

    def answers(self, within: float = 60.0) -> bool:
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                with shoal.connect_sync(self.gateway_address, key=self.client, timeout=5.0) as client:
                    np.testing.assert_array_equal(client.infer("identity", {"x": X}, deadline=5.0)["y"], X)
                return True
            except shoal.ShoalError:
                time.sleep(0.2)
        return False

    def test_they_find_each_other_with_the_right_keys(self) -> None:
        started = [self.start(service) for service in ("scheduler", "gateway", "worker")]
        self.assertTrue(self.answers(120.0), [each.output for each in started])
        for each in started:
            self.assertEqual(secrets_in(each.output, self.keys.secrets), [])

    def test_a_service_with_anothers_key_does_not_start(self) -> None:
        worker = self.start("worker", key=self.keys.folder / "gateway.key")
        self.assertIn(worker.ended(), (1, 2))
        self.assertIn("is the key of a gateway, not of a worker", worker.output)

    def test_a_worker_with_a_gateways_key_is_refused(self) -> None:
        """Who changes the role in its key file is refused by the list."""
        disguised = self.keys.changed_key(self.keys.folder / "gateway.key", role="worker")
        scheduler, _ = self.start("scheduler"), self.start("gateway")
        worker = self.start("worker", key=disguised)
        self.assertTrue(worker.says("is of the role gateway and cannot act as a worker", 120.0), worker.output)
        self.assertIn("cannot act as a worker", scheduler.output)
        self.assertFalse(self.answers(3.0))
        self.start("worker")  # beside it a right one is taken
        self.assertTrue(self.answers(120.0))

    def test_a_scheduler_that_is_not_on_the_list_is_refused(self) -> None:
        with Keyring() as others:
            stranger = others.key("scheduler", "scheduler")
            for role in ("gateway", "worker"):
                others.write(others.allowed.read_text() + self._entry(role))
            scheduler = self.start("scheduler", key=stranger, allowed=others.allowed)  # it would believe them
            gateway, worker = self.start("gateway"), self.start("worker")
            for each in (gateway, worker):
                self.assertTrue(
                    each.says("has no key that is believed to be a scheduler's", 120.0), each.output + scheduler.output
                )
            self.assertFalse(self.answers(3.0))

    def _entry(self, role: str) -> str:
        public = re.search(r"public = '(.*)'", (self.keys.folder / f"{role}.key").read_text())[1]
        return f"\n[[key]]\nname = '{role}'\nrole = '{role}'\npublic = '{public}'\n"

    def test_services_in_the_clear_are_refused_by_those_with_keys(self) -> None:
        scheduler, gateway = self.start("scheduler"), self.start("gateway")
        worker = self.start("worker", secured=False)
        self.assertTrue(
            worker.says("does not speak in the clear", 120.0), worker.output + scheduler.output + gateway.output
        )
        self.assertFalse(self.answers(3.0))

    def test_a_revoked_worker_is_cut_off(self) -> None:
        for service in ("scheduler", "gateway", "worker"):
            self.start(service)
        self.assertTrue(self.answers(120.0))
        listed = self.keys.allowed.read_text()
        self.addCleanup(self.keys.write, listed)
        with shoal.connect_sync(self.gateway_address, key=self.client, timeout=30.0) as client:

            def is_served() -> bool:
                return any(model.state == "ready" for model in client.models())

            self.assertTrue(is_served())
            self.keys.remove("worker")
            until(lambda: not is_served(), 15.0)
            self.keys.write(listed)
            until(is_served, 60.0)


class Processes(unittest.TestCase):
    """`shoal up --processes`"""

    def test_keys_hold_at_the_native_doors_of_processes(self) -> None:
        with Keyring() as keys:
            for role in ("gateway", "scheduler", "worker", "precision"):
                keys.key(role, role)
            client, web = keys.key("search"), keys.written_token("web")
            scale = ("--scale", "worker=1", "--threads", "1")
            with RunningMesh("--processes", *scale, *keys.settings, "--set", "log.level=debug") as mesh:
                with shoal.connect_sync(mesh.address, key=client, timeout=60.0) as mine:
                    np.testing.assert_array_equal(mine.infer("identity", {"x": X}, deadline=60.0)["y"], X)
                with self.assertRaisesRegex(shoal.ShoalError, "does not speak in the clear"):
                    shoal.connect_sync(mesh.address, timeout=10.0)
                self.assertEqual(ask(mesh.http, request("POST", INFER, infer_body(), web)).status, 200)
                self.assertEqual(ask(mesh.http, request("POST", INFER, infer_body())).status, 401)
                (run,) = (each for each in mesh.process.args if each.startswith("mesh.run_directory="))
                folders = {file.parent for file in Path(run.partition("=")[2]).rglob("*") if file.is_socket()}
                self.assertNotEqual(folders, set())
                for folder in folders:
                    self.assertEqual(folder.stat().st_mode & 0o077, 0, f"others may reach the sockets in {folder}")
                keys.remove("web")
                until(lambda: ask(mesh.http, request("GET", "/v2", token=web)).status == 401, 5.0)
                told = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
                self.assertEqual(secrets_in(told, keys.secrets), [])
            self.assertEqual(secrets_in(mesh.log, keys.secrets), [])


class Secrets(unittest.TestCase):
    """Whatever is done with them, no output has them."""

    def test_no_output_has_a_secret(self) -> None:
        with Keyring() as keys:
            keys.key("gateway", "gateway")
            client, admin, worker = keys.key("search"), keys.key("operator", "admin"), keys.key("worker", "worker")
            disguised = keys.changed_key(
                worker, role="client", gateways=[re.search(r"gateways = \['(.*)'\]", client.read_text())[1]]
            )
            tokens = [
                keys.written_token("web"),
                keys.written_token("ops", "admin"),
                keys.written_token("slow", requests_per_second=1),
            ]
            told = []
            wrong = "shoal_" + "W" * 43
            keys.secrets.append(wrong)
            with RunningMesh("--workers", "1", "--threads", "1", *keys.settings, "--set", "log.level=trace") as mesh:
                for token in (*tokens, wrong):
                    for path in (
                        "/v2",
                        "/metrics",
                        f"/{token}",
                        f"/v2/models/{token}/infer?token={token}",
                        "/v2/repository/models/identity/load",
                    ):
                        answer = ask(mesh.http, request("GET", path, token=token))
                        told.append(
                            f"{answer.fields} {answer.body.decode()}".replace(f"model '{token}'", "").replace(
                                token, "", path.count(token)
                            )
                        )
                    with Connection(mesh.http) as connection:
                        told.append(str(connection.ask(b"nonsense " + token.encode() + b"\r\n\r\n")))
                    with grpc.insecure_channel(mesh.grpc) as channel:
                        told.append(str(raw_grpc.call(channel, "ModelInfer", raw_grpc.infer_request(), token)))
                        told.append(str(raw_grpc.call(channel, "RepositoryModelLoad", b"", token)))
                for file in (client, admin, disguised):
                    try:
                        with shoal.connect_sync(mesh.address, key=file, timeout=20.0) as mine:
                            mine.infer("identity", {"x": X}, deadline=20.0)
                            told.append(repr(mine.status()) + repr(mine.counts()))
                    except shoal.ShoalError as refused:
                        told.append(str(refused))
                for file in (client, disguised, keys.allowed):
                    ran = run_shoal("models", "--at", mesh.address, "--key", file, "--timeout", 10)
                    told.append(ran.stdout + ran.stderr)
                keys.write(
                    keys.allowed.read_text() + f"\n[[token]]\nname = 'slip'\nsha256 = '{tokens[0]}'\n"
                )  # in the wrong place
                time.sleep(1.5)
                ask(mesh.http, request("GET", "/v2", token=tokens[0]))
                told.append(ask(mesh.http, request("GET", "/metrics", token=tokens[1])).body.decode())
            self.assertIn("shoal_", told[-1])
            self.assertIn("who may do what stays as it was", mesh.log)
            self.assertEqual(secrets_in(mesh.log, keys.secrets), [])
            for text in told:
                self.assertEqual(secrets_in(text, keys.secrets), [], text[:2000])

    def test_configuration_that_is_printed_names_files_only(self) -> None:
        with Keyring() as keys:
            keys.key("gateway", "gateway")
            keys.written_token("web")
            printed = subprocess.run(
                [str(Path(BIN) / "shoal-gateway"), *keys.settings, "--print-config"],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            ).stdout
            self.assertIn(str(keys.allowed), printed)
            self.assertEqual(secrets_in(printed + run_shoal("config", "show").stdout, keys.secrets), [])


if __name__ == "__main__":
    unittest.main()
