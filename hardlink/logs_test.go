package hardlink_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/ledger/ledgertest"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

const logsDir = "data/logs"

// addLogs gives a build of production's logs as kojid writes them, and one log besides those of arches.
func (s *site) addLogs(t testing.TB, build string) {
	t.Helper()
	for _, p := range []string{"cg_import.log", "x86_64/build.log", "x86_64/root.log", "noarch/state.log"} {
		path := filepath.Join(s.prod, build, logsDir, p)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(build+" "+p), 0o644))
	}
}

// logsByKoji lists logs as Koji's get_build_logs does: with os.walk, which follows the directory where it
// begins and no symlink below, and without what is no regular file.
func logsByKoji(t testing.TB, build string) string {
	t.Helper()
	top, err := filepath.EvalSymlinks(filepath.Join(build, logsDir))
	if os.IsNotExist(err) {
		return ""
	}
	must(t, err)
	var list []string
	must(t, filepath.WalkDir(top, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(top, p)
			list = append(list, rel)
		}
		return err
	}))
	return strings.Join(list, " ")
}

// logsOneByOne turns staged builds' logs into what kojisnap made before ledger format 4: a symlink for each.
func (s *site) logsOneByOne(t testing.TB) {
	t.Helper()
	entries := map[string]string{}
	matches, err := filepath.Glob(filepath.Join(s.top, "vol/staged/packages/*/*/*", logsDir))
	must(t, err)
	for _, at := range matches {
		whole, err := os.Readlink(at)
		must(t, err)
		logs := files(t, whole)
		if len(logs) == 0 {
			t.Fatalf("no logs behind %s", at)
		}
		must(t, os.Remove(at))
		lines := []string{}
		for _, p := range logs {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(at, p)), 0o755))
			must(t, os.Symlink(whole+"/"+p, filepath.Join(at, p)))
			lines = append(lines, "S\t"+logsDir+"/"+p+"\t"+whole+"/"+p)
		}
		entries["S\t"+logsDir+"\t"+whole] = strings.Join(lines, "\n")
	}
	path := filepath.Join(s.top, ".kojisnap/ledger")
	text := ledgertest.Downgrade(3, string(mustRead(t, path)), nil)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, l := range lines {
		if many, ok := entries[l]; ok {
			lines[i] = many
			delete(entries, l)
		}
	}
	if len(entries) > 0 {
		t.Fatalf("the ledger does not have %q", entries)
	}
	must(t, os.WriteFile(path, []byte(ledgertest.Text(3, lines[1:len(lines)-1])), 0o644))
}

// sameLogs checks that getBuildLogs gives the same as at production, for all staged builds and for all on the
// read-only volume.
func (s *site) sameLogs(t testing.TB, least int) {
	t.Helper()
	some := 0
	for _, b := range s.plan(t).Staged {
		want := logsByKoji(t, s.prodDir(t, b.Build))
		for _, volume := range []string{"staged", b.SourceVolume} {
			b.Build.Volume = volume
			if have := logsByKoji(t, filepath.Join(s.top, dir(t, b.Build))); have != want {
				t.Errorf("%s on %s: logs %q, production has %q", b.Build.NVR(), volume, have, want)
			}
		}
		if want != "" {
			some++
		}
	}
	if some < least {
		t.Errorf("only %d builds have logs", some)
	}
}

// movedOver checks that ledger and topdir have no single symlinks to logs any longer.
func (s *site) movedOver(t testing.TB) {
	t.Helper()
	s.checkNew(t)
	l, err := ledger.Read(s.top)
	must(t, err)
	for dir, b := range l.Builds {
		for _, e := range b.Entries {
			if strings.HasPrefix(e.Path, logsDir+"/") {
				t.Errorf("the ledger has %s of %s", e.Path, dir)
			}
		}
	}
}

func TestLogsAreListed(t *testing.T) {
	s := newSite(t)
	s.addLogs(t, bashDir)
	s.mustCopy(t)
	s.check(t)
	s.sameLogs(t, 3)
	if a := s.diff(t); a.Pending() {
		t.Errorf("something is left to do: %+v", a)
	}
	// An audit makes it again, but leaves what is in its place.
	link, audit := filepath.Join(s.top, "vol/staged", bashDir, logsDir), func(o *hardlink.Options) { o.Audit = true }
	must(t, os.Remove(link))
	if a := s.diff(t, audit); len(a.Builds) != 1 || len(a.Kept) > 0 {
		t.Errorf("builds %+v, kept %+v", a.Builds, a.Kept)
	}
	s.mustCopy(t, audit)
	s.sameLogs(t, 3)
	target, err := os.Readlink(link)
	must(t, err)
	must(t, os.Remove(link))
	must(t, os.MkdirAll(filepath.Join(link, "x86_64"), 0o755))
	must(t, os.WriteFile(filepath.Join(link, "x86_64/build.log"), []byte("mine"), 0o644))
	if a := s.diff(t, audit); a.Pending() || len(a.Kept) == 0 {
		t.Errorf("of staging's own: pending %v, kept %+v", a.Pending(), a.Kept)
	}
	must(t, os.RemoveAll(link))
	must(t, os.Symlink(target, link))
	// A log that production adds later is visible at once.
	must(t, os.WriteFile(filepath.Join(s.prod, bashDir, logsDir, "x86_64/hw_info.log"), nil, 0o644))
	s.sameLogs(t, 3)
}

// A plain copy converts the single symlinks of earlier versions, in builds that are wanted and in others,
// whatever the ledger's format.
func TestLogsOneByOne(t *testing.T) {
	for name, makeOld := range map[string]func(s *site){
		"format 3":            func(s *site) { s.logsOneByOne(t) },
		"relative":            func(s *site) { s.makeOld(t, true) },
		"relative, no ledger": func(s *site) { s.makeOld(t, false) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.input.Builds = without(s.input.Builds, "legacy-empty") // without a ledger, nothing shows who made its directory
			s.addLogs(t, bashDir)
			s.mustCopy(t)
			makeOld(s)
			if have := logsByKoji(t, filepath.Join(s.top, "vol/staged", bashDir)); have != "" {
				t.Fatalf("logs one by one are listed: %q", have)
			}
			s.mustCopy(t, func(o *hardlink.Options) { o.Audit = strings.Contains(name, "no ledger") })
			s.sameLogs(t, 3)
			s.movedOver(t)
		})
	}
}

func without(builds []volumes.BuildFiles, name string) (rest []volumes.BuildFiles) {
	for _, b := range builds {
		if b.Name != name {
			rest = append(rest, b)
		}
	}
	return rest
}

// The logs of a build that is no longer wanted are converted while it is kept, and then removed. Production's
// logs are not touched.
func TestLogsOfUnwanted(t *testing.T) {
	s := newSite(t, "bash", "win-tool")
	s.addLogs(t, bashDir)
	now := &clock{time.Unix(1_800_000_000, 0)}
	week := now.options(7*24*time.Hour, nil)
	s.mustCopy(t, week)
	s.logsOneByOne(t)
	prod := snapshot(t, s.prod)
	s.input = volumestest.Split(s.input, func(b volumes.BuildFiles) bool { return b.Name != "bash" })
	s.mustCopy(t, week)
	if have := logsByKoji(t, filepath.Join(s.top, "vol/staged", bashDir)); !strings.Contains(have, "x86_64/build.log") {
		t.Errorf("logs %q", have)
	}
	now.Time = now.Add(8 * 24 * time.Hour)
	if r := s.removeRest(t, week); r.Removed == 0 || len(r.Kept) > 0 {
		t.Errorf("report %+v", r)
	}
	if _, err := os.Lstat(filepath.Join(s.top, "vol/staged", bashDir)); !os.IsNotExist(err) {
		t.Errorf("the copy is there: %v", err)
	}
	if snapshot(t, s.prod) != prod {
		t.Error("production's tree changed")
	}
}

// If something of staging's own is among the logs, they stay as they are and are reported.
func TestLogsOfStagings(t *testing.T) {
	s := newSite(t, "bash")
	s.addLogs(t, bashDir)
	s.mustCopy(t)
	s.logsOneByOne(t)
	own := filepath.Join(s.top, "vol/staged", bashDir, logsDir, "x86_64/mine.log")
	must(t, os.WriteFile(own, []byte("mine"), 0o644))
	for range 2 {
		a := s.diff(t)
		if a.Pending() || len(a.Kept) != 1 || !strings.Contains(a.Kept[0].Why, `"data/logs/x86_64/mine.log" in it is staging's own`) {
			t.Errorf("kept %+v, pending %v", a.Kept, a.Pending())
		}
		s.mustCopy(t)
	}
	if string(mustRead(t, own)) != "mine" {
		t.Error("staging's log changed")
	}
	// The same if it appears between the check and the rename.
	must(t, os.Remove(own))
	e := s.engine(t)
	a, err := e.Diff(t.Context(), s.plan(t))
	must(t, err)
	must(t, os.WriteFile(own, []byte("mine"), 0o644))
	r, err := e.Apply(t.Context(), a)
	must(t, err)
	if string(mustRead(t, own)) != "mine" || len(r.Kept) != 1 {
		t.Errorf("kept %+v", r.Kept)
	}
	must(t, os.Remove(own))
	s.mustCopy(t)
	s.mustCopy(t) // the ledger learns what was made after a run in between
	s.sameLogs(t, 1)
	s.movedOver(t)
}

// If production's logs are not here, no symlink is made.
func TestLogsNotHere(t *testing.T) {
	s := newSite(t, "bash")
	s.addLogs(t, bashDir)
	s.mustCopy(t)
	s.logsOneByOne(t)
	here, away := filepath.Join(s.prod, bashDir, logsDir), filepath.Join(t.TempDir(), "logs")
	must(t, os.Rename(here, away))
	if a := s.diff(t); a.Pending() || len(a.Held) > 0 {
		t.Errorf("%+v", a)
	}
	must(t, os.Rename(away, here))
	s.mustCopy(t)
	s.movedOver(t)
}

// If the hub's path of topdir has changed, one run changes both kinds of symlinks.
func TestLogsOfAnotherTopdir(t *testing.T) {
	s := newSite(t, "bash")
	s.addLogs(t, bashDir)
	s.mustCopy(t)
	s.logsOneByOne(t)
	link := filepath.Join(s.top, "vol/staged", bashDir, logsDir)
	for _, hub := range []string{"/mnt/koji", "/srv/koji"} {
		as := func(o *hardlink.Options) { o.HubTopdir = hub }
		s.mustCopy(t, as)
		if target, err := os.Readlink(link); target != hub+"/vol/prod/"+bashDir+"/"+logsDir {
			t.Errorf("%s -> %q, %v", link, target, err)
		}
		if a := s.diff(t, as); a.Pending() {
			t.Errorf("%s: something is left to do: %+v", hub, a)
		}
	}
}

// After a kill at any moment of the conversion, the next run continues; meanwhile each log can be read.
func TestKilledWhileMovingLogs(t *testing.T) {
	for _, exchange := range []bool{true, false} {
		first := 0
		if exchange {
			first = 1 % every()
		}
		for n := int64(first); ; n += int64(every()) {
			s := newSite(t, "bash")
			s.addLogs(t, bashDir)
			s.mustCopy(t)
			s.logsOneByOne(t)
			e := s.engine(t)
			a, err := e.Diff(t.Context(), s.plan(t))
			must(t, err)
			if !a.Pending() {
				t.Fatal("there is nothing to do")
			}
			e.CrashAfterUnless(n, exchange)
			_, err = e.Apply(t.Context(), a)
			log := filepath.Join(s.top, "vol/staged", bashDir, logsDir, "x86_64/build.log")
			if _, gone := os.Stat(log); exchange && gone != nil {
				t.Errorf("after %d operations: %v", n, gone)
			}
			s.mustCopy(t)
			s.mustCopy(t)
			s.sameLogs(t, 1)
			s.movedOver(t)
			if t.Failed() {
				t.Fatalf("crash after %d operations, exchange %v", n, exchange)
			}
			if err == nil {
				if n < 10 {
					t.Errorf("only %d operations", n)
				}
				break
			}
		}
	}
}
