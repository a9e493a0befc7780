"""Commands that would change the machine's kernel under the VM: they keep notes of what was asked, and show those.

Scripts call them often, and Debian's take a millisecond: nothing is imported that these do not need.
"""

import os
import sys

SYSCTL = "/run/lab/sysctl"
"""`key = value` lines: what was set here."""
MODULES = "/run/lab/modules"
"""Names of modules, one a line."""
SYSCTL_D = "/etc/sysctl.d"
MODULES_D = "/etc/modules-load.d"


def modprobe(words: list[str]) -> int:
    """Note the modules; the machine's kernel is shared and stays as it is."""
    names = [word for word in words if not word.startswith("-")]
    with open(MODULES, "a") as notes:
        notes.writelines(f"{name}\n" for name in names)
    return 0


def lsmod(_: list[str]) -> int:
    """The modules that were asked for."""
    sys.stdout.write("Module                  Size  Used by\n")
    sys.stdout.writelines(f"{name:<23} 16384  0\n" for name in sorted(set(_lines(MODULES))))
    return 0


def read_settings() -> dict[str, str]:
    """Kernel settings that were set in the VM."""
    return dict(_setting(line) for line in _lines(SYSCTL))


def sysctl(words: list[str]) -> int:
    """Answer with what was set here, else with the kernel's value; setting is noted, and nothing else changes."""
    noted = read_settings()
    flags = {word for word in words if word.startswith("-")}
    rest = [word for word in words if not word.startswith("-")]
    if "--system" in flags or flags & {"-p", "--load"}:
        files = rest or [*_files(SYSCTL_D), "/etc/sysctl.conf"]
        rest = [line for file in files for line in _lines(file) if "=" in line and not line.startswith(("#", ";"))]
    status = 0
    for word in rest:
        name, value = _setting(word)
        name = name.lstrip("-").replace("/", ".")
        if "=" in word:
            noted[name] = value
        current = noted.get(name) or _kernel(name)
        if current is None:
            sys.stderr.write(f"sysctl: cannot stat /proc/sys/{name.replace('.', '/')}: No such file or directory\n")
            status = 255
        elif not flags & {"-q", "--quiet"} or "=" not in word:
            sys.stdout.write(f"{current}\n" if flags & {"-n", "--values"} else f"{name} = {current}\n")
    if any("=" in word for word in rest):
        with open(SYSCTL, "w") as notes:
            notes.writelines(f"{name} = {value}\n" for name, value in noted.items())
    return status


def apply_at_boot() -> None:
    """Do what systemd-modules-load and systemd-sysctl do before anything else starts."""
    modprobe([line for file in _files(MODULES_D) for line in _lines(file) if line[0] not in "#;"])
    sysctl(["--quiet", "--system"])


def _setting(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip(), value.strip()


def _files(directory: str) -> list[str]:
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return [f"{directory}/{name}" for name in names if name.endswith(".conf")]


def _lines(file: str) -> list[str]:
    """The lines of a file that are not blank; none where the file does not exist."""
    if not os.path.exists(file):
        return []
    with open(file) as text:
        return [line.strip() for line in text if line.strip()]


def _kernel(name: str) -> str | None:
    """A setting of the machine's kernel; every dot is a directory, so no name leaves /proc/sys."""
    return " ".join(_lines(path)) if os.path.isfile(path := f"/proc/sys/{name.replace('.', '/')}") else None


COMMANDS = {"modprobe": modprobe, "lsmod": lsmod, "sysctl": sysctl}


def main(argv: list[str]) -> int:
    """Run the command by the name it was called with."""
    return COMMANDS[os.path.basename(argv[0])](argv[1:])
