"""What is measured: a row is a server in one setting, driven through one of its doors."""

from __future__ import annotations

from dataclasses import dataclass

from peer import Addresses


@dataclass(frozen=True)
class Row:
    name: str
    server: str
    setting: str
    door: str = "http"
    json_tensors: bool = False  # over HTTP; else binary

    def at(self, addresses: Addresses) -> str:
        """What `shoal bench --at` takes."""
        host = {"http": addresses.http, "grpc": addresses.grpc, "native": addresses.native}[self.door]
        return f"{'tcp' if self.door == 'native' else self.door}://{host}"


ROWS = [
    Row("triton/defaults", "triton", "defaults"),
    Row("triton/tuned", "triton", "tuned"),
    Row("mlserver/defaults", "mlserver", "defaults", json_tensors=True),
    Row("mlserver/tuned", "mlserver", "tuned", json_tensors=True),
    Row("ray/defaults", "ray", "defaults"),
    Row("ray/tuned", "ray", "tuned"),
    Row("shoal/defaults", "shoal", "defaults"),
    Row("shoal/tuned", "shoal", "tuned"),
    Row("shoal/native", "shoal", "tuned", door="native"),
]
BY_REQUEST = [  # measured only if --only names them
    Row("triton/int8", "triton", "int8"),
    Row("shoal/int8", "shoal", "int8"),
    Row("triton/grpc", "triton", "tuned", door="grpc"),
    Row("mlserver/grpc", "mlserver", "tuned", door="grpc"),
    Row("shoal/grpc", "shoal", "tuned", door="grpc"),
]
IDENTITY = {"triton/defaults", "triton/tuned", "shoal/tuned", "shoal/native"}


def choose(only: str | None) -> list[Row]:
    """`only`: servers or rows, with commas between. Raises ValueError for one that there is not."""
    if only is None:
        return ROWS
    wanted = only.split(",")
    known = {row.name for row in ROWS + BY_REQUEST} | {row.server for row in ROWS}
    if unknown := set(wanted) - known:
        raise ValueError(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return [r for r in ROWS if r.server in wanted or r.name in wanted] + [r for r in BY_REQUEST if r.name in wanted]
