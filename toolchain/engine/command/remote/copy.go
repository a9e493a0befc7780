package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pkg/sftp"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// CopyToRemote puts a file, a text or a directory on a host.
type CopyToRemote struct{}

func (c *CopyToRemote) Annotate(a infer.Annotator) {
	a.Describe(&c, "Copies a file, a text or a directory to a remote host over SFTP. Deleting the resource leaves the copy.")
}

// CopyArguments are the inputs of CopyToRemote.
type CopyArguments struct {
	Connection *Connection          `pulumi:"connection" provider:"secret"`
	Triggers   *[]any               `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Source     types.AssetOrArchive `pulumi:"source"`
	RemotePath string               `pulumi:"remotePath"`
}

func (i *CopyArguments) Annotate(a infer.Annotator) {
	a.Describe(&i.Connection, "How to reach the host.")
	a.Describe(&i.Triggers, "Values of any kind; a change of one replaces the resource.")
	a.Describe(&i.Source, "A FileAsset, a StringAsset, or a FileArchive of a file or a directory; archives are not unpacked.")
	a.Describe(&i.RemotePath, "Where it goes; directories above it are made. "+
		"A file or directory goes into an existing directory, and a file replaces an existing file.")
}

// CopyState is what the engine remembers of a CopyToRemote.
type CopyState struct{ CopyArguments }

func (*CopyToRemote) Check(
	ctx context.Context, request infer.CheckRequest,
) (infer.CheckResponse[CopyArguments], error) {
	arguments, failures, err := infer.DefaultCheck[CopyArguments](ctx, request.NewInputs)
	response := infer.CheckResponse[CopyArguments]{Inputs: arguments, Failures: failures}
	if source, given := request.NewInputs.GetOk("source"); err != nil || !given || source.IsComputed() {
		return response, err
	}
	asset, archive := arguments.Source.Asset, arguments.Source.Archive
	switch {
	case asset == nil && archive == nil:
		response.Failures = append(response.Failures, refusal("neither an asset nor an archive"))
	case asset != nil && !asset.IsPath() && !asset.IsText():
		response.Failures = append(response.Failures, refusal("an asset that is neither a file nor a text"))
	case archive != nil && !archive.IsPath():
		response.Failures = append(response.Failures, refusal("an archive that is not a path"))
	}
	return response, nil
}

func refusal(what string) p.CheckFailure {
	return p.CheckFailure{
		Property: "source",
		Reason:   "got " + what + "; give a FileAsset, a StringAsset, or a FileArchive of a file or directory",
	}
}

func (*CopyToRemote) Create(
	ctx context.Context, request infer.CreateRequest[CopyArguments],
) (infer.CreateResponse[CopyState], error) {
	state := CopyState{request.Inputs}
	id, err := resource.NewUniqueHex("", 8, 0)
	if err == nil && !request.DryRun {
		err = request.Inputs.copy(ctx)
	}
	return infer.CreateResponse[CopyState]{ID: id, Output: state}, err
}

func (*CopyToRemote) Update(
	ctx context.Context, request infer.UpdateRequest[CopyArguments, CopyState],
) (infer.UpdateResponse[CopyState], error) {
	changed := request.Inputs.hash() != request.State.hash() || request.Inputs.RemotePath != request.State.RemotePath
	var err error
	if changed && !request.DryRun { // a new key or time-out alone moves nothing
		err = request.Inputs.copy(ctx)
	}
	return infer.UpdateResponse[CopyState]{Output: CopyState{request.Inputs}}, err
}

func (i *CopyArguments) hash() string {
	if i.Source.Archive != nil {
		return i.Source.Archive.Hash
	}
	if i.Source.Asset != nil {
		return i.Source.Asset.Hash
	}
	return ""
}

func (i *CopyArguments) copy(ctx context.Context) error {
	ctx, client, done, err := i.Connection.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	files, err := sftp.NewClient(client, sftp.UseConcurrentWrites(true))
	if err != nil {
		return fmt.Errorf("%s: starting SFTP: %w", i.Connection.address(), err)
	}
	defer files.Close()
	target := target{files}
	switch asset := i.Source.Asset; {
	case asset != nil && asset.IsText():
		err = target.text(asset.Text, i.RemotePath)
	case asset != nil:
		err = target.path(asset.Path, i.RemotePath)
	default:
		err = target.path(i.Source.Archive.Path, i.RemotePath)
	}
	if err != nil && ctx.Err() != nil {
		return explained(ctx, ctx.Err())
	}
	return err
}

// target is a host's file system.
type target struct{ *sftp.Client }

// kind tells whether a path exists on the host and whether it is a directory.
func (t target) kind(name string) (exists, isDirectory bool, err error) {
	info, err := t.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("looking at remote %s: %w", name, err)
	}
	return true, info.IsDir(), nil
}

func (t target) text(content, destination string) error {
	if _, isDirectory, err := t.kind(destination); err != nil {
		return err
	} else if isDirectory {
		return fmt.Errorf("remote path %s is a directory; a text needs the name of a file", destination)
	}
	return t.write(strings.NewReader(content), destination)
}

// path copies a local file or directory. As with cp and rsync, "dir" arrives as destination/dir and "dir/" as its
// content; a file goes into a directory that exists, else it becomes the destination.
func (t target) path(source, destination string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if _, isDirectory, err := t.kind(destination); err != nil {
			return err
		} else if isDirectory {
			destination = path.Join(destination, filepath.Base(source))
		}
		return t.file(source, destination)
	}
	if !strings.HasSuffix(source, "/") {
		destination = path.Join(destination, filepath.Base(source))
	}
	return filepath.WalkDir(source, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		there := path.Join(destination, filepath.ToSlash(relative))
		if !entry.IsDir() {
			return t.file(name, there)
		}
		if exists, isDirectory, err := t.kind(there); err != nil {
			return err
		} else if exists && !isDirectory {
			return fmt.Errorf("remote path %s exists but is not a directory", there)
		}
		return t.directory(there)
	})
}

func (t target) directory(name string) error {
	if err := t.MkdirAll(name); err != nil {
		return fmt.Errorf("making remote directory %s: %w", name, err)
	}
	return nil
}

func (t target) file(source, destination string) error {
	content, err := os.Open(source)
	if err != nil {
		return err
	}
	defer content.Close()
	return t.write(content, destination)
}

func (t target) write(content io.Reader, destination string) error {
	if err := t.directory(path.Dir(destination)); err != nil {
		return err
	}
	file, err := t.Create(destination)
	if err != nil {
		return fmt.Errorf("creating remote file %s: %w", destination, err)
	}
	_, err = file.ReadFrom(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing remote file %s: %w", destination, err)
	}
	return nil
}
