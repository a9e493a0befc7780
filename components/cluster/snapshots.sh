#!/bin/bash
# All that the backup key may do on a server: name the snapshots of etcd, and print one. What it asks for are the words of
# the SSH command; sshd runs this whatever they are (authorized_keys, `command=`), and sudo allows the account nothing else.
set -euo pipefail
directory=/var/lib/rancher/k3s/server/db/snapshots

if ((EUID)); then
    read -r -a words <<<"${SSH_ORIGINAL_COMMAND-}"
    exec sudo -n "$0" "${words[@]}"
fi

refuse() {
    echo "this key may \`list\` and \`get NAME\`, nothing else" >&2
    exit 2
}

case $#:${1-} in
1:list) # seconds, bytes, name
    [[ ! -d $directory ]] || find "$directory" -maxdepth 1 -type f ! -name '*.part' -printf '%T@ %s %f\n'
    ;;
2:get) # SHA-256, K3s's release and the number of nodes on the first line, then the file
    [[ $2 =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ && -f $directory/$2 && ! -L $directory/$2 ]] || refuse
    digest=$(sha256sum <"$directory/$2")
    release=$(/usr/local/bin/k3s --version)
    read -r _ _ release _ <<<"$release"
    nodes=$({ /usr/local/bin/k3s kubectl get nodes -o name 2>/dev/null || true; } | wc -l)
    echo "${digest%% *} $release $nodes"
    cat "$directory/$2"
    ;;
*) refuse ;;
esac
