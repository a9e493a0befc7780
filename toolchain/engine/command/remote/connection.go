package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	defaultPort           = 22
	defaultDialErrorLimit = 10
	defaultPerDialTimeout = 15 // seconds

	// Pauses between dials grow from the first to the longest by the factor.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	pauseFactor  = 1.5

	// A host that leaves a probe unanswered for so long is gone: its power failed, or its network. Both together stay
	// well below a minute, and a machine that is merely busy answers in time.
	probeEvery   = 10 * time.Second
	probeTimeout = 30 * time.Second
)

// Endpoint is one SSH server and what identifies both sides.
type Endpoint struct {
	User               *string  `pulumi:"user,optional"`
	Password           *string  `pulumi:"password,optional" provider:"secret"`
	Host               string   `pulumi:"host"`
	Port               *float64 `pulumi:"port,optional"`
	PrivateKey         *string  `pulumi:"privateKey,optional" provider:"secret"`
	PrivateKeyPassword *string  `pulumi:"privateKeyPassword,optional" provider:"secret"`
	AgentSocketPath    *string  `pulumi:"agentSocketPath,optional"`
	DialErrorLimit     *int     `pulumi:"dialErrorLimit,optional"`
	PerDialTimeout     *int     `pulumi:"perDialTimeout,optional"`
	HostKey            *string  `pulumi:"hostKey,optional"`
}

// Connection is how to reach the host that runs the command.
type Connection struct {
	Endpoint
	Proxy *ProxyConnection `pulumi:"proxy,optional"`
}

// ProxyConnection is how to reach a bastion from which the host is reached.
type ProxyConnection struct{ Endpoint }

func (c *Connection) Annotate(a infer.Annotator) {
	a.Describe(&c, "How to reach a remote host.")
	a.Describe(&c.Proxy, "The bastion from which the host is reached.")
	c.Endpoint.annotate(a)
}

func (c *ProxyConnection) Annotate(a infer.Annotator) {
	a.Describe(&c, "How to reach a bastion host.")
	c.Endpoint.annotate(a)
}

func (e *Endpoint) annotate(a infer.Annotator) {
	a.Describe(&e.User, "The user to log in as.")
	a.SetDefault(&e.User, "root")
	a.Describe(&e.Password, "The user's password.")
	a.Describe(&e.Host, "Address or name of the host.")
	a.Describe(&e.Port, "TCP port of its SSH server.")
	a.SetDefault(&e.Port, defaultPort)
	a.Describe(&e.PrivateKey, "Text of a private key; tried before the password.")
	a.Describe(&e.PrivateKeyPassword, "Passphrase of the private key.")
	a.Describe(&e.AgentSocketPath, "Socket of an SSH agent; $SSH_AUTH_SOCK by default.")
	a.Describe(&e.DialErrorLimit, "How many dials may fail before giving up; -1 is no limit.")
	a.SetDefault(&e.DialErrorLimit, defaultDialErrorLimit)
	a.Describe(&e.PerDialTimeout, "Seconds that one dial may take; 0 is no limit.")
	a.SetDefault(&e.PerDialTimeout, defaultPerDialTimeout)
	a.Describe(&e.HostKey, "The host's public key, as in authorized_keys. Absent, any key is accepted.")
}

func valueOr[T any](pointer *T, otherwise T) T {
	if pointer == nil {
		return otherwise
	}
	return *pointer
}

func (e *Endpoint) address() string {
	return net.JoinHostPort(e.Host, strconv.Itoa(int(valueOr(e.Port, defaultPort))))
}

func (e *Endpoint) timeout() time.Duration {
	return time.Duration(valueOr(e.PerDialTimeout, defaultPerDialTimeout)) * time.Second
}

// wrongHostKeyError ends the dialling at once: waiting does not turn another machine into the right one.
type wrongHostKeyError struct{ host, want, got string }

func (e *wrongHostKeyError) Error() string {
	return fmt.Sprintf("host key mismatch: %s offers %s where %s is pinned; "+
		"if the machine was rebuilt on purpose, pin its new key, otherwise somebody else answers at its address",
		e.host, e.got, e.want)
}

// clientConfig turns an endpoint into SSH settings. The key exchange is left at the library's order: its hybrid
// ML-KEM and curve25519 are both cheap, and it does not speak the sntrup761 that costs OpenSSH's client so much.
// The returned function closes the connection to the agent.
func (e *Endpoint) clientConfig() (*ssh.ClientConfig, func(), error) {
	config := &ssh.ClientConfig{User: valueOr(e.User, "root"), HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	done := func() {}
	if e.HostKey != nil {
		pinned, _, _, _, err := ssh.ParseAuthorizedKey([]byte(*e.HostKey))
		if err != nil {
			return nil, done, fmt.Errorf("hostKey: %w; expected a line such as \"ssh-ed25519 AAAA…\"", err)
		}
		config.HostKeyAlgorithms = signatureAlgorithms(pinned.Type())
		config.HostKeyCallback = func(host string, _ net.Addr, offered ssh.PublicKey) error {
			if bytes.Equal(pinned.Marshal(), offered.Marshal()) {
				return nil
			}
			return &wrongHostKeyError{host, ssh.FingerprintSHA256(pinned), ssh.FingerprintSHA256(offered)}
		}
	}
	if e.PrivateKey != nil {
		signer, err := parseKey(*e.PrivateKey, e.PrivateKeyPassword)
		if err != nil {
			return nil, done, fmt.Errorf("privateKey: %w", err)
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if password := e.Password; password != nil {
		answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = *password
			}
			return answers, nil
		}
		config.Auth = append(config.Auth, ssh.Password(*password), ssh.KeyboardInteractive(answer))
	}
	if socket := valueOr(e.AgentSocketPath, os.Getenv("SSH_AUTH_SOCK")); socket != "" {
		connection, err := net.Dial("unix", socket)
		if err != nil {
			return nil, done, fmt.Errorf("SSH agent at %s: %w", socket, err)
		}
		done = func() { connection.Close() }
		config.Auth = append(config.Auth, ssh.PublicKeysCallback(agent.NewClient(connection).Signers))
	}
	return config, done, nil
}

func signatureAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA { // the key's name is also that of its SHA-1 signatures, which servers refuse
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

func parseKey(text string, passphrase *string) (ssh.Signer, error) {
	if passphrase != nil {
		return ssh.ParsePrivateKeyWithPassphrase([]byte(text), []byte(*passphrase))
	}
	return ssh.ParsePrivateKey([]byte(text))
}

const whenItAnswers = "is it switched on, and the network on the way whole? " +
	"When it answers again, run the same command again; what was done stays done"

// silentHostError tells of a host that stopped answering while something was under way on it.
type silentHostError struct{ host string }

func (e *silentHostError) Error() string {
	return fmt.Sprintf("%s has not answered for %s: %s", e.host, probeTimeout, whenItAnswers)
}

// explained gives the reason why a connection was given up instead of what that looked like from inside.
func explained(ctx context.Context, err error) error {
	var silent *silentHostError
	if err != nil && errors.As(context.Cause(ctx), &silent) {
		return silent
	}
	return err
}

// dial connects to the host, through the bastion if there is one, and tries again while a machine is still booting.
// The connection is closed once the host stops answering; the cause of the returned context then says so.
// The returned function closes all that was opened.
func (c *Connection) dial(ctx context.Context) (context.Context, *ssh.Client, func(), error) {
	var through *ssh.Client
	done := func() {}
	if c.Proxy != nil {
		bastion, err := c.Proxy.dialPatiently(ctx, "Dial proxy", nil)
		if err != nil {
			return ctx, nil, done, fmt.Errorf("proxy: %w", err)
		}
		through = bastion
		done = func() { bastion.Close() }
	}
	client, err := c.Endpoint.dialPatiently(ctx, "Dial", through)
	if err != nil {
		done()
		return ctx, nil, func() {}, err
	}
	closeProxy := done
	watched, stop := context.WithCancelCause(ctx)
	go watch(watched, stop, client, c.address())
	return watched, client, func() { stop(nil); client.Close(); closeProxy() }, nil
}

func (e *Endpoint) dialPatiently(ctx context.Context, what string, through *ssh.Client) (*ssh.Client, error) {
	config, done, err := e.clientConfig()
	if err != nil {
		return nil, err
	}
	defer done()
	limit := valueOr(e.DialErrorLimit, defaultDialErrorLimit)
	shownLimit := strconv.Itoa(limit)
	if limit < 0 {
		shownLimit = "inf"
	}
	pause := firstPause
	for failures := 1; ; failures++ {
		client, err := e.dialOnce(ctx, config, through)
		var impostor *wrongHostKeyError
		switch {
		case err == nil:
			return client, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("dialling %s: %w", e.address(), ctx.Err())
		case errors.As(err, &impostor):
			return nil, impostor
		case limit >= 0 && failures > limit:
			return nil, fmt.Errorf("dialling %s: after %d failed attempts: %w", e.address(), limit, err)
		}
		p.GetLogger(ctx).InfoStatusf("%s %d/%s failed: retrying: %v", what, failures, shownLimit, err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(time.Duration(float64(pause)*pauseFactor), longestPause)
	}
}

// dialOnce bounds the TCP connection and the SSH handshake together, and gives up as soon as ctx is cancelled.
func (e *Endpoint) dialOnce(ctx context.Context, config *ssh.ClientConfig, through *ssh.Client) (*ssh.Client, error) {
	if limit := e.timeout(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	dial := (&net.Dialer{}).DialContext
	if through != nil {
		dial = through.DialContext
	}
	connection, err := dial(ctx, "tcp", e.address())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { connection.Close() })
	secured, channels, requests, err := ssh.NewClientConn(connection, e.address(), config)
	if !stop() && err == nil { // the time ran out at the very last moment
		err = ctx.Err()
	}
	if err != nil {
		connection.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no SSH handshake within %s", e.timeout())
		}
		return nil, err
	}
	return ssh.NewClient(secured, channels, requests), nil
}

// watch closes the client once the host stops answering, so that whatever waits for a dead machine ends with an error.
func watch(ctx context.Context, stop context.CancelCauseFunc, client *ssh.Client, host string) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _, _ = client.SendRequest("keepalive@openssh.com", true, nil)
		}()
		select {
		case <-ctx.Done():
			return
		case <-answered:
		case <-time.After(probeTimeout):
			stop(&silentHostError{host})
			client.Close()
			return
		}
	}
}
