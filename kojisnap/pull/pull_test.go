package pull_test

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// TestPullRows compares snapshots, row by row and byte by byte, with the database: the expected rows are
// computed only from its tables.
func TestPullRows(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	everything := []string{}
	for _, r := range readTSV(t, "tag_config") {
		if r["active"] == "t" {
			for _, tag := range readTSV(t, "tag") {
				if tag["id"] == r["tag_id"] {
					everything = append(everything, tag["name"])
				}
			}
		}
	}
	for _, test := range []struct {
		event int64
		tags  []string
	}{
		{pulltest.LastEvent, []string{"f42-compose"}},
		{pulltest.LastEvent, []string{"f43-build", "f42-infra"}},
		{pulltest.LastEvent, everything},
		{390, []string{"f42-compose"}},
		{300, []string{"f42-build"}},
	} {
		t.Run(fmt.Sprint(test.event, " ", strings.Join(test.tags[:min(2, len(test.tags))], " ")), func(t *testing.T) {
			snap := pulltest.Pull(t, c, pulltest.NewStore(t), test.event, test.tags...)
			holdsRows(t, snap, expected(t, test.event, test.tags))
		})
	}
}

// holdsRows compares the rows of a snapshot with the expected ones.
func holdsRows(t *testing.T, snap *snapfile.Snapshot, want map[string][]string) {
	t.Helper()
	for _, rel := range relation.All() {
		got := pulltest.SnapshotRows(t, snap, rel.Name)
		missing, extra := difference(want[rel.Name], got), difference(got, want[rel.Name])
		if len(missing)+len(extra) > 0 {
			t.Errorf("%s: of %d rows missing:\n%s\nextra:\n%s", rel.Name, len(want[rel.Name]),
				strings.Join(missing[:min(3, len(missing))], "\n"), strings.Join(extra[:min(3, len(extra))], "\n"))
		}
	}
	if len(want["rpminfo"]) == 0 || len(want["tag_listing"]) == 0 {
		t.Error("the test compares nothing")
	}
}

func difference(a, b []string) []string {
	in := map[string]bool{}
	for _, s := range b {
		in[s] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return in[s] })
}

type tsvRow map[string]string // COPY text, escapes kept

func readTSV(t testing.TB, table string) []tsvRow {
	t.Helper()
	f, err := kojiprod.Rows().Open(table + ".tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []tsvRow
	var header []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Split(sc.Text(), "\t")
		if header == nil {
			header = fields
			continue
		}
		row := tsvRow{}
		for i, h := range header {
			row[h] = fields[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// expected computes the rows of a snapshot from the tables, by repeating each closure until it adds nothing.
// named are ids of builds asked for besides the tags.
func expected(t testing.TB, event int64, tags []string, named ...string) map[string][]string {
	t.Helper()
	tables := map[string][]tsvRow{}
	for _, rel := range relation.All() {
		tables[rel.Name] = readTSV(t, rel.Name)
	}
	scope := map[string]bool{}
	for _, tag := range tables["tag"] {
		if slices.Contains(tags, tag["name"]) {
			scope[tag["id"]] = true
		}
	}
	inView := func(r tsvRow) bool {
		return number(r["create_event"]) <= event && (r["revoke_event"] == `\N` || number(r["revoke_event"]) > event)
	}
	for n := 0; n != len(scope); {
		n = len(scope)
		for _, l := range tables["tag_inheritance"] {
			if inView(l) && scope[l["tag_id"]] {
				scope[l["parent_id"]] = true
			}
		}
	}
	chosen := map[string]map[int]bool{} // row numbers by table
	pick := func(table string, when func(tsvRow) bool) {
		if chosen[table] == nil {
			chosen[table] = map[int]bool{}
		}
		for i, r := range tables[table] {
			if when(r) {
				chosen[table][i] = true
			}
		}
	}
	column := func(table, name string) map[string]bool {
		values := map[string]bool{}
		for i := range chosen[table] {
			if v := tables[table][i][name]; v != `\N` {
				values[v] = true
			}
		}
		return values
	}
	all := func(tsvRow) bool { return true }
	in := func(name string, set map[string]bool) func(tsvRow) bool {
		return func(r tsvRow) bool { return set[r[name]] }
	}
	for _, rel := range relation.All() {
		if rel.Versioned && rel.Index("tag_id") >= 0 {
			pick(rel.Name, func(r tsvRow) bool { return inView(r) && scope[r["tag_id"]] })
		}
	}
	pick("build_target_config", func(r tsvRow) bool { return inView(r) && (scope[r["build_tag"]] || scope[r["dest_tag"]]) })
	// Tagged builds with all rows; the components of their archives, with the components' builds.
	builds := column("tag_listing", "build_id")
	for _, id := range named {
		builds[id] = true
	}
	pick("build", in("id", builds))
	pick("rpminfo", in("build_id", builds))
	pick("rpmsigs", in("rpm_id", column("rpminfo", "id")))
	pick("archiveinfo", in("build_id", builds))
	archives := column("archiveinfo", "id")
	pick("archive_rpm_components", in("archive_id", archives))
	pick("archive_components", in("archive_id", archives))
	pick("rpminfo", in("id", column("archive_rpm_components", "rpm_id")))
	pick("archiveinfo", in("id", column("archive_components", "component_id")))
	pick("build", in("id", column("rpminfo", "build_id")))
	pick("build", in("id", column("archiveinfo", "build_id")))
	for _, name := range []string{"build_types", "maven_builds", "win_builds", "image_builds"} {
		pick(name, in("build_id", column("build", "id")))
	}
	for _, name := range []string{"maven_archives", "win_archives", "image_archives"} {
		pick(name, in("archive_id", column("archiveinfo", "id")))
	}
	for _, name := range []string{"btype", "archivetypes", "permissions", "channels", "volume"} {
		pick(name, all)
	}
	pick("external_repo_config", func(r tsvRow) bool {
		used := column("tag_external_repos", "external_repo_id")
		maps.Copy(used, column("rpminfo", "external_repo_id"))
		return inView(r) && used[r["external_repo_id"]]
	})
	// The names that rows refer to.
	for _, rel := range slices.Backward(relation.All()) {
		for _, c := range rel.Columns {
			if c.Ref != "" && chosen[rel.Name] != nil {
				values := column(rel.Name, c.Name)
				if c.Name == "revoke_event" || c.Name == "revoker_id" {
					continue // NULL in the view
				}
				pick(c.Ref, in("id", values))
			}
		}
	}
	pick("events", func(r tsvRow) bool { return r["id"] == fmt.Sprint(event) })
	want := map[string][]string{}
	for _, rel := range relation.All() {
		for i := range chosen[rel.Name] {
			r := maps.Clone(tables[rel.Name][i])
			if rel.Versioned {
				r["revoke_event"], r["revoker_id"], r["active"] = `\N`, `\N`, "t"
			}
			var fields []string
			for _, c := range rel.Columns {
				fields = append(fields, r[c.Name])
			}
			want[rel.Name] = append(want[rel.Name], strings.Join(fields, "\t"))
		}
		slices.Sort(want[rel.Name])
	}
	return want
}
