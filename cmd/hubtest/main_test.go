package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// serve runs the command and returns the URL that it prints.
func serve(t *testing.T, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, args, w, io.Discard)
		w.CloseWithError(err)
		done <- err
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("stopped with %v", err)
		}
	})
	return strings.TrimSuffix(line, "\n")
}

func post(t *testing.T, url, method string) string {
	t.Helper()
	resp, err := http.Post(url, "text/xml", strings.NewReader(
		"<?xml version='1.0'?><methodCall><methodName>"+method+"</methodName><params></params></methodCall>"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestServe(t *testing.T) {
	rows, topdir := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(rows, "volume.tsv"):     "id\tname\n0\tDEFAULT\n7\tßlow\n",
		filepath.Join(topdir, "packages.txt"): "a file",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		args   []string
		method string
		want   string
	}{
		{"demo", []string{"--demo-data"}, "listVolumes", "<string>archive01</string>"},
		{"rows", []string{"--rows", rows}, "listVolumes", "<string>ßlow</string>"},
		{"version", []string{"--demo-data", "--koji-version", "1.34.0"}, "getKojiVersion", "<string>1.34.0</string>"},
		{"generated", []string{"--scale", "1", "--outside", "0", "--seed", "3"}, "listTags", "<string>f42-compose</string>"},
		{"offline", []string{"--demo-data", "--offline", "moved <house>"}, "listVolumes", "<string>moved &lt;house&gt;</string>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := serve(t, test.args...)
			if got := post(t, url, test.method); !strings.Contains(got, test.want) {
				t.Errorf("got %s, want %s in it", got, test.want)
			}
		})
	}
	t.Run("files", func(t *testing.T) {
		url := serve(t, "--demo-data", "--topdir", topdir)
		resp, err := http.Get(strings.Replace(url, "/kojihub", "/kojifiles/packages.txt", 1))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "a file" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--demo-data", "--rows", "x"}, {"--no-such-flag"}, {"--demo-data", "extra"},
		{"--scale", "0"}, {"--scale", "1", "--outside", "-1"}, {"--scale", "1", "--demo-data"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); !errors.As(err, &usageError{}) {
			t.Errorf("%q: got %v, want a usage error", args, err)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"--help"}, &out, io.Discard); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
	for _, want := range []string{"Examples:", "--listen", "--offline", "Exit codes"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("--help does not tell about %q", want)
		}
	}
}

func TestCannotServe(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, args := range map[string][]string{
		"read rows from":     {"--rows", missing},
		"open the database:": {"--db", "postgres://127.0.0.1:1/koji?connect_timeout=1"},
		"listen:":            {"--demo-data", "--listen", "127.0.0.1:notaport"},
	} {
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || errors.As(err, &usageError{}) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: got %v, want %s", args, err, name)
		}
	}
}
