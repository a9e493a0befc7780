"""etcd snapshots: taken by name and time, kept in number, restored into a new data directory."""

import datetime as dt
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cronsim import CronSim, CronSimError

from lab.k3s.config import Options
from lab.k3s.etcd import Etcd
from lab.k3s.paths import Paths, kube_program


class SnapshotError(Exception):
    """A snapshot cannot be taken or restored; the text says why."""


@dataclass(frozen=True)
class SnapshotFile:
    """A snapshot file."""

    name: str
    path: Path
    size: int
    """Bytes."""
    created: dt.datetime


def snapshot_directory(paths: Paths, options: Options) -> Path:
    """Return where snapshots are kept."""
    chosen = options.text("dir") or options.text("etcd-snapshot-dir")
    return Path(chosen) if chosen else paths.snapshots


def list_snapshots(folder: Path) -> list[SnapshotFile]:
    """Return the snapshots of a folder, oldest first."""
    found = []
    for file in folder.glob("*") if folder.is_dir() else []:
        if file.is_file() and not file.name.endswith(".part"):
            stat = file.stat()
            created = dt.datetime.fromtimestamp(stat.st_mtime, dt.UTC)
            found.append(SnapshotFile(file.name, file, stat.st_size, created))
    return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.name))


async def save_snapshot(etcd: Etcd, folder: Path, base: str, node_name: str) -> Path:
    """Take a snapshot named `<base>-<node>-<unix time>`, as K3s names them."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    target = folder / f"{base}-{node_name}-{int(time.time())}"
    await etcd.snapshot(target)
    return target


def prune_snapshots(folder: Path, base: str, node_name: str, retention: int) -> list[Path]:
    """Delete all but the newest snapshots of this base name and node; returns what was deleted."""
    prefix = f"{base}-{node_name}-"
    own = [snapshot for snapshot in list_snapshots(folder) if snapshot.name.startswith(prefix)]
    surplus = own[:-retention] if retention > 0 else []
    for snapshot in surplus:
        snapshot.path.unlink()
    return [snapshot.path for snapshot in surplus]


def restore_snapshot(paths: Paths, options: Options, snapshot: str, name: str, node_ip: str) -> None:
    """Put a snapshot's data in place of this server's etcd data, which is kept beside it as `etcd-old-<time>`.

    The snapshot is a path, or a name in the snapshot directory. The new cluster has one member, of this name and
    address.
    """
    file = Path(snapshot)
    if not file.is_absolute():
        file = snapshot_directory(paths, options) / snapshot
    if not file.is_file():
        raise SnapshotError(f"etcd: snapshot path does not exist: {file}")
    new = paths.etcd.with_name("etcd-restored")
    shutil.rmtree(new, ignore_errors=True)
    command = [kube_program(), "etcdutl", "snapshot", "restore", str(file)]
    peer = f"https://{node_ip}:2380"
    command += [f"--data-dir={new}", f"--name={name}", f"--initial-cluster={name}={peer}"]
    command += [f"--initial-advertise-peer-urls={peer}"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise SnapshotError(f"etcd: snapshot {file} cannot be restored: {result.stderr.strip()[-500:]}")
    if (paths.etcd / "member").exists():
        paths.etcd.rename(paths.etcd.with_name(f"etcd-old-{int(time.time())}"))
    else:
        shutil.rmtree(paths.etcd, ignore_errors=True)
    new.rename(paths.etcd)
    (paths.etcd / "name").write_text(name)


def remove_partial_files(folder: Path) -> None:
    """Remove what a killed snapshot left."""
    for file in folder.glob("*.part"):
        file.unlink()


_ALIASES = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0"}


def next_run(schedule: str, after: dt.datetime) -> dt.datetime:
    """Return when a cron schedule fires next; raises `ValueError` naming the setting when it is not one."""
    try:
        return next(CronSim(_ALIASES.get(schedule, schedule), after))
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"etcd-snapshot-schedule-cron: {schedule!r} never fires: {error}") from None
