"""Runs test cases, each in a process of its own, with a mutant switched on or with none."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from build import HOME

MAP_BYTES = 0x10000
ADDRESS_SPACE = 8 << 30  # a mutant that takes all memory only ends itself


class Case:
    """One test case of an executable."""

    def __init__(self, folder, binary, name):
        self.folder, self.binary, self.name = folder, binary, name
        self.seconds, self.reached = 0.0, set()

    def command(self):
        # What is special to Catch2 in the name of a test.
        return [str(self.binary), re.sub(r'([\\,\[\]"*~])', r"\\\1", self.name)]

    def __str__(self):
        return f"{self.folder}: {self.name}"


def names(binary):
    """Test cases of an executable that run without being asked for."""
    for options in (["--list-test-names-only"], ["--list-tests", "--verbosity", "quiet"]):
        got = subprocess.run([str(binary), "~[.]", *options], capture_output=True, text=True)
        found = [line for line in got.stdout.splitlines() if line.strip()]
        if found and not got.stderr:
            return [line.strip() for line in found]
    raise SystemExit(f"{binary}: no test cases")


def execute(case, limit, number=0, trace=None):
    """Runs a case. Returns "" when it passed, else how it failed, and the seconds it took."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=HOME))
    environment = dict(os.environ, TMPDIR=str(scratch))
    for name, value in (("COPSE_MUTANT", number), ("COPSE_MUTANT_TRACE", trace)):
        environment.pop(name, None)
        if value:
            environment[name] = str(value)
    log = scratch / "log"
    began = time.monotonic()
    with open(log, "wb") as to:
        child = subprocess.Popen(["nice", "prlimit", f"--as={ADDRESS_SPACE}", "--core=0", *case.command()],
                                 stdin=subprocess.DEVNULL, stdout=to, stderr=to, cwd=scratch, env=environment,
                                 start_new_session=True)  # fmt: skip
        try:
            status = child.wait(limit)
            how = "" if status == 0 else "failed" if status > 0 and status < 128 else "crashed"
        except subprocess.TimeoutExpired:
            how = "hung"
        try:  # also what it may have started
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
    took = time.monotonic() - began
    if how == "failed" and "terminate called" in log.read_text(errors="replace"):
        how = "crashed"
    if how == "" and "No tests ran" in log.read_text(errors="replace"):
        how = "not there"
    shutil.rmtree(scratch, ignore_errors=True)
    return how, took


def trace_of(case):
    """Runs a case without a mutant and notes what it reaches. Returns whether it passed, within three attempts."""
    for _ in range(3):
        with tempfile.NamedTemporaryFile(dir=HOME, prefix="map-") as file:
            file.truncate(MAP_BYTES)
            how, case.seconds = execute(case, 300, trace=file.name)
            seen = pathlib.Path(file.name).read_bytes()
        case.reached = {n for n, byte in enumerate(seen) if byte}
        if not how:
            return True
    return False


def in_parallel(jobs, work, items):
    """Calls work(item) for each item, in the order of items, from as many threads."""
    queue, lock, errors = iter(items), threading.Lock(), []

    def loop():
        while not errors:
            with lock:
                item = next(queue, None)
            if item is None:
                return
            try:
                work(item)
            except BaseException as error:  # raised again below
                errors.append(error)

    threads = [threading.Thread(target=loop) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def baseline(binaries, hashes, jobs):
    """The cases that pass, with how long each takes and which mutants it reaches, and the names of those that fail."""
    kept_file = HOME / "baseline.json"
    kept = json.loads(kept_file.read_text()) if kept_file.is_file() else {}
    cases = [Case(folder, binary, name) for folder, binary in binaries.items() for name in names(binary)]
    fresh, failed = [], []
    for case in cases:
        known = kept.get(f"{hashes[case.folder]}|{case.name}")
        if known:
            case.seconds, case.reached = known["seconds"], set(known["reached"])
        else:
            fresh.append(case)

    def one(case):
        if not trace_of(case):
            failed.append(str(case))

    in_parallel(jobs, one, fresh)
    for case in fresh:
        if str(case) not in failed:
            kept[f"{hashes[case.folder]}|{case.name}"] = {"seconds": case.seconds, "reached": sorted(case.reached)}
    save(kept_file, {k: v for k, v in kept.items() if k.split("|")[0] in hashes.values()})
    return [case for case in cases if str(case) not in failed], sorted(failed)


def save(path, value):
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value, indent=1))
    fresh.replace(path)


def hunt(mutant, cases):
    """Runs the cases that reach a mutant, cheap ones and those of its folder first, until one fails."""
    near = [c for c in cases if mutant.number in c.reached]
    near.sort(key=lambda c: c.seconds * (1 if c.folder == mutant.folder else 3))
    for case in near:
        how, _ = execute(case, 5 * case.seconds + 10, mutant.number)
        if not how:
            continue
        # A test that fails now and then must not take the honour.
        again = how == "hung" or any(execute(case, 5 * case.seconds + 10, mutant.number)[0] for _ in range(2))
        if again and execute(case, 5 * case.seconds + 60)[0] == "":
            return {"by": str(case), "folder": case.folder, "how": how, "tests": len(near)}
    return {"by": "", "folder": "", "how": "survived" if near else "not reached", "tests": len(near)}
