"""An HTTP server, plain and over TLS, that writes down every byte of every request head as it
arrives, complete or not, and answers an upload with its length and checksum.

usage: recorder.py LOG CERTIFICATE KEY ADDRESS...
"""

import base64
import hashlib
import socket
import socketserver
import ssl
import sys
import threading

CHUNK = 1 << 18


def note(scheme, event, data):
    # Never decoded: what was on the wire stays visible.
    LOG.write(f"recorder {scheme} {event} {data!r}\n".encode())


def stated(sock, begun, length):
    """The pieces of a body of a stated length; an empty one where it is cut short."""
    if begun:
        yield begun
    remaining = length - len(begun)
    while remaining > 0:
        piece = sock.recv(min(CHUNK, remaining))
        yield piece
        if not piece:
            return
        remaining -= len(piece)


def chunks(sock, begun):
    """The chunks of a body without a trailer (RFC 9112, section 7.1); an empty one where it is cut short."""
    buffer = bytearray(begun)
    while True:
        while (end := buffer.find(b"\r\n")) < 0:
            if not (more := sock.recv(CHUNK)):
                yield b""
                return
            buffer += more
        size = int(buffer[:end].partition(b";")[0], 16)
        whole = end + 2 + size + 2
        while len(buffer) < whole:
            if not (more := sock.recv(CHUNK)):
                yield b""
                return
            buffer += more
        if size == 0:
            return
        yield bytes(buffer[end + 2 : end + 2 + size])
        del buffer[:whole]


def answer(sock, scheme):
    """Serves one request; whether another may follow."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = sock.recv(CHUNK)
        if not chunk:
            return False
        note(scheme, "bytes", chunk[:4096])
        head += chunk
    head, _, body = head.partition(b"\r\n\r\n")
    note(scheme, "head", head)
    fields = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    if fields.get(b"authorization", b"").startswith(b"Basic "):
        note(scheme, "basic", base64.b64decode(fields[b"authorization"][6:]))
    if fields.get(b"expect", b"").lower() == b"100-continue":
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    count, digest = 0, hashlib.sha256()
    chunked = fields.get(b"transfer-encoding", b"").lower() == b"chunked"
    pieces = chunks(sock, body) if chunked else stated(sock, body, int(fields.get(b"content-length", b"0")))
    for piece in pieces:
        if not piece:
            note(scheme, "cut", count)
            return False
        count += len(piece)
        digest.update(piece)
    text = f"{count} bytes sha256 {digest.hexdigest()}\n".encode()
    note(scheme, "complete", text)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    return True


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        note("any", "error", sys.exc_info()[1])


def serve(address, port, context):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            scheme, sock = "http", self.request
            if context:
                scheme, sock = "https", context.wrap_socket(sock, server_side=True)
            while answer(sock, scheme):
                pass
            if context:
                sock.unwrap()

    class Family(Server):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    threading.Thread(target=Family((address, port), Handler).serve_forever).start()


LOG = open(sys.argv[1], "ab", buffering=0)
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(sys.argv[2], sys.argv[3])
for listen in sys.argv[4:]:
    serve(listen, 80, None)
    serve(listen, 443, CONTEXT)
print("ready", flush=True)
