package pull_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/tagged"
)

// TestPullRevoked pulls at one event and then at a later one. What was revoked in between is beside the view,
// with its true revoke_event and revoker.
func TestPullRevoked(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	s := pulltest.NewStore(t)
	tags := []string{"f42-compose", "f42-updates-testing"}
	first := pulltest.Pull(t, c, s, 360, tags...)
	for _, r := range first.Manifest.Relations {
		if len(r.Revoked) > 0 {
			t.Errorf("%s: revoked rows in a first snapshot", r.Name)
		}
	}
	second := pulltest.Pull(t, c, s, pulltest.LastEvent, tags...)
	found := 0
	for _, rel := range relation.All() {
		if !rel.Versioned || rel.Index("tag_id") < 0 {
			continue
		}
		scope := map[string]bool{}
		for _, tag := range second.Manifest.Scope.All {
			scope[fmt.Sprint(tag.ID)] = true
		}
		var want []string
		for _, r := range readTSV(t, rel.Name) {
			if revoked := number(r["revoke_event"]); scope[r["tag_id"]] && revoked > 360 && revoked <= pulltest.LastEvent {
				var fields []string
				for _, c := range rel.Columns {
					fields = append(fields, r[c.Name])
				}
				want = append(want, strings.Join(fields, "\t"))
			}
		}
		slices.Sort(want)
		var got []string
		rows := second.Revoked(t.Context(), rel.Name)
		for rows.Next() {
			got = append(got, strings.TrimSuffix(string(rows.Line()), "\n"))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: revoked rows\n%q, want\n%q", rel.Name, got, want)
		}
		found += len(got)
	}
	if found == 0 {
		t.Error("nothing was revoked: the test compares nothing")
	}
}

// TestPullMargin finds the event by the hub's clock.
func TestPullMargin(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	now, err := c.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want int64
	target := readTSV(t, "events")[300]
	at, err := time.Parse("2006-01-02 15:04:05.999999-07", target["time"])
	if err != nil {
		t.Fatal(err)
	}
	want = number(target["id"])
	if now.Before(at.Add(time.Minute)) {
		t.Skipf("this machine's clock, %s, is before the recorded hub's events", now)
	}
	// A second past the event: the difference of the clocks must be less than the time to the next event.
	r, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42"}, Margin: now.Sub(at) - 2*time.Second, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Event < want || r.EventTime.Sub(at) > 5*time.Second {
		t.Errorf("event %d of %s, want %d of %s or shortly after", r.Event, r.EventTime, want, at)
	}
	_, err = pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42"}, Margin: 100 * 365 * 24 * time.Hour})
	if err == nil || !strings.Contains(err.Error(), "no event older than") {
		t.Errorf("a margin before all events: %v", err)
	}
}

// TestPullSecrets looks for each secret of the database in everything that a pull wrote.
func TestPullSecrets(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	s := pulltest.NewStore(t)
	pulltest.Pull(t, c, s, pulltest.LastEvent, "f42-compose", "f43-build", "f42-candidate")
	var written strings.Builder
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(s.String(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if filepath.Ext(path) == ".zst" && err == nil {
			body, err = dec.DecodeAll(body, nil)
		}
		written.Write(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range readTSV(t, "users") {
		names[r["name"]] = true
	}
	secrets := 0
	for table, column := range map[string]string{
		"users": "password", "user_krb_principals": "krb_principal", "build_reservations": "token", "build_notifications": "email",
	} {
		for _, r := range readTSV(t, table) {
			if secret := r[column]; secret != `\N` && !names[secret] { // some have their name as password
				secrets++
				if strings.Contains(written.String(), secret) {
					t.Errorf("%s.%s is in the snapshot", table, column)
				}
			}
		}
	}
	if secrets < 5 || !strings.Contains(written.String(), "alice") {
		t.Errorf("%d secrets looked for in %d bytes: too little", secrets, written.Len())
	}
}

// TestPullLeavesOut pulls from a hub that cannot encode the archives of one build: they are
// left out and named, the rest is there.
func TestPullLeavesOut(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	archive := readTSV(t, "archiveinfo")[0]
	if n, err := rows.Update("archiveinfo", hubtest.Values{"id": int(number(archive["id"]))}, hubtest.Values{"extra": `{"a": "` + `\u0001` + `"}`}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	tag := "f42-infra"
	snap := pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, tag)
	if len(snap.Manifest.LeftOut) != 1 || snap.Manifest.LeftOut[0].Row != "build "+archive["build_id"] {
		t.Errorf("left out: %+v", snap.Manifest.LeftOut)
	}
	whole, _ := pulltest.Production(t, hubtest.Options{})
	all := pulltest.Pull(t, whole, pulltest.NewStore(t), pulltest.LastEvent, tag)
	got, want := pulltest.SnapshotRows(t, snap, "tag_listing"), pulltest.SnapshotRows(t, all, "tag_listing")
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("%d tagged builds, want %d", len(got), len(want))
	}
}

// without serves the recorded rows as an older Koji has them.
func without(t *testing.T, columns map[string][]string) *hubtest.Memory {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(kojiprod.Rows(), "*.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		body, err := fs.ReadFile(kojiprod.Rows(), name)
		if err != nil {
			t.Fatal(err)
		}
		drop := columns[strings.TrimSuffix(name, ".tsv")]
		var out []string
		var gone []bool
		for _, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
			fields := strings.Split(line, "\t")
			if gone == nil {
				for _, f := range fields {
					gone = append(gone, slices.Contains(drop, f))
				}
			}
			var kept []string
			for i, f := range fields {
				if !gone[i] {
					kept = append(kept, f)
				}
			}
			out = append(out, strings.Join(kept, "\t"))
		}
		files[name] = &fstest.MapFile{Data: []byte(strings.Join(out, "\n") + "\n")}
	}
	m, err := hubtest.Rows(files)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPullOlderKoji pulls from a Koji without the newest columns: the rows are the same, with the values that
// Koji's migrations set.
func TestPullOlderKoji(t *testing.T) {
	old := map[string][]string{
		"build": {"draft", "promotion_time", "promoter"}, "rpminfo": {"draft"}, "archivetypes": {"compression_type"},
		"permissions": {"description"}, "channels": {"description", "enabled", "comment"},
	}
	h := hubtest.New(without(t, old), hubtest.Options{KojiVersion: "1.25.1"})
	snap := pulltest.Pull(t, pulltest.Client(t, h), pulltest.NewStore(t), pulltest.LastEvent, "f42-compose", "f43-build")
	if snap.Manifest.KojiVersion != "1.25.1" {
		t.Errorf("version %s", snap.Manifest.KojiVersion)
	}
	now, _ := pulltest.Production(t, hubtest.Options{})
	want := pulltest.Pull(t, now, pulltest.NewStore(t), pulltest.LastEvent, "f42-compose", "f43-build")
	for _, rel := range relation.All() {
		a, b := rowsWithout(t, func(fn func(tagged.Row)) error { return tagged.Each(t.Context(), snap, rel.Name, fn) }, rel, old[rel.Name]),
			rowsWithout(t, func(fn func(tagged.Row)) error { return tagged.Each(t.Context(), want, rel.Name, fn) }, rel, old[rel.Name])
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %d rows, want %d", rel.Name, len(a), len(b))
		}
	}
	err := tagged.Each(t.Context(), snap, "rpminfo", func(r tagged.Row) {
		if internal := !r.Null("build_id"); internal == r.Null("draft") || r.Bool("draft") {
			t.Errorf("rpm %d: draft NULL %v, build NULL %v", r.Int("id"), r.Null("draft"), r.Null("build_id"))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.Calls()["getTagExternalRepos"] == 0 {
		t.Error("the arches of external repos were not asked for")
	}
}

func rowsWithout(t *testing.T, each func(func(tagged.Row)) error, rel *relation.Relation, drop []string) []string {
	t.Helper()
	var rows []string
	err := each(func(r tagged.Row) {
		var fields []string
		for _, c := range rel.Columns {
			if !slices.Contains(drop, c.Name) {
				fields = append(fields, fmt.Sprintf("%q/%v", r.Text(c.Name), r.Null(c.Name)))
			}
		}
		rows = append(rows, strings.Join(fields, "\t"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestPullUnknownTag: callers can recognize the error.
func TestPullUnknownTag(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	_, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"nope"}, Event: pulltest.LastEvent})
	var unknown *scope.UnknownTagError
	if !errors.As(err, &unknown) || unknown.Tag != "nope" {
		t.Errorf("got %v", err)
	}
}

// TestTagged compares the builds in tags, computed from a snapshot, with the hub's answers.
func TestTagged(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	snap := pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, "f42-compose", "f43-build", "f42-candidate", "f42-build", "f42-frozen")
	view, err := tagged.Read(t.Context(), snap)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, id := range view.Tags {
		for _, inherit := range []bool{false, true} {
			for _, latest := range []bool{false, true} {
				answer, err := c.Call(t.Context(), hub.Call{Method: "listTagged", Args: []any{name},
					Kwargs: map[string]any{"event": pulltest.LastEvent, "inherit": inherit, "latest": latest}})
				if err != nil {
					t.Fatal(err)
				}
				var want, got []string
				for _, b := range answer.Items() {
					nvr, _ := b.Field("nvr").Str()
					tag, _ := b.Field("tag_id").Int()
					want = append(want, fmt.Sprint(nvr, " in ", tag))
				}
				builds, undecided := view.Builds(id, inherit, latest)
				if len(undecided) > 0 {
					t.Errorf("%s: %+v", name, undecided)
				}
				for _, b := range builds {
					got = append(got, fmt.Sprint(b.NVR(), " in ", b.TagID))
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, inherit %v, latest %v:\n%q, want\n%q", name, inherit, latest, got, want)
				}
				compared += len(want)
			}
		}
	}
	if compared < 300 {
		t.Errorf("only %d builds compared", compared)
	}
}
