"""Takes a core dump of an engine once its guest has asked for one, and counts a value in it.

usage: core_dump.py ENGINE FILES [LIBRARY]

ENGINE is the process id of the engine. The dump is wanted once FILES.over is there. The value is SECRET_SOURCE; what
stands around each is said, without it. It is looked for as it is, in base64 and in hex, and with a LIBRARY that has
hpack as HTTP/2 sends it.
"""

import base64
import glob
import os
import re
import subprocess
import sys
import time

engine, files, *library = sys.argv[1:]
value = os.environ["SECRET_SOURCE"].encode()


def encoded():
    """The forms of the value that do not depend on what stands beside it."""
    yield "hex", value.hex().encode()
    for before in range(3):
        for encode in [base64.b64encode, base64.urlsafe_b64encode]:
            yield "base64", encode(bytes(before) + value)[(0, 2, 3)[before] :].rstrip(b"=")[:-1]
    if library:
        sys.path.insert(0, library[0])
        from hpack.huffman import HuffmanEncoder
        from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

        bits = sum(REQUEST_CODES_LENGTH[byte] for byte in value)
        whole = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(value)
        number = int.from_bytes(whole, "big") >> (len(whole) * 8 - bits)
        # Bytes that are the value's alone, wherever in a byte it begins.
        for before in range(8):
            behind = -(before + bits) % 8
            shifted = (number << behind).to_bytes((before + bits + behind) // 8, "big")
            yield "Huffman", shifted[1 if before else 0 : -1 if behind else None]


deadline = time.monotonic() + 120
while not os.path.exists(f"{files}.over"):
    if time.monotonic() > deadline:
        sys.exit("nobody wants a core dump")
    time.sleep(0.1)
with open(f"/proc/{engine}/comm") as name:
    print("process", name.read().strip())
# All of its memory, whatever the engine asks the kernel to leave out.
taken = subprocess.run(["gcore", "-a", "-o", f"{files}.core", engine], capture_output=True, text=True)
if taken.returncode != 0:
    sys.exit(f"no core dump: {taken.stderr[-1000:]}")
(core,) = glob.glob(f"{files}.core.*")
with open(core, "rb") as file:
    dump = file.read()
os.remove(core)
found = [match.start() for match in re.finditer(re.escape(value), dump)]
# The value that is looked for is in it, or nothing was looked into.
print(f"in {len(dump) >> 20} MiB: {len(found)} of the value, {dump.count(b'netsec_')} of placeholders")
hidden = [name for name, form in encoded() if form in dump]
print(f"encoded: {hidden}" if hidden else "none encoded")
for place in found:
    around = dump[max(0, place - 64) : place] + b"<VALUE>" + dump[place + len(value) : place + len(value) + 64]
    print(f"at {place:#x}: {around!r}")
