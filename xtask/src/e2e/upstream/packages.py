"""Writes what package managers are given: one tiny package for each, as its registry serves it.

usage: packages.py DIRECTORY URL

DIRECTORY becomes what URL shows:

simple/tiny/   an index for pip        npm/tiny   a package's document for npm, and what it names
"""

import base64
import hashlib
import io
import json
import pathlib
import sys
import tarfile
import zipfile

NAME, VERSION = "tiny", "1.0.0"


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def wheel(index):
    """A wheel whose module says hello, and the page that leads to it (PEP 427, PEP 503)."""
    data, info = io.BytesIO(), f"{NAME}-{VERSION}.dist-info"
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{NAME}.py", "print('hello from a wheel')\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{NAME}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    file = f"{NAME}-{VERSION}-py3-none-any.whl"
    checksum = hashlib.sha256(data.getvalue()).hexdigest()
    write(index / NAME / file, data.getvalue())
    write(index / NAME / "index.html", f'<!DOCTYPE html><a href="{file}#sha256={checksum}">{file}</a>'.encode())


def module(registry, url):
    """A module of Node's that says hello, and the document that leads to it."""
    package = {"name": NAME, "version": VERSION, "main": "index.js"}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for file, text in [("package.json", json.dumps(package)), ("index.js", "console.log('hello from a module')\n")]:
            entry = tarfile.TarInfo(f"package/{file}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    file = f"{NAME}-{VERSION}.tgz"
    checksum = base64.b64encode(hashlib.sha512(data.getvalue()).digest()).decode()
    package["dist"] = {"tarball": f"{url}/{file}", "integrity": f"sha512-{checksum}"}
    document = {"name": NAME, "dist-tags": {"latest": VERSION}, "versions": {VERSION: package}}
    write(registry / file, data.getvalue())
    write(registry / NAME, json.dumps(document).encode())


directory, url = pathlib.Path(sys.argv[1]), sys.argv[2]
wheel(directory / "simple")
module(directory / "npm", f"{url}/npm")
