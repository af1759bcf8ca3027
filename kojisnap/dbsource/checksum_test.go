package dbsource_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
)

// hashed makes production's hub one that has hashed each signed copy that there is. It returns the signatures, "RPM
// KEY", of each row of rpm_checksum.
func (f *files) hashed(t testing.TB) (sigs []string) {
	t.Helper()
	f.lines["rpm_checksum"] = []string{"rpm_id\tsigkey\tchecksum\tchecksum_type"}
	if header := f.lines["rpmsigs"][0]; header != "rpm_id\tsigkey\tsighash" {
		t.Fatalf("rpmsigs has the columns %q", header)
	}
	for _, line := range f.lines["rpmsigs"][1:] {
		id, rest, _ := strings.Cut(line, "\t")
		key, _, _ := strings.Cut(rest, "\t")
		f.lines["rpm_checksum"] = append(f.lines["rpm_checksum"], fmt.Sprintf("%s\t%s\t%x\t2", id, key, sha256.Sum256([]byte(line))))
		sigs = append(sigs, id+" "+key)
	}
	return sigs
}

// TestChecksums: a database's snapshot has the checksums of the rpms whose signatures it has, no others, in whatever
// order snapshots of hubs and databases go on from each other. A snapshot of a hub, or of a database before Koji 1.32,
// lacks the relation: narrowed or compared, it says nothing about it.
func TestChecksums(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	c, s, rel := sourcetest.Hub(t, rows, hubtest.Options{}), sourcetest.Store(t), relation.Get("rpm_checksum")
	o := dbsource.Options{Hub: c.URL(), Tags: []string{"f42", "f42-infra"}, Event: 380}
	byHub := sourcetest.PullHub(t, c, s, pull.Options{Tags: o.Tags, Event: o.Event})
	if m := byHub.Manifest; m.HasRelation(rel) || m.Version > 3 || !m.Current() {
		t.Errorf("the hub gave rpm_checksum, in format %d", m.Version)
	}

	src := newFiles(t)
	src.hashed(t)
	o.Event = 400
	_, snap := sourcetest.PullSource(t, src, s, o)
	if m := snap.Manifest; !m.HasRelation(rel) || m.Version != 4 || m.Parent != byHub.ID {
		t.Errorf("has it: %v, format %d, parent %q", m.HasRelation(rel), m.Version, m.Parent)
	}
	signatures := func(lines []string) (sigs []string) {
		for _, l := range lines {
			f := strings.Split(l, "\t")
			sigs = append(sigs, f[0]+" "+f[1])
		}
		return sigs
	}
	sums := sourcetest.Rows(t, snap, rel.Name, false)
	if got, want := signatures(sums), signatures(sourcetest.Rows(t, snap, "rpmsigs", false)); !slices.Equal(got, want) || len(got) == 0 || len(got) == len(src.lines[rel.Name])-1 {
		t.Errorf("%d checksums, %d signatures, of %d in the database", len(got), len(want), len(src.lines[rel.Name])-1)
	}

	// Fewer tags: those of their rpms.
	few, err := narrow.To(t.Context(), snap, []string{"f42-infra"})
	if err != nil {
		t.Fatal(err)
	}
	of := dbsource.Options{Hub: o.Hub, Tags: []string{"f42-infra"}, Event: o.Event}
	_, alone := sourcetest.PullSource(t, src, sourcetest.Store(t), of)
	if got, want := sourcetest.Rows(t, few, rel.Name, false), sourcetest.Rows(t, alone, rel.Name, false); !slices.Equal(got, want) || len(got) == 0 || len(got) == len(sums) {
		t.Errorf("narrowed it has %d checksums, want %d, fewer than %d", len(got), len(want), len(sums))
	}

	// One goes, one is bad, one changes: only a layer is written.
	lines := src.lines[rel.Name]
	gone, bad, changed := -1, -1, -1
	for i, l := range lines {
		if at := slices.Index(sums, l); at == 0 {
			gone = i
		} else if at == 1 {
			bad = i
		} else if at == 2 {
			changed = i
		}
	}
	lines[bad] = strings.Replace(lines[bad], "\t2", "\t\\N", 1)
	lines[changed] = strings.Replace(lines[changed], "\t2", "\t1", 1)
	src.lines[rel.Name] = slices.Delete(lines, gone, gone+1)
	_, later := sourcetest.PullSource(t, src, s, o)
	if m := later.Manifest; m.Parent != snap.ID || len(m.LeftOut) > 0 {
		t.Errorf("parent %q, left out %+v", m.Parent, m.LeftOut)
	}
	diff, err := repository.Diff(t.Context(), snap, later, nil)
	if err != nil || !slices.Contains(diff.Relations, repository.RelationDiff{Relation: rel.Name, Added: 1, Removed: 3}) {
		t.Errorf("diff: %+v, %v", diff, err)
	}

	// The hub's goes on from it, and lacks it; so does that of a database without the table.
	hubs := sourcetest.PullHub(t, c, s, pull.Options{Tags: o.Tags, Event: 410})
	if m := hubs.Manifest; m.HasRelation(rel) || m.Parent != later.ID || m.Version == 4 {
		t.Errorf("the hub's: has it: %v, parent %q, format %d", m.HasRelation(rel), m.Parent, m.Version)
	}
	if got := sourcetest.Rows(t, hubs, rel.Name, false); len(got) > 0 {
		t.Errorf("the hub gave %q", got)
	}
	diff, err = repository.Diff(t.Context(), later, hubs, nil)
	if err != nil || slices.ContainsFunc(diff.Relations, func(d repository.RelationDiff) bool { return d.Relation == rel.Name }) {
		t.Errorf("diff with the hub's: %+v, %v", diff, err)
	}
	delete(src.lines, rel.Name)
	o.Event = 415
	if _, old := sourcetest.PullSource(t, src, s, o); old.Manifest.HasRelation(rel) || old.Manifest.Version != 3 {
		t.Errorf("without the table: has it: %v, format %d", old.Manifest.HasRelation(rel), old.Manifest.Version)
	}
}
