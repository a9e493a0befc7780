"""The script that waits until an admission webhook answers. Pure text."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

SECONDS = 180
"""How long a webhook may stay silent after its release is ready. The kubelet shows a pod a certificate that was written
after its start up to 90 seconds later where its sync period is the default; a pod may also be moved meanwhile."""


def webhook_script(chart: str, api: str, sample: Mapping[str, Any]) -> str:
    """The script, for a server of the cluster.

    Args:
        chart: The release, for messages.
        api: The API's address: the one that the engine talks to, because each API server finds a webhook by itself.
        sample: An object that the webhook checks. Whether it is admitted, refused or there already: the webhook answers.
    """
    request = json.dumps(dict(sample), sort_keys=True)
    return f"""set -uo pipefail
answered() {{
    answer=$(timeout 20 /usr/local/bin/k3s kubectl --server https://{api}:6443 create --validate=ignore --dry-run=server \
        --filename - <<<{shlex.quote(request)} 2>&1) && return
    [[ $answer =~ AlreadyExists|"denied the request"|"is invalid"|Forbidden ]]
}}
until answered; do
    if ((SECONDS > {SECONDS})); then
        echo "the admission webhook of {chart} does not answer after {SECONDS} s: $answer" >&2
        exit 1
    fi
    sleep 1
done
"""
