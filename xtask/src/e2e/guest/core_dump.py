"""Takes a core dump of an engine once its guest has asked for one, and counts a value in it.

usage: core_dump.py ENGINE FILES

ENGINE is the process id of the engine. The dump is wanted once FILES.over is there. The value is SECRET_SOURCE; what
stands around each is said, without it.
"""

import glob
import os
import re
import subprocess
import sys
import time

engine, files = sys.argv[1:]
value = os.environ["SECRET_SOURCE"].encode()
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
for place in found:
    around = dump[max(0, place - 64) : place] + b"<VALUE>" + dump[place + len(value) : place + len(value) + 64]
    print(f"at {place:#x}: {around!r}")
