package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/seedtest"
)

// TestAttack does at random what goes wrong around a staging: production goes on, commands are killed at any
// moment, pulls are never loaded, copies are damaged or removed, snapshots are forged, lists have typos.
// Whatever it was, no command says that all is well when it is not, and the next plain sync that gets
// through leaves staging as production is: its files byte by byte, no revocation that is guessed, and its
// own verify content. KOJISNAP_SEED=1-40 attacks longer.
func TestAttack(t *testing.T) {
	t.Parallel()
	seedtest.Each(t, []uint64{1, 2}, func(t *testing.T, seed uint64) {
		a := &attack{env: newMarkedEnv(t), rnd: rand.New(rand.NewPCG(seed, 0x61747461))}
		var err error
		a.mutator, err = generate.NewMutator(a.prodRows, generate.MutatorOptions{Seed: seed, Tags: []string{"f42-compose"}, Pace: time.Minute})
		must(t, err)
		config, err := os.ReadFile(a.env.config(t, "f42-compose"))
		must(t, err)
		// Production goes on: the event is its last.
		text := strings.Replace(string(config), fmt.Sprintf("event = %d\n", lastEvent), "margin = \"0s\"\n", 1)
		a.config = filepath.Join(t.TempDir(), "attack.toml")
		must(t, os.WriteFile(a.config, []byte(text), 0o644))
		succeed(t, "sync", "-c", a.config, "--no-verify")
		rounds := 5
		if seedtest.Long() {
			rounds = 8
		}
		for range rounds {
			for range 1 + a.rnd.IntN(3) {
				a.do(t)
			}
			a.heals(t)
		}
	})
}

type attack struct {
	*env
	rnd     *rand.Rand
	mutator *generate.Mutator
	config  string
}

func (a *attack) do(t *testing.T) {
	t.Helper()
	switch a.rnd.IntN(6) {
	case 0:
		a.production(t, 1+a.rnd.IntN(5))
	case 1:
		command := []string{"sync", "pull", "load", "copy", "sync"}[a.rnd.IntN(5)]
		args := []string{command, "-c", a.config}
		if command == "sync" || command == "load" || command == "copy" {
			if a.rnd.IntN(2) == 0 {
				args = append(args, "--audit")
			}
		}
		r := start(t, args...)
		after := time.Duration(a.rnd.IntN(1500)) * time.Millisecond
		time.Sleep(after)
		_ = r.cmd.Process.Signal(syscall.SIGKILL) // it may be done already
		<-r.ended
		t.Logf("killed %q after %s: %s", args, after, r.cmd.ProcessState)
	case 2:
		a.production(t, 3)
		o := kojisnapRun(t, "pull", "-c", a.config)
		t.Logf("a pull that is not loaded: %d", o.code)
	case 3:
		a.damage(t)
	case 4:
		a.forge(t)
	case 5:
		typo := [][]string{{"--arch", "x86-64"}, {"--sigkey", "deadbeef"}, {"--compose-tag", "f24-compose"}, {"--env", "prod"}, {"--staging-hub", a.prodURL}}[a.rnd.IntN(5)]
		if o := kojisnapRun(t, append([]string{"sync", "-c", a.config}, typo...)...); o.code == 0 || o.code == 3 {
			t.Errorf("sync with %q: exit code %d: %s", typo, o.code, o.stderr)
		}
	}
}

// production goes on.
func (a *attack) production(t *testing.T, changes int) {
	t.Helper()
	for range changes {
		did, err := a.mutator.Step()
		must(t, err)
		t.Log("production: ", did)
	}
}

// copies are the files of builds that composes take, as the ledger has them: below vol/staged, and of an
// rpm the signed copy if there is one.
func (a *attack) copies(t *testing.T) (files []string) {
	t.Helper()
	ledger, err := ledger.Read(a.topdir)
	must(t, err)
	for _, b := range ledger.Staged() {
		dir, err := b.Build.Rel()
		must(t, err)
		for _, e := range b.Entries {
			if e.Target == "" && !e.Absent {
				files = append(files, dir+"/"+e.Path)
			}
		}
	}
	signed := map[string]bool{}
	for _, file := range files {
		signed[filepath.Base(file)] = signed[filepath.Base(file)] || strings.Contains(file, "/data/signed/")
	}
	files = slices.DeleteFunc(files, func(file string) bool {
		return signed[filepath.Base(file)] && !strings.Contains(file, "/data/signed/")
	})
	slices.Sort(files)
	return files
}

// damage damages or removes a copy.
func (a *attack) damage(t *testing.T) {
	t.Helper()
	copies := slices.DeleteFunc(a.copies(t), func(file string) bool { return !strings.HasSuffix(file, ".rpm") })
	path := filepath.Join(a.topdir, "vol/staged", copies[a.rnd.IntN(len(copies))])
	good, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return // it was removed before
	}
	must(t, err)
	how := a.rnd.IntN(3)
	switch how {
	case 0:
		must(t, os.Remove(path))
	case 1:
		anew(t, path, good[:a.rnd.IntN(len(good))])
	case 2:
		bad := bytes.Clone(good)
		bad[min(len(bad)-1, 96+a.rnd.IntN(len(bad)))] ^= 0xff // the lead, before it, means nothing
		anew(t, path, bad)
	}
	t.Logf("damaged (%d) %s", how, path)
}

// forge changes a byte of an object of the store that a reader has to notice, and takes it back.
func (a *attack) forge(t *testing.T) {
	t.Helper()
	kind := []string{"snapshots", "segments"}[a.rnd.IntN(2)]
	objects, err := filepath.Glob(filepath.Join(a.store.String(), kind, "*"))
	must(t, err)
	if kind == "snapshots" {
		objects = objects[len(objects)-1:]
	}
	path := objects[a.rnd.IntN(len(objects))]
	good, err := os.ReadFile(path)
	must(t, err)
	bad := bytes.Clone(good)
	bad[a.rnd.IntN(len(bad))] ^= 1
	anew(t, path, bad)
	before := a.database(t, "")
	o := kojisnapRun(t, "load", "-c", a.config, "--audit")
	after := a.database(t, "")
	anew(t, path, good)
	t.Logf("forged %s: load --audit ends with %d", path, o.code)
	if o.code != 0 && withoutSequences(after) != withoutSequences(before) {
		t.Errorf("a load that refused a forged %s changed something: %s", kind, firstDifference(before, after))
	}
	if kind == "snapshots" && o.code == 0 {
		t.Errorf("a manifest with another byte was loaded: %s", o.stderr)
	}
}

// heals runs syncs until one gets through, and looks at what it leaves.
func (a *attack) heals(t *testing.T) {
	t.Helper()
	var o outcome
	for range 3 { // a lock of a server's session may outlive its client for a moment
		if o = kojisnapRun(t, "sync", "-c", a.config, "--sweep", "1"); o.code != 4 && o.code != 5 {
			break
		}
		time.Sleep(time.Second)
	}
	if o.code != 0 && o.code != 3 {
		t.Fatalf("sync: exit code %d: %s", o.code, o.stderr)
	}
	v := kojisnapRun(t, "verify", "-c", a.config)
	if o.code == 0 && v.code != 0 {
		t.Errorf("sync ended with %d, verify with %d: %s%s", o.code, v.code, o.stderr, v.stdout)
	}
	a.checkGuesses(t)
	for _, file := range a.copies(t) {
		have, err := os.ReadFile(filepath.Join(a.topdir, "vol/staged", file))
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := os.ReadFile(filepath.Join(a.prodTree, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // production has it on another volume, or it was spliced
		}
		if must(t, err); !bytes.Equal(have, want) {
			t.Errorf("%s is not what production has", file)
		}
	}
}

// checkGuesses demands that a tagging is revoked by a guess only where production has no such row: it reset
// the build, and no event tells.
func (a *attack) checkGuesses(t *testing.T) {
	t.Helper()
	guessed := one(t, a.dsn, `SELECT coalesce(string_agg(concat_ws(' ', create_event, build_id, tag_id), ','), '') FROM tag_listing
		WHERE revoker_id = (SELECT id FROM users WHERE name = 'kojisnap') AND revoke_event < 990000000`)
	if guessed == "" {
		return
	}
	for key := range strings.SplitSeq(guessed, ",") {
		var event, build, tag int64
		_, err := fmt.Sscan(key, &event, &build, &tag)
		must(t, err)
		must(t, a.prodRows.Change(func(tx *hubtest.Tx) error {
			rows, err := tx.Select("tag_listing", hubtest.Values{"create_event": event, "build_id": build, "tag_id": tag})
			if len(rows) > 0 {
				t.Errorf("the tagging of create_event %d, build %d, tag %d is revoked by a guess, production has %v", event, build, tag, rows)
			}
			return err
		}))
	}
}
