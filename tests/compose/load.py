"""A load that goes on while a mesh changes: over HTTP and natively, through the front.

Each thread keeps its connection for some requests, then opens another, so that every gateway has its part. Over HTTP a request is
sent again only where any HTTP client does so without asking (RFC 9112, 9.3.1): on a connection that was used before and closes
before the first byte of an answer. Nothing else is repeated.
"""

import http.client
import json
import threading
import time

import shoal

from running_compose import ADDRESS, NATIVE, SENTENCE, the_key


KEPT = 25  # requests of one connection


class Load:
    """Used as a context manager; `lost` names each request without an answer once it has ended."""

    def __init__(self, threads: int = 2, pause: float = 0.02) -> None:
        self.answered = {"http": 0, "native": 0}
        the_key()  # before the threads ask for it, all at once
        self.repeated = 0
        self.lost: list[str] = []
        self._pause = pause
        self._over = threading.Event()
        self._lock = threading.Lock()
        work = [self._over_http] * threads + [self._natively] * threads
        self._threads = [threading.Thread(target=each) for each in work]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _count(self, door: str, problem: str = "") -> None:
        with self._lock:
            if problem:
                self.lost.append(f"{time.strftime('%H:%M:%S')} {door}: {problem}")
            else:
                self.answered[door] += 1

    def _count_repeated(self) -> None:
        with self._lock:
            self.repeated += 1

    def _over_http(self) -> None:
        body = json.dumps({"model": "minilm", "input": SENTENCE})
        connection = http.client.HTTPConnection(ADDRESS, 8000, timeout=15)
        used = 0  # times
        while not self._over.wait(self._pause):
            try:
                connection.request("POST", "/v1/embeddings", body)
                answer = connection.getresponse()
                given = answer.read()
                used += 1
                self._count("http", "" if answer.status == 200 else f"{answer.status} {given[:200]!r}")
                if used < KEPT and not answer.will_close:
                    continue
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as problem:
                if used == 0:
                    self._count("http", f"on a new connection: {problem!r}")
                else:
                    self._count_repeated()
            except (OSError, http.client.HTTPException) as problem:
                self._count("http", repr(problem))
            connection.close()
            used = 0
        connection.close()

    def _natively(self) -> None:
        while not self._over.is_set():
            with shoal.connect_sync(NATIVE, key=the_key()) as mesh:
                for _ in range(KEPT):
                    if self._over.wait(self._pause):
                        break
                    try:
                        mesh.embed("minilm", [SENTENCE])
                        self._count("native")
                    except shoal.ShoalError as problem:
                        self._count("native", repr(problem))
