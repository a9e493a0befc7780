package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	cadvisorv2 "github.com/google/cadvisor/info/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
	evictionapi "k8s.io/kubernetes/pkg/kubelet/eviction/api"
)

// machine is the VM as the kubelet is to see it: it plays cadvisor, which would show the machine that lends its kernel.
// Nothing is measured, so nothing is ever short: memory and disk of the VM are not enforced in the lab.
type machine struct {
	Cores     int    `json:"cores"`
	MemoryMiB uint64 `json:"memory_mib"`
	DiskGiB   uint64 `json:"disk_gib"`
	Kernel    string `json:"kernel"`
	OS        string `json:"os"`
	ID        string `json:"machine_id"`
	Boot      string `json:"boot_id"`
}

func readMachine(file string) (*machine, error) {
	found := &machine{}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, found)
	}
	return found, err
}

func (m *machine) Start() error { return nil }

func (m *machine) MachineInfo() (*cadvisorapi.MachineInfo, error) {
	socket := cadvisorapi.Node{Memory: m.MemoryMiB << 20}
	for core := range m.Cores {
		socket.Cores = append(socket.Cores, cadvisorapi.Core{Id: core, Threads: []int{core}})
	}
	return &cadvisorapi.MachineInfo{
		NumCores: m.Cores, NumPhysicalCores: m.Cores, NumSockets: 1, MemoryCapacity: m.MemoryMiB << 20,
		MachineID: m.ID, SystemUUID: m.ID, BootID: m.Boot, Topology: []cadvisorapi.Node{socket},
	}, nil
}

func (m *machine) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	return &cadvisorapi.VersionInfo{KernelVersion: m.Kernel, ContainerOsVersion: m.OS}, nil
}

// ContainerInfoV2 answers for the root cgroup, by which the eviction manager judges the node.
func (m *machine) ContainerInfoV2(name string, _ cadvisorv2.RequestOptions) (map[string]cadvisorv2.ContainerInfo, error) {
	if name != "/" {
		return map[string]cadvisorv2.ContainerInfo{}, nil
	}
	now := time.Now()
	return map[string]cadvisorv2.ContainerInfo{"/": {
		Spec:  cadvisorv2.ContainerSpec{CreationTime: now, HasMemory: true, Memory: cadvisorv2.MemorySpec{Limit: m.MemoryMiB << 20}},
		Stats: []*cadvisorv2.ContainerStats{{Timestamp: now, Memory: &cadvisorapi.MemoryStats{}}},
	}}, nil
}

func (m *machine) GetRequestedContainersInfo(string, cadvisorv2.RequestOptions) (map[string]*cadvisorapi.ContainerInfo, error) {
	return map[string]*cadvisorapi.ContainerInfo{}, nil
}

func (m *machine) disk() (cadvisorv2.FsInfo, error) {
	size, inodes := m.DiskGiB<<30, m.DiskGiB<<16
	return cadvisorv2.FsInfo{
		Timestamp: time.Now(), Device: "/dev/sda1", Mountpoint: "/",
		Capacity: size, Available: size, Inodes: &inodes, InodesFree: &inodes,
	}, nil
}

func (m *machine) RootFsInfo() (cadvisorv2.FsInfo, error)                     { return m.disk() }
func (m *machine) ImagesFsInfo(context.Context) (cadvisorv2.FsInfo, error)    { return m.disk() }
func (m *machine) ContainerFsInfo(context.Context) (cadvisorv2.FsInfo, error) { return m.disk() }
func (m *machine) GetDirFsInfo(string) (cadvisorv2.FsInfo, error)             { return m.disk() }

// noCgroups is a container manager that touches no cgroup, because neither an ordinary user's lab nor a container may.
type noCgroups struct {
	cm.ContainerManager
	machine  *machine
	reserved v1.ResourceList
}

func newContainerManager(m *machine, config *kubeletconfig.KubeletConfiguration) (cm.ContainerManager, error) {
	reserved, err := reservation(m, config)
	return noCgroups{cm.NewStubContainerManager(), m, reserved}, err
}

func (n noCgroups) GetCapacity(bool) v1.ResourceList {
	size := int64(n.machine.DiskGiB << 30)
	return v1.ResourceList{v1.ResourceEphemeralStorage: *resource.NewQuantity(size, resource.BinarySI)}
}

// GetPodCgroupRoot names what the eviction manager takes for all pods together: the root, for which machine answers.
func (n noCgroups) GetPodCgroupRoot() string { return "/" }

func (n noCgroups) GetNodeAllocatableReservation() v1.ResourceList { return n.reserved }

// reservation is what of a node is not for pods: kube-reserved, system-reserved, and what hard eviction keeps free.
func reservation(m *machine, config *kubeletconfig.KubeletConfiguration) (v1.ResourceList, error) {
	sum := v1.ResourceList{}
	add := func(name v1.ResourceName, amount resource.Quantity) {
		total := sum[name]
		total.Add(amount)
		sum[name] = total
	}
	for _, reserved := range []map[string]string{config.KubeReserved, config.SystemReserved} {
		for name, text := range reserved {
			amount, err := resource.ParseQuantity(text)
			if err != nil {
				return nil, err
			}
			add(v1.ResourceName(name), amount)
		}
	}
	thresholds, err := eviction.ParseThresholdConfig(nil, config.EvictionHard, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	sizes := map[evictionapi.Signal]struct {
		name v1.ResourceName
		size uint64
	}{
		evictionapi.SignalMemoryAvailable: {v1.ResourceMemory, m.MemoryMiB << 20},
		evictionapi.SignalNodeFsAvailable: {v1.ResourceEphemeralStorage, m.DiskGiB << 30},
	}
	for _, threshold := range thresholds {
		if of, known := sizes[threshold.Signal]; known {
			whole := resource.NewQuantity(int64(of.size), resource.BinarySI)
			add(of.name, *evictionapi.GetThresholdQuantity(threshold.Value, whole))
		}
	}
	return sum, nil
}
