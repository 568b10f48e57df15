#!/usr/bin/env python3
"""Compares the speed and memory of modelseal with its peers and prints a Markdown page.

The script compares whole commands, including start-up, as ratios. Both sides alternate within one run, on two cores.
The script makes the input files itself, and they are in the page cache. Each side runs once to warm up and then
`--rounds` times. The page shows the medians and the ratio of the medians. Peak memory is what the kernel reports when
a command ends.

    python3 benches/compare.py > page.md              everything: about thirty minutes, 12 GiB of disk
    python3 benches/compare.py --quick                small files: tries the script, demands nothing
    python3 benches/compare.py --only small_files     one part of it
    python3 benches/compare.py --modelseal PATH       measures another binary than the one built here
    python3 benches/compare.py --before PATH          measures an earlier binary of modelseal instead of the peers

The first run installs the peers below `target/bench-peers`: model-signing, DVC and pyarrow in virtual environments,
filepack through cargo. Linux only.

Exit codes: 0 if every demand is met, 1 if one is not, 2 if the script could not measure.
"""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

import works
from measuring import GIBI, Bench, CannotMeasure, Command, run, say
from peers import (
    DVC,
    FILEPACK,
    PEERS,
    REPOSITORY,
    TOOLS,
    build_modelseal,
    check_machine,
    install_peers,
    memory,
    system_value,
    version,
)


def machine(modelseal):
    flags = system_value("/proc/cpuinfo", "flags").split()
    present = [flag for flag in ("sha_ni", "avx2", "avx512f") if flag in flags]
    tools = [version(tool) for tool in (modelseal, PEERS / "venv/bin/model_signing", FILEPACK)]
    tools += [f"dvc {version(DVC)}", *map(version, TOOLS)]
    model = f"family {system_value('/proc/cpuinfo', 'cpu family')}, model {system_value('/proc/cpuinfo', 'model')}"
    siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list").read_text().strip()
    shared = "alone on its core" if siblings == "0" else f"on one core with {siblings}"
    cores = f"{os.cpu_count()} processors, two of them used, the first {shared}"
    return [
        ["processor", f"{system_value('/proc/cpuinfo', 'model name')} ({model}), {cores}"],
        ["instructions for digests", ", ".join(present) or "none"],
        ["memory", f"{memory('MemTotal') / GIBI:.0f} GiB"],
        ["kernel", f"{platform.system()} {platform.release()}"],
        ["versions", "; ".join(tools)],
    ]


def table(titles, rows):
    """A Markdown table. Bars separate the titles."""
    titles = titles.split("|")
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, ["---"] * len(titles), *rows])


def page(bench, machine_rows):
    return "\n\n".join([
        "## Machine",
        table("what|found", machine_rows),
        "## Whole commands",
        f"Both sides in turns, warm cache, two cores: medians of {bench.rounds} rounds after one to warm up; "
        "in brackets the fastest and the slowest.",
        table("work|modelseal|peer|ratio|at least|aim|met", bench.works),
        "`model_signing` and `sha256sum` compute SHA-256, `filepack` BLAKE3; `modelseal verify` computes "
        "BLAKE3 unless told otherwise. `unpack` waits until all of its file system is on the disk, `tar` and `sync` "
        "until one file is; `pigz` alone compresses at level 6.",
        *bench.notes,
        "## Distance to the limit",
        "Two processes read the same bytes and do nothing with them.",
        table("work|modelseal|reading|ratio", bench.limits),
        "## Peak memory",
        "The largest of all rounds.",
        table("work|peak|at most|aim|met", bench.peaks),
        "## Without a peer",
        f"Medians of {bench.rounds} rounds; works on 100,000 and on 1,000,000 files once, but for `show` and `diff`.",
        table("work|time|at most|aim|met", bench.alone),
    ])


def changes(bench):
    """What the works take now, compared with an earlier binary."""
    return "\n\n".join([
        f"Both binaries in turns, warm cache, two cores: medians of {bench.rounds} rounds after one to warm up; in "
        "brackets the fastest and the slowest. A work is worse if it takes more than 1.05 times the time, and its "
        "fastest round took longer than the slowest one before.",
        table("work|now|before|ratio|verdict", bench.changes),
    ])


def measure(arguments):
    sizes = works.QUICK if arguments.quick else works.FULL
    parent = arguments.scratch or REPOSITORY / "target"
    parent.mkdir(parents=True, exist_ok=True)
    check_machine(parent, sizes)
    install_peers()
    modelseal = arguments.modelseal.resolve() if arguments.modelseal else build_modelseal()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent.resolve()) as scratch:
        # First, so that nothing is missing after the measurements.
        machine_rows = machine(modelseal)
        bench = Bench(modelseal, Path(scratch), arguments.rounds, sizes, demanding=not (arguments.quick or arguments.before))
        bench.before = arguments.before and arguments.before.resolve()
        # Do not use the user's own keys and caches.
        os.environ |= {"XDG_CACHE_HOME": f"{scratch}/cache", "XDG_CONFIG_HOME": f"{scratch}/config", "DVC_SITE_CACHE_DIR": f"{scratch}/dvc"}
        run(Command([modelseal, "keygen", "-q", "-o", bench.scratch / "key"]))
        for work in works.ALL:
            if arguments.only is None or work.__name__ == f"measure_{arguments.only}":
                work(bench)
    print(changes(bench) if bench.before else page(bench, machine_rows))
    return 0 if bench.all_met else 1


def main():
    parser = argparse.ArgumentParser(description="Measure modelseal side by side with its peers.")
    parser.add_argument("--modelseal", type=Path, metavar="PATH", help="this binary instead of building one")
    parser.add_argument("--before", type=Path, metavar="PATH", help="an earlier binary, instead of the peers")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs (at least 5 to publish)")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where files are made (default: target/)")
    parser.add_argument("--quick", action="store_true", help="small files: only tries the script")
    names = [work.__name__.removeprefix("measure_") for work in works.ALL]
    parser.add_argument("--only", choices=names, metavar="PART", help=f"one part: {', '.join(names)}")
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
