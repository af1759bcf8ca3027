package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/store/dir"
)

// bad is one case: what is wrong, and how kojisnap answers.
type bad struct {
	name string
	// make spoils the env and returns the arguments.
	make func(t *testing.T, w *env) []string
	code int
	says []string // what the one line on standard error names
}

// check runs a case: one line, the right code, and nothing changed.
func (b bad) check(t *testing.T, w *env) {
	args := b.make(t, w)
	before := w.state(t)
	o := kojisnapRun(t, args...)
	if o.code != b.code {
		t.Errorf("exit code %d, want %d", o.code, b.code)
	}
	if o.stdout != "" {
		t.Errorf("standard output: %q", o.stdout)
	}
	// Repetitions are warned of; what it came to is the last line, and one.
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	for _, l := range lines[:len(lines)-1] {
		if !strings.HasPrefix(l, "kojisnap: warn: ") {
			t.Errorf("more than one line: %q", o.stderr)
		}
	}
	for _, s := range b.says {
		if !strings.Contains(last, s) {
			t.Errorf("%q does not name %q", last, s)
		}
	}
	if !strings.HasPrefix(last, "kojisnap: ") || len(last) > 700 || strings.ContainsAny(last, "\x00\x1b\x07") {
		t.Errorf("not a clear line: %q", last)
	}
	if after := w.state(t); after != before {
		t.Errorf("something changed:\n%s", firstDifference(before, after))
	}
	t.Log(last)
}

func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return fmt.Sprintf("before: %s\nafter:  %s", as[i], bs[i])
		}
	}
	return fmt.Sprintf("%d lines before, %d after", len(as), len(bs))
}

func (w *env) pullArgs(more ...string) []string {
	return append([]string{"pull", "--hub", w.prodURL, "--store", w.store.String(), "--event", "419"}, more...)
}

func (w *env) loadArgs(more ...string) []string {
	return append([]string{"load", "--db", w.dsn, "--store", w.store.String(), "--env", "stg"}, more...)
}

func (w *env) copyArgs(more ...string) []string {
	return append([]string{"copy", "--topdir", w.topdir, "--source", w.prodTree, "--writable-source", "--store", w.store.String()}, more...)
}

// tampered serves production with replies changed, and returns pull's arguments for it.
func (w *env) tampered(t *testing.T, method string, change func([]byte) []byte) []string {
	_, url := serve(t, w.prodRows, hubtest.Options{Tamper: func(m string, body []byte) []byte {
		if m == method {
			return change(body)
		}
		return body
	}})
	w.prodURL = url
	return w.pullArgs("--tag", "f42")
}

func (w *env) update(t testing.TB, table string, where, set hubtest.Values) {
	t.Helper()
	n, err := w.prodRows.Update(table, where, set)
	must(t, err)
	if n == 0 {
		t.Fatalf("no row of %s has %v", table, where)
	}
}

func TestBadHub(t *testing.T) {
	t.Parallel()
	var waiting sync.WaitGroup
	for _, b := range []bad{
		{"unknown tag", func(t *testing.T, w *env) []string { return w.pullArgs("--tag", "f42", "--tag", "no-such") }, 1, []string{`"no-such"`, "419"}},
		{"future event", func(t *testing.T, w *env) []string { return w.pullArgs("--tag", "f42", "--event", "1000000") }, 1, []string{"1000000"}},
		{"HTML", func(t *testing.T, w *env) []string {
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/html")
				io.WriteString(rw, "<!DOCTYPE html><html><body>Koji</body></html>")
			}))
			t.Cleanup(srv.Close)
			w.prodURL = srv.URL
			return w.pullArgs("--tag", "f42")
		}, 1, []string{"HTML", "kojihub"}},
		{"reply cut short", func(t *testing.T, w *env) []string {
			return w.tampered(t, "queryHistory", func(b []byte) []byte { return b[:len(b)*2/3] })
		}, 5, []string{"queryHistory"}},
		{"ill-formed reply", func(t *testing.T, w *env) []string {
			return w.tampered(t, "listBTypes", func(b []byte) []byte { return []byte(strings.Replace(string(b), "</name>", "</nome>", 1)) })
		}, 1, []string{"listBTypes", "byte"}},
		{"offline", func(t *testing.T, w *env) []string {
			_, w.prodURL = serve(t, w.prodRows, hubtest.Options{Offline: func() string { return "planned outage" }})
			return w.pullArgs("--tag", "f42")
		}, 5, []string{"planned outage"}},
		{"wants a login", func(t *testing.T, w *env) []string {
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(401) }))
			t.Cleanup(srv.Close)
			w.prodURL = srv.URL
			return w.pullArgs("--tag", "f42")
		}, 1, []string{"login"}},
		{"nobody there", func(t *testing.T, w *env) []string {
			w.prodURL = "http://127.0.0.1:1/kojihub"
			return w.pullArgs("--tag", "f42")
		}, 5, []string{"127.0.0.1:1", "refused"}},
		{"store is missing", func(t *testing.T, w *env) []string {
			return []string{"pull", "--hub", w.prodURL, "--tag", "f42", "--event", "419", "--store", filepath.Join(t.TempDir(), "a", "b")}
		}, 1, []string{"store", "no such file"}},
	} {
		// Those that try again wait most of the time. Parallel subtests would begin when all other tests have.
		waiting.Go(func() { t.Run(b.name, func(t *testing.T) { b.check(t, newHubEnv(t)) }) })
	}
	waiting.Wait()
}

// TestOddRows: a name or value in production that cannot be used keeps back its row, and what hangs
// on it. It is named in a line, the exit code is 3, and all else is in the snapshot, which loads. In the
// short form one production has all of them, in the long form each has one of its own, too.
func TestOddRows(t *testing.T) {
	t.Parallel()
	type odd struct {
		name, table string
		where, set  hubtest.Values
		says        []string
	}
	all := []odd{
		{"package ../", "package", hubtest.Values{"name": "zlib"}, hubtest.Values{"name": "../../etc"}, []string{`"../../etc"`}},
		{"slash in a release", "build", hubtest.Values{"id": 1}, hubtest.Values{"release": "1/../../x"}, []string{"build", `"1/../../x"`}},
		{"arch ..", "rpminfo", hubtest.Values{"id": 53}, hubtest.Values{"arch": ".."}, []string{"rpminfo", `".."`}},
		{"sigkey", "rpmsigs", hubtest.Values{"rpm_id": 54}, hubtest.Values{"sigkey": "../../../root"}, []string{"54", `"../../../root"`}},
		{"file name", "archiveinfo", hubtest.Values{"id": 1}, hubtest.Values{"filename": "a/../../../b"}, []string{"archiveinfo", `"a/../../../b"`}},
		{"NUL", "package", hubtest.Values{"name": "vim"}, hubtest.Values{"name": "vi\x00m"}, []string{"package", "U+0000"}},
	}
	productions := map[string][]odd{"all": all}
	if seedtest.Long() {
		for _, o := range all {
			productions[o.name] = []odd{o}
		}
	}
	for name, odds := range productions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newHubEnv(t)
			for _, o := range odds {
				w.update(t, o.table, o.where, o.set)
			}
			w.addMarked(t)
			o := kojisnapRun(t, w.pullArgs("--tag", "f42-compose")...)
			id := strings.TrimSuffix(o.stdout, "\n")
			if o.code != 3 || !strings.HasPrefix(id, "419-") {
				t.Fatalf("exit code %d, %q, %s", o.code, o.stdout, o.stderr)
			}
			for _, odd := range odds {
				named := 0
				for line := range strings.Lines(o.stderr) {
					all := true
					for _, says := range odd.says {
						all = all && strings.Contains(line, says)
					}
					if all {
						named++
					}
				}
				if named == 0 {
					t.Errorf("nothing names %q: %s", odd.says, o.stderr)
				}
			}
			if strings.ContainsAny(o.stderr, "\x00\x1b") {
				t.Errorf("it is told as it is: %q", o.stderr)
			}
			if o := kojisnapRun(t, w.loadArgs("--snapshot", id)...); o.code != 0 && o.code != 3 {
				t.Errorf("load: exit code %d: %s", o.code, o.stderr)
			}
			var builds int
			must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), "SELECT count(*) FROM build WHERE state = 1").Scan(&builds))
			if builds < 30 {
				t.Errorf("%d builds were loaded", builds)
			}
		})
	}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "c.toml")
	must(t, os.WriteFile(config, []byte("[pull]\nhubb = \"x\"\n"), 0o644))
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{}, ""},
		{[]string{"plul"}, `"plul"`},
		{[]string{"pull", "--nope"}, "--nope"},
		{[]string{"pull", "--hub", "http://127.0.0.1:1/kojihub"}, "--tag"},
		{[]string{"pull", "--tag", "f42"}, "--hub"},
		{[]string{"pull", "--tag", "f42", "--hub", "ftp://x"}, "ftp://x"},
		{[]string{"pull", "--tag", "f42", "--hub", "http://127.0.0.1:1/kojihub"}, "--store"},
		{[]string{"pull", "extra"}, `"extra"`},
		{[]string{"pull", "-c", config}, "hubb"},
		{[]string{"pull", "-c", config + ".missing"}, "c.toml.missing"},
		{[]string{"load", "--store", "/tmp"}, "--db"},
		{[]string{"load", "--on-conflict", "shrug"}, "shrug"},
		{[]string{"copy", "--store", "/tmp"}, "--topdir"},
		{[]string{"copy", "--store", "/tmp", "--topdir", "/tmp", "--owner", "no-such-user"}, "no-such-user"},
		{[]string{"copy", "--store", "/tmp", "--topdir", "/tmp", "--mode", "rw"}, "mode"},
		{[]string{"copy", "--store", "/tmp", "--topdir", "/tmp", "--selinux", "a b"}, "SELinux context"},
		{[]string{"copy", "--bwlimit", "fast"}, "fast"},
		{[]string{"copy", "--bwlimit", "/mnt/koji=fast"}, `"fast"`},
		{[]string{"copy", "--bwlimit", "/mnt/koji=-1"}, `"-1"`},
		{[]string{"copy", "--store", "/tmp", "--topdir", "/tmp", "--bwlimit", "/mnt/koji=1M"}, "no --source"},
		{[]string{"copy", "--store", "/tmp", "--topdir", "/tmp", "--source", "/mnt/prod", "--source", "http://me:secret@kojipkgs", "--bwlimit", "5M", "--bwlimit", "/mnt/koji=1M"},
			"/mnt/koji=RATE: is no source; there are /mnt/prod, http://me:xxxxx@kojipkgs"},
		{[]string{"verify", "--store", "/tmp"}, "--hub"},
		{[]string{"show", "--store", "/tmp"}, "id"},
	} {
		o := kojisnapRun(t, test.args...)
		if o.code != 2 || !strings.Contains(o.stderr, test.says) || o.stdout != "" {
			t.Errorf("%v: exit code %d, %q, %q", test.args, o.code, o.stdout, o.stderr)
		}
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	lock := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockfile.Lock(t.Context(), lock, false)
	must(t, err)
	o := kojisnapRun(t, "snapshots", "--store", "/tmp", "--lock-file", lock, "--exit-on-lock")
	if o.code != 4 || o.stdout+o.stderr != "" {
		t.Errorf("exit code %d, and not silent: %q", o.code, o.stdout+o.stderr)
	}
	o = kojisnapRun(t, "snapshots", "--store", "/tmp", "--lock-file", lock, "--exit-on-lock", "-v")
	host, err := os.Hostname()
	must(t, err)
	says := fmt.Sprintf("kojisnap: lock file %s: locked by another process: pid %d on %s, kojisnap ", lock, os.Getpid(), host)
	if o.code != 4 || !strings.HasPrefix(o.stderr, says) || !strings.Contains(o.stderr, ", since 20") {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	unlock()
	// A note of one who was killed is none, and a file that is there for something else stays as it is.
	for _, text := range []string{fmt.Sprintf(`{"kojisnap": "lock", "pid": %d, "host": %q}`, 1<<22+1, host),
		`{"kojisnap": "lock", "pid": 1, "host": "a\nkojisnap: done", "command": "sync"}`, `{"kojisnap": "lock", "pid": 1, "host": "a", "command": "\u001b[2J"}`, `{"kojisnap": "lock", "pid": -1, "host": "a"}`,
		"not a lock\n", ""} {
		must(t, os.WriteFile(lock, []byte(text), 0o644))
		f, err := os.Open(lock)
		must(t, err)
		must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		if o := kojisnapRun(t, "snapshots", "--store", "/tmp", "--lock-file", lock, "--exit-on-lock", "-v"); o.code != 4 || !strings.Contains(o.stderr, "the file does not say which") {
			t.Errorf("%q: exit code %d: %s", text, o.code, o.stderr)
		}
		f.Close()
	}
	must(t, os.WriteFile(lock, []byte("not a lock\n"), 0o644))
	unlock, err = lockfile.Lock(t.Context(), lock, false)
	must(t, err)
	unlock()
	if body, err := os.ReadFile(lock); err != nil || string(body) != "not a lock\n" {
		t.Errorf("a file that was no lock: %q, %v", body, err)
	}
	s, err := dir.Open(t.TempDir())
	must(t, err)
	succeed(t, "snapshots", "--store", s.String(), "--lock-file", lock, "--exit-on-lock")
}
