// pulumi-resource-kubernetes is Pulumi's provider for Kubernetes, built from its Go module.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
)

// version is that of the Python package pulumi-kubernetes; the build sets it.
var version = "0.0.0"

// The build takes both from the provider's module.
//
//go:embed schema.json
var schema []byte

//go:embed terraform-mapping.json
var mapping []byte

func main() { provider.Serve("kubernetes", version, schema, mapping) }
