"""A name server that answers A, AAAA and CNAME from a table, over UDP and TCP.

usage: dns.py LOG ADDRESS...
"""

import socket
import socketserver
import struct
import sys
import threading

A, CNAME, AAAA, OPT = 1, 5, 28, 41
TTL = 30

WEB = {A: ["192.31.196.2"], AAAA: ["2001:4:112::2"]}
HTTP2 = {A: ["192.31.196.4"], AAAA: ["2001:4:112::4"]}
PEER = {A: ["192.31.196.3"], AAAA: ["2001:4:112::3"]}

ZONE = {
    "web.test": WEB,
    "other.test": WEB,
    "selfsigned.test": WEB,
    "h2.test": HTTP2,
    "echo.test": HTTP2,
    "expired.test": HTTP2,
    # Its certificate is for other names.
    "wronghost.test": HTTP2,
    "grpc.test": {A: ["192.31.196.5"], AAAA: ["2001:4:112::5"]},
    "ws.test": {A: ["192.31.196.6"], AAAA: ["2001:4:112::6"]},
    "peer.test": PEER,
    "twin.test": PEER,
    "v4.test": {A: WEB[A]},
    # Where dnsmasq is.
    "resolver.test": {A: ["192.31.196.54"]},
    "v6.test": {AAAA: WEB[AAAA]},
    "alias.test": {CNAME: ["web.test"]},
    # Public names that lead into a private network.
    "rebind.test": {A: ["10.99.0.5"], AAAA: ["fd00:99::5"]},
    "mixed.test": {A: ["192.31.196.2", "10.99.0.5"]},
    "rebind-alias.test": {CNAME: ["rebind.test"]},
    # More than 512 bytes, and more than 1,232.
    "big.test": {A: [f"192.31.196.{host}" for host in range(100, 200)]},
}


def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def decode_name(message, at):
    labels = []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 1


def record(name, kind, value):
    data = {
        A: lambda: socket.inet_pton(socket.AF_INET, value),
        AAAA: lambda: socket.inet_pton(socket.AF_INET6, value),
        CNAME: lambda: encode_name(value),
    }[kind]()
    return encode_name(name) + struct.pack("!HHIH", kind, 1, TTL, len(data)) + data


def answers(name, kind):
    """The records for a name, its aliases followed; None if there is no such name."""
    entry = ZONE.get(name.lower())
    if entry is None:
        return None
    if CNAME in entry:
        target = entry[CNAME][0]
        return [record(name, CNAME, target)] + (answers(target, kind) or [])
    return [record(name, kind, value) for value in entry.get(kind, [])]


def respond(message, limit):
    """The response to a query; `limit` is None over TCP."""
    identity, flags, _, _, _, extra = struct.unpack("!6H", message[:12])
    name, at = decode_name(message, 12)
    kind = struct.unpack("!H", message[at : at + 2])[0]
    question = message[12 : at + 4]
    opt = b""
    if extra and message[at + 4 : at + 7] == b"\0\0\x29":
        size = struct.unpack("!H", message[at + 7 : at + 9])[0]
        opt = b"\0" + struct.pack("!HHIH", OPT, 1232, 0, 0)
        limit = limit and max(limit, size)
    found = answers(name, kind)
    code = 3 if found is None else 0
    found = found or []
    body = b"".join(found)
    truncated = limit is not None and 12 + len(question) + len(body) + len(opt) > limit
    if truncated:
        found, body = [], b""
    flags = 0x8180 | (flags & 0x0100) | code | (0x0200 if truncated else 0)
    header = struct.pack("!6H", identity, flags, 1, len(found), 0, 1 if opt else 0)
    return header + question + body + opt, name, kind


def note(how, name, kind):
    # A resolver spells a question as it likes, so that answers are hard to forge.
    LOG.write(f"dns {how} {name.lower()} {kind}\n".encode())


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        message, sock = self.request
        response, name, kind = respond(message, 512)
        note("udp", name, kind)
        sock.sendto(response, self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        while len(prefix := self.rfile.read(2)) == 2:
            message = self.rfile.read(struct.unpack("!H", prefix)[0])
            response, name, kind = respond(message, None)
            note("tcp", name, kind)
            self.wfile.write(struct.pack("!H", len(response)) + response)


def serve(server_class, handler, address):
    class Server(server_class):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        allow_reuse_address = True
        daemon_threads = True

    threading.Thread(target=Server((address, 53), handler).serve_forever).start()


LOG = open(sys.argv[1], "ab", buffering=0)
for listen in sys.argv[2:]:
    serve(socketserver.ThreadingUDPServer, Udp, listen)
    serve(socketserver.ThreadingTCPServer, Tcp, listen)
print("ready", flush=True)
