"""Free ports on loopback."""

import errno
import random
import socket

# Below the range from which kernels take the local ports of outgoing connections (32768 on Linux, 49152 on
# macOS): a port that is free now is not lost to some client's connection before its service binds it.
LOWEST, HIGHEST = 20_000, 32_000


def free_ports(count: int) -> list[int]:
    """`count` different ports that nothing on this machine listens on, on any address."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    return found


def is_free(port: int) -> bool:
    """Whether every address of this machine can be bound at `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
