package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/bundle"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/s3/s3test"
	"kojisnap/kojisnap/store/signed"
)

// eachStore runs a test on a directory and on an S3 server.
func eachStore(t *testing.T, test func(t *testing.T, open func(t *testing.T) store.Store)) {
	t.Run("dir", func(t *testing.T) {
		test(t, func(t *testing.T) store.Store { return pulltest.NewStore(t) })
	})
	t.Run("s3", func(t *testing.T) {
		srv := s3test.Start(t)
		test(t, func(t *testing.T) store.Store { return srv.Open(t) })
	})
}

// pullInto pulls the recorded hub at an event.
func pullInto(t testing.TB, s store.Store, event int64, tags ...string) string {
	t.Helper()
	c, _ := pulltest.Production(t, hubtest.Options{})
	r, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: tags, Event: event, Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return r.Snapshot
}

func write(t testing.TB, s store.Store, id, since string) []byte {
	t.Helper()
	b, err := bundle.Plan(t.Context(), s, id, since)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Check(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := b.Write(t.Context(), &out, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(t testing.TB, body []byte, s store.Store, o bundle.Options) (*bundle.Result, error) {
	t.Helper()
	return bundle.Read(t.Context(), bytes.NewReader(body), s, o)
}

// snapshots are the ids in a store; a manifest that cannot be read fails the test.
func snapshots(t testing.TB, s store.Store) []string {
	t.Helper()
	all, err := repository.Snapshots(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, snap := range all {
		ids = append(ids, snap.ID)
	}
	return ids
}

// whole reads every row of a snapshot, and so compares all digests.
func whole(t testing.TB, s store.Store, id string) {
	t.Helper()
	snap, err := repository.Open(t.Context(), s, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range snap.Manifest.Relations {
		for _, rows := range []*snapfile.Rows{snap.Rows(t.Context(), r.Name), snap.Revoked(t.Context(), r.Name)} {
			for rows.Next() {
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			rows.Close()
		}
	}
}

// entry is one of a tar file: where its head and its content begin.
type entry struct {
	name       string
	head, body int
	size       int
}

func entries(t testing.TB, file []byte) []entry {
	t.Helper()
	var all []entry
	in := bytes.NewReader(file)
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		at := len(file) - in.Len()
		all = append(all, entry{h.Name, at - 512, at, int(h.Size)})
	}
}

// TestBundle: what is carried is the snapshot, whole, in both kinds of stores; the bundle of the carried snapshot is
// the same file; a second time nothing is new.
func TestBundle(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		from, to := open(t), open(t)
		id := pullInto(t, from, pulltest.LastEvent, "f42-compose")
		file := write(t, from, id, "")
		dry, err := read(t, file, to, bundle.Options{DryRun: true})
		if err != nil || dry.Existing || len(snapshots(t, to)) != 0 {
			t.Errorf("dry run: %+v, %v, %v", dry, err, snapshots(t, to))
		}
		r, err := read(t, file, to, bundle.Options{})
		if err != nil || r.Snapshot != id || r.Event != pulltest.LastEvent || r.Existing || r.Segments != dry.Segments || r.Segments == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		whole(t, to, id)
		if again := write(t, to, id, ""); !bytes.Equal(again, file) {
			t.Errorf("the bundle of what was carried differs: %d bytes, %d bytes", len(again), len(file))
		}
		if r, err := read(t, file, to, bundle.Options{}); err != nil || !r.Existing {
			t.Errorf("again: %+v, %v", r, err)
		}
	})
}

// TestBundleSince: a bundle since an earlier snapshot has only what that lacks; a store without that snapshot refuses
// it, and says which one to carry first.
func TestBundleSince(t *testing.T) {
	from, to := pulltest.NewStore(t), pulltest.NewStore(t)
	c, _ := pulltest.Production(t, hubtest.Options{})
	old := pulltest.Pull(t, c, from, 400, "f42-compose").ID
	id := pulltest.Pull(t, c, from, pulltest.LastEvent, "f42-compose").ID
	all, since := write(t, from, id, ""), write(t, from, id, old)
	if len(since) >= len(all) {
		t.Errorf("%d bytes since %s, of %d", len(since), old, len(all))
	}
	_, err := read(t, since, to, bundle.Options{})
	if err == nil || !strings.Contains(err.Error(), "unbundle "+old+" first") || errors.As(err, new(*snapfile.DamagedError)) || len(snapshots(t, to)) != 0 {
		t.Errorf("without %s: %v", old, err)
	}
	if _, err := read(t, write(t, from, old, ""), to, bundle.Options{}); err != nil {
		t.Fatal(err)
	}
	if r, err := read(t, since, to, bundle.Options{}); err != nil || r.Since != old {
		t.Fatalf("%+v, %v", r, err)
	}
	whole(t, to, id)
	if ids := snapshots(t, to); !slices.Equal(ids, []string{id, old}) {
		t.Errorf("%q", ids)
	}
	if _, err := bundle.Plan(t.Context(), from, id, "1-0123456789ab"); !errors.Is(err, repository.ErrNoSnapshot) {
		t.Errorf("since what is not there: %v", err)
	}
	// What the store lost is noticed before anything is written.
	lost := entries(t, all)[1].name
	if err := from.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Plan(t.Context(), from, id, ""); !errors.As(err, new(*snapfile.DamagedError)) || !strings.Contains(err.Error(), lost) {
		t.Errorf("%v", err)
	}
}

// TestBundleSigned: the signature is carried along. With a key only what that has signed goes in, and is trusted there.
func TestBundleSigned(t *testing.T) {
	key, strange := newKey(t), newKey(t)
	trust := bundle.Options{Keys: signed.Options{Trust: []signed.PublicKey{key.Public()}}}
	from := signed.New(pulltest.NewStore(t), signed.Options{Sign: &key})
	id := pullInto(t, from, 300, "f42-compose")
	file := write(t, from, id, "")
	to := pulltest.NewStore(t)
	if _, err := read(t, file, to, trust); err != nil {
		t.Fatal(err)
	}
	whole(t, signed.New(to, trust.Keys), id)
	if again := write(t, to, id, ""); !bytes.Equal(again, file) {
		t.Error("the bundle of what was carried differs")
	}
	unsigned, others := pulltest.NewStore(t), signed.New(pulltest.NewStore(t), signed.Options{Sign: &strange})
	for name, bad := range map[string][]byte{
		"unsigned":         write(t, unsigned, pullInto(t, unsigned, 300, "f42-compose"), ""),
		"another key's":    write(t, others, pullInto(t, others, 300, "f42-compose"), ""),
		"signature gone":   rewrite(t, file, func(p []part) []part { return slices.Delete(p, len(p)-2, len(p)-1) }),
		"signature forged": rewrite(t, file, func(p []part) []part { p[len(p)-2].body = []byte("ed25519 00 AAAA\n"); return p }),
	} {
		to := pulltest.NewStore(t)
		if _, err := read(t, bad, to, trust); !errors.As(err, new(*snapfile.DamagedError)) || len(snapshots(t, to)) > 0 {
			t.Errorf("%s: %v, %q", name, err, snapshots(t, to))
		}
	}
}

// newKey makes a key.
func newKey(t *testing.T) signed.PrivateKey {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if _, err := signed.Generate(file); err != nil {
		t.Fatal(err)
	}
	key, err := signed.ReadPrivate(file)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestBundleInterrupted: a reader that ends amid its work, and one whose store fails, leave no snapshot; the next one
// goes through.
func TestBundleInterrupted(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		from, to := pulltest.NewStore(t), open(t)
		id := pullInto(t, from, 300, "f42-compose")
		file := write(t, from, id, "")
		ctx, cancel := context.WithCancel(t.Context())
		in := &ending{Reader: bytes.NewReader(file), left: len(file) / 2, end: cancel}
		if _, err := bundle.Read(ctx, in, to, bundle.Options{}); !errors.Is(err, context.Canceled) || len(snapshots(t, to)) > 0 {
			t.Errorf("%v, %q", err, snapshots(t, to))
		}
		if _, err := read(t, file, to, bundle.Options{}); err != nil {
			t.Fatal(err)
		}
		whole(t, to, id)
		leases, err := to.List(t.Context(), "locks/")
		if err != nil || len(leases) > 0 {
			t.Errorf("leases that stayed: %v, %v", leases, err)
		}
	})
}

// ending calls end when so much was read.
type ending struct {
	io.Reader
	left int
	end  func()
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p[:min(len(p), 512)])
	if e.left -= n; e.left < 0 {
		e.end()
	}
	return n, err
}

// segment makes a segment's object of some lines.
func segment(t *testing.T, lines string) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll([]byte(lines), nil)
}

// BenchmarkBundle compares writing a bundle with tar of the same objects, both into a file.
func BenchmarkBundle(b *testing.B) {
	rows, err := generate.Hub(generate.Options{Builds: 8000, Outside: -1})
	if err != nil {
		b.Fatal(err)
	}
	s := pulltest.NewStore(b)
	c := pulltest.Client(b, hubtest.New(rows, hubtest.Options{}))
	r, err := pull.Pull(b.Context(), c, s, pull.Options{Tags: []string{generate.Tag}, Margin: -1, Program: "test"})
	if err != nil {
		b.Fatal(err)
	}
	out := filepath.Join(b.TempDir(), "out")
	p, err := bundle.Plan(b.Context(), s, r.Snapshot, "")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bundle", func(b *testing.B) {
		b.SetBytes(p.Bytes)
		for b.Loop() {
			file, err := os.Create(out)
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Write(b.Context(), file, nil); err != nil {
				b.Fatal(err)
			}
			file.Close()
		}
	})
	b.Run("tar", func(b *testing.B) {
		b.SetBytes(p.Bytes)
		for b.Loop() {
			if text, err := exec.CommandContext(b.Context(), "tar", "-C", s.String(), "-cf", out, "segments", "snapshots").CombinedOutput(); err != nil {
				b.Fatal(fmt.Errorf("%w: %s", err, text))
			}
		}
	})
}
