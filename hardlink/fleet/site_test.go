package fleet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/fleet"
	"kojisnap/kojisnap/lockfile"
)

// site is a server with files and a topdir into which workers copy them: the work of a shard as this package's caller
// does it, with whole files, a ledger and its lock, without all that Koji wants of them. Below dir:
//
//	url              the server's URL
//	files/SHARD/N    what was copied
//	ledger/SHARD     a line for each file, once it has its name
//	log              begin and end of each file's copying, by all workers, with the process and the time
type site struct {
	dir  string
	url  string
	size int // of a file, bytes

	asked  atomic.Int64 // requests that are being answered
	most   atomic.Int64 // the most at a time
	status atomic.Int64 // what the server answers; 0: the file
	delay  atomic.Int64 // of each answer
}

// newSite starts the server.
func newSite(t *testing.T, size int) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), size: size}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.setURL(t, server.URL)
	for _, dir := range []string{"files", "ledger"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *site) setURL(t *testing.T, url string) {
	s.url = url
	if err := os.WriteFile(filepath.Join(s.dir, "url"), []byte(url), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	now := s.asked.Add(1)
	defer s.asked.Add(-1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	time.Sleep(time.Duration(s.delay.Load()))
	if code := s.status.Load(); code != 0 {
		http.Error(w, "no", int(code))
		return
	}
	w.Write(content(strings.TrimPrefix(r.URL.Path, "/"), s.size))
}

// content is that of a file.
func content(name string, size int) []byte {
	sum := sha256.Sum256([]byte(name))
	return bytes.Repeat(sum[:], size/len(sum)+1)[:size]
}

// shard is one of the plan, of so many files.
func (s *site) shard(name string, files int) fleet.Shard {
	return fleet.Shard{Name: name, Digest: fmt.Sprint("v1 ", files), Files: int64(files), Bytes: int64(files * s.size)}
}

// work is fleet.Work.
func (s *site) work(ctx context.Context, job fleet.ShardJob) error {
	url := s.url
	if url == "" {
		text, err := os.ReadFile(filepath.Join(s.dir, "url"))
		if err != nil {
			return err
		}
		url = string(text)
	}
	ledger, err := os.OpenFile(filepath.Join(s.dir, "ledger", job.Shard.Name), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer ledger.Close()
	if unix.Flock(int(ledger.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return lockfile.Locked("another process has the ledger")
	}
	known, err := io.ReadAll(ledger)
	if err != nil {
		return err
	}
	for i := range int(job.Shard.Files) {
		name := fmt.Sprintf("%s/%d", job.Shard.Name, i)
		if bytes.Contains(known, []byte(name+"\n")) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.copy(ctx, url, name); err != nil {
			return err
		}
		if _, err := ledger.WriteString(name + "\n"); err != nil {
			return err
		}
		job.Made(1, job.Shard.Bytes/job.Shard.Files)
	}
	return nil
}

func (s *site) copy(ctx context.Context, url, name string) error {
	s.log("begin", name)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/"+name, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &fleet.SourceError{Source: "web", Err: errors.New(resp.Status)}
	}
	final := filepath.Join(s.dir, "files", name)
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(final), ".tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := io.Copy(f, resp.Body); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), final); err != nil {
		return err
	}
	s.log("end", name)
	return nil
}

// log writes a line at once, as many processes do.
func (s *site) log(what, name string) {
	f, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%d %d %s %s\n", time.Now().UnixNano(), os.Getpid(), what, name)
}

// event is a line of the log.
type event struct {
	at         time.Time
	pid        int
	what, name string
}

func (s *site) events(t *testing.T) (all []event) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e event
		var nano int64
		if _, err := fmt.Sscan(line, &nano, &e.pid, &e.what, &e.name); err != nil {
			t.Fatalf("log: %q: %v", line, err)
		}
		e.at = time.Unix(0, nano)
		all = append(all, e)
	}
	return all
}

// checkWhole fails unless each file of the shards is there, whole, and was copied once; twice at most as often as a
// worker was killed, between a file's name and the ledger's line.
func (s *site) checkWhole(t *testing.T, shards []fleet.Shard, killed int) {
	t.Helper()
	copied := map[string]int{}
	for _, e := range s.events(t) {
		if e.what == "end" {
			copied[e.name]++
		}
	}
	again := 0
	for _, shard := range shards {
		ledger, err := os.ReadFile(filepath.Join(s.dir, "ledger", shard.Name))
		if err != nil {
			t.Error(err)
		}
		for i := range int(shard.Files) {
			name := fmt.Sprintf("%s/%d", shard.Name, i)
			have, err := os.ReadFile(filepath.Join(s.dir, "files", name))
			if err != nil || !bytes.Equal(have, content(name, s.size)) {
				t.Errorf("%s is not whole: %d bytes, %v", name, len(have), err)
			}
			again += copied[name] - 1
			if n := bytes.Count(ledger, []byte(name+"\n")); n != 1 {
				t.Errorf("%s is %d times in the ledger", name, n)
			}
		}
	}
	if again > killed {
		t.Errorf("%d files were copied again, and %d workers were killed", again, killed)
	}
	s.checkAlone(t)
}

// checkAlone fails if two processes copied files of one shard at the same time.
func (s *site) checkAlone(t *testing.T) {
	t.Helper()
	type span struct{ pid int }
	last := map[string]*span{}
	for _, e := range s.events(t) {
		shard, _, _ := strings.Cut(e.name, "/")
		switch old := last[shard]; {
		case old == nil || old.pid == e.pid:
		case e.what == "end": // it began while the other one was the last
			t.Errorf("shard %s: process %d copied %s while %d was at it", shard, e.pid, e.name, old.pid)
		}
		last[shard] = &span{pid: e.pid}
	}
}
