package dbsync_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// lacking are methods, and arguments of methods, that hubs before a release do not know.
var lacking = []struct {
	release          relation.Release
	method, argument string
}{
	{23, "getKojiVersion", ""}, {32, "getRPMChecksums", ""},
	{35, "tagFirstChangeEvent", ""}, {35, "tagLastChangeEvent", ""}, {35, "repo.query", ""}, {35, "repo.get", ""},
	{26, "listChannels", "enabled"}, {27, "listBuilds", "cgID"}, {29, "listTagged", "extra"}, {29, "listTaggedRPMS", "extra"},
	{34, "listBuilds", "draft"}, {34, "listRPMs", "draft"}, {34, "listTagged", "draft"}, {34, "listTaggedRPMS", "draft"},
	{36, "listBuilds", "promotedAfter"}, {36, "listBuilds", "promotedBefore"},
}

// serveRelease serves a production database as a hub of that release would, as far as a pull can
// see.
func serveRelease(t *testing.T, dsn string, release relation.Release) *hub.Client {
	t.Helper()
	src, err := hubtest.PostgreSQL(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(src.Close)
	h := hubtest.New(src, hubtest.Options{KojiVersion: fmt.Sprintf("1.%d.0", release), Released: release < 36, Fault: func(method string, args []any) *hubtest.Fault {
		for _, l := range lacking {
			switch {
			case l.release <= release || l.method != method:
			case l.argument == "":
				return &hubtest.Fault{Code: 1000, Text: "Invalid method: " + method}
			case len(args) > 0:
				if named, ok := args[len(args)-1].(*hubtest.Struct); ok {
					if _, given := named.Get(l.argument); given {
						return &hubtest.Fault{Code: 1019, Text: method + "() got an unexpected keyword argument '" + l.argument + "'"}
					}
				}
			}
		}
		return nil
	}})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if release < 35 {
			w = silent{w}
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// silent does not tell the hub's version.
type silent struct{ http.ResponseWriter }

func (s silent) Write(b []byte) (int, error) {
	s.Header().Del("Koji-Version")
	return s.ResponseWriter.Write(b)
}

func (s silent) WriteHeader(code int) {
	s.Header().Del("Koji-Version")
	s.ResponseWriter.WriteHeader(code)
}

// viewOf reads all rows of a snapshot.
func viewOf(t *testing.T, snap *snapfile.Snapshot) map[string][]row {
	t.Helper()
	view := map[string][]row{}
	for _, r := range relation.All() {
		rows := snap.Rows(t.Context(), r.Name)
		defer rows.Close()
		var fields [][]byte
		var err error
		for rows.Next() {
			if fields, err = rows.Fields(fields); err != nil {
				t.Fatal(err)
			}
			x := row{}
			for i, f := range fields {
				if f != nil {
					x[r.Columns[i].Name] = str(string(f))
				}
			}
			view[r.Name] = append(view[r.Name], x)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return view
}

// TestOldHubs pulls from hubs of all ages, of whose databases each has its release's tables, and
// loads what comes into databases of all ages. The hub is upgraded, and pulled from and loaded again.
func TestOldHubs(t *testing.T) {
	t.Parallel()
	releases := []relation.Release{21, 25, 29, 33, 34}
	for i, release := range seedtest.Some(releases, 3) { // what 25 and 33 lack 21 and 29 lack, too
		t.Run("production=1."+fmt.Sprint(int(release)), func(t *testing.T) {
			t.Parallel()
			w := newProduction(t).as(release)
			dsn := dbtest.ProductionOf(t, int(release))
			tags := []string{"f41", "f42-compose", "f42-build", "f42-candidate", "f42-updates-testing", "f43-build", "f42-frozen", "f42-modular"}
			store, err := dir.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			pull := func(c *hub.Client) *snapfile.Snapshot {
				t.Helper()
				r, err := pull.Pull(t.Context(), c, store, pull.Options{Tags: tags, Event: w.last(), Program: "test"})
				if err != nil {
					t.Fatal(err)
				}
				snap, err := repository.Open(t.Context(), store, r.Snapshot)
				if err != nil {
					t.Fatal(err)
				}
				return snap
			}
			snap := pull(serveRelease(t, dsn, release))
			if want := max(release, 22); !strings.HasPrefix(snap.Manifest.KojiVersion, want.String()) {
				t.Errorf("the hub's version is %s", snap.Manifest.KojiVersion)
			}
			view := viewOf(t, snap)
			holds(t, w, view)
			if len(view["build"]) < 40 || len(view["archivetypes"]) < 70 {
				t.Errorf("%d builds, %d types of archives", len(view["build"]), len(view["archivetypes"]))
			}
			tables := []relation.Release{21, 37}
			if !seedtest.Long() && release > 21 { // TestGenerations has the pairs
				tables = tables[i%2 : i%2+1]
			}
			var stagings []*staging
			for _, tables := range tables {
				s := stagingOn(t, dbtest.Release(t, int(tables)), admin)
				before := s.own()
				s.load(snap, dbsync.LoadOptions{})
				s.checkView(fitted(view, tables), tables)
				same(t, before, s.own())
				stagings = append(stagings, s)
			}
			if release > 21 && !seedtest.Long() {
				return // the oldest is upgraded
			}
			dbtest.Exec(t, dsn, dbtest.Upgrade(int(release), 37))
			w.event()
			dbtest.Exec(t, dsn, fmt.Sprintf("INSERT INTO events VALUES (%d, '%s')", w.last(), w.find("events", "id", w.last()).get("time")))
			snap = pull(serveRelease(t, dsn, 37))
			first := w.find("events", "id", snap.Manifest.Event-1) // the E of the first load stays
			view = viewOf(t, snap)
			if !slices.ContainsFunc(view["events"], func(r row) bool { return r.get("id") == first.get("id") }) {
				view["events"] = append(view["events"], first)
			}
			for i, tables := range tables {
				stagings[i].load(snap, dbsync.LoadOptions{HubMoved: snap.Manifest.Hub}) // the same production, served anew
				stagings[i].checkView(fitted(view, tables), tables)
			}
		})
	}
}

// fitted is what a Koji 1.release can hold of a snapshot's rows.
func fitted(view map[string][]row, release relation.Release) map[string][]row {
	c := (&production{rows: view}).clone()
	c.cut(release)
	return c.rows
}

// holds makes sure that every row of a snapshot is one of production's, column by column, and that
// those of the small relations are all there.
func holds(t *testing.T, w *production, view map[string][]row) {
	t.Helper()
	for _, r := range relation.All() {
		text := func(x row) string {
			var b strings.Builder
			for _, c := range r.Columns {
				if !c.External && (!r.Versioned || c.Name != "active" && c.Name != "revoke_event" && c.Name != "revoker_id") {
					fmt.Fprintf(&b, "%s=%q ", c.Name, x.get(c.Name))
				}
			}
			return b.String()
		}
		all := map[string]bool{}
		for _, x := range w.rows[r.Name] {
			all[text(x)] = true
		}
		for _, x := range view[r.Name] {
			if !all[text(x)] {
				t.Errorf("%s: not production's: %s", r.Name, text(x))
			}
		}
		if slices.Contains([]string{"permissions", "channels", "archivetypes", "btype", "volume"}, r.Name) && len(view[r.Name]) != len(all) {
			t.Errorf("%s: %d rows, production has %d", r.Name, len(view[r.Name]), len(all))
		}
	}
}
