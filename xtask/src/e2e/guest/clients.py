"""Clients as their users write them, with default settings: one library a verb, run inside the guest.

usage: clients.py LIBRARY VERB HOST ID

Each prints who issued the certificate it was shown, where it can tell, and what it got.
"""

import asyncio
import queue
import sys

sys.path.insert(0, sys.argv[1])


def shown(certificate):
    """Prints the issuer's common name, of what `getpeercert` returns."""
    print("issuer", dict(pair for names in certificate["issuer"] for pair in names)["commonName"])


def requests(host, identity):
    import requests

    with requests.get(f"https://{host}/hello?{identity}", stream=True) as response:
        shown(response.raw.connection.sock.getpeercert())
        print(response.status_code, response.text)


def httpx(host, identity):
    import httpx

    with httpx.Client(http2=True) as client, client.stream("GET", f"https://{host}/hello?{identity}") as response:
        shown(response.extensions["network_stream"].get_extra_info("ssl_object").getpeercert())
        print(response.http_version, response.status_code, response.read().decode())


def aiohttp(host, identity):
    import aiohttp

    async def get():
        async with aiohttp.ClientSession() as session, session.get(f"https://{host}/hello?{identity}") as response:
            print(response.status, await response.text())

    asyncio.run(get())


def websockets(host, identity):
    from websockets.sync.client import connect

    with connect(f"wss://{host}/{identity}") as connection:
        shown(connection.socket.getpeercert())
        for message in ["hello", "x" * 100_000, b"bytes"]:
            connection.send(message)
            print("the same" if connection.recv() == message else "another", len(message))
        print("pong" if connection.ping().wait(20) else "no pong")
    print("closed with", connection.close_code)


def grpc(host, identity):
    import grpc

    with grpc.secure_channel(f"{host}:443", grpc.ssl_channel_credentials()) as channel:
        once = channel.unary_unary("/test.Talk/Once")
        print(once(identity.encode(), timeout=20).decode())
        answers = queue.Queue()

        def speak():
            # Each is sent only once the one before was answered.
            for index in range(3):
                yield f"{identity}-{index}".encode()
                print(answers.get(timeout=20).decode())

        call = channel.stream_stream("/test.Talk/Along")(speak(), timeout=20)
        for answer in call:
            answers.put(answer)
        print(dict(call.trailing_metadata())["count"], "counted,", call.code())
        # More than a window, both ways; an answer that is all trailers; a call that is given up.
        print(len(once(bytes(3_000_000), timeout=20)), "bytes")
        try:
            channel.unary_unary("/test.Talk/Nothing")(b"", timeout=20)
        except grpc.RpcError as error:
            print(error.code())
        call = channel.unary_stream("/test.Talk/Until")(identity.encode(), timeout=20)
        print("before its end:", next(call).decode())
        call.cancel()


def pyopenssl(host, identity):
    """The OpenSSL that comes with it is newer than the system's, and says which key exchange it was."""
    import socket

    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_default_verify_paths()
    context.set_verify(SSL.VERIFY_PEER)
    connection = SSL.Connection(context, socket.create_connection((host, 443), timeout=20))
    # What has a timeout does not block.
    connection.setblocking(True)
    connection.set_tlsext_host_name(host.encode())
    connection.set_connect_state()
    connection.do_handshake()
    print("issuer", connection.get_peer_certificate().get_issuer().CN, "by", connection.get_group_name())
    connection.sendall(f"GET /hello?{identity} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    print(connection.recv(1 << 14).decode())


VERBS = [requests, httpx, aiohttp, websockets, grpc, pyopenssl]
if __name__ == "__main__":
    dict((verb.__name__, verb) for verb in VERBS)[sys.argv[2]](*sys.argv[3:])
