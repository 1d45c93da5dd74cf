"""Free TCP ports on the loopback interface.

Chosen below the range from which systems hand out ports to outgoing connections (Linux 32768 and up, macOS 49152 and up): a server that
was killed finds its port free when it starts again.
"""

import random
import socket
from collections.abc import Iterable

LOWEST_PORT = 20_000
HIGHEST_PORT = 32_000


def is_free(port: int) -> bool:
    """Whether a server can listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(names: Iterable[str], remembered: dict[str, int]) -> dict[str, int]:
    """One free port per name: the one remembered from the last start if it is still free, else a new one at random."""
    chosen: dict[str, int] = {}
    for name in names:
        port = remembered.get(name, 0)
        while not port or port in chosen.values() or not is_free(port):
            port = random.randint(LOWEST_PORT, HIGHEST_PORT)  # noqa: S311 - a port is no secret
        chosen[name] = port
    return chosen
