// What a Go service does with its identity, by go-spiffe as it is published.
//
//	gospiffe ADDRESS watch N    N rotations of the X.509 context, each verified by its own bundle
//	gospiffe ADDRESS mtls ID    a server and a client with AuthorizeID, and a client that expects another ID
//	gospiffe ADDRESS jwt        a token, the keys that verify it, and the agent's own judgement
//
// Each line is `key: value`; the last is PASS.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	address := workloadapi.WithAddr(os.Args[1])
	var err error
	switch command := os.Args[2]; command {
	case "watch":
		err = watch(ctx, address, os.Args[3])
	case "mtls":
		err = mtls(ctx, address, os.Args[3])
	case "jwt":
		err = jwt(ctx, address)
	default:
		err = fmt.Errorf("no command %q", command)
	}
	if err != nil {
		fmt.Println("FAIL:", err)
		os.Exit(1)
	}
	fmt.Println("PASS")
}

type watcher struct {
	left int
	seen map[string]bool
	done chan error
}

func (w *watcher) OnX509ContextUpdate(update *workloadapi.X509Context) {
	svid := update.DefaultSVID()
	if _, _, err := x509svid.Verify(svid.Certificates, update.Bundles); err != nil {
		w.done <- err
		return
	}
	serial := svid.Certificates[0].SerialNumber.Text(16)
	if w.seen[serial] {
		return
	}
	w.seen[serial] = true
	fmt.Printf("serial: %s\n", serial)
	if w.left--; w.left == 0 {
		w.done <- nil
	}
}

func (w *watcher) OnX509ContextWatchError(err error) { fmt.Println("watch error:", err) }

// The first certificate and `count` that replace it.
func watch(ctx context.Context, address workloadapi.ClientOption, count string) error {
	rotations, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	w := &watcher{left: rotations + 1, seen: map[string]bool{}, done: make(chan error, 8)}
	go func() { _ = workloadapi.WatchX509Context(ctx, w, address) }()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func mtls(ctx context.Context, address workloadapi.ClientOption, name string) error {
	id, err := spiffeid.FromString(name)
	if err != nil {
		return err
	}
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(address))
	if err != nil {
		return err
	}
	defer source.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(id)))
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.WriteString(connection, "hello")
				_ = connection.Close()
			}()
		}
	}()
	greet := func(expected spiffeid.ID) (string, error) {
		connection, err := tls.Dial("tcp", listener.Addr().String(), tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(expected)))
		if err != nil {
			return "", err
		}
		defer connection.Close()
		text, err := io.ReadAll(connection)
		return string(text), err
	}
	text, err := greet(id)
	if err != nil {
		return err
	}
	fmt.Println("greeting:", text)
	_, err = greet(spiffeid.RequireFromString("spiffe://elsewhere.example/ns/other/sa/other"))
	if err == nil {
		return errors.New("a server that is not whom the client expected was accepted")
	}
	fmt.Println("other id refused:", true)
	return nil
}

func jwt(ctx context.Context, address workloadapi.ClientOption) error {
	source, err := workloadapi.NewJWTSource(ctx, workloadapi.WithClientOptions(address))
	if err != nil {
		return err
	}
	defer source.Close()
	token, err := source.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "db"})
	if err != nil {
		return err
	}
	fmt.Println("subject:", token.ID)
	if _, err := jwtsvid.ParseAndValidate(token.Marshal(), source, []string{"db"}); err != nil {
		return err
	}
	if _, err := jwtsvid.ParseAndValidate(token.Marshal(), source, []string{"cache"}); err == nil {
		return errors.New("a token for another audience was accepted here")
	}
	judged, err := workloadapi.ValidateJWTSVID(ctx, token.Marshal(), "db", address)
	if err != nil {
		return err
	}
	fmt.Println("judged:", judged.ID)
	if _, err := workloadapi.ValidateJWTSVID(ctx, token.Marshal(), "cache", address); err == nil {
		return errors.New("a token for another audience was accepted by the agent")
	}
	fmt.Println("other audience refused:", true)
	return nil
}
