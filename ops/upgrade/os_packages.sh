# Functions for the packages of a node's operating system; sent over SSH behind node.sh's, run by root's bash.
rebooting=/run/lyceum-rebooting # /run is empty after a boot, so its absence says that the machine has been booted anew
apt_log=/run/lyceum-apt.log
export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_MODE=l APT_LISTCHANGES_FRONTEND=none

# unlocked SECONDS COMMAND...: runs apt or dpkg; waits while somebody else holds their lock, and says who; 75 if that never ends.
unlocked() {
    local limit=$1 start=$SECONDS said=-10 code
    shift
    while :; do
        code=0
        "$@" >"$apt_log" 2>&1 || code=$?
        ((code)) && grep -qE 'Could not get lock|Unable to acquire the dpkg|frontend lock was locked' "$apt_log" || return $code
        ((SECONDS - start < limit)) || return 75
        if ((SECONDS - said >= 10)); then
            said=$SECONDS
            say "waiting for dpkg's lock, held by $(holder): $((SECONDS - start)) s of $limit s"
        fi
        sleep 2
    done
}

holder() { grep -oE '(process|pid) [0-9]+( \([^)]*\))?' "$apt_log" | head -n 1 || echo somebody; }

apt() { apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o APT::Update::Error-Mode=any "$@"; }

last_lines() { grep -vE '^(Reading|Building|Preparing|Unpacking|Setting up|$)' "$apt_log" | tail -n 6 | tr '\n' ';'; }

unfinished() { dpkg --audit 2>/dev/null | sed -n 's/^ \([a-z0-9][a-z0-9.+-]*\)\( .*\)\?$/\1/p'; }

newest_kernel() { { find /boot -maxdepth 1 -name 'vmlinuz-*' -printf '%f\n' 2>/dev/null || true; } | sed s/vmlinuz-// | sort -V | tail -n 1; }

# why_reboot: packages that ask for it, or the kernel that waits; nothing where the machine runs what it has.
why_reboot() {
    local kernel
    kernel=$(newest_kernel)
    if [[ -e /run/reboot-required ]]; then
        { cat /run/reboot-required.pkgs 2>/dev/null || echo "its packages"; } | sort -u
    elif [[ -n $kernel && $kernel != "$(uname -r)" ]]; then
        echo "kernel $kernel"
    fi
}

# survey: what the node lacks, a fact a line; the lists are fetched first if nobody holds the lock.
survey() {
    unlocked 0 apt update || echo "stale $(last_lines)"
    apt -s upgrade --with-new-pkgs >"$apt_log" 2>&1 || echo "stale $(last_lines)"
    sed -n 's/^Inst /pending /p' "$apt_log"
    apt-mark showhold | sed 's/^/held /'
    unfinished | sed 's/^/unfinished /'
    why_reboot | sed 's/^/reboot /'
    if command -v unattended-upgrade >/dev/null && [[ $(apt-config dump APT::Periodic::Unattended-Upgrade) == *'"1"'* ]]; then
        echo unattended
    fi
}

# fetch_packages SECONDS: what can be done while the node still works; changes nothing that runs.
fetch_packages() {
    [[ -z $(unfinished) ]] || return 0 # an upgrade that was cut comes first
    unlocked "$1" apt update || refuse $? "the package lists could not be fetched"
    unlocked "$1" apt -d upgrade --with-new-pkgs || refuse $? "the packages could not be fetched"
}

# upgrade_packages SECONDS: ends what was cut, then installs; removes no package and keeps changed configuration files.
upgrade_packages() {
    if [[ -n $(unfinished) ]]; then
        unlocked "$1" dpkg --configure -a || refuse $? "packages are half installed"
    fi
    unlocked "$1" apt upgrade --with-new-pkgs || refuse $? "packages could not be installed"
}

refuse() {
    [[ $1 != 75 ]] || fail "dpkg's lock is still held by $(holder); see what it does: ps -fp NUMBER"
    fail "$2: $(last_lines) More: /var/log/apt/term.log"
}

# reboot_due: prints why; from then on the machine is one that has to boot anew.
reboot_due() {
    local why
    why=$(why_reboot | paste -sd ' ')
    [[ -n $why ]] || return 0
    touch "$rebooting"
    echo "$why"
}

# booted_anew: fails while the machine still has to, and tells it so. The session may go down with it; asked again, whoever asks need not
# know whether the word was heard.
booted_anew() {
    [[ -e $rebooting ]] || return 0
    systemctl reboot
    fail "has not gone down yet"
}
