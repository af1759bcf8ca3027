package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/verify"
	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/clonetest"
)

// cloned makes an env whose production tree is on a disk of its own, at koji, mounted read-only where the configuration
// has it, and the configuration of syncs with clones. more is added to [clone].
func cloned(t *testing.T, kind, more string) (w *env, c, disk string) {
	t.Helper()
	w = newHubEnv(t)
	must(t, os.Chmod(filepath.Dir(t.TempDir()), 0o755)) // for other users
	disk = clonetest.Disk(t, kind, 600<<20)
	tree := filepath.Join(disk, "koji")
	if kind == "btrfs" {
		clonetest.Subvolume(t, tree)
	} else {
		must(t, os.Mkdir(tree, 0o755))
	}
	must(t, syscall.Mount(tree, w.prodTree, "", syscall.MS_BIND, ""))
	t.Cleanup(func() { must(t, syscall.Unmount(w.prodTree, syscall.MNT_DETACH)) })
	w.addTree(t)
	must(t, syscall.Mount("", w.prodTree, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	w.addMarked(t)
	c = w.config(t, "f42-compose")
	text := strings.Replace(w.read(t, c), "writable-source = true # a directory of this machine", `builds = "none"`, 1)
	must(t, os.WriteFile(c, []byte(text+strings.ReplaceAll(more, "DISK", disk)), 0o644))
	return w, c, disk
}

// shown returns the note of the clone that vol/prod shows.
func (w *env) shown(t *testing.T) clone.Note {
	t.Helper()
	n, err := clone.Current(w.topdir, "prod")
	must(t, err)
	if n == nil {
		t.Fatal("vol/prod shows no clone")
	}
	return *n
}

func verified(t *testing.T, code int, args ...string) verify.Result {
	t.Helper()
	o := kojisnapRun(t, append(args, "--json")...)
	if o.code != code {
		t.Fatalf("%v: exit code %d, want %d: %s%s", args, o.code, code, o.stdout, o.stderr)
	}
	var r verify.Result
	must(t, json.Unmarshal([]byte(o.stdout), &r))
	return r
}

func checkOf(t *testing.T, r verify.Result, name string) verify.Check {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c verify.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %q in %+v", name, r.Checks)
	}
	return r.Checks[i]
}

// TestSyncWithClones: a sync pulls, makes a clone, loads and verifies, and composes link inside the clone: the links are
// links, and cost no data. Production's tree is not changed. The next sync keeps the clone, one after a change makes
// another, and old ones are discarded, but for those in use.
func TestSyncWithClones(t *testing.T) {
	for kind, table := range map[string]string{
		"xfs":   "[clone]\nprovider = \"overlay\"\ndir = \"DISK/clones\"\nlower = \"DISK/koji\"\nlive-lower = true\nkeep = 0\n",
		"btrfs": "[clone]\nprovider = \"btrfs\"\ndir = \"DISK/clones\"\nsubvolume = \"DISK/koji\"\nkeep = 0\n",
	} {
		t.Run(kind, func(t *testing.T) {
			w, c, disk := cloned(t, kind, table)
			before := clonetest.List(t, w.prodTree)
			succeed(t, "doctor", "-c", c)
			var r kojisnap.SyncResult
			must(t, json.Unmarshal([]byte(succeed(t, "sync", "-c", c, "--json")), &r))
			var steps []string
			for _, s := range r.Steps {
				steps = append(steps, s.Name)
			}
			if !slices.Equal(steps, []string{"pull", "clone", "copy", "load", "remove", "verify", "discard"}) || r.Clone == nil || r.Clone.Kept || r.Discard == nil {
				t.Fatalf("steps %q, %+v, %+v", steps, r.Clone, r.Discard)
			}
			first := w.shown(t)
			if first.ID != r.Clone.ID || !strings.HasPrefix(first.ID, fmt.Sprintf("stg-%d-", lastEvent)) || !first.Proven || first.Source != w.prodTree {
				t.Errorf("shown is %+v, made %+v", first, r.Clone)
			}
			envs, err := repository.Environments(t.Context(), w.store)
			must(t, err)
			if len(envs) != 1 || envs[0].Clone != first.ID || envs[0].Snapshot != r.Snapshot {
				t.Errorf("environments %+v", envs)
			}
			if staged, err := filepath.Glob(filepath.Join(w.topdir, "vol/staged/packages/*")); err != nil || len(staged) != 0 {
				t.Errorf("copied: %q, %v", staged, err)
			}

			// A trial inside the clone.
			compose := filepath.Join(first.Compose, "trial")
			v := verified(t, 0, "verify", "-c", c, "--compose", compose)
			if links := checkOf(t, v, "clone links"); links.Status != verify.StatusOK || links.Count == 0 || links.Bad > 0 || !strings.Contains(links.Detail, "bytes were written on the disk") {
				t.Errorf("links: %+v", links)
			}
			// Those on a volume of production's that is not in the clone are copied.
			if tr := checkOf(t, v, "trial"); tr.Status != verify.StatusOK || strings.Contains(tr.Detail, " 0 hard links") || !strings.Contains(tr.Detail, " 3 files copied") {
				t.Errorf("trial: %+v", tr)
			}
			if check := checkOf(t, v, "clone"); check.Status != verify.StatusOK || !strings.Contains(check.Detail, first.ID) {
				t.Errorf("clone: %+v", check)
			}
			if seedtest.Long() || kind == "xfs" { // what is refused is the same whichever provider made the clone
				w.refusedBeside(t, c, disk, first)
			}
			// No room, or no right place: exit code 1, and the same clone is shown.
			small := filepath.Join(t.TempDir(), "small")
			must(t, os.Mkdir(small, 0o755))
			must(t, syscall.Mount("tmpfs", small, "tmpfs", 0, "nr_inodes=3"))
			t.Cleanup(func() { must(t, syscall.Unmount(small, syscall.MNT_DETACH)) })
			if o := kojisnapRun(t, "clone", "-c", c, "--dir", filepath.Join(small, "clones")); o.code != 1 || w.shown(t).ID != first.ID {
				t.Errorf("no room: exit code %d: %s", o.code, o.stderr)
			}

			// Nothing new: the same clone. A copy by itself does not lead vol/prod back.
			succeed(t, "sync", "-c", c)
			succeed(t, "copy", "-c", c)
			if now := w.shown(t); now.ID != first.ID {
				t.Errorf("shown is %s", now.ID)
			}
			// A running compose keeps its clone.
			running, err := os.Open(filepath.Join(compose, "f42-compose"))
			must(t, err)
			if o := kojisnapRun(t, "clone", "-c", c, "-n", "--json"); o.code != 3 || !strings.Contains(o.stdout, first.ID) || w.shown(t).ID != first.ID {
				t.Errorf("a dry run: exit code %d: %s%s", o.code, o.stdout, o.stderr)
			}
			id := strings.TrimSpace(succeed(t, "clone", "-c", c))
			if now := w.shown(t); now.ID != id || id == first.ID {
				t.Errorf("shown is %s, made %s", now.ID, id)
			}
			if out := succeed(t, "discard", "-c", c); out != "" {
				t.Errorf("discarded %q", out)
			}
			if o := kojisnapRun(t, "discard", "-c", c, first.ID); o.code != 5 {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
			must(t, running.Close())
			if o := kojisnapRun(t, "discard", "-c", c, "-n"); o.code != 3 || o.stdout != first.ID+"\n" {
				t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
			}
			succeed(t, "sync", "-c", c)
			if out := succeed(t, "clones", "-c", c); !strings.HasPrefix(out, "in use") || !strings.Contains(out, id) || strings.Contains(out, first.ID) {
				t.Errorf("clones: %s", out)
			}
			if o := kojisnapRun(t, "discard", "-c", c, id); o.code != 1 || !strings.Contains(o.stderr, "--back") {
				t.Errorf("the clone in use: exit code %d: %s", o.code, o.stderr)
			}
			for _, bad := range []string{"../" + id, "x", id + "\n"} {
				if o := kojisnapRun(t, "discard", "-c", c, bad); o.code != 2 {
					t.Errorf("%q: exit code %d: %s", bad, o.code, o.stderr)
				}
			}
			succeed(t, "clones", "-c", c, "--json")
			succeed(t, "discard", "-c", c, id, "--back", "--json")
			if target, err := os.Readlink(filepath.Join(w.topdir, "vol/prod/packages")); err != nil || target != w.prodTree+"/packages" {
				t.Errorf("led back to %q, %v", target, err)
			}
			if left, err := os.ReadDir(filepath.Join(disk, "clones")); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			if after := clonetest.List(t, w.prodTree); after != before {
				t.Errorf("production's tree changed: %s", firstDifference(before, after))
			}
		})
	}
}

// refusedBeside looks for what is refused beside the first clone.
func (w *env) refusedBeside(t *testing.T, c, disk string, first clone.Note) {
	t.Helper()
	for _, koji := range []string{"packages/x", "vol/x", "repos/x"} {
		if o := kojisnapRun(t, "verify", "-c", c, "--compose", filepath.Join(first.Path, koji)); o.code != 1 || !strings.Contains(o.stderr, "where Koji keeps its files") {
			t.Errorf("%s: exit code %d: %s", koji, o.code, o.stderr)
		}
	}

	// A clone on record may be written, and is no danger for production; another tree is.
	const danger = "could be written by staging's hub"
	if o := kojisnapRun(t, "copy", "-c", c, "-n", "--source", first.Path); strings.Contains(o.stderr, danger) || o.code != 0 && o.code != 3 {
		t.Errorf("the clone as a source: exit code %d: %s", o.code, o.stderr)
	}
	if o := kojisnapRun(t, "copy", "-c", c, "-n", "--source", filepath.Join(disk, "koji")); o.code != 1 || !strings.Contains(o.stderr, danger) {
		t.Errorf("a writable tree as a source: exit code %d: %s", o.code, o.stderr)
	}
	// Who does not own production's files may not link them.
	if other := checkOf(t, verified(t, 3, "verify", "-c", c, "--compose-user", "nobody"), "links"); other.Status != verify.StatusFailed || !strings.Contains(strings.Join(other.Examples, " "), "protected_hardlinks") {
		t.Errorf("links as another user: %+v", other)
	}
}

// TestStaleClone: what a live tree below an overlay loses or changes is found by verify, with exit code 3; a sync after
// that makes a new clone. A clone that is not mounted, or was removed by hand, is found, too.
func TestStaleClone(t *testing.T) {
	w, c, disk := cloned(t, "ext4", "[clone]\nprovider = \"overlay\"\ndir = \"DISK/clones\"\nlower = \"DISK/koji\"\nlive-lower = true\n")
	succeed(t, "sync", "-c", c)
	first := w.shown(t)
	if first.Details["mode"] != "metacopy" {
		t.Fatalf("details %v", first.Details)
	}
	verified(t, 0, "verify", "-c", c, "--compose", filepath.Join(first.Compose, "trial")) // its links are copied up
	rpms, err := filepath.Glob(filepath.Join(disk, "koji/packages/bash/5.3.0/2.fc42/data/signed/41526f0e/x86_64/bash-5*.rpm"))
	must(t, err)
	stale := func(want string) {
		t.Helper()
		r := verified(t, 3, "verify", "-c", c)
		check := checkOf(t, r, "clone")
		if check.Status != verify.StatusFailed || !strings.Contains(check.Detail, "clone stale") || !strings.Contains(check.Detail+strings.Join(check.Examples, " "), want) || r.DigestMismatch() {
			t.Errorf("want %q: %+v", want, check)
		}
	}
	// Replaced: a link that was made before has the new content.
	body, err := os.ReadFile(rpms[0])
	must(t, err)
	info, err := os.Stat(rpms[0])
	must(t, err)
	must(t, os.Remove(rpms[0]))
	must(t, os.WriteFile(rpms[0], append(append([]byte{}, body[:len(body)-1]...), body[len(body)-1]^1), 0o644))
	must(t, os.Chtimes(rpms[0], info.ModTime(), info.ModTime()))
	must(t, exec.Command("sh", "-c", "echo 2 >/proc/sys/vm/drop_caches").Run())
	stale("changed after the clone was made")
	must(t, os.Remove(rpms[0]))
	must(t, exec.Command("sh", "-c", "echo 2 >/proc/sys/vm/drop_caches").Run())
	stale("is gone")
	// A sync finds it, and the next one makes another clone.
	if o := kojisnapRun(t, "sync", "-c", c); o.code != 3 || w.shown(t).ID != first.ID {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	must(t, os.WriteFile(rpms[0], body, 0o644))
	must(t, os.Chtimes(rpms[0], info.ModTime(), info.ModTime()))
	succeed(t, "sync", "-c", c)
	second := w.shown(t)
	if second.ID == first.ID {
		t.Error("no new clone was made")
	}
	// The whole tree is gone, or another one is at its place.
	must(t, os.Rename(filepath.Join(disk, "koji"), filepath.Join(disk, "moved")))
	stale("is gone")
	must(t, os.Mkdir(filepath.Join(disk, "koji"), 0o755))
	must(t, os.Mkdir(filepath.Join(disk, "koji/packages"), 0o755))
	stale("was replaced")
	if o := kojisnapRun(t, "clones", "-c", c); o.code != 3 || !strings.Contains(o.stdout, "clone stale") {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	must(t, os.RemoveAll(filepath.Join(disk, "koji")))
	must(t, os.Rename(filepath.Join(disk, "moved"), filepath.Join(disk, "koji")))
	// A reboot.
	clonetest.UnmountAll(t, second.Path)
	if o := kojisnapRun(t, "verify", "-c", c); o.code != 3 || !strings.Contains(o.stdout, "kojisnap clones --mount") {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	succeed(t, "clones", "-c", c, "--mount")
	verified(t, 0, "verify", "-c", c)
	// Removed by hand.
	clonetest.UnmountAll(t, second.Path)
	must(t, os.RemoveAll(filepath.Dir(second.Path)))
	if o := kojisnapRun(t, "verify", "-c", c); o.code != 3 {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	succeed(t, "sync", "-c", c)
	if third := w.shown(t); third.ID == second.ID {
		t.Error("no new clone was made")
	}
}
