// Package local runs commands on the machine that runs Pulumi.
package local

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"lyceum/toolchain/engine/command/capture"
)

// After a cancellation a command has this long to end by itself.
const grace = 5 * time.Second

// Logging is the schema's enumeration command:local:Logging.
type Logging string

// Values makes Logging an enumeration of the schema.
func (Logging) Values() []infer.EnumValue[Logging] { return capture.Enumeration[Logging]() }

// Settings say how a command is run.
type Settings struct {
	Stdin                  *string            `pulumi:"stdin,optional"`
	Logging                *Logging           `pulumi:"logging,optional"`
	Interpreter            *[]string          `pulumi:"interpreter,optional"`
	Dir                    *string            `pulumi:"dir,optional"`
	Environment            *map[string]string `pulumi:"environment,optional"`
	AssetPaths             *[]string          `pulumi:"assetPaths,optional"`
	ArchivePaths           *[]string          `pulumi:"archivePaths,optional"`
	AddPreviousOutputInEnv *bool              `pulumi:"addPreviousOutputInEnv,optional"`
}

func (s *Settings) Annotate(a infer.Annotator) {
	a.Describe(&s.Stdin, "Text given to the command as standard input.")
	a.Describe(&s.Logging, "Which streams are shown while the command runs; both by default.")
	a.Describe(&s.Interpreter, "Program and arguments that run the command; /bin/sh -c by default.")
	a.Describe(&s.Dir, "Directory in which the command runs; it must exist.")
	a.Describe(&s.Environment, "Variables for the command, besides Pulumi's own.")
	a.Describe(&s.AssetPaths, "Globs of files to return one by one, relative to dir; a ! before one excludes.")
	a.Describe(&s.ArchivePaths, "Globs of files to return as one archive, relative to dir; a ! before one excludes.")
	a.Describe(&s.AddPreviousOutputInEnv,
		"Whether the command sees what its predecessor wrote, as PULUMI_COMMAND_STDOUT and PULUMI_COMMAND_STDERR.")
}

// Results are what a command leaves.
type Results struct {
	Stdout  string                            `pulumi:"stdout"`
	Stderr  string                            `pulumi:"stderr"`
	Assets  *map[string]*types.AssetOrArchive `pulumi:"assets,optional"`
	Archive *resource.Archive                 `pulumi:"archive,optional"`
}

func (r *Results) Annotate(a infer.Annotator) {
	a.Describe(&r.Stdout, "What the command wrote to standard output, without the last newline.")
	a.Describe(&r.Stderr, "What the command wrote to standard error, without the last newline.")
	a.Describe(&r.Assets, "The files that assetPaths found, by their path.")
	a.Describe(&r.Archive, "The files that archivePaths found.")
}

// Command is a command whose effect has a life cycle.
type Command struct{}

func (c *Command) Annotate(a infer.Annotator) {
	a.Describe(&c, "A command that is run locally when the resource is created, updated or deleted.")
}

// Arguments are the inputs of Command.
type Arguments struct {
	Triggers *[]any  `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Create   *string `pulumi:"create,optional"`
	Update   *string `pulumi:"update,optional"`
	Delete   *string `pulumi:"delete,optional"`
	Settings
}

func (i *Arguments) Annotate(a infer.Annotator) {
	a.Describe(&i.Triggers, "Values of any kind; a change of one replaces the resource.")
	a.Describe(&i.Create, "Command run when the resource is created; also at updates, unless `update` is given.")
	a.Describe(&i.Update, "Command run when an input other than a trigger has changed.")
	a.Describe(&i.Delete, "Command run when the resource is deleted.")
}

// State is what the engine remembers of a Command.
type State struct {
	Arguments
	Results
}

func (*Command) Create(
	ctx context.Context, request infer.CreateRequest[Arguments],
) (infer.CreateResponse[State], error) {
	state := State{Arguments: request.Inputs}
	id, err := resource.NewUniqueHex(request.Name, 8, 0)
	if err == nil && !request.DryRun {
		err = run(ctx, request.Inputs.Create, &state.Settings, &state.Results)
	}
	return infer.CreateResponse[State]{ID: id, Output: state}, err
}

func (*Command) Update(
	ctx context.Context, request infer.UpdateRequest[Arguments, State],
) (infer.UpdateResponse[State], error) {
	state := State{Arguments: request.Inputs, Results: request.State.Results}
	command := request.Inputs.Update
	if command == nil {
		command = request.Inputs.Create
	}
	var err error
	if !request.DryRun {
		err = run(ctx, command, &state.Settings, &state.Results)
	}
	return infer.UpdateResponse[State]{Output: state}, err
}

func (*Command) Delete(ctx context.Context, request infer.DeleteRequest[State]) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, run(ctx, request.State.Delete, &request.State.Settings, &request.State.Results)
}

// Run is the function that runs a command each time the program runs, in previews too.
type Run struct{}

func (r *Run) Annotate(a infer.Annotator) {
	a.Describe(&r, "Runs a command locally, at each preview and each update.")
}

// RunArguments are the inputs of Run.
type RunArguments struct {
	Settings
	Command string `pulumi:"command"`
}

func (r *RunArguments) Annotate(a infer.Annotator) { a.Describe(&r.Command, "The command to run.") }

// RunResults are the outputs of Run.
type RunResults struct {
	RunArguments
	Results
}

func (*Run) Invoke(
	ctx context.Context, request infer.FunctionRequest[RunArguments],
) (infer.FunctionResponse[RunResults], error) {
	results := RunResults{RunArguments: request.Input}
	err := run(ctx, &request.Input.Command, &results.Settings, &results.Results)
	return infer.FunctionResponse[RunResults]{Output: results}, err
}

// run executes the command, if there is one, with its predecessor's results at hand, and replaces them by its own.
func run(ctx context.Context, command *string, settings *Settings, results *Results) error {
	if command == nil {
		return nil
	}
	arguments := []string{"/bin/sh", "-c"}
	if settings.Interpreter != nil && len(*settings.Interpreter) > 0 {
		arguments = *settings.Interpreter
	}
	arguments = append(append([]string{}, arguments...), *command)
	process := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	// Its own process group, so that a cancellation ends what the command has started as well.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	process.Cancel = func() error { return syscall.Kill(-process.Process.Pid, syscall.SIGINT) }
	process.WaitDelay = grace
	process.Env = environment(settings, results)
	if settings.Dir != nil {
		process.Dir = *settings.Dir
	}
	if settings.Stdin != nil && *settings.Stdin != "" {
		process.Stdin = strings.NewReader(*settings.Stdin)
	}
	output := capture.New(ctx, settings.Logging)
	process.Stdout, process.Stderr = output.Stdout, output.Stderr
	err := process.Run()
	if ctx.Err() != nil && process.Process != nil {
		_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL) // what ignored the interrupt
	}
	stdout, stderr := output.Result()
	if err != nil {
		return output.Failure(err, *command)
	}
	results.Stdout, results.Stderr = stdout, stderr
	return results.collect(process.Dir, settings)
}

func environment(settings *Settings, results *Results) []string {
	variables := os.Environ()
	if settings.Environment != nil {
		for name, value := range *settings.Environment {
			variables = append(variables, name+"="+value)
		}
	}
	if settings.AddPreviousOutputInEnv != nil && !*settings.AddPreviousOutputInEnv {
		return variables
	}
	if results.Stdout != "" {
		variables = append(variables, capture.StdoutVariable+"="+results.Stdout)
	}
	if results.Stderr != "" {
		variables = append(variables, capture.StderrVariable+"="+results.Stderr)
	}
	return variables
}
