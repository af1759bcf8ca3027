package hardlink_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

// clock is a time that a test sets.
type clock struct{ time.Time }

func (c *clock) options(keep time.Duration, rows map[string]string) func(*hardlink.Options) {
	return func(o *hardlink.Options) {
		o.Now, o.KeepFor, o.Leave = func() time.Time { return c.Time }, keep, true
		o.Rows = func(context.Context, []volumes.Build) (map[string]string, error) { return rows, nil }
	}
}

// staged counts the builds that the database should have on the copy volume, and those that are there.
func (s *site) staged(t testing.TB) (wanted, there int) {
	t.Helper()
	l, err := ledger.Read(s.top)
	if err != nil {
		t.Fatal(err)
	}
	return len(l.Staged()), len(l.Builds)
}

// A build that leaves the plan leaves the database at once and the disk after the grace period. If a plan
// wants it again before, it is there without a copy.
func TestGrace(t *testing.T) {
	const day = 24 * time.Hour
	s := newSite(t, "bash", "win-tool")
	all := s.input
	now := &clock{time.Unix(1_800_000_000, 0)}
	week := now.options(7*day, nil)
	s.mustCopy(t, week)
	_, whole := s.staged(t)

	s.input = volumestest.Split(all, func(b volumes.BuildFiles) bool { return b.Name != "bash" })
	bashes := whole - 1
	r := s.mustCopy(t, week)
	if wanted, there := s.staged(t); wanted != 1 || there != whole || r.Leaving != bashes || r.Links != bashes {
		t.Errorf("%d wanted, %d there, report %+v", wanted, there, r)
	}
	s.staysOnProd(t, bashDir)
	now.Time = now.Add(6 * day)
	if r := s.mustCopy(t, week); r.Leaving != 0 || r.Grace != bashes {
		t.Errorf("noted again: %+v", r)
	}
	if r := s.removeRest(t, week); r.Removed != 0 || r.Grace != bashes {
		t.Errorf("after six days: %+v", r)
	}

	some := volumestest.Split(all, func(b volumes.BuildFiles) bool { return b.Name != "bash" || b.NVR() == "bash-5.3.0-2.fc42" })
	s.input = some
	r = s.mustCopy(t, week)
	if wanted, _ := s.staged(t); wanted != 2 || r.Builds != 0 || r.Links != 1 {
		t.Errorf("wanted again: %d, %+v", wanted, r)
	}
	s.check(t)
	s.input = volumestest.Split(all, func(b volumes.BuildFiles) bool { return b.Name != "bash" })
	s.mustCopy(t, week)
	now.Time = now.Add(day)
	// A build that the database has on the copy volume stays, whatever its age.
	still := ""
	for _, b := range s.input.Others {
		if b.NVR() != "bash-5.3.0-2.fc42" {
			still = b.NVR()
		}
	}
	r = s.removeRest(t, now.options(7*day, map[string]string{still: "staged"}))
	if r.Removed != bashes-2 || r.Grace != 1 || len(r.Kept) != 1 || !strings.Contains(r.Kept[0].Why, "database") {
		t.Errorf("after seven days: %+v", r)
	}
	if r = s.removeRest(t, week); r.Removed != 1 || r.Grace != 1 {
		t.Errorf("the database has it elsewhere: %+v", r)
	}
	now.Time = now.Add(7 * day)
	if r = s.removeRest(t, week); r.Removed != 1 || r.Grace != 0 {
		t.Errorf("at the end: %+v", r)
	}
	s.check(t)
	if wanted, there := s.staged(t); wanted != 1 || there != 1 {
		t.Errorf("%d wanted, %d there", wanted, there)
	}
}

// A wrong clock does not keep builds for ever.
func TestGraceAfterAWrongClock(t *testing.T) {
	s := newSite(t, "bash")
	s.mustCopy(t)
	_, there := s.staged(t)
	s.input = volumes.Input{}
	now := &clock{time.Unix(9_000_000_000, 0)}
	s.mustCopy(t, now.options(time.Hour, nil))
	now.Time = time.Unix(1_800_000_000, 0)
	s.mustCopy(t, now.options(time.Hour, nil))
	now.Time = now.Add(time.Hour)
	if r := s.removeRest(t, now.options(time.Hour, nil)); r.Removed != there {
		t.Errorf("%+v", r)
	}
}

// The database keeps builds that left the snapshot. Their symlinks on DEFAULT then lead to production's
// volume; they go once the database does not have the build.
func TestSymlinksOutliveTheScope(t *testing.T) {
	s := newSite(t, "bash", "win-tool", "glibc")
	all := s.input
	now := &clock{time.Unix(1_800_000_000, 0)}
	rows := map[string]string{}
	for _, b := range all.Builds {
		rows[b.NVR()] = "prod"
	}
	s.mustCopy(t, now.options(0, rows))
	s.input = volumes.Input{}
	for _, b := range all.Builds {
		if b.Name == "win-tool" {
			s.input.Builds = append(s.input.Builds, b)
		}
	}
	s.mustCopy(t, now.options(0, rows))
	leads := func() {
		t.Helper()
		for _, b := range all.Builds {
			link := dir(t, volumes.Build{Name: b.Name, Version: b.Version, Release: b.Release})
			if b.Name != "win-tool" {
				s.staysOnProd(t, link)
			}
			if _, err := os.Stat(filepath.Join(s.top, link)); err != nil {
				t.Error(err)
			}
		}
	}
	leads()
	r := s.removeRest(t, now.options(0, rows))
	if r.Removed != len(all.Builds)-1 || r.RemovedLinks != 0 {
		t.Errorf("report %+v", r)
	}
	leads()
	// A compose that is pinned at an older event, and has the path of the removed copy, reads production's
	// file.
	stub := filepath.Join(s.top, "vol/staged", bashDir)
	reads := func() {
		t.Helper()
		if info, err := os.Stat(filepath.Join(stub, bashRPM)); err != nil || !info.Mode().IsRegular() {
			t.Error(err)
		}
	}
	reads()
	for _, options := range []func(*hardlink.Options){func(o *hardlink.Options) {}, audit} {
		if a := s.diff(t, now.options(0, rows), options); a.Pending() || len(a.Leaving) > 0 || len(a.Kept) > 0 {
			t.Errorf("left to do: %+v", a)
		}
	}
	// A plan wants it again, and the next one does not.
	none := s.input
	s.input = volumes.Input{Builds: all.Builds}
	s.mustCopy(t, now.options(0, rows))
	reads()
	if info, err := os.Lstat(stub); err != nil || !info.IsDir() {
		t.Error(info, err)
	}
	s.check(t)
	s.input = none
	s.mustCopy(t, now.options(0, rows))
	if r := s.removeRest(t, now.options(0, rows)); r.Removed != len(all.Builds)-1 {
		t.Errorf("report %+v", r)
	}
	reads()
	delete(rows, "bash-5.3.0-2.fc42")
	if r := s.removeRest(t, now.options(0, rows)); r.RemovedLinks != 2 {
		t.Errorf("report %+v", r)
	}
	if _, err := os.Lstat(stub); err == nil {
		t.Error("the symlink in the place of the copy is there")
	}
	if _, err := os.Lstat(filepath.Join(s.top, bashDir)); err == nil {
		t.Error("the symlink of a build that nothing names is there")
	}
}
