"""A test for each of the holes that were found in other inference servers: bodies in chunks."""

import unittest
from concurrent.futures import ThreadPoolExecutor

import hole
from hole import Hole
from raw_http import INFER, Connection, all_answers, ask, infer_body, request
from running_mesh import FIXTURES


def setUpModule() -> None:
    hole.serve(lambda _: [FIXTURES / "models" / "identity"])


class ChunkedBodies(Hole):
    """CVE-2025-23310: of a body in very many small chunks each took a place on the stack; besides: what proxies and
    servers that read a length differently make of one another's requests (request smuggling)."""

    def chunked(self, *chunks: bytes, more: bytes = b"", **fields: object) -> bytes:
        head = request("GET", INFER, Transfer_Encoding="chunked", **fields).replace(b"GET", b"POST", 1)
        return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + more + b"\r\n"

    def test_very_many_tiny_chunks(self) -> None:
        body = infer_body()
        padded = body[:-1] + b" " * 200_000 + body[-1:]
        asked = self.chunked(*(padded[i : i + 1] for i in range(len(padded))))
        self.assertEqual(ask(hole.mesh.http, asked).status, 200)
        body = infer_body(60000)
        self.assertEqual(
            ask(hole.mesh.http, self.chunked(*(body[i : i + 64] for i in range(0, len(body), 64)))).status, 200
        )

    def test_sizes_of_chunks(self) -> None:
        self.assertEqual(ask(hole.mesh.http, self.chunked(infer_body())).status, 200)
        head = self.chunked().removesuffix(b"0\r\n\r\n")
        for size in (
            b"FFFFFFFFFFFFFFFF",
            b"7FFFFFFFFFFFFFFF",
            b"8000000000000000",
            b"10000000000000005",
            b"1" + b"0" * 40,
            b"-1",
            b"+5",
            b"0x5",
            b"",
            b"g",
            b"5 5",
            b"\x00",
            b"5\x00",
            b"F" * 100_000,
            b"4000001",
        ):
            with self.subTest(size[:40]):
                answers = all_answers(hole.mesh.http, head + size + b"\r\nhello\r\n0\r\n\r\n")
                self.assertLessEqual(len(answers), 1)
                for answer in answers:
                    self.assertIn(answer.status, (400, 413, 431))

    def test_extensions_and_trailers_have_an_end(self) -> None:
        head = self.chunked().removesuffix(b"0\r\n\r\n")
        body = infer_body()
        right = head + b"%x;name=value\r\n%s\r\n0\r\n" % (len(body), body)
        self.assertEqual(ask(hole.mesh.http, right + b"Trailer: yes\r\n\r\n").status, 200)
        endless = (
            head + b"5;" + b"a" * (4 << 20) + b"\r\nhello\r\n0\r\n\r\n",
            right + b"Trailer: " + b"a" * (4 << 20) + b"\r\n\r\n",
            right + b"A: b\r\n" * 500_000 + b"\r\n",
        )
        for each in endless:
            answers = all_answers(hole.mesh.http, each)
            self.assertLessEqual(len(answers), 1)
            for answer in answers:
                self.assertIn(answer.status, (400, 413, 431))

    def test_the_sum_of_chunks_has_an_end(self) -> None:
        sent = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
        with Connection(hole.mesh.http) as connection:
            connection.send(self.chunked().removesuffix(b"0\r\n\r\n"))
            try:
                for _ in range(80):
                    connection.send(sent)
            except ConnectionError:
                pass
            try:
                self.assertEqual(connection.answer().status, 413)
            except EOFError:
                pass  # what was sent after it took the answer away

    def test_a_request_within_a_request_is_never_answered(self) -> None:
        """Whatever a proxy in front may take for the end of it."""
        hidden = b"GET /v2/models/smuggled HTTP/1.1\r\nHost: mesh\r\nConnection: close\r\n\r\n"

        def head(*fields: bytes, version: bytes = b"1.1") -> bytes:
            return b"\r\n".join([b"POST %s HTTP/%s" % (INFER.encode(), version), b"Host: mesh", *fields]) + b"\r\n\r\n"

        chunk = b"0\r\n\r\n"
        te = b"Transfer-Encoding: chunked"
        tricks = [
            head(b"Content-Length: 5", te) + chunk,
            head(te, b"Content-Length: 5") + chunk,
            head(te, b"Content-Length: %d" % (len(chunk) + len(hidden))) + chunk,
            head(b"Content-Length: 5", b"Content-Length: %d" % len(hidden)) + chunk,
            head(b"Content-Length: 5, %d" % len(hidden)) + chunk,
            head(b"Content-Length: 0", b"Transfer-Encoding: identity"),
            *(
                head(b"Content-Length: %d" % (len(chunk) + len(hidden)), field) + chunk
                for field in (
                    b"Transfer-Encoding : chunked",
                    b"Transfer-Encoding: xchunked",
                    b"Transfer-Encoding:\tchunked",
                    b" Transfer-Encoding: chunked",
                    b"Transfer-Encoding:\x0bchunked",
                    b"X: y\nTransfer-Encoding: chunked",
                    b"Transfer-Encoding\r\n : chunked",
                    b"Transfer-Encoding: chunked, chunked",
                    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
                    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
                    b"Transfer-Encoding: gzip, chunked",
                    b'Transfer-Encoding: "chunked"',
                )
            ),
            head(te, version=b"1.0") + chunk,
            head(te) + b"0\n\r\n",
            head(te) + b"5\nhello\n0\n\n",
            head(te) + b"0\r\nX: y\n\r\n",
            head(te) + b"5\r\nhelloXX0\r\n\r\n",
            b"GET /v2 HTTP/1.1\r\nHost: mesh\r\nContent-Length: %d\r\n\r\n" % len(hidden),
            b"GET /v2 HTTP/1.1\nHost: mesh\n\n",
            b"GET /v2 HTTP/1.1\r\nHost: mesh\r\nX: a\rGET /v2/models/smuggled HTTP/1.1\r\n\r\n",
        ]
        with ThreadPoolExecutor(len(tricks)) as pool:
            answered = pool.map(lambda trick: all_answers(hole.mesh.http, trick + hidden, silence=15.0), tricks)
        for trick, answers in zip(tricks, answered, strict=True):
            with self.subTest(trick[:160]):
                for answer in answers:
                    self.assertNotIn(b"smuggled", answer.body)

    def test_a_pipelined_request_is_answered(self) -> None:
        """What the one above would see if it were fooled."""
        hidden = b"GET /v2/models/smuggled HTTP/1.1\r\nHost: mesh\r\nConnection: close\r\n\r\n"
        first = self.chunked(infer_body()).replace(b"Connection: close\r\n", b"")
        answers = all_answers(hole.mesh.http, first + hidden)
        self.assertEqual([answer.status for answer in answers], [200, 404])
        self.assertIn(b"smuggled", answers[1].body)


if __name__ == "__main__":
    unittest.main()
