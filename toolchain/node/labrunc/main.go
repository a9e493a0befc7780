// labrunc is runc for a VM of the lab: it asks for no capability that the VM's root lacks and for no cgroup. containerd
// starts it in place of runc, for each container.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/userns"
)

// Names by number, capabilities(7).
var capabilities = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
	net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct
	sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override
	mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore`)

const localStorage = "/var/lib/rancher/k3s/storage/pvc-"

type object = map[string]any

func main() {
	verb, file := request(os.Args[1:])
	var err error
	switch verb {
	case "create", "run":
		err = edit(filepath.Join(file, "config.json"), adaptBundle)
	case "exec":
		if file != "" {
			err = edit(file, adaptProcess)
		}
	case "ps":
		if err = printProcesses(os.Args[1:]); err == nil {
			return
		}
	}
	runc := ""
	if err == nil {
		runc, err = exec.LookPath("runc")
	}
	if err == nil {
		// Rootless in runc's sense: cgroups that it may not make are passed over.
		err = syscall.Exec(runc, append([]string{"runc", "--rootless=true"}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "labrunc:", err)
	os.Exit(1)
}

// request finds runc's command, and the bundle or the process file that it is given.
func request(arguments []string) (verb, file string) {
	for i, word := range arguments {
		if verb == "" && (word == "create" || word == "run" || word == "exec" || word == "ps") {
			verb = word
		}
		if (word == "--bundle" || word == "-b" || word == "--process" || word == "-p") && i+1 < len(arguments) {
			file = arguments[i+1]
		}
	}
	return verb, file
}

// printProcesses answers `ps --format json ID`. runc would ask the container's cgroup, finds none, and containerd takes the
// container for dead when it starts again. The first process is enough for it.
func printProcesses(arguments []string) error {
	asked := slices.Index(arguments, "ps")
	state := append(slices.Clone(arguments[:asked]), "state", arguments[len(arguments)-1])
	said, err := exec.Command("runc", append([]string{"--rootless=true"}, state...)...).Output()
	if err != nil {
		return err
	}
	var found struct{ Pid int }
	if err := json.Unmarshal(said, &found); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode([]int{found.Pid})
}

func edit(file string, adapt func(object)) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	document := object{}
	reader := json.NewDecoder(strings.NewReader(string(data)))
	reader.UseNumber()
	if err := reader.Decode(&document); err != nil {
		return err
	}
	adapt(document)
	if data, err = json.Marshal(document); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

func adaptBundle(bundle object) {
	if process, ok := bundle["process"].(object); ok {
		adaptProcess(process)
	}
	mounts, _ := bundle["mounts"].([]any)
	for _, entry := range mounts {
		mount := entry.(object)
		if mount["type"] == "sysfs" && userns.RunningInUserNS() {
			// A privileged pod's is writable. Here the kernel allows no more than the mount that the VM has itself.
			mount["options"] = []any{"nosuid", "noexec", "nodev", "ro"}
		}
		source, _ := mount["source"].(string)
		if strings.HasPrefix(source, localStorage) {
			// What K3s's provisioner does when it makes the directory; in the lab the kubelet makes it.
			_ = os.Chmod(source, 0o777)
		}
	}
	if linux, ok := bundle["linux"].(object); ok {
		delete(linux, "cgroupsPath")
		delete(linux, "resources")
	}
}

func adaptProcess(process object) {
	sets, _ := process["capabilities"].(object)
	bounding := boundingSet()
	for kind, given := range sets {
		kept := []any{}
		for _, name := range given.([]any) {
			if has(bounding, name.(string)) {
				kept = append(kept, name)
			}
		}
		sets[kind] = kept
	}
}

func has(set uint64, name string) bool {
	for number, known := range capabilities {
		if strings.EqualFold(name, "CAP_"+known) {
			return set>>number&1 == 1
		}
	}
	return false
}

func boundingSet() uint64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "CapBnd:"); found {
			set, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return set
		}
	}
	return 0
}
