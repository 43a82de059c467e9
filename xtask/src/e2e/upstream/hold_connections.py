"""Holds more connections to a port than whoever listens has descriptors for, lets them go, and asks once more.

usage: hold-connections.py ADDRESS PORT COUNT
"""

import socket
import sys
import time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def ask():
    with socket.create_connection((address, port), 5) as peer:
        peer.sendall(b"ask\n")
        return peer.recv(100).decode()


def answered():
    for _ in range(100):
        try:
            answer = ask()
            if answer:
                return answer
        except OSError:
            pass
        time.sleep(0.1)
    return "nothing"


print("before:", answered(), flush=True)
held = [socket.create_connection((address, port), 5) for _ in range(count)]
time.sleep(1)
for peer in held:
    peer.close()
print("after:", answered(), flush=True)
