// kube is one binary holding a Kubernetes control plane and its tools: etcd, apiserver, controller-manager,
// scheduler, kubectl and etcdutl.
package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdutl/v3/etcdutl"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	name := filepath.Base(os.Args[0])
	if name == "kube" && len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	// A distribution's suffix, such as v1.36.3+k3s1; the version itself is set by the linker and may not differ.
	if full := os.Getenv("KUBE_VERSION"); full != "" {
		if err := version.SetDynamicVersion(full); err != nil {
			println("KUBE_VERSION:", err.Error())
			os.Exit(2)
		}
	}
	var cmd *cobra.Command
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
		return
	case "etcdutl":
		// Restores a snapshot into a data directory; etcd itself cannot.
		cmd = &cobra.Command{Use: "etcdutl", SilenceUsage: true}
		cmd.AddCommand(etcdutl.NewSnapshotCommand())
	case "kube-apiserver":
		cmd = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		cmd = kcm.NewControllerManagerCommand()
	case "kube-scheduler":
		cmd = scheduler.NewSchedulerCommand()
	case "kubectl":
		// kubectl prints its own errors in its own words, so it does not go through cli.Run.
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return
	default:
		println("usage: kube etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubectl|etcdutl")
		os.Exit(2)
	}
	os.Exit(cli.Run(cmd))
}
