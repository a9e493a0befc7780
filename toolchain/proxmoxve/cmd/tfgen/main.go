// tfgen writes the schema and the metadata that the provider embeds.
package main

import (
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfgen"

	"lyceum/toolchain/proxmoxve"
)

func main() { tfgen.MainWithMuxer("proxmoxve", proxmoxve.Provider()) }
