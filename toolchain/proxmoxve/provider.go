// Package proxmoxve bridges the bpg Terraform provider for Proxmox VE to Pulumi, under the token names of the Python
// package pulumi-proxmoxve. See docs/toolchain.md.
package proxmoxve

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/bpg/terraform-provider-proxmox/fwprovider"
	"github.com/bpg/terraform-provider-proxmox/proxmoxtf/provider"
	"github.com/ettle/strcase"
	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

// Version is that of the Python package pulumi-proxmoxve; the build sets it.
var Version = "0.0.0"

// The generator writes it; see cmd/tfgen.
//
//go:embed bridge-metadata.json
var metadata []byte

// member derives module and name from a Terraform type: proxmox_cloned_vm is cloned:Vm. Types of the older family,
// proxmox_virtual_environment_vm, get the suffix Legacy.
func member(terraformType string) (module, name string) {
	short, legacy := strings.CutPrefix(terraformType, "proxmox_virtual_environment_")
	if !legacy {
		short = strings.TrimPrefix(terraformType, "proxmox_")
	}
	module = "index"
	if cut := strings.LastIndex(short, "_"); cut >= 0 {
		module = strings.ReplaceAll(short[:cut], "_", "/")
		short = short[cut+1:]
	}
	if legacy {
		short += "Legacy"
	}
	return module, strcase.ToPascal(short)
}

// Provider describes the bridged provider to the generator and to the engine.
func Provider() tfbridge.ProviderInfo {
	upstream := pf.MuxShimWithPF(
		context.Background(), shimv2.NewProvider(provider.ProxmoxVirtualEnvironment()), fwprovider.New(Version)())
	info := tfbridge.ProviderInfo{
		P:            upstream,
		Name:         "proxmox",
		Version:      Version,
		GitHubOrg:    "bpg",
		Resources:    map[string]*tfbridge.ResourceInfo{},
		MetadataInfo: tfbridge.NewProviderMetadata(metadata),
		Python:       &tfbridge.PythonInfo{PackageName: "pulumi_proxmoxve"},
	}
	upstream.ResourcesMap().Range(func(terraformType string, described shim.Resource) bool {
		info.Resources[terraformType] = identified(described)
		return true
	})
	info.MustComputeTokens(tfbridge.Strategy{
		Resource: func(terraformType string, target *tfbridge.ResourceInfo) error {
			module, name := member(terraformType)
			target.Tok = tfbridge.MakeResource("proxmoxve", module, name)
			return nil
		},
		DataSource: func(terraformType string, target *tfbridge.DataSourceInfo) error {
			module, name := member(terraformType)
			target.Tok = tokens.ModuleMember(tfbridge.MakeDataSource("proxmoxve", module, "get"+name))
			return nil
		},
	})
	info.SetAutonaming(255, "-")
	return info
}

// identified renames an attribute `id` that is an input of the resource, since Pulumi keeps that name for itself.
func identified(described shim.Resource) *tfbridge.ResourceInfo {
	id, has := described.Schema().GetOk("id")
	if !has || (!id.Required() && id.Type() == shim.TypeString) {
		return &tfbridge.ResourceInfo{}
	}
	return &tfbridge.ResourceInfo{
		Fields: map[string]*tfbridge.SchemaInfo{"id": {Name: "resourceId", Type: "string"}},
		ComputeID: func(_ context.Context, state resource.PropertyMap) (resource.ID, error) {
			return resource.ID(fmt.Sprint(state["resourceId"].V)), nil
		},
	}
}
