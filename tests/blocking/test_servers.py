"""The blocking client in the servers and task queues that people run it in."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from telnyx_oauth.sandbox import Sandbox
from tests.blocking.programs import environment, printed
from tests.ports import free_port

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these servers fork")

APP = """
import os
from telnyx_oauth import Telnyx
client = Telnyx()
if os.environ.get("USED"):
    client.oauth_clients.list()

def app(environ, start_response):
    with Telnyx() as another:
        found = len(client.oauth_clients.list().data) + len(another.oauth_clients.list().data)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{found}".encode()]
"""

TASKS = """
import os, pathlib
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from telnyx_oauth import Telnyx

here = pathlib.Path(os.environ["HERE"])
app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "polling_interval": 0.02,  # a second by default, for each message
        **{name: str(here / "queue") for name in ("data_folder_in", "data_folder_out", "control_folder")},
    },
    worker_hijack_root_logger=False, worker_enable_remote_control=False, task_ignore_result=True,
    broker_connection_retry_on_startup=False,
)
client = Telnyx()
client.oauth_clients.list()

@app.task
def use(number):
    (here / f"done-{number}").write_text(str(len(client.oauth_clients.list().data)))

@app.task(soft_time_limit=1)
def limited(number):
    try:
        client.oauth_grants.list()
    except SoftTimeLimitExceeded:
        (here / f"done-{number}").write_text(str(len(client.oauth_clients.list().data)))
"""


@pytest.fixture(scope="module")
def telnyx():
    with Sandbox() as telnyx:
        yield telnyx


def until(what, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert process.poll() is None, process.communicate()
        if time.monotonic() > deadline:
            process.send_signal(signal.SIGTERM)
            raise AssertionError(process.communicate(timeout=20))
        time.sleep(0.05)


@pytest.mark.parametrize("used", ["", "1"], ids=["unused before the fork", "used before the fork"])
@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_gunicorn(telnyx, tmp_path, kind, used):
    (tmp_path / "served.py").write_text(APP)
    port = free_port()
    command = ["-m", "gunicorn", "-k", kind, "-w", "2", "--threads", "4", "-b", f"127.0.0.1:{port}", "served:app"]
    # A worker of gevent patches after the fork; an application that it loads before that is loaded unpatched.
    command += ["--preload"] * (kind != "gevent")

    def get(_: int = 0) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        finally:
            connection.close()

    def is_up() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    with subprocess.Popen(
        [sys.executable, *command],
        env=environment(telnyx, USED=used),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            until(is_up, process)
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(get, range(24))) == {b"6"}
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert "Exception" not in said
    assert "Unclosed" not in said


@pytest.mark.parametrize("kind", ["prefork", "gevent"])
def test_celery(telnyx, tmp_path, kind):
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "queue").mkdir()
    env = environment(telnyx, HERE=str(tmp_path))
    wanted = 8
    if kind == "prefork":  # the others have no soft time limits
        telnyx.faults.add("/oauth/grants", kind="hang", times=1)
        wanted += 1
    send = "import tasks\nfor n in range(8): tasks.use.delay(n)\n" + "tasks.limited.delay(8)\n" * (kind == "prefork")
    subprocess.run([sys.executable, "-c", send], env=env, cwd=tmp_path, check=True, timeout=30)
    command = ["-m", "celery", "-A", "tasks", "worker", "-P", kind, "-c", "3", "--loglevel", "WARNING"]
    with subprocess.Popen(
        [sys.executable, *command],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            until(lambda: len([*tmp_path.glob("done-*")]) == wanted, process)
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
            telnyx.faults.clear()
    assert {Path(each).read_text() for each in tmp_path.glob("done-*")} == {"3"}
    assert "Traceback" not in said
    assert "Unclosed" not in said


POOL = """
import multiprocessing, sys
from telnyx_oauth import Telnyx
client = Telnyx()

def work(_):
    return len(client.oauth_clients.list().data)

if __name__ == "__main__":
    print(work(0), flush=True)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(work, range(4)), work(0))
"""


@pytest.mark.parametrize("way", ["fork", "forkserver", "spawn"])
def test_multiprocessing(telnyx, tmp_path, way):
    program = tmp_path / "pooled.py"
    program.write_text(POOL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(program), way],
        env=environment(telnyx),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("3\n[3, 3, 3, 3] 3\n", "", 0)


def test_a_child_that_ends_as_programs_do_takes_nothing_from_its_parent(telnyx):
    """It ends without `os._exit`, so its interpreter destroys what it inherited."""
    body = """
import gc, os, sys, threading
from telnyx_oauth import Telnyx
client = Telnyx()

def use():
    return len(client.oauth_clients.list().data)

use()
child = os.fork()
if not child:
    if os.environ["USES"]:
        use()
    gc.collect()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
results = []
threads = [threading.Thread(target=lambda: results.append(use())) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(results)
"""
    for uses in ("", "1"):
        options = ("-W", "error", "-W", "ignore::DeprecationWarning")
        assert printed(body, telnyx, *options, USES=uses) == "[3, 3, 3, 3, 3, 3, 3, 3]\n"


def test_a_fork_at_any_moment_leaves_parent_and_child_working(telnyx):
    """Forks from the main thread between and amid the calls of other threads, from a thread, and from a signal handler."""
    body = """
import os, signal, sys, threading, time
from telnyx_oauth import Telnyx
client = Telnyx()

def use():
    return len(client.oauth_clients.list().data)

def fork():
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if use() == 3 and use() == 3 else 2
            client.close()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]

codes = [fork()]
use()
codes.append(fork())
busy = True
def work():
    while busy:
        use()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
codes += [fork() for _ in range(10)]
forker = threading.Thread(target=lambda: codes.extend(fork() for _ in range(5)))
forker.start()
for _ in range(20):
    use()
forker.join()
signal.signal(signal.SIGUSR1, lambda *_: codes.append(fork_only()))
def fork_only():
    child = os.fork()
    if not child:
        os._exit(0)
    return os.waitpid(child, 0)[1]
sender = threading.Thread(target=lambda: [(time.sleep(0.02), os.kill(os.getpid(), signal.SIGUSR1)) for _ in range(5)])
sender.start()
while sender.is_alive():
    use()
busy = False
for thread in threads:
    thread.join()
print(use(), set(codes), len(codes) >= 20)
"""
    assert printed(body, telnyx, "-W", "error", "-W", "ignore::DeprecationWarning") == "3 {0} True\n"
