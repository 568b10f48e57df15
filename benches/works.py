"""The measurements and their demands."""

import json
import shutil
import subprocess
import time
from collections import namedtuple

from inputs import (
    RECIPE,
    commit,
    stage,
    write_csv,
    write_random,
    write_safetensors,
    write_small_files,
    write_text,
)
from launch import launch
from measuring import (
    GIBI,
    MEBI,
    CannotMeasure,
    Command,
    Samples,
    faster,
    memory_of,
    remove,
    run,
    run_often,
    say,
    shell,
    time_of,
    within,
)
from peers import DVC, PEERS, REPOSITORY, Filepack, install, model_signing

# Sizes of models in bytes, or their number of files.
Sizes = namedtuple("Sizes", "large_file compressed_model several_files small_files many_files most_files work_tree")
FULL = Sizes(2 * GIBI, GIBI, 256 * MEBI, 20_000, 100_000, 1_000_000, 1_000)
QUICK = Sizes(64 * MEBI, 32 * MEBI, 8 * MEBI, 500, 2_000, 4_000, 100)

STARTS = 500

# A file system in memory.
MEMORY = "/dev/shm"

# A file's digest is cached only if nobody has touched the file for a minute.
SETTLED = 61

COPY_AND_SYNC = 'cp --reflink=never "$1" "$2" && sync "$2"'
EXTRACT_AND_SYNC = 'mkdir "$2" && tar xf "$1" -C "$2" && sync "$2/$3"'
COMPRESS_AND_SYNC = 'source=$1 target=$2 && shift 2 && "$@" -c "$source" > "$target" && sync "$target"'
CLONE_AND_RUN = 'git clone -q --no-hardlinks "$1" "$2" && cd "$2" && sh make.sh'
HASH_TREE = 'find "$1" -type f -print0 | xargs -0 -P2 -n 500 sha256sum'
READ_TREE = 'find "$1" -type f -print0 | xargs -0 -P2 -n 500 cat'
READ_HALVES = (
    'dd if="$1" of=/dev/null bs=1M count="$2" status=none & first=$!;'
    'dd if="$1" of=/dev/null bs=1M skip="$2" status=none && wait $first'
)
CSV_TO_PARQUET = """
import pyarrow.csv, pyarrow.parquet, sys
rows = pyarrow.csv.open_csv(sys.argv[1])
with pyarrow.parquet.ParquetWriter(sys.argv[2], rows.schema) as file:
    file.write_table(pyarrow.Table.from_batches(rows))
"""


def measure_start(bench):
    say("start")
    start, nothing = Samples(), Samples()
    # The two commands run directly one after the other. Starting an interpreter in between would take ten times as long
    # as both.
    for _ in range(STARTS):
        peer = [str(bench.before), "--version"] if bench.before else ["true"]
        for command, samples in (([str(bench.modelseal), "--version"], start), (peer, nothing)):
            succeeded, seconds, _ = launch(command)
            if not succeeded:
                raise CannotMeasure(f"this failed: {' '.join(command)}")
            samples.seconds.append(seconds)
    if bench.before:
        bench.add_change(f"`--version` ({STARTS} rounds)", start, nothing)
        return
    row = [f"`--version` ({STARTS} rounds)", start.shown(), f"`true`: {nothing.shown()}", ""]
    bench.works.append(row + bench.judge(within(3, 1), start.median() * 1000))
    for peer in (PEERS / "venv/bin/model_signing", DVC):
        starts = run_often(bench, Command([peer, "--version"]))
        bench.add_alone(f"`{peer.name} --version`: what it takes to start", starts.median())


def measure_large_file(bench):
    name = f"one file of {bench.sizes.large_file / GIBI:.3g} GiB"
    with stage(bench, name) as (model, build, archive, directory):
        weights, copy, extracted = model / "weights.safetensors", archive.with_name("copy"), archive.with_name("extracted")
        write_safetensors(weights, bench.sizes.large_file)
        copying = Command(shell(COPY_AND_SYNC, weights, copy), copy)
        peer = "`cp --reflink=never`, then `sync` of the copy"
        built, _ = bench.compare(f"`build`, {name}", build, peer, copying, time_of(1.15, 1.05))
        remove(copy)
        inside = "bench-1.0.0/weights.safetensors"
        extracting = Command(shell(EXTRACT_AND_SYNC, archive, extracted, inside), extracted)
        peer = "`tar xf`, then `sync` of the file"
        work = f"`unpack`, {name}"
        unpacked, _ = bench.compare(work, bench.unpack(archive, directory), peer, extracting, time_of(1.15, 1.0))
        remove(extracted)
        verified = measure_verify_of_large_file(bench, directory, archive, name)
    demand = memory_of(64, 16)
    bench.add_peak(f"`build`, {name}", built, demand)
    bench.add_peak(f"`unpack`, {name}", unpacked, demand)
    bench.add_peak(f"`verify` of a directory, {name}", verified[0], demand)
    bench.add_peak(f"`verify` of the archive, {name}", verified[1], demand)


def measure_verify_of_large_file(bench, directory, archive, name):
    work, verify = f"`verify` of a directory, {name}", bench.verify(directory)
    peer, signing = "`model_signing verify key`", model_signing(bench, directory)
    of_directory, peers_samples = bench.compare(work, verify, peer, signing, faster(4, 6))
    bench.add_peak(f"{peer}, {name}", peers_samples)
    filepack = Filepack(bench, directory)
    bench.compare(work, verify, "`filepack verify`", filepack.verify(), faster(1, 1.3))
    bench.compare(work, verify, "`filepack --parallel verify`", filepack.verify("--parallel"))
    weights = directory / "weights.safetensors"
    bench.compare(work, verify, "`sha256sum` of the file", Command(["sha256sum", weights]))
    bench.compare(f"{work}, `--hash sha256`", bench.verify(directory, "--hash", "sha256"), peer, signing)
    archive_work, verify_archive = f"`verify` of the archive, {name}", bench.verify(archive)
    of_archive, _ = bench.compare(archive_work, verify_archive, f"{peer} of its directory", signing, faster(3, 5))

    half = bench.sizes.large_file // MEBI // 2
    halves = "`dd` of both halves at once"
    bench.add_limit(work, verify, halves, Command(shell(READ_HALVES, weights, half)))
    bench.add_limit(archive_work, verify_archive, halves, Command(shell(READ_HALVES, archive, half)))
    return of_directory, of_archive


def measure_several_files(bench):
    name = f"eight files of {bench.sizes.several_files / MEBI:.0f} MiB"
    with stage(bench, name) as (model, build, archive, directory):
        for number in range(8):
            write_random(model / f"part-{number}", bench.sizes.several_files)
        run(build)
        run(bench.unpack(archive, directory))
        remove(archive)
        work, verify = f"`verify --hash sha256`, {name}", bench.verify(directory, "--hash", "sha256")
        peer = "`model_signing verify key`"
        bench.compare(work, verify, peer, model_signing(bench, directory), faster(1.8, 3.5))
        reading = Command(shell(READ_TREE.replace("-n 500", "-n 1"), model))
        bench.add_limit(work, verify, "`cat`, two processes", reading)


def measure_small_files(bench):
    count = bench.sizes.small_files
    with stage(bench, f"{count:,} small files") as (model, build, archive, directory):
        total = write_small_files(model, count, 17_300, 200)
        run(build)
        run(bench.unpack(archive, directory))
        work, verify = f"`verify` of a directory, {count:,} files, {total / 1e6:.0f} MB", bench.verify(directory)
        peer, signing = "`model_signing verify key`", model_signing(bench, directory)
        bench.compare(work, verify, peer, signing, faster(15, 25))
        # The bare model, because `sha256sum` need not read what modelseal adds.
        hashing = Command(shell(HASH_TREE, model))
        bench.compare(work, verify, "`sha256sum`, two processes", hashing, faster(2.5, 4))
        filepack = Filepack(bench, directory)
        bench.compare(work, verify, "`filepack verify`", filepack.verify(), faster(1, 1.3))
        bench.compare(work, verify, "`filepack --parallel verify`", filepack.verify("--parallel"))
        bench.add_limit(work, verify, "`cat`, two processes", Command(shell(READ_TREE, model)))


def measure_compression(bench):
    size = bench.sizes.compressed_model
    kinds = [("text", write_text, faster(1, 1.2)), ("random bytes", write_random, faster(5, 10))]
    for kind, write, demand in kinds:
        name = f"{size / GIBI:.3g} GiB of {kind}"
        with stage(bench, name) as (model, build, archive, _):
            write(model / "content", size)
            build = bench.build(model.parent, archive.with_suffix(".gz"), "--compression", "gzip")
            theirs = archive.with_name("peer.gz")
            work = f"`build --compression gzip`, {name}"
            # The default of pigz is level 6, and that of modelseal is 5.
            for level, demand in [("-6", demand)] + [("-5", None)] * (bench.before is None):
                peer, compressing = f"pigz -p2 {level}", compress(["pigz", "-p2", level], model / "content", theirs)
                samples, _ = bench.compare(work, build, f"`{peer}`, then `sync`", compressing, demand)
                note_lengths(bench, name, build.makes, peer, theirs)
            bench.add_peak(work, samples)
    name = f"{size / GIBI:.3g} GiB, half text and half noise"
    with stage(bench, name) as (model, _, archive, _):
        write_text(model / "words.txt", size // 2)
        write_random(model / "weights.bin", size // 2)
        run(bench.build(model.parent, archive))
        build = bench.build(model.parent, archive.with_suffix(".zst"), "--compression", "zstd")
        theirs = archive.with_name("peer.zst")
        compressing = compress(["zstd", "-q", "-3", "-T2"], archive, theirs)
        work = f"`build --compression zstd`, {name}"
        samples, _ = bench.compare(work, build, "`zstd -q -3 -T2` of the plain tar, then `sync`", compressing)
        bench.add_peak(work, samples)
        note_lengths(bench, name, build.makes, "zstd -q -3 -T2", theirs)


def compress(compressor, source, target):
    return Command(shell(COMPRESS_AND_SYNC, source, target, *compressor), target)


def note_lengths(bench, name, ours, peer, theirs):
    if bench.before:
        return
    lengths = [f"{path.stat().st_size / MEBI:,.0f} MiB" for path in (ours, theirs)]
    bench.notes.append(f"{name}: modelseal makes {lengths[0]}, `{peer}` {lengths[1]}.")


def data_recipe(path):
    return RECIPE + f'data = [{{ name = "train", path = "{path}" }}]\n'


def measure_data_set(bench):
    count = bench.sizes.small_files
    with stage(bench, f"a data set of {count:,} files") as (model, build, archive, _):
        (model / "weights").write_text("w")
        data = archive.with_name("repository") / "data"
        total = write_small_files(data, count, 17_300, 200)
        (model.parent / "modelseal.toml").write_text(data_recipe(data))
        environment = ["env", "DVC_NO_ANALYTICS=1", "sh", "-c", 'cd "$0" && exec "$@"', data.parent, DVC]
        for arguments in (["init", "-q", "--no-scm"], ["add", "-q", "data"]) if bench.before is None else ():
            install([*map(str, environment), *arguments])
        time.sleep(SETTLED)
        work = f"`build`, hashing a data set of {count:,} files, {total / 1e6:.0f} MB"
        bench.add_alone(f"{work}, without a cache", run_often(bench, bench.build(model.parent, archive, "--no-cache")).median())
        run(build)
        check_cached(build, count)
        status = Command([*environment, "status"])
        bench.compare(f"{work}, again", build, "`dvc status`", status, faster(10, 30))


def check_cached(build, count):
    """Checks that no file is read. Otherwise, the row would show something else."""
    command = [*map(str, build.arguments), "--format", "json"]
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    if report.get("cached_files") != count:
        raise CannotMeasure(f"of {count} files {report.get('cached_files')} were known: is the disk one that is remembered?")


def measure_most_files(bench):
    count = bench.sizes.most_files
    with stage(bench, f"{count:,} files, some minutes") as (model, build, archive, directory):
        total = write_small_files(model, count, 200, 2_000)
        written = time.monotonic()
        name = f"{count:,} files, {total / 1e6:.0f} MB"
        demand = memory_of(800, 400)
        samples = run(build)
        bench.add_peak(f"`build`, {name}", samples, demand)
        bench.add_alone(f"`build`, {name}", samples.median())
        for work, command in {
            f"`verify` of the archive, {name}": bench.verify(archive),
            f"`unpack`, {name}": bench.unpack(archive, directory),
            f"`verify` of a directory, {name}": bench.verify(directory),
        }.items():
            samples = run(command)
            bench.add_peak(work, samples, demand)
            bench.add_alone(work, samples.median())
        remove(archive, directory)

        data = model.rename(model.with_name("data"))
        model.mkdir()
        (model / "weights").write_text("w")
        (model.parent / "modelseal.toml").write_text(data_recipe(data))
        time.sleep(max(0, SETTLED - (time.monotonic() - written)))
        first, again = run(build), run_often(bench, build)
        work = f"`build`, hashing a data set of {name}"
        for what, samples in ((work, first), (f"{work}, again", again)):
            bench.add_alone(what, samples.median())
            bench.add_peak(what, samples, demand)


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
            samples = run(command)
            bench.add_peak(f"{work}, {count:,} files", samples, memory_of(150, 64))
            bench.add_alone(f"{work}, {count:,} files", samples.median())
        shown = Command([bench.modelseal, "show", archive, "-q"])
        bench.add_alone(f"`show` of {count:,} files", run_often(bench, shown).median(), within(1000, 500))
    bench.add_peak("`true`: the least that can be seen here", run(Command(["true"])))


def measure_reproduce(bench):
    """Runs in memory. Each round removes a thousand files, and ext4 searches around such inodes for minutes."""
    count = bench.sizes.work_tree
    with stage(bench, f"a work tree of {count:,} files", MEMORY) as (model, build, archive, _):
        project = model.parent
        recipe = RECIPE.replace("code = { none = true }", 'run = { command = ["sh", "make.sh"] }')
        (project / "modelseal.toml").write_text(recipe)
        (project / "make.sh").write_text("mkdir model && echo made > model/weights\n")
        write_small_files(project / "code", count, 5_000, 20)
        model.rmdir()
        commit(project)
        run(build)
        temporary = ["env", f"TMPDIR={MEMORY}"]
        reproduce = ["reproduce", archive, "--key", bench.key("pub"), "--source", project, "-q"]
        clone = archive.with_name("clone")
        by_hand = Command([*temporary, *shell(CLONE_AND_RUN, project, clone)], clone)
        work = f"`reproduce`, a command that does nothing, {count:,} files, all in memory"
        rebuild = Command([*temporary, bench.modelseal, *reproduce])
        samples, _ = bench.compare(work, rebuild, "`git clone` and the command", by_hand)
        bench.add_alone(work, samples.median(), within(1000, 1000))


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
        bench.add_alone(f"`diff` of two manifests of {count:,} files", samples.median(), within(1000, 1000))

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
        bench.add_alone(f"{work}, hashing both", samples.median())
        # `diff` hashes both files before it compares them.
        comparing = samples.median() - 2 * hashing.median()
        bound = round(size / 1e6)
        bench.add_alone(f"{work}: less two `verify`", comparing, within(bound, bound))
        bench.add_peak(work, samples, memory_of(150, 150))


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
        bound = round(size / 400e3)
        bench.add_alone(work, samples.median(), within(bound, bound))
        bench.add_peak(work, samples, memory_of(64, 64))

        parquet = archive.with_name("data.parquet")
        run(Command([PEERS / "parquet/bin/python", "-c", CSV_TO_PARQUET, data, parquet]))
        (model.parent / "modelseal.toml").write_text(recipe.replace(str(data), str(parquet)))
        samples = run_often(bench, build)
        work = f"`build`, hashing and counting the same rows in Parquet, {parquet.stat().st_size / MEBI:.0f} MiB"
        bench.add_alone(work, samples.median())
        bench.add_peak(work, samples)


def measure_drill(bench):
    """Runs on the fixture. Each fault is a release that the real `verify` judges."""
    say("drill")
    bench.stage = "drill"
    project = bench.scratch / "drill"
    shutil.copytree(REPOSITORY / "fixtures/wine", project)
    commit(project)
    archive, policy, public = project / "wine.tar", project / "gate.toml", bench.key("pub")
    run(bench.build(project, archive, "--clean"))
    run(Command([bench.modelseal, "policy", "init", archive, "--key", public, "-o", policy, "-q"], policy))
    samples = run_often(bench, Command([bench.modelseal, "drill", archive, "--policy", policy, "-q"]))
    bench.add_alone("`drill` on the wine model", samples.median(), within(10_000, 10_000))
    shutil.rmtree(project)


ALL = [
    measure_start,
    measure_reproduce,
    measure_drill,
    measure_large_file,
    measure_several_files,
    measure_small_files,
    measure_compression,
    measure_data_set,
    measure_profile,
    measure_diff,
    measure_memory_of_many_files,
    measure_most_files,
]
