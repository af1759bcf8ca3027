package dbsync_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// What most tests begin with is made once: production's rows, a first snapshot of them, a database into which that was loaded.

// cloneRows copies rows as far as tests change them.
func cloneRows(of map[string][]row) map[string][]row {
	rows := make(map[string][]row, len(of))
	for name, list := range of {
		rows[name] = make([]row, len(list))
		for i, r := range list {
			rows[name][i] = maps.Clone(r)
		}
	}
	return rows
}

var kojiprodOnce struct {
	sync.Mutex
	rows map[string][]row
}

// kojiprodRows reads the rows of package kojiprod once. They are not to be changed.
func kojiprodRows(t testing.TB) map[string][]row {
	kojiprodOnce.Lock()
	defer kojiprodOnce.Unlock()
	if kojiprodOnce.rows != nil {
		return kojiprodOnce.rows
	}
	all := map[string][]row{}
	for _, r := range relation.All() {
		body, err := fs.ReadFile(kojiprod.Rows(), r.Name+".tsv")
		if err != nil {
			continue // a table without rows
		}
		sc := bufio.NewScanner(bytes.NewReader(body))
		sc.Buffer(nil, 16<<20)
		var head []string
		for sc.Scan() {
			fields, err := snapfile.ParseLine(slices.Clone(sc.Bytes()), nil)
			if err != nil {
				t.Fatal(err)
			}
			if head == nil {
				for _, f := range fields {
					head = append(head, string(f))
				}
				continue
			}
			line := row{}
			for i, f := range fields {
				if f != nil {
					line[head[i]] = str(string(f))
				}
			}
			all[r.Name] = append(all[r.Name], line)
		}
	}
	kojiprodOnce.rows = all
	return all
}

// written is a store with one snapshot.
type written struct {
	id      string
	objects map[string][]byte
}

var firstOnce struct {
	sync.Mutex
	of map[string]written // by what the snapshot holds
}

// firstSnapshot is a new production and a first snapshot of it, which is written once.
func firstSnapshot(t testing.TB, sh shot) (*production, *snapfile.Snapshot) {
	t.Helper()
	w := newProduction(t)
	firstOnce.Lock()
	defer firstOnce.Unlock()
	if first, ok := firstOnce.of[fmt.Sprint(sh)]; ok {
		w.store.objects, w.parent = maps.Clone(first.objects), cmp.Or(sh.event, w.last())
		return w, w.opened(context.Background(), first.id)
	}
	snap := w.snapshot(sh)
	if firstOnce.of == nil {
		firstOnce.of = map[string]written{}
	}
	firstOnce.of[fmt.Sprint(sh)] = written{snap.ID, maps.Clone(w.store.objects)}
	return w, snap
}

// newLoaded is a new production, and a staging as newStaging makes it into which a first snapshot of that was
// loaded. That is done once for all tests with the same statements; each gets a copy of the database.
func newLoaded(t testing.TB, before ...string) (*production, *staging) {
	t.Helper()
	w, s, _ := newLoadedOf(t, shot{}, before...)
	return w, s
}

// newLoadedOf is newLoaded with a snapshot that holds less or more.
func newLoadedOf(t testing.TB, sh shot, before ...string) (*production, *staging, *snapfile.Snapshot) {
	t.Helper()
	w, snap := firstSnapshot(t, sh)
	return w, loadedWith(t, snap, before...), snap
}

// loadedWith is a staging as newStaging makes it into which a snapshot was loaded, once for all tests with the same
// snapshot and statements.
func loadedWith(t testing.TB, snap *snapfile.Snapshot, before ...string) *staging {
	t.Helper()
	s := stagingLike(t, "loaded"+snap.ID, before, func(s *staging) { s.load(snap, dbsync.LoadOptions{}) })
	s.loaded, s.loads = map[string]*snapfile.Snapshot{snap.ID: snap}, 1
	return s
}

// templateEvents has the field events of the staging that each template was made with.
var templateEvents sync.Map

// stagingLike makes a copy of a staging that is made once for a kind and the statements that run before it is marked.
func stagingLike(t testing.TB, kind string, before []string, fill func(*staging)) *staging {
	t.Helper()
	kind = fmt.Sprintf("staging%x", crc32.ChecksumIEEE([]byte(kind+";"+strings.Join(before, ";"))))
	dsn := dbtest.Template(t, kind, func(dsn string) error {
		s := stagingOn(t, dsn, before...)
		templateEvents.Store(kind, s.events)
		fill(s)
		return s.conn.Close(context.Background()) // else there can be no copies
	})
	s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
	s.exec("UPDATE kojisnap.mark SET (database, oid) = (SELECT datname, oid FROM pg_database WHERE datname = current_database())")
	events, _ := templateEvents.Load(kind)
	s.events = events.(string)
	return s
}
