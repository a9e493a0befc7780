package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

type toolkit = toolchain.Toolchain

// settings are the options below `runtime:` in Pulumi.yaml.
type settings struct {
	toolchain.PythonOptions
	typechecker string // Python module, or nothing
}

func settingsOf(info *pulumirpc.ProgramInfo) (*settings, error) {
	s := &settings{PythonOptions: toolchain.PythonOptions{
		Root:       info.GetRootDirectory(),
		ProgramDir: info.GetProgramDirectory(),
	}}
	for name, value := range info.GetOptions().AsMap() {
		text, isText := value.(string)
		if !isText {
			return nil, fmt.Errorf("Pulumi.yaml: runtime option %s must be a string, not %v", name, value)
		}
		switch name {
		case "virtualenv":
			s.Virtualenv = text
		case "toolchain":
			switch text {
			case "pip":
				s.Toolchain = toolchain.Pip
			case "poetry":
				s.Toolchain = toolchain.Poetry
			case "uv":
				s.Toolchain = toolchain.Uv
			default:
				return nil, fmt.Errorf("Pulumi.yaml: runtime option toolchain must be pip, poetry or uv, not %q", text)
			}
		case "typechecker":
			if text != "mypy" && text != "pyright" {
				return nil, fmt.Errorf("Pulumi.yaml: runtime option typechecker must be mypy or pyright, not %q", text)
			}
			s.typechecker = text
		}
	}
	return s, nil
}

func (s *settings) tools() (toolkit, error) { return toolchain.ResolveToolchain(s.PythonOptions) }

func (s *settings) toolchainName() string { return toolchain.Name(s.Toolchain) }

// GetRequiredPackages tells which plugins the installed Python packages want. It reads their pulumi-plugin.json
// instead of asking pip, which would cost each preview most of a second.
func (h *host) GetRequiredPackages(
	ctx context.Context, request *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	settings, err := settingsOf(request.GetInfo())
	if err != nil {
		return nil, err
	}
	tools, err := settings.tools()
	if err != nil {
		return nil, err
	}
	directories, err := sitePackages(ctx, tools)
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.GetRequiredPackagesResponse{}
	for _, directory := range directories {
		files, err := filepath.Glob(filepath.Join(directory, "*", "pulumi-plugin.json"))
		if err != nil {
			return nil, err
		}
		slices.Sort(files)
		for _, file := range files {
			wanted, err := requirement(file)
			if err != nil {
				return nil, err
			}
			if wanted != nil {
				response.Packages = append(response.Packages, wanted)
			}
		}
	}
	return response, nil
}

// sitePackages finds where packages are installed: in the virtual environment, or where the interpreter says.
func sitePackages(ctx context.Context, tools toolkit) ([]string, error) {
	if path, err := tools.VirtualEnvPath(ctx); err == nil && path != "" {
		if found, err := filepath.Glob(filepath.Join(path, "lib", "python3*", "site-packages")); err == nil && found != nil {
			return found, nil
		}
	}
	ask, err := tools.Command(ctx, "-c", "import site, json; print(json.dumps(site.getsitepackages()))")
	if err != nil {
		return nil, err
	}
	answer, err := ask.Output()
	if err != nil {
		return nil, fmt.Errorf("asking Python for its site-packages: %w", err)
	}
	var directories []string
	return directories, json.Unmarshal(answer, &directories)
}

// requirement reads a package's pulumi-plugin.json; nothing if the package needs no plugin.
func requirement(file string) (*pulumirpc.PackageDependency, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	type parameterization struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Value   []byte `json:"value"`
	}
	var plugin struct {
		Resource         bool              `json:"resource"`
		Name             string            `json:"name"`
		Version          string            `json:"version"`
		Server           string            `json:"server"`
		Parameterization *parameterization `json:"parameterization"`
	}
	if err := json.Unmarshal(content, &plugin); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if !plugin.Resource {
		return nil, nil
	}
	if plugin.Name == "" {
		plugin.Name = strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "pulumi_")
	}
	wanted := &pulumirpc.PackageDependency{
		Kind: "resource", Name: plugin.Name, Version: plugin.Version, Server: plugin.Server,
	}
	if given := plugin.Parameterization; given != nil {
		wanted.Parameterization = &pulumirpc.PackageParameterization{
			Name: given.Name, Version: given.Version, Value: given.Value,
		}
	}
	return wanted, nil
}
