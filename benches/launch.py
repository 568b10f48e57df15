"""Runs one command and prints its duration and its peak memory: `launch.py COMMAND…`.

This is a separate program because the kernel counts the memory of the starting process as memory of the started one.
This program uses little memory.
"""

import os
import sys
import time


def launch(command):
    """Runs a command without input and discards its output.

    Returns whether it succeeded, the seconds, and the peak memory in KiB.
    """
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
