"""A mesh that somebody else runs: found by the name of its Compose project, changed by the engine's verbs alone, and given back
as it was."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .containers import ONE_OFF, PROJECT, SERVICE, Container, Containers, Memory, State
from .docker_api import Api, Gone
from .engine import EngineError
from .faults.processes import ALL

SERVICES = (*ALL, "front")
NEEDED = ("front", "gateway", "scheduler", "worker")  # without one of these nothing is answered
RESTORED_WITHIN = 60.0


class AttachedMesh(Containers):
    by_signal = False

    def serving(self) -> Iterable[str]:
        return SERVICES

    def replicas(self) -> dict[str, int]:
        counts = dict.fromkeys(SERVICES, 0)
        for container in self.containers():
            counts[container.service] += 1
        return {service: count for service, count in counts.items() if count}

    def ills(self) -> list[str]:
        """Why it is not a mesh that is whole and calm; empty: it is."""
        states = self.states()
        there = {container.service for container, _ in states}
        found = [f"there is no {service}" for service in NEEDED if service not in there]
        for container, state in states:
            if not state.is_healthy:
                found.append(f"{container.name} is {state.status if state.status != 'running' else 'not healthy'}")
            elif not state.networks:
                found.append(f"{container.name} is on no network")
        return found

    def host(self, own: dict[str, Any] | None) -> str:
        """Where its doors are: the front's name, if we are on a network with it, else where this host publishes it. Raises
        EngineError."""
        fronts = self.containers("front")
        if not fronts:
            raise EngineError("there is no front")
        front = self.engine.inspect(fronts[0].id)
        if own is not None and own["NetworkSettings"]["Networks"].keys() & front["NetworkSettings"]["Networks"].keys():
            return "front"
        for bound in front["NetworkSettings"]["Ports"].get("8000/tcp") or ():
            if bound["HostPort"] == "8000":
                return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound["HostIp"], bound["HostIp"])
        raise EngineError(f"{fronts[0].name} is on no network of ours, and port 8000 of this host is not its")

    def computes_by_plans(self) -> bool:
        """Or in fp32 alone, so that an answer is the same whenever it is given."""
        variables = [self.engine.inspect(each.id)["Config"]["Env"] for each in self.containers("precision")]
        return not variables or not all("SHOAL_PRECISION_POLICY=fp32" in each for each in variables)

    def memory(self, container: Container, state: State) -> Memory | None:
        """As the engine counts it: its control group is the host's."""
        if state.status != "running":
            return None
        try:
            said = self.engine.stats(container.id)["memory_stats"]
        except EngineError:
            return None  # it has ended meanwhile
        if "usage" not in said:
            return None
        of_it = said.get("stats", {})
        droppable = of_it.get("total_inactive_file", of_it.get("inactive_file", 0))
        return Memory(max(0, said["usage"] - droppable), of_it.get("total_rss", of_it.get("anon", 0)))


def own_container(api: Api) -> dict[str, Any] | None:
    """What the engine says of the container that we are in; None: we are in none of its."""
    mounts = Path("/proc/self/mountinfo")
    named = re.search(r"/containers/([0-9a-f]{64})/", mounts.read_text() if mounts.exists() else "")
    try:
        said = api.inspect(named[1] if named else socket.gethostname())
    except Gone:
        return None
    return said if said["State"]["Running"] else None


def others_at_it(api: Api, project: str, own: dict[str, Any] | None) -> list[str]:
    """Names of containers that do here what we do."""
    running = [each for each in api.containers(f"{PROJECT}={project}", f"{SERVICE}=chaos") if each["State"] == "running"]
    return [each["Names"][0].lstrip("/") for each in running if own is None or each["Id"] != own["Id"]]


class AsItWas:
    """What the containers were before anything was done to them. `restore` makes them so again."""

    def __init__(self, mesh: Containers) -> None:
        self._mesh = mesh
        self._before = mesh.states()

    def restore(self, within: float = RESTORED_WITHIN) -> list[str]:
        """Asks the engine again and again. What it has not done by then, as commands for somebody else to give."""
        end = time.monotonic() + within
        while True:
            left = [words for container, was in self._before for words in self._mend(container, was)]
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.5)

    def _mend(self, container: Container, was: State) -> list[str]:
        """Commands for what was not as it had been; each of them has been tried."""
        try:
            now = self._mesh.state(container)
        except Gone:
            return []  # somebody removed it, which we never do
        except EngineError:
            return [f"docker inspect {container.name}"]
        engine, todo = self._mesh.engine, []
        if now.status == "paused":
            todo.append((f"docker unpause {container.name}", lambda: engine.unpause(container.id)))
        elif now.status != "running":
            todo.append((f"docker start {container.name}", lambda: engine.start(container.id)))
        for name, endpoint in was.networks.items():
            if name not in now.networks:
                connect = lambda name=name, endpoint=endpoint: engine.connect(name, container.id, endpoint)  # noqa: E731
                todo.append((f"docker network connect {name} {container.name}", connect))
        for _, mend in todo:
            try:
                mend()
            except EngineError:
                continue  # it is asked again
        return [words for words, _ in todo]


class Visitor:
    """A key of the mesh's own list, made as its service `keys` makes them, and taken off the list again."""

    NAME = "chaos-visitor"

    def __init__(self, mesh: Containers) -> None:
        self._mesh = mesh
        self._is_listed = False

    def come(self, folder: Path) -> Path:
        """The key file. Raises EngineError with why there can be none."""
        self._run("revoke", self.NAME)  # of one that was ended by force; the usual answer is that there is nobody of the name
        self._is_listed = True
        done = self._run("new", self.NAME, "--role", "client", "--out", "-")
        if done.code != 0:
            raise EngineError(f"no key could be made: {done.err.strip() or done.out.strip()}")
        file = folder / "visitor.key"
        file.touch(0o600)
        file.write_text(done.out)
        return file

    def go(self, tries: int = 4) -> list[str]:
        """What somebody else has to do if it could not be taken off the list."""
        if not self._is_listed:
            return []
        for left in range(tries - 1, -1, -1):
            try:
                done = self._run("revoke", self.NAME)
                if done.code == 0 or "nobody here" in done.err + done.out:
                    return []
            except EngineError:
                pass
            if left:
                time.sleep(1.0)
        return [f"docker compose run --rm keys revoke {self.NAME}"]

    def _run(self, *words: str) -> Any:
        return self._mesh.engine.run(self._settings(words))

    def _settings(self, words: tuple[str, ...]) -> dict[str, Any]:
        engine, project = self._mesh.engine, self._mesh.project
        found = [each for each in engine.containers(f"{PROJECT}={project}", f"{SERVICE}=keys") if each["Labels"].get(ONE_OFF) != "True"]
        if not found:
            raise EngineError("the container of the service keys, which makes them, has been removed")
        maker = engine.inspect(found[0]["Id"])
        list_of_keys = mount_of(maker, "/keys")
        if not list_of_keys["RW"]:
            raise EngineError("the list of keys is kept outside of the mesh (secrets.yaml), which does not write it")
        source = source_of(list_of_keys)
        for gateway in self._mesh.containers("gateway"):
            if source_of(mount_of(engine.inspect(gateway.id), "/keys")) != source:
                raise EngineError("the gateways read a list of keys that the service keys does not write")
        config, host = maker["Config"], maker["HostConfig"]
        return {
            **{name: config[name] for name in ("Entrypoint", "Env", "User")},
            "Image": maker["Image"],
            "Cmd": list(words),
            "Labels": {PROJECT: project, SERVICE: "keys", ONE_OFF: "True"},
            "HostConfig": {
                "Binds": [f"{source}:/keys"],
                "NetworkMode": "none",
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"],
                "LogConfig": {"Type": "json-file"},  # where we read what it writes, and which goes with it
                "Tmpfs": host.get("Tmpfs") or {},
                "Memory": host["Memory"],
            },
        }


def mount_of(said: dict[str, Any], where: str) -> dict[str, Any]:
    for mount in said["Mounts"]:
        if mount["Destination"] == where:
            return mount
    raise EngineError(f"{said['Name'].lstrip('/')} has nothing at {where}")


def source_of(mount: dict[str, Any]) -> str:
    """The name of the volume, or the folder."""
    return mount["Name"] if mount["Type"] == "volume" else mount["Source"]
