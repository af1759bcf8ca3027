package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// copySite is production with its files, and a topdir.
type copySite struct {
	*oddHub
	prod, topdir string
	builds       []prodBuild // complete, on production's DEFAULT, with rpms, tagged
}

type prodBuild struct {
	id                     int
	name, version, release string
}

func (b prodBuild) nvr() string { return b.name + "-" + b.version + "-" + b.release }
func (b prodBuild) dir() string { return "packages/" + b.name + "/" + b.version + "/" + b.release }

func newCopySite(t *testing.T) *copySite {
	t.Helper()
	s := &copySite{oddHub: newOddHub(t), prod: t.TempDir(), topdir: t.TempDir()}
	if err := kojiprod.ExtractTree(s.prod); err != nil {
		t.Fatal(err)
	}
	rows, err := s.conn.Query(t.Context(), `SELECT DISTINCT b.id, p.name, b.version, b.release FROM build b JOIN package p ON p.id = b.pkg_id
		JOIN tag_listing l ON l.build_id = b.id AND l.active JOIN rpminfo r ON r.build_id = b.id JOIN rpmsigs s ON s.rpm_id = r.id
		WHERE b.state = 1 AND b.volume_id NOT IN (SELECT id FROM volume WHERE name = 'prod_archive01')
		AND (SELECT count(*) FROM build o WHERE o.pkg_id = b.pkg_id) = 1 ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var b prodBuild
		if err := rows.Scan(&b.id, &b.name, &b.version, &b.release); err != nil {
			t.Fatal(err)
		}
		s.builds = append(s.builds, b)
	}
	return s
}

func (s *copySite) copy(more ...string) []string {
	return append([]string{"copy", "--store", s.store, "--topdir", s.topdir, "--source", s.prod, "--writable-source", "--tag", "f42-compose", "--builds", "tagged"}, more...)
}

// set changes rows of production.
func (s *copySite) set(table string, where, values hubtest.Values) {
	s.t.Helper()
	if n, err := s.rows.Update(table, where, values); n == 0 || err != nil {
		s.t.Fatal(table, where, n, err)
	}
}

// staged are the builds on the copy volume.
func (s *copySite) staged() []string {
	s.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(s.topdir, "vol/staged/packages/*/*/*"))
	if err != nil {
		s.t.Fatal(err)
	}
	var builds []string
	for _, dir := range dirs {
		builds = append(builds, strings.TrimPrefix(dir, filepath.Join(s.topdir, "vol/staged")+"/"))
	}
	return builds
}

// TestCopyOddRows: production has rows of which a copy can make nothing, of all kinds at once. Their
// builds stay on the read-only volume, each is named once, and all else is copied, at every run; once
// they are mended they are copied, too.
func TestCopyOddRows(t *testing.T) {
	s := newCopySite(t)
	kojisnapOK(t, s.copy()...)
	all := s.staged()
	if len(s.builds) < 12 || len(all) < 20 {
		t.Fatalf("%d builds to choose from, %d copied", len(s.builds), len(all))
	}
	var names, gone []string // of what is named; directories of builds that are not copied
	next := 0
	take := func() prodBuild { next++; return s.builds[next-1] }
	rpm := func(b prodBuild) int {
		return ids(t, s.conn, "SELECT r.id FROM rpminfo r JOIN rpmsigs s ON s.rpm_id = r.id WHERE build_id = $1 ORDER BY 1", b.id)[0]
	}
	long := strings.Repeat("x", 256)
	for _, odd := range []struct {
		change func(b prodBuild)
		says   func(b prodBuild) string
	}{
		{func(b prodBuild) { s.set("build", hubtest.Values{"id": b.id}, hubtest.Values{"release": "1\n2"}) },
			func(b prodBuild) string { return fmt.Sprintf("build release %q", "1\n2") }},
		{func(b prodBuild) { s.set("build", hubtest.Values{"id": b.id}, hubtest.Values{"version": "a/b"}) },
			func(b prodBuild) string { return `build version "a/b"` }},
		{func(b prodBuild) { s.set("build", hubtest.Values{"id": b.id}, hubtest.Values{"release": long}) },
			func(b prodBuild) string { return "256 bytes are more than a file name can have" }},
		{func(b prodBuild) {
			s.set("package", hubtest.Values{"name": b.name}, hubtest.Values{"name": "odd\tname"})
		},
			func(b prodBuild) string { return fmt.Sprintf("package name %q", "odd\tname") }},
		{func(b prodBuild) { s.set("rpminfo", hubtest.Values{"id": rpm(b)}, hubtest.Values{"name": "odd/name"}) },
			func(b prodBuild) string { return b.nvr() + `": rpm "odd/name` }},
		{func(b prodBuild) { s.set("rpminfo", hubtest.Values{"id": rpm(b)}, hubtest.Values{"payloadhash": "zz"}) },
			func(b prodBuild) string { return b.nvr() + `": rpm ` }},
		{func(b prodBuild) { s.set("rpmsigs", hubtest.Values{"rpm_id": rpm(b)}, hubtest.Values{"sighash": ""}) },
			func(b prodBuild) string { return b.nvr() + `": rpm ` }},
		{func(b prodBuild) {
			r := rpm(b)
			key := "41526f0e"
			if n, _ := s.rows.Update("rpmsigs", hubtest.Values{"rpm_id": r, "sigkey": key}, hubtest.Values{"sigkey": "a/b"}); n == 0 {
				s.set("rpmsigs", hubtest.Values{"rpm_id": r}, hubtest.Values{"sigkey": "a/b"})
			}
		}, func(b prodBuild) string { return `sigkey "a/b"` }},
	} {
		b := take()
		odd.change(b)
		names, gone = append(names, odd.says(b)), append(gone, b.dir())
	}
	for i, odd := range []hubtest.Values{{"checksum": ""}, {"checksum_type": 7}, {"filename": "sub/x"}} {
		archive := ids(t, s.conn, `SELECT a.id FROM archiveinfo a JOIN maven_archives m ON m.archive_id = a.id ORDER BY 1`)
		if len(archive) > i {
			s.set("archiveinfo", hubtest.Values{"id": archive[i]}, odd)
		}
	}
	s.set("volume", hubtest.Values{"id": 1}, hubtest.Values{"name": "odd\nvolume"})
	names = append(names, fmt.Sprintf("volume %q", "odd\nvolume"))

	s.store = t.TempDir()
	kojisnapRun(t, s.pull(s.store)...)
	for _, run := range [][]string{s.copy(), s.copy("--json"), s.copy("--dry-run"), s.copy("--audit")} {
		out, errs, code := kojisnapRun(t, run...)
		if code != exit.NotReady {
			t.Errorf("%q: exit code %d: %s", run, code, errs)
		}
		for _, name := range names {
			if n := len(slices.DeleteFunc(lines(errs), func(l string) bool { return !strings.Contains(l, name) })); n != 1 {
				t.Errorf("%q: %q is named %d times:\n%s", run, name, n, errs)
			}
		}
		if slices.Contains(run, "--json") {
			var r kojisnap.CopyResult
			if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Held) < len(names) {
				t.Errorf("%v, held %+v", err, r.Held)
			}
		}
	}
	// The others are there; a fresh topdir has no copy of the odd ones.
	s.topdir = t.TempDir()
	if _, errs, code := kojisnapRun(t, s.copy("--new-topdir")...); code != exit.NotReady {
		t.Errorf("exit code %d: %s", code, errs)
	}
	now := s.staged()
	if others := 6; len(now) != len(all)-len(gone)-others { // with odd archives, or on the odd volume
		t.Errorf("%d builds are copied, %d were, %d are odd", len(now), len(all), len(gone))
	}
	for _, dir := range gone[4:] { // those whose names are good
		if slices.Contains(now, dir) {
			t.Errorf("%s is copied", dir)
		}
		if _, err := os.Stat(filepath.Join(s.topdir, dir)); err != nil {
			t.Error(err)
		}
	}
}
