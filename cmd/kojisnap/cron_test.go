package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/lockfile"
)

// TestSteady: what cron mails of the same trouble is the same each time, and of trouble that passed nothing.
func TestSteady(t *testing.T) {
	rows := modularRows(t)
	// A listener that ends each connection as soon as it has a request, so that errors name both ends.
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broken.Close() })
	go func() {
		for {
			c, err := broken.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Read(make([]byte, 1))
				_ = c.(*net.TCPConn).SetLinger(0) // a reset
				c.Close()
			}()
		}
	}()
	full := t.TempDir()
	mkdir(t, filepath.Join(full, "stamp"))
	for name, args := range map[string][]string{
		"no hub":      {"pull", "--hub", "http://127.0.0.1:1/kojihub", "--tag", "f42", "--store", t.TempDir(), "--deadline", "500ms"},
		"hub resets":  {"pull", "--hub", "http://" + broken.Addr().String() + "/kojihub", "--tag", "f42", "--store", t.TempDir(), "--deadline", "500ms"},
		"no database": {"status", "--db", "host=127.0.0.1 port=1 dbname=koji"},
		"db resets":   {"status", "--db", "postgres://koji@" + broken.Addr().String() + "/koji"},
		"stamp":       {"load", "--db", "dbname=koji", "--store", t.TempDir(), "--stamp", "/proc/stamp"},
	} {
		t.Run(name, func(t *testing.T) {
			out, first, code := kojisnapRun(t, args...)
			if code == exit.Done || out != "" || len(lines(first)) != 1 {
				t.Errorf("exit code %d, %q, %q", code, out, first)
			}
			if _, again, _ := kojisnapRun(t, args...); again != first {
				t.Errorf("%q, and then %q", first, again)
			}
		})
	}

	// One refused request, and all is well after it.
	handler := hubtest.New(rows, hubtest.Options{})
	var calls atomic.Int64
	srv := httptest.NewServer(afterOne(&calls, handler))
	t.Cleanup(srv.Close)
	kojisnapOK(t, "pull", "--hub", srv.URL+"/kojihub", "--tag", "f42-compose", "--event", "300", "--store", t.TempDir())
	if calls.Load() < 3 {
		t.Errorf("%d calls", calls.Load())
	}
}

// TestLockSilent: who leaves when it is locked does so without a word, but for -v and for programs.
func TestLockSilent(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockfile.Lock(t.Context(), lock, false)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	args := []string{"snapshots", "--store", t.TempDir(), "--lock-file", lock, "--exit-on-lock"}
	for _, test := range []struct {
		more      []string
		out, errs bool
	}{{nil, false, false}, {[]string{"-q"}, false, false}, {[]string{"--log-format", "json"}, false, false}, {[]string{"-v"}, false, true}, {[]string{"--json"}, true, false}} {
		out, errs, code := kojisnapRun(t, append(args, test.more...)...)
		if code != exit.Locked || (out != "") != test.out || (errs != "") != test.errs {
			t.Errorf("%q: exit code %d, %q, %q", test.more, code, out, errs)
		}
	}
}

// TestSettle: flags without effect, or against each other, are refused; the command line goes before the
// configuration.
func TestSettle(t *testing.T) {
	quiet := filepath.Join(t.TempDir(), "quiet.toml")
	write(t, quiet, "quiet = true\n")
	store := t.TempDir()
	for _, test := range []struct {
		says string // "": it is taken
		args []string
	}{
		{"-q and -v", []string{"snapshots", "-q", "-v"}},
		{"-q and -v", []string{"snapshots", "-q", "--debug"}},
		{"", []string{"snapshots", "-c", quiet, "-v"}},
		{"--lock-file", []string{"snapshots", "--exit-on-lock"}},
		{"--jobs -1", []string{"pull", "--hub", "http://h/kojihub", "--tag", "x", "--jobs", "-1"}},
		{"--jobs 0", []string{"pull", "--hub", "http://h/kojihub", "--tag", "x", "--jobs", "0"}},
		{"--jobs -1", []string{"verify", "--hub", "http://h/kojihub", "--jobs", "-1"}},
		{"--jobs -1", []string{"copy", "--topdir", "/tmp", "--jobs", "-1"}},
		{"--jobs: want a whole number", []string{"copy", "--topdir", "/tmp", "--jobs", "many"}},
		{"--jobs: 99999999999999999999 is out of range", []string{"copy", "--jobs", "99999999999999999999"}},
		{`--margin: "15" is not a time`, []string{"pull", "--margin", "15"}},
		{"--bwlimit:", []string{"copy", "--bwlimit", "99999999999999G"}},
		{"port", []string{"status", "--db", "host=h port=x dbname=koji"}},
		{"sslmode", []string{"load", "--db", "postgres://u:secret@h/koji?sslmode=foo"}},
		{"DSN", []string{"verify", "--hub", "http://h/kojihub", "--db", "koji"}},
		{"/no/such/ca", []string{"diff", "staging", "--db", "host=h dbname=koji sslmode=verify-full sslrootcert=/no/such/ca"}},
	} {
		out, errs, code := kojisnapRun(t, append(test.args, "--store", store)...)
		if test.says == "" {
			if code != exit.Done {
				t.Errorf("%q: exit code %d, %q", test.args, code, errs)
			}
			continue
		}
		if code != exit.Usage || out != "" || len(lines(errs)) != 1 || !strings.Contains(errs, test.says) || strings.Contains(errs, "secret") || strings.Contains(errs, "strconv") {
			t.Errorf("%q: exit code %d, %q; want %q", test.args, code, errs, test.says)
		}
	}
}

// TestUnits: sizes and times are taken as people write them.
func TestUnits(t *testing.T) {
	for text, want := range map[string]config.Rate{"7": 7, "20k": 20 << 10, "20K": 20 << 10, "3M": 3 << 20, "1G": 1 << 30} {
		var r config.Rate
		if err := r.Set(text); err != nil || r != want {
			t.Errorf("%s: %d, %v", text, r, err)
		}
	}
	for text, want := range map[string]string{"90s": "1m30s", "2d": "48h0m0s", "1d12h": "36h0m0s", "15m": "15m0s"} {
		var d config.Duration
		if err := d.Set(text); err != nil || d.String() != want {
			t.Errorf("%s: %s, %v", text, d.String(), err)
		}
	}
	for _, text := range []string{"", "2", "d", "2x", "-1d", "1d2", "99999d99999999h", "1.5d"} {
		if err := new(config.Duration).Set(text); err == nil {
			t.Errorf("%q is taken for a time", text)
		}
	}
}

// TestConfigDir: without -c the files of a directory count, and one of conf.d that does not is told.
func TestConfigDir(t *testing.T) {
	etc, store := t.TempDir(), t.TempDir()
	run := func(args ...string) (out, errs string, err error) {
		var stdout, stderr bytes.Buffer
		a := &app{stdout: &stdout, stderr: &stderr, configDir: etc}
		err = a.run(t.Context(), args)
		return stdout.String(), stderr.String(), err
	}
	if _, _, err := run("snapshots"); err == nil || !strings.Contains(err.Error(), "there is no configuration in "+etc) {
		t.Errorf("without a configuration: %v", err)
	}
	write(t, filepath.Join(etc, "kojisnap.toml"), "env = 'stg'\n")
	if _, _, err := run("snapshots"); err == nil || !strings.Contains(err.Error(), "not in the configuration that was read, "+filepath.Join(etc, "kojisnap.toml")) {
		t.Errorf("without a store: %v", err)
	}
	mkdir(t, filepath.Join(etc, "conf.d"))
	write(t, filepath.Join(etc, "conf.d/store.toml"), "store = '"+store+"'\n")
	write(t, filepath.Join(etc, "conf.d/old.toml.rpmsave"), "store = 1\n")
	if _, errs, err := run("snapshots"); err != nil || errs != "" {
		t.Errorf("%v, %q", err, errs)
	}
	write(t, filepath.Join(etc, "conf.d/tags.conf"), "tag = 'f42'\n")
	if _, errs, err := run("snapshots"); err != nil || len(lines(errs)) != 1 || !strings.Contains(errs, filepath.Join(etc, "conf.d/tags.conf")) {
		t.Errorf("a file that is not read: %v, %q", err, errs)
	}
}

// afterOne refuses one request, the second.
func afterOne(calls *atomic.Int64, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 2 {
			http.Error(w, "busy", http.StatusBadGateway)
			return
		}
		h.ServeHTTP(w, r)
	})
}
