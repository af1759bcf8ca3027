package integration_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"kojisnap/dbsync/dbtest"
	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/shardplan"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// fleetSite is a production with one build to each shard, which a web server gives, and a topdir with the plan of a copy
// of all of it. The rpms have real leads and signature headers, with the digest of the rest, which is random.
type fleetSite struct {
	dir, prod, topdir, store string
	snapshot                 string
	dsn                      string // of the queue
	port                     int    // of the server
	files                    map[string]int64
	served                   atomic.Int64 // bytes
	pace                     *rate.Limiter
	hidden                   atomic.Value // a file that the server does not have
}

// newFleetSite makes a production of so many shards, each of so many rpms of a size. queue is a database, "": one of the
// tests' server.
func newFleetSite(t testing.TB, shards, rpms int, size int64, queue string) *fleetSite {
	t.Helper()
	base := t.TempDir()
	f := &fleetSite{dir: base, prod: filepath.Join(base, "prod"), topdir: filepath.Join(base, "koji"), store: filepath.Join(base, "store"), dsn: queue, files: map[string]int64{}}
	if f.dsn == "" {
		f.dsn = dbtest.Empty(t)
	}
	for _, dir := range []string{f.prod, f.topdir} {
		must(t, os.Mkdir(dir, 0o755))
	}
	f.snapshot = storeOnce(t, "fleet", f.store, func(at string) string {
		s, err := dir.Open(at)
		must(t, err)
		hub, _, _ := pulltest.ModularProduction(t)
		return pulltest.Pull(t, hub, s, lastEvent, "f42-compose").ID
	})
	s, err := dir.Open(f.store)
	must(t, err)
	snap, err := repository.Open(t.Context(), s, f.snapshot)
	must(t, err)
	names, err := shardplan.Volumes(t.Context(), shardplan.Of(snap))
	must(t, err)
	slices.Sort(names)
	builds := f.makeRPMs(t, shards, rpms, size)
	m := shard.Manifest{Snapshot: snap.ID, Event: snap.Manifest.Event, Made: time.Now(), Want: shard.Want{CopyVolume: "staged", Volume: "prod", Volumes: names}}
	top, err := topdir.Open(f.topdir, "")
	must(t, err)
	defer top.Close()
	_, err = shard.Make(t.Context(), top, m, 0, func(_ context.Context, spool *shard.Spool) error {
		for i, b := range builds {
			if err := spool.Build(b.ID, b.Build); err != nil {
				return err
			}
			for j := range b.RPMs {
				if err := spool.RPM(b.ID, int64(i*1000+j), &b.RPMs[j]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	must(t, err)
	f.serve(t)
	return f
}

// makeRPMs writes production's files.
func (f *fleetSite) makeRPMs(t testing.TB, shards, rpms int, size int64) (builds []shard.Build) {
	t.Helper()
	real := t.TempDir()
	must(t, kojiprod.ExtractTree(real))
	found, err := filepath.Glob(filepath.Join(real, "packages/bash/5.3.0/*/x86_64/bash-5.3.0-*.x86_64.rpm"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no rpm to begin with: %v", err)
	}
	whole, err := os.ReadFile(found[0])
	must(t, err)
	head, at := signatureOf(t, whole)
	random := make([]byte, max(size-int64(head), 2000))
	for i := range shards {
		b := shard.Build{ID: int64(i+1) << 12, BuildFiles: volumes.BuildFiles{Build: volumes.Build{Name: fmt.Sprintf("fleet%03d", i), Version: "1", Release: "1"}}}
		for j := range rpms {
			rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(j), byte(j >> 8), 1}).Read(random)
			sum := md5.Sum(random)
			body := append(bytes.Clone(whole[:head]), random...)
			copy(body[at:], sum[:])
			rpm := volumes.RPM{Name: fmt.Sprintf("fleet%03d-%d", i, j), Version: "1", Release: "1", Arch: "x86_64"}
			rel, err := rpm.Path()
			must(t, err)
			dir, err := b.Build.Dir()
			must(t, err)
			rel = dir + "/" + rel
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(f.prod, rel)), 0o755))
			must(t, os.WriteFile(filepath.Join(f.prod, rel), body, 0o644))
			f.files[rel] = int64(len(body))
			b.RPMs = append(b.RPMs, volumes.RPMFile{RPM: rpm, Size: int64(len(body)), PayloadHash: hex.EncodeToString(sum[:])})
		}
		builds = append(builds, b)
	}
	return builds
}

// signatureOf returns where an rpm's signature header ends, and where in it the digest of the rest is.
func signatureOf(t testing.TB, rpm []byte) (head, digest int) {
	t.Helper()
	entries, data := int(rpm[96+10])<<8|int(rpm[96+11]), int(rpm[96+13])<<16|int(rpm[96+14])<<8|int(rpm[96+15])
	head = 96 + 16 + entries*16 + data
	head = (head + 7) &^ 7
	sum := md5.Sum(rpm[head:])
	if digest = bytes.Index(rpm[:head], sum[:]); digest < 0 {
		t.Fatal("no digest in the signature header")
	}
	return head, digest
}

// serve begins to serve production's tree, at all addresses of this machine.
func (f *fleetSite) serve(t testing.TB) {
	t.Helper()
	f.hidden.Store("")
	files := http.FileServer(http.Dir(f.prod))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := f.hidden.Load().(string); name != "" && strings.HasSuffix(r.URL.Path, name) {
			http.NotFound(w, r)
			return
		}
		files.ServeHTTP(&countingWriter{w, f, r.Context()}, r)
	}))
	server.Listener.Close()
	var err error
	server.Listener, err = net.Listen("tcp", ":0")
	must(t, err)
	server.Start()
	t.Cleanup(server.Close)
	f.port = server.Listener.Addr().(*net.TCPAddr).Port
}

// countingWriter counts what is served, and keeps to the server's pace.
type countingWriter struct {
	http.ResponseWriter
	f   *fleetSite
	ctx context.Context
}

func (w *countingWriter) Write(b []byte) (int, error) {
	if w.f.pace != nil {
		if err := w.f.pace.WaitN(w.ctx, len(b)); err != nil {
			return 0, err
		}
	}
	n, err := w.ResponseWriter.Write(b)
	w.f.served.Add(int64(n))
	return n, err
}

// args are those of a command for the site, as a host sees it that reaches this machine at an address.
func (f *fleetSite) args(command, here string, more ...string) []string {
	return append([]string{command, "--store", f.store, "--snapshot", f.snapshot, "--topdir", f.topdir, "--queue", f.dsn,
		"--source", fmt.Sprintf("http://%s:%d", here, f.port)}, more...)
}

// enqueue puts the plan into the queue.
func (f *fleetSite) enqueue(t testing.TB, more ...string) outcome {
	t.Helper()
	o := kojisnapRun(t, f.args("copy", "127.0.0.1", append([]string{"--builds", "all"}, more...)...)...)
	if o.code != 0 {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	return o
}

// checkWhole fails unless topdir has each file, whole and only once, and nothing else.
func (f *fleetSite) checkWhole(t testing.TB, but ...string) {
	t.Helper()
	seen := map[string]bool{}
	staged := filepath.Join(f.topdir, "vol/staged")
	must(t, filepath.WalkDir(staged, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(staged, path)
		if err != nil {
			return err
		}
		if f.files[rel] == 0 {
			t.Errorf("%s is not production's", rel)
			return nil
		}
		want, err := os.ReadFile(filepath.Join(f.prod, rel))
		if err != nil {
			return err
		}
		have, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, want) {
			t.Errorf("%s is not whole: %d bytes of %d", rel, len(have), len(want))
		}
		seen[rel] = true
		return nil
	}))
	for rel := range f.files {
		if seen[rel] == slices.ContainsFunc(but, func(b string) bool { return strings.Contains(rel, b) }) {
			t.Errorf("%s: there: %v", rel, seen[rel])
		}
	}
}
