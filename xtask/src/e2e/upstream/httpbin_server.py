"""httpbin behind whatever opens TLS for it.

usage: httpbin_server.py LIBRARY PORT
"""

import sys

sys.path.insert(0, sys.argv[1])

from httpbin import app
from werkzeug.serving import run_simple

run_simple("127.0.0.1", int(sys.argv[2]), app, threaded=True)
