"""Runs a shell script in the network namespace of a guest, with rights over it that the guest's command has not.

usage: beside.py ENGINE DIRECTORY SCRIPT

ENGINE is the process id of the engine. Below DIRECTORY is what the script finds in place of /etc, /run and
/var/lib, where clients of DHCP write; its mounts are its own. It ends with this process, and with it whatever it has
started, daemons included.
"""

import ctypes
import os
import shutil
import signal
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 47, 2
# CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW of <linux/capability.h>.
CAPABILITIES = [10, 12, 13]


def succeed(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def children(process):
    with open(f"/proc/{process}/task/{process}/children") as file:
        return file.read().split()


def is_engine(process):
    # Its name, not its file: the engine is not dumpable, and of such a process nobody sees more.
    with open(f"/proc/{process}/comm") as name:
        return name.read().strip() == "net-engine"


def engine_below(process):
    """`process`, or what it has started that is the engine."""
    if is_engine(process):
        return process
    for other in children(process):
        if found := engine_below(other):
            return found


def command_of(engine):
    """The command's process: below the keeper and process 1, once it is no fork of the engine any more.

    `engine` may be a program that has started the engine. The keeper may not be its only child: what reads secrets again
    is one too, and so is what a test has left in the background.
    """
    deadline = time.monotonic() + 30
    while True:
        try:
            for keeper in filter(is_engine, children(engine_below(engine))):
                for first in filter(is_engine, children(keeper)):
                    for command in children(first):
                        if not is_engine(command):
                            return command
        except OSError:
            pass
        if time.monotonic() > deadline:
            sys.exit("the engine has started no command")
        time.sleep(0.02)


def enter(process):
    """Enters its namespaces, as their owner where this user is not root, and keeps the rights over them."""
    kinds = [("user", CLONE_NEWUSER), ("net", CLONE_NEWNET)]
    files = [(os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY), kind) for name, kind in kinds]
    for file, kind in files:
        succeed(LIBC.setns(file, kind))
    # The group of this process may be none there, where the engine has another: dumpcap wants to become its own.
    with open("/proc/self/gid_map") as groups:
        os.setgid(int(groups.read().split()[0]))
    succeed(LIBC.unshare(CLONE_NEWNS))
    succeed(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))


def keep_capabilities():
    # struct __user_cap_header_struct, and two of struct __user_cap_data_struct.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    wanted = sum(1 << capability for capability in CAPABILITIES)
    data = (ctypes.c_uint32 * 6)(wanted, wanted, wanted, 0, 0, 0)
    succeed(LIBC.capset(header, data))
    for capability in CAPABILITIES:
        succeed(LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def own_directories(directory):
    """Directories that stand in place of the system's, and hold of theirs what programs read."""
    for name in ["etc", "run", "lib", "lib/dhcp", "lib/dhcpcd"]:
        os.makedirs(f"{directory}/{name}")
    for name in ["dhcp", "udhcpc", "alternatives"]:
        if os.path.isdir(f"/etc/{name}"):
            shutil.copytree(f"/etc/{name}", f"{directory}/etc/{name}", symlinks=True)
    for name in ["passwd", "group", "nsswitch.conf", "protocols", "services", "dhcpcd.conf", "ld.so.cache"]:
        if os.path.exists(f"/etc/{name}"):
            shutil.copy(f"/etc/{name}", f"{directory}/etc/{name}")
    for name in ["resolv.conf", "fstab"]:
        open(f"{directory}/etc/{name}", "w").close()


engine, directory, script = sys.argv[1:]
own_directories(directory)
enter(command_of(engine))
for name, place in [("etc", b"/etc"), ("run", b"/run"), ("lib", b"/var/lib")]:
    succeed(LIBC.mount(f"{directory}/{name}".encode(), place, None, MS_BIND, None))
succeed(LIBC.unshare(CLONE_NEWPID))
first = os.fork()
if first != 0:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
keep_capabilities()
succeed(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
os.execvp("sh", ["sh", "-c", script])
