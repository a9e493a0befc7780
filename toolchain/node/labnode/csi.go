package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const look = 2 * time.Second

// runDrivers plays the node half of every CSI driver that the cluster has a CSIDriver of. A volume is a directory
// <volumes>/<volumeHandle>, which the VMs share; provisioning and attaching are the lab's stand-ins'. Sizes are not
// enforced, because a VM has no loop devices.
func runDrivers(arguments []string) error {
	if len(arguments) != 4 {
		return errors.New("usage: labnode csi VOLUMES KUBELET-DIRECTORY KUBECONFIG NODE")
	}
	volumes, kubelet, kubeconfig, node := arguments[0], arguments[1], arguments[2], arguments[3]
	access, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := clientset.NewForConfig(access)
	if err != nil {
		return err
	}
	running := map[string]*driver{}
	for ; ; time.Sleep(look) {
		listed, err := client.StorageV1().CSIDrivers().List(context.Background(), metav1.ListOptions{})
		if err != nil {
			continue // the API server is away; what runs stays
		}
		wanted := map[string]bool{}
		for _, item := range listed.Items {
			wanted[item.Name] = true
			if running[item.Name] == nil {
				started := &driver{name: item.Name, volumes: volumes, node: node, kubelet: kubelet, client: client}
				if err := started.start(); err != nil {
					return err
				}
				running[item.Name] = started
			}
		}
		for name, gone := range running {
			if !wanted[name] {
				gone.stop()
				delete(running, name)
			}
		}
	}
}

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedNodeServer
	registration.UnimplementedRegistrationServer
	name, volumes, node, kubelet string
	client                       clientset.Interface
	servers                      []*grpc.Server
}

func (d *driver) socket() string { return filepath.Join(d.kubelet, "plugins", d.name, "csi.sock") }

func (d *driver) start() error {
	err := d.serve(d.socket(), func(s *grpc.Server) {
		csi.RegisterIdentityServer(s, d)
		csi.RegisterNodeServer(s, d)
	})
	if err != nil {
		return err
	}
	announced := filepath.Join(d.kubelet, "plugins_registry", d.name+"-reg.sock")
	return d.serve(announced, func(s *grpc.Server) { registration.RegisterRegistrationServer(s, d) })
}

func (d *driver) serve(path string, register func(*grpc.Server)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	register(server)
	d.servers = append(d.servers, server)
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Printf("%s: %v", d.name, err)
		}
	}()
	return nil
}

// stop also removes the sockets, by which the kubelet knows that the driver is gone.
func (d *driver) stop() {
	for _, server := range d.servers {
		server.Stop()
	}
}

func (d *driver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: d.name, Endpoint: d.socket(), SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (d *driver) NotifyRegistrationStatus(_ context.Context, said *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !said.GetPluginRegistered() {
		log.Printf("%s: not registered: %s", d.name, said.GetError())
	}
	return &registration.RegistrationStatusResponse{}, nil
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.name, VendorVersion: "lab"}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	found := &csi.NodeGetCapabilitiesResponse{}
	for _, can := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	} {
		rpc := &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: can}}
		found.Capabilities = append(found.Capabilities, &csi.NodeServiceCapability{Type: rpc})
	}
	return found, nil
}

// NodeGetVolumeStats says what the files of a volume take, of the size that its PersistentVolume has.
func (d *driver) NodeGetVolumeStats(ctx context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	// The lab's provisioner gives a volume its PersistentVolume's name as handle.
	volume, err := d.client.CoreV1().PersistentVolumes().Get(ctx, r.GetVolumeId(), metav1.GetOptions{})
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	var used, files int64
	err = filepath.WalkDir(r.GetVolumePath(), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went while we looked
		}
		if info, err := entry.Info(); err == nil {
			used += info.Size()
			files++
		}
		return nil
	})
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	size := volume.Spec.Capacity.Storage().Value()
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: size, Used: used, Available: max(0, size-used)},
		{Unit: csi.VolumeUsage_INODES, Used: files},
	}}, nil
}

func (d *driver) NodeStageVolume(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	handle := r.GetVolumeId()
	if handle == "" || handle == ".." || strings.ContainsRune(handle, '/') {
		return nil, status.Errorf(codes.InvalidArgument, "volume handle %q is no file name", handle)
	}
	volume := filepath.Join(d.volumes, handle)
	// Root's, 0755, as a file system that was just made.
	if err := os.Mkdir(volume, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeStageVolumeResponse{}, bind(volume, r.GetStagingTargetPath(), false)
}

func (d *driver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	return &csi.NodePublishVolumeResponse{}, bind(r.GetStagingTargetPath(), r.GetTargetPath(), r.GetReadonly())
}

func (d *driver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	return &csi.NodeUnpublishVolumeResponse{}, unbind(r.GetTargetPath())
}

func (d *driver) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	return &csi.NodeUnstageVolumeResponse{}, unbind(r.GetStagingTargetPath())
}

func bind(from, to string, readOnly bool) error {
	if err := os.MkdirAll(to, 0o750); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	if same(from, to) {
		return nil
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return status.Errorf(codes.Internal, "bind %s on %s: %v", from, to, err)
	}
	if !readOnly {
		return nil
	}
	if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return status.Errorf(codes.Internal, "%s read-only: %v", to, err)
	}
	return nil
}

// same tells whether two paths show one directory: a bind mount has no device of its own.
func same(a, b string) bool {
	var left, right unix.Stat_t
	return unix.Stat(a, &left) == nil && unix.Stat(b, &right) == nil && left.Dev == right.Dev && left.Ino == right.Ino
}

func unbind(at string) error {
	for unix.Unmount(at, unix.MNT_DETACH) == nil {
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return status.Error(codes.Internal, fmt.Sprintf("%s is not empty: %v", at, err))
	}
	return nil
}
