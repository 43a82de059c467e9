"""HTTP over TLS on port 8445 of each address: answers with the key exchange of the handshake.

usage: key_exchange.py LOG CERTIFICATE KEY LIBRARY ADDRESS...
"""

import socket
import sys
import threading

sys.path.insert(0, sys.argv[4])

from OpenSSL import SSL


def answer(sock):
    connection = SSL.Connection(CONTEXT, sock)
    connection.set_accept_state()
    connection.do_handshake()
    request = connection.recv(1 << 14).split(b"\r\n")[0]
    group = connection.get_group_name().encode()
    LOG.write(b"key exchange " + group + b" " + request + b"\n")
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(group), group))
    connection.shutdown()
    sock.close()


def serve(listening):
    while True:
        sock, _ = listening.accept()
        try:
            answer(sock)
        except (SSL.Error, OSError) as error:
            # Of whoever only looked whether we are there: the others want their answer.
            LOG.write(f"key exchange {error!r}\n".encode())


LOG = open(sys.argv[1], "ab", buffering=0)
CONTEXT = SSL.Context(SSL.TLS_SERVER_METHOD)
CONTEXT.use_certificate_file(sys.argv[2])
CONTEXT.use_privatekey_file(sys.argv[3])
for address in sys.argv[5:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    threading.Thread(target=serve, args=(socket.create_server((address, 8445), family=family),)).start()
print("ready", flush=True)
