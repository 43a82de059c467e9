"""gRPC over TLS on port 443 of each address: one method that is asked once, one that is talked to.

usage: grpc_server.py LOG CERTIFICATE KEY LIBRARY ADDRESS...

/test.Talk/Once    answers a message with a message
/test.Talk/Along   answers each message as it comes, and says in a trailer how many there were
/test.Talk/Until   answers once, and writes down when it is called off

A message is text, no protobuf.
"""

import sys
import threading
from concurrent import futures

sys.path.insert(0, sys.argv[4])

import grpc


def once(text, context):
    LOG.write(b"grpc once " + text[:200] + b"\n")
    return b"hello " + text


def along(texts, context):
    count = 0
    for text in texts:
        LOG.write(b"grpc along " + text + b"\n")
        count += 1
        yield b"hello " + text
    context.set_trailing_metadata([("count", str(count))])


def until(text, context):
    over = threading.Event()

    def call_off():
        LOG.write(b"grpc called off " + text + b"\n")
        over.set()

    context.add_callback(call_off)
    yield b"hello " + text
    over.wait(60)


with open(sys.argv[2], "rb") as certificate, open(sys.argv[3], "rb") as key:
    credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
LOG = open(sys.argv[1], "ab", buffering=0)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
methods = {"Once": grpc.unary_unary_rpc_method_handler(once), "Along": grpc.stream_stream_rpc_method_handler(along)}
methods["Until"] = grpc.unary_stream_rpc_method_handler(until)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Talk", methods)])
for address in sys.argv[5:]:
    server.add_secure_port(f"[{address}]:443" if ":" in address else f"{address}:443", credentials)
server.start()
print("ready", flush=True)
threading.Event().wait()
