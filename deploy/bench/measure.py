"""What the peer scripts share: summaries of times, memory of a process tree, one JSON line."""

import json
import platform
import resource
import statistics
import threading
from importlib import metadata

import psutil


def summary(times):
    """Median, least and greatest of some seconds, as the Rust side writes them."""
    return {
        "median": round(statistics.median(times), 6),
        "min": round(min(times), 6),
        "max": round(max(times), 6),
        "n": len(times),
    }


def versions(*packages):
    """Versions of Python and of installed packages."""
    found = {name: metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def own_peak_bytes():
    """Largest resident size of this process so far (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def emit(**fields):
    """Prints the measurement as one JSON object on a line of its own."""
    print(json.dumps(fields), flush=True)


class PeakMemory:
    """Samples the resident size of this process and everything below it, four times a second.

    Pages that processes share count once for each, so the sum is an upper bound.
    """

    def __init__(self, period_s=0.25):
        self.peak_bytes = 0
        self._period_s = period_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _sample(self):
        root = psutil.Process()
        while not self._done.wait(self._period_s):
            total = 0
            for process in [root, *root.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    pass  # It ended between the listing and the question.
            self.peak_bytes = max(self.peak_bytes, total)
