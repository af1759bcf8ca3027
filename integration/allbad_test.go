package integration_test

import (
	"bytes"
	"crypto/md5"
	bigendian "encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/store/s3/s3test"
)

// plantRows makes rows of production odd, of each kind one. It returns what each is named by when a
// sync tells of it, and the builds that are not copied for it.
func (w *env) plantRows(t *testing.T) (names, held []string) {
	t.Helper()
	build := func(name string) int {
		t.Helper()
		dirs := glob(t, filepath.Join(w.prodTree, "packages", name, "*/*"))
		if len(dirs) != 1 {
			t.Fatalf("%s has %d builds", name, len(dirs))
		}
		rel, err := filepath.Rel(filepath.Join(w.prodTree, "packages"), dirs[0])
		must(t, err)
		return int(w.buildID(t, rel).(int64))
	}
	rpm := func(name string) int64 {
		t.Helper()
		rows, err := w.prodRows.Select("rpminfo", hubtest.Values{"build_id": int64(build(name))})
		must(t, err)
		return rows[0]["id"].(int64)
	}
	// What a pull leaves out, or takes without the value.
	vim, group := build("cairo"), w.firstActive(t, "group_config", "group_id")
	repo := w.firstActive(t, "external_repo_config", "external_repo_id")
	w.update(t, "build", hubtest.Values{"id": vim}, hubtest.Values{"completion_time": "10000-01-01 00:00:00+00"})
	w.update(t, "build", hubtest.Values{"id": build("ruby")}, hubtest.Values{"extra": "{\"a\": \"\\u0001\"}"})
	w.update(t, "group_config", hubtest.Values{"group_id": group, "active": true}, hubtest.Values{"description": "\x03"})
	w.update(t, "external_repo_config", hubtest.Values{"external_repo_id": repo, "active": true}, hubtest.Values{"url": "http://\x04"})
	w.update(t, "channels", hubtest.Values{"id": 1}, hubtest.Values{"name": "\x05"})
	w.update(t, "users", hubtest.Values{"id": 3}, hubtest.Values{"name": "\x06"})
	// What a copy can make nothing of.
	w.update(t, "rpminfo", hubtest.Values{"id": rpm("curl")}, hubtest.Values{"payloadhash": "zz"})
	w.update(t, "rpmsigs", hubtest.Values{"rpm_id": rpm("expat")}, hubtest.Values{"sighash": ""})
	w.update(t, "rpminfo", hubtest.Values{"id": rpm("pango")}, hubtest.Values{"name": "odd/name"})
	w.update(t, "build", hubtest.Values{"id": build("git")}, hubtest.Values{"release": "1\n2"})
	// What is odd, and no harm: rpm 6 has no SIGMD5, Python has lookahead.
	w.update(t, "rpminfo", hubtest.Values{"id": rpm("libxml2")}, hubtest.Values{"payloadhash": "(none)"})
	w.update(t, "tag_inheritance", hubtest.Values{"active": true}, hubtest.Values{"pkg_filter": "(?!no-such-package)"})
	w.smallSize(t, "ncurses", build("ncurses"))
	// What staging's tables refuse.
	w.update(t, "build", hubtest.Values{"id": build("setup")}, hubtest.Values{"epoch": 9})
	dbtest.Exec(t, w.dsn, "ALTER TABLE build ADD CONSTRAINT site_epoch CHECK (epoch IS NULL OR epoch < 9)")
	return []string{fmt.Sprintf("build %d ", vim), fmt.Sprintf("build %d ", build("ruby")), fmt.Sprintf(" group_id=%d ", group), fmt.Sprintf(" external_repo_id=%d ", repo),
			"channel 1 ", "user 3 ", `build "curl-`, `build "expat-`, `build "pango-`, `build release "1\n2"`, "site_epoch"},
		[]string{"cairo", "curl", "expat", "pango", "git"}
}

// smallSize lets the signature headers of a build's signed copies say that less follows them than does,
// as some tools wrote them; row and cached header are of that.
func (w *env) smallSize(t *testing.T, name string, build int) {
	t.Helper()
	rpms, err := w.prodRows.Select("rpminfo", hubtest.Values{"build_id": int64(build)})
	must(t, err)
	const key = "41526f0e"
	n := 0
	for _, r := range rpms {
		file := fmt.Sprintf("%v-%v-%v.%v.rpm", r["name"], r["version"], r["release"], r["arch"])
		for _, path := range glob(t, filepath.Join(w.prodTree, "packages", name, "*/*/data/signed", key, "*", file)) {
			rpm := []byte(w.read(t, path))
			entries, size := int(bigendian.BigEndian.Uint32(rpm[96+8:])), int(bigendian.BigEndian.Uint32(rpm[96+12:]))
			end := 96 + (16+16*entries+size+7)/8*8
			for i := range entries {
				if entry := rpm[96+16+16*i:]; bigendian.BigEndian.Uint32(entry) == 1000 { // RPMSIGTAG_SIZE
					bigendian.BigEndian.PutUint32(rpm[96+16+16*entries+int(bigendian.BigEndian.Uint32(entry[8:])):], 7)
					n++
				}
			}
			must(t, os.Remove(path))
			must(t, os.WriteFile(path, rpm, 0o644))
			sum := md5.Sum(rpm[96:end])
			w.update(t, "rpmsigs", hubtest.Values{"rpm_id": r["id"], "sigkey": key}, hubtest.Values{"sighash": hex.EncodeToString(sum[:])})
			sig := strings.Replace(path, "/data/signed/", "/data/sigcache/", 1) + ".sig"
			must(t, os.WriteFile(sig, rpm[96:end], 0o644))
		}
	}
	if n == 0 {
		t.Fatal(name, " has no signed copy")
	}
}

// firstActive is a column of the first active row of a versioned relation.
func (w *env) firstActive(t *testing.T, table, column string) int64 {
	t.Helper()
	rows, err := w.prodRows.Select(table, hubtest.Values{"active": true})
	must(t, err)
	if len(rows) == 0 {
		t.Fatal("no active row of ", table)
	}
	return rows[0][column].(int64)
}

// TestEverythingBad: in production, on its way and below topdir is one thing wrong of each kind, all
// at once. A sync keeps back these things, names each once, and does all else, at every run.
func TestEverythingBad(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	s3 := s3test.StartParallel(t)
	if s3.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: nothing can be put before its server")
	}
	store, refused := s3.Strict(t)
	source, denied := denying(t)
	names, held := w.plantRows(t)
	moreNames, moreHeld := w.spoil(t)
	names, held = append(names, moreNames...), append(held, moreHeld...)
	w.surroundings(t)
	ca := w.mannered(t)
	c := w.config(t, "f42-compose", "f42-build")
	body, err := os.ReadFile(c)
	must(t, err)
	for _, set := range [][2]string{
		{fmt.Sprintf("store  = %q", w.store), fmt.Sprintf("store  = %q", store)}, {"[pull]\n", fmt.Sprintf("[pull]\nserverca = %q\n", ca)},
		{fmt.Sprintf("source = [%q]", w.prodTree), fmt.Sprintf("source = [%q, %q]\nmode = \"0664\"", w.prodTree, source)},
	} {
		if bytes.Count(body, []byte(set[0])) != 1 {
			t.Fatalf("the configuration has no %q: %s", set[0], body)
		}
		body = bytes.Replace(body, []byte(set[0]), []byte(set[1]), 1)
	}
	must(t, os.WriteFile(c, body, 0o644))
	must(t, os.Chmod(filepath.Dir(c), 0o755))
	must(t, os.Chmod(filepath.Dir(filepath.Dir(c)), 0o755))
	run := w.nobody(t, os.Environ()...)
	must(t, os.Chmod(filepath.Join(w.prodTree, "packages/filesystem"), 0o700))
	must(t, exec.Command("sh", "-c", "chmod 700 "+w.prodTree+"/packages/coreutils/*/*/data/extra").Run())
	must(t, exec.Command("chown", "-R", "root", filepath.Join(w.topdir, "vol/staged/.kojisnap-tmp")).Run())

	var o outcome
	for _, args := range [][]string{{"sync", "-c", c}, {"sync", "-c", c, "--json"}} {
		o = run(args...)
		if o.code != 3 || strings.Count(o.stderr, "temporary files are left") != 1 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		namedOnce(t, o.stderr, names...)
	}
	if refused.Load() == 0 || denied.Load() == 0 {
		t.Errorf("the store refused %d requests, the second source denied %d", refused.Load(), denied.Load())
	}
	var r kojisnap.SyncResult
	must(t, json.Unmarshal([]byte(o.stdout), &r))
	if o.code != 3 || r.Pull == nil || r.Copy == nil || r.Load == nil || r.Verify == nil {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	if n := len(r.Pull.LeftOut) + len(r.Copy.Held) + len(r.Load.Bad); n != len(names) {
		t.Errorf("%d things are kept back, %d were planted: %+v, %+v, %+v", n, len(names), r.Pull.LeftOut, r.Copy.Held, r.Load.Bad)
	}

	// All else is there.
	for _, name := range held {
		if found := glob(t, filepath.Join(w.topdir, "vol/staged/packages", name, "*/*")); len(found) > 0 {
			t.Errorf("%s is copied", name)
		}
	}
	for _, name := range []string{"bash", "coreutils", "glibc", "zlib", "ruby", "libxml2", "setup", "ncurses", "kernel", "perl"} {
		found := glob(t, filepath.Join(w.topdir, "vol/staged/packages", name, "*/*"))
		if len(found) == 0 {
			t.Errorf("%s is not copied", name)
		}
	}
	staged := len(glob(t, filepath.Join(w.topdir, "vol/staged/packages/*/*/*")))
	var builds, copied int
	must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE v.name = 'staged')
		FROM build b JOIN volume v ON v.id = b.volume_id WHERE state = 1`).Scan(&builds, &copied))
	if staged < 30 || copied < staged-1 || builds < 50 { // staging refuses one that is copied
		t.Errorf("%d builds are copied; the database has %d, %d of them as copies", staged, builds, copied)
	}
	w.afterwards(t, func(args ...string) outcome { return run(append(args, "-c", c)...) }, names)
}
