package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/snapfile"
)

// checkSegment reads a segment to its end, and compares the digest of its rows with its name.
func checkSegment(name string, in io.Reader) error {
	m := segmentName.FindStringSubmatch(name)
	if m == nil {
		return damaged(name, "no segment is called so")
	}
	src := &source{Reader: in}
	dec, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(snapfile.MaxSegment))
	if err != nil {
		return err
	}
	defer dec.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(dec, snapfile.MaxSegment+1)) // what is made up may decompress without end
	switch {
	case src.err != nil:
		return fmt.Errorf("%s: %w", name, src.err)
	case err != nil:
		return damaged(name, err.Error())
	case n > snapfile.MaxSegment:
		return damaged(name, fmt.Sprintf("it has more than %d bytes of rows", snapfile.MaxSegment))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != m[1] {
		return damaged(name, "its SHA-256 is "+got)
	}
	return nil
}

// source remembers why it could not be read: a decoder would take that for damage.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// scratch returns a file without a name: it is gone when closed, however the process ends.
func scratch(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "kojisnap-bundle-")
	if err != nil {
		return nil, scratchError(dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, scratchError(dir, err)
	}
	return f, nil
}

// scratchError says where the directory comes from, as nobody named it.
func scratchError(dir string, err error) error {
	if err == nil || dir != "" {
		return err
	}
	return fmt.Errorf("%w: temporary files are in the directory that TMPDIR names, %s", err, os.TempDir())
}
