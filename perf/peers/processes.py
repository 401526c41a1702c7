"""Programs that run while they are measured, and the CPU time that they get."""

import contextlib
import dataclasses
import pathlib
import signal
import subprocess
import time


@dataclasses.dataclass(frozen=True)
class Sample:
    """What was forwarded between two looks. `cpu`: seconds that the forwarding thread had."""
    packets: int
    wall: float
    cpu: float

    @property
    def mpps(self):
        """A second of CPU time: what else ran on the CPU isn't counted as slowness."""
        return self.packets / self.cpu / 1e6 if self.cpu > 0 else 0.0

    @property
    def mpps_wall(self):
        return self.packets / self.wall / 1e6 if self.wall > 0 else 0.0


def thread_seconds(pid):
    """CPU seconds of each thread of a process, by thread id."""
    seconds = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            seconds[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return seconds


def measure(pid, count, seconds):
    """A sample of the process' busiest thread. `count()` gives packets so far."""
    cpu_before, before, began = thread_seconds(pid), count(), time.monotonic()
    time.sleep(seconds)
    cpu_after, after, ended = thread_seconds(pid), count(), time.monotonic()
    cpu = max(value - cpu_before.get(thread, 0) for thread, value in cpu_after.items())
    return Sample(after - before, ended - began, cpu)


@contextlib.contextmanager
def running(command, log, environment=None):
    """A process, ended with the context."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def namespace(name):
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def run(*command, text=None):
    """Standard output; a failure is a RuntimeError with what the program said."""
    done = subprocess.run([str(word) for word in command], input=text, capture_output=True,
                          text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(word) for word in command)}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.2)
