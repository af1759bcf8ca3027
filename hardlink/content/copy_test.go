package content

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"kojisnap/volumes"
)

// Copy verifies files of sizes around the buffer's, with each way to read and each algorithm.
func TestCopyVerified(t *testing.T) {
	var seed [32]byte
	source := rand.NewChaCha8(seed)
	for _, size := range []int{0, 1, BufferSize - 1, BufferSize, BufferSize + 1, 3*BufferSize + 7, 8 * BufferSize} {
		content := make([]byte, size)
		source.Read(content)
		m, s1, s2 := md5.Sum(content), sha1.Sum(content), sha256.Sum256(content)
		for _, digest := range []string{"md5:" + hex.EncodeToString(m[:]), "sha1:" + hex.EncodeToString(s1[:]), "sha256:" + hex.EncodeToString(s2[:])} {
			f := volumes.File{Kind: volumes.KindArchive, Size: int64(size), Digest: digest}
			for name, r := range map[string]io.Reader{
				"whole":      bytes.NewReader(content),
				"in halves":  iotest.HalfReader(bytes.NewReader(content)),
				"eof at end": iotest.DataErrReader(bytes.NewReader(content)),
			} {
				var out bytes.Buffer
				n, err := Copy(&out, r, f, "x")
				if err != nil || n != int64(size) || !bytes.Equal(out.Bytes(), content) {
					t.Errorf("%d bytes, %s: %d, %v", size, name, n, err)
				}
			}
			if size == 0 {
				continue
			}
			bad := bytes.Clone(content)
			bad[source.Uint64()%uint64(size)] ^= 0x80
			var damaged *DigestError
			if _, err := Copy(io.Discard, bytes.NewReader(bad), f, "x"); !errors.As(err, &damaged) || damaged.Path != "x" {
				t.Errorf("%d bytes, one bit flipped: %v", size, err)
			}
		}
	}
}

// Errors of reading and of writing are returned as they are, not as damage.
func TestCopyVerifiedFails(t *testing.T) {
	content := make([]byte, 2*BufferSize)
	f := volumes.File{Kind: volumes.KindArchive, Size: int64(len(content)), Digest: "md5:00"}
	eio := &fs.PathError{Op: "read", Path: "x", Err: errors.New("input/output error")}
	_, err := Copy(io.Discard, io.MultiReader(bytes.NewReader(content[:BufferSize]), iotest.ErrReader(eio)), f, "x")
	if !errors.Is(err, eio) {
		t.Errorf("error %v, want the reader's", err)
	}
	full := errors.New("no space left")
	if _, err = Copy(failing{full}, bytes.NewReader(content), f, "x"); !errors.Is(err, full) {
		t.Errorf("error %v, want the writer's", err)
	}
	f.Kind, f.Digest = volumes.KindRPM, "sigmd5:00"
	if _, err = Copy(io.Discard, iotest.ErrReader(eio), f, "x"); !errors.Is(err, eio) || errors.As(err, new(*DigestError)) {
		t.Errorf("error %v, want the reader's", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
