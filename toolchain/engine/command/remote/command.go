// Package remote runs commands and copies files on hosts over SSH.
package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"golang.org/x/crypto/ssh"

	"lyceum/toolchain/engine/command/capture"
)

// After a cancellation a command is asked, then told, then made to end; this long after each.
const grace = 2 * time.Second

// Logging is the schema's enumeration command:remote:Logging.
type Logging string

// Values makes Logging an enumeration of the schema.
func (Logging) Values() []infer.EnumValue[Logging] { return capture.Enumeration[Logging]() }

// Command is a command whose effect on a host has a life cycle.
type Command struct{}

func (c *Command) Annotate(a infer.Annotator) {
	a.Describe(&c, "A command that is run on a remote host over SSH when the resource is created, updated or deleted.")
}

// Arguments are the inputs of Command.
type Arguments struct {
	Triggers *[]any  `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Create   *string `pulumi:"create,optional"`
	Update   *string `pulumi:"update,optional"`
	Delete   *string `pulumi:"delete,optional"`

	Stdin                  *string           `pulumi:"stdin,optional"`
	Logging                *Logging          `pulumi:"logging,optional"`
	Connection             *Connection       `pulumi:"connection" provider:"secret"`
	Environment            map[string]string `pulumi:"environment,optional"`
	AddPreviousOutputInEnv *bool             `pulumi:"addPreviousOutputInEnv,optional"`
}

func (i *Arguments) Annotate(a infer.Annotator) {
	a.Describe(&i.Triggers, "Values of any kind; a change of one replaces the resource.")
	a.Describe(&i.Create, "Command run when the resource is created; also at updates, unless `update` is given.")
	a.Describe(&i.Update, "Command run when an input other than a trigger has changed.")
	a.Describe(&i.Delete, "Command run when the resource is deleted.")
	a.Describe(&i.Stdin, "Text given to the command as standard input.")
	a.Describe(&i.Logging, "Which streams are shown while the command runs; both by default.")
	a.Describe(&i.Connection, "How to reach the host.")
	a.Describe(&i.Environment, "Variables for the command; the SSH server must allow them by AcceptEnv.")
	a.Describe(&i.AddPreviousOutputInEnv,
		"Whether the command sees what its predecessor wrote, as PULUMI_COMMAND_STDOUT and PULUMI_COMMAND_STDERR.")
}

// State is what the engine remembers of a Command.
type State struct {
	Arguments
	Stdout string `pulumi:"stdout"`
	Stderr string `pulumi:"stderr"`
}

func (s *State) Annotate(a infer.Annotator) {
	a.Describe(&s.Stdout, "What the command wrote to standard output, without the last newline.")
	a.Describe(&s.Stderr, "What the command wrote to standard error, without the last newline.")
}

func (*Command) Create(
	ctx context.Context, request infer.CreateRequest[Arguments],
) (infer.CreateResponse[State], error) {
	state := State{Arguments: request.Inputs}
	id, err := resource.NewUniqueHex(request.Name, 8, 0)
	if err == nil && !request.DryRun {
		err = state.run(ctx, request.Inputs.Create)
	}
	return infer.CreateResponse[State]{ID: id, Output: state}, err
}

func (*Command) Update(
	ctx context.Context, request infer.UpdateRequest[Arguments, State],
) (infer.UpdateResponse[State], error) {
	state := State{Arguments: request.Inputs, Stdout: request.State.Stdout, Stderr: request.State.Stderr}
	command := request.Inputs.Update
	if command == nil {
		command = request.Inputs.Create
	}
	var err error
	if !request.DryRun {
		err = state.run(ctx, command)
	}
	return infer.UpdateResponse[State]{Output: state}, err
}

func (*Command) Delete(ctx context.Context, request infer.DeleteRequest[State]) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, request.State.run(ctx, request.State.Delete)
}

// run executes the command, if there is one, and puts what it wrote into the state.
func (s *State) run(ctx context.Context, command *string) error {
	if command == nil {
		return nil
	}
	ctx, client, done, err := s.Connection.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("%s: opening a session: %w", s.Connection.address(), explained(ctx, err))
	}
	defer session.Close()
	if err := s.setEnvironment(ctx, session); err != nil {
		return err
	}
	if s.Stdin != nil && *s.Stdin != "" {
		session.Stdin = strings.NewReader(*s.Stdin)
	}
	output := capture.New(ctx, s.Logging)
	session.Stdout, session.Stderr = output.Stdout, output.Stderr

	err = runSession(ctx, client, session, *command)
	stdout, stderr := output.Result()
	if err != nil {
		return output.Failure(explained(ctx, err), *command)
	}
	s.Stdout, s.Stderr = stdout, stderr
	return nil
}

func (s *State) setEnvironment(ctx context.Context, session *ssh.Session) error {
	const advice = "the SSH server must allow it by AcceptEnv; where a shell runs the command, VAR=value before it will do"
	for name, value := range s.Environment {
		if err := session.Setenv(name, value); err != nil {
			return fmt.Errorf("could not set environment variable %q: %w; %s", name, err, advice)
		}
	}
	if s.AddPreviousOutputInEnv != nil && !*s.AddPreviousOutputInEnv {
		return nil
	}
	for name, value := range map[string]string{capture.StdoutVariable: s.Stdout, capture.StderrVariable: s.Stderr} {
		if value == "" {
			continue
		}
		if err := session.Setenv(name, value); err != nil {
			p.GetLogger(ctx).Warningf("Unable to set '%s': %s", name, advice)
		}
	}
	return nil
}

// runSession waits for the command. When ctx is cancelled it ends the command on the host, not only the connection:
// sshd passes the signals on to the command's process group.
func runSession(ctx context.Context, client *ssh.Client, session *ssh.Session, command string) error {
	if err := session.Start(command); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	select {
	case err := <-ended:
		var lost *ssh.ExitMissingError
		if errors.As(err, &lost) {
			return fmt.Errorf("the connection to %s was lost: %s (%w)", client.RemoteAddr(), whenItAnswers, err)
		}
		return err
	case <-ctx.Done():
	}
	for _, signal := range []ssh.Signal{ssh.SIGINT, ssh.SIGTERM, ssh.SIGKILL} {
		_ = session.Signal(signal)
		select {
		case <-ended:
			return fmt.Errorf("ended by SIG%s: %w", signal, ctx.Err())
		case <-time.After(grace):
		}
	}
	client.Close() // nothing helped, the connection may be dead; Wait returns now
	<-ended
	return fmt.Errorf("abandoned: %w", ctx.Err())
}
