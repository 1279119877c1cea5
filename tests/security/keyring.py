"""A folder of keys and tokens as `shoal keys` makes it, and what goes wrong with keys on purpose."""

import hashlib
import json
import os
import re
import secrets
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from running_mesh import BIN


def run_shoal(*arguments: object, timeout: float = 120.0, **options) -> subprocess.CompletedProcess:
    """`shoal ARGUMENTS` to its end, whatever that is."""
    command = [str(Path(BIN or "") / "shoal"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)


class Keyring:
    """Attributes: `folder`, `allowed` (the access list), `secrets` (all that must never be seen anywhere else)."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name) / "keys"
        self.allowed = self.folder / "allowed.toml"
        self.secrets: list[str] = []

    def __enter__(self) -> "Keyring":
        return self

    def __exit__(self, *_) -> None:
        self._temporary.cleanup()

    def run(self, verb: str, *arguments: object) -> subprocess.CompletedProcess:
        """Of `shoal keys`."""
        return run_shoal("keys", verb, *arguments, "--keys", self.folder)

    def _done(self, verb: str, *arguments: object) -> dict:
        ran = self.run(verb, *arguments, "--json")
        if ran.returncode != 0:
            raise AssertionError(f"shoal keys {verb} {arguments}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return json.loads(ran.stdout)

    def key(self, name: str, role: str = "client") -> Path:
        """The file of a new key."""
        file = Path(self._done("new", name, "--role", role)["file"])
        self.secrets.append(tomllib.loads(file.read_text())["secret"])
        return file

    def token(self, name: str, role: str = "client", *limits: object) -> str:
        token = self._done("new", name, "--role", role, "--token", *limits)["token"]
        self.secrets.append(token)
        return token

    def revoke(self, name: str) -> None:
        self._done("revoke", name)

    def written_token(self, name: str, role: str = "client", **limits: float) -> str:
        """As `token` does, without the command, which takes a while to start."""
        token = "shoal_" + secrets.token_urlsafe(32)
        self.secrets.append(token)
        entry = {"name": name, "role": role, "sha256": hashlib.sha256(token.encode()).hexdigest()} | limits
        lines = [
            f"{key} = {value if isinstance(value, (int, float)) else _toml(value)}" for key, value in entry.items()
        ]
        self.write("\n".join([self.allowed.read_text(), "[[token]]", *lines, ""]))
        return token

    def remove(self, name: str) -> None:
        """As `revoke` does, without the command."""
        text = self.allowed.read_text()
        self.write(text.replace(entry_of(text, name), ""))

    def write(self, text: str) -> None:
        """Another access list, at once."""
        fresh = self.folder / "written.toml"
        fresh.write_text(text)
        fresh.rename(self.allowed)

    def changed_key(self, file: Path, **values: object) -> Path:
        """A copy of a key file with other values."""
        content = tomllib.loads(file.read_text()) | values
        with tempfile.NamedTemporaryFile("w", dir=self._temporary.name, suffix=".key", delete=False) as copy:
            for name, value in content.items():
                copy.write(f"{name} = {_toml(value)}\n")
        return Path(copy.name)

    @property
    def settings(self) -> tuple[str, ...]:
        """For `shoal up` and the services, each with the key that is called like its role."""
        key = self.folder / "{role}.key"
        return "--set", f"access.key={key}", "--set", f"access.allowed={self.allowed}"


def _toml(value: object) -> str:
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else f"'{value}'"


def certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    chain, key = folder / "server.pem", folder / "server.key.pem"
    made_chain, made_key = folder / "made.pem", folder / "made.key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += [
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        "-addext",
        f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1",
    ]
    command += ["-keyout", str(made_key), "-out", str(made_chain)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    os.replace(made_key, key)
    os.replace(made_chain, chain)
    return chain, key


def secrets_in(text: str, secrets: Iterable[str]) -> list[str]:
    """Those whose half alone is to be found in `text`, too."""
    return [secret for secret in secrets if secret in text or secret[: len(secret) // 2] in text]


def entry_of(allowed: str, name: str) -> str:
    """The text of one entry of an access list."""
    for entry in re.split(r"\n(?=\[\[)", allowed):
        if re.search(rf"(?m)^name = ['\"]{re.escape(name)}['\"]$", entry):
            return entry
    raise AssertionError(f"{name} is not in the list")
