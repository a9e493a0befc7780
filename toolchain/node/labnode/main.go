// labnode is what K3s runs on a node beside containerd, for a VM of the lab: the real kubelet, the real kube-proxy, and
// the node half of a CSI driver.
//
//	labnode kubelet --machine=FILE --pods=SELECTOR FLAGS...   flags as of kubelet
//	labnode kube-proxy FLAGS...                               flags as of kube-proxy
//	labnode csi VOLUMES KUBELET-DIRECTORY KUBECONFIG NODE
package main

import (
	"fmt"
	"os"
	"sync/atomic"
	_ "unsafe" // for the version

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	_ "k8s.io/component-base/version"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
)

// What a Kubernetes program reports as its version. SetDynamicVersion would only let the suffix change, and a node
// reports that of the K3s release which it stands for.
//
//go:linkname reportedVersion k8s.io/component-base/version.dynamicGitVersion
var reportedVersion atomic.Value

func main() {
	if full := os.Getenv("LYCEUM_K3S_VERSION"); full != "" {
		reportedVersion.Store(full)
	}
	verb := ""
	if len(os.Args) > 1 {
		verb = os.Args[1]
		os.Args = os.Args[1:]
	}
	var err error
	switch verb {
	case "kubelet":
		err = runKubelet(os.Args[1:])
	case "kube-proxy":
		os.Exit(cli.Run(proxy.NewProxyCommand()))
	case "csi":
		err = runDrivers(os.Args[1:])
	default:
		err = fmt.Errorf("usage: labnode kubelet|kube-proxy|csi")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", verb, err)
		os.Exit(1)
	}
}
