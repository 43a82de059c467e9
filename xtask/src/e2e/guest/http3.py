"""A client of HTTP/3, run inside the guest.

usage: http3.py LIBRARY CA HOST[/PORT] PATH [NAME [v4|v6]]

Resolves HOST, shows NAME (or HOST), and prints the status, the first line and the length of what comes
(its checksum where it is long), or the errno by which the kernel says that nothing will.
"""

import asyncio
import errno
import hashlib
import socket
import sys
import time

sys.path.insert(0, sys.argv[1])

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted

FAMILIES = {"v4": socket.AF_INET, "v6": socket.AF_INET6}


class Client(QuicConnectionProtocol):
    def __init__(self, quic):
        super().__init__(quic)
        self.http = H3Connection(quic)
        self.ready = asyncio.get_running_loop().create_future()
        self.answer = asyncio.get_running_loop().create_future()
        self.status, self.body = "", bytearray()

    def error_received(self, error):
        # The socket is connected: what ICMP says arrives here.
        self.fail(error)

    def fail(self, error):
        for future in (self.ready, self.answer):
            if not future.done():
                future.set_exception(error)
                future.exception()

    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted) and not self.ready.done():
            self.ready.set_result(None)
        if isinstance(event, ConnectionTerminated):
            self.fail(ConnectionError(event.reason_phrase))
        for http_event in self.http.handle_event(event):
            if isinstance(http_event, HeadersReceived):
                self.status = dict(http_event.headers)[b":status"].decode()
            if isinstance(http_event, DataReceived):
                self.body += http_event.data
                if http_event.stream_ended and not self.answer.done():
                    self.answer.set_result(None)


async def get(authority, host, path, name, family):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=name)
    configuration.load_verify_locations(authority)
    host, _, port = host.partition("/")
    found = socket.getaddrinfo(host, int(port or 443), family, socket.SOCK_DGRAM)
    loop = asyncio.get_running_loop()
    client = Client(QuicConnection(configuration=configuration))
    transport, _ = await loop.create_datagram_endpoint(lambda: client, remote_addr=found[0][4][:2], family=found[0][0])
    client.connect(transport.get_extra_info("peername"))
    await asyncio.wait_for(client.ready, 20)
    stream = client._quic.get_next_available_stream_id()
    request = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode()), (b":path", path.encode())]
    client.http.send_headers(stream, request, end_stream=True)
    client.transmit()
    # What is long takes its time in Python.
    await asyncio.wait_for(client.answer, 120)
    if len(client.body) > 1_000_000:
        print(client.status, len(client.body), "bytes sha256", hashlib.sha256(client.body).hexdigest())
    else:
        print(client.status, client.body.split(b"\n")[0].decode(), len(client.body))
    client.close()
    await asyncio.sleep(0.1)


authority, host, path = sys.argv[2:5]
name = sys.argv[5] if len(sys.argv) > 5 else host
family = FAMILIES[sys.argv[6]] if len(sys.argv) > 6 else 0
began = time.monotonic()
try:
    asyncio.run(get(authority, host, path, name, family))
except OSError as error:
    outcome = errno.errorcode.get(error.errno, repr(error))
    print(outcome, "fast" if time.monotonic() - began < 3.0 else "slow")
