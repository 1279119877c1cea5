"""compose/secrets.yaml from one end to the other: the commands that it names are run, the mesh is started with both files, and
each door lets in who has what it asks for, and nobody else."""

import contextlib
import functools
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest
from pathlib import Path

import grpc
import numpy as np
import shoal
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from images import ROOT, compose_command
from running_compose import SENTENCE, docker, image, wait_for

PROJECT = "shoalsecrets"
ADDRESS = "127.0.0.4"
NATIVE = f"tcp://{ADDRESS}:8002"
SERVICES = ("gateway", "scheduler", "worker", "cache", "precision", "front", "keys", "first-model")
REVOKED_WITHIN = 5.0  # seconds


class Secured:
    """The mesh, with keys and a certificate of its own in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = ""
        self.key = folder / "me.key"

    def make_keys(self) -> None:
        folder = self.folder
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=shoal", "-addext", f"subjectAltName=IP:{ADDRESS}", "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        self.token = self.shell(documented_commands()).split()[-1]  # said last
        assert self.token.startswith("shoal_"), "the last command makes a token"
        self.key.touch(0o600)
        self.key.write_text(self.shell("shoal keys new me --keys keys/public --out -"))

    def start(self) -> None:
        self.compose("up", "--detach", "--no-build")

    def shell(self, commands: str) -> str:
        """In the image that has `shoal`, in this folder; as root, since files are given to another user."""
        return docker("run", "--rm", "--user=0", "--network=none", "-v", f"{self.folder}:/mine", "-w", "/mine",
                      "--entrypoint=/bin/sh", image("shoal"), "-euc", commands)  # fmt: skip

    def compose(self, *arguments: str) -> str:
        files = ["-f", ROOT / "compose/compose.yaml", "-f", ROOT / "compose/secrets.yaml"]
        environment = {**os.environ, "SHOAL_PUBLISH": ADDRESS, "SHOAL_WEIGHTS": "512m", "SHOAL_KEYS": str(self.folder / "keys")}
        environment.pop("SHOAL_ANONYMOUS", None)
        command = [*compose_command(), *files, "--project-name", PROJECT, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"compose {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def secrets(self) -> dict[str, str]:
        """Everything that nobody may read anywhere."""
        found = {"the token": self.token}
        text = self.shell("for file in keys/secret/*.key; do echo \"== $file\"; cat $file; done; echo '== me.key'; cat me.key")
        for file, content in re.findall(r"== (\S+)\n(.*?)(?=\n== |\Z)", text, re.DOTALL):
            if file.endswith("certificate.key"):
                found[file] = content.splitlines()[1]
            else:
                found[file] = tomllib.loads(content)["secret"]
        return found

    def containers(self) -> list[dict]:
        ids = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
        return json.loads(docker("inspect", *ids))

    def end(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")
        self.shell("rm -rf keys")  # some of it is another user's


def documented_commands() -> str:
    """Those at the head of secrets.yaml, until the mesh is started."""
    head = (ROOT / "compose/secrets.yaml").read_text().split("docker compose")[0]
    return "\n".join(line[6:] for line in head.splitlines() if line.startswith("#     "))


mesh: Secured


def setUpModule() -> None:
    global mesh
    mesh = Secured(Path(unittest.enterModuleContext(tempfile.TemporaryDirectory())))
    unittest.addModuleCleanup(mesh.end)
    mesh.make_keys()
    begin = time.monotonic()
    mesh.start()

    def answers() -> bool:
        """Each door, since the front comes to know of each by itself."""
        try:
            return ask(mesh.token)[0] == 200 and len(ask_over_grpc(mesh.token, **tls())) == 1 and len(embed_natively(mesh.key)) == 1
        except (OSError, http.client.HTTPException, InferenceServerException, shoal.Unavailable):
            return False

    wait_for("the first answers", 60, answers)
    print(f"first answers {time.monotonic() - begin:.1f} s after `up`, with keys and a certificate of ours", file=sys.stderr)


@functools.cache
def trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=mesh.folder / "fullchain.pem")


def tls() -> dict[str, object]:
    """Of a gRPC client."""
    return {"ssl": True, "root_certificates": str(mesh.folder / "fullchain.pem")}


def ask(token: str | None) -> tuple[int, dict]:
    """An embedding over HTTPS, through the front."""
    connection = http.client.HTTPSConnection(ADDRESS, 8000, timeout=10, context=trust())
    with contextlib.closing(connection):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request("POST", "/v1/embeddings", json.dumps({"model": "minilm", "input": SENTENCE}), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def ask_over_grpc(token: str | None, **how: object) -> np.ndarray:
    ids = triton.InferInput("input_ids", [1, 3], "INT64").set_data_from_numpy(np.array([[101, 2158, 102]]))
    mask = triton.InferInput("attention_mask", [1, 3], "INT64").set_data_from_numpy(np.ones((1, 3), np.int64))
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with triton.InferenceServerClient(f"{ADDRESS}:8001", **how) as client:
        return client.infer("minilm", [ids, mask], headers=headers, client_timeout=10).as_numpy("sentence_embedding")


def embed_natively(key: Path | None) -> np.ndarray:
    with shoal.connect_sync(NATIVE, key=key, timeout=3) as connected:
        return connected.embed("minilm", [SENTENCE]).vectors


class Doors(unittest.TestCase):
    def test_https_with_the_token(self) -> None:
        status, answer = ask(mesh.token)
        self.assertEqual((status, len(answer["data"][0]["embedding"])), (200, 384))

    def test_https_without_a_token_and_with_another(self) -> None:
        for token in (None, "shoal_" + "A" * 43, mesh.token[:-1], ""):
            with self.subTest(token and "wrong"):
                status, answer = ask(token)
                self.assertEqual(status, 401)
                self.assertNotIn("data", answer)

    def test_http_in_the_clear_is_refused(self) -> None:
        connection = http.client.HTTPConnection(ADDRESS, 8000, timeout=10)
        with contextlib.closing(connection), self.assertRaises((http.client.HTTPException, ConnectionError)):
            connection.request("POST", "/v1/embeddings", json.dumps({"model": "minilm", "input": SENTENCE}), {"Authorization": f"Bearer {mesh.token}"})
            connection.getresponse()

    def test_who_does_not_trust_the_certificate_sees_one_that_is_not_signed(self) -> None:
        connection = http.client.HTTPSConnection(ADDRESS, 8000, timeout=10, context=ssl.create_default_context())
        with contextlib.closing(connection), self.assertRaises(ssl.SSLCertVerificationError):
            connection.connect()

    def test_grpc(self) -> None:
        self.assertEqual(ask_over_grpc(mesh.token, **tls()).shape, (1, 384))
        for token in (None, "shoal_" + "A" * 43):
            with self.subTest(token), self.assertRaises(InferenceServerException) as caught:
                ask_over_grpc(token, **tls())
            self.assertEqual(caught.exception.status(), str(grpc.StatusCode.UNAUTHENTICATED))

    def test_grpc_in_the_clear_is_refused(self) -> None:
        with self.assertRaises(InferenceServerException) as caught:
            ask_over_grpc(mesh.token)
        self.assertEqual(caught.exception.status(), str(grpc.StatusCode.UNAVAILABLE))

    def test_the_native_door(self) -> None:
        self.assertEqual(embed_natively(mesh.key).shape, (1, 384))
        with self.assertRaises(shoal.ShoalError):
            embed_natively(None)

    def test_the_native_door_and_a_key_that_is_not_on_the_list(self) -> None:
        """It knows the gateway, and has another secret."""
        stranger = tomllib.loads(self.another_key())
        known = tomllib.loads(mesh.key.read_text())
        self.assertEqual(set(stranger), set(known))
        mixed = known | {name: stranger[name] for name in ("secret", "public")}
        file = mesh.folder / "stranger.key"
        file.touch(0o600)
        file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in mixed.items()))
        with self.assertRaises(shoal.ShoalError):
            embed_natively(file)

    def another_key(self) -> str:
        return mesh.shell("cp -r keys/public /tmp/elsewhere; shoal keys new stranger --keys /tmp/elsewhere --out -")


class Revoked(unittest.TestCase):
    def test_a_token_and_a_key_are_refused_within_five_seconds(self) -> None:
        token = mesh.shell("shoal keys new guest --token --keys keys/public").strip()
        key = mesh.folder / "guest.key"
        key.touch(0o600)
        key.write_text(mesh.shell("shoal keys new native_guest --keys keys/public --out -"))
        wait_for("a token that is new", 10, lambda: ask(token)[0] == 200)
        self.assertEqual(embed_natively(key).shape, (1, 384))
        mesh.shell("shoal keys revoke guest --keys keys/public; shoal keys revoke native_guest --keys keys/public")
        begin = time.monotonic()
        wait_for("a token that is revoked", REVOKED_WITHIN, lambda: ask(token)[0] == 401)
        print(f"a revoked token is refused after {time.monotonic() - begin:.1f} s", file=sys.stderr)
        time.sleep(max(0.0, begin + REVOKED_WITHIN - time.monotonic()))
        with self.assertRaises(shoal.ShoalError):
            embed_natively(key)
        self.assertEqual(ask(mesh.token)[0], 200)  # nobody else is


class Secrets(unittest.TestCase):
    def test_no_secret_is_in_a_log_or_in_what_the_engine_says_of_a_container(self) -> None:
        secrets = mesh.secrets()
        self.assertEqual(len(secrets), 8)
        containers = mesh.containers()
        self.assertEqual({each["Config"]["Labels"]["com.docker.compose.service"] for each in containers}, set(SERVICES))
        said = 0
        for container in containers:
            logs = subprocess.run(["docker", "logs", container["Id"]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout
            said += len(logs)
            for whose, secret in secrets.items():
                for where, text in (("log", logs), ("inspect", json.dumps(container))):
                    self.assertFalse(secret[: len(secret) // 2] in text or secret[len(secret) // 2 :] in text, f"{whose} in the {where} of {container['Name']}")
        self.assertGreater(said, 1000)

    def test_each_service_sees_its_own_key_alone(self) -> None:
        for container in mesh.containers():
            service = container["Config"]["Labels"]["com.docker.compose.service"]
            seen = {Path(mount["Destination"]).name for mount in container["Mounts"] if mount["Destination"].startswith("/run/secrets/")}
            own = {f"{service}-key"} if service in ("gateway", "scheduler", "worker", "cache", "precision") else set()
            self.assertEqual(seen, own | ({"certificate", "certificate-key"} if service == "gateway" else set()), service)

    def test_the_list_can_be_read_by_compose(self) -> None:
        told = mesh.compose("run", "--rm", "-T", "keys", "list")
        self.assertRegex(told, r"(?m)^.*\bsite\b.*$")


if __name__ == "__main__":
    unittest.main()
