package hardlink_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// Nothing is made of a build about which staging decided, not even by an audit, and existing files stay. Once
// staging undoes the decision, the build is made again.
func TestDecided(t *testing.T) {
	s := onlyBash(t)
	s.mustCopy(t)
	full := s.input
	decide := func(in volumes.Input) (out volumes.Input) {
		for _, b := range in.Builds {
			out.Decided = append(out.Decided, b.Build)
		}
		for _, b := range in.Others {
			if b.NVR() == glibc {
				out.Decided = append(out.Decided, b.Build)
			} else {
				out.Others = append(out.Others, b)
			}
		}
		return out
	}
	// This is what deleteBuild leaves behind.
	staged := filepath.Join(s.top, "vol/staged", bashDir)
	must(t, errors.Join(os.RemoveAll(staged), os.Remove(filepath.Join(s.top, bashDir)), os.Remove(filepath.Join(s.top, glibcDir))))
	s.input = decide(full)
	for i, options := range []func(*hardlink.Options){func(o *hardlink.Options) { o.Leave = true }, audit, func(*hardlink.Options) {}} {
		r := s.mustCopy(t, options)
		if r.Links+r.Builds+r.Linked != 0 || len(r.Kept) > 0 {
			t.Errorf("%d: report %+v", i, r)
		}
		for _, path := range []string{staged, filepath.Join(s.top, bashDir), filepath.Join(s.top, glibcDir)} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%d: %s: %v", i, path, err)
			}
		}
	}
	l, err := ledger.Read(s.top)
	must(t, err)
	if len(l.Builds) > 0 {
		t.Errorf("in the ledger: %+v", l.Builds)
	}
	s.input = full
	s.mustCopy(t)
	s.check(t)
}

// An audit learns from the database that a build was deleted since the last load.
func TestDecidedSinceTheLoad(t *testing.T) {
	s := onlyBash(t)
	s.mustCopy(t)
	must(t, errors.Join(os.RemoveAll(filepath.Join(s.top, "vol/staged", bashDir)), os.Remove(filepath.Join(s.top, bashDir))))
	options := both(audit, s.rowsOf(t, map[string]string{"bash-5.3.0-2.fc42": ""}))
	if r := s.mustCopy(t, options); r.Links+r.Builds+r.Linked != 0 {
		t.Errorf("report %+v", r)
	}
	if _, err := os.Lstat(filepath.Join(s.top, "vol/staged", bashDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	s.mustCopy(t, s.rowsOf(t, nil))
	s.check(t)
}

// After changeBuildVolume moved a copied build to a volume of staging's own, an audit does not make its files
// again, with the database and without.
func TestMovedByStaging(t *testing.T) {
	for _, c := range []struct {
		to       string
		database bool
	}{{"", true}, {"", false}, {"vol/fast", true}} {
		s := onlyBash(t)
		s.mustCopy(t)
		from, to := filepath.Join(s.top, "vol/staged", bashDir), filepath.Join(s.top, c.to, bashDir)
		must(t, os.Remove(filepath.Join(s.top, bashDir)))
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		must(t, os.Rename(from, to))
		volume := "DEFAULT"
		if c.to != "" {
			volume = "fast"
			must(t, os.Symlink("../../../"+c.to+"/"+bashDir, filepath.Join(s.top, bashDir)))
		}
		options := func(*hardlink.Options) {}
		if c.database {
			options = s.rowsOf(t, map[string]string{"bash-5.3.0-2.fc42": volume})
		}
		before := looks(t, to)
		for _, options := range []func(*hardlink.Options){options, both(options, audit)} {
			if r := s.mustCopy(t, options); r.Builds+r.Links+r.Linked+r.Strays != 0 {
				t.Errorf("%+v: report %+v", c, r)
			}
			if _, err := os.Lstat(from); !errors.Is(err, fs.ErrNotExist) || looks(t, to) != before {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
}
