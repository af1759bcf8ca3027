package hardlink_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/volumes"
)

// What Check says of a file that is there, by what is known of it.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	if err := kojiprod.ExtractTree(dir); err != nil {
		t.Fatal(err)
	}
	read := func(path string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, bashDir, path))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	unsigned, signed := read(bashRPM), read(bashSigned)
	const sigmd5, sighash = "sigmd5:de989233838da9ee326f2977d37cefa5", "md5:3f6b83f58140202ffeec11a654289dc9"
	rpm := volumes.File{Path: bashRPM, Kind: volumes.KindRPM, Size: int64(len(unsigned)), Digest: sigmd5}
	copied := volumes.File{Path: bashSigned, Kind: volumes.KindSigned, Size: -1, Digest: sigmd5, Key: "41526f0e"}
	hashed := copied
	hashed.SigDigest = sighash
	otherKey := copied
	otherKey.Key = "ba2992d4"
	changed := flip(-1)(bytes.Clone(unsigned))
	for _, test := range []struct {
		name    string
		content []byte
		size    int64 // 0: that of content
		file    volumes.File
		header  string // what is wrong by the header alone
		whole   string // and by the content
	}{
		{"unsigned", unsigned, 0, rpm, "", ""},
		{"signed", signed, 0, copied, "", ""},
		{"signed, hash known", signed, 0, hashed, "", ""},
		{"size unknown", signed, -1, hashed, "", ""},
		{"byte changed", changed, 0, rpm, "", "sigmd5"},
		{"cut", unsigned[:len(unsigned)-1], 0, rpm, "size", "size"},
		{"cut, size not in the database", signed[:len(signed)-1], 0, copied, "size by its own header", "size by its own header"},
		{"cut, size unknown", unsigned[:len(unsigned)-1], -1, rpm, "", "size"},
		{"unsigned in place of the signed copy", unsigned, 0, copied, "signing key", "signing key"},
		{"unsigned, hash known", unsigned, 0, hashed, "signature header", "signature header"},
		{"another key", signed, 0, otherKey, "signing key", "signing key"},
		{"no rpm", []byte("no rpm"), -1, rpm, "format", "format"},
	} {
		t.Run(test.name, func(t *testing.T) {
			size := test.size
			if size == 0 {
				size = int64(len(test.content))
			}
			for whole, want := range map[bool]string{false: test.header, true: test.whole} {
				err := hardlink.Check(bytes.NewReader(test.content), size, test.file, "NAME", whole)
				var digest *hardlink.DigestError
				if errors.As(err, &digest) != (want != "") || err == nil != (want == "") || digest != nil && (digest.What != want || digest.Path != "NAME") {
					t.Errorf("whole %t: got %v, want %q", whole, err, want)
				}
			}
		})
	}
}
