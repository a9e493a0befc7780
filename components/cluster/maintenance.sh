# Functions that bring the operators' machine to its wanted state; they follow node.sh, whose own they use.
reload=/run/lyceum-reload-units

# own USER MODE PATH < CONTENT: a file that belongs to somebody.
own() {
    local user=$1 mode=$2 path=$3
    keep "$mode" "$path"
    chown "$user:" "$path"
}

# unit PATH < CONTENT: a unit of systemd; the note that it has to be read again outlives a broken connection.
unit() { place 0644 "$1" "$reload" || true; }

# operators USER HOME API < KUBECONFIG: the administrators' way to the cluster; proves that it leads there.
operators() {
    local user=$1 home=$2 api=$3 kubeconfig=$2/.kube/config
    install -d -m 0700 "$home/.kube"
    chown "$user:" "$home/.kube"
    own "$user" 0600 "$kubeconfig"
    wait_until 120 "the API at $api" kubectl --kubeconfig "$kubeconfig" get --raw /readyz ||
        fail "the API at $api does not take the operators' kubeconfig: $(kubectl --kubeconfig "$kubeconfig" get --raw /readyz 2>&1 | tail -n 1)"
}

# python_there: what keeps the copies is written in Python, as cloud-init is.
python_there() { [[ -x /usr/bin/python3 ]] || fail "the image has no /usr/bin/python3, which keeps the copies of snapshots: add it"; }

# timer NAME: enabled and running, as its file says.
timer() {
    if [[ -e $reload ]]; then
        systemctl daemon-reload
        systemctl -q enable "$1.timer"
        systemctl restart "$1.timer" || fail "$1.timer did not start: $(journalctl -u "$1.timer" -n 5 --no-pager 2>&1)"
        rm -f "$reload"
    elif ! systemctl -q is-active "$1.timer"; then
        systemctl -q enable "$1.timer"
        systemctl start "$1.timer" || fail "$1.timer did not start: $(journalctl -u "$1.timer" -n 5 --no-pager 2>&1)"
    fi
}
