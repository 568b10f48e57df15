"""The input files of the measurements. Except for random bytes, they are the same in every run."""

import os
import random
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from measuring import MEBI, say, sync

# Number of bytes that are made at a time.
PIECE = MEBI

RECIPE = """\
model = { name = "bench", version = "1.0.0" }
artifact = { path = "model" }
params = { values = { a = 1 } }
code = { none = true }
"""


def write_random(path, size):
    """Writes bytes that no compressor and no file system can reduce."""
    with path.open("wb") as file:
        for start in range(0, size, PIECE):
            file.write(os.urandom(min(PIECE, size - start)))


def write_text(path, size):
    """Writes words in an order that does not repeat, the same in every run."""
    generator = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(generator.choices(letters, k=generator.randint(2, 10))) for _ in range(5_000)]
    with path.open("wb") as file:
        while file.tell() < size:
            piece = " ".join(generator.choices(words, k=PIECE // 8)).encode()
            file.write(piece[: size - file.tell()])


def write_small_files(directory, count, average, directories):
    """Writes files of up to twice the average size, the same sizes in every run. Returns their total size in bytes."""
    generator, total = random.Random(count), 0
    bytes_of_all = os.urandom(4 * average + PIECE)
    for number in range(count):
        path = directory / f"part-{number % directories:04}" / f"file-{number:07}.bin"
        if number < directories:
            path.parent.mkdir(parents=True, exist_ok=True)
        size = generator.randint(0, 2 * average)
        start = generator.randint(0, len(bytes_of_all) - size)
        total += path.write_bytes(bytes_of_all[start : start + size])
    return total


def write_safetensors(path, size):
    """Writes one tensor of random numbers."""
    count = size // 4
    header = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (count, 4 * count)
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for start in range(0, 4 * count, PIECE):
            piece = bytearray(os.urandom(min(PIECE, 4 * count - start)))
            # Exponents of numbers around one, so that none is infinite or NaN.
            piece[3::4] = b"\x3f" * (len(piece) // 4)
            file.write(piece)


def write_csv(path, size):
    """Writes rows with eight numbers, a class and a time."""
    generator = random.Random(1)
    with path.open("w") as file:
        file.write("a,b,c,d,e,f,g,h,class,at\n")
        for minute in range(size):
            numbers = ",".join(f"{generator.random():.4f}" for _ in range(8))
            day, rest = divmod(minute, 1440)
            date = f"2026-{day // 28 % 12 + 1:02}-{day % 28 + 1:02}T{rest // 60:02}:{rest % 60:02}:00Z"
            row = f"{numbers},{generator.choice(['yes', 'no', 'maybe'])},{date}\n"
            if file.tell() + len(row) > size:
                break
            file.write(row)


def forget_files(bench):
    """Empties the page cache, if permitted. With a full page cache, each byte written must displace another one."""
    sync(bench.scratch)
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")


@contextmanager
def stage(bench, name, parent=None):
    """A project with an empty model, the command that builds it, and the paths of its archive and unpacked directory.

    It is made below `parent`, or in the scratch directory, and removed at the end.
    """
    say(name)
    bench.stage = name
    forget_files(bench)
    with tempfile.TemporaryDirectory(dir=parent or bench.scratch) as directory:
        root = Path(directory)
        model = root / "project/model"
        model.mkdir(parents=True)
        (root / "project/modelseal.toml").write_text(RECIPE)
        yield model, bench.build(root / "project", root / "archive.tar"), root / "archive.tar", root / "unpacked"


def commit(project):
    """Makes the project a repository and commits everything in it."""
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "state"]):
        subprocess.run(["git", "-C", project, *arguments], check=True, stdout=sys.stderr)
