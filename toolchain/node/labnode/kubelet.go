package main

import (
	"context"
	"os"

	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	clientset "k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/config"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"
	kubeletutil "k8s.io/kubernetes/pkg/kubelet/util"
	utilfs "k8s.io/kubernetes/pkg/util/filesystem"
)

// runKubelet is the kubelet with the VM as its machine, without cgroups, and with the pods of a label selector only.
func runKubelet(arguments []string) error {
	ctx := genericapiserver.SetupSignalContext()
	flags := options.NewKubeletFlags()
	var machineFile, pods string
	parse := func(settings *kubeletconfig.KubeletConfiguration) error {
		set := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
		set.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
		flags.AddFlags(set)
		options.AddKubeletConfigFlags(set, settings)
		set.StringVar(&machineFile, "machine", "", "file (JSON) that describes the VM")
		set.StringVar(&pods, "pods", "", "label selector: other pods are somebody else's")
		return set.Parse(arguments)
	}
	// Flags win over the file (kubelet(8)), so they are read twice.
	defaults, err := options.NewKubeletConfiguration()
	if err != nil {
		return err
	}
	if err := parse(defaults); err != nil {
		return err
	}
	loader, err := configfiles.NewFsLoader(&utilfs.DefaultFs{}, flags.KubeletConfigFile)
	if err != nil {
		return err
	}
	settings, err := loader.Load(ctx)
	if err != nil {
		return err
	}
	if err := parse(settings); err != nil {
		return err
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(settings.FeatureGates); err != nil {
		return err
	}
	logs.InitLogs()
	if err := logsapi.ValidateAndApply(&settings.Logging, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	server := &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *settings}
	deps, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return err
	}
	vm, err := readMachine(machineFile)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(server.RootDirectory, 0o750); err != nil {
		return err
	}
	deps.CAdvisorInterface = vm
	if deps.ContainerManager, err = newContainerManager(vm, settings); err != nil {
		return err
	}
	if err := selectPods(ctx, deps, server, pods); err != nil {
		return err
	}
	return app.Run(ctx, server, deps, utilfeature.DefaultFeatureGate)
}

// selectPods lets the kubelet see the pods of a label selector and no others.
func selectPods(ctx context.Context, deps *kubelet.Dependencies, server *options.KubeletServer, labels string) error {
	access, err := clientcmd.BuildConfigFromFlags("", server.KubeConfig)
	if err != nil {
		return err
	}
	client, err := clientset.NewForConfig(access)
	if err != nil {
		return err
	}
	node := server.HostnameOverride
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	deps.Recorder = broadcaster.NewRecorder(legacyscheme.Scheme, v1.EventSource{Component: "kubelet", Host: node})
	broadcaster.StartRecordingToSink(&typed.EventSinkImpl{Interface: client.CoreV1().Events("")})
	deps.PodStartupLatencyTracker = kubeletutil.NewPodStartupLatencyTracker()
	deps.PodConfig = config.NewPodConfig(deps.Recorder, deps.PodStartupLatencyTracker)
	updates := deps.PodConfig.Channel(ctx, kubetypes.ApiserverSource)
	synced := func() bool { return true }
	config.NewSourceApiserver(klog.FromContext(ctx), selecting{client, labels}, types.NodeName(node), synced, updates)
	return nil
}

// selecting is a client whose lists and watches of the core group have a label selector.
type selecting struct {
	clientset.Interface
	labels string
}

type selectingCore struct {
	typed.CoreV1Interface
	labels string
}

type selectingREST struct {
	rest.Interface
	labels string
}

func (s selecting) CoreV1() typed.CoreV1Interface {
	return selectingCore{s.Interface.CoreV1(), s.labels}
}

func (s selectingCore) RESTClient() rest.Interface {
	return selectingREST{s.CoreV1Interface.RESTClient(), s.labels}
}

func (s selectingREST) Get() *rest.Request { return s.Interface.Get().Param("labelSelector", s.labels) }
