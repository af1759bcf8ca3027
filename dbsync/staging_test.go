package dbsync_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// staging is a staging database under test.
type staging struct {
	t    testing.TB
	dsn  string
	conn *pgx.Conn

	events string // the last event that staging, not a load, made
	loaded map[string]*snapfile.Snapshot
	loads  int
	open   func(context.Context, string) (*snapfile.Snapshot, error) // instead of base, if set
}

// newStaging makes a fresh one, runs statements before it is marked, and marks it.
func newStaging(t testing.TB, before ...string) *staging {
	t.Helper()
	return stagingLike(t, "marked", before, func(*staging) {})
}

// stagingOn is newStaging with a database that is there.
func stagingOn(t testing.TB, dsn string, before ...string) *staging {
	t.Helper()
	s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn), events: "0"}
	for _, sql := range before {
		s.exec(sql)
	}
	if _, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "stg"}); err != nil {
		t.Fatal(err)
	}
	s.events = s.one("SELECT coalesce(max(id), 0) FROM events")
	return s
}

func (s *staging) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	s.events = s.one("SELECT coalesce(max(id), 0) FROM events")
}

func (s *staging) one(sql string, args ...any) string {
	s.t.Helper()
	var v any
	if err := s.conn.QueryRow(s.t.Context(), sql, args...).Scan(&v); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return fmt.Sprint(v)
}

// base opens a snapshot that was loaded.
func (s *staging) base(_ context.Context, id string) (*snapfile.Snapshot, error) {
	if snap := s.loaded[id]; snap != nil {
		return snap, nil
	}
	return nil, fs.ErrNotExist
}

// load loads a snapshot by what changed since the one before. An audit must find nothing then
// that it would change; in the short form only the second load is audited, in every third test.
func (s *staging) load(snap *snapfile.Snapshot, opt dbsync.LoadOptions) *book.LoadReport {
	s.t.Helper()
	opt.Base = s.base
	if s.open != nil {
		opt.Base = s.open
	}
	rep, err := dbsync.Load(s.t.Context(), s.conn, snap, opt)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, bench := s.t.(*testing.B); bench || opt.DryRun {
		return rep
	}
	if s.loaded == nil {
		s.loaded = map[string]*snapfile.Snapshot{}
	}
	s.loaded[snap.ID] = snap
	s.loads++
	if !seedtest.Long() && (s.loads != 2 || crc32.ChecksumIEEE([]byte(s.t.Name()))%3 != 0) {
		return rep // an audit takes as long as the load
	}
	opt.Audit, opt.DryRun, opt.Progress = true, true, nil
	audit, err := dbsync.Load(s.t.Context(), s.conn, snap, opt)
	if err != nil {
		s.t.Fatalf("audit: %v", err)
	}
	if audit.Changed() {
		s.t.Errorf("an audit after the load (base %q) changes %+v", rep.Base, audit.Relations)
	}
	return rep
}

// dump gives a query's rows as COPY text, sorted.
func (s *staging) dump(query string) []string {
	s.t.Helper()
	var b bytes.Buffer
	if _, err := s.conn.PgConn().CopyTo(context.Background(), &b, "COPY ("+query+") TO STDOUT"); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	sort.Strings(lines)
	return lines
}

// whole gives all tables of Koji and kojisnap, but for the list of runs, where failures are too.
func (s *staging) whole() map[string][]string {
	s.t.Helper()
	out := map[string][]string{}
	for _, t := range s.dump(`SELECT c.oid::regclass FROM pg_class c WHERE relkind = 'r' AND relnamespace IN (to_regnamespace('public'), to_regnamespace('kojisnap'))`) {
		if t != "kojisnap.run" {
			out[t] = s.dump("SELECT * FROM " + t)
		}
	}
	return out
}

// own gives staging's rows: those of tables that no snapshot has, and of the others those at
// or above the floor, less what loads take for touching.
func (s *staging) own() map[string][]string {
	s.t.Helper()
	out := map[string][]string{}
	for _, t := range s.dump(`SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`) {
		r := relation.Get(t)
		where := "true"
		switch {
		case t == "tag_updates":
			where = "updater_id <> (SELECT user_id FROM kojisnap.mark)"
		case t == "events":
			where = fmt.Sprintf("id >= %d AND id <= "+s.events+" AND NOT EXISTS (SELECT FROM tag_updates u WHERE u.update_event = t.id AND updater_id = (SELECT user_id FROM kojisnap.mark))", book.DefaultFloor)
		case r == nil:
		case r.Name == "volume":
			where = "id = 0"
		case r.Named():
			where = fmt.Sprintf(`(id >= %d AND NOT EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = '%s' AND i.staging_id = t.id AND i.made)
				OR EXISTS (SELECT FROM kojisnap.seed d WHERE d.relation = '%[2]s' AND d.id = t.id))`, book.DefaultFloor, t)
		case r.Columns[0].Name == "id":
			where = fmt.Sprintf("id >= %d", book.DefaultFloor)
		case r.Versioned:
			where = fmt.Sprintf("create_event >= %d AND creator_id <> (SELECT user_id FROM kojisnap.mark)", book.DefaultFloor)
		default:
			where = fmt.Sprintf("%s >= %d", r.Columns[0].Name, book.DefaultFloor)
		}
		if rows := s.dump("SELECT * FROM " + t + " t WHERE " + where); len(rows) > 0 && rows[0] != "" {
			out[t] = rows
		}
	}
	return out
}

// check compares all of production's rows in the database with the view of w.
func (s *staging) check(w *production, sh shot) {
	s.t.Helper()
	if sh.event == 0 {
		sh.event = w.last()
	}
	s.checkView(w.view(sh), dbtest.NewestRelease)
}

// checkView compares the columns that a Koji 1.release has, ids mapped as kojisnap.idmap says.
// Volumes are not compared.
func (s *staging) checkView(view map[string][]row, release relation.Release) {
	s.t.Helper()
	idmap, mine := map[string]string{}, map[string]bool{}
	for _, l := range s.dump("SELECT relation, prod_id, staging_id, made FROM kojisnap.idmap") {
		if f := strings.Split(l, "\t"); len(f) == 4 {
			idmap[f[0]+" "+f[1]] = f[2]
			mine[f[0]+" "+f[1]] = f[3] == "f"
		}
	}
	for _, r := range relation.All() {
		if r.Name == "volume" {
			continue
		}
		columns := slices.DeleteFunc(slices.Clone(r.Columns), func(c relation.Column) bool { return c.Name == "volume_id" || c.Since > release })
		var want []string
		for _, x := range view[r.Name] {
			if mine[r.Name+" "+x.get("id")] {
				continue // the row is staging's own
			}
			var f []string
			for _, c := range columns {
				v := `\N`
				if x[c.Name] != nil && !c.External {
					v = *x[c.Name]
				}
				ref := reference(r, c, x)
				if c.Name == "id" {
					ref = r.Name
				}
				if m, ok := idmap[ref+" "+v]; ok {
					v = m
				}
				f = append(f, string(bytes.TrimSuffix(snapfile.AppendLine(nil, [][]byte{[]byte(v)}), []byte("\n"))))
				if v == `\N` {
					f[len(f)-1] = v
				}
			}
			want = append(want, strings.Join(f, "\t"))
		}
		var cols []string
		for _, c := range columns {
			name := `"` + c.Name + `"`
			if c.Type == relation.Time { // before Koji 1.22 in the zone of the database
				name = "(" + name + "::timestamptz AT TIME ZONE 'UTC')::text || '+00'"
			}
			cols = append(cols, name)
		}
		where := "true"
		switch {
		case r.Named():
			where = fmt.Sprintf(`NOT EXISTS (SELECT FROM kojisnap.seed d WHERE d.relation = '%s' AND d.id = t.id)
				AND (id < %d OR EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = '%[1]s' AND i.staging_id = t.id AND i.made))`, r.Name, book.DefaultFloor)
		case r.Versioned:
			where = fmt.Sprintf("active AND create_event < %d", book.DefaultFloor)
		case r.Columns[0].Name == "id":
			where = fmt.Sprintf("id < %d", book.DefaultFloor)
		default:
			where = fmt.Sprintf("%s < %d", r.Columns[0].Name, book.DefaultFloor)
		}
		got := s.dump("SELECT " + strings.Join(cols, ", ") + " FROM " + `"` + r.Name + `" t WHERE ` + where)
		if len(want) == 0 {
			want = []string{""}
		}
		sort.Strings(want)
		diff(s.t, r.Name, want, got)
	}
}

// reference names the relation whose id a column of a row holds, or "": also where Koji's code alone
// knows, as with the owner of a side tag.
func reference(r *relation.Relation, c relation.Column, x row) string {
	if r.Name == "tag_extra" && c.Name == "value" && x.get("key") == "sidetag_user_id" {
		return "users"
	}
	return c.Ref
}

// diff reports the lines that only one of two sorted lists has.
func diff(t testing.TB, what string, want, got []string) {
	t.Helper()
	count := map[string]int{}
	for _, l := range want {
		count[l]++
	}
	for _, l := range got {
		count[l]--
	}
	shown := 0
	for _, l := range append(slices.Clone(want), got...) {
		if n := count[l]; n != 0 && shown < 8 {
			count[l] = 0
			shown++
			t.Errorf("%s: %+d %q", what, n, l)
		}
	}
}

func same(t testing.TB, want, got map[string][]string) {
	t.Helper()
	for k := range want {
		diff(t, k, want[k], got[k])
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: new: %q", k, got[k])
		}
	}
}

// counted returns the numbers that a report has of a relation, zeros if it does not mention it.
func counted(rep *book.LoadReport, name string) book.RelationReport {
	for _, r := range rep.Relations {
		if r.Relation == name {
			return r
		}
	}
	return book.RelationReport{Relation: name}
}
