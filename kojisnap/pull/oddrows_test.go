package pull_test

import (
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// rowsByRelation are the fields of a snapshot's rows as COPY text.
type rowsByRelation map[string][][]string

func allRows(t testing.TB, snap *snapfile.Snapshot) rowsByRelation {
	t.Helper()
	all := rowsByRelation{}
	for _, rel := range relation.All() {
		for _, line := range pulltest.SnapshotRows(t, snap, rel.Name) {
			all[rel.Name] = append(all[rel.Name], strings.Split(line, "\t"))
		}
	}
	return all
}

// oddTags are the tags to pull from hubs with odd rows: they have groups, external repos, targets, modules,
// images and maven archives.
var oddTags = []string{"f42-build", "f42-candidate", "f42-compose", "f42-infra"}

// without returns the rows that do not depend on those of gone, which has ids by relation.
func (all rowsByRelation) without(gone map[string][]string) rowsByRelation {
	out := map[string]map[string]bool{}
	for name, ids := range gone {
		out[name] = map[string]bool{}
		for _, id := range ids {
			out[name][id] = true
		}
	}
	left := rowsByRelation{}
	for _, rel := range relation.All() {
		for _, row := range all[rel.Name] {
			drop := rel.Key[0] == "id" && out[rel.Name][row[0]]
			for i, c := range rel.Columns {
				drop = drop || c.Ref != "" && out[c.Ref][row[i]]
			}
			if !drop {
				left[rel.Name] = append(left[rel.Name], row)
				continue
			}
			if rel.Key[0] == "id" {
				if out[rel.Name] == nil {
					out[rel.Name] = map[string]bool{}
				}
				out[rel.Name][row[0]] = true
			}
		}
	}
	return left
}

// comeAlong are the relations whose rows are there only because others refer to them: extra rows do no harm.
var comeAlong = []string{"events", "users", "package", "tag", "build_target", "external_repo", "groups", "content_generator"}

// joined returns rows as lines.
func joined(rows [][]string) (lines []string) {
	for _, r := range rows {
		lines = append(lines, strings.Join(r, "\t"))
	}
	return lines
}

// hold compares the rows of a snapshot with the expected ones.
func (want rowsByRelation) hold(t *testing.T, got rowsByRelation) {
	t.Helper()
	for _, rel := range relation.All() {
		missing, extra := difference(joined(want[rel.Name]), joined(got[rel.Name])), difference(joined(got[rel.Name]), joined(want[rel.Name]))
		if slices.Contains(comeAlong, rel.Name) {
			missing, extra = nil, nil
		}
		if len(missing)+len(extra) > 0 {
			t.Errorf("%s: of %d rows missing:\n%.600s\nextra:\n%.600s", rel.Name, len(want[rel.Name]), strings.Join(missing, "\n"), strings.Join(extra, "\n"))
		}
	}
	// It can be restored alone.
	have := map[string]map[string]bool{}
	for _, rel := range relation.All() {
		have[rel.Name] = map[string]bool{}
		for _, row := range got[rel.Name] {
			have[rel.Name][row[0]] = true
			for i, c := range rel.Columns {
				if c.Ref != "" && row[i] != `\N` && c.Ref != rel.Name && !have[c.Ref][row[i]] {
					t.Errorf("%s %s refers to %s %s, which is not there", rel.Name, row[0], c.Ref, row[i])
				}
			}
		}
	}
}

// set changes one field of the rows with a value in a column.
func (all rowsByRelation) set(name, where, value, column, to string) rowsByRelation {
	rel := relation.Get(name)
	changed := rowsByRelation{}
	for n, rows := range all {
		changed[n] = rows
	}
	changed[name] = nil
	for _, row := range all[name] {
		if row[rel.Index(where)] == value {
			row = slices.Clone(row)
			row[rel.Index(column)] = to
		}
		changed[name] = append(changed[name], row)
	}
	return changed
}

// drop removes the rows with a value in a column.
func (all rowsByRelation) drop(name, where, value string) rowsByRelation {
	rel := relation.Get(name)
	changed := rowsByRelation{}
	for n, rows := range all {
		changed[n] = rows
	}
	changed[name] = slices.DeleteFunc(slices.Clone(all[name]), func(row []string) bool { return row[rel.Index(where)] == value })
	return changed
}

// first returns a column of the first row whose other column has a value; "" is any.
func (all rowsByRelation) first(t testing.TB, name, where, value, column string) string {
	t.Helper()
	rel := relation.Get(name)
	for _, row := range all[name] {
		if value == "" || row[rel.Index(where)] == value {
			return row[rel.Index(column)]
		}
	}
	t.Fatalf("no %s with %s=%s", name, where, value)
	return ""
}

// with returns the rows with a value in a column.
func (all rowsByRelation) with(name, where, value string) (found [][]string) {
	for _, row := range all[name] {
		if row[relation.Get(name).Index(where)] == value {
			found = append(found, row)
		}
	}
	return found
}

// plainBuilds returns the tagged builds that have rpms, no archives and a package of their own, and are on the first
// volume.
func (all rowsByRelation) plainBuilds(t testing.TB) (ids []string) {
	t.Helper()
	rel := relation.Get("build")
	for _, row := range all["build"] {
		id, pkg := row[0], row[rel.Index("pkg_id")]
		if row[rel.Index("volume_id")] == "0" && len(all.with("build", "pkg_id", pkg)) == 1 && len(all.with("rpminfo", "build_id", id)) > 0 &&
			len(all.with("archiveinfo", "build_id", id)) == 0 && len(all.with("tag_listing", "build_id", id)) > 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) < 25 {
		t.Fatalf("only %d builds", len(ids))
	}
	return ids
}
