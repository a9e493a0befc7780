# Functions that bring one node to its wanted state; sent over SSH in front of the calls, run by root's bash.
# Every step looks first and acts only on a difference, so that a second run changes and restarts nothing.
set -euo pipefail
umask 077
pending=/run/lyceum-restart-k3s
restoring=/var/lib/rancher/k3s/restoring
ca=() # options of curl that trust the campus's own CA

say() { printf '%s: %s\n' "$HOSTNAME" "$*" >&2; }
fail() { say "$*"; exit 1; }

# alone: a run whose connection broke may still be at work here; it is ended, and whatever it had begun is waited for.
alone() {
    local before
    exec 9>>/run/lyceum-node.lock
    if ! flock --nonblock 9; then
        before=$(cat /run/lyceum-node.pid 2>/dev/null || true)
        say "ends an earlier run that is still at work here (process ${before:-unknown})"
        # It may end by itself in between.
        [[ $(tr '\0' ' ' <"/proc/$before/cmdline") != "bash -s "* ]] 2>/dev/null || kill "$before" 2>/dev/null || true
        flock --timeout 600 9 || fail "an earlier run is still at work here after 600 s: fuser -v /run/lyceum-node.lock names it"
    fi
    echo $$ >/run/lyceum-node.pid
}

# wait_until SECONDS WHAT COMMAND...: tries once a second; says every ten seconds what it waits for.
wait_until() {
    local limit=$1 what=$2 start=$SECONDS
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS - start < limit)) || return 1
        (((SECONDS - start) % 10)) || say "waiting for $what ($((SECONDS - start)) s of $limit s)"
        sleep 1
    done
}

# place MODE PATH [NOTE] < CONTENT: writes the file if it differs; true if it did. NOTE is made before the file is written.
# Its callers look at the answer, and bash forgets `set -e` there: each command says itself that it failed. Forty machines may share
# a core: what bash does itself starts no process.
place() {
    local mode=$1 path=$2 note=${3:-} new
    new=$(</dev/stdin)
    [[ ! -e $path || $new != "$(<"$path")" ]] || return 1
    if ! { [[ -z $note ]] || : >"$note"; } || ! install -D -m "$mode" /dev/stdin "$path" <<<"$new"; then
        fail "cannot write $path: is the disk full? (df -h $(dirname "$path"))"
    fi
}

# put MODE PATH < CONTENT: the same for what K3s reads at its start. The note of a due restart outlives a broken connection.
put() { place "$@" "$pending" || true; }

# kube_vip PATH ADDRESS < MANIFEST: K3s watches its manifests, so a new one is no reason to restart, hence `place`.
kube_vip() {
    local interface manifest
    interface=$(ip -o -4 addr show | awk -v address="$2/" 'index($4, address) == 1 { print $2; exit }')
    [[ $interface ]] || fail "no interface holds $2, the address that the site's file gives this machine: ip -4 addr"
    manifest=$(cat)
    place 0600 "$1" <<<"${manifest//LYCEUM_INTERFACE/$interface}" || true
}

# programs_run DIRECTORY...: K3s runs programs from there; hardened images mount more than /tmp without `exec`.
programs_run() {
    local directory there mount
    for directory in "$@"; do
        there=$directory
        until [[ -e $there ]]; do there=$(dirname "$there"); done
        mount=$(findmnt --noheadings --output TARGET,OPTIONS --target "$there") || continue
        [[ ,${mount##* }, != *,noexec,* ]] ||
            fail "$directory lies on ${mount%% *}, which is mounted noexec, and K3s runs programs from there: take noexec out of /etc/fstab, then mount -o remount,exec ${mount%% *}"
    done
}

# clock_agrees URL: compares the clock with the Date of whoever answers there; nobody, or no Date, is another step's trouble.
clock_agrees() {
    local theirs off where=behind
    theirs=$(curl --silent --insecure --head --max-time 5 "$1") || return 0
    [[ $theirs =~ [Dd]ate:\ *([^$'\r\n']+) ]] || return 0
    off=$((EPOCHSECONDS - $(date -d "${BASH_REMATCH[1]}" +%s)))
    ((off < 0)) || where="ahead of"
    ((${off#-} <= 30)) ||
        fail "its clock is ${off#-} s $where that of $1: certificates, tokens and etcd need clocks that agree. Look at timedatectl and chronyc tracking here and on its host, then run this again"
}

# keep MODE PATH < CONTENT: the same for what nobody has to be told about.
keep() { place "$@" || true; }

cloud_init_done() {
    command -v cloud-init >/dev/null || return 0
    local state
    state=$(timeout 300 cloud-init status --wait 2>&1) || fail "cloud-init did not finish well: $state; see /var/log/cloud-init-output.log"
}

# sysctls KEY=VALUE...: sets them now and at every boot.
sysctls() {
    if place 0644 /etc/sysctl.d/90-lyceum.conf < <(printf '%s\n' "$@"); then
        sysctl -q --system >/dev/null || fail "sysctl refused a setting in /etc/sysctl.d/90-lyceum.conf"
    fi
}

# no_upgrades_at_night: a node that upgrades itself whenever it likes has taken clusters down in class; `lyceum upgrade` does it, node
# by node. Debian's 20auto-upgrades says the opposite; the last file counts.
no_upgrades_at_night() {
    command -v apt-get >/dev/null || return 0
    place 0644 /etc/apt/apt.conf.d/90-lyceum < <(printf 'APT::Periodic::%s "0";\n' Update-Package-Lists Unattended-Upgrade) || true
}

# fetch URL FILE
fetch() {
    curl --fail --silent --show-error --location --retry 5 --retry-all-errors --connect-timeout 10 "${ca[@]}" -o "$2" "$1" && return
    # 23: what was read could not be written (curl's manual, exit codes)
    (($? != 23)) || fail "cannot write $2: is the disk full? (df -h $(dirname "$2"))"
    fail "cannot fetch $1"
}

# k3s_binary VERSION BASE_URL SHA256|-: installs the binary after its checksum is verified; never runs an unverified one.
k3s_binary() {
    local version=$1 base=$2/${1/+/%2B} want=$3 new=/usr/local/bin/.k3s.new have
    [[ -x /usr/local/bin/k3s && $(/usr/local/bin/k3s --version 2>/dev/null) == *"$version "* ]] && return
    programs_run /usr/local/bin /var/lib/rancher
    clock_agrees "$base/k3s"
    if [[ $want == - ]]; then
        fetch "$base/sha256sum-amd64.txt" /run/lyceum-k3s.sha256
        want=$(awk '$2 == "k3s" { print $1 }' /run/lyceum-k3s.sha256)
    fi
    fetch "$base/k3s" "$new"
    read -r have _ < <(sha256sum "$new")
    if [[ $have != "$want" ]]; then
        rm -f "$new"
        fail "k3s $version has sha256 $have, expected $want: not installed. A truncated download or a changed mirror; check $base"
    fi
    snapshot_before_change
    chmod 0755 "$new"
    touch "$pending"
    mv -f "$new" /usr/local/bin/k3s
}

# snapshot_before_change: a server that is about to run another version leaves a snapshot to come back to; two are kept.
snapshot_before_change() {
    [[ -d /var/lib/rancher/k3s/server/db/etcd/member ]] && systemctl -q is-active k3s || return 0
    say "takes a snapshot of etcd before the change"
    /usr/local/bin/k3s etcd-snapshot save --name before-upgrade >&2 || fail "no snapshot of etcd, so no change: is the disk full? (df -h /var/lib/rancher)"
    /usr/local/bin/k3s etcd-snapshot prune --name before-upgrade --snapshot-retention 2 >&2 || true
}

# service UNIT: starts K3s, restarts it if a restart is due, leaves it alone otherwise; returns when it is ready.
service() {
    local unit=$1
    [[ -e $pending ]] || ! systemctl -q is-active "$unit" || return 0
    systemctl -q enable "$unit" # reads changed unit files, too, as daemon-reload does (systemctl(1), enable)
    say "systemctl restart $unit"
    timeout 300 systemctl restart "$unit" || fail "$unit did not start; its last lines: $(journalctl -u "$unit" -n 20 --no-pager 2>&1)"
    rm -f "$pending"
}

api_answers() { curl --silent --insecure --max-time 3 "$1/cacerts"; }
silent() { ! api_answers "$1"; }

# same_token WHICH FILE TOKEN: where K3s has run already, its token stays. The cluster's bootstrap data is encrypted with the
# server token, so that a server which starts with another one is shut out, with the right one afterwards as well.
same_token() {
    local data=/var/lib/rancher/k3s
    [[ -s $2 && (-e $data/server/token || -e $data/agent/client-kubelet.crt) ]] || return 0
    [[ $(sed 's/.*://' "$2") == "${3##*:}" ]] ||
        fail "the $1 is another one than K3s runs with here; nothing was changed. Tokens are changed by ./lyceum secrets rotate SITE $1, which also finishes what it began; old snapshots need the old one. If the seed was changed: bring it back"
}

# join LINE TOKEN: how K3s comes to its cluster.
join() {
    put 0600 /etc/rancher/k3s/config.yaml.d/10-join.yaml <<<"$1"
    put 0600 /etc/rancher/k3s/token <<<"$2"
}

# founder URL TOKEN KNOWN_CA [SNAPSHOT]: keeps an existing etcd; never starts a second cluster beside one that answers at the API address.
founder() {
    local url=$1 token=$2 known_ca=$3 snapshot=${4-}
    if [[ -d /var/lib/rancher/k3s/server/db/etcd && ! -e $restoring ]]; then
        return
    elif [[ -n $snapshot ]]; then
        # The servers of before go at the same time; while one of them answers, a restored cluster would be a second one.
        [[ -e $restoring ]] || wait_until 600 "the servers of before to be gone" silent "$url" ||
            fail "a server of before still answers at $url: a restore would start a second cluster beside it"
        join 'cluster-init: true' "$token"
    elif ! api_answers "$url" >/dev/null; then
        join 'cluster-init: true' "$token"
    elif [[ -n $known_ca ]]; then
        say "joins the cluster that answers at $url"
        join "server: $url" "K10$known_ca::server:$token"
    else
        fail "something already answers at $url, and this machine has no etcd data. If it replaces a lost first server: ./lyceum node replace $HOSTNAME. If the address belongs to another machine: change network.api-address"
    fi
}

# restore SNAPSHOT SERVERS NAME...: puts a snapshot in place of the data that this machine does not have; one that was cut
# is put there again. The servers are new machines, and workers may be, so what the cluster remembers of their passwords must go: K3s
# refuses a known name with an unknown password (k3s#802), and starts no node until it is gone; hence in the background.
restore() {
    local snapshot=$1 server=/var/lib/rancher/k3s/server
    shift
    [[ -d $server/db/etcd && ! -e $restoring ]] && return 0
    if [[ $(cat "$restoring" 2>/dev/null) != reset ]]; then
        mkdir -p "$server"
        echo begun >"$restoring"
        rm -rf "$server/db" "$server/tls" "$server/cred"
        say "restores etcd from $snapshot"
        # Without --etcd-s3=false a site with a bucket would look for the path in it.
        timeout 600 /usr/local/bin/k3s server --cluster-reset --etcd-s3=false --cluster-reset-restore-path="$snapshot" >/run/lyceum-restore.log 2>&1 ||
            fail "etcd could not be restored from $snapshot: $(tail -n 5 /run/lyceum-restore.log). Another one: ./lyceum backup list"
        # With tokens that were changed since, K3s would find this file newer than the cluster's copy and not start.
        rm -f "$server/cred/passwd"
        echo reset >"$restoring"
    fi
    { wait_until 300 "the restored API" forget_machines "$@" && rm -f "$restoring" "$snapshot"; } &
}

# forget_machines SERVERS NAME...: so many servers, this one first, and the other machines, whose Nodes stay. A machine that
# lives on shows the password that it has, and it is taken as the first time.
forget_machines() {
    local servers=$1
    shift
    kubectl -n kube-system delete secret --ignore-not-found "${@/%/.node-password.k3s}" || return
    ((servers == 1)) || kubectl delete node --ignore-not-found --wait=false "${@:2:servers-1}"
}

# joiner URL TOKEN
joiner() {
    wait_until 300 "the API at $1" api_answers "$1" || fail "the API at $1 did not answer within 300 s: is the first server up, does kube-vip hold the address?"
    clock_agrees "$1/cacerts"
    join "server: $1" "$2"
}

kubectl() { /usr/local/bin/k3s kubectl "$@"; }

# account NAME HOME: a system account that nobody can log in to with a password; its home is root's, keys and all.
account() {
    id -u "$1" >/dev/null 2>&1 ||
        useradd --system --user-group --shell /bin/sh --home-dir "$2" --password '*' "$1" || fail "cannot make the account $1"
    install -d -m 0755 "$2"
}

# backup_access NAME HOME [COMMAND LINE]: who may run COMMAND as root by SSH: the key in LINE and no other; nobody without.
backup_access() {
    local name=$1 home=$2 right=/etc/sudoers.d/90-$1
    if (($# == 2)); then
        rm -rf "$home/.ssh" "$right"
        return
    fi
    account "$name" "$home"
    keep 0440 "$right" <<<"$name ALL=(root) NOPASSWD: $3"
    install -d -m 0755 "$home/.ssh"
    keep 0644 "$home/.ssh/authorized_keys" <<<"$4"
}

# access: prints the CA's hash (first line) and the administrator's kubeconfig (the rest).
access() {
    sha256sum /var/lib/rancher/k3s/server/tls/server-ca.crt | cut -d' ' -f1
    cat /etc/rancher/k3s/k3s.yaml
}

ready() { [[ $(kubectl get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]; }

voter() { [[ $(kubectl get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="EtcdIsVoter")].status}') == True ]]; }

# healthy_server NODE: waits until this server is Ready and votes; the next one is not touched before (Ready alone does not
# mean voter, k3s-ansible#562).
healthy_server() {
    wait_until 300 "node $1 to be Ready" ready "$1" || fail "server $1 is not Ready after 300 s: journalctl -u k3s"
    wait_until 300 "$1 to be a voter of etcd" voter "$1" || fail "server $1 is no voter of etcd after 300 s: journalctl -u k3s"
}

# not_ready NODE...: names those that are not Ready; one question for all, so that forty cost what two cost.
not_ready() {
    comm -23 <(printf '%s\n' "$@" | sort) <(
        kubectl get nodes -o 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
            sed -n 's/ True$//p' | sort
    )
}

all_ready() { [[ -z $(not_ready "$@") ]]; }

# members ROLE NODE...: waits until the nodes are Ready and gives them their role, which a kubelet may not give itself.
members() {
    local role=$1
    shift
    wait_until 300 "$# node(s) to be Ready" all_ready "$@" || fail "not Ready after 300 s: $(not_ready "$@" | tr '\n' ' ')"
    kubectl label node --overwrite "$@" "node-role.kubernetes.io/$role=true" >/dev/null
}

# node_labels <NODES: gives nodes that registered earlier the labels of today's site file; K3s gives them at registration only.
node_labels() { kubectl apply --server-side --force-conflicts --field-manager=lyceum -f - >/dev/null; }
