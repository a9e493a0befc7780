// cert-manager's controller, webhook, cainjector and startupapicheck in one program, made of the packages of its module.
//
// Upstream keeps their main packages in modules of their own, which Go's module proxy does not serve. This module is
// named below cert-manager's, so that Go lets it import internal packages. The issuers of Venafi and Vault, the
// controllers for CertificateSigningRequests and the Gateway API, and leader election are left out.
//
// The first argument, or the name that the program is started by, is the part to run; the rest are the flags that the
// chart gives to that part.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"

	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

var parts = map[string]func(context.Context, []string) error{
	"controller":      runController,
	"webhook":         runWebhook,
	"cainjector":      runInjector,
	"startupapicheck": runCheck,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	name, arguments := filepath.Base(os.Args[0]), os.Args[1:]
	if parts[name] == nil && len(arguments) > 0 {
		name, arguments = arguments[0], arguments[1:]
	}
	if parts[name] == nil {
		fmt.Fprintln(os.Stderr, "usage: certmanager controller|webhook|cainjector|startupapicheck [flags]")
		os.Exit(2)
	}
	logf.InitLogs()
	ctrl.SetLogger(logf.Log)
	if err := parts[name](logf.NewContext(ctx, logf.Log), arguments); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// newFlags returns a set that ignores flags that it does not know: the chart gives more than this program reads.
func newFlags(name string) *pflag.FlagSet {
	set := pflag.NewFlagSet(name, pflag.ContinueOnError)
	set.ParseErrorsAllowlist.UnknownFlags = true
	return set
}
