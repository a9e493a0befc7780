package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	// The SDK's script that runs a program under the engine; it lies beside this executable.
	scriptName = "pulumi-language-python-exec"

	// The script's exit code after it has told the user what is wrong.
	exitToldUser = 32

	// A cancelled program has this long to end by itself.
	grace = 3 * time.Second
)

// host answers the engine. Every call works for itself, so calls may run in parallel.
type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	engine   string          // address of the engine
	script   string          // path of scriptName
	lifetime context.Context // ends when the host is told to stop
}

func execScript() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", err
	}
	script := filepath.Join(filepath.Dir(self), scriptName)
	if _, err := os.Stat(script); err != nil {
		return "", fmt.Errorf("%w; it belongs beside %s: run `make setup` again", err, self)
	}
	return script, nil
}

func (h *host) Handshake(
	context.Context, *pulumirpc.LanguageHandshakeRequest,
) (*pulumirpc.LanguageHandshakeResponse, error) {
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version}, nil
}

// Run runs the program to its end. What it prints reaches the engine through this process's own streams.
func (h *host) Run(ctx context.Context, request *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	if request.GetAttachDebugger() {
		return nil, errors.New("this language host cannot attach a debugger; start the program's tests under one instead")
	}
	settings, err := settingsOf(request.GetInfo())
	if err != nil {
		return nil, err
	}
	tools, err := settings.tools()
	if err != nil {
		return nil, err
	}
	if err := tools.ValidateVenv(ctx); err != nil {
		return nil, err
	}
	if complaint, err := settings.typecheck(ctx, tools); err != nil || complaint != "" {
		return &pulumirpc.RunResponse{Error: complaint}, err
	}
	configuration, err := environment(request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.lifetime, cancel)()
	program, err := tools.Command(ctx, h.arguments(request)...)
	if err != nil {
		return nil, err
	}
	if program.Env == nil {
		program.Env = os.Environ()
	}
	program.Env = append(program.Env, configuration...)
	program.Dir = request.GetInfo().GetProgramDirectory()
	program.Stdout, program.Stderr = os.Stdout, os.Stderr
	program.Cancel = func() error { return program.Process.Signal(syscall.SIGTERM) } // unlike SIGINT, no traceback
	program.WaitDelay = grace
	return outcome(program.Run(), ctx.Err())
}

// outcome translates how the program ended.
func outcome(err, cancelled error) (*pulumirpc.RunResponse, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return &pulumirpc.RunResponse{}, nil
	case cancelled != nil:
		return nil, cancelled
	case !errors.As(err, &exit):
		return nil, fmt.Errorf("starting Python: %w", err)
	case exit.ExitCode() == exitToldUser:
		return &pulumirpc.RunResponse{Bail: true}, nil
	case exit.ExitCode() < 0:
		return &pulumirpc.RunResponse{Error: "Program was ended by " + exit.String()}, nil
	default:
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("Program exited with non-zero exit code: %d", exit.ExitCode())}, nil
	}
}

// arguments are those of the interpreter: the script, its options, the program and the program's arguments.
func (h *host) arguments(request *pulumirpc.RunRequest) []string {
	arguments := []string{"-u", h.script}
	option := func(name, value string) {
		if value != "" {
			arguments = append(arguments, "--"+name, value)
		}
	}
	option("monitor", request.GetMonitorAddress())
	option("engine", h.engine)
	option("project", request.GetProject())
	option("root_directory", request.GetInfo().GetRootDirectory())
	option("stack", request.GetStack())
	option("pwd", request.GetPwd())
	option("organization", request.GetOrganization())
	option("parallel", strconv.Itoa(int(request.GetParallel())))
	if request.GetDryRun() {
		option("dry_run", "true")
	}
	entry := request.GetInfo().GetEntryPoint()
	if entry == "" {
		entry = request.GetProgram()
	}
	return append(append(arguments, entry), request.GetArgs()...)
}

// environment carries the stack's configuration, as the SDK expects it.
func environment(request *pulumirpc.RunRequest) ([]string, error) {
	values, secrets := request.GetConfig(), request.GetConfigSecretKeys()
	if values == nil {
		values = map[string]string{}
	}
	if secrets == nil {
		secrets = []string{}
	}
	valuesText, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	secretsText, err := json.Marshal(secrets)
	if err != nil {
		return nil, err
	}
	return []string{"PULUMI_CONFIG=" + string(valuesText), "PULUMI_CONFIG_SECRET_KEYS=" + string(secretsText)}, nil
}

// typecheck runs the type checker that the project asks for and gives its complaints.
func (s *settings) typecheck(ctx context.Context, tools toolkit) (string, error) {
	if s.typechecker == "" {
		return "", nil
	}
	check, err := tools.ModuleCommand(ctx, s.typechecker, s.ProgramDir)
	if err != nil {
		return "", err
	}
	var said bytes.Buffer
	check.Dir, check.Stdout, check.Stderr = s.Root, &said, &said
	var exit *exec.ExitError
	if err := check.Run(); errors.As(err, &exit) {
		return fmt.Sprintf("%s: %s", s.typechecker, strings.TrimSpace(said.String())), nil
	} else if err != nil {
		return "", fmt.Errorf("running %s: %w", s.typechecker, err)
	}
	return "", nil
}

func (h *host) InstallDependencies(
	request *pulumirpc.InstallDependenciesRequest,
	stream grpc.ServerStreamingServer[pulumirpc.InstallDependenciesResponse],
) error {
	settings, err := settingsOf(request.GetInfo())
	if err != nil {
		return err
	}
	tools, err := settings.tools()
	if err != nil {
		return err
	}
	closer, stdout, stderr, err := rpcutil.MakeInstallDependenciesStreams(stream, request.GetIsTerminal())
	if err != nil {
		return err
	}
	defer closer.Close()
	directory := request.GetInfo().GetProgramDirectory()
	err = tools.InstallDependencies(
		stream.Context(), directory, request.GetUseLanguageVersionTools(), true, stdout, stderr)
	return errors.Join(err, closer.Close())
}

func (h *host) About(ctx context.Context, request *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	settings, err := settingsOf(request.GetInfo())
	if err != nil {
		return nil, err
	}
	tools, err := settings.tools()
	if err != nil {
		return nil, err
	}
	info, err := tools.About(ctx)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.AboutResponse{
		Executable: info.PythonExecutable,
		Version:    info.PythonVersion.String(),
		Metadata:   map[string]string{"toolchain": settings.toolchainName(), "toolchainVersion": info.ToolchainVersion.String()},
	}, nil
}

func (h *host) GetProgramDependencies(
	ctx context.Context, request *pulumirpc.GetProgramDependenciesRequest,
) (*pulumirpc.GetProgramDependenciesResponse, error) {
	settings, err := settingsOf(request.GetInfo())
	if err != nil {
		return nil, err
	}
	tools, err := settings.tools()
	if err != nil {
		return nil, err
	}
	packages, err := tools.ListPackages(ctx, request.GetTransitiveDependencies())
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.GetProgramDependenciesResponse{}
	for _, one := range packages {
		response.Dependencies = append(response.Dependencies,
			&pulumirpc.DependencyInfo{Name: one.Name, Version: one.Version})
	}
	return response, nil
}

func (h *host) RuntimeOptionsPrompts(
	context.Context, *pulumirpc.RuntimeOptionsRequest,
) (*pulumirpc.RuntimeOptionsResponse, error) {
	return &pulumirpc.RuntimeOptionsResponse{}, nil
}

func (h *host) Template(context.Context, *pulumirpc.TemplateRequest) (*pulumirpc.TemplateResponse, error) {
	return &pulumirpc.TemplateResponse{}, nil
}

// Cancel has nothing to add: the engine cancels the calls under way as well, and each ends what it started.
func (h *host) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}
