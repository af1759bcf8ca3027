package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/dbsync/book"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/seedtest"
)

// TestNamedBuilds: builds that no tag of the scope has are in staging as production has them, as long as they
// are asked for; what production does to them follows. Staging keeps what it has of those that are
// asked for no longer.
func TestNamedBuilds(t *testing.T) {
	t.Parallel()
	const (
		kernel, image = "kernel-6.14.5-300.fc42", "layered-image-1-1"
		kernelFile    = "vol/staged/packages/kernel/6.14.5/300.fc42/x86_64/kernel-6.14.5-300.fc42.x86_64.rpm"
	)
	w := newLoadedEnv(t)
	plain := w.config(t, "f42-compose")
	lock := filepath.Join(t.TempDir(), "composes") // nobody holds it
	must(t, os.WriteFile(lock, nil, 0o644))
	config := func(builds string) string {
		path := filepath.Join(t.TempDir(), "kojisnap.toml")
		text := strings.Replace(w.read(t, plain), "[copy]\n", "build = ["+builds+"]\n[load]\nwait-for = \""+lock+"\"\n[copy]\nkeep-days = 0\n", 1)
		must(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	answer := func(method string, args ...any) hub.Value {
		t.Helper()
		v, err := w.staging.Call(t.Context(), hub.Call{Method: method, Args: args})
		must(t, err)
		return v
	}
	state := func() string { // of the kernel's rows in staging
		return one(t, w.dsn, `SELECT b.state || ' ' || v.name || ' ' || (SELECT count(*) FROM rpminfo WHERE build_id = 36)
			|| ' ' || (SELECT count(*) FROM rpmsigs s JOIN rpminfo r ON r.id = s.rpm_id WHERE r.build_id = 36) || ' ' || (SELECT count(*) FROM build_types WHERE build_id = 36)
			FROM build b JOIN volume v ON v.id = b.volume_id WHERE b.id = 36`)
	}
	wantState := func(want string) {
		t.Helper()
		if got := state(); got != want {
			t.Errorf("state, volume, rpms, signatures, types: %s, want %s", got, want)
		}
	}
	// settled wants that after a sync there is nothing left to do: in the long form after each one.
	settled := func(code int, builds string) {
		t.Helper()
		before := w.state(t)
		if again := kojisnapRun(t, "sync", "-c", config(builds)); again.code != code {
			t.Errorf("again: exit code %d, %s", again.code, again.stderr)
		}
		if o := kojisnapRun(t, "copy", "--verify", "digest", "-c", config(builds)); o.code != 0 {
			t.Errorf("copy: exit code %d, %s", o.code, o.stderr)
		}
		if after := w.state(t); after != before {
			t.Errorf("a second sync changed something: %s", firstDifference(before, after))
		}
		var audit book.LoadReport
		must(t, json.Unmarshal([]byte(succeed(t, "load", "-c", config(builds), "--audit", "--json")), &audit))
		for _, r := range audit.Relations {
			if r.Inserted+r.Updated+r.Revoked+r.Unrevoked+r.Deleted > 0 {
				t.Errorf("an audit changed something: %+v", r)
			}
		}
	}
	// sync runs a sync with a list of builds. It returns what that printed.
	sync := func(code int, builds string) (string, kojisnap.SyncResult) {
		t.Helper()
		o := kojisnapRun(t, "sync", "-c", config(builds), "--json")
		var r kojisnap.SyncResult
		must(t, json.Unmarshal([]byte(o.stdout), &r))
		if o.code != code || r.Load == nil {
			t.Fatalf("sync with %s: exit code %d, %s%s", builds, o.code, o.stdout, o.stderr)
		}
		if seedtest.Long() {
			settled(code, builds)
		}
		return o.stdout + o.stderr, r
	}
	if seedtest.Long() { // otherwise the first sync copies all
		sync(0, "")
	}
	if v := answer("getBuild", kernel); !v.IsNil() {
		t.Fatalf("staging has %s before it was asked for: %s", kernel, v)
	}

	_, r := sync(0, `"`+kernel+`", 61`)
	if r.Pull.Base == "" || r.Load.Base == "" {
		t.Errorf("it did not go on from what was there: pull from %q, load from %q", r.Pull.Base, r.Load.Base)
	}
	wantState("1 staged 11 22 1")
	if !seedtest.Long() {
		settled(0, `"`+kernel+`", 61`)
	}
	if got := answer("listBuildRPMs", kernel).Len(); got != 11 {
		t.Errorf("staging's hub lists %d rpms", got)
	}
	if got := answer("listArchives", 61).Len(); got != 1 {
		t.Errorf("staging's hub lists %d archives", got)
	}
	if info, err := os.Lstat(filepath.Join(w.topdir, kernelFile)); err != nil || !info.Mode().IsRegular() {
		t.Errorf("no regular file: %v", err)
	}

	// A signature that comes, one that goes, the volume: none leaves an event.
	w.update(t, "build", hubtest.Values{"id": 61}, hubtest.Values{"completion_time": "2026-11-21 02:00:00+00"})
	rpms, err := w.prodRows.Select("rpminfo", hubtest.Values{"build_id": 36})
	must(t, err)
	must(t, w.prodRows.Insert("rpmsigs", hubtest.Values{"rpm_id": rpms[0]["id"], "sigkey": "deadbeef", "sighash": strings.Repeat("0", 32)}))
	for _, rpm := range rpms[:2] {
		if n, err := w.prodRows.Delete("rpmsigs", hubtest.Values{"rpm_id": rpm["id"], "sigkey": "ba2992d4"}); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	sync(0, `"`+kernel+`", 61`)
	wantState("1 staged 11 21 1")

	// It is deleted.
	must(t, w.prodRows.Change(func(tx *hubtest.Tx) error {
		for _, rpm := range rpms {
			if _, err := tx.Delete("rpmsigs", hubtest.Values{"rpm_id": rpm["id"]}); err != nil {
				return err
			}
		}
		_, err := tx.Update("build", hubtest.Values{"id": 36}, hubtest.Values{"state": 2})
		return err
	}))
	must(t, os.RemoveAll(filepath.Join(w.prodTree, "packages/kernel/6.14.5")))
	said, r := sync(3, `"`+kernel+`", 61`)
	if len(r.Pull.Incomplete) != 1 || r.Pull.Incomplete[0].State != "DELETED" || !strings.Contains(said, kernel+", which --build asks for, is DELETED in production") {
		t.Errorf("it is not told: %s", said)
	}
	if !seedtest.Long() {
		settled(3, `"`+kernel+`", 61`)
	}
	wantState("2 DEFAULT 11 0 1")
	if o := kojisnapRun(t, "verify", "-c", plain); o.code != 3 || !strings.Contains(o.stdout, kernel+": it is DELETED in production") {
		t.Errorf("verify: exit code %d, %s", o.code, o.stdout)
	}

	// Off the list, staging keeps the rows; the files are production's again.
	sync(0, "61")
	wantState("2 DEFAULT 11 0 1")
	sync(0, "")
	volume := func() string {
		return one(t, w.dsn, "SELECT b.state || ' ' || v.name || ' ' || (SELECT count(*) FROM archiveinfo WHERE build_id = 61) || ' ' || (SELECT count(*) FROM archive_rpm_components c JOIN archiveinfo a ON a.id = c.archive_id WHERE a.build_id = 61) FROM build b JOIN volume v ON v.id = b.volume_id WHERE b.id = 61")
	}
	left := volume()
	if !strings.HasPrefix(left, "1 prod 1 ") {
		t.Errorf("the image after it left the list: %s", left)
	}
	if info, err := os.Lstat(filepath.Join(w.topdir, "vol/staged/packages/layered-image/1/1")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the copy of the image did not go as those that no compose needs do: %v", err)
	}

	// What production took from it meanwhile goes when it is asked for again.
	archives, err := w.prodRows.Select("archiveinfo", hubtest.Values{"build_id": 61})
	must(t, err)
	n, err := w.prodRows.Delete("archive_rpm_components", hubtest.Values{"archive_id": archives[0]["id"]})
	must(t, err)
	m, err := w.prodRows.Delete("archive_components", hubtest.Values{"archive_id": archives[0]["id"]})
	must(t, err)
	if n+m == 0 {
		t.Fatal("the image consists of nothing")
	}
	sync(0, `"`+image+`"`)
	if got := volume(); got != "1 staged 1 0" {
		t.Errorf("the image that is asked for again: %s; before %s", got, left)
	}
	if got := one(t, w.dsn, fmt.Sprint("SELECT count(*) FROM archive_components WHERE archive_id = ", archives[0]["id"])); got != "0" {
		t.Errorf("%s archives in it", got)
	}
}
