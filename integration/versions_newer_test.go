package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// newerBinary builds a kojisnap whose catalogue says that the relation tag_package_owners and the column
// build.source came with format version 5: to it, snapshots of version 2 are without them.
func newerBinary(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs("../kojisnap/relation/versions.go")
	must(t, err)
	text, err := os.ReadFile(source)
	must(t, err)
	const was = "var current = NewCatalogue(all...)\n"
	if strings.Count(string(text), was) != 1 {
		t.Fatalf("%s has no line %q", source, was)
	}
	newer := filepath.Join(dir, "versions.go")
	must(t, os.WriteFile(newer, []byte(strings.Replace(string(text), was, `var current = func() *Catalogue {
	for _, r := range all {
		switch r.Name {
		case "tag_package_owners":
			r.Format = 5
		case "build":
			c := &r.Columns[r.Index("source")]
			c.Format, c.Missing = 5, "\\N"
		}
	}
	return NewCatalogue(all...)
}()
`, 1)), 0o644))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: newer}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644))
	program := filepath.Join(dir, "kojisnap")
	out, err := exec.Command("go", "build", withoutDebug, "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "kojisnap/cmd/kojisnap").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return program
}

// asVersion2 writes a snapshot again as a kojisnap did that knew neither tag_package_owners nor build.source, and
// returns its id.
func asVersion2(t testing.TB, s store.Store, snap *snapfile.Snapshot) string {
	t.Helper()
	m := *snap.Manifest
	m.Version, m.Relations, m.Parent, m.Chain = 2, nil, "", 0
	for _, r := range snap.Manifest.Relations {
		switch r.Name {
		case "tag_package_owners":
			continue
		case "build":
			rel := *relation.Get("build")
			source := rel.Index("source")
			rel.Columns = slices.Delete(slices.Clone(rel.Columns), source, source+1)
			w := snapfile.NewWriter(&rel, t.TempDir())
			rows := snap.Rows(t.Context(), "build")
			defer rows.Close()
			for rows.Next() {
				row, err := rows.Fields(nil)
				must(t, err)
				must(t, w.Add(slices.Delete(row, source, source+1)))
			}
			must(t, rows.Err())
			r.Columns = rel.ColumnNames()
			var err error
			r.Segments, err = w.Finish(t.Context(), 0, s.Put)
			must(t, err)
		}
		m.Relations = append(m.Relations, r)
	}
	body, err := json.MarshalIndent(m, "", "  ")
	must(t, err)
	id := snapfile.ID(m.Event, body)
	object, err := snapfile.ManifestObject(id)
	must(t, err)
	must(t, s.Put(t.Context(), object, io.ReadSeeker(bytes.NewReader(body))))
	return id
}

// TestNewerKojisnap: a later kojisnap, which has a relation and a column more, pulls, loads, compares and
// prunes where an earlier one did. The hub is asked for all that the earlier snapshot lacks.
func TestNewerKojisnap(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	program := newerBinary(t)
	config := w.config(t, "f42-compose")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append(args, "-c", config)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir()}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v: %s%s", args, err, out, stderr.String())
		}
		return string(out)
	}
	remove := func(id string) {
		t.Helper()
		object, err := snapfile.ManifestObject(id)
		must(t, err)
		must(t, w.store.Delete(t.Context(), object))
	}
	early, late := w.pull(t, 380, "f42-compose"), w.pull(t, lastEvent, "f42-compose")
	extras, sources := late.Relation("tag_package_owners").Rows, 0
	rows := late.Rows(t.Context(), "build")
	defer rows.Close()
	source := relation.Get("build").Index("source")
	for rows.Next() {
		row, err := rows.Fields(nil)
		must(t, err)
		if row[source] != nil {
			sources++
		}
	}
	must(t, rows.Err())
	if extras == 0 || sources == 0 {
		t.Fatalf("%d rows of tag_package_owners, %d sources: the test tests nothing", extras, sources)
	}
	earlyID, lateID := asVersion2(t, w.store, early), asVersion2(t, w.store, late)
	lateObject, err := snapfile.ManifestObject(lateID)
	must(t, err)
	lateBody := object(t, w.store, lateObject)
	for _, id := range []string{early.ID, late.ID, lateID} {
		remove(id)
	}

	holds := func(when string, extras int64, sources int) {
		t.Helper()
		want := fmt.Sprint(extras, " ", sources)
		if got := text(t, w.dsn, `SELECT (SELECT count(*) FROM tag_package_owners WHERE active) || ' ' || (SELECT count(source) FROM build)`); got != want {
			t.Errorf("%s: active rows of tag_package_owners and sources: %s, want %s", when, got, want)
		}
	}
	run("load", "--snapshot", earlyID)
	holds("of the earlier version", 0, 0)

	run("pull")
	ids := slices.DeleteFunc(snapshotIDs(t, w.store), func(id string) bool { return id == earlyID })
	if len(ids) != 1 {
		t.Fatal(ids)
	}
	newID := ids[0]
	run("load", "--snapshot", newID)
	holds("of the new version", extras, sources)
	if diff := run("diff", earlyID, newID); !strings.Contains(diff, "tag_package_owners") || !strings.Contains(diff, "build") {
		t.Errorf("diff: %s", diff)
	}

	// The same production of the earlier version says nothing of what it lacks: staging keeps it.
	must(t, w.store.Put(t.Context(), lateObject, bytes.NewReader(lateBody)))
	run("load", "--snapshot", lateID)
	holds("of the earlier version again", extras, sources)
	run("load", "--snapshot", newID)
	holds("of the new version again", extras, sources)

	run("prune", "--keep", "1")
	run("snapshots")
	dbtest.Exec(t, w.dsn, `DO $$ BEGIN IF EXISTS (SELECT FROM kojisnap.aside) THEN RAISE 'rows were put aside'; END IF; END $$`)
}

// object reads an object of a store.
func object(t testing.TB, s store.Store, name string) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), name)
	must(t, err)
	defer r.Close()
	body, err := io.ReadAll(r)
	must(t, err)
	return body
}

// snapshotIDs are the ids of a store's snapshots, of all versions.
func snapshotIDs(t testing.TB, s store.Store) (ids []string) {
	t.Helper()
	entries, err := s.List(t.Context(), snapfile.ManifestPrefix)
	must(t, err)
	for _, e := range entries {
		if id, ok := snapfile.IDOfObject(e.Name); ok {
			ids = append(ids, id)
		}
	}
	return ids
}
