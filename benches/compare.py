#!/usr/bin/env python3
"""Measures modelseal side by side with its peers and prints a Markdown page.

Whole commands are compared, start-up included, as ratios: both sides run in turns in one run, on two
cores, on files that this script makes itself and that are in the page cache. Each side runs once to warm
up and then `--rounds` times; the page gives the medians and the ratio of the medians. Peak memory is what
the kernel reports when a command ends.

    python3 benches/compare.py > page.md              everything: some twenty minutes, 12 GiB of disk
    python3 benches/compare.py --quick                small files: tries the script, demands nothing
    python3 benches/compare.py --modelseal PATH       measures another binary than the one built here

The peers are installed below `target/bench-peers` the first time: model-signing in a virtual environment,
filepack through cargo. Linux only.

Exit codes: 0 every demand is met; 1 one is not; 2 could not measure.
"""

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import namedtuple
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = REPOSITORY / "target" / "bench-peers"
FILEPACK = PEERS / "filepack/bin/filepack"
FILEPACK_VERSION = "0.0.11"

MEBI = 1 << 20
GIBI = 1 << 30
# How much is made at a time. Small: the kernel counts the memory that this process has when it starts
# another one as that one's.
PIECE = MEBI
STARTS = 50
TOOLS = ["cat", "cp", "dd", "find", "git", "gzip", "sha256sum", "sync", "tar", "xargs", "zstd"]

RECIPE = """\
model = { name = "bench", version = "1.0.0" }
artifact = { path = "model" }
params = { values = { a = 1 } }
code = { none = true }
"""

COPY_AND_SYNC = 'cp --reflink=never "$1" "$2" && sync "$2"'
EXTRACT_AND_SYNC = 'mkdir "$2" && tar xf "$1" -C "$2" && sync -f "$2"'
CLONE_AND_RUN = 'git clone -q --no-hardlinks "$1" "$2" && cd "$2" && sh make.sh'
HASH_TREE = 'find "$1" -type f -print0 | xargs -0 -P2 -n 500 sha256sum'
READ_TREE = 'find "$1" -type f -print0 | xargs -0 -P2 -n 500 cat'
READ_HALVES = (
    'dd if="$1" of=/dev/null bs=1M count="$2" status=none & first=$!;'
    'dd if="$1" of=/dev/null bs=1M skip="$2" status=none && wait $first'
)

# Bytes of the two models, and how many files the other two have.
Sizes = namedtuple("Sizes", "large_file compressed_model small_files many_files work_tree")
CSV_TO_PARQUET = """
import pyarrow.csv, pyarrow.parquet, sys
rows = pyarrow.csv.open_csv(sys.argv[1])
with pyarrow.parquet.ParquetWriter(sys.argv[2], rows.schema) as file:
    file.write_table(pyarrow.Table.from_batches(rows))
"""
FULL = Sizes(2 * GIBI, GIBI, 20_000, 100_000, 1_000)
QUICK = Sizes(64 * MEBI, 32 * MEBI, 500, 2_000, 100)
# What a command makes is removed before each run, outside of the time that is measured.
Command = namedtuple("Command", "arguments makes", defaults=[None])


class CannotMeasure(Exception):
    """Something that the measurement needs is not there or does not work."""


@dataclass
class Samples:
    seconds: list = field(default_factory=list)
    peak: int = 0

    def median(self):
        return statistics.median(self.seconds)

    def shown(self):
        least, most = min(self.seconds), max(self.seconds)
        if self.median() >= 1:
            return f"{self.median():.2f} s ({least:.2f} to {most:.2f})"
        return f"{self.median() * 1000:.0f} ms ({least * 1000:.0f} to {most * 1000:.0f})"


@dataclass
class Bench:
    """What every measurement needs, and the rows of the tables so far."""

    modelseal: Path
    scratch: Path
    rounds: int
    sizes: Sizes
    # The demands are for the full sizes.
    demanding: bool
    all_met: bool = True
    works: list = field(default_factory=list)
    peaks: list = field(default_factory=list)
    limits: list = field(default_factory=list)
    alone: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def key(self, suffix):
        return self.scratch / f"key.{suffix}"

    def build(self, project, archive, *options):
        command = [self.modelseal, "build", project, "--key", self.key("key"), "-o", archive, "--force", "-q"]
        return Command([*command, *options], archive)

    def verify(self, target, *options):
        return Command([self.modelseal, "verify", target, "--key", self.key("pub"), "-q", *options])

    def unpack(self, archive, directory):
        command = [self.modelseal, "unpack", archive, "-o", directory, "--key", self.key("pub"), "-q"]
        return Command(command, directory)

    def model_signing(self, directory):
        command = [PEERS / "venv/bin/model_signing", "verify", "key", directory]
        return Command([*command, "--signature", directory / "model.sig", "--public_key", self.key("pub")])

    def alternate(self, ours, theirs):
        """Runs both in turns, so that what else happens on the machine hits both."""
        run(ours)
        run(theirs)
        our_samples, their_samples = Samples(), Samples()
        for _ in range(self.rounds):
            run(ours, our_samples)
            run(theirs, their_samples)
        return our_samples, their_samples

    def compare(self, work, ours, peer, theirs, demanded="", least_ratio=0.0):
        """Adds a row; without `demanded` it only reports."""
        ours, theirs = self.alternate(ours, theirs)
        ratio = theirs.median() / ours.median()
        row = [work, ours.shown(), f"{peer}: {theirs.shown()}", speed(ratio)]
        self.works.append(row + self.judge(demanded, ratio >= least_ratio))
        return ours, theirs

    def add_peak(self, work, samples, limit=None):
        demanded = f"at most {limit // MEBI} MiB" if limit else ""
        judged = self.judge(demanded, limit is None or samples.peak <= limit)
        self.peaks.append([work, f"{samples.peak / MEBI:.0f} MiB", *judged])

    def add_demand(self, work, seconds, most):
        """A row for what has no peer: at most so many seconds."""
        judged = self.judge(f"at most {most:.3g} s", seconds <= most)
        self.alone.append([work, f"{seconds:.2f} s", *judged])

    def add_limit(self, work, ours, reader, reading):
        ours, reading = self.alternate(ours, reading)
        ratio = f"{ours.median() / reading.median():.2f}x the time"
        self.limits.append([work, ours.shown(), f"{reader}: {reading.shown()}", ratio])

    def judge(self, demanded, is_met):
        """The last two cells of a row."""
        if not demanded or not self.demanding:
            return ["report", ""]
        self.all_met = self.all_met and is_met
        return [demanded, "yes" if is_met else "**no**"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def shell(script, *arguments):
    # Beside the script, so that no path needs quoting.
    return ["sh", "-c", script, "sh", *arguments]


def remove(*paths):
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def run(command, samples=None):
    """Runs a command to its end and returns what it took, added to `samples` if there are any."""
    samples = samples or Samples()
    if command.makes:
        remove(command.makes)
        # What an earlier command left to be written would otherwise be written during this one.
        os.sync()
    arguments = [str(argument) for argument in command.arguments]
    with tempfile.TemporaryFile() as errors:
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        environment = os.environ | {"LC_ALL": "C"}
        start = time.perf_counter()
        child = os.posix_spawnp(arguments[0], arguments, environment, file_actions=streams)
        _, status, usage = os.wait4(child, 0)
        samples.seconds.append(time.perf_counter() - start)
        if status != 0:
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
            raise CannotMeasure(f"this failed: {' '.join(arguments)}\n{message}")
    samples.peak = max(samples.peak, usage.ru_maxrss * 1024)
    return samples


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
    for number in range(count):
        path = directory / f"part-{number % directories:04}" / f"file-{number:06}.bin"
        path.parent.mkdir(exist_ok=True)
        total += path.write_bytes(os.urandom(generator.randint(0, 2 * average)))
    return total


@contextmanager
def stage(bench, name):
    """A project with an empty model, and where its archive and its directory belong; removed at the end."""
    say(name)
    with tempfile.TemporaryDirectory(dir=bench.scratch) as directory:
        root = Path(directory)
        model = root / "project/model"
        model.mkdir(parents=True)
        (root / "project/modelseal.toml").write_text(RECIPE)
        yield model, bench.build(root / "project", root / "archive.tar"), root / "archive.tar", root / "unpacked"


def measure_start(bench):
    say("start")
    start, nothing = Samples(), Samples()
    for _ in range(STARTS):
        run(Command([bench.modelseal, "--version"]), start)
        run(Command(["true"]), nothing)
    shown = [f"{samples.median() * 1000:.1f} ms" for samples in (start, nothing)]
    row = [f"`--version` ({STARTS} rounds)", shown[0], f"`true`: {shown[1]}", ""]
    bench.works.append(row + bench.judge("at most 5 ms", start.median() <= 0.005))


def measure_large_file(bench):
    name = f"one file of {bench.sizes.large_file / GIBI:.3g} GiB"
    with stage(bench, name) as (model, build, archive, directory):
        weights, copy, extracted = model / "weights.safetensors", archive.with_name("copy"), archive.with_name("extracted")
        write_safetensors(weights, bench.sizes.large_file)
        peer, copying = "`cp --reflink=never`, then `sync`", Command(shell(COPY_AND_SYNC, weights, copy), copy)
        built, _ = bench.compare(f"`build`, {name}", build, peer, copying, "at most 1.5x the time", 1 / 1.5)
        remove(copy)
        unpack, peer = bench.unpack(archive, directory), "`tar xf`, then `sync -f`"
        extracting = Command(shell(EXTRACT_AND_SYNC, archive, extracted), extracted)
        unpacked, _ = bench.compare(f"`unpack`, {name}", unpack, peer, extracting)
        remove(extracted)
        verified = measure_verify_of_large_file(bench, directory, name)
        verified_archive = run(bench.verify(archive))
    limit = 64 * MEBI
    bench.add_peak(f"`build`, {name}", built, limit)
    bench.add_peak(f"`unpack`, {name}", unpacked, limit)
    bench.add_peak(f"`verify` of the archive, {name}", verified_archive, limit)
    bench.add_peak(f"`verify` of a directory, {name}", verified, limit)


def measure_verify_of_large_file(bench, directory, name):
    work, verify = f"`verify` of a directory, {name}", bench.verify(directory)
    peer, signing = "`model_signing verify key`", bench.model_signing(directory)
    samples, peers_samples = bench.compare(work, verify, peer, signing, "at least 2x as fast", 2)
    bench.add_peak(f"{peer}, {name}", peers_samples)
    bench.compare(f"{work}, `--hash sha256`", bench.verify(directory, "--hash", "sha256"), peer, signing)

    filepack = [FILEPACK, "--data-dir", bench.scratch / "filepack", "--quiet"]
    # Beside the directory: within it, it would be a file that modelseal has not sealed.
    manifest = ["--manifest", bench.scratch / "manifest.filepack"]
    run(Command([*filepack, "keygen"]))
    run(Command([*filepack, "create", directory, *manifest, "--sign"]))
    check = ["verify", directory, *manifest, "--key", "master"]
    bench.compare(work, verify, "`filepack verify`", Command([*filepack, *check]))
    bench.compare(work, verify, "`filepack --parallel verify`", Command([*filepack, "--parallel", *check]))

    weights = directory / "weights.safetensors"
    bench.compare(work, verify, "`sha256sum` of the file", Command(["sha256sum", weights]))
    halves = Command(shell(READ_HALVES, weights, bench.sizes.large_file // MEBI // 2))
    bench.add_limit(work, verify, "`dd` of both halves at once", halves)
    return samples


def measure_small_files(bench):
    count = bench.sizes.small_files
    with stage(bench, f"{count:,} small files") as (model, build, archive, directory):
        total = write_small_files(model, count, 17_300, 200)
        run(build)
        run(bench.unpack(archive, directory))
        work, verify = f"`verify` of a directory, {count:,} files, {total / 1e6:.0f} MB", bench.verify(directory)
        peer, signing = "`model_signing verify key`", bench.model_signing(directory)
        bench.compare(work, verify, peer, signing, "at least 10x as fast", 10)
        # The bare model: `sha256sum` need not read what modelseal adds.
        bench.compare(work, verify, "`sha256sum`, two processes", Command(shell(HASH_TREE, model)), "faster", 1)
        bench.add_limit(work, verify, "`cat`, two processes", Command(shell(READ_TREE, model)))


def measure_compression(bench):
    name = f"{bench.sizes.compressed_model / GIBI:.3g} GiB, half text and half noise"
    with stage(bench, name) as (model, build, plain, _):
        write_text(model / "words.txt", bench.sizes.compressed_model // 2)
        write_random(model / "weights.bin", bench.sizes.compressed_model // 2)
        run(build)
        for compression, peer in (("gzip", "gzip -6"), ("zstd", "zstd -q -3 -T2")):
            ours, theirs = plain.with_suffix(f".{compression}"), plain.with_name(f"peer.{compression}")
            work = f"`build --compression {compression}`, {name}"
            build = bench.build(model.parent, ours, "--compression", compression)
            compressing = Command(shell(f'{peer} -c "$1" > "$2" && sync "$2"', plain, theirs), theirs)
            samples, _ = bench.compare(work, build, f"`{peer}` of the plain tar, then `sync`", compressing)
            bench.add_peak(work, samples)
            lengths = [f"{path.stat().st_size / MEBI:,.0f} MiB" for path in (ours, theirs)]
            bench.notes.append(f"{compression} of {name}: modelseal makes {lengths[0]}, `{peer}` {lengths[1]}.")


def commit(project):
    """Makes the project a repository with everything in it."""
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "state"]):
        subprocess.run(["git", "-C", project, *arguments], check=True, stdout=sys.stderr)


def measure_reproduce(bench):
    count = bench.sizes.work_tree
    with stage(bench, f"a work tree of {count:,} files") as (model, build, archive, _):
        project = model.parent
        recipe = RECIPE.replace("code = { none = true }", 'run = { command = ["sh", "make.sh"] }')
        (project / "modelseal.toml").write_text(recipe)
        (project / "make.sh").write_text("mkdir model && echo made > model/weights\n")
        (project / "code").mkdir()
        write_small_files(project / "code", count, 5_000, 20)
        model.rmdir()
        commit(project)
        run(build)
        rebuild = Command([bench.modelseal, "reproduce", archive, "--key", bench.key("pub"), "--source", project, "-q"])
        clone = archive.with_name("clone")
        by_hand = Command(shell(CLONE_AND_RUN, project, clone), clone)
        work = f"`reproduce`, a command that does nothing, {count:,} files"
        samples, _ = bench.compare(work, rebuild, "`git clone` and the command", by_hand)
        bench.add_demand(f"{work}: beyond the command", samples.median(), 1.0)


def measure_diff(bench):
    count = bench.sizes.many_files
    with stage(bench, f"two releases of {count:,} files") as (model, build, archive, _):
        write_small_files(model, count, 1_000, 1_000)
        run(build)
        other = archive.with_name("other.tar")
        next(model.rglob("*.bin")).write_bytes(b"another")
        run(bench.build(model.parent, other))
        seals = []
        for path in (archive, other):
            seals.append(path.with_suffix(".json"))
            name = "bench-1.0.0/.modelseal/manifest.sigstore.json"
            seals[-1].write_bytes(subprocess.run(["tar", "xOf", path, name], capture_output=True, check=True).stdout)
        samples = run_often(bench, Command([bench.modelseal, "diff", *seals, "-q"]))
        bench.add_demand(f"`diff` of two manifests of {count:,} files", samples.median(), 1.0)

    size = bench.sizes.compressed_model
    with stage(bench, f"two tensors of {size / GIBI:.3g} GiB") as (model, build, archive, directory):
        unpacked = []
        for number in range(2):
            write_safetensors(model / "weights.safetensors", size)
            run(build)
            unpacked.append(directory.with_name(f"unpacked-{number}"))
            run(bench.unpack(archive, unpacked[-1]))
        samples = run_often(bench, Command([bench.modelseal, "diff", *unpacked, "-q"]))
        hashing = run_often(bench, bench.verify(unpacked[0]))
        work = f"`diff` of two directories, a tensor of {size / GIBI:.3g} GiB in which every number differs"
        bench.alone.append([f"{work}, hashing both", f"{samples.median():.2f} s", "report", ""])
        # `diff` hashes both files before it compares them.
        comparing = samples.median() - 2 * hashing.median()
        bench.add_demand(f"{work}: less two `verify`", comparing, size / 1e9)
        bench.add_peak(work, samples, 150 * MEBI)


def run_often(bench, command):
    run(command)
    samples = Samples()
    for _ in range(bench.rounds):
        run(command, samples)
    return samples


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


def measure_profile(bench):
    size = bench.sizes.compressed_model
    with stage(bench, f"a table of {size / GIBI:.3g} GiB") as (model, build, archive, _):
        (model / "weights").write_text("w")
        data = archive.with_name("data.csv")
        write_csv(data, size)
        recipe = RECIPE + f'data = [{{ name = "train", path = "{data}", label = "class", timestamp = "at" }}]\n'
        (model.parent / "modelseal.toml").write_text(recipe)
        samples = run_often(bench, build)
        work = f"`build`, hashing and counting a CSV of {size / GIBI:.3g} GiB"
        bench.add_demand(work, samples.median(), size / 400e6)
        bench.add_peak(work, samples, 64 * MEBI)

        parquet = archive.with_name("data.parquet")
        run(Command([PEERS / "parquet/bin/python", "-c", CSV_TO_PARQUET, data, parquet]))
        (model.parent / "modelseal.toml").write_text(recipe.replace(str(data), str(parquet)))
        samples = run_often(bench, build)
        work = f"`build`, hashing and counting the same rows in Parquet, {parquet.stat().st_size / MEBI:.0f} MiB"
        bench.alone.append([work, f"{samples.median():.2f} s", "report", ""])
        bench.add_peak(work, samples)


def measure_drill(bench):
    """On the fixture: each fault is a release that the real `verify` judges."""
    say("drill")
    project = bench.scratch / "drill"
    shutil.copytree(REPOSITORY / "fixtures/wine", project)
    commit(project)
    archive, policy, public = project / "wine.tar", project / "gate.toml", bench.key("pub")
    run(bench.build(project, archive, "--clean"))
    run(Command([bench.modelseal, "policy", "init", archive, "--key", public, "-o", policy, "-q"], policy))
    samples = run_often(bench, Command([bench.modelseal, "drill", archive, "--policy", policy, "-q"]))
    bench.add_demand("`drill` on the wine model", samples.median(), 10)
    shutil.rmtree(project)


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


def measure_memory_of_many_files(bench):
    count = bench.sizes.many_files
    with stage(bench, f"{count:,} files") as (model, build, archive, directory):
        write_small_files(model, count, 1_000, 1_000)
        commands = {
            "`build`": build,
            "`unpack`": bench.unpack(archive, directory),
            "`verify` of the archive": bench.verify(archive),
            "`verify` of a directory": bench.verify(directory),
        }
        for work, command in commands.items():
            bench.add_peak(f"{work}, {count:,} files", run(command), 150 * MEBI)
    # Last, when this process is as large as it gets.
    bench.add_peak("`true`: the least that can be seen here", run(Command(["true"])))


def install_peers():
    say(f"peers: in {PEERS}")
    for name, environment in (("requirements", PEERS / "venv"), ("parquet", PEERS / "parquet")):
        if not (environment / "bin/pip").exists():
            venv.create(environment, with_pip=True)
        requirements = REPOSITORY / f"tests/peers/{name}.txt"
        install([environment / "bin/pip", "install", "--quiet", "-r", requirements])
    if not FILEPACK.exists() or version(FILEPACK) != f"filepack {FILEPACK_VERSION}":
        install(["cargo", "install", "--locked", f"filepack@{FILEPACK_VERSION}", "--root", PEERS / "filepack"])


def install(command):
    # The page goes to standard output, so nothing else may.
    if subprocess.run(command, stdout=sys.stderr, cwd=REPOSITORY).returncode != 0:
        raise CannotMeasure(f"this failed: {' '.join(map(str, command))}")


def build_modelseal():
    target = REPOSITORY / "target"
    install(["cargo", "build", "--release", "--locked", "--target-dir", target])
    return target / "release/modelseal"


def check_machine(scratch, sizes):
    """Two cores, the tools, and room on the disk and in the page cache."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise CannotMeasure("two cores are needed, and this process may use one")
    os.sched_setaffinity(0, cores[:2])
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise CannotMeasure(f"not installed: {', '.join(absent)}")
    # At most the model, its archive, the unpacked directory and one copy more exist at a time.
    free, needed = shutil.disk_usage(scratch).free, 5 * sizes.large_file + 2 * GIBI
    if free < needed:
        raise CannotMeasure(f"{scratch} has {free / GIBI:.1f} GiB free, {needed / GIBI:.1f} GiB are needed")
    available = memory("MemAvailable")
    if available < 3 * sizes.large_file:
        raise CannotMeasure(f"{available / GIBI:.1f} GiB of memory cannot keep the files in the page cache")


def system_value(path, name):
    """What a file of the kernel says behind a name and a colon."""
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def memory(name):
    return int(system_value("/proc/meminfo", name).split()[0]) * 1024


def version(tool):
    """The first line of what a tool says about itself."""
    result = subprocess.run([tool, "--version"], capture_output=True, text=True)
    if result.returncode != 0:
        raise CannotMeasure(f"{tool} does not tell its version")
    return result.stdout.splitlines()[0].strip("* ")


def machine(modelseal):
    flags = system_value("/proc/cpuinfo", "flags").split()
    present = [flag for flag in ("sha_ni", "avx2", "avx512f") if flag in flags]
    tools = [modelseal, PEERS / "venv/bin/model_signing", FILEPACK, *TOOLS]
    return [
        ["processor", f"{system_value('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores, two of them used"],
        ["instructions for digests", ", ".join(present) or "none"],
        ["memory", f"{memory('MemTotal') / GIBI:.0f} GiB"],
        ["kernel", f"{platform.system()} {platform.release()}"],
        ["versions", "; ".join(version(tool) for tool in tools)],
    ]


def speed(ratio):
    if ratio >= 10:
        return f"{ratio:.1f}x as fast"
    return f"{ratio:.2f}x as fast" + (f" ({1 / ratio:.2f}x the time)" if ratio < 1 else "")


def table(titles, rows):
    """A Markdown table; the titles are divided by bars."""
    titles = titles.split("|")
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, ["---"] * len(titles), *rows])


def page(bench, machine_rows):
    return "\n\n".join([
        "## Machine",
        table("what|found", machine_rows),
        "## Whole commands",
        f"Both sides in turns, warm cache, two cores: medians of {bench.rounds} rounds after one to warm up; "
        "in brackets the fastest and the slowest.",
        table("work|modelseal|peer|ratio|demanded|met", bench.works),
        "`model_signing` and `sha256sum` compute SHA-256, `filepack` BLAKE3; `modelseal verify` computes "
        "BLAKE3 unless told otherwise.",
        *bench.notes,
        "## Without a peer",
        f"Nothing does the same: medians of {bench.rounds} rounds.",
        table("work|time|demanded|met", bench.alone),
        "## Peak memory",
        "The largest of all rounds.",
        table("work|peak|demanded|met", bench.peaks),
        "## Distance to the limit",
        "Two processes read the same bytes and do nothing with them.",
        table("work|modelseal|reading|ratio", bench.limits),
    ])


def measure(arguments):
    sizes = QUICK if arguments.quick else FULL
    parent = arguments.scratch or REPOSITORY / "target"
    parent.mkdir(parents=True, exist_ok=True)
    check_machine(parent, sizes)
    install_peers()
    modelseal = arguments.modelseal.resolve() if arguments.modelseal else build_modelseal()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent.resolve()) as scratch:
        # First, so that nothing is missing when everything has been measured.
        machine_rows = machine(modelseal)
        bench = Bench(modelseal, Path(scratch), arguments.rounds, sizes, demanding=not arguments.quick)
        run(Command([modelseal, "keygen", "-q", "-o", bench.scratch / "key"]))
        measure_start(bench)
        measure_large_file(bench)
        measure_small_files(bench)
        measure_compression(bench)
        measure_profile(bench)
        measure_drill(bench)
        measure_reproduce(bench)
        measure_diff(bench)
        measure_memory_of_many_files(bench)
    print(page(bench, machine_rows))
    return 0 if bench.all_met else 1


def main():
    parser = argparse.ArgumentParser(description="Measure modelseal side by side with its peers.")
    parser.add_argument("--modelseal", type=Path, metavar="PATH", help="this binary instead of building one")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs (at least 5 to publish)")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where files are made (default: target/)")
    parser.add_argument("--quick", action="store_true", help="small files: only tries the script")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("at least one round is needed")
    try:
        return measure(arguments)
    except (CannotMeasure, OSError) as error:
        say(f"cannot measure: {error}")
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
