"""The node side: prove who this host is, register its Node, then be KWOK, or a real node beside it.

`k3s agent` and the agent inside `k3s server` share all of this.
"""

import asyncio
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from lab.certificates import client_context
from lab.k3s import kwok, log, passwords, pki, real_node
from lab.k3s.client import RefusedError, SupervisorClient
from lab.k3s.config import ConfigError, Options
from lab.k3s.host import Host, announce_ready, kernel_settings
from lab.k3s.node import NodeError, check_kernel, check_labels, node_object
from lab.k3s.paths import BINARIES, READY, Paths, write_secret
from lab.k3s.release import running_version
from lab.k3s.tokens import TokenError
from lab.kubernetes import KubeClient, KubernetesError

__all__ = ["check_host", "register_host", "run"]


def check_host(options: Options) -> None:
    """Refuse settings that make the kubelet exit at its start."""
    check_labels(options.many("node-label"))
    if options.on("protect-kernel-defaults"):
        check_kernel(kernel_settings())


def _certificate_request(name: str) -> tuple[bytes, bytes]:
    key, pem = pki.new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{name}")])
    csr = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM), pem


async def register_host(
    host: Host, paths: Paths, options: Options, supervisor: SupervisorClient, *, role: str, api: str
) -> list[str]:
    """Get this host's credentials and register its Node.

    Args:
        host: Who this node is.
        paths: K3s's files.
        options: The settings.
        supervisor: Whom to ask for credentials.
        role: `server` or `agent`, for the annotations of the node.
        api: URL of the API server that the node talks to.

    Returns:
        KWOK's command line. Raises `RefusedError` while the cluster does not take this node.
    """
    csr, key = _certificate_request(host.name)
    headers = {"k3s-Node-Name": host.name, "k3s-Node-Password": passwords.read_or_create()}
    try:
        certificate = await supervisor.request("POST", "/v1-k3s/client-kubelet.crt", headers=headers, body=csr)
    except RefusedError as error:
        if error.status == 403:
            raise RefusedError(passwords.rejection_message(), 403) from error
        raise
    directory = paths.agent
    write_secret(directory / "client-kubelet.key", key)
    write_secret(directory / "client-kubelet.crt", certificate)
    write_secret(directory / "server-ca.crt", supervisor.bundle, 0o644)
    write_secret(directory / "client-ca.crt", await supervisor.request("GET", "/v1-k3s/client-ca.crt"), 0o644)
    config = pki.kubeconfig(
        api, directory / "server-ca.crt", directory / "client-kubelet.crt", directory / "client-kubelet.key"
    )
    write_secret(directory / "kubelet.kubeconfig", config)
    real = real_node.is_real(host) is not None
    if real:
        await _get_further_credentials(host, directory, supervisor, headers, api)
    write_secret(directory / "etc" / "kwok.yaml", kwok.build_configuration(host.name, real=real), 0o644)
    kube = KubeClient(api, client_context(directory / "server-ca.crt", directory / "client-kubelet.crt"))
    try:
        await register_node(kube, host, options, role)
    finally:
        await kube.close()
    return kwok.command(
        str(directory / "kubelet.kubeconfig"), str(directory / "etc" / "kwok.yaml"), host.name, host.address
    )


async def _get_further_credentials(
    host: Host, directory: Path, supervisor: SupervisorClient, headers: dict[str, str], api: str
) -> None:
    """Get what only a real node needs: the kubelet's serving certificate, kube-proxy's client certificate."""
    for name in ("serving-kubelet", "client-kube-proxy"):
        csr, key = _certificate_request(host.name)
        served = await supervisor.request(
            "POST", f"/v1-k3s/{name}.crt", headers=headers | {"k3s-Node-IP": host.address}, body=csr
        )
        write_secret(directory / f"{name}.key", key)
        write_secret(directory / f"{name}.crt", served)
    proxy = directory / "client-kube-proxy.crt"
    config = pki.kubeconfig(api, directory / "server-ca.crt", proxy, proxy.with_suffix(".key"))
    write_secret(directory / "kubeproxy.kubeconfig", config)


async def register_node(kube: KubeClient, host: Host, options: Options, role: str) -> None:
    """Create the Node, or bring the status of an existing one up to date; raises `RefusedError`."""
    wanted = node_object(host.machine, options, role, (host.name, host.address), running_version())
    real = real_node.is_real(host) is not None
    if real:
        wanted["status"]["nodeInfo"]["bootID"] = real_node.boot_id()
    path = f"/api/v1/nodes/{host.name}"
    try:
        if await kube.get(path) is None:
            await kube.call("POST", "/api/v1/nodes", wanted)
            log.info(f"Successfully registered node {host.name}")
        else:
            await kube.patch(path, {"metadata": {"annotations": wanted["metadata"]["annotations"]}})
            if not real:
                await kube.patch(f"{path}/status", {"status": wanted["status"]})
        # The Lease of this host's previous life: KWOK would wait for it to expire before it takes the node up.
        await kube.delete(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{host.name}")
    except KubernetesError as error:
        raise RefusedError(f"failed to register node {host.name}: {error}") from error


async def _join_cluster(options: Options) -> list[str]:
    token, server = options.secret("token"), options.text("server")
    if not token:
        raise ConfigError("--token is required")
    if not server:
        raise ConfigError("--server is required")
    host = Host.detect(options)
    paths = Paths(Path(options.text("data-dir")))
    log.info(f"Starting k3s agent {running_version()}")
    while True:
        try:
            supervisor = await SupervisorClient.connect(server, token, "node")
        except (RefusedError, TokenError) as error:
            log.error(f"Failed to validate connection to cluster at {server}: {error}")
            await asyncio.sleep(2)
            continue
        try:
            return await register_host(host, paths, options, supervisor, role="agent", api=server)
        except RefusedError as error:
            log.info(f"Waiting to retrieve agent configuration; server is not ready: {error}")
            await asyncio.sleep(1 if error.status == 503 else 5)
        finally:
            await supervisor.close()


def run(options: Options) -> None:
    """Join the cluster, then run a real node's parts, or become KWOK: a process as light as the kubelet is heavy."""
    READY.unlink(missing_ok=True)
    try:
        check_host(options)
        command = asyncio.run(_join_cluster(options))
    except (ConfigError, NodeError) as error:
        log.fatal(str(error))
    host = Host.detect(options)
    if pods := real_node.is_real(host):
        real_node.RealNode(host, Paths(Path(options.text("data-dir"))), options, pods, options.text("server")).run()
        return
    announce_ready()
    program = str(BINARIES / command[0])
    os.execv(program if Path(program).exists() else command[0], command)  # noqa: S606 (the process becomes KWOK)
