"""Serves MiniLM and the identity with a peer until told to stop (SIGTERM, SIGINT, or standard input closes).

    build/venv/bin/python bench/peers/serve.py triton tuned

prints `READY http=HOST:PORT grpc=HOST:PORT|- start_s=... pss_mb=...` after the first correct answer of each model.
--check compares what the peer answers with eager PyTorch instead, over every protocol it speaks, and exits.
"""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from served_models import INPUTS, SETTINGS
from peer import PROTOCOLS, Peer


def stop(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=list(PROTOCOLS))
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--models", nargs="+", choices=list(INPUTS), default=list(INPUTS), help="all unless named")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    try:
        with Peer(arguments.peer, arguments.setting, arguments.models) as peer:
            print(
                f"READY http={peer.addresses.http} grpc={peer.addresses.grpc or '-'} "
                f"start_s={peer.start_s:.1f} pss_mb={peer.memory():.0f}",
                flush=True,
            )
            if arguments.check:
                from checks import check

                return 0 if check(peer) else 1
            sys.stdin.read()
    except KeyboardInterrupt:
        pass
    except RuntimeError as error:
        sys.exit(f"serve: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
