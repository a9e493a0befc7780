# Functions for the packages of a node's operating system; sent over SSH together with those of node.sh, run by root's bash.
rebooting=/run/lyceum-rebooting # /run is empty after a boot, so its absence means that the machine has booted
apt_log=/run/lyceum-apt.log
export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_MODE=l APT_LISTCHANGES_FRONTEND=none

# with_lock SECONDS COMMAND...: runs apt or dpkg; waits while another process holds their lock, and reports which; 75 on timeout.
with_lock() {
    local limit=$1 start=$SECONDS reported=-10 code
    shift
    while :; do
        code=0
        "$@" >"$apt_log" 2>&1 || code=$?
        ((code)) && grep -qE 'Could not get lock|Unable to acquire the dpkg|frontend lock was locked' "$apt_log" || return $code
        ((SECONDS - start < limit)) || return 75
        if ((SECONDS - reported >= 10)); then
            reported=$SECONDS
            say "waiting for dpkg's lock, held by $(holder): $((SECONDS - start)) s of $limit s"
        fi
        sleep 2
    done
}

holder() { grep -oE '(process|pid) [0-9]+( \([^)]*\))?' "$apt_log" | head -n 1 || echo unknown; }

apt() { apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o APT::Update::Error-Mode=any "$@"; }

last_lines() { grep -vE '^(Reading|Building|Preparing|Unpacking|Setting up|$)' "$apt_log" | tail -n 6 | tr '\n' ';'; }

unfinished() { dpkg --audit 2>/dev/null | sed -n 's/^ \([a-z0-9][a-z0-9.+-]*\)\( .*\)\?$/\1/p'; }

newest_kernel() { { find /boot -maxdepth 1 -name 'vmlinuz-*' -printf '%f\n' 2>/dev/null || true; } | sed s/vmlinuz-// | sort -V | tail -n 1; }

# reboot_reasons: packages that require a reboot, or a newer kernel that is installed; nothing if no reboot is needed.
reboot_reasons() {
    local kernel
    kernel=$(newest_kernel)
    if [[ -e /run/reboot-required ]]; then
        { cat /run/reboot-required.pkgs 2>/dev/null || echo "its packages"; } | sort -u
    elif [[ -n $kernel && $kernel != "$(uname -r)" ]]; then
        echo "kernel $kernel"
    fi
}

# survey: the state of the node's packages, one fact per line; updates the package lists first unless dpkg is locked.
survey() {
    with_lock 0 apt update || echo "stale $(last_lines)"
    apt -s upgrade --with-new-pkgs >"$apt_log" 2>&1 || echo "stale $(last_lines)"
    sed -n 's/^Inst /pending /p' "$apt_log"
    apt-mark showhold | sed 's/^/held /'
    unfinished | sed 's/^/unfinished /'
    reboot_reasons | sed 's/^/reboot /'
    if command -v unattended-upgrade >/dev/null && [[ $(apt-config dump APT::Periodic::Unattended-Upgrade) == *'"1"'* ]]; then
        echo unattended
    fi
}

# fetch_packages SECONDS: downloads while the node is in service; changes nothing that runs.
fetch_packages() {
    [[ -z $(unfinished) ]] || return 0 # an interrupted upgrade is finished first
    with_lock "$1" apt update || refuse $? "the package lists could not be fetched"
    with_lock "$1" apt -d upgrade --with-new-pkgs || refuse $? "the packages could not be fetched"
}

# upgrade_packages SECONDS: finishes an interrupted upgrade, then installs; removes no package, keeps changed configuration files.
upgrade_packages() {
    if [[ -n $(unfinished) ]]; then
        with_lock "$1" dpkg --configure -a || refuse $? "packages are partly installed"
    fi
    with_lock "$1" apt upgrade --with-new-pkgs || refuse $? "packages could not be installed"
}

refuse() {
    [[ $1 != 75 ]] || fail "dpkg's lock is still held by $(holder); look at it with: ps -fp NUMBER"
    fail "$2: $(last_lines) More: /var/log/apt/term.log"
}

# request_reboot: prints why a reboot is needed, and marks the machine until it has booted; prints nothing if none is needed.
request_reboot() {
    local why
    why=$(reboot_reasons | paste -sd ' ')
    [[ -n $why ]] || return 0
    touch "$rebooting"
    echo "$why"
}

# check_booted: fails while a requested reboot is pending, and starts it. The SSH session may be lost with it; the caller repeats the
# call until it succeeds, so it need not know whether the command arrived.
check_booted() {
    [[ -e $rebooting ]] || return 0
    systemctl reboot
    fail "has not rebooted yet"
}
