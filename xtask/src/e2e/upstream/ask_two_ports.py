"""Asks at two ports by UDP until each is answered: one peer at each and one at both. Prints who asked where, and from
which port the answer came.

usage: ask-two-ports.py ADDRESS PORT PORT
"""

import select
import socket
import sys
import time

address, first, second = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
peers = {name: socket.socket(family, socket.SOCK_DGRAM) for name in ("first", "second", "both")}
waiting = {("first", first), ("second", second), ("both", first), ("both", second)}
told = []
deadline = time.monotonic() + 8
while waiting and time.monotonic() < deadline:
    for name, port in waiting:
        peers[name].sendto(f"{name} at {port}".encode(), (address, port))
    until = time.monotonic() + 0.2
    while waiting and (left := until - time.monotonic()) > 0:
        for peer in select.select(peers.values(), [], [], left)[0]:
            answer, (_, port, *_) = peer.recvfrom(100)
            name, _, asked = answer.decode().split()
            if (name, int(asked)) in waiting:
                waiting.remove((name, int(asked)))
                told.append(f"{answer.decode()} from {port}")
print("\n".join(sorted(told)), flush=True)
