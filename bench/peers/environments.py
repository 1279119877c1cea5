"""Makes the peers' Python environments, build/peers/<peer>, from requirements/<peer>.txt; does nothing for one that is
up to date.

A requirements file lists everything with exact versions and is installed without dependencies. PyTorch is not in it: a
.pth file puts the packages of build/venv (make setup) behind the peer's own, so every peer runs the very same PyTorch
while its own numpy, protobuf and so on come first.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = "/usr/bin/python3"  # Debian's, as for build/venv
PEERS = sorted(path.stem for path in (HERE / "requirements").glob("*.txt"))


def shared_packages() -> Path:
    found = sorted((ROOT / "build/venv/lib").glob("python3.*/site-packages"))
    if not found:
        raise SystemExit("environments: build/venv is missing; make setup")
    return found[0].resolve()


def make(peer: str) -> Path:
    folder, requirements = ROOT / "build/peers" / peer, HERE / "requirements" / f"{peer}.txt"
    stamp = folder / ".made_from"
    shared = shared_packages()
    wanted = hashlib.sha256(requirements.read_bytes() + str(shared).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([PYTHON, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "--no-deps", "-r", requirements], check=True)
        (folder / "lib" / shared.parent.name / "site-packages/project.pth").write_text(f"{shared}\n")
        stamp.write_text(wanted)
    return folder


def megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", help=f"some of {', '.join(PEERS)}; all unless named")
    peers = parser.parse_args().peers or PEERS
    if unknown := set(peers) - set(PEERS):
        sys.exit(f"environments: no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    for peer in peers:
        print(f"{peer}: {megabytes(make(peer)):.0f} MB in build/peers/{peer}", flush=True)


if __name__ == "__main__":
    main()
