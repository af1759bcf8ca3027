package content_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/hardlink/content"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/volumes"
)

const (
	bashDir    = "packages/bash/5.3.0/2.fc42"
	bashSigned = "data/signed/41526f0e/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
	bashRPM    = "x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
)

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}

// Check reports what is wrong with an existing file, by the header alone and by the content.
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
	small, smallFile := bytes.Clone(signed), hashed
	setSize(t, small)
	smallFile.SigDigest = headerDigest(small)
	unsignedHash := headerDigest(unsigned)
	headed := func(f volumes.File, headers string) volumes.File { f.Headers = headers; return f }
	ownFile := func(sum string) volumes.File { f := rpm; f.Digest = "rpmsha256:" + sum; return f }
	ownHeader := ownSHA256(t, unsigned)
	renamed := ownFile("")
	renamed.Path = strings.Replace(renamed.Path, "5.3.0", "5.3.1", 1)
	for _, test := range []struct {
		name    string
		content []byte
		size    int64 // 0: the size of content
		file    volumes.File
		header  string // what is wrong according to the header
		whole   string // what is wrong according to the content
	}{
		{"unsigned", unsigned, 0, rpm, "", ""},
		{"signed", signed, 0, copied, "", ""},
		{"signed, hash known", signed, 0, hashed, "", ""},
		{"size unknown", signed, -1, hashed, "", ""},
		{"byte changed", changed, 0, rpm, "", "sigmd5"},
		{"cut", unsigned[:len(unsigned)-1], 0, rpm, "size", "size"},
		{"cut, size not in the database", signed[:len(signed)-1], 0, copied, "sigmd5", "sigmd5"},
		{"cut, size unknown", unsigned[:len(unsigned)-1], -1, rpm, "", "size"},
		{"unsigned in place of the signed copy", unsigned, 0, copied, "signing key", "signing key"},
		{"unsigned, hash known", unsigned, 0, hashed, "signature header", "signature header"},
		{"size in the header too small, all else right", small, 0, smallFile, "", ""},
		{"size in the header too small, cut", small[:len(small)-1], 0, smallFile, "sigmd5", "sigmd5"},
		{"unsigned header", unsigned, 0, headed(rpm, "="+unsignedHash), "", ""},
		{"unsigned header of another rpm", unsigned, 0, headed(rpm, "="+sighash), "signature header", "signature header"},
		{"unsigned header, row of a key", unsigned, 0, headed(rpm, "41526f0e="+sighash), "", ""},
		{"lead", flip(70)(bytes.Clone(unsigned)), 0, rpm, "lead", "lead"},
		{"own digests", unsigned, 0, ownFile(""), "", ""},
		{"own digests, header known", unsigned, 0, ownFile(ownHeader), "", ""},
		{"own digests, another header", unsigned, 0, ownFile(strings.Repeat("0", 64)), "sha256 of the header", "sha256 of the header"},
		{"own digests, byte changed", changed, 0, ownFile(""), "", "sha256 of the payload"},
		{"own digests, header changed", flip(5000)(bytes.Clone(unsigned)), 0, ownFile(""), "sha256 of the header", "sha256 of the header"},
		{"own digests, another rpm", unsigned, 0, renamed, "name by its own header", "name by its own header"},
		{"another key", signed, 0, otherKey, "signing key", "signing key"},
		{"no rpm", []byte("no rpm"), -1, rpm, "format", "format"},
	} {
		t.Run(test.name, func(t *testing.T) {
			size := test.size
			if size == 0 {
				size = int64(len(test.content))
			}
			for whole, want := range map[bool]string{false: test.header, true: test.whole} {
				err := content.Check(bytes.NewReader(test.content), size, test.file, "NAME", whole)
				var digest *content.DigestError
				if errors.As(err, &digest) != (want != "") || err == nil != (want == "") || digest != nil && (digest.What != want || digest.Path != "NAME") {
					t.Errorf("whole %t: got %v, want %q", whole, err, want)
				}
			}
		})
	}
}

// headerEnd returns where the signature header of an rpm ends.
func headerEnd(rpm []byte) int {
	entries, size := binary.BigEndian.Uint32(rpm[96+8:]), binary.BigEndian.Uint32(rpm[96+12:])
	end := 16 + 16*int(entries) + int(size)
	return 96 + end + -end&7
}

func headerDigest(rpm []byte) string {
	sum := md5.Sum(rpm[96:headerEnd(rpm)])
	return "md5:" + hex.EncodeToString(sum[:])
}

// setSize changes the length in an rpm's signature header to a smaller one.
func setSize(t *testing.T, rpm []byte) {
	t.Helper()
	entries := int(binary.BigEndian.Uint32(rpm[96+8:]))
	for i := range entries {
		if entry := rpm[96+16+16*i:]; binary.BigEndian.Uint32(entry) == 1000 {
			offset := int(binary.BigEndian.Uint32(entry[8:]))
			binary.BigEndian.PutUint32(rpm[96+16+16*entries+offset:], 7)
			return
		}
	}
	t.Fatal("no RPMSIGTAG_SIZE")
}

// ownSHA256 returns the SHA-256 of an rpm's main header.
func ownSHA256(t *testing.T, rpm []byte) string {
	t.Helper()
	at := headerEnd(rpm)
	entries, size := binary.BigEndian.Uint32(rpm[at+8:]), binary.BigEndian.Uint32(rpm[at+12:])
	sum := sha256.Sum256(rpm[at:][:16+16*int(entries)+int(size)])
	return hex.EncodeToString(sum[:])
}
