package shard_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
	"kojisnap/hardlink/shard"
	"kojisnap/volumes/clone/clonetest"
)

// TestOddFiles: what production has beside the files of rows may be anything. Nothing leads out of a build's directory, hostile names
// and things that are no files are named once and hold back nothing else; symlinks within the build stay symlinks.
func TestOddFiles(t *testing.T) {
	s := newSite(t)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("of the host"), 0o600))
	const dir = "packages/bash/5.3.0/2.fc42"
	at := func(rel string) string { return filepath.Join(s.prod, dir, rel) }
	for link, target := range map[string]string{
		"data/logs/absolute.log":  secret,
		"data/logs/up.log":        "../../../../../../../" + secret,
		"data/logs/upwards":       "../../../../../glibc",
		"data/logs/latest.log":    "x86_64/build.log",
		"data/logs/lost.log":      "x86_64/no.log",
		"data/logs/all":           "x86_64",
		"data/logs/through.log":   "upwards/x",
		"data/logs/itself.log":    "itself.log",
		"data/logs/of-an-rpm.log": "../../x86_64/bash-5.3.0-2.fc42.x86_64.rpm",
	} {
		must(t, os.Symlink(target, at(link)))
	}
	must(t, unix.Mkfifo(at("data/logs/fifo"), 0o644))
	must(t, os.WriteFile(at("data/logs/new\nline"), []byte("x"), 0o644))
	must(t, os.WriteFile(at("data/logs/tab\t"), []byte("x"), 0o644))
	must(t, os.WriteFile(at("data/logs/blank name ü.log"), []byte("fine"), 0o644))
	o := options(s.top, s.prod)
	results, errs := s.copyAll(o)
	if len(errs) != 1 {
		t.Fatalf("%v", errs)
	}
	var left *hardlink.LeftOutError
	if !errors.As(errs[0], &left) {
		t.Fatal(errs)
	}
	held := map[string]int{}
	for _, h := range left.Held() {
		if h.Name != "bash-5.3.0-2.fc42" {
			t.Errorf("%+v", h)
		}
		held[h.Path]++
	}
	for _, path := range []string{"data/logs/absolute.log", "data/logs/up.log", "data/logs/upwards", "data/logs/fifo", `"data/logs/new\nline"`, `"data/logs/tab\t"`} {
		if held[path] != 1 {
			t.Errorf("%s is named %d times", path, held[path])
		}
		delete(held, path)
	}
	if len(held) > 0 {
		t.Errorf("held, too: %v", held)
	}
	here := filepath.Join(s.top, "vol/staged", dir, "data/logs")
	for name, want := range map[string]string{"latest.log": "log of bash-5.3.0-2.fc42", "blank name ü.log": "fine"} {
		info, err := os.Lstat(filepath.Join(here, name))
		if have, rerr := os.ReadFile(filepath.Join(here, name)); err != nil || rerr != nil || !info.Mode().IsRegular() || string(have) != want {
			t.Errorf("%s: %q, %v, %v", name, have, err, rerr)
		}
	}
	for name, want := range map[string]string{"lost.log": "x86_64/no.log", "all": "x86_64", "itself.log": "itself.log", "through.log": "upwards/x"} {
		if have, err := os.Readlink(filepath.Join(here, name)); have != want {
			t.Errorf("%s leads to %q, %v", name, have, err)
		}
	}
	must(t, filepath.WalkDir(s.top, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "of the host") {
				t.Errorf("%s has a file of the host", path)
			}
		}
		return err
	}))
	done := 0
	for _, r := range results {
		if r.Done {
			done++
		}
	}
	if done != len(results)-1 {
		t.Errorf("%d of %d shards are done", done, len(results))
	}
	for _, name := range []string{"absolute.log", "up.log", "upwards", "fifo", "new\nline", "tab\t"} {
		must(t, os.Remove(at("data/logs/"+name)))
	}
	s.mustCopy(o)
	for _, r := range s.mustCopy(o) {
		if !r.Skipped {
			t.Errorf("%+v", r)
		}
	}
}

// TestDeletedBetween: a build that production deletes after the snapshot holds back itself alone. A later snapshot does not have it.
func TestDeletedBetween(t *testing.T) {
	s := newSite(t)
	s.plan()
	const dir = "packages/bash/5.3.0/2.fc42"
	must(t, os.RemoveAll(filepath.Join(s.prod, dir)))
	results, errs := s.copyAll(options(s.top, s.prod))
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "bash-5.3.0-2.fc42") {
		t.Fatalf("%v", errs)
	}
	for _, r := range results {
		if !r.Done && (r.LeftAll != 1 || r.Left[0] != "bash-5.3.0-2.fc42") {
			t.Errorf("%+v", r)
		}
	}
	if to, err := os.Readlink(filepath.Join(s.top, dir)); err != nil || !strings.Contains(to, "vol/prod/") {
		t.Errorf("its symlink leads to %q, %v", to, err)
	}
	for i, b := range s.builds {
		if b.NVR() == "bash-5.3.0-2.fc42" {
			s.builds = append(s.builds[:i], s.builds[i+1:]...)
			break
		}
	}
	s.m.Snapshot = "2-abc"
	s.mustCopy(options(s.top, s.prod))
}

// TestChanged: production replaces a log; an audit, or a shard that is looked at again, takes the new one. Staging's own change stays.
func TestChanged(t *testing.T) {
	s := newSite(t)
	o := options(s.top, s.prod)
	s.mustCopy(o)
	const log = "packages/bash/5.3.0/2.fc42/data/logs/x86_64/build.log"
	must(t, os.Remove(filepath.Join(s.prod, log)))
	s.write(log, "another log, longer")
	o.Engine.Audit = true
	s.mustCopy(o)
	s.check()
	staged := filepath.Join(s.top, "vol/staged", log)
	must(t, os.Remove(staged))
	must(t, os.WriteFile(staged, []byte("staging's"), 0o644))
	kept := 0
	results, _ := s.copyAll(o)
	for _, r := range results {
		kept += len(r.Actions.Kept)
	}
	if have, err := os.ReadFile(staged); string(have) != "staging's" || kept != 1 {
		t.Errorf("%q, %v, %d kept", have, err, kept)
	}
}

// TestReplicated: both sides are Btrfs, and btrfs send replicates production's tree, as ZFS and ONTAP replicate theirs. An audit adopts
// what it finds: nothing is copied.
func TestReplicated(t *testing.T) {
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	from, to := clonetest.Disk(t, "btrfs", 256<<20), clonetest.Disk(t, "btrfs", 256<<20)
	s := newSite(t)
	run("btrfs", "subvolume", "create", from+"/koji")
	run("cp", "-a", s.prod+"/.", from+"/koji/")
	run("btrfs", "subvolume", "snapshot", "-r", from+"/koji", from+"/sent")
	run("sh", "-c", "btrfs send -q "+from+"/sent | btrfs receive -q "+to)
	// The replica becomes staging's volume: its packages, writable.
	must(t, os.MkdirAll(to+"/topdir/vol/staged", 0o755))
	run("btrfs", "subvolume", "snapshot", to+"/sent", to+"/replica")
	s.prod, s.top = from+"/sent", to+"/topdir"
	run("cp", "-a", "--reflink=always", to+"/replica/packages", s.top+"/vol/staged/packages")
	// Builds of production's other volumes have their symlinks there, and their files on the copy volume, too.
	for _, b := range s.builds {
		dir, err := b.Dir()
		must(t, err)
		rel, err := shard.Build{BuildFiles: b.BuildFiles}.Rel()
		must(t, err)
		if _, err := os.Stat(filepath.Join(to, "replica", dir)); err == nil && dir != rel {
			place := filepath.Join(s.top, "vol/staged", rel)
			must(t, os.RemoveAll(place))
			must(t, os.MkdirAll(filepath.Dir(place), 0o755))
			run("cp", "-a", "--reflink=always", filepath.Join(to, "replica", dir), place)
		}
	}
	o := options(s.top, s.prod)
	o.Engine.Audit = true
	results, errs := s.copyAll(o)
	adopted, made := 0, 0
	for _, r := range results {
		adopted += r.Actions.Adopted
		made += r.Report.Copied + r.Report.Linked + r.Report.Reflinked
		if !r.Done {
			t.Errorf("%+v", r)
		}
	}
	if len(errs) > 0 || adopted < 100 || made > 0 {
		t.Errorf("%d files adopted, %d made, %v", adopted, made, errs)
	}
	s.check()
	o.Engine.Audit = false
	for _, r := range s.mustCopy(o) {
		if !r.Skipped {
			t.Errorf("%+v", r)
		}
	}
}
