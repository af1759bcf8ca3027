package hardlink_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// unsign deletes the key's signatures of bash as koji's deleteRPMSig does: rows and files.
func (s *site) unsign(t testing.TB, key string) {
	t.Helper()
	s.changeRPMs(func(r *volumes.RPMFile) {
		r.Sigs = slices.DeleteFunc(slices.Clone(r.Sigs), func(sig volumes.Signature) bool { return sig.Key == key })
	})
	for _, dir := range []string{"signed", "sigcache"} {
		must(t, os.RemoveAll(filepath.Join(s.prod, bashDir, "data", dir, key)))
	}
}

// changeRPMs changes rows of bash.
func (s *site) changeRPMs(change func(*volumes.RPMFile)) {
	s.input.Builds = slices.Clone(s.input.Builds)
	for i := range s.input.Builds {
		b := &s.input.Builds[i]
		b.RPMs = slices.Clone(b.RPMs)
		for j := range b.RPMs {
			change(&b.RPMs[j])
		}
	}
}

// diffRemove returns what a run would remove.
func (s *site) diffRemove(t testing.TB, change ...func(*hardlink.Options)) hardlink.Actions {
	t.Helper()
	a, err := s.engine(t, change...).DiffRemove(t.Context(), s.plan(t))
	must(t, err)
	return a
}

// stagedWith lists the paths of bash on the copy volume that contain a text.
func (s *site) stagedWith(t testing.TB, part string) (paths []string) {
	t.Helper()
	for _, p := range files(t, filepath.Join(s.top, "vol/staged", bashDir)) {
		if strings.Contains(p, part) {
			paths = append(paths, p)
		}
	}
	return paths
}

// nothingLeft checks that no run has any work, and that an audit finds the same ledger.
func (s *site) nothingLeft(t testing.TB) {
	t.Helper()
	if a := s.diffRemove(t); a.Pending() || len(a.Kept)+len(a.Held) > 0 {
		t.Errorf("left to remove: %+v", a)
	}
	for _, options := range []func(*hardlink.Options){func(*hardlink.Options) {}, audit} {
		if a := s.diff(t, options); a.Pending() || len(a.Kept)+len(a.Held) > 0 || a.Adopted > 0 {
			t.Errorf("left to make: %+v", a)
		}
	}
}

// If production deletes a signature, its files go without a replacement: with a wanted key they are copies,
// with another key symlinks. A dry run reports it and changes nothing. If the signature comes back, it is
// copied again.
func TestDeletedSignature(t *testing.T) {
	for _, key := range []string{"41526f0e", "ba2992d4"} {
		s := onlyBash(t)
		s.mustCopy(t)
		before := s.input
		had := s.stagedWith(t, "/"+key+"/")
		kept := filepath.Join(t.TempDir(), "data")
		must(t, os.CopyFS(kept, os.DirFS(filepath.Join(s.prod, bashDir, "data"))))
		s.unsign(t, key)
		s.mustCopy(t)
		looked := snapshot(t, s.top)
		a := s.diffRemove(t)
		if len(had) == 0 || len(a.Stale) != len(had) || !a.Pending() {
			t.Fatalf("%s: %d files, to remove %+v", key, len(had), a.Stale)
		}
		var text strings.Builder
		a.WriteTo(&text)
		for _, p := range had {
			if !strings.Contains(text.String(), "remove vol/staged/"+bashDir+"/"+p+" ") {
				t.Errorf("%s: %s is not told of in\n%s", key, p, text.String())
			}
		}
		if snapshot(t, s.top) != looked {
			t.Error("a look changed something")
		}
		r := s.removeRest(t)
		if r.Stale != len(had) || len(r.Kept) > 0 || len(s.stagedWith(t, "/"+key+"/")) > 0 {
			t.Errorf("%s: report %+v, left %q", key, r, s.stagedWith(t, "/"+key+"/"))
		}
		s.check(t)
		s.nothingLeft(t)

		s.input = before
		must(t, os.RemoveAll(filepath.Join(s.prod, bashDir, "data")))
		must(t, os.CopyFS(filepath.Join(s.prod, bashDir, "data"), os.DirFS(kept)))
		s.mustCopy(t)
		if key == "41526f0e" && !slices.Equal(s.stagedWith(t, "/"+key+"/"), had) {
			t.Errorf("it came back: %q", s.stagedWith(t, "/"+key+"/"))
		}
		if a := s.diffRemove(t); a.Pending() {
			t.Errorf("it came back: to remove %+v", a.Stale)
		}
	}
}

// A signed copy that staging changed, before the check or between check and removal, stays and is reported.
func TestDeletedSignatureThatStagingChanged(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := onlyBash(t)
		s.mustCopy(t)
		s.unsign(t, "41526f0e")
		s.mustCopy(t)
		signed := filepath.Join(s.top, "vol/staged", bashDir, bashSigned)
		change := func() {
			must(t, os.Remove(signed))
			must(t, os.WriteFile(signed, []byte("staging's"), 0o644))
		}
		if !late {
			change()
		}
		e := s.engine(t)
		a, err := e.DiffRemove(t.Context(), s.plan(t))
		must(t, err)
		if late {
			change()
		}
		r, err := e.Apply(t.Context(), a)
		must(t, err)
		if r.Stale == 0 || len(r.Kept) != 1 || r.Kept[0].Path != "vol/staged/"+bashDir+"/"+bashSigned {
			t.Errorf("late %v: report %+v", late, r)
		}
		if text := mustRead(t, signed); string(text) != "staging's" {
			t.Errorf("late %v: %q", late, text)
		}
		if a := s.diffRemove(t); a.Pending() || len(a.Kept) != 1 {
			t.Errorf("late %v: again %+v", late, a)
		}
	}
}

// Files that rows still name stay if the configuration has fewer keys and arches. But if production has
// another file there, a symlink to that replaces ours.
func TestFewerKeysKeepFiles(t *testing.T) {
	s := onlyBash(t)
	s.mustCopy(t)
	before := snapshot(t, s.top)
	s.want.SigKeys, s.want.Arches = []string{""}, []string{"s390x"}
	s.mustCopy(t)
	if a := s.diffRemove(t); a.Pending() || len(a.Kept) > 0 {
		t.Errorf("to remove %+v", a)
	}
	r := s.removeRest(t)
	if r.Stale > 0 || !strings.HasPrefix(snapshot(t, s.top), before[:strings.Index(before, "\n")]) {
		t.Errorf("report %+v", r)
	}
	for _, p := range []string{bashSigned, bashSig, bashRPM} {
		if info, err := os.Lstat(filepath.Join(s.top, "vol/staged", bashDir, p)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v", p, err)
		}
	}

	prod := filepath.Join(s.prod, bashDir)
	must(t, os.Remove(filepath.Join(prod, bashSigned)))
	must(t, os.WriteFile(filepath.Join(prod, bashSigned), []byte("signed again"), 0o644))
	must(t, os.Remove(filepath.Join(prod, bashSig)))
	s.changeRPMs(func(r *volumes.RPMFile) {
		r.Sigs = slices.Clone(r.Sigs)
		for i := range r.Sigs {
			if name, err := r.RPM.SignedPath("41526f0e"); err == nil && name == bashSigned && r.Sigs[i].Key == "41526f0e" {
				r.Sigs[i].Hash = strings.Repeat("0", 32)
			}
		}
	})
	s.mustCopy(t)
	if a := s.diffRemove(t); len(a.Stale) != 2 || a.Stale[0].Target != "" || !strings.HasSuffix(a.Stale[1].Target, "/vol/prod/"+bashDir+"/"+bashSigned) {
		t.Errorf("to remove %+v", a.Stale)
	}
	if r := s.removeRest(t); r.Stale != 2 {
		t.Errorf("report %+v", r)
	}
	if text := mustRead(t, filepath.Join(s.top, "vol/staged", bashDir, bashSigned)); string(text) != "signed again" {
		t.Errorf("it is %q", text)
	}
	if _, err := os.Lstat(filepath.Join(s.top, "vol/staged", bashDir, bashSig)); err == nil {
		t.Error("the signature header that production does not have is there")
	}
	s.nothingLeft(t)
}

// A decoded plan has no rows, so nothing counts as stale.
func TestStaleWithoutRows(t *testing.T) {
	s := onlyBash(t)
	s.mustCopy(t)
	plan := s.plan(t)
	for i, b := range plan.Staged {
		plan.Staged[i] = volumes.StagedBuild{Build: b.Build, SourceVolume: b.SourceVolume, Files: b.Files[:1]}
	}
	a, err := s.engine(t).DiffRemove(t.Context(), plan)
	must(t, err)
	if a.Pending() {
		t.Errorf("to remove %+v", a)
	}
}

// A build in its grace period keeps its time, and a build that has to be compared again still has to be.
func TestStaleKeepsTheRestOfTheBuild(t *testing.T) {
	for _, more := range []func(*ledger.Batch){
		func(b *ledger.Batch) { b.Unwanted(1700000000) },
		func(b *ledger.Batch) { b.Entry(ledger.Entry{Path: ".kojisnap-again", Absent: true}) },
		func(b *ledger.Batch) { b.Removing() }, // not complete any longer
	} {
		s := onlyBash(t)
		s.mustCopy(t)
		s.unsign(t, "41526f0e")
		s.mustCopy(t)
		path := filepath.Join(s.top, ".kojisnap/ledger")
		l, err := ledger.Read(s.top)
		must(t, err)
		var batch ledger.Batch
		for _, b := range l.Builds {
			batch.Build(b.Build)
			more(&batch)
		}
		must(t, os.WriteFile(path, append(mustRead(t, path), batch.String()...), 0o644))
		l, err = ledger.Read(s.top)
		must(t, err)
		want := l.Builds["vol/staged/"+bashDir]
		want.Entries = slices.DeleteFunc(want.Entries, func(e ledger.Entry) bool { return strings.Contains(e.Path, "/41526f0e/") })
		s.removeRest(t)
		l, err = ledger.Read(s.top)
		must(t, err)
		want.Pending = want.Pending || !want.Complete
		if have := l.Builds["vol/staged/"+bashDir]; !reflect.DeepEqual(have, want) {
			t.Errorf("have %+v\nwant %+v", have, want)
		}
	}
}

// After a kill between any two steps, the next run gives the right result.
func TestStaleKilledAnywhere(t *testing.T) {
	for n := int64(0); ; n += int64(every()) {
		s := onlyBash(t)
		s.mustCopy(t)
		s.unsign(t, "41526f0e")
		// One file goes, and a symlink replaces another.
		prod := filepath.Join(s.prod, bashDir, bashRPM)
		s.want.Arches = []string{"s390x"}
		must(t, os.Remove(prod))
		must(t, os.WriteFile(prod, []byte("built again"), 0o644))
		s.changeRPMs(func(r *volumes.RPMFile) {
			if path, err := r.Path(); err == nil && path == bashRPM {
				r.PayloadHash = strings.Repeat("1", 32)
			}
		})
		e := s.engine(t)
		a, err := e.DiffRemove(t.Context(), s.plan(t))
		must(t, err)
		linked := 0
		for _, f := range a.Stale {
			if f.Target != "" {
				linked++
			}
		}
		if linked == 0 || linked == len(a.Stale) {
			t.Fatalf("%d symlinks: the test is too weak: %+v", linked, a.Stale)
		}
		e.CrashAfter(n)
		_, err = e.Apply(t.Context(), a)
		if err != nil && !errors.Is(err, hardlink.ErrCrash) {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(s.top, "vol/staged", bashDir, bashRPM)); err != nil {
			t.Fatalf("crash after %d: what production has is not there: %v", n, err)
		}
		if r := s.removeRest(t); len(r.Kept) > 0 {
			t.Fatalf("crash after %d: kept %v", n, r.Kept)
		}
		if left := s.stagedWith(t, "/41526f0e/"); len(left) > 0 {
			t.Fatalf("crash after %d: left %q", n, left)
		}
		if text := mustRead(t, filepath.Join(s.top, "vol/staged", bashDir, bashRPM)); string(text) != "built again" {
			t.Fatalf("crash after %d: it is %.20q", n, text)
		}
		s.mustCopy(t)
		s.nothingLeft(t)
		if t.Failed() {
			t.Fatalf("crash after %d", n)
		}
		if err == nil {
			if n < 10 {
				t.Errorf("only %d operations", n)
			}
			break
		}
	}
}
