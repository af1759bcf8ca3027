package narrow_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
)

// everything are names and patterns of all tags of the recorded hub that have builds.
var everything = []string{"f42*", "f43*", "f41*", "!f42-infra"}

// pullInto pulls into a store, so that a later pull continues an earlier one.
func pullInto(t *testing.T, c *hub.Client, s store.Store, o pull.Options) *snapfile.Snapshot {
	t.Helper()
	o.Program = "test"
	r, err := pull.Pull(t.Context(), c, s, o)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := repository.Open(t.Context(), s, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// lines returns the rows of a relation.
func lines(t *testing.T, snap *snapfile.Snapshot, name string, revoked bool) []string {
	t.Helper()
	rows := snap.Rows(t.Context(), name)
	if revoked {
		rows = snap.Revoked(t.Context(), name)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		all = append(all, string(rows.Line()))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// same requires that a narrowed snapshot equals a pulled one: in scope, rows, and what is left out.
func same(t *testing.T, got, want *snapfile.Snapshot) {
	t.Helper()
	g, w := got.Manifest.Scope, want.Manifest.Scope
	if !slices.Equal(g.Tags, w.Tags) || !slices.Equal(g.Asked, w.Asked) || !slices.Equal(g.All, w.All) || !slices.Equal(g.Content, w.Content) || !slices.Equal(g.Builds, w.Builds) {
		t.Errorf("scope %+v, want %+v", g, w)
	}
	if len(got.Manifest.LeftOut) != len(want.Manifest.LeftOut) {
		t.Errorf("left out %v, want %v", got.Manifest.LeftOut, want.Manifest.LeftOut)
	}
	left := ofLeftBuilds(t, want)
	for _, rel := range relation.All() {
		for _, revoked := range []bool{false, true} {
			if rel.Name == "build" && revoked {
				continue // a narrowed snapshot keeps these rows of all builds: see filter
			}
			a, b := lines(t, got, rel.Name, revoked), lines(t, want, rel.Name, revoked)
			if slices.Equal(a, b) {
				continue
			}
			too := slices.DeleteFunc(slices.Clone(a), func(l string) bool { return slices.Contains(b, l) })
			missing := slices.DeleteFunc(slices.Clone(b), func(l string) bool { return slices.Contains(a, l) || left[rel.Name+" "+firstField(l)] })
			if len(too)+len(missing) == 0 {
				continue
			}
			t.Errorf("%s, revoked %v: too many %q, missing %q", rel.Name, revoked, too[:min(len(too), 5)], missing[:min(len(missing), 5)])
		}
	}
}

// ofLeftBuilds returns what the rows of reset and deleted builds refer to. A load changes only builds that
// the database has, with what they refer to. So a narrowed snapshot need not have these.
func ofLeftBuilds(t *testing.T, snap *snapfile.Snapshot) map[string]bool {
	t.Helper()
	refs := map[string]bool{}
	rel := relation.Get("build")
	err := snapshot.EachRevoked(t.Context(), snap, rel, func(row [][]byte) error {
		for i, c := range rel.Columns {
			if c.Ref != "" {
				refs[c.Ref+" "+string(row[i])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

func firstField(line string) string {
	id, _, _ := strings.Cut(line, "\t")
	return id
}

// TestNarrow: a snapshot of many tags, narrowed to some of them, has exactly the rows of a pull of these:
// with names and patterns, tags that are only inherited, modules, images with components, builds asked for by
// name, history.
func TestNarrow(t *testing.T) {
	for _, test := range []struct {
		name string
		o    pull.Options
	}{
		{"view", pull.Options{Event: pulltest.LastEvent}},
		{"builds", pull.Options{Event: pulltest.LastEvent, Builds: []string{pulltest.NamedImage, pulltest.NamedKernel}}},
		{"no content tags", pull.Options{Event: pulltest.LastEvent, NoContentTags: true}},
		{"history", pull.Options{Event: pulltest.LastEvent, Since: 100}},
		{"short history", pull.Options{Event: pulltest.LastEvent, Since: 400}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _, _ := pulltest.ModularProduction(t)
			o := test.o
			o.Tags = everything
			whole := pullInto(t, c, pulltest.NewStore(t), o)
			asked := [][]string{{"f42*"}, {"f4?-build", "!f41*"}, {"f42-compose", "f43-build"}}
			for _, tag := range whole.Manifest.Scope.Tags {
				asked = append(asked, []string{tag})
			}
			for _, tag := range whole.Manifest.Scope.All {
				if !slices.Contains(whole.Manifest.Scope.Tags, tag.Name) {
					asked = append(asked, []string{tag.Name})
				}
			}
			for i, tags := range asked {
				if test.name != "view" && i%4 != 0 || !seedtest.Long() && i > 2 && i%3 != 0 {
					continue // of each kind some
				}
				t.Run(fmt.Sprint(tags), func(t *testing.T) {
					got, err := narrow.To(t.Context(), whole, tags)
					if err != nil {
						t.Fatal(err)
					}
					o := test.o
					o.Tags = tags
					want := pullInto(t, c, pulltest.NewStore(t), o)
					same(t, got, want)
					var ids []int64
					for _, tag := range want.Manifest.Scope.All {
						ids = append(ids, tag.ID)
					}
					again, err := narrow.ToIDs(t.Context(), whole, ids)
					if err != nil {
						t.Fatal(err)
					}
					again.Manifest.Scope.Tags, again.Manifest.Scope.Asked, again.Manifest.Scope.Content = want.Manifest.Scope.Tags, want.Manifest.Scope.Asked, want.Manifest.Scope.Content
					same(t, again, want)
				})
			}
		})
	}
}

// TestNarrowChanges: a hub changes at random and is pulled repeatedly, with all tags and with some. After
// each pull the narrowed snapshot has exactly the rows of the other one, and so have the changes since the
// one before.
func TestNarrowChanges(t *testing.T) {
	for _, since := range []int64{0, 1} {
		t.Run(fmt.Sprint("since ", since), func(t *testing.T) {
			rows, err := generate.Hub(generate.Options{Seed: 11, Builds: 60, Outside: 1})
			if err != nil {
				t.Fatal(err)
			}
			c := pulltest.Client(t, hubtest.New(rows, hubtest.Options{}))
			m, err := generate.NewMutator(rows, generate.MutatorOptions{Seed: 5, Tags: []string{"f42", "f41", "f42-compose", "f42-updates"}})
			if err != nil {
				t.Fatal(err)
			}
			union, alone := pulltest.NewStore(t), pulltest.NewStore(t)
			var before, beforeAlone *snapfile.Snapshot
			for round := range 6 {
				event := lastEvent(t, rows)
				o := pull.Options{Event: event, Sweep: 1, Tags: []string{"f42-compose", "f42-updates", "f41"}}
				if since > 0 {
					o.Since = event - 40*int64(round+1)
				}
				whole := pullInto(t, c, union, o)
				for _, tag := range []string{"f42-compose", "f41"} {
					got, err := narrow.To(t.Context(), whole, []string{tag})
					if err != nil {
						t.Fatal(err)
					}
					if tag == "f41" {
						o.Tags = []string{tag}
						want := pullInto(t, c, alone, o)
						same(t, got, want)
						if before != nil {
							sameChanges(t, got, before, want, beforeAlone)
						}
						before, beforeAlone = got, want
					}
				}
				for range 30 {
					if _, err := m.Step(); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// sameChanges requires that two pairs of snapshots have the same differences.
func sameChanges(t *testing.T, got, gotBase, want, wantBase *snapfile.Snapshot) {
	t.Helper()
	a, err := repository.Diff(t.Context(), gotBase, got, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := repository.Diff(t.Context(), wantBase, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	events := func(d repository.RelationDiff) bool { return d.Relation == "events" } // see ofLeftBuilds
	a.Relations, b.Relations = slices.DeleteFunc(a.Relations, events), slices.DeleteFunc(b.Relations, events)
	if !slices.Equal(a.Relations, b.Relations) {
		t.Errorf("changed %v, want %v", a.Relations, b.Relations)
	}
	for _, d := range b.Relations {
		if n := count(t, got.Changed(t.Context(), gotBase, d.Relation)); n != int(d.Added+d.Changed) {
			t.Errorf("%s: %d rows changed, want %d", d.Relation, n, d.Added+d.Changed)
		}
		if n := count(t, got.Gone(t.Context(), gotBase, d.Relation)); n != int(d.Removed) {
			t.Errorf("%s: %d rows gone, want %d", d.Relation, n, d.Removed)
		}
	}
}

func count(t *testing.T, c *snapfile.Changes) (n int) {
	t.Helper()
	defer c.Close()
	for c.Next() {
		n++
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNarrowUnknown: the error names what a snapshot does not have, and what it has. Nothing is dropped
// silently.
func TestNarrowUnknown(t *testing.T) {
	c, _, _ := pulltest.ModularProduction(t)
	snap := pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, "f42-compose")
	for _, tags := range [][]string{{"f42-compos"}, {"f42-compose", "none"}, {"x*"}, {"f42-compose", "!f42-compose"}, {"*", "!*"}} {
		var unknown *narrow.UnknownError
		if _, err := narrow.To(t.Context(), snap, tags); !errors.As(err, &unknown) || len(unknown.Tags) == 0 {
			t.Errorf("%q: %v", tags, err)
		}
	}
	if got, err := narrow.To(t.Context(), snap, nil); err != nil || got != snap {
		t.Errorf("without tags: %v, %v", got, err)
	}
}

func lastEvent(t *testing.T, rows *hubtest.Memory) int64 {
	t.Helper()
	all, err := rows.Select("events", hubtest.Values{})
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for _, row := range all {
		id, err := strconv.ParseInt(fmt.Sprint(row["id"]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		last = max(last, id)
	}
	return last
}
