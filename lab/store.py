"""The campus's object store: moto's S3 server, with its keys, its bucket and the campus's TLS around it.

moto is a published stand-in of S3 that other projects test against: it answers requests of any S3 client, and compares their
signatures and their sender's rights as AWS does. Objects lie in temporary files without a name and end with the lab.
A process of its own, because it brings half of Flask with it.
"""

import logging
import os
import secrets
import sys
from pathlib import Path

from lab.contracts import StoreSpec
from lab.rundir import RunDir, ensure_secret

KEYS = ("s3-access-key", "s3-secret-key")
"""Files in the run directory, as a campus's administrator would hand them over."""
USER = "lyceum"
POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
_ACCOUNT = "123456789012"
"""moto's only account."""
_SPOOL_BYTES = 65536
"""Larger objects go to disk."""


def ensure_keys(run: RunDir) -> None:
    """Create the bucket's keys unless they are there."""
    access, secret = KEYS
    ensure_secret(run.path / access, lambda: f"AKIA{secrets.token_hex(8).upper()}")
    ensure_secret(run.path / secret, lambda: secrets.token_hex(20))


def serve(run: RunDir, store: StoreSpec) -> None:
    """Answer until the campus ends."""
    os.environ |= {
        "INITIAL_NO_AUTH_ACTION_COUNT": "0",  # every request is signed, the first one, too
        "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(_SPOOL_BYTES),
        "TMPDIR": str(run.path),
    }
    # Only now: moto reads its settings when it is imported.
    from moto.iam.models import iam_backends  # noqa: PLC0415
    from moto.s3.models import s3_backends  # noqa: PLC0415
    from moto.server import create_backend_app  # type: ignore[attr-defined]  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    access, secret = ((run.path / name).read_text().strip() for name in KEYS)
    s3_backends[_ACCOUNT]["aws"].create_bucket(store.bucket, store.region)
    people = iam_backends[_ACCOUNT]["aws"]
    people.create_user("us-east-1", USER)
    people.put_user_policy(USER, "all", POLICY)
    key = people.create_access_key(USER)
    key.access_key_id, key.secret_access_key = access, secret
    tls = (str(run.path / "server.pem"), str(run.path / "server.key"))
    make_server(
        str(store.address), store.port, create_backend_app("s3"), threaded=True, ssl_context=tls
    ).serve_forever()


def main() -> None:
    """`python -m lab.store RUN ADDRESS PORT BUCKET REGION`, in the campus's network."""
    from ipaddress import IPv4Address  # noqa: PLC0415  # beside its use

    run, address, port, bucket, region = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    serve(RunDir(Path(run)), StoreSpec(IPv4Address(address), int(port), bucket, region))


if __name__ == "__main__":
    main()
