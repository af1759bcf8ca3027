package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/seedtest"
)

// archive puts the files of production's volume archive01 on a file system of their own, mounted at
// place below the volume's directory. unmount takes it away, as a reboot without its mount does.
func (w *env) archive(t *testing.T, place string) (mount, unmount func()) {
	t.Helper()
	at := filepath.Join(w.prodTree, "vol/archive01", place)
	disk := filepath.Join(filepath.Dir(w.prodTree), "archive-disk")
	must(t, os.Rename(at, disk))
	must(t, os.Mkdir(at, 0o755))
	mounted := false
	unmount = func() {
		if mounted {
			must(t, syscall.Unmount(at, syscall.MNT_DETACH))
		}
		mounted = false
	}
	t.Cleanup(unmount)
	return func() {
		if err := syscall.Mount(disk, at, "", syscall.MS_BIND, ""); err != nil {
			t.Skip("no mounts here: ", err)
		}
		mounted = true
	}, unmount
}

// TestUnmountedVolume: one of production's volumes that is not mounted keeps back its builds alone, and a
// site that never has it says so once.
func TestUnmountedVolume(t *testing.T) {
	t.Parallel()
	const left = `volume "archive01"`
	for name, lose := range seedtest.SomeOf(map[string]func(t *testing.T, w *env) (mount func()){
		"a mount point of the volume": func(t *testing.T, w *env) func() { mount, _ := w.archive(t, "."); return mount },
		"a mount point of packages":   func(t *testing.T, w *env) func() { mount, _ := w.archive(t, "packages"); return mount },
		"a symlink to another mount": func(t *testing.T, w *env) func() {
			at, disk := filepath.Join(w.prodTree, "vol/archive01"), filepath.Join(filepath.Dir(w.prodTree), "disk")
			must(t, os.Rename(at, disk+".away"))
			must(t, os.Symlink(disk, at))
			return func() { must(t, os.Rename(disk+".away", disk)) }
		},
		"another disk": func(t *testing.T, w *env) func() {
			at := filepath.Join(w.prodTree, "vol/archive01")
			must(t, os.Rename(at, at+".away"))
			must(t, os.MkdirAll(filepath.Join(at, "packages/other/1/1"), 0o755))
			return func() { must(t, os.RemoveAll(at)); must(t, os.Rename(at+".away", at)) }
		},
	}, 2) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMarkedEnv(t)
			w.moveBuild(t, "bash/5.3.0/2.fc42", "archive01", w.volumeID(t, "archive01")) // which a compose takes
			mount := lose(t, w)
			c := w.allTagged(t)
			var first kojisnap.SyncResult
			times := 1
			if name == "a mount point of the volume" || seedtest.Long() {
				times = 2
			}
			for i := range times {
				o := kojisnapRun(t, "sync", "-c", c, "--no-verify", "--json")
				if o.code != 3 || strings.Count(o.stderr, left) != 1 || !strings.Contains(o.stderr, "vol/archive01") || !strings.Contains(o.stderr, "--unmounted") {
					t.Fatalf("exit code %d: %s", o.code, o.stderr)
				}
				var r kojisnap.SyncResult
				must(t, json.Unmarshal([]byte(o.stdout), &r))
				if i == 0 {
					first = r
				}
				if len(r.Copy.Held) != 1 || r.Copy.Held[0].Name != "archive01" || len(r.Copy.Actions.LeftOut) == 0 {
					t.Errorf("held %+v, left out %+v", r.Copy.Held, r.Copy.Actions.LeftOut)
				}
			}
			if len(glob(t, filepath.Join(w.topdir, "vol/staged/packages/*/*/*"))) < 20 {
				t.Error("the other builds are not copied")
			}
			state := w.checkVolumes(t)
			for _, b := range first.Copy.Actions.LeftOut {
				if b.Volume != "prod_archive01" || state[b.Name+"/"+b.Version+"/"+b.Release] != b.Volume {
					t.Errorf("%s is on %q, in the database on %q", b.NVR(), b.Volume, state[b.Name+"/"+b.Version+"/"+b.Release])
				}
			}

			// Said once: nothing to report, but verify does not hide what a compose cannot take.
			text := w.read(t, c)
			must(t, os.WriteFile(c, []byte("unmounted = [\"archive01\"]\n"+text), 0o644))
			o := kojisnapRun(t, "sync", "-c", c)
			if o.code != 0 || o.stderr != "" {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
			if times > 1 {
				o = kojisnapRun(t, "sync", "-c", c, "-v")
			}
			if times > 1 && (o.code != 0 || !strings.Contains(o.stderr, left) || !strings.Contains(o.stdout, "unmounted volumes")) {
				t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
			}
			if o := kojisnapRun(t, "verify", "-c", c, "--json"); o.code != 0 || !strings.Contains(o.stdout, "unmounted volumes") {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}

			// It is mounted: its builds are copied, and stay when it is away again.
			must(t, os.WriteFile(c, []byte(text), 0o644))
			mount()
			succeed(t, "sync", "-c", c)
			for _, b := range first.Copy.Actions.LeftOut {
				if _, err := os.Stat(filepath.Join(w.topdir, "vol/staged/packages", b.Name, b.Version, b.Release)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestUnmountedLater: what was copied while a volume was mounted stays as it is when the mount is missing,
// also in an audit, and nothing of it is removed.
func TestUnmountedLater(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	mount, unmount := w.archive(t, ".")
	mount()
	c := w.allTagged(t)
	succeed(t, "sync", "-c", c)
	files, state := w.files(t), w.checkVolumes(t)
	unmount()
	if o := kojisnapRun(t, "sync", "-c", c, "--no-verify"); o.code != 0 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if o := kojisnapRun(t, "copy", "-c", c, "--audit"); o.code != 0 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	// None is wanted any longer, and the time to keep them is over: what is away stays.
	if o := kojisnapRun(t, removing(t, "sync", "-c", c, "--no-verify", "--builds", "none")...); o.code != 0 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	kept := 0
	for nvr, volume := range state {
		_, err := os.Stat(filepath.Join(w.topdir, "vol/staged/packages", nvr))
		if archived := w.onArchive(t, nvr); volume == "staged" && archived != (err == nil) {
			if info, lerr := os.Lstat(filepath.Join(w.topdir, "vol/staged/packages", nvr)); archived || lerr == nil && info.IsDir() {
				t.Errorf("%s: archived %v, %v", nvr, archived, err)
			}
		} else if volume == "staged" && archived {
			kept++
		}
	}
	if kept == 0 || files == "" {
		t.Error("no build of the archive was copied")
	}
}

// allTagged is the configuration of a sync that copies builds of the archive, too.
func (w *env) allTagged(t *testing.T) string {
	t.Helper()
	c := w.config(t, "f42-compose")
	must(t, os.WriteFile(c, []byte("builds = \"tagged\"\n"+w.read(t, c)), 0o644))
	return c
}

func (w *env) volumeID(t *testing.T, name string) int {
	t.Helper()
	rows, err := w.prodRows.Select("volume", hubtest.Values{"name": name})
	must(t, err)
	var id int
	_, err = fmt.Sscan(fmt.Sprint(rows[0]["id"]), &id)
	must(t, err)
	return id
}

// onArchive tells whether production has a build on the volume archive01.
func (w *env) onArchive(t *testing.T, nvr string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(filepath.Dir(w.prodTree), "archive-disk/packages", nvr))
	return err == nil
}

// checkVolumes are the volumes of the builds in the database, by name/version/release.
func (w *env) checkVolumes(t *testing.T) map[string]string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, w.dsn)
	must(t, err)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT p.name || '/' || b.version || '/' || b.release, v.name
		FROM build b JOIN package p ON p.id = b.pkg_id JOIN volume v ON v.id = b.volume_id`)
	must(t, err)
	on := map[string]string{}
	var nvr, volume string
	_, err = pgx.ForEachRow(rows, []any{&nvr, &volume}, func() error { on[nvr] = volume; return nil })
	must(t, err)
	return on
}
