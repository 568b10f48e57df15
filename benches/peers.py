"""The programs that modelseal is compared with, installed below `target/bench-peers`."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from measuring import GIBI, CannotMeasure, Command, say

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = REPOSITORY / "target" / "bench-peers"
FILEPACK = PEERS / "filepack/bin/filepack"
FILEPACK_VERSION = "0.0.11"
DVC = PEERS / "dvc/bin/dvc"
REQUIREMENTS = {
    "venv": REPOSITORY / "tests/peers/requirements.txt",
    "parquet": REPOSITORY / "tests/peers/parquet.txt",
    "dvc": REPOSITORY / "benches/peers/dvc.txt",
}
TOOLS = ["cat", "cp", "dd", "find", "git", "gzip", "pigz", "sha256sum", "sync", "tar", "xargs", "zstd"]


def model_signing(bench, directory):
    command = [PEERS / "venv/bin/model_signing", "verify", "key", directory]
    return Command([*command, "--signature", directory / "model.sig", "--public_key", bench.key("pub")])


class Filepack:
    """Makes a filepack manifest of a directory, next to the directory.

    Inside the directory, it would be a file that modelseal has not sealed.
    """

    def __init__(self, bench, directory):
        self.command = [FILEPACK, "--data-dir", bench.scratch / "filepack", "--quiet"]
        self.directory = directory
        self.manifest = ["--manifest", directory.with_name("manifest.filepack")]
        if not (bench.scratch / "filepack").exists():
            self._run("keygen")
        self._run("create", directory, *self.manifest, "--sign")

    def _run(self, *arguments):
        install([*self.command, *arguments])

    def verify(self, *options):
        return Command([*self.command, *options, "verify", self.directory, *self.manifest, "--key", "master"])


def install_peers():
    say(f"peers: in {PEERS}")
    for name, requirements in REQUIREMENTS.items():
        environment = PEERS / name
        if not (environment / "bin/pip").exists():
            venv.create(environment, with_pip=True)
        install([environment / "bin/pip", "install", "--quiet", "-r", requirements])
    if not FILEPACK.exists() or version(FILEPACK) != f"filepack {FILEPACK_VERSION}":
        install(["cargo", "install", "--locked", f"filepack@{FILEPACK_VERSION}", "--root", PEERS / "filepack"])


def install(command):
    # Standard output is for the page only.
    if subprocess.run(command, stdout=sys.stderr, cwd=REPOSITORY).returncode != 0:
        raise CannotMeasure(f"this failed: {' '.join(map(str, command))}")


def build_modelseal():
    target = REPOSITORY / "target"
    install(["cargo", "build", "--release", "--locked", "--target-dir", target])
    return target / "release/modelseal"


def check_machine(scratch, sizes):
    """Checks that the machine has two cores, the tools, and enough space on the disk and in the page cache."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise CannotMeasure("two cores are needed, and this process may use one")
    os.sched_setaffinity(0, cores[:2])
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise CannotMeasure(f"not installed: {', '.join(absent)}")
    # At most the model, its archive, the unpacked directory and one more copy exist at a time.
    free, needed = shutil.disk_usage(scratch).free, 5 * sizes.large_file + 2 * GIBI
    if free < needed:
        raise CannotMeasure(f"{scratch} has {free / GIBI:.1f} GiB free, {needed / GIBI:.1f} GiB are needed")
    available = memory("MemAvailable")
    if available < 4 * sizes.large_file:
        raise CannotMeasure(f"{available / GIBI:.1f} GiB of memory cannot keep the files in the page cache")


def system_value(path, name):
    """The value after a name and a colon in a file of the kernel."""
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def memory(name):
    return int(system_value("/proc/meminfo", name).split()[0]) * 1024


def version(tool):
    """The first line that a tool prints for `--version`."""
    result = subprocess.run([tool, "--version"], capture_output=True, text=True)
    if result.returncode != 0:
        raise CannotMeasure(f"{tool} does not tell its version")
    return f"{result.stdout or result.stderr}".splitlines()[0].strip("* ")
