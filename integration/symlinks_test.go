package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/hub/hubtest"
)

// TestSymlinks syncs, lets production move, complete, delete and rebuild, and syncs again. After
// each step below topdir is what the rows say: each complete build of production's has its files on
// its volume, and DEFAULT leads there by Koji's own symlink; no other has a directory.
func TestSymlinks(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	must(t, os.MkdirAll(filepath.Join(w.prodTree, "vol/ssd02/packages"), 0o755))
	c := w.config(t, "f42-compose", "f43-build")
	all := fmt.Sprintf("event = %d", lastEvent)
	sync := func(event int) {
		t.Helper()
		body, err := os.ReadFile(c)
		must(t, err)
		must(t, os.WriteFile(c, []byte(strings.Replace(string(body), all, fmt.Sprintf("event = %d", event), 1)), 0o644))
		all = fmt.Sprintf("event = %d", event)
		if o := kojisnapRun(t, removing(t, "sync", "-c", c, "--no-verify")...); o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
	}
	sync(lastEvent)
	first := w.checkSymlinks(t)

	event := lastEvent
	next := func() int {
		event++
		must(t, w.prodRows.Insert("events", hubtest.Values{"id": event, "time": "2026-11-21 01:00:00+00"}))
		return event
	}
	// Builds that no compose takes any longer, and so need not be copied: a newer one is tagged.
	untagged := w.untagLatest(t, next())
	if first[untagged] != "staged" {
		t.Fatalf("%s stood on %s", untagged, first[untagged])
	}
	// Builds that production moves, one that is copied and one that is not.
	moved := 0
	for _, want := range []string{"staged", "prod"} {
		for _, nvr := range slices.Sorted(mapsKeys(first)) {
			if first[nvr] == want && nvr != untagged {
				w.moveBuild(t, nvr, "ssd02", 2)
				moved++
				break
			}
		}
	}
	if moved != 2 {
		t.Fatalf("%d builds to move", moved)
	}
	sync(event)
	second := w.checkSymlinks(t)
	if second[untagged] != "prod" {
		t.Errorf("%s, whose copy is not wanted, stands on %s", untagged, second[untagged])
	}

	// A build is deleted, with its files; it was tagged and copied.
	var deleted string
	for _, nvr := range slices.Sorted(mapsKeys(second)) {
		if second[nvr] == "staged" {
			deleted = nvr
			break
		}
	}
	e := next()
	id := w.buildID(t, deleted)
	_, err := w.prodRows.Update("tag_listing", hubtest.Values{"build_id": id, "active": true}, hubtest.Values{"active": nil, "revoke_event": e, "revoker_id": 1})
	must(t, err)
	w.update(t, "build", hubtest.Values{"id": id}, hubtest.Values{"state": 2, "volume_id": 0})
	must(t, os.RemoveAll(filepath.Join(w.prodTree, "packages", deleted)))
	sync(event)
	third := w.checkSymlinks(t)
	t.Logf("%d builds; %s deleted: %q", len(third), deleted, third[deleted])
	rows, files := withoutSequences(w.database(t, "")), w.files(t)
	sync(event)
	w.checkSymlinks(t)
	if now := withoutSequences(w.database(t, "")); now != rows {
		t.Errorf("a sync without news changed a row: %s", firstDifference(rows, now))
	}
	if now := w.files(t); now != files {
		t.Errorf("a sync without news changed a file: %s", firstDifference(files, now))
	}
}

func mapsKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (w *env) buildID(t *testing.T, nvr string) any {
	t.Helper()
	part := strings.Split(nvr, "/")
	pkg, err := w.prodRows.Select("package", hubtest.Values{"name": part[0]})
	must(t, err)
	build, err := w.prodRows.Select("build", hubtest.Values{"pkg_id": pkg[0]["id"], "version": part[1], "release": part[2]})
	must(t, err)
	return build[0]["id"]
}

// moveBuild does to a build of production's what changeBuildVolume does.
func (w *env) moveBuild(t *testing.T, nvr, volume string, id int) {
	t.Helper()
	w.update(t, "build", hubtest.Values{"id": w.buildID(t, nvr)}, hubtest.Values{"volume_id": id})
	from, to := filepath.Join(w.prodTree, "packages", nvr), filepath.Join(w.prodTree, "vol", volume, "packages", nvr)
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	real, err := filepath.EvalSymlinks(from)
	must(t, err)
	must(t, os.Rename(real, to))
	if info, err := os.Lstat(from); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		must(t, os.Remove(from))
	}
	must(t, os.Symlink("../../../vol/"+volume+"/packages/"+nvr, from))
}

// checkSymlinks compares topdir with the rows of production's builds, those that are out of the
// scope too, and returns on which volume each complete one stands.
func (w *env) checkSymlinks(t *testing.T) map[string]string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, w.dsn)
	must(t, err)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT p.name || '/' || b.version || '/' || b.release, b.state, v.name, v.id
		FROM build b JOIN package p ON p.id = b.pkg_id JOIN volume v ON v.id = b.volume_id WHERE b.id < 990000000 ORDER BY 1`)
	must(t, err)
	type build struct {
		NVR    string
		State  int
		Volume string
		ID     int
	}
	builds, err := pgx.CollectRows(rows, pgx.RowToStructByPos[build])
	must(t, err)
	on := map[string]string{}
	for _, b := range builds {
		link := filepath.Join(w.topdir, "packages", b.NVR)
		target, err := os.Readlink(link)
		switch {
		case b.State != 1:
			if b.ID != 0 || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, state %d, stands on %s, and DEFAULT has %q, %v", b.NVR, b.State, b.Volume, target, err)
			}
			continue
		case b.ID == 0:
			t.Errorf("%s is complete and stands on DEFAULT", b.NVR)
		case err != nil || target != "../../../vol/"+b.Volume+"/packages/"+b.NVR:
			t.Errorf("%s stands on %s, and DEFAULT has %q, %v", b.NVR, b.Volume, target, err)
		}
		on[b.NVR] = b.Volume
		// Where production has files, they are there; of a copied build those of the compose are real ones.
		if _, err := os.Stat(filepath.Join(w.prodTree, "packages", b.NVR)); err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(w.topdir, "vol", b.Volume, "packages", b.NVR)); err != nil {
			t.Errorf("%s is not where the hub looks: %v", b.NVR, err)
		}
		info, err := os.Lstat(filepath.Join(w.topdir, "vol/staged/packages", b.NVR))
		if (err == nil && info.IsDir()) != (b.Volume == "staged") {
			t.Errorf("%s stands on %s; its copy: %v", b.NVR, b.Volume, err)
		}
	}
	if len(on) < 40 {
		t.Fatalf("only %d builds", len(on))
	}
	return on
}
