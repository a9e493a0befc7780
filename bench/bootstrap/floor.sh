# The steps of components/cluster/node.sh for one machine in the fewest processes: no messages, no bounded waits, no care for
# interruptions. KIND is founder, server, agent or members; the texts are in variables with their names in steps.py.
set -euo pipefail
umask 077
due=
write() { # MODE PATH CONTENT
    [[ -e $2 && $3 == "$(<"$2")" ]] && return 1
    install -D -m "$1" /dev/stdin "$2" <<<"$3"
}
must() { write "$@" && due=1 || true; }
until_true() { until [[ $("$@") == True ]]; do sleep 0.1; done; }
condition() { k3s kubectl get node "$1" -o "jsonpath={.status.conditions[?(@.type==\"$2\")].status}"; }
answers() { curl -sk --max-time 3 -o /dev/null "$url/cacerts"; }
healthy() { until_true condition "$1" Ready && until_true condition "$1" EtcdIsVoter; }

if [[ $KIND == members ]]; then
    agents_ready() {
        local ready name
        ready=$(k3s kubectl get nodes -o 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}')
        for name in $AGENTS; do [[ $'\n'$ready == *$'\n'"$name True"* ]] || return; done
        echo True
    }
    until_true agents_ready
    # shellcheck disable=SC2086 # one word a name
    k3s kubectl label node --overwrite $AGENTS node-role.kubernetes.io/worker=true
    for name in $SERVERS; do healthy "$name"; done
    exit
fi

cloud-init status --wait >/dev/null
write 0644 /etc/apt/apt.conf.d/90-lyceum "$no_upgrades" || true
if write 0644 /etc/sysctl.d/90-lyceum.conf "$settings"; then sysctl -q --system >/dev/null; fi
if [[ ! -x /usr/local/bin/k3s || $(/usr/local/bin/k3s --version) != *"$version "* ]]; then
    sums=$(curl -fsS -o /usr/local/bin/.k3s "$mirror/k3s" "$mirror/sha256sum-amd64.txt")
    sha256sum -c --quiet <<<"${sums%% *}  /usr/local/bin/.k3s"
    chmod 0755 /usr/local/bin/.k3s
    mv /usr/local/bin/.k3s /usr/local/bin/k3s
    due=1
fi
join="server: $url"
if [[ $KIND == founder ]]; then
    if [[ -d /var/lib/rancher/k3s/server/db/etcd ]]; then
        join=
    else
        ! answers || exit 1
        join="cluster-init: true"
    fi
else
    until answers; do sleep 0.1; done
fi
if [[ $join ]]; then
    must 0600 /etc/rancher/k3s/config.yaml.d/10-join.yaml "$join"
    must 0600 /etc/rancher/k3s/token "$token"
fi
if [[ $KIND != agent ]]; then
    must 0600 /etc/rancher/k3s/agent-token "$agent_token"
    must 0600 /etc/rancher/k3s/admission.yaml "$admission"
    must 0600 /etc/rancher/k3s/audit.yaml "$audit"
    [[ -d /var/lib/rancher/k3s/server/logs ]] || mkdir -p /var/lib/rancher/k3s/server/logs
    while read -r _ name _ address _; do
        if [[ $address == "$ADDRESS/"* ]]; then interface=$name; fi
    done < <(ip -o -4 addr)
    write 0600 /var/lib/rancher/k3s/server/manifests/kube-vip.yaml "${manifest//LYCEUM_INTERFACE/$interface}" || true
fi
must 0600 /etc/rancher/k3s/config.yaml "$config"
must 0644 "/etc/systemd/system/$service.service" "$unit"
if [[ $due ]]; then
    systemctl -q enable "$service"
    systemctl restart "$service"
fi
[[ $KIND != agent ]] || exit 0
until answers; do sleep 0.1; done
healthy "$NAME"
[[ $KIND != founder ]] || { sha256sum /var/lib/rancher/k3s/server/tls/server-ca.crt; echo "$(</etc/rancher/k3s/k3s.yaml)"; }
exit
