// Package capture keeps what a command writes, and shows it line by line while the command runs.
package capture

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
)

// Names of the variables by which a command sees what its predecessor wrote.
const (
	StdoutVariable = "PULUMI_COMMAND_STDOUT"
	StderrVariable = "PULUMI_COMMAND_STDERR"
)

// An error message ends with this much of the output: enough for a stack trace, not for a whole installation.
const tailBytes = 8 << 10

// A command is named in an error by this much of its text.
const commandRunes = 400

// Which of a command's streams are shown while it runs. Each package has its own Logging type, as the schema has.
const (
	logStdout = "stdout"
	logStderr = "stderr"
	logBoth   = "stdoutAndStderr"
	logNone   = "none"
)

// Enumeration lists the values of a Logging type for the schema.
func Enumeration[L ~string]() []infer.EnumValue[L] {
	return []infer.EnumValue[L]{
		{Name: logStdout, Value: logStdout, Description: "Show stdout only."},
		{Name: logStderr, Value: logStderr, Description: "Show stderr only."},
		{Name: logBoth, Value: logBoth, Description: "Show stdout and stderr."},
		{Name: logNone, Value: logNone, Description: "Show nothing."},
	}
}

// Output collects the two streams of one command.
type Output struct {
	Stdout, Stderr io.Writer // where the command writes

	stdout, stderr, both bytes.Buffer
	shown                []*lines
}

// New prepares to capture a command whose log lines go to the resource of ctx; without a mode both streams are shown.
func New[L ~string](ctx context.Context, logging *L) *Output {
	out := &Output{}
	mode := logBoth
	if logging != nil {
		mode = string(*logging)
	}
	// The transport writes the two streams from two goroutines; `both` is theirs together.
	var mutex sync.Mutex
	both := &locked{Writer: &out.both, mutex: &mutex}
	out.Stdout = io.MultiWriter(&out.stdout, both, out.show(ctx, mode == logBoth || mode == logStdout))
	out.Stderr = io.MultiWriter(&out.stderr, both, out.show(ctx, mode == logBoth || mode == logStderr))
	return out
}

func (o *Output) show(ctx context.Context, wanted bool) io.Writer {
	if !wanted {
		return io.Discard
	}
	writer := &lines{log: p.GetLogger(ctx).InfoStatus}
	o.shown = append(o.shown, writer)
	return writer
}

// Result gives the two streams, each without its last newline, once the command has ended.
func (o *Output) Result() (stdout, stderr string) {
	for _, writer := range o.shown {
		writer.flush()
	}
	return strings.TrimSuffix(o.stdout.String(), "\n"), strings.TrimSuffix(o.stderr.String(), "\n")
}

// Failure explains why a command ended badly: the reason, which command, and the end of what it wrote.
func (o *Output) Failure(reason error, command string) error {
	text := o.both.String()
	if len(text) > tailBytes {
		text = fmt.Sprintf("(%d bytes left out)\n…%s", len(text)-tailBytes, text[len(text)-tailBytes:])
	}
	if runes := []rune(command); len(runes) > commandRunes {
		command = string(runes[:commandRunes]) + "…"
	}
	return fmt.Errorf("%w: running %q:\n%s", reason, command, text)
}

type locked struct {
	io.Writer
	mutex *sync.Mutex
}

func (w *locked) Write(data []byte) (int, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.Writer.Write(data)
}

// lines logs each line as soon as it is complete. One goroutine writes to it.
type lines struct {
	log     func(string)
	partial []byte
}

func (l *lines) Write(data []byte) (int, error) {
	l.partial = append(l.partial, data...)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 {
			return len(data), nil
		}
		l.log(strings.TrimSuffix(string(l.partial[:end]), "\r"))
		l.partial = l.partial[end+1:]
	}
}

func (l *lines) flush() {
	if len(l.partial) > 0 {
		l.log(string(l.partial))
		l.partial = nil
	}
}
