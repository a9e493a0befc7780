// pulumi-resource-command runs commands on hosts over SSH, and locally, as Pulumi resources.
//
// It has the schema and the behaviour of the official plugin of that name and stands in for it where only Go's module
// proxy can be reached. See docs/toolchain.md.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"

	"lyceum/toolchain/engine/command/local"
	"lyceum/toolchain/engine/command/remote"
)

// The engine is looked for this often.
const healthEvery = 3 * time.Second

// version is that of the Python package pulumi-command; the build sets it.
var version = "0.0.0"

func main() {
	provider, err := infer.NewProviderBuilder().
		WithDisplayName("Command").
		WithDescription("Runs commands and copies files, locally and on remote hosts.").
		WithLicense("Apache-2.0").
		WithResources(
			infer.Resource(&remote.Command{}),
			infer.Resource(&remote.CopyToRemote{}),
			infer.Resource(&local.Command{}),
		).
		WithFunctions(infer.Function(&local.Run{})).
		Build()
	if err == nil {
		err = serve(provider, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "pulumi-resource-command: %v\n", err)
		os.Exit(1)
	}
}

// serve answers the engine until it says goodbye or is gone. An engine that was killed says no goodbye: its commands
// are ended as if somebody had cancelled them, or they would meet those of the next run.
func serve(provider p.Provider, arguments []string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if len(arguments) > 0 {
		gone := func() {
			_ = provider.Cancel(ctx)
			stop()
		}
		engine := arguments[len(arguments)-1]
		if err := rpcutil.Healthcheck(ctx, engine, healthEvery, gone); err != nil {
			return fmt.Errorf("watching the engine at %s: %w", engine, err)
		}
	}
	return provider.Run(ctx, "command", version)
}
