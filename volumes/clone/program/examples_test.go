package program_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/clonetest"
	"kojisnap/volumes/clone/program"
)

// The examples of scripts/clone hold the contract of providers, with commands that behave as zfs, lvm, mount and kubectl
// are documented to. They refuse what they did not make.
func TestExamples(t *testing.T) {
	for _, tool := range []string{"jq", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			clonetest.Need(t, "%v", err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	for name, c := range map[string]struct {
		tree  string // below the directory of the fake commands
		args  []string
		busy  bool
		other func(t *testing.T, fake, id string) (path string) // makes what has the name of a clone and is another's
	}{
		"zfs": {"zfs/tank%koji/data", []string{"tank/koji", "tank/clones"}, false, func(t *testing.T, fake, id string) string {
			path := filepath.Join(fake, "zfs/tank%clones%"+id)
			must(t, os.MkdirAll(filepath.Join(path, "data"), 0o755))
			return path
		}},
		"lvm": {"lvm/vg0/koji/data", []string{"vg0/koji", "FAKE/mounted"}, true, func(t *testing.T, fake, id string) string {
			path := filepath.Join(fake, "lvm/vg0/kojisnap-"+id)
			must(t, os.MkdirAll(filepath.Join(path, "data"), 0o755))
			must(t, os.WriteFile(filepath.Join(path, "tags"), []byte("backup\n"), 0o644))
			return path
		}},
		"csi": {"nfs/pv-prod", []string{"koji", "prod-tree", "FAKE/mounted"}, true, func(t *testing.T, fake, id string) string {
			path := filepath.Join(fake, "pvc/kojisnap-"+strings.ReplaceAll(id, "_", "-"))
			must(t, os.WriteFile(path, []byte(`{"metadata": {"labels": {}}, "spec": {"volumeName": "x"}}`), 0o644))
			return path
		}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := t.TempDir()
			for _, dir := range []string{"zfs/tank%clones/data", "lvm/vg0", "pvc", "pv", "nfs", "mounted"} {
				must(t, os.MkdirAll(filepath.Join(fake, dir), 0o755))
			}
			t.Cleanup(func() { clonetest.UnmountAll(t, filepath.Join(fake, "mounted")) })
			tree := filepath.Join(fake, c.tree)
			must(t, os.MkdirAll(tree, 0o755))
			must(t, os.WriteFile(filepath.Join(fake, "lvm/vg0/koji.tags"), nil, 0o644))
			if name == "lvm" {
				must(t, os.Remove(filepath.Join(fake, "lvm/vg0/koji.tags")))
				must(t, os.WriteFile(filepath.Join(tree, "../tags"), nil, 0o644))
			}
			must(t, os.WriteFile(filepath.Join(fake, "pvc/prod-tree"), []byte(`{"metadata": {"name": "prod-tree"}, "spec": {"volumeName": "pv-prod", "storageClassName": "fast",
				"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "8Gi"}}}, "status": {"capacity": {"storage": "10Gi"}}}`), 0o644))
			rpms := clonetest.Tree(t, tree, 5, 1000)
			bin, err := filepath.Abs("testdata/bin")
			must(t, err)
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			t.Setenv("FAKE", fake)
			script, err := filepath.Abs("../../../scripts/clone/" + name)
			must(t, err)
			command := []string{script}
			for _, arg := range c.args {
				command = append(command, strings.ReplaceAll(arg, "FAKE", fake))
			}
			p, err := program.New(program.Options{Env: clonetest.Env, Command: command, Source: tree})
			must(t, err)
			clonetest.Contract(t, p, tree, rpms, c.busy)

			id := clonetest.ID(30)
			theirs := c.other(t, fake, id.String())
			if _, err := p.Create(t.Context(), id); err == nil || !strings.Contains(err.Error(), "not kojisnap's") {
				t.Errorf("created over another's: %v", err)
			}
			if err := p.Discard(t.Context(), clone.Clone{ID: id.String()}); err == nil || !strings.Contains(err.Error(), "not kojisnap's") {
				t.Errorf("discarded another's: %v", err)
			}
			if _, err := os.Stat(theirs); err != nil {
				t.Errorf("another's is gone: %v", err)
			}
		})
	}
}

// A clone of ZFS that is busy stays, and is told as busy.
func TestZFSBusy(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		clonetest.Need(t, "%v", err)
	}
	fake := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(fake, "zfs/tank%clones/data"), 0o755))
	clonetest.Tree(t, filepath.Join(fake, "zfs/tank%koji/data"), 1, 100)
	bin, err := filepath.Abs("testdata/bin")
	must(t, err)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("FAKE", fake)
	script, err := filepath.Abs("../../../scripts/clone/zfs")
	must(t, err)
	p, err := program.New(program.Options{Env: clonetest.Env, Command: []string{script, "tank/koji", "tank/clones"}})
	must(t, err)
	c, err := p.Create(t.Context(), clonetest.ID(1))
	must(t, err)
	busy := filepath.Join(fake, "zfs/tank%clones%"+c.ID, "busy")
	must(t, os.WriteFile(busy, nil, 0o644))
	if err := p.Discard(t.Context(), c); !errors.Is(err, clone.ErrBusy) || !strings.Contains(err.Error(), "dataset is busy") {
		t.Errorf("busy: %v", err)
	}
	must(t, os.Remove(busy))
	must(t, p.Discard(t.Context(), c))
	if left, err := filepath.Glob(filepath.Join(fake, "zfs/*kojisnap*")); err != nil || len(left) > 0 {
		t.Errorf("snapshots left: %q, %v", left, err)
	}
}
