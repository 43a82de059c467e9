"""Runs a command, passes its output on, and searches it for a value that must not be in it.

usage: echoed.py ID COMMAND...

The value is `real-ID`; nothing that runs here is told it in one piece.
"""

import base64
import json
import subprocess
import sys
import urllib.parse

value = "-".join(["real", sys.argv[1]]).encode()


def forms():
    yield "raw", value
    yield "percent", urllib.parse.quote(value, safe="").encode()
    yield "every byte percent", "".join(f"%{byte:02x}" for byte in value).encode()
    yield "JSON", json.dumps(value.decode())[1:-1].encode()
    yield "every character JSON", "".join(f"\\u{byte:04x}" for byte in value).encode()
    yield "hex", value.hex().encode()
    for before in range(3):
        # What stands before and behind changes letters at the ends alone.
        for encode in [base64.b64encode, base64.urlsafe_b64encode]:
            yield "base64", encode(bytes(before) + value)[(0, 2, 3)[before] :].rstrip(b"=")[:-2]


ended = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
sys.stdout.buffer.write(ended.stdout)
sys.stdout.flush()
found = [name for name, form in forms() if form.lower() in ended.stdout.lower()]
print(f"FOUND {found}" if found else "no value in what was printed")
sys.exit(1 if found else ended.returncode)
