"""What the comparisons share: processes whose cost is known at their end, medians, a word on the machine."""
import json
import os
import pathlib
import platform
import statistics
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
POLL_S = 0.05


class Process:
    """A child process; finish() gives its wall time, processor time and largest resident memory.

    wait4 knows the memory too, but its number begins with that of the Python process that forked. So the
    kernel's high-water mark of the program itself is read while it runs.
    """

    def __init__(self, command, env=None, cwd=None, stdout=subprocess.PIPE):
        self.errors = subprocess.DEVNULL if env is None else open(os.path.join(env["TMPDIR"], "errors"), "ab")
        self.began = time.monotonic()
        self.child = subprocess.Popen([str(part) for part in command], env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                                      stdout=stdout, stderr=self.errors, start_new_session=True)
        self.resident_kib = 0
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self):
        while not self.over.is_set():
            self.look()
            self.over.wait(POLL_S)

    def look(self):
        try:
            with open(f"/proc/{self.child.pid}/status", encoding="ascii", errors="replace") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        self.resident_kib = max(self.resident_kib, int(line.split()[1]))
        except OSError:
            pass

    def processor_so_far(self):
        """User and system seconds until now."""
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number):
        self.look()
        os.kill(self.child.pid, number)

    def finish(self, seconds):
        """Waits for the end. A child that takes longer is killed, and its exit code says so."""
        killer = threading.Timer(seconds, self.child.kill)
        killer.start()
        try:
            _, status, used = os.wait4(self.child.pid, 0)
        finally:
            killer.cancel()
        wall = time.monotonic() - self.began
        self.over.set()
        self.watcher.join()
        self.child.returncode = os.waitstatus_to_exitcode(status)
        if self.child.stdout:
            self.child.stdout.close()
        if self.errors != subprocess.DEVNULL:
            self.errors.close()
        return {"exit": self.child.returncode, "wall_s": round(wall, 4),
                "cpu_s": round(used.ru_utime + used.ru_stime, 4),
                "rss_mib": round((self.resident_kib or used.ru_maxrss) / 1024, 1)}

    def stop(self):
        """Ends a child that may still run."""
        if self.child.returncode is None:
            try:
                os.kill(self.child.pid, 9)
            except ProcessLookupError:
                pass
            self.finish(10)


def write_noise(path, mib):
    """A file of bytes that neither compress nor repeat within reach of a cache."""
    if path.exists() and path.stat().st_size == mib << 20:
        return
    with open(path, "wb") as out:
        for _ in range(mib):
            out.write(os.urandom(1 << 20))
    os.sync()


def machine():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            model = line.split(":", 1)[1].strip()
            break
    return {"processor": model, "processors": len(os.sched_getaffinity(0)), "system": platform.release(),
            "load": os.getloadavg()[0]}


def medians(runs, keys):
    return {key: round(statistics.median(run[key] for run in runs), 4) for key in keys}


def table(rows, columns):
    """Aligned text; rows are dictionaries with a name."""
    cells = [["", *columns]] + [[row["name"], *(f"{row[c]:g}" for c in columns)] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(line, widths))) for line in cells)


def report(result, path):
    print(json.dumps(result["medians"], indent=2))
    if path:
        pathlib.Path(path).write_text(json.dumps(result, indent=2) + "\n")
        print(f"all runs: {path}")
