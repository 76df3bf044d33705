"""Loaded by every Python that starts with this folder on its path: notes and stops what the security note rules out.

`WATCH_LOG` is the file for notes, `WATCH_MAY_WRITE` the folders in which files may be made, `WATCH_CANARY` a text that
must never reach the compiler.
"""

import os
import sys

LOG = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
MAY_WRITE = tuple(os.path.realpath(path) for path in os.environ["WATCH_MAY_WRITE"].split(os.pathsep))
CANARY = os.environ["WATCH_CANARY"]
DEVICES = ("/dev/null", "/dev/tty", "/dev/full")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
PROGRAMS = ("pdflatex", "python", "fc-list", "lscpu", "uname", "ldconfig", "gcc")
INTERNET = (2, 10)  # AF_INET, AF_INET6
# What makes or removes something: the argument that is its path, and the one that is the folder that it is relative to.
CHANGES = {
    "os.mkdir": (0, 2),
    "os.rename": (1, 3),
    "os.remove": (0, 1),
    "os.rmdir": (0, 1),
    "os.link": (1, 3),
    "os.symlink": (1, 2),
    "os.truncate": (0, None),
}


def outside(path, folder=-1):
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False
    place = os.fsdecode(path)
    if folder not in (-1, None):
        place = f"{os.path.realpath(f'/proc/self/fd/{folder}')}/{place}"
    place = os.path.realpath(place)
    return place not in DEVICES and not any(place == root or place.startswith(root + os.sep) for root in MAY_WRITE)


def from_multiprocessing():
    """Whether a process of ours is reading what another process of ours has sent through their pipe."""
    frame = sys._getframe(2)
    while frame is not None:
        if "multiprocessing" in frame.f_code.co_filename or "concurrent" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def wrong(event, args):
    """What is wrong with an event; nothing if all is well."""
    if event.startswith("socket."):
        if event == "socket.__new__":
            return args[1] in INTERNET
        return event in ("socket.getaddrinfo", "socket.gethostbyname") or (
            event in ("socket.connect", "socket.bind", "socket.sendto") and args[0].family in INTERNET
        )
    if event == "open":
        return bool(args[2] & WRITES) and outside(args[0])
    if event in CHANGES:
        path, folder = CHANGES[event]
        return outside(args[path], -1 if folder is None else args[folder])
    if event == "pickle.find_class":
        return not from_multiprocessing()
    if event == "compile":
        source = args[0].decode(errors="replace") if isinstance(args[0], bytes) else args[0]
        return isinstance(source, str) and CANARY in source
    if event in ("os.system", "os.exec", "os.startfile", "urllib.Request"):
        return True
    if event == "subprocess.Popen":
        return not os.fsdecode(args[0]).rpartition(os.sep)[2].startswith(PROGRAMS)
    return False


def watch(event, args):
    if wrong(event, args):
        frame, trace = sys._getframe(1), []
        while frame is not None and len(trace) < 12:
            trace.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            frame = frame.f_back
        os.write(LOG, f"{event} {args!r:.200} in {' < '.join(trace)}\n".encode())
        raise PermissionError(f"{event} is ruled out")


sys.addaudithook(watch)
