"""WebSocket over TLS on port 443 of each address: sends every message back, and notes how it begins.

usage: websocket_server.py LOG CERTIFICATE KEY LIBRARY ADDRESS...
"""

import socket
import ssl
import sys
import threading

sys.path.insert(0, sys.argv[4])

from websockets.sync.server import serve


def echo(connection):
    LOG.write(f"websocket {connection.request.path}\n".encode())
    for message in connection:
        LOG.write(f"websocket message {message[:200]!r}\n".encode())
        connection.send(message)


LOG = open(sys.argv[1], "ab", buffering=0)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
for address in sys.argv[5:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, 443), family=family)
    threading.Thread(target=serve(echo, sock=listening, ssl=context).serve_forever).start()
print("ready", flush=True)
