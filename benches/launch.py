"""Runs one command and prints how long it took and the most memory that it held: `launch.py COMMAND…`.

A program of its own, because the kernel counts the memory that a process has when it starts another one as that
one's, and this one has little.
"""

import os
import sys
import time


def launch(command):
    """Whether the command succeeded, the seconds, and the peak memory in KiB; it gets no input, and its output is lost."""
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
    ]
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=streams)
    _, status, usage = os.wait4(child, 0)
    return status == 0, time.perf_counter() - start, usage.ru_maxrss


if __name__ == "__main__":
    succeeded, seconds, kibibytes = launch(sys.argv[1:])
    if not succeeded:
        sys.exit(1)
    print(seconds, kibibytes)
