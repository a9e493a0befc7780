"""Files and settings that Ansible and the floor write to machines: the texts of `components/cluster`, by step."""

from components.cluster import bootstrap, k3s_config
from config.hosts import Node, Role
from config.site import Site

TOKEN, AGENT_TOKEN = "bench-token", "bench-agent-token"
APT_SETTINGS = 'APT::Periodic::Update-Package-Lists "0";\nAPT::Periodic::Unattended-Upgrade "0";\n'


def shared_texts(site: Site) -> dict[str, str]:
    """Texts that are the same on every machine."""
    return {
        "url": k3s_config.api_url(site),
        "version": site.k3s.version,
        "mirror": f"{str(site.k3s.binaries).rstrip('/')}/{site.k3s.version.replace('+', '%2B')}",
        "settings": "".join(f"{key}={value}\n" for key, value in k3s_config.SYSCTLS.items()),
        "no_upgrades": APT_SETTINGS,
        "token": TOKEN,
        "agent_token": AGENT_TOKEN,
    }


def node_texts(node: Node, site: Site) -> dict[str, str]:
    """Texts of one machine."""
    if node.role is not Role.SERVER:
        return {
            "service": bootstrap.unit_name(node.role),
            "config": k3s_config.agent_config(node),
            "unit": bootstrap.systemd_unit("agent"),
        }
    return {
        "service": bootstrap.unit_name(node.role),
        "config": k3s_config.server_config(node, site),
        "unit": bootstrap.systemd_unit("server"),
        "admission": k3s_config.admission_configuration(),
        "audit": k3s_config.audit_policy(),
        "manifest": k3s_config.kube_vip_manifest(site, bootstrap.INTERFACE_PLACEHOLDER),
    }
