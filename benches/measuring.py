"""Runs commands in alternation and collects the rows of the tables."""

import os
import re
import shutil
import statistics
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path

MEBI = 1 << 20
GIBI = 1 << 30

# Isolated and without `site`: the smallest interpreter.
LAUNCHER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]

# `makes` is the output of a command. It is removed before each run, outside the measured time.
Command = namedtuple("Command", "arguments makes", defaults=[None])


# Directories of this run, in the words of a command.
SCRATCH = re.compile(r"\S*/(tmp|bench-)\w+/")


class CannotMeasure(Exception):
    """Something that the measurement needs is missing or does not work."""


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
        scale = 1000
        digits = 0 if self.median() >= 0.01 else 1
        return f"{self.median() * scale:.{digits}f} ms ({least * scale:.{digits}f} to {most * scale:.{digits}f})"


@dataclass
class Demand:
    """The value that a number must reach, and the value that it should reach."""

    least: float
    aim: float
    # The phrase for a value, with a placeholder for the number.
    text: str
    lower_is_better: bool = False

    def cells(self, value):
        reaches = (lambda bound: value <= bound) if self.lower_is_better else (lambda bound: value >= bound)
        met = "aim" if reaches(self.aim) else "yes" if reaches(self.least) else "**no**"
        return [self.text.format(self.least), self.text.format(self.aim), met]


def faster(least, aim):
    return Demand(least, aim, "{:g}x as fast")


def time_of(most, aim):
    return Demand(most, aim, "{:g}x the time", lower_is_better=True)


def memory_of(most, aim):
    return Demand(most, aim, "{:g} MiB", lower_is_better=True)


def within(most, aim):
    return Demand(most, aim, "{:g} ms", lower_is_better=True)


@dataclass
class Bench:
    """The settings of every measurement, and the rows of the tables so far."""

    modelseal: Path
    scratch: Path
    rounds: int
    sizes: tuple
    # The demands apply to the full sizes.
    demanding: bool
    all_met: bool = True
    works: list = field(default_factory=list)
    peaks: list = field(default_factory=list)
    limits: list = field(default_factory=list)
    alone: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    # An earlier binary, which is measured instead of the peers.
    before: Path = None
    # What the commands work on at the moment.
    stage: str = ""
    changes: list = field(default_factory=list)

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

    def alternate(self, *commands):
        """Runs all commands in alternation, so that other load on the machine affects each of them."""
        if self.before is not None:
            return [self.compare_with_before(commands[0])] * len(commands)
        for command in commands:
            run(command)
        # Pending writes of the input files must end before the measurement starts.
        sync(self.scratch)
        samples = [Samples() for _ in commands]
        for _ in range(self.rounds):
            for command, found in zip(commands, samples):
                run(command, found)
        return samples

    def compare_with_before(self, command):
        """Adds a row for a command and the same command of the earlier binary, in alternation."""
        earlier = [self.before if argument == self.modelseal else argument for argument in command.arguments]
        shown = " ".join(str(argument) for argument in command.arguments[command.arguments.index(self.modelseal) + 1 :])
        work = f"{self.stage}: `{SCRATCH.sub('', shown)}`"
        now, before = Samples(), Samples()
        for number in range(self.rounds + 1):
            # The first round warms up.
            for arguments, samples in ((command.arguments, now), (earlier, before)):
                run(Command(arguments, command.makes), samples if number > 0 else None)
        self.add_change(work, now, before)
        return now

    def add_change(self, work, now, before):
        ratio = now.median() / before.median()
        is_apart = min(now.seconds) > max(before.seconds)
        verdict = "**worse**" if ratio > 1.05 and is_apart else "no worse"
        self.all_met = self.all_met and verdict == "no worse"
        self.changes.append([work, now.shown(), before.shown(), f"{ratio:.2f}x the time", verdict])

    def compare(self, work, ours, peer, theirs, demand=None):
        """Adds a row. Without a demand, the row only reports."""
        ours, theirs = self.alternate(ours, theirs)
        ratio = theirs.median() / ours.median()
        is_time = demand is not None and demand.lower_is_better
        shown = f"{1 / ratio:.2f}x the time" if is_time else speed(ratio)
        row = [work, ours.shown(), f"{peer}: {theirs.shown()}", shown]
        self.works.append(row + self.judge(demand, 1 / ratio if is_time else ratio))
        return ours, theirs

    def add_peak(self, work, samples, demand=None):
        mebibytes = samples.peak / MEBI
        self.peaks.append([work, f"{mebibytes:.0f} MiB", *self.judge(demand, mebibytes)])

    def add_alone(self, work, seconds, demand=None):
        """Adds a row for a command without a peer."""
        shown = f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"
        self.alone.append([work, shown, *self.judge(demand, seconds * 1000)])

    def add_limit(self, work, ours, reader, reading):
        ours, reading = self.alternate(ours, reading)
        ratio = f"{ours.median() / reading.median():.2f}x the time"
        self.limits.append([work, ours.shown(), f"{reader}: {reading.shown()}", ratio])

    def judge(self, demand, value):
        """The last three cells of a row."""
        if demand is None or not self.demanding:
            return ["", "", "report"]
        cells = demand.cells(value)
        self.all_met = self.all_met and cells[-1] != "**no**"
        return cells


def run(command, samples=None):
    """Runs a command to its end and returns its time and memory, added to `samples` if given."""
    samples = samples or Samples()
    if command.makes:
        remove(command.makes)
        # Otherwise, pending writes of an earlier command would run during this one.
        sync(command.makes.parent)
    arguments = [str(argument) for argument in command.arguments]
    result = subprocess.run(LAUNCHER + arguments, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    if result.returncode != 0:
        raise CannotMeasure(f"this failed: {' '.join(arguments)}\n{result.stderr.strip()}")
    seconds, kibibytes = result.stdout.split()
    samples.seconds.append(float(seconds))
    samples.peak = max(samples.peak, int(kibibytes) * 1024)
    return samples


def sync(path):
    """Waits until everything on the file system of a path is written. Other file systems may have troubles of their own."""
    subprocess.run(["sync", "--file-system", path], check=True)


def run_often(bench, command):
    return bench.alternate(command)[0]


def shell(script, *arguments):
    # Paths are arguments of the script, so no path needs quoting.
    return ["sh", "-c", script, "sh", *arguments]


def remove(*paths):
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


def speed(ratio):
    if ratio >= 10:
        return f"{ratio:.1f}x as fast"
    return f"{ratio:.2f}x as fast" + (f" ({1 / ratio:.2f}x the time)" if ratio < 1 else "")
