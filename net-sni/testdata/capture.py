#!/usr/bin/env python3
"""Runs TLS and QUIC clients against a listener on loopback and keeps their first flight.

    capture.py             every client that is installed
    capture.py curl go     only these

tls/<client>.bin is what the client wrote before it was answered. quic/<client>.bin holds the
datagrams it sent in the first tenth of a second, each behind its length in two bytes. No client
is answered; each is stopped once its flight is there.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

NAME = "www.example.com"
HERE = pathlib.Path(__file__).resolve().parent
CRATE = HERE.parent

GO = """
    package main

    import ("crypto/tls"; "net/http"; "os")

    func main() {
        config := &tls.Config{ServerName: os.Args[2]}
        transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
        http.DefaultClient.Transport = transport
        http.Get("https://127.0.0.1:" + os.Args[1] + "/")
    }
"""

PYTHON = """
    import socket, ssl, sys
    stream = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    ssl.create_default_context().wrap_socket(stream, server_hostname=sys.argv[2])
"""

NODE = """
    require('https').get({host: '127.0.0.1', port: process.argv[1], servername: process.argv[2]})
        .on('error', () => {})
"""

AIOQUIC = """
    import asyncio, ssl, sys
    from aioquic.asyncio.client import connect
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.packet import QuicProtocolVersion as Version

    version = Version.VERSION_2 if sys.argv[3] == "v2" else Version.VERSION_1
    config = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name=sys.argv[2],
                               original_version=version, supported_versions=[version])
    if sys.argv[3] == "large":
        # A hello that does not fit one datagram.
        config.alpn_protocols = ["h3"] + ["protocol-%03d" % number for number in range(120)]

    async def main():
        async with connect("127.0.0.1", int(sys.argv[1]), configuration=config):
            pass

    asyncio.run(main())
"""


def chromium(scratch, port, *more):
    return ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--no-first-run", f"--user-data-dir={scratch}/profile",
            f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:{port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *more, f"https://{NAME}/"]


def script(scratch, name, text):
    path = scratch / name
    path.write_text(textwrap.dedent(text).lstrip())
    return str(path)


def nss(scratch, port):
    database = scratch / "nss"
    database.mkdir()
    subprocess.run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], check=True)
    return ["tstclnt", "-h", "127.0.0.1", "-p", str(port), "-a", NAME, "-d", f"sql:{database}", "-V", "tls1.2:"]


def rustls(port, *more):
    return ["cargo", "run", "--quiet", "--manifest-path", str(CRATE / "Cargo.toml"), "--example",
            "rustls_client", "--", f"127.0.0.1:{port}", NAME, *more]


def s_client(port, *more):
    return ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *more]


TLS = {
    "curl": lambda _, port: ["curl", "-sk", "--connect-to", f"{NAME}:443:127.0.0.1:{port}", f"https://{NAME}/"],
    "openssl": lambda _, port: s_client(port, "-servername", NAME),
    "openssl-tls12": lambda _, port: s_client(port, "-servername", NAME, "-tls1_2", "-no_ticket"),
    "openssl-tls10": lambda _, port: s_client(port, "-servername", NAME, "-tls1", "-cipher", "ALL:@SECLEVEL=0"),
    "openssl-no-name": lambda _, port: s_client(port, "-noservername", "-alpn", "h2,http/1.1"),
    "gnutls": lambda _, port: ["gnutls-cli", "--insecure", "--alpn", "h2", "--alpn", "http/1.1", "--port",
                               str(port), "--sni-hostname", NAME, "127.0.0.1"],
    "nss": nss,
    "python": lambda scratch, port: [sys.executable, script(scratch, "client.py", PYTHON), str(port), NAME],
    "node": lambda _, port: ["node", "-e", textwrap.dedent(NODE), str(port), NAME],
    "go": lambda scratch, port: ["go", "run", script(scratch, "client.go", GO), str(port), NAME],
    "rustls": lambda _, port: rustls(port),
    "rustls-fragments": lambda _, port: rustls(port, "200"),
    "chromium": lambda scratch, port: chromium(scratch, port, "--disable-quic"),
}
QUIC = {
    "aioquic": lambda scratch, port: [sys.executable, script(scratch, "client.py", AIOQUIC), str(port), NAME, "v1"],
    "aioquic-v2": lambda scratch, port: [sys.executable, script(scratch, "client.py", AIOQUIC), str(port), NAME, "v2"],
    "aioquic-large": lambda scratch, port: [sys.executable, script(scratch, "client.py", AIOQUIC), str(port), NAME,
                                            "large"],
    "chromium": lambda scratch, port: chromium(scratch, port, "--enable-quic", f"--origin-to-force-quic-on={NAME}:443"),
}


def first_flight(listener):
    """What the client writes until it waits."""
    stream, _ = listener.accept()
    stream.settimeout(0.3)
    flight = b""
    try:
        while piece := stream.recv(1 << 16):
            flight += piece
    except TimeoutError:
        pass
    return flight


def first_datagrams(listener):
    flight, end = b"", None
    while True:
        if end is not None:
            listener.settimeout(max(end - time.monotonic(), 0.001))
        try:
            datagram = listener.recv(1 << 16)
        except TimeoutError:
            return flight
        end = end or time.monotonic() + 0.1
        flight += len(datagram).to_bytes(2, "big") + datagram


def capture(folder, client, command, kind, read):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, \
            socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            listener.listen()
        listener.settimeout(60)
        argv = command(pathlib.Path(scratch), listener.getsockname()[1])
        if shutil.which(argv[0]) is None:
            return print(f"{client}: {argv[0]} is not installed")
        quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(argv, start_new_session=True, **quiet)
        try:
            flight = read(listener)
        except TimeoutError:
            return print(f"{client}: sent nothing")
        finally:
            try:
                # Its own group: a browser is many processes.
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        path = HERE / folder / f"{client}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(flight)
        print(f"{client}: {len(flight)} bytes")


def main():
    wanted = sys.argv[1:]
    for client, command in TLS.items():
        if not wanted or client in wanted:
            capture("tls", client, command, socket.SOCK_STREAM, first_flight)
    for client, command in QUIC.items():
        if not wanted or client in wanted:
            capture("quic", client, command, socket.SOCK_DGRAM, first_datagrams)


main()
