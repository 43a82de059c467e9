"""Sends a word and so many bytes behind it by UDP until it is answered, and prints how the answer begins.

usage: ask-datagram.py ADDRESS PORT WORD BYTES
"""

import socket
import sys
import time

address, port, word, count = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as peer:
    peer.settimeout(0.2)
    peer.connect((address, int(port)))
    for _ in range(40):
        try:
            peer.send(word.encode() + b"a" * int(count))
            print(peer.recv(70_000)[:14].decode(), flush=True)
            break
        except OSError:
            # Nobody may be there yet, which is said at once.
            time.sleep(0.1)
