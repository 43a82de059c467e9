"""UDP services with one habit each.

usage: datagrams.py LOG ADDRESS...

7000 echoes        7006 answers with the port it was asked from
7007 answers with as many datagrams as are asked for, all at once

Each address has sockets of its own, so that answers come from where they were asked. A TCP port 7006
says that they are there.
"""

import hashlib
import socket
import sys
import threading


def echo(data, source):
    return data


def port(data, source):
    return str(source[1]).encode()


def many(data, source):
    """As many datagrams as are asked for, and one of a byte; their number is what they are made of."""
    size, count = (int(word) for word in data.split())
    return b"".join(bytes([index % 251]) * size for index in range(count)) + b"\xff", size


SERVICES = {7000: echo, 7006: port, 7007: many}


def serve(sock, service):
    own = sock.getsockname()[1]
    while True:
        try:
            data, source = sock.recvfrom(1 << 16)
            text = data[:200].decode(errors="replace")
            LOG.write(f"udp {own} {len(data)} {hashlib.sha256(data).hexdigest()} {text}\n".encode())
            answer = service(data, source)
            if service is many:
                # SOL_UDP and UDP_SEGMENT of <linux/udp.h>: all of them are there at once.
                sock.setsockopt(17, 103, answer[1])
                answer = answer[0]
            sock.sendto(answer, source)
        except OSError as error:
            # Of an answer that nobody took: the others want theirs.
            LOG.write(f"udp {own} {error}\n".encode())


LOG = open(sys.argv[1], "ab", buffering=0)
for address in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for number, service in SERVICES.items():
        bound = socket.socket(family, socket.SOCK_DGRAM)
        bound.bind((address, number))
        threading.Thread(target=serve, args=(bound, service)).start()
    sign = socket.socket(family, socket.SOCK_STREAM)
    sign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sign.bind((address, 7006))
    sign.listen()
    threading.Thread(target=lambda listening=sign: [listening.accept()[0].close() for _ in iter(int, 1)]).start()
print("ready", flush=True)
