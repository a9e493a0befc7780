// pulumi-language-python runs Pulumi programs that are written in Python.
//
// It is to the official host of that name what the command plugin here is to its official sibling: the same service
// over the same SDK, for machines that reach only Go's module proxy. What it leaves out is code generation and plugins
// written in Python, which Lyceum has no use for. See docs/toolchain.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

// The engine is looked for this often, so that the host does not outlive an engine that was killed.
const healthEvery = 3 * time.Second

// version is that of the SDK; the build sets it.
var version = "0.0.0"

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "pulumi-language-python: %v\n", err)
		os.Exit(1)
	}
}

// serve answers the engine until it says goodbye with SIGINT or SIGTERM, or is gone; none of these is an error.
func serve(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("the engine's address is missing; this program is started by pulumi, not by hand")
	}
	engine := arguments[len(arguments)-1]
	script, err := execScript()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rpcutil.Healthcheck(ctx, engine, healthEvery, stop); err != nil {
		return fmt.Errorf("watching the engine at %s: %w", engine, err)
	}
	quit := make(chan bool)
	context.AfterFunc(ctx, func() { close(quit) })
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: quit,
		Init: func(server *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(server, &host{engine: engine, script: script, lifetime: ctx})
			return nil
		},
		Options: rpcutil.TracingServerInterceptorOptions(nil),
	})
	if err != nil {
		return err
	}
	fmt.Println(handle.Port)
	return <-handle.Done
}
