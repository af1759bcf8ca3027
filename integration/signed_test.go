package integration_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapfile/forgetest"
)

// keygen makes a key and returns its files.
func keygen(t testing.TB, name string) (private, public string) {
	t.Helper()
	private = filepath.Join(t.TempDir(), name)
	succeed(t, "keygen", private)
	return private, private + ".pub"
}

// object is the file of an object in the store.
func (w *env) object(name string) string { return filepath.Join(w.store.String(), name) }

func (w *env) snapshot(t testing.TB, id string) *snapfile.Snapshot {
	t.Helper()
	snap, err := repository.Open(t.Context(), w.store, id)
	must(t, err)
	return snap
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	body, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, body, 0o644))
}

// TestSigned: once a key is configured, no command takes what somebody else than its owner put into the
// store, or changed there.
func TestSigned(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	private, public := keygen(t, "own")
	theirs, theirPublic := keygen(t, "their")
	keys := []string{"--verify-key", theirPublic, "--verify-key", public} // any of them will do
	with := func(args ...string) []string { return append(args, keys...) }
	id := strings.TrimSpace(succeed(t, "pull", "-c", c, "--sign-key", private))
	manifest := func(id string) string { return w.object("snapshots/" + id + ".json") }
	forged := func(column, value string) string {
		return forgetest.Into(t, w.store, w.snapshot(t, id), "package", forgetest.SetFirst("package", column, value))
	}
	keys = keys[2:]
	attacks := []struct {
		name string
		make func() string // the snapshot to take
		says []string
	}{
		{"not signed", func() string { return forged("name", "evil") }, []string{"it has no signature", "--sign-key"}},
		{"signed by another", func() string {
			id := forged("name", "evil2")
			other := filepath.Join(t.TempDir(), "store")
			must(t, os.CopyFS(other, os.DirFS(w.store.String())))
			must(t, os.Remove(filepath.Join(other, "snapshots", id+".json")))
			// Whoever can write the store can run kojisnap.
			theirID := strings.TrimSpace(succeed(t, "pull", "-c", c, "--store", other, "--full", "--sign-key", theirs))
			copyFile(t, filepath.Join(other, "snapshots", theirID+".json.sig"), manifest(id)+".sig")
			return id
		}, []string{"it is signed by key ", "--verify-key"}},
		{"with the signature of another snapshot", func() string {
			other := forged("name", "evil3")
			copyFile(t, manifest(id)+".sig", manifest(other)+".sig")
			return other
		}, []string{"its signature by key ", "does not fit it"}},
		{"with a signature that is none", func() string {
			other := forged("name", "evil4")
			must(t, os.WriteFile(manifest(other)+".sig", []byte("ed25519\n\x00\xff"), 0o644))
			return other
		}, []string{"its signature cannot be read"}},
		{"under another name", func() string {
			other := strings.Replace(id, "419-", "420-", 1)
			copyFile(t, manifest(id), manifest(other))
			copyFile(t, manifest(id)+".sig", manifest(other)+".sig")
			return other
		}, []string{"it is of event 419"}},
	}
	for _, a := range attacks {
		w.refuses(t, a.name, a.make(), with, c, a.says)
	}
	segment, kept := w.object(w.snapshot(t, id).Relation("package").Segments[0].Object()), filepath.Join(t.TempDir(), "kept")
	other := w.object(w.snapshot(t, forged("name", "evil5")).Relation("package").Segments[0].Object())
	copyFile(t, segment, kept)
	copyFile(t, other, segment)
	w.refuses(t, "with another segment", id, with, c, []string{"is damaged: "})
	copyFile(t, kept, segment)
	// What is refused has harmed nobody, and what is signed is taken by all.
	for _, command := range []string{"copy", "load", "verify"} {
		succeed(t, with(command, "-c", c, "--snapshot", id)...)
	}
}

// refuses demands that each command refuses a snapshot in one line, with exit code 6, and changes nothing.
func (w *env) refuses(t testing.TB, name, id string, with func(...string) []string, c string, says []string) {
	t.Helper()
	before := w.state(t)
	for _, args := range [][]string{{"load", "--snapshot"}, {"copy", "--snapshot"}, {"verify", "--snapshot"}, {"show"}} {
		o := kojisnapRun(t, with(append([]string{args[0], "-c", c}, append(args[1:], id)...)...)...)
		if args[0] == "show" && strings.Contains(says[0], "is damaged") {
			continue // it reads no segments
		}
		if o.code != 6 || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, id) {
			t.Errorf("%s: %s: exit code %d, %q, %q", name, args[0], o.code, o.stdout, o.stderr)
		}
		for _, s := range says {
			if !strings.Contains(o.stderr, s) {
				t.Errorf("%s: %s: %q does not say %q", name, args[0], o.stderr, s)
			}
		}
	}
	if after := w.state(t); after != before {
		t.Errorf("%s: something changed: %s", name, firstDifference(before, after))
	}
}

// TestSignedSync: a schedule with a key in its configuration begins in a store of unsigned snapshots, and
// goes on from nothing that the key has not signed.
func TestSignedSync(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	plain := w.config(t, "f42-compose")
	private, public := keygen(t, "own")
	body, err := os.ReadFile(plain)
	must(t, err)
	c := plain + ".keys"
	must(t, os.WriteFile(c, []byte(fmt.Sprintf("verify-key = [%q]\n", public)+strings.Replace(string(body), "[pull]", fmt.Sprintf("[pull]\nsign-key = %q", private), 1)), 0o644))
	succeed(t, "sync", "-c", plain)
	unsigned := w.snapshot(t, "latest").ID

	// The first pull with the key says once that it begins anew.
	o := kojisnapRun(t, "sync", "-c", c)
	if o.code != 0 || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, "not going on from a snapshot") || !strings.Contains(o.stderr, unsigned) {
		t.Fatalf("exit code %d: %q", o.code, o.stderr)
	}
	first := w.snapshot(t, "latest")
	if first.ID == unsigned || first.Manifest.Parent != "" {
		t.Errorf("snapshot %s, of parent %q", first.ID, first.Manifest.Parent)
	}
	succeed(t, "sync", "-c", c)
	succeed(t, "load", "-c", c) // latest, beside the unsigned one of the same event
	succeed(t, "status", "-c", c)
	succeed(t, "diff", "-c", c, first.ID, "latest")

	// A base that somebody forged does not reach the next snapshot.
	forged := forgetest.Into(t, w.store, first, "package", forgetest.SetFirst("package", "name", "evil"))
	must(t, w.prodRows.Insert("events", hubtest.Values{"id": 420, "time": "2026-11-21 01:00:00+00"}))
	w.untagLatest(t, 420)
	succeed(t, "sync", "-c", c, "--event", "420")
	next := w.snapshot(t, "latest")
	if next.Manifest.Parent != first.ID {
		t.Errorf("%s goes on from %s, not from %s; %s is forged", next.ID, next.Manifest.Parent, first.ID, forged)
	}
	var evil int
	must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), "SELECT count(*) FROM package WHERE name LIKE 'evil%'").Scan(&evil))
	if evil != 0 {
		t.Error("the forged row is in the database")
	}

	// latest is no earlier one where somebody put a later one, or took its signature away.
	must(t, os.Remove(w.object("snapshots/"+next.ID+".json.sig")))
	for _, command := range []string{"load", "copy", "verify"} {
		if o := kojisnapRun(t, command, "-c", c); o.code != 6 || !strings.Contains(o.stderr, next.ID) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d: %q", command, o.code, o.stderr)
		}
	}

	// A pull that would make what nobody takes is refused before anything is asked.
	for _, command := range []string{"pull", "sync"} {
		o := kojisnapRun(t, command, "-c", plain, "--verify-key", public)
		if o.code != 2 || !strings.Contains(o.stderr, "--sign-key") {
			t.Errorf("%s: exit code %d: %q", command, o.code, o.stderr)
		}
	}
}

// TestForgedNames: names that lead out of their directory reach neither database nor topdir, whoever wrote
// them to the store. They are reported, and everything else is loaded.
func TestForgedNames(t *testing.T) {
	t.Parallel()
	w := newPulledEnv(t)
	c := w.config(t, "f42-compose")
	good, err := repository.Latest(t.Context(), w.store, repository.Scope{Hub: w.prodURL, Tags: []string{"f42-compose"}})
	must(t, err)
	type forgery struct{ relation, column, name string }
	forgeries := []forgery{
		{"package", "name", "../../../../tmp"}, {"volume", "name", "a/../../b"}, {"rpmsigs", "sigkey", "../../../../../../etc"}, {"build", "release", "/etc"},
	}
	together := [][]forgery{forgeries}
	if seedtest.Long() {
		for _, f := range forgeries {
			together = append(together, []forgery{f})
		}
	}
	for _, names := range together {
		forged := good.ID
		for i, f := range names {
			from := forged
			forged = forgetest.Into(t, w.store, w.snapshot(t, from), f.relation, forgetest.SetFirst(f.relation, f.column, f.name))
			if i > 0 {
				must(t, os.Remove(w.object("snapshots/"+from+".json")))
			}
		}
		o := kojisnapRun(t, "load", "-c", c, "--snapshot", forged, "--rollback")
		conn := dbtest.Connect(t, w.dsn)
		for _, f := range names {
			if says := fmt.Sprintf("its %s %q would lead out of its directory", f.column, f.name); o.code != 3 || !strings.Contains(o.stderr, says) {
				t.Errorf("%s: exit code %d, %q does not say %q", f.relation, o.code, o.stderr, says)
			}
			var there, rows int
			must(t, conn.QueryRow(context.Background(), fmt.Sprintf("SELECT count(*) FILTER (WHERE %s = $1), count(*) FROM %s", f.column, f.relation), f.name).Scan(&there, &rows))
			if there != 0 || rows == 0 && f.relation != "volume" {
				t.Errorf("%s: %d rows with the name, of %d", f.relation, there, rows)
			}
		}
		// Copy and verify make no path of it.
		for _, command := range []string{"copy", "verify"} {
			if o := kojisnapRun(t, command, "-c", c, "--snapshot", forged); o.code != 0 && o.code != 3 {
				t.Errorf("%v: %s: exit code %d, %q, %q", names, command, o.code, o.stdout, o.stderr)
			}
		}
		if entries, err := os.ReadDir(filepath.Dir(w.topdir)); err != nil || len(entries) != 1 {
			t.Errorf("%v: beside topdir there is %v, %v", names, entries, err)
		}
		// No pull carries them on either.
		o = kojisnapRun(t, "pull", "-c", c)
		if o.code != 0 || !strings.Contains(o.stderr, forged) || !strings.Contains(o.stderr, "forged, or of an earlier kojisnap") {
			t.Errorf("%v: pull: exit code %d, %q", names, o.code, o.stderr)
		}
		must(t, os.Remove(w.object("snapshots/"+forged+".json")))
	}
	succeed(t, "load", "-c", c, "--audit")
}
