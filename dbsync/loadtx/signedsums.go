package loadtx

import (
	"bytes"
	"fmt"
	"io"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/snapfile"
)

// LineReader are rows of a snapshot, one at a time.
type LineReader interface {
	Next() bool
	Line() []byte
	Err() error
	Close() error
}

// SignedSums are the rows of rpm_checksum whose signature the snapshot has, if so asked each with the signature's hash as a
// further field. Both relations are sorted by rpm_id and sigkey.
type SignedSums struct {
	sums  LineReader
	sigs  *snapfile.Rows
	hash  bool
	began bool
	sig   [][]byte // the present one, nil after the last
	rpm   int64    // its rpm_id
	row   []byte
	buf   []byte // of row, not yet read
	err   error
}

// NewSignedSums makes them of rows of rpm_checksum and all of rpmsigs; hash asks for the further field. Close closes both.
func NewSignedSums(sums LineReader, sigs *snapfile.Rows, hash bool) *SignedSums {
	return &SignedSums{sums: sums, sigs: sigs, hash: hash}
}

// Next advances to the next row. It returns false at the end and on an error; Err tells which.
func (s *SignedSums) Next() bool {
	for s.err == nil && s.sums.Next() {
		if s.row, s.err = s.line(s.row[:0]); s.err == nil && len(s.row) > 0 {
			return true
		}
	}
	return false
}

// Line returns the row as COPY text with its newline. It is valid until the next call of Next.
func (s *SignedSums) Line() []byte { return s.row }

// Read implements io.Reader.
func (s *SignedSums) Read(p []byte) (int, error) {
	if len(s.buf) == 0 {
		if !s.Next() {
			return 0, io.EOF
		}
		s.buf = s.row
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}

// line appends the line for the present row, nothing if its signature is not there.
func (s *SignedSums) line(dst []byte) ([]byte, error) {
	sum, err := snapfile.ParseLine(bytes.TrimSuffix(bytes.Clone(s.sums.Line()), []byte("\n")), nil)
	if err != nil {
		return dst, err
	}
	if len(sum) < 2 || sum[0] == nil || sum[1] == nil {
		return dst, fmt.Errorf("rpm_checksum: a row of %d fields, or without a key", len(sum))
	}
	rpm, err := idset.Parse(sum[0])
	if err != nil {
		return dst, fmt.Errorf("rpm_checksum: %w", err)
	}
	if !s.began {
		s.began = true
		if err := s.next(); err != nil {
			return dst, err
		}
	}
	for s.sig != nil && (s.rpm < rpm || s.rpm == rpm && bytes.Compare(s.sig[1], sum[1]) < 0) {
		if err := s.next(); err != nil {
			return dst, err
		}
	}
	if s.sig == nil || s.rpm != rpm || !bytes.Equal(s.sig[1], sum[1]) {
		return dst, nil
	}
	if s.hash {
		sum = append(sum, s.sig[2])
	}
	return snapfile.AppendLine(dst, sum), nil
}

// next goes to the next signature.
func (s *SignedSums) next() (err error) {
	if !s.sigs.Next() {
		s.sig = nil
		return s.sigs.Err()
	}
	if s.sig, err = s.sigs.Fields(s.sig); err == nil {
		s.rpm, err = idset.Parse(s.sig[0])
	}
	return err
}

// Err is what was wrong, nil at the end.
func (s *SignedSums) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.sums.Err()
}

// Close closes what is open.
func (s *SignedSums) Close() error {
	s.sigs.Close()
	return s.sums.Close()
}
