"""Does the object store take backups?"""

from collections.abc import Iterator

from config.finding import Finding
from ops.backup.metadata import BackupError
from ops.backup.transfer import ACCESS_SECRETS, open_store
from ops.checks.doctor.finding import failed, passed, unknown
from ops.engine.stack import Stack


def check_bucket(stack: Stack) -> Iterator[Finding]:
    """The bucket can be reached from here, and its key may list, write, read and delete."""
    if stack.site.platform.backup.s3 is None:
        return
    missing = [name for name in ACCESS_SECRETS if stack.find_secret(name) is None]
    if missing:
        remedy = "; ".join(f"./lyceum secrets set {stack.site.name} {name}" for name in missing)
        yield unknown("bucket", f"{' and '.join(missing)} not given yet", remedy)
        return
    try:
        store = open_store(stack)
        if store:
            store.probe()
            yield passed("bucket", f"{store.location()} can be listed, written, read and deleted from here")
    except BackupError as error:
        yield failed("bucket", error.message, error.remedy)
