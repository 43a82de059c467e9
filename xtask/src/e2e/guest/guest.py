"""What no stock program does on command: one habit a verb, run inside the guest.

Each verb prints what it saw, in words that the table of tests looks for.
"""

import errno
import pathlib
import resource
import socket
import ssl
import sys
import time
import urllib.request


def connect(host, port, timeout=30.0):
    return socket.create_connection((host, int(port)), timeout=timeout)


def ending(sock):
    """How the other side ends the stream."""
    try:
        while sock.recv(1 << 16):
            pass
        return "end"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "nothing"


def fetch(url):
    """GET with urllib, which verifies against the system's or the given bundle."""
    print(urllib.request.urlopen(url, timeout=30).read().decode().strip())


def strict(url):
    """GET with urllib, which verifies as RFC 5280 has it, as Python does by default from 3.13 on."""
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    print(urllib.request.urlopen(url, timeout=30, context=context).read().decode().strip())


def dial(host, port, timeout):
    """Connects; prints the errno as the kernel gave it."""
    began = time.monotonic()
    try:
        connect(host, port, float(timeout)).close()
        outcome = "connected"
    except TimeoutError:
        outcome = "no answer"
    except OSError as error:
        outcome = errno.errorcode.get(error.errno, str(error))
    print(outcome, "fast" if time.monotonic() - began < 2.0 else "slow")


def banner(host, port):
    """Waits for the server to speak first, then sees itself echoed."""
    began = time.monotonic()
    sock = connect(host, port)
    greeting = sock.recv(100).decode().strip()
    waited = time.monotonic() - began
    sock.sendall(b"hello\n")
    print(greeting, "|", sock.recv(100).decode().strip(), "|", "at once" if waited < 2.0 else f"{waited:.1f} s late")


def ends_first(host, port, text):
    """Ends its half, then reads the answer."""
    sock = connect(host, port)
    sock.sendall(text.encode())
    sock.shutdown(socket.SHUT_WR)
    print(sock.makefile().read().strip())


def upload(host, port, path):
    """Sends a file, ends its half, reads the checksum."""
    sock = connect(host, port, 120.0)
    with open(path, "rb") as file:
        sock.sendfile(file)
    sock.shutdown(socket.SHUT_WR)
    print(sock.makefile().read().strip())


def ends_last(host, port, text):
    """Sees the other half end, and can still be heard."""
    sock = connect(host, port)
    greeting = sock.makefile().read().strip()
    time.sleep(0.5)
    sock.sendall(text.encode())
    sock.close()
    print(greeting, "then end")


def quiet(host, port, seconds):
    """Waits for a push after a long silence; how late it came."""
    sock = connect(host, port, float(seconds) + 30)
    sock.sendall(f"{seconds}\n".encode())
    sent = float(sock.makefile().readline())
    late = time.monotonic() - sent
    print("at once" if late < 0.9 else f"{late:.3f} s late")


def carry_on(host, kept, ended, count, mark):
    """Holds connections to two ports while the rules change under them.

    Whoever changes the rules waits for the file `mark`, and writes down when in `mark`.changed.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connections = [connect(host, kept) for _ in range(int(count))]
    for sock in connections:
        assert sock.recv(100).startswith(b"220 ")
    victim = connect(host, ended)
    open(mark, "w").close()
    how = ending(victim)
    at = time.time()
    alive = 0
    for sock in connections:
        sock.sendall(b"still here\n")
        alive += sock.recv(100) == b"still here\n"
    while not (changed := pathlib.Path(mark + ".changed")).exists():
        time.sleep(0.01)
    late_ms = (at - float(changed.read_text())) * 1e3
    print("ended by", how, "while", alive, "carry on")
    print(f"figure reload/{count} {late_ms:.1f} ms {late_ms:.1f}..{late_ms:.1f}")


def client_hello(name):
    """The ClientHello that Python's ssl would send, as bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def silent(phase, host, port, name):
    """Falls silent at a phase of the handshake and waits to be ended.

    nothing: not a byte; half: half a ClientHello; hello: all of it, then no Finished.
    """
    hello = client_hello(name)
    sock = connect(host, port)
    sock.sendall({"nothing": b"", "half": hello[: len(hello) // 2], "hello": hello}[phase])
    began = time.monotonic()
    how = ending(sock)
    waited = time.monotonic() - began
    print("ended by", how, "in time" if 8 < waited < 20 else f"after {waited:.1f} s")


def junk(kind, host, port, name):
    """Sends something that no handshake starts with, or not to its end."""
    hello = client_hello(name)
    sock = connect(host, port)
    if kind == "text":
        sock.sendall(b"this is not a handshake\r\n" * 10)
    if kind == "endless":
        # Records that claim to continue one handshake message of nearly 16 MiB.
        body = b"\x01\xff\xff\xff" + bytes((1 << 14) - 4)
        try:
            for _ in range(16):
                sock.sendall(b"\x16\x03\x01\x40\x00" + body)
                body = bytes(1 << 14)
        except ConnectionError:
            pass
    if kind == "closed":
        sock.sendall(hello[: len(hello) // 2])
        sock.shutdown(socket.SHUT_WR)
    print("ended by", ending(sock))


def finished_flight(host, port, path):
    """Sends its request in the same segment as its TLS 1.3 Finished."""
    sock = connect(host, port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(1 << 16))
    tls.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    flight = outgoing.read()
    sock.sendall(flight)
    response = b""
    while True:
        try:
            chunk = tls.read(1 << 16)
        except ssl.SSLWantReadError:
            received = sock.recv(1 << 16)
            incoming.write(received) if received else incoming.write_eof()
            continue
        except ssl.SSLZeroReturnError:
            break
        if not chunk:
            break
        response += chunk
    print(f"one flight of {len(flight)} bytes:", response.split(b"\r\n")[0].decode())


def datagrams(host, port):
    """A UDP socket that is connected, so that what ICMP says about it arrives."""
    family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(10)
    # IP_RECVERR and IPV6_RECVERR of <linux/in.h>: without them only some errors are told (ip(7)).
    v4 = family == socket.AF_INET
    sock.setsockopt(socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6, 11 if v4 else 25, 1)
    sock.connect(address)
    return sock


def say(host, port, text):
    """Sends a datagram; prints what comes back, or the errno as the kernel gave it.

    Nothing at all is asked again: a router tells of unreachable networks once a second at most.
    """
    sock = datagrams(host, port)
    sock.settimeout(3)
    for _ in range(4):
        began = time.monotonic()
        try:
            sock.send(text.encode())
            outcome = sock.recv(1 << 16).decode()
            break
        except TimeoutError:
            outcome = "no answer"
        except OSError as error:
            outcome = errno.errorcode.get(error.errno, str(error))
            break
    print(outcome, "fast" if time.monotonic() - began < 2.0 else "slow")


def say_much(host, port, size, segment=None):
    """Sends datagrams that fit no packet, one after the other; whether all of each comes back.

    With `segment` the kernel, or whatever is behind it, cuts one write into datagrams of that size.
    """
    sock = datagrams(host, port)
    if segment is not None:
        # SOL_UDP and UDP_SEGMENT of <linux/udp.h>.
        sock.setsockopt(17, 103, int(segment))
        data = b"".join(bytes([65 + index]) * int(segment) for index in range(int(size) // int(segment)))
        sock.send(data)
        answers = [sock.recv(1 << 16) for _ in range(0, len(data), int(segment))]
        print("the same" if b"".join(answers) == data else "another", [len(answer) for answer in answers])
        return
    for index in range(10):
        data = bytes((index + byte * byte) % 251 for byte in range(int(size)))
        sock.send(data)
        if sock.recv(1 << 16) != data:
            sys.exit("something else came back")
    print("all of", size, "bytes, ten times")


def hears_many(host, port, size, count):
    """Asks for many datagrams at once; whether they come one by one and in their order."""
    sock = datagrams(host, port)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.send(f"{size} {count}".encode())
    expected = [bytes([index % 251]) * int(size) for index in range(int(count))] + [b"\xff"]
    heard = [sock.recv(1 << 16) for _ in expected]
    print("all of", len(heard) if heard == expected else [len(datagram) for datagram in heard])


def seen_as(port, *hosts):
    """Asks each host, from one socket, which port it was asked from."""
    family = socket.getaddrinfo(hosts[0], int(port), type=socket.SOCK_DGRAM)[0][0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(10)
    ports = set()
    for host in hosts:
        sock.sendto(b"?", (host, int(port)))
        data, source = sock.recvfrom(100)
        if source[0] != host:
            sys.exit(f"{host} was asked and {source[0]} answers")
        ports.add(data)
    print(len(ports), "port for", len(hosts), "destinations")


VERBS = [
    carry_on,
    say,
    say_much,
    hears_many,
    seen_as,
    fetch,
    strict,
    dial,
    banner,
    ends_first,
    upload,
    ends_last,
    quiet,
    silent,
    junk,
    finished_flight,
]
if __name__ == "__main__":
    dict((verb.__name__, verb) for verb in VERBS)[sys.argv[1]](*sys.argv[2:])
