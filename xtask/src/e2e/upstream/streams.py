"""TCP services with one habit each, on every address.

usage: streams.py LOG BLOB

7000 speaks first, then echoes        7003 ends its own half first
7001 accepts and says nothing         7004 waits as long as it is told, then pushes
7002 answers only after the guest's   7005 sends the blob
     half has ended
"""

import hashlib
import resource
import socket
import socketserver
import sys
import threading
import time

CHUNK = 1 << 18


def note(*words):
    LOG.write((" ".join(map(str, words)) + "\n").encode())


def drain(sock):
    """Reads to the end; the number of bytes and their checksum."""
    count, digest = 0, hashlib.sha256()
    while chunk := sock.recv(CHUNK):
        count += len(chunk)
        digest.update(chunk)
    return count, digest.hexdigest()


def banner(sock):
    sock.sendall(b"220 peer.test ready\r\n")
    while chunk := sock.recv(CHUNK):
        sock.sendall(chunk)


def silent(sock):
    count, _ = drain(sock)
    note("silent", count)


def digest(sock):
    count, checksum = drain(sock)
    note("digest", count, checksum)
    sock.sendall(f"{count} bytes sha256 {checksum}\n".encode())


def ends_first(sock):
    sock.sendall(b"bye\n")
    sock.shutdown(socket.SHUT_WR)
    text = b""
    while chunk := sock.recv(CHUNK):
        text += chunk
    note("after-end", text.decode(errors="replace").strip())


def quiet(sock):
    seconds = float(sock.makefile().readline())
    time.sleep(seconds)
    sock.sendall(f"{time.monotonic()}\n".encode())
    # The guest closes; an end from here would be the second segment that wakes a slow path.
    drain(sock)


def blob(sock):
    with open(BLOB, "rb") as file:
        sock.sendfile(file)


SERVICES = {7000: banner, 7001: silent, 7002: digest, 7003: ends_first, 7004: quiet, 7005: blob}


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        note("error", sys.exc_info()[1])


def serve(port, service):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            service(self.request)

    threading.Thread(target=Server(("::", port), Handler).serve_forever).start()


# A row opens a thousand connections.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
LOG = open(sys.argv[1], "ab", buffering=0)
BLOB = sys.argv[2]
for port, service in SERVICES.items():
    serve(port, service)
print("ready", flush=True)
