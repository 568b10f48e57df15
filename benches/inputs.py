"""The files that are measured with, the same in every run but for random bytes."""

import os
import random
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from measuring import MEBI, say

# How much is made at a time.
PIECE = MEBI

RECIPE = """\
model = { name = "bench", version = "1.0.0" }
artifact = { path = "model" }
params = { values = { a = 1 } }
code = { none = true }
"""


def write_random(path, size):
    """Bytes that no compressor and no file system can make smaller."""
    with path.open("wb") as file:
        for start in range(0, size, PIECE):
            file.write(os.urandom(min(PIECE, size - start)))


def write_text(path, size):
    """Words in an order that does not repeat, the same in every run."""
    generator = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(generator.choices(letters, k=generator.randint(2, 10))) for _ in range(5_000)]
    with path.open("wb") as file:
        while file.tell() < size:
            piece = " ".join(generator.choices(words, k=PIECE // 8)).encode()
            file.write(piece[: size - file.tell()])


def write_small_files(directory, count, average, directories):
    """Files of up to twice the average size, the same sizes in every run; returns how many bytes they have."""
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
    """One tensor of random numbers."""
    count = size // 4
    header = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (count, 4 * count)
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for start in range(0, 4 * count, PIECE):
            piece = bytearray(os.urandom(min(PIECE, 4 * count - start)))
            # Exponents of numbers around one: none is infinite or no number at all.
            piece[3::4] = b"\x3f" * (len(piece) // 4)
            file.write(piece)


def write_csv(path, size):
    """Eight numbers, a class and a time in each row."""
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


def forget_files():
    """Makes room in memory, if we may: where the page cache is full, each byte written has to push one out."""
    os.sync()
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")


@contextmanager
def stage(bench, name, parent=None):
    """A project with an empty model, and where its archive and its directory belong; removed at the end.

    Below `parent`, or where everything else is made.
    """
    say(name)
    forget_files()
    with tempfile.TemporaryDirectory(dir=parent or bench.scratch) as directory:
        root = Path(directory)
        model = root / "project/model"
        model.mkdir(parents=True)
        (root / "project/modelseal.toml").write_text(RECIPE)
        yield model, bench.build(root / "project", root / "archive.tar"), root / "archive.tar", root / "unpacked"


def commit(project):
    """Makes the project a repository with everything in it."""
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "state"]):
        subprocess.run(["git", "-C", project, *arguments], check=True, stdout=sys.stderr)
