"""Several machines on this one: network namespaces on a switch, each with a cable that can be pulled.

    router (10.77.0.1): the switch, the load balancer and the clients
    |- unit1 (10.77.0.11)
    |- unit2 (10.77.0.12)
    ...

Nothing outside the namespaces is touched: the switch is a bridge inside the router's, and no address is routed
anywhere else.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROUTER_ADDRESS = "10.77.0.1"
BRIDGE = "switch"
# An interpreter would take ten times as long to start, and tests that wait ask often.
READ = ("curl", "--silent", "--show-error", "--fail", "--max-time", "5")


@dataclass(frozen=True)
class Machine:
    """One namespace. `cable` is the switch's end of its cable, which lies in the router's namespace."""

    namespace: str
    address: str
    router: str
    cable: str

    def command(self, arguments: Sequence[str | Path]) -> list[str | Path]:
        """Return the command line that runs a program on this machine."""
        return ["ip", "netns", "exec", self.namespace, *arguments]

    def read(self, url: str) -> str:
        """Return what is at an address, asked from this machine. Raises subprocess.CalledProcessError."""
        return subprocess.run(self.command([*READ, url]), check=True, capture_output=True, text=True).stdout

    def pids(self) -> list[int]:
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]

    def kill(self) -> None:
        """End every process on the machine at once, as a loss of power would."""
        for pid in self.pids():
            with suppress(ProcessLookupError):  # it ended with one that was killed before it
                os.kill(pid, signal.SIGKILL)

    def unplug(self) -> None:
        _ip("-n", self.router, "link", "set", self.cable, "down")

    def plug_in(self) -> None:
        _ip("-n", self.router, "link", "set", self.cable, "up")


@dataclass(frozen=True)
class Network:
    router: Machine
    units: tuple[Machine, ...]


def reason_against() -> str:
    """Say why this machine cannot make namespaces with cables between them, or nothing."""
    try:
        with network(0):
            return ""
    except FileNotFoundError:
        return "ip is not installed: apt-get install iproute2"
    except subprocess.CalledProcessError as error:
        return f"no network namespaces can be made here: {error.stderr.strip()}"


@contextmanager
def network(units: int) -> Iterator[Network]:
    """Make the machines, and remove them with everything that runs on them."""
    router = Machine(f"densenet{os.getpid()}", ROUTER_ADDRESS, "", "")
    made = [router]
    try:
        _ip("netns", "add", router.namespace)
        _ip("-n", router.namespace, "link", "set", "lo", "up")
        _ip("-n", router.namespace, "link", "add", BRIDGE, "type", "bridge")
        _ip("-n", router.namespace, "address", "add", f"{ROUTER_ADDRESS}/24", "dev", BRIDGE)
        _ip("-n", router.namespace, "link", "set", BRIDGE, "up")
        made.extend(_unit(router.namespace, i) for i in range(1, units + 1))
        yield Network(router, tuple(made[1:]))
    finally:
        for machine in made:
            if Path("/run/netns", machine.namespace).exists():
                machine.kill()
                _ip("netns", "delete", machine.namespace)


def _unit(router: str, number: int) -> Machine:
    unit = Machine(f"{router}u{number}", f"10.77.0.{10 + number}", router, f"unit{number}")
    _ip("netns", "add", unit.namespace)
    _ip("-n", router, "link", "add", unit.cable, "type", "veth", "peer", "name", "eth0", "netns", unit.namespace)
    _ip("-n", router, "link", "set", unit.cable, "master", BRIDGE, "up")
    _ip("-n", unit.namespace, "address", "add", f"{unit.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip("-n", unit.namespace, "link", "set", link, "up")
    return unit


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
