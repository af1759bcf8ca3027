package rpmfile

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// Every rpm, signed copy and signature header of the real tree: SIGMD5 is the MD5 of
// what follows, the key is the directory's, the cached header is the file's own.
func TestReadHeadOfRealRPMs(t *testing.T) {
	dir := t.TempDir()
	if err := kojiprod.ExtractTree(dir); err != nil {
		t.Fatal(err)
	}
	tree := os.DirFS(dir)
	count := map[string]int{}
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		switch path.Ext(p) {
		case ".sig":
			b, err := fs.ReadFile(tree, p)
			if err != nil {
				return err
			}
			s, err := ReadSignature(bytes.NewReader(b))
			if err != nil {
				t.Errorf("%s: %v", p, err)
			}
			if !bytes.Equal(s.Raw, b) {
				t.Errorf("%s: %d bytes read of %d", p, len(s.Raw), len(b))
			}
			count["sig"]++
		case ".rpm":
			b, err := fs.ReadFile(tree, p)
			if err != nil {
				return err
			}
			r := bytes.NewReader(b)
			lead, s, err := ReadHead(r)
			if err != nil {
				t.Errorf("%s: %v", p, err)
			}
			if !bytes.Equal(append(lead, s.Raw...), b[:len(b)-r.Len()]) {
				t.Errorf("%s: lead and signature header are not the file's first bytes", p)
			}
			sum := md5.Sum(b[len(b)-r.Len():])
			if got := hex.EncodeToString(sum[:]); got != s.SigMD5 {
				t.Errorf("%s: sigmd5 %s, content %s", p, s.SigMD5, got)
			}
			if _, rest, ok := strings.Cut(p, "/data/signed/"); ok {
				key, _, _ := strings.Cut(rest, "/")
				if !slices.Contains(s.Keys, key) {
					t.Errorf("%s: keys %q", p, s.Keys)
				}
				count["signed"]++
			} else {
				count["rpm"]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count["rpm"] < 300 || count["signed"] < 100 || count["sig"] < 500 {
		t.Errorf("too few files seen: %v", count)
	}
	t.Log(count)
}

func TestReadHeadRefuses(t *testing.T) {
	lead := append(slices.Clone(leadMagic), make([]byte, LeadSize-4)...)
	huge := append(slices.Clone(headerMagic), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	short := append(slices.Clone(headerMagic), 0, 0, 0, 0, 0, 0, 0, 1, 0x03, 0, 0, 0)
	for name, content := range map[string][]byte{
		"empty":              nil,
		"html":               []byte(strings.Repeat("<html>", 50)),
		"lead alone":         lead,
		"no header":          append(slices.Clone(lead), make([]byte, 100)...),
		"counts too large":   append(slices.Clone(lead), huge...),
		"shorter than it is": append(slices.Clone(lead), short...),
	} {
		if _, _, err := ReadHead(bytes.NewReader(content)); !errors.Is(err, ErrNotRPM) {
			t.Errorf("%s: error %v, want %v", name, err, ErrNotRPM)
		}
	}
}

func FuzzReadSignature(f *testing.F) {
	f.Add(append(slices.Clone(headerMagic), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 16))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadSignature(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, s.Raw) {
			t.Error("what was read is not the input's beginning")
		}
	})
}
