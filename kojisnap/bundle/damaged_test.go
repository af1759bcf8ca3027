package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/bundle"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/signed"
)

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

// TestNoBundle: a file that is no bundle is told so, and not to be carried over once more for want of its end alone.
func TestNoBundle(t *testing.T) {
	for _, text := range []string{"", "garbage\n", strings.Repeat("no tar file ", 1000)} {
		to := pulltest.NewStore(t)
		_, err := read(t, []byte(text), to, bundle.Options{})
		if err == nil || !strings.Contains(err.Error(), "no bundle of kojisnap's") || len(snapshots(t, to)) > 0 {
			t.Errorf("%.20q: %v", text, err)
		}
	}
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
