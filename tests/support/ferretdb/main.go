// A MongoDB stand-in for the tests: FerretDB over SQLite in one process, on loopback only.
//
// Once it takes connections it prints one line, "listening mongodb://127.0.0.1:PORT/".
// It stops on SIGTERM, on SIGINT and when its stdin ends, so that it dies with the test that started it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// How long connections that are still open may take to end; FerretDB itself would wait for seconds.
const grace = 300 * time.Millisecond

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	address := flag.String("listen", "127.0.0.1:0", "loopback address; port 0 takes any free one")
	data := flag.String("data", "", "directory of the SQLite files, made if it is not there (required)")
	flag.Parse()
	if err := run(*address, *data, log); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}

func run(address, data string, log *slog.Logger) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if err := onlyLoopback(address); err != nil {
		return err
	}
	location, err := sqlite(data)
	if err != nil {
		return err
	}
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: address},
		Logger:    log,
		Handler:   "sqlite",
		SQLiteURL: location,
	})
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	// The socket listens since New: a client that comes before the accept loop waits in its backlog.
	fmt.Println("listening", db.MongoDBURI())

	<-ctx.Done()
	select {
	case err = <-ended:
	case <-time.After(grace):
	}
	return err
}

// onlyLoopback refuses an address that other machines could reach: there is no authentication here.
func onlyLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s is not a loopback address", address)
	}
	return nil
}

// sqlite makes the data directory and returns its URL.
func sqlite(data string) (string, error) {
	if data == "" {
		return "", errors.New("-data is missing")
	}
	path, err := filepath.Abs(data)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: path + "/"}).String(), nil
}
