"""Importing this file makes the running Python refuse every connection beyond the loopback.

`tests/conftest.py` imports it for the tests. For the processes that tests start it puts this folder on
PYTHONPATH, where Python finds `sitecustomize.py` and runs it before anything else. An audit hook sees each
connection of Python's own sockets, whatever library asks for it, and cannot be removed.
"""

import errno
import ipaddress
import sys

WATCHED = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}


def is_loopback(host: object) -> bool:
    """True for localhost, 127.0.0.0/8, ::1, and for "no host" (which means this machine)."""
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(
            host.decode() if isinstance(host, bytes) else str(host).split("%")[0]
        ).is_loopback
    except ValueError:
        return False  # a name that would have to be looked up


def refuse_connections(event: str, arguments: tuple) -> None:
    """Raise OSError for a connection or a look-up beyond the loopback."""
    if event not in WATCHED:
        return
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        address = arguments[1]
        if not isinstance(address, tuple):  # a Unix socket, or a datagram on a connected socket
            return
        host = address[0]
    if not is_loopback(host):
        raise OSError(errno.ENETUNREACH, f"the tests are offline: {event} to {host!r} was refused")


sys.addaudithook(refuse_connections)
