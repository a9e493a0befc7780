// pulumi-resource-proxmoxve manages Proxmox VE.
package main

import (
	"context"
	_ "embed"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"

	"lyceum/toolchain/proxmoxve"
)

// The generator writes it; see ../tfgen.
//
//go:embed schema.json
var schema []byte

func main() {
	tfbridge.MainWithMuxer(context.Background(), "proxmoxve", proxmoxve.Provider(), schema)
}
