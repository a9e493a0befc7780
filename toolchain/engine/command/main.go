// pulumi-resource-command runs commands on hosts over SSH, and locally, as Pulumi resources.
//
// It has the schema and the behaviour of the official plugin of that name and stands in for it where only Go's module
// proxy can be reached. See docs/toolchain.md.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/pulumi/pulumi-go-provider/infer"

	"lyceum/toolchain/engine/command/local"
	"lyceum/toolchain/engine/command/remote"
)

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
		err = provider.Run(context.Background(), "command", version)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "pulumi-resource-command: %v\n", err)
		os.Exit(1)
	}
}
