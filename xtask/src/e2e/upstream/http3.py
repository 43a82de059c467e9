"""HTTP/3 on port 443 of each address, or another one: says hello, or sends www/blob, or its first 8 MB, and writes down
what was asked.

usage: http3.py LOG CERTIFICATE KEY LIBRARY ADDRESS[/PORT]...

A TCP port 7007 says that it is there.
"""

import asyncio
import sys

sys.path.insert(0, sys.argv[4])

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated


class Server(QuicConnectionProtocol):
    http = None

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        if self.http is None:
            return
        for http_event in self.http.handle_event(event):
            if isinstance(http_event, HeadersReceived):
                headers = dict(http_event.headers)
                asked = headers.get(b":authority", b"") + b" " + headers.get(b":path", b"")
                LOG.write(b"http3 " + asked + b"\n")
                stream = http_event.stream_id
                self.http.send_headers(stream, [(b":status", b"200")])
                hello = b"hello over http3\n" + b"." * 200_000
                body = {b"/blob": BLOB, b"/part": BLOB[:8_000_000]}.get(headers.get(b":path"), hello)
                self.http.send_data(stream, body, end_stream=True)
                self.transmit()


async def main(certificate, key, addresses):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(certificate, key)
    for address in addresses:
        address, _, port = address.partition("/")
        await serve(address, int(port or 443), configuration=configuration, create_protocol=Server)
        await asyncio.start_server(lambda reader, writer: writer.close(), address, 7007)
    print("ready", flush=True)
    await asyncio.Future()


LOG = open(sys.argv[1], "ab", buffering=0)
with open("www/blob", "rb") as file:
    BLOB = file.read()
asyncio.run(main(sys.argv[2], sys.argv[3], sys.argv[5:]))
