"""A guest that uses the placeholder in $TOKEN: one verb a way.

usage: with_secrets.py VERB ARGUMENT...
"""

import http.client
import os
import socket
import ssl
import sys
import time

TOKEN = os.environ["TOKEN"]


def twice(host, path, marks):
    """Two requests over one connection; between them something outside is asked for by MARKS.go, and has
    happened once there is MARKS.done."""
    connection = http.client.HTTPSConnection(host, timeout=30, context=ssl.create_default_context())
    ports = []
    for number in [1, 2]:
        connection.request("GET", f"{path}-{number}", headers={"X-Token": TOKEN})
        ports.append(connection.sock.getsockname()[1])
        response = connection.getresponse()
        response.read()
        print(f"{number}: {response.status}", flush=True)
        if number == 1:
            open(f"{marks}.go", "w").close()
            while not os.path.exists(f"{marks}.done"):
                time.sleep(0.05)
            # Until whoever has to see it has seen it.
            time.sleep(4)
    print("one connection" if ports[0] == ports[1] else "two connections")


def raw(host, port):
    """The placeholder alone, over TCP."""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(TOKEN.encode())
        time.sleep(60)


def requests(library, url):
    sys.path.insert(0, library)
    import requests

    response = requests.get(url, headers={"X-Token": TOKEN}, timeout=30)
    print(response.status_code, response.headers, response.text)


def httpx(library, url):
    sys.path.insert(0, library)
    import httpx

    with httpx.Client(http2=True, timeout=30) as client:
        response = client.get(url, headers={"X-Token": TOKEN})
        print(response.http_version, response.status_code, response.headers, response.text)


def websocket(library, url):
    """Messages of text, of bytes and in fragments, from a server that sends each back."""
    sys.path.insert(0, library)
    from websockets.sync.client import connect

    with connect(url) as connection:
        for sent in [f"text {TOKEN}", f"bytes {TOKEN}".encode(), ["in ", "fragments ", TOKEN[:9], TOKEN[9:]]]:
            connection.send(sent)
            got = connection.recv()
            print(got)
            whole = "".join(sent) if isinstance(sent, list) else sent
            print("the same" if got == whole else "another")
    print("closed with", connection.protocol.close_code)


VERBS = [twice, raw, requests, httpx, websocket]
if __name__ == "__main__":
    dict((verb.__name__, verb) for verb in VERBS)[sys.argv[1]](*sys.argv[2:])
