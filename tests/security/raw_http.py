"""HTTP byte by byte, as no library would send it."""

import json
import socket
import ssl
import time
from dataclasses import dataclass, field


@dataclass
class Answer:
    status: int
    fields: dict[str, str] = field(default_factory=dict)  # names in small letters
    body: bytes = b""

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


def request(
    method: str, path: str, body: bytes = b"", token: str | None = None, close: bool = True, **fields: object
) -> bytes:
    """`fields`: further ones, with _ for -."""
    lines = [f"{method} {path} HTTP/1.1", "Host: mesh"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Connection:
    """One to HOST:PORT, perhaps by TLS. Reads answers in order; a context manager."""

    def __init__(self, address: str, tls: ssl.SSLContext | None = None, timeout: float = 60.0) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self._input = b""
        if tls is not None:
            try:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            except BaseException:
                self.socket.close()
                raise

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, data: bytes, method: str = "GET") -> Answer:
        self.send(data)
        return self.answer(method)

    def _read(self) -> bool:
        """False: there is no more."""
        try:
            piece = self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return False
        self._input += piece
        return bool(piece)

    def answer(self, method: str = "GET") -> Answer:
        """The next final answer. Raises EOFError if the connection ends before its end."""
        while True:
            while b"\r\n\r\n" not in self._input:
                if not self._read():
                    raise EOFError(f"the connection ended after {self._input[:200]!r}")
            head, _, rest = self._input.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            version, status, *_ = first.split(" ")
            if not version.startswith("HTTP/1."):
                raise ValueError(f"no HTTP: {first!r}")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = 0 if method == "HEAD" or status == "100" else int(fields.get("content-length", 0))
            while len(rest) < length:
                self._input = b""
                if not self._read():
                    raise EOFError("the connection ended within a body")
                rest += self._input
            self._input = rest[length:]
            if status != "100":
                return Answer(int(status), fields, rest[:length])

    def is_ended(self, within: float = 30.0) -> bool:
        """Whether the server closes without another byte."""
        self.socket.settimeout(within)
        try:
            return not self._input and self.socket.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True
        except TimeoutError:
            return False


def ask(address: str, data: bytes, method: str = "GET", tls: ssl.SSLContext | None = None) -> Answer:
    """The answer to one request on a connection of its own."""
    with Connection(address, tls) as connection:
        return connection.ask(data, method)


def all_answers(address: str, data: bytes, silence: float = 90.0) -> list[Answer]:
    """Whatever is answered until the server closes the connection, or has said nothing for so long (seconds)."""
    found = []
    with Connection(address, timeout=silence) as connection:
        try:
            connection.send(data)
        except ConnectionError:
            pass  # it did not wait for the end
        while True:
            try:
                found.append(connection.answer())
            except (EOFError, TimeoutError):
                return found


def infer_body(size: int = 3) -> bytes:
    """One row for the identity model, as JSON: 0, 1, 2..."""
    data = [float(i) for i in range(size)]
    return json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, size], "data": data}]}).encode()


INFER = "/v2/models/identity/infer"


def until(condition, within: float, every: float = 0.05) -> float:
    """Seconds until `condition` held; raises AssertionError if it did not."""
    began = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - began
        if time.monotonic() - began > within:
            raise AssertionError(f"not within {within} s")
        time.sleep(every)
