package shard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/volumes/volumestest"
)

// childEnv names a file with a childJob: this program copies, in place of its tests.
const childEnv = "KOJISNAP_TEST_SHARDS"

type childJob struct {
	Manifest shard.Manifest
	Top, Ro  string
	Part     shard.Part
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := child(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var j childJob
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	plan, err := shard.Open(j.Top, j.Manifest)
	if err != nil {
		return err
	}
	o := options(j.Top, j.Ro)
	ctx := context.Background()
	if err := plan.Prepare(ctx, o); err != nil {
		return err
	}
	for _, info := range plan.Of(j.Part) {
		if r, err := plan.Copy(ctx, info.ID, o); err != nil || !r.Done {
			return fmt.Errorf("shard %s: done %v, left %q, %v", r.Shard, r.Done, r.Left, err)
		}
		fmt.Println(info.ID)
	}
	return nil
}

func options(top, ro string) shard.Options {
	return shard.Options{Engine: hardlink.Options{Topdir: top, ReadOnly: ro, WritableSource: true, BatchFiles: 10, RetryInterval: time.Millisecond}}
}

// site is production with its files and logs, in several shards, and a topdir.
type site struct {
	prod, top string
	builds    []shard.Build
	m         shard.Manifest
	t         *testing.T
}

func newSite(t *testing.T) *site {
	s := &site{prod: t.TempDir(), top: t.TempDir(), t: t, m: manifest("1-abc")}
	must(t, kojiprod.ExtractTree(s.prod))
	for i, b := range volumestest.Input(t).Builds {
		s.builds = append(s.builds, shard.Build{ID: int64(i+1) * 700, BuildFiles: b})
		dir, err := b.Dir()
		must(t, err)
		if _, err := os.Stat(filepath.Join(s.prod, dir)); err == nil {
			s.write(dir+"/data/logs/x86_64/build.log", "log of "+b.NVR())
			s.write(dir+"/cg_import.log", b.NVR())
		}
	}
	return s
}

func (s *site) write(rel, text string) {
	s.t.Helper()
	path := filepath.Join(s.prod, rel)
	must(s.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(s.t, os.WriteFile(path, []byte(text), 0o644))
}

func (s *site) plan() *shard.Plan {
	s.t.Helper()
	plan, err := shard.Make(s.t.Context(), openAt(s.t, s.top), s.m, 0, fill(s.builds))
	must(s.t, err)
	if len(plan.Shards) < 4 {
		s.t.Fatalf("%d shards are too few for a test", len(plan.Shards))
	}
	return plan
}

// copyAll copies all shards.
func (s *site) copyAll(o shard.Options) (results []shard.Result, errs []error) {
	s.t.Helper()
	plan := s.plan()
	must(s.t, plan.Prepare(s.t.Context(), o))
	for _, info := range plan.Of(shard.Part{}) {
		r, err := plan.Copy(s.t.Context(), info.ID, o)
		if err != nil {
			errs = append(errs, err)
		}
		results = append(results, r)
	}
	return results, errs
}

// mustCopy is copyAll where everything has to succeed.
func (s *site) mustCopy(o shard.Options) []shard.Result {
	s.t.Helper()
	results, errs := s.copyAll(o)
	for _, r := range results {
		if !r.Done || r.Have != r.Plan || len(r.Left) > 0 {
			s.t.Errorf("%+v", r)
		}
	}
	if len(errs) > 0 {
		s.t.Fatal(errors.Join(errs...))
	}
	return results
}

// tree are the files below a directory: kind, size and time, or a symlink's target.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		all[rel] = fmt.Sprint(info.Mode().Type(), info.Size(), " ", info.ModTime().UnixNano())
		if d.Type()&fs.ModeSymlink != 0 {
			all[rel], err = os.Readlink(path)
		}
		return err
	}))
	return all
}

// check compares all builds with production's: everything in their directories is a regular file with production's time and content.
// but are paths below production's tree that need not be there.
func (s *site) check(but ...string) {
	s.t.Helper()
	compared := 0
	for _, b := range s.builds {
		dir, err := b.Dir()
		must(s.t, err)
		if _, err := os.Stat(filepath.Join(s.prod, dir)); err != nil {
			continue
		}
		b.Volume = "staged"
		staged, err := b.Dir()
		must(s.t, err)
		there, here := tree(s.t, filepath.Join(s.prod, dir)), tree(s.t, filepath.Join(s.top, staged))
		for path, what := range there {
			if slices.Contains(but, dir+"/"+path) {
				continue
			}
			compared++
			if here[path] != what {
				s.t.Errorf("%s/%s: %q in place of %q", staged, path, here[path], what)
				continue
			}
			want, err := os.ReadFile(filepath.Join(s.prod, dir, path))
			must(s.t, err)
			if have, err := os.ReadFile(filepath.Join(s.top, staged, path)); err != nil || string(have) != string(want) {
				s.t.Errorf("%s/%s: another content, %v", staged, path, err)
			}
		}
		for path := range here {
			if there[path] == "" && !strings.Contains(path, "data/signed/") { // spliced
				s.t.Errorf("%s/%s is not production's", staged, path)
			}
		}
		b.Volume = ""
		link, err := b.Rel()
		must(s.t, err)
		if to, err := os.Readlink(filepath.Join(s.top, link)); to != "../../../"+staged {
			s.t.Errorf("%s leads to %q, %v", link, to, err)
		}
	}
	if compared < 100 {
		s.t.Errorf("%d files were compared: the test is too weak", compared)
	}
}

// whole says of each shard that its ledger says what is on the disk: all that is complete is there.
func (s *site) wholeByLedger() {
	s.t.Helper()
	must(s.t, ledger.EachShard(s.t.Context(), s.top, func(id string, l *ledger.Ledger) error {
		for _, b := range l.Staged() {
			dir, err := b.Build.Dir()
			must(s.t, err)
			for _, e := range b.Entries {
				if e.Absent || e.Target != "" {
					continue
				}
				if info, err := os.Lstat(filepath.Join(s.top, dir, e.Path)); err != nil || info.Size() != e.Size {
					s.t.Errorf("shard %s: %s/%s is complete by the ledger: %v", id, dir, e.Path, err)
				}
			}
		}
		return nil
	}))
}

// TestCopy: all shards are copied whole; again, nothing is looked at; an audit finds nothing to do.
func TestCopy(t *testing.T) {
	s := newSite(t)
	o := options(s.top, s.prod)
	s.mustCopy(o)
	s.check()
	for _, r := range s.mustCopy(o) {
		if !r.Skipped {
			t.Errorf("not skipped: %+v", r)
		}
	}
	o.Engine.Audit, o.Engine.Verify = true, hardlink.VerifyDigest
	for _, r := range s.mustCopy(o) {
		if r.Skipped || r.Actions.Pending() || len(r.Actions.Kept) > 0 || r.Report.Present == 0 && r.Plan.Files > 0 {
			t.Errorf("%+v", r)
		}
	}
	s.check()
}

// TestDelta: of a later snapshot only the shards are looked at whose rows differ.
func TestDelta(t *testing.T) {
	s := newSite(t)
	o := options(s.top, s.prod)
	held := s.builds[len(s.builds)-1]
	s.builds = s.builds[:len(s.builds)-1]
	s.mustCopy(o)
	s.builds = append(s.builds, held)
	s.m.Snapshot = "2-abc"
	skipped := 0
	results := s.mustCopy(o)
	for _, r := range results {
		if r.Skipped {
			skipped++
		}
	}
	if skipped != len(results)-1 {
		t.Errorf("%d of %d shards were skipped", skipped, len(results))
	}
	s.check()
	// Staging decides about a build: the shard is looked at, and nothing is made there.
	b := s.builds[0]
	b.Volume = "staged"
	dir, err := b.Dir()
	must(t, err)
	must(t, os.RemoveAll(filepath.Join(s.top, dir)))
	o.Decided = map[int64]string{b.ID: "deleted"}
	s.mustCopy(o)
	if _, err := os.Stat(filepath.Join(s.top, dir)); err == nil {
		t.Error("a build that staging deleted is there again")
	}
}

// TestWorkers: several processes copy their parts at once.
func TestWorkers(t *testing.T) {
	s := newSite(t)
	s.plan()
	const n = 3
	done := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			cmd := s.child(shard.Part{I: i + 1, N: n})
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			done[i] = string(out)
		})
	}
	wg.Wait()
	s.check()
	ids := strings.Fields(strings.Join(done, ""))
	slices.Sort(ids)
	if len(ids) != len(s.plan().Shards) || len(slices.Compact(ids)) != len(ids) {
		t.Errorf("shards %q", done)
	}
	if left, err := filepath.Glob(filepath.Join(s.top, "vol/staged/.kojisnap-tmp*")); err != nil || len(left) > 0 {
		t.Errorf("temporary directories are left: %q, %v", left, err)
	}
}

func (s *site) child(part shard.Part) *exec.Cmd {
	text, err := json.Marshal(childJob{s.m, s.top, s.prod, part})
	must(s.t, err)
	name := filepath.Join(s.t.TempDir(), "job")
	must(s.t, os.WriteFile(name, text, 0o644))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	return cmd
}

// TestKilled: two workers are killed (SIGKILL) again and again. What a ledger has is always there and whole; in the end each file is.
func TestKilled(t *testing.T) {
	s := newSite(t)
	s.plan()
	kills := 0
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range 2 {
		wg.Go(func() {
			for wait := 10 * time.Millisecond; ; wait += wait / 4 { // a fast machine copies all in a tenth of a second
				cmd := s.child(shard.Part{I: i + 1, N: 2})
				var errs strings.Builder
				cmd.Stderr = &errs
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				timer := time.AfterFunc(wait, func() { cmd.Process.Kill() })
				err := cmd.Wait()
				timer.Stop()
				if err == nil {
					return
				}
				if !strings.Contains(err.Error(), "killed") {
					t.Errorf("%v: %s", err, errs.String())
					return
				}
				mu.Lock()
				kills++
				s.wholeByLedger()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if kills < 3 {
		t.Errorf("%d kills: the test is too weak", kills)
	}
	s.check()
	s.mustCopy(options(s.top, s.prod))
}
