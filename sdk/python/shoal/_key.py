"""The key file of a client, as `shoal keys new` writes it (actors/access/key_file.hpp)."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field

from .errors import InvalidArgument, NotFound

_Z85 = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A CURVE key pair, and the public keys of the gateways that its holder believes: 40 characters of Z85 each."""

    public: bytes
    secret: bytes = field(repr=False)
    gateways: tuple[bytes, ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ClientKey:
        """Raises NotFound, or InvalidArgument, which says nothing of what is in the file."""
        try:
            with open(path, "rb") as file:
                content = tomllib.load(file)
        except OSError as missing:
            raise NotFound(f"the key file {os.fspath(path)} cannot be read: {missing.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise InvalidArgument(f"{os.fspath(path)} is no key file: make one with `shoal keys new`") from None
        if content.get("role") not in ("client", "admin"):
            raise InvalidArgument(f"the key in {os.fspath(path)} is not a client's: make one with `shoal keys new`")
        gateways = content.get("gateways")
        if not isinstance(gateways, list) or not gateways:
            raise InvalidArgument(f"the key file {os.fspath(path)} names no gateway to believe: make it anew")
        keys = [content.get("public"), content.get("secret"), *gateways]
        if not all(isinstance(key, str) and len(key) == 40 and _Z85.issuperset(key) for key in keys):
            raise InvalidArgument(f"{os.fspath(path)} is no key file: make one with `shoal keys new`")
        public, secret, *believed = (str(key).encode() for key in keys)
        return cls(public, secret, tuple(believed))
