package shard_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/volumes"
)

// copyTags copies some builds as a copy of tags does: into the topdir's own ledger, with symlinks for all else.
func (s *site) copyTags(keep func(shard.Build) bool) volumes.Plan {
	s.t.Helper()
	var in volumes.Input
	for _, b := range s.builds {
		if keep(b) {
			in.Builds = append(in.Builds, b.BuildFiles)
		} else {
			in.Others = append(in.Others, volumes.Other{Build: b.Build, Files: len(b.RPMs) > 0})
		}
	}
	plan, err := volumes.NewPlan(in, volumes.Want{Arches: []string{"x86_64"}, SigKeys: []string{"41526f0e"}})
	must(s.t, err)
	e, err := hardlink.New(options(s.top, s.prod).Engine)
	must(s.t, err)
	defer e.Close()
	a, err := e.Diff(s.t.Context(), plan)
	must(s.t, err)
	_, err = e.Apply(s.t.Context(), a)
	must(s.t, err)
	return plan
}

// TestSplit: the builds of an existing ledger move to the shards', which turn their symlinks into files; a kill at any moment
// of that loses nothing. Earlier versions refuse the ledger from then on.
func TestSplit(t *testing.T) {
	s := newSite(t)
	s.copyTags(func(b shard.Build) bool { return b.ID%1400 == 0 })
	before, err := ledger.Read(s.top)
	must(t, err)
	if len(before.Builds) < 10 || before.Shards {
		t.Fatalf("%d builds", len(before.Builds))
	}
	o := options(s.top, s.prod)
	saved, err := os.ReadFile(filepath.Join(s.top, ledger.File))
	must(t, err)
	results := s.mustCopy(o)
	s.check()
	moved := 0
	for _, r := range results {
		moved += r.Moved
	}
	after, err := ledger.Read(s.top)
	must(t, err)
	if moved != len(before.Builds) || len(after.Builds) != 0 || !after.Shards {
		t.Errorf("%d builds moved of %d, %d stay", moved, len(before.Builds), len(after.Builds))
	}
	for link := range after.Links {
		if strings.HasPrefix(link, "packages/") {
			t.Errorf("%s is still in the topdir's own ledger", link)
		}
	}
	text, err := os.ReadFile(filepath.Join(s.top, ledger.File))
	must(t, err)
	if !strings.HasPrefix(string(text), "kojisnap-ledger\t5\n") || !strings.HasPrefix(string(saved), "kojisnap-ledger\t4\n") {
		t.Errorf("formats %.20q, %.20q", saved, text)
	}
	// Killed before the topdir's own ledger forgot them: the shards' count.
	must(t, os.WriteFile(filepath.Join(s.top, ledger.File), saved, 0o644))
	for _, r := range s.mustCopy(o) {
		if r.Report.Builds > 0 {
			t.Errorf("made again: %+v", r.Report)
		}
	}
	s.check()
}

// TestHalves: when a shard is halved, or halves are one again, its builds move along.
func TestHalves(t *testing.T) {
	s := newSite(t)
	o := options(s.top, s.prod)
	for i, most := range []int64{0, 30000, 0} {
		s.m.Snapshot = fmt.Sprintf("%d-abc", i)
		plan, err := shard.Make(t.Context(), openAt(t, s.top), s.m, most, fill(s.builds))
		must(t, err)
		must(t, plan.Prepare(t.Context(), o))
		ids := map[string]bool{}
		for _, info := range plan.Of(shard.Part{}) {
			ids[info.ID] = true
			r, err := plan.Copy(t.Context(), info.ID, o)
			if err != nil || !r.Done || i > 0 && r.Report.Builds > 0 {
				t.Errorf("%d: %+v, %v", i, r, err)
			}
		}
		must(t, ledger.EachShard(t.Context(), s.top, func(id string, l *ledger.Ledger) error {
			if !ids[id] && len(l.Builds) > 0 {
				t.Errorf("%d: shard %s is none of the plan, and has %d builds", i, id, len(l.Builds))
			}
			return nil
		}))
	}
	s.check()
}

// TestLocks: a shard is worked on once at a time; others may be; all of the topdir may not.
func TestLocks(t *testing.T) {
	s := newSite(t)
	o := options(s.top, s.prod)
	plan := s.plan()
	must(t, plan.Prepare(t.Context(), o))
	top := openAt(t, s.top)
	unlock, err := ledger.LockShard(top, plan.Shards[0].ID)
	must(t, err)
	if _, err := plan.Copy(t.Context(), plan.Shards[0].ID, o); !errors.Is(err, lockfile.ErrLocked) {
		t.Errorf("%v", err)
	}
	if r, err := plan.Copy(t.Context(), plan.Shards[1].ID, o); err != nil || !r.Done {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := ledger.Lock(top); !errors.Is(err, lockfile.ErrLocked) {
		t.Errorf("%v", err)
	}
	unlock()
	unlock, err = ledger.Lock(top)
	must(t, err)
	if _, err := plan.Copy(t.Context(), plan.Shards[2].ID, o); !errors.Is(err, lockfile.ErrLocked) {
		t.Errorf("%v", err)
	}
	unlock()
	if _, err := plan.Copy(t.Context(), "../../x", o); err == nil {
		t.Error("a shard of a hostile name")
	}
}
