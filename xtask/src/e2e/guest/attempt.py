"""Ways out of the sandbox, tried from inside: one verb a way.

Each attempt prints one line: its name and how the kernel refused it, or `OPEN` and what was got.
"""

import ctypes
import errno
import fcntl
import os
import platform
import pty
import socket
import stat
import sys
import termios

libc = ctypes.CDLL(None, use_errno=True)


def attempt(name, action):
    """Prints what becomes of `action`; its result."""
    try:
        result = action()
    except OSError as error:
        print(f"{name}: {errno.errorcode.get(error.errno, error)}")
        return None
    print(f"{name}: OPEN {result!r}"[:300])
    return result


def call(function, *arguments):
    """Calls a function of libc that returns a negative number and sets errno."""
    result = function(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), function.__name__)
    return result


def read(path):
    with open(path, "rb") as file:
        return file.read(64)


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY | os.O_NOCTTY))


def process(pid):
    """Reads everything /proc has to say about a process that is not one's own."""
    for name in ["auxv", "environ", "maps", "mem", "stack", "syscall"]:
        attempt(name, lambda: read(f"/proc/{pid}/{name}"))
    attempt("map_files", lambda: os.listdir(f"/proc/{pid}/map_files"))
    # Root may read the numbers of descriptors, which say nothing.
    for name in ["fd/0", "fd/1", "fd/4", "fd/5", "cwd", "exe", "root", "ns/mnt", "ns/net", "ns/pid", "ns/user"]:
        attempt(name, lambda: os.readlink(f"/proc/{pid}/{name}"))
    attempt("root/etc", lambda: os.listdir(f"/proc/{pid}/root/etc"))


def trace(pid):
    """Becomes the tracer of a process, and reads its memory without being it."""
    attach, seize = 16, 0x4206
    for name, request in [("attach", attach), ("seize", seize)]:
        attempt(name, lambda: call(libc.ptrace, request, int(pid), None, None))
    buffer = ctypes.create_string_buffer(8)
    # struct iovec: address and length.
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_size_t * 2)(0x400000, 8)
    attempt("process_vm_readv", lambda: call(libc.process_vm_readv, int(pid), local, 1, remote, 1, 0))


def descriptors():
    """Reads every descriptor but stdio."""
    for number in range(3, 1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        attempt(f"descriptor {number}", lambda: os.read(number, 64))
    print("descriptors read")


def sockets():
    """Sockets that skip the network stack of the guest, or that end outside of its namespace."""
    for name, family, kind, protocol in [
        ("raw", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        ("raw6", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
        ("packet", socket.AF_PACKET, socket.SOCK_RAW, 0x0300),
        ("packet datagram", socket.AF_PACKET, socket.SOCK_DGRAM, 0x0300),
        ("vsock", socket.AF_VSOCK, socket.SOCK_STREAM, 0),
        ("bluetooth", 31, socket.SOCK_RAW, 1),
    ]:
        attempt(name, lambda: socket.socket(family, kind, protocol))


def syscall(name, *arguments):
    numbers = {"keyctl": (250, 219), "io_uring_setup": (425, 425)}[name]
    number = numbers[platform.machine() == "aarch64"]
    return call(libc.syscall, number, *arguments)


def keys():
    """The keyrings of the caller, which no namespace contains; and rings that no filter sees."""
    session, user, get_id = -3, -4, 0
    attempt("session keyring", lambda: syscall("keyctl", get_id, session, 0))
    attempt("user keyring", lambda: syscall("keyctl", get_id, user, 0))
    parameters = ctypes.create_string_buffer(120)
    attempt("io_uring", lambda: syscall("io_uring_setup", 1, parameters))


def terminal():
    """Types into the terminal it was started on."""
    child, side = pty.fork()
    if child == 0:
        attempt("type", lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"))
        sys.stdout.flush()
        os._exit(0)
    try:
        while text := os.read(side, 1024):
            print(text.decode(), end="")
    except OSError:
        pass
    os.waitpid(child, 0)


def in_terminal(*command):
    """Runs a command on a terminal of its own."""
    sys.exit(os.waitstatus_to_exitcode(pty.spawn(command)))


def kernel():
    """Opens for writing what configures the kernel; nothing is written."""
    paths = ["kernel/core_pattern", "kernel/hostname", "kernel/modprobe", "vm/drop_caches", "fs/file-max"]
    for path in paths + ["net/ipv4/ip_forward", "net/ipv4/ip_default_ttl", "net/ipv6/conf/eth0/disable_ipv6"]:
        attempt(path, lambda: open_for_writing(f"/proc/sys/{path}"))
    for path in ["sysrq-trigger", "irq/default_smp_affinity", "timer_list"]:
        attempt(path, lambda: open_for_writing(f"/proc/{path}"))
    for directory, _, names in os.walk("/sys"):
        for path in (os.path.join(directory, name) for name in names):
            try:
                open_for_writing(path)
            except OSError:
                continue
            print(f"{path}: OPEN")
    print("kernel tried")


def devices():
    """Opens every disk, and every other device that is not for everybody."""
    for directory, _, names in os.walk("/dev"):
        for path in (os.path.join(directory, name) for name in names):
            mode = os.lstat(path).st_mode
            private = stat.S_ISCHR(mode) and not mode & stat.S_IROTH and os.lstat(path).st_uid == 0
            # A console may be nobody's, and then be waited for.
            if stat.S_ISBLK(mode) or (private and not path.startswith("/dev/tty")):
                attempt(path, lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)))
    node = f"/dev/shm/{os.getpid()}"
    attempt("mknod", lambda: os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(7, 0)))
    with open("/dev/null", "wb") as null, open("/dev/urandom", "rb") as random:
        print("usual devices work", null.write(random.read(8)))


def namespaces(directory):
    """Enters namespaces of others: of process 1, of its own user namespace's parent, by descriptor."""
    for name in ["user", "mnt", "net", "pid", "ipc", "uts", "cgroup"]:
        attempt(f"process 1 {name}", lambda: os.open(f"/proc/1/ns/{name}", os.O_RDONLY))
    user_of, parent_of = 0xB701, 0xB702
    own = os.open("/proc/self/ns/user", os.O_RDONLY)
    attempt("parent of the user namespace", lambda: fcntl.ioctl(own, parent_of))
    net = os.open("/proc/self/ns/net", os.O_RDONLY)
    owner = fcntl.ioctl(net, user_of)
    attempt("owner of the network namespace", lambda: call(libc.setns, owner, 0))
    new_user, new_mounts = 0x10000000, 0x00020000
    # From below as well: with every capability in a user namespace of its own.
    call(libc.unshare, new_user | new_mounts)
    attempt("owner, from a nested namespace", lambda: call(libc.setns, owner, 0))
    attempt("network, from a nested namespace", lambda: call(libc.setns, net, 0))
    for path in [directory, "/proc", "/sys", "/etc/resolv.conf"]:
        for flags, how in [(0, "unmount"), (2, "detach")]:
            attempt(f"{how} {path}", lambda: call(libc.umount2, path.encode(), flags))


def mounts(directory, secret):
    """Looks below the mounts over `secret`, from a mount namespace of its own."""
    new_user, new_mounts, bind, recursive, detach = 0x10000000, 0x00020000, 0x1000, 0x4000, 2
    call(libc.unshare, new_user | new_mounts)
    path, name, target = os.path.join(directory, secret), secret, b"/mnt"
    attempt("unmount", lambda: call(libc.umount2, path.encode(), 0))
    attempt("detach", lambda: call(libc.umount2, path.encode(), detach))
    attempt("bind", lambda: call(libc.mount, directory.encode(), target, None, bind, None))
    lower = f"lowerdir={directory}:/etc".encode()
    attempt("overlay", lambda: call(libc.mount, b"overlay", target, b"overlay", 0, lower))
    call(libc.mount, directory.encode(), target, None, bind | recursive, None)
    attempt("detach in the copy", lambda: call(libc.umount2, b"/mnt/" + name.encode(), detach))
    for path in [path, f"/mnt/{name}"]:
        print(path, "reads", read(path))
    attempt("new /proc", lambda: call(libc.mount, b"proc", target, b"proc", 0, None))


def listen(name):
    """Answers on an abstract socket until it is killed."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind("\0" + name)
    server.listen()
    print("listening", flush=True)
    while True:
        server.accept()[0].sendall(b"hello")


def knock(name):
    """Connects to an abstract socket."""

    def connect():
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect("\0" + name)
        return client.recv(5)

    attempt("abstract socket", connect)


VERBS = [process, trace, descriptors, sockets, keys, terminal, in_terminal, kernel, devices, namespaces, mounts, listen, knock]
if __name__ == "__main__":
    dict((verb.__name__, verb) for verb in VERBS)[sys.argv[1]](*sys.argv[2:])
