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

// TestBundleCut: a bundle that is cut off makes no snapshot, wherever that is: in a head, in a body, between
// entries, before the manifest. The error says that it is cut, and what is carried over once more goes in.
func TestBundleCut(t *testing.T) {
	from, to := pulltest.NewStore(t), pulltest.NewStore(t)
	file := write(t, from, pullInto(t, from, 300, "f42-compose"), "")
	all := entries(t, file)
	cuts := []int{0, 1}
	for i, e := range all {
		if i%5 == 0 || i > len(all)-3 {
			cuts = append(cuts, e.head, e.head+1, e.head+511, e.body, e.body+1, e.body+e.size/2, e.body+e.size-1)
		}
	}
	for _, at := range cuts {
		_, err := read(t, file[:at], to, bundle.Options{})
		if err == nil || !strings.Contains(err.Error(), "cut off") && at >= all[0].body {
			t.Errorf("cut at %d: %v", at, err)
		}
		if ids := snapshots(t, to); len(ids) > 0 {
			t.Fatalf("cut at %d: %q", at, ids)
		}
	}
	if _, err := read(t, file, to, bundle.Options{}); err != nil {
		t.Fatal(err)
	}
	whole(t, to, snapshots(t, to)[0])
}

// TestBundleFlipped: a byte that flipped on the way is noticed, in each part of a bundle, before a snapshot is seen;
// in the padding it does no harm.
func TestBundleFlipped(t *testing.T) {
	key := newKey(t)
	from := signed.New(pulltest.NewStore(t), signed.Options{Sign: &key})
	file := write(t, from, pullInto(t, from, 300, "f42-compose"), "")
	all := entries(t, file)
	var flips []int
	for i, e := range all {
		if i%5 == 0 || i > len(all)-4 {
			flips = append(flips, e.head, e.head+100, e.head+130, e.head+156, e.head+300, e.body, e.body+e.size/2, e.body+e.size-1)
		}
	}
	for _, at := range flips {
		to := pulltest.NewStore(t)
		bad := bytes.Clone(file)
		bad[at] ^= 0x10
		_, err := read(t, bad, to, bundle.Options{})
		if err == nil || len(snapshots(t, to)) > 0 {
			t.Errorf("byte %d, of %q: %v, snapshots %q", at, entryAt(all, at), err, snapshots(t, to))
		}
		if e := entryAt(all, at); strings.HasPrefix(e, "segments/") && at >= bodyOf(all, e) && !errors.As(err, new(*snapfile.DamagedError)) {
			t.Errorf("byte %d, of %q: %v is no damage", at, e, err)
		}
	}
	to := pulltest.NewStore(t)
	last := all[len(all)-1]
	if pad := last.body + last.size; pad%512 != 0 {
		bad := bytes.Clone(file)
		bad[pad] ^= 0x10
		if _, err := read(t, bad, to, bundle.Options{}); err != nil {
			t.Errorf("padding: %v", err)
		}
		whole(t, to, snapshots(t, to)[0])
	}
}

func entryAt(all []entry, at int) string {
	for _, e := range all {
		if at >= e.head && at < e.body+e.size {
			return e.name
		}
	}
	return ""
}

func bodyOf(all []entry, name string) int {
	return all[slices.IndexFunc(all, func(e entry) bool { return e.name == name })].body
}

// rewrite makes another tar of the entries of a bundle: edit may change, drop, or add to them.
func rewrite(t *testing.T, file []byte, edit func([]part) []part) []byte {
	t.Helper()
	var parts []part
	r := tar.NewReader(bytes.NewReader(file))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part{tar.Header{Typeflag: tar.TypeReg, Name: h.Name, Mode: 0o644}, body})
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, p := range edit(parts) {
		if p.h.Size == 0 {
			p.h.Size = int64(len(p.body))
		}
		if err := w.WriteHeader(&p.h); err != nil { // after a body that is shorter than its head says
			return out.Bytes()
		}
		if _, err := w.Write(p.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type part struct {
	h    tar.Header
	body []byte
}

// TestBundleHostile: what somebody made up is refused before anything of it is read or a snapshot is seen: names that
// lead elsewhere, links, what is there twice, what is too large, what does not belong to the snapshot, a wrong order.
func TestBundleHostile(t *testing.T) {
	from := pulltest.NewStore(t)
	id := pullInto(t, from, 300, "f42-compose")
	file := write(t, from, id, "")
	other := entries(t, write(t, from, pullInto(t, from, pulltest.LastEvent, "f42-compose"), ""))
	manifest := func(parts []part) int { return len(parts) - 1 }
	add := func(h tar.Header, body string) func([]part) []part {
		return func(parts []part) []part { return slices.Insert(parts, 1, part{h, []byte(body)}) }
	}
	bomb := segment(t, strings.Repeat("a", 70<<20))
	for _, test := range []struct {
		name string
		says string
		edit func([]part) []part
	}{
		{"manifest first", "comes after the manifest", func(p []part) []part { return slices.Insert(p[:manifest(p):manifest(p)], 1, p[manifest(p)]) }},
		{"no header", "does not begin with bundle.json", func(p []part) []part { return p[1:] }},
		{"no manifest", "has no manifest", func(p []part) []part { return p[:manifest(p)] }},
		{"a segment twice", "is there twice", func(p []part) []part { return slices.Insert(p, 2, p[1]) }},
		{"a segment missing", "bundle.json says", func(p []part) []part { return slices.Delete(p, 1, 2) }},
		{"after the end", "comes after the manifest", func(p []part) []part { return append(p, p[1]) }},
		{"climbing", "does not belong to snapshot", add(tar.Header{Typeflag: tar.TypeReg, Name: "segments/../../etc/passwd"}, "x")},
		{"absolute", "does not belong to snapshot", add(tar.Header{Typeflag: tar.TypeReg, Name: "/etc/passwd"}, "x")},
		{"lease", "does not belong to snapshot", add(tar.Header{Typeflag: tar.TypeReg, Name: "locks/prune-0123456789abcdef"}, "x")},
		{"other manifest", "does not belong to snapshot", add(tar.Header{Typeflag: tar.TypeReg, Name: other[len(other)-1].name}, "x")},
		{"odd name", "does not belong to snapshot", add(tar.Header{Typeflag: tar.TypeReg, Name: "segments/\x1b[31m\nsegments/" + strings.Repeat("0", 64) + ".zst"}, "x")},
		{"symlink", "no regular file", add(tar.Header{Typeflag: tar.TypeSymlink, Name: entries(t, file)[1].name, Linkname: "/etc/passwd"}, "")},
		{"hard link", "no regular file", add(tar.Header{Typeflag: tar.TypeLink, Name: entries(t, file)[1].name, Linkname: "bundle.json"}, "")},
		{"directory", "no regular file", add(tar.Header{Typeflag: tar.TypeDir, Name: "segments/"}, "")},
		{"device", "no regular file", add(tar.Header{Typeflag: tar.TypeChar, Name: entries(t, file)[1].name, Devmajor: 1, Devminor: 5}, "")},
		{"huge segment", "more than any segment", add(tar.Header{Typeflag: tar.TypeReg, Name: "segments/" + strings.Repeat("0", 64) + ".zst", Size: 1 << 40}, "x")},
		{"one more segment", "more than the", func(p []part) []part {
			return slices.Insert(p, manifest(p), part{tar.Header{Typeflag: tar.TypeReg, Name: "segments/" + strings.Repeat("0", 64) + ".zst"}, []byte("x")})
		}},
		{"wrong content", "is damaged", func(p []part) []part { p[1].body = p[2].body; return p }},
		{"decompresses without end", "more than 67108864 bytes", func(p []part) []part { p[1].body = bomb; return p }},
		{"no zstd", "is damaged", func(p []part) []part { p[1].body = []byte("no zstd"); return p }},
		{"huge header", "more than", func(p []part) []part { p[0].body = append(p[0].body, bytes.Repeat([]byte(" "), 1<<20)...); return p }},
		{"another snapshot's id", "bundle.json is damaged", func(p []part) []part { p[0].body = bytes.Replace(p[0].body, []byte(id), []byte("../x"), 1); return p }},
		{"newer", "update kojisnap", func(p []part) []part {
			p[0].body = bytes.Replace(p[0].body, []byte(`"version":1`), []byte(`"version":2`), 1)
			return p
		}},
		{"forged manifest", "is damaged", func(p []part) []part {
			p[manifest(p)].body = bytes.Replace(p[manifest(p)].body, []byte(`"created_by": "test"`), []byte(`"created_by": "me!!"`), 1)
			return p
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := pulltest.NewStore(t)
			_, err := read(t, rewrite(t, file, test.edit), to, bundle.Options{})
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("%v, want %q", err, test.says)
			}
			if ids := snapshots(t, to); len(ids) > 0 {
				t.Errorf("snapshots %q", ids)
			}
			all, err := to.List(t.Context(), "")
			for _, e := range all {
				if !strings.HasPrefix(e.Name, "segments/") {
					t.Errorf("%s was written", e.Name)
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	// Segments in another order are no fault.
	to := pulltest.NewStore(t)
	if _, err := read(t, rewrite(t, file, func(p []part) []part { slices.Reverse(p[1:manifest(p)]); return p }), to, bundle.Options{}); err != nil {
		t.Error(err)
	}
	whole(t, to, id)
	for _, text := range []string{"", "no tar at all", strings.Repeat("\x00", 2048), strings.Repeat("x", 4096)} {
		if _, err := read(t, []byte(text), to, bundle.Options{}); err == nil {
			t.Errorf("%.20q is a bundle", text)
		}
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
