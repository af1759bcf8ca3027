package ontap_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/clonetest"
	"kojisnap/volumes/clone/ontap"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, change ...func(*ontap.Options)) (*ontap.Provider, *filer) {
	t.Helper()
	f, srv, ca := newFiler(t)
	o := ontap.Options{Env: clonetest.Env, URL: srv.URL, User: "kojisnap", Password: password, CAFile: ca, SVM: "vs1", Volume: "koji_prod",
		Junction: "/kojisnap", Dir: filepath.Join(f.ns, "kojisnap"), Poll: time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	p, err := ontap.New(o)
	must(t, err)
	return p, f
}

// The contract, with a server that answers as documented. Nothing is left on it in the end.
func TestContract(t *testing.T) {
	p, f := open(t)
	tree := filepath.Join(f.root, "koji_prod")
	rpms := clonetest.Tree(t, tree, 5, 1000)
	must(t, p.Check(t.Context()))
	clonetest.Contract(t, p, tree, rpms, false)
	if len(f.volumes) != 1 || len(f.snapshots) != 0 {
		t.Errorf("left: %v, %v", f.volumes, f.snapshots)
	}
}

// A run that was killed after any request is gone on with: each request in turn is done, and its answer lost.
func TestLostAnywhere(t *testing.T) {
	p, f := open(t)
	rpms := clonetest.Tree(t, filepath.Join(f.root, "koji_prod"), 3, 1000)
	var c clone.Clone
	create := func() (err error) { c, err = p.Create(t.Context(), clonetest.ID(1)); return err }
	discard := func() error { return p.Discard(t.Context(), clone.Clone{ID: clonetest.ID(1).String()}) }
	for name, do := range map[string]func() error{"create": create, "discard": discard} {
		losses := 0
		for n := 1; ; n++ {
			if name == "discard" {
				must(t, create())
			} else {
				must(t, discard())
			}
			seen, lost := 0, false
			f.fail = func(w http.ResponseWriter, r *http.Request) bool {
				if seen++; seen < n || lost {
					return false
				}
				// The request is done, and then the connection ends.
				lost = true
				f.fail = nil
				f.mu.Unlock()
				f.ServeHTTP(discarded{}, r)
				f.mu.Lock()
				for _, j := range f.jobs {
					if j.outcome != nil {
						j.code, j.message = j.outcome()
						j.outcome, j.state = nil, "success"
					}
				}
				panic(http.ErrAbortHandler)
			}
			err := do()
			if !lost {
				f.fail = nil
				must(t, err)
				break
			}
			losses++
			must(t, do())
		}
		if losses < 4 {
			t.Errorf("%s: %d requests", name, losses)
		}
	}
	must(t, create())
	path, err := p.Mount(t.Context(), c)
	must(t, err)
	if files, err := filepath.Glob(filepath.Join(path, rpms[0])); err != nil || len(files) != 1 {
		t.Errorf("%s: %q, %v", path, files, err)
	}
	must(t, discard())
	if len(f.volumes) != 1 || len(f.snapshots) != 0 {
		t.Errorf("left: %v, %v", f.volumes, f.snapshots)
	}
}

type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(b []byte) (int, error) { return len(b), nil }
func (discarded) WriteHeader(int)             {}

// Volumes and snapshots of that name that kojisnap did not make stay, whatever they are.
func TestOthersStay(t *testing.T) {
	p, f := open(t)
	clonetest.Tree(t, filepath.Join(f.root, "koji_prod"), 1, 10)
	f.volumes["x"] = map[string]any{"uuid": "x", "name": "kojisnap_stg_2_1_20261129t200001z", "svm": "vs1", "comment": "the boss's"}
	if _, err := p.Create(t.Context(), clonetest.ID(1)); err == nil || !strings.Contains(err.Error(), "is not kojisnap's") {
		t.Errorf("created over another's: %v", err)
	}
	if err := p.Discard(t.Context(), clone.Clone{ID: clonetest.ID(1).String(), Details: map[string]string{"uuid": "x"}}); err == nil || !strings.Contains(err.Error(), "is not kojisnap's") {
		t.Errorf("discarded another's: %v", err)
	}
	f.snapshots["s"] = map[string]any{"uuid": "s", "parent": "uuid-prod", "name": "kojisnap_stg_2_2_20261129t200002z", "comment": ""}
	if _, err := p.Create(t.Context(), clonetest.ID(2)); err == nil || !strings.Contains(err.Error(), "is not kojisnap's") {
		t.Errorf("another's snapshot: %v", err)
	}
	if err := p.Discard(t.Context(), clone.Clone{ID: clonetest.ID(2).String()}); err == nil || f.snapshots["s"] == nil {
		t.Errorf("another's snapshot: %v", err)
	}
	if len(f.volumes) != 2 {
		t.Errorf("volumes %v", f.volumes)
	}
	if list, err := p.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list %v, %v", list, err)
	}
}

// A snapshot that ONTAP's recovery queue still needs is tried again.
func TestRecoveryQueue(t *testing.T) {
	p, f := open(t)
	clonetest.Tree(t, filepath.Join(f.root, "koji_prod"), 1, 10)
	c, err := p.Create(t.Context(), clonetest.ID(1))
	must(t, err)
	f.recovery = true
	if err := p.Discard(t.Context(), c); !errors.Is(err, clone.ErrBusy) {
		t.Errorf("a snapshot in use: %v", err)
	}
	f.recovery = false
	must(t, p.Discard(t.Context(), c))
	if len(f.snapshots) != 0 {
		t.Errorf("left: %v", f.snapshots)
	}
}

// Faults are told in one line, without the password, and what the operator can do.
func TestFaults(t *testing.T) {
	json := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			w.Write([]byte(body))
			return true
		}
	}
	only := func(method string, do func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool { return r.Method == method && do(w, r) }
	}
	inJob := func(body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/jobs/") && json(200, body)(w, r)
		}
	}
	for name, c := range map[string]struct {
		change func(*ontap.Options)
		fail   func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		"wrong password":   {change: func(o *ontap.Options) { o.Password = "wrong" }, want: "is the password right?"},
		"no such volume":   {change: func(o *ontap.Options) { o.Volume = "nope" }, want: "has no volume nope"},
		"no such SVM":      {change: func(o *ontap.Options) { o.SVM = "vs2" }, want: "SVM vs2 has no volume"},
		"unknown CA":       {change: func(o *ontap.Options) { o.CAFile = "" }, want: "certificate"},
		"forbidden":        {fail: only("POST", json(403, `{"error": {"code": "6", "message": "not authorized for that command"}}`)), want: "the role of the user"},
		"no JSON":          {fail: json(200, "<html>"), want: "not as documented"},
		"an error without": {fail: json(500, "oops"), want: "Internal Server Error"},
		"error null":       {fail: json(503, `{"error": null}`), want: "Service Unavailable"},
		"a redirect": {fail: func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "https://example.com/", http.StatusFound)
			return true
		}, want: "redirect"},
		"too long":          {fail: json(200, strings.Repeat(" ", 5<<20)), want: "more than"},
		"a job fails":       {fail: inJob(`{"state": "failure", "message": "No space left", "code": 917927}`), want: "No space left"},
		"a job's error":     {fail: inJob(`{"state": "failure", "error": {"code": "9", "message": "licence\nmissing"}}`), want: `licence\nmissing`},
		"a job of no state": {fail: inJob(`{"state": "dancing"}`), want: "dancing"},
		"a job hangs":       {change: func(o *ontap.Options) { o.Timeout = 300 * time.Millisecond }, fail: inJob(`{"state": "running"}`), want: "has not ended"},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := open(t, func(o *ontap.Options) {
				if c.change != nil {
					c.change(o)
				}
			})
			f.fail = c.fail
			_, err := p.Create(t.Context(), clonetest.ID(1))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), password) {
				t.Errorf("error %q", err)
			}
		})
	}
	p, f := open(t)
	f.fail = func(http.ResponseWriter, *http.Request) bool { time.Sleep(100 * time.Millisecond); return false }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Create(ctx, clonetest.ID(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Wrong options are refused, each with its key; a password is never part of a URL.
func TestOptions(t *testing.T) {
	good := ontap.Options{Env: "stg", URL: "https://filer.example.com", User: "u", Password: "p", SVM: "v", Volume: "w", Junction: "/k", Dir: "/mnt/k"}
	_, err := ontap.New(good)
	must(t, err)
	for want, change := range map[string]func(*ontap.Options){
		"ontap-url":      func(o *ontap.Options) { o.URL = "" },
		"want https":     func(o *ontap.Options) { o.URL = "http://filer" },
		"without a user": func(o *ontap.Options) { o.URL = "https://a:secret@filer" },
		"ontap-user":     func(o *ontap.Options) { o.User = "" },
		"no password":    func(o *ontap.Options) { o.Password = "" },
		"ontap-svm":      func(o *ontap.Options) { o.SVM = "" },
		"ontap-volume":   func(o *ontap.Options) { o.Volume = "" },
		"no dir":         func(o *ontap.Options) { o.Dir = "" },
		`"k"`:            func(o *ontap.Options) { o.Junction = "k" },
		`"../x"`:         func(o *ontap.Options) { o.Below = "../x" },
		"ontap-ca-file":  func(o *ontap.Options) { o.CAFile = "/no/such/file" },
	} {
		o := good
		change(&o)
		if _, err := ontap.New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
