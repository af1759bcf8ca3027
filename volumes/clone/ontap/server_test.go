package ontap_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// filer is a server that answers as NetApp's documentation of the REST API says, for the calls that are used: each
// change is a job that is polled, names are unique, a clone's snapshot is busy, and a mounted volume is not deleted.
// Volumes are directories in root.
type filer struct {
	t    *testing.T
	root string // volumes by name
	ns   string // the SVM's namespace, as a host has it mounted

	mu        sync.Mutex
	volumes   map[string]map[string]any // by uuid
	snapshots map[string]map[string]any // by uuid; with parent
	jobs      map[string]*job
	next      int
	calls     []string
	// fail, if not nil, may answer a call itself.
	fail func(w http.ResponseWriter, r *http.Request) bool
	// recovery: deleted clones stay in the recovery queue, so that their snapshots are busy.
	recovery bool
}

type job struct {
	polls   int // until it ends
	outcome func() (code, message string)
	state   string
	code    string
	message string
}

const password = `p"a\ss wörd`

func newFiler(t *testing.T) (*filer, *httptest.Server, string) {
	t.Helper()
	f := &filer{t: t, root: t.TempDir(), ns: filepath.Join(t.TempDir(), "ns"), volumes: map[string]map[string]any{}, snapshots: map[string]map[string]any{}, jobs: map[string]*job{}}
	must(t, os.MkdirAll(filepath.Join(f.ns, "kojisnap"), 0o755))
	f.volumes["uuid-prod"] = map[string]any{"uuid": "uuid-prod", "name": "koji_prod", "svm": "vs1", "comment": "", "nas": map[string]any{"path": "/prod"}}
	must(t, os.Mkdir(filepath.Join(f.root, "koji_prod"), 0o755))
	srv := httptest.NewTLSServer(f)
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o644))
	return f, srv, ca
}

func (f *filer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, r.Method+" "+r.URL.Path)
	if f.fail != nil && f.fail(w, r) {
		return
	}
	if user, given, ok := r.BasicAuth(); !ok || user != "kojisnap" || given != password {
		answer(w, 401, map[string]any{"error": map[string]any{"code": "6691623", "message": "User is not authorized."}})
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	var body map[string]any
	if r.Method == "POST" || r.Method == "PATCH" {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Content-Type") != "application/json" {
			f.t.Errorf("%s %s: body: %v", r.Method, r.URL, err)
		}
	}
	switch route := r.Method + " " + strings.Join(parts[:2], "/"); {
	case route == "GET cluster/jobs" && len(parts) == 3:
		f.poll(w, parts[2])
	case route == "GET storage/volumes" && len(parts) == 2:
		f.list(w, r, f.volumes, func(v map[string]any) bool { return v["svm"] == r.URL.Query().Get("svm.name") })
	case route == "GET storage/volumes" && len(parts) == 4 && parts[3] == "snapshots":
		f.list(w, r, f.snapshots, func(v map[string]any) bool { return v["parent"] == parts[2] })
	case route == "POST storage/volumes" && len(parts) == 4 && parts[3] == "snapshots":
		f.accept(w, func() (string, string) { return f.snapshot(parts[2], body) })
	case route == "POST storage/volumes" && len(parts) == 2:
		f.accept(w, func() (string, string) { return f.cloneOf(body) })
	case route == "PATCH storage/volumes" && len(parts) == 3:
		f.accept(w, func() (string, string) { return f.mount(f.volumes[parts[2]], text(body["nas"], "path")) })
	case route == "DELETE storage/volumes" && len(parts) == 3:
		f.accept(w, func() (string, string) { return f.remove(parts[2]) })
	case route == "DELETE storage/volumes" && len(parts) == 5:
		f.accept(w, func() (string, string) { return f.removeSnapshot(parts[4]) })
	default:
		f.t.Errorf("the documentation has no %s %s", r.Method, r.URL.Path)
		answer(w, 404, map[string]any{"error": map[string]any{"code": "3", "message": "API not found"}})
	}
}

func text(v any, key string) string {
	m, _ := v.(map[string]any)
	s, _ := m[key].(string)
	return s
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/hal+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func (f *filer) accept(w http.ResponseWriter, do func() (code, message string)) {
	f.next++
	id := fmt.Sprint("job-", f.next)
	f.jobs[id] = &job{polls: 2, outcome: do, state: "queued"}
	answer(w, 202, map[string]any{"job": map[string]any{"uuid": id}})
}

func (f *filer) poll(w http.ResponseWriter, id string) {
	j := f.jobs[id]
	if j == nil {
		answer(w, 404, map[string]any{"error": map[string]any{"code": "4", "message": "entry doesn't exist"}})
		return
	}
	if j.polls--; j.polls > 0 {
		j.state = "running"
	} else if j.outcome != nil {
		j.state = "success"
		if j.code, j.message = j.outcome(); j.code != "" {
			j.state = "failure"
		}
		j.outcome = nil
	}
	a := map[string]any{"uuid": id, "state": j.state, "message": j.message, "code": 0}
	if j.code != "" {
		a["error"] = map[string]any{"code": j.code, "message": j.message}
	}
	answer(w, 200, a)
}

func (f *filer) list(w http.ResponseWriter, r *http.Request, all map[string]map[string]any, of func(map[string]any) bool) {
	records := []any{}
	for _, v := range all {
		if ok, err := path.Match(r.URL.Query().Get("name"), v["name"].(string)); of(v) && ok && err == nil {
			records = append(records, v)
		}
	}
	answer(w, 200, map[string]any{"records": records, "num_records": len(records)})
}

func (f *filer) snapshot(parent string, body map[string]any) (code, message string) {
	for _, s := range f.snapshots {
		if s["parent"] == parent && s["name"] == body["name"] {
			return "1638477", "A snapshot of that name exists."
		}
	}
	f.next++
	id := fmt.Sprint("snap-", f.next)
	f.snapshots[id] = map[string]any{"uuid": id, "name": body["name"], "comment": body["comment"], "parent": parent}
	f.copy(f.volumes[parent]["name"].(string), id)
	return "", ""
}

// copy makes a volume, or a snapshot, of another one's files.
func (f *filer) copy(from, to string) {
	if out, err := exec.Command("cp", "-a", filepath.Join(f.root, from), filepath.Join(f.root, to)).CombinedOutput(); err != nil {
		f.t.Errorf("cp: %v: %s", err, out)
	}
}

func (f *filer) cloneOf(body map[string]any) (code, message string) {
	for _, v := range f.volumes {
		if v["name"] == body["name"] {
			return "917927", "The volume exists."
		}
	}
	spec, _ := body["clone"].(map[string]any)
	if spec["is_flexclone"] != true || text(spec["parent_volume"], "name") != "koji_prod" {
		return "2", "An invalid value was entered for one of the fields."
	}
	for id, s := range f.snapshots {
		if s["name"] == text(spec["parent_snapshot"], "name") {
			f.next++
			uuid := fmt.Sprint("uuid-", f.next)
			name := body["name"].(string)
			f.volumes[uuid] = map[string]any{"uuid": uuid, "name": name, "svm": text(body["svm"], "name"), "comment": body["comment"], "of": id}
			f.copy(id, name)
			return f.mount(f.volumes[uuid], text(body["nas"], "path"))
		}
	}
	return "4", "entry doesn't exist"
}

func (f *filer) mount(v map[string]any, where string) (code, message string) {
	if v == nil {
		return "4", "entry doesn't exist"
	}
	if have := text(v["nas"], "path"); have != "" {
		os.Remove(filepath.Join(f.ns, have))
	}
	v["nas"] = map[string]any{"path": where}
	if where != "" {
		if err := os.Symlink(filepath.Join(f.root, v["name"].(string)), filepath.Join(f.ns, where)); err != nil {
			return "918701", err.Error()
		}
	}
	return "", ""
}

func (f *filer) remove(uuid string) (code, message string) {
	v := f.volumes[uuid]
	switch {
	case v == nil:
		return "4", "entry doesn't exist"
	case text(v["nas"], "path") != "":
		return "524546", "The volume is mounted."
	}
	os.RemoveAll(filepath.Join(f.root, v["name"].(string)))
	delete(f.volumes, uuid)
	return "", ""
}

func (f *filer) removeSnapshot(uuid string) (code, message string) {
	if f.recovery {
		return "1638555", "The snapshot is busy."
	}
	for _, v := range f.volumes {
		if v["of"] == uuid {
			return "1638555", "The snapshot is busy."
		}
	}
	os.RemoveAll(filepath.Join(f.root, uuid))
	delete(f.snapshots, uuid)
	return "", ""
}
