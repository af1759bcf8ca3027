package rpmfile

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// The layout of an rpm: a lead of 96 bytes, the signature header padded to 8
// bytes, the main header, the payload. A header is its magic, 4 reserved bytes, the
// number of entries and the size of the data (big-endian), 16 bytes an entry (tag,
// type, offset, count), and the data.
const (
	LeadSize  = 96
	introSize = 16

	tagSize      = 1000 // RPMSIGTAG_SIZE: bytes of main header and payload
	tagLongSize  = 270  // RPMSIGTAG_LONGSIZE: the same beyond 4 GiB
	tagDSA       = 267  // RPMSIGTAG_DSA: signature of the main header
	tagRSA       = 268  // RPMSIGTAG_RSA
	tagPGP       = 1002 // RPMSIGTAG_PGP: signature of main header and payload
	tagMD5       = 1004 // RPMSIGTAG_MD5: MD5 of main header and payload
	tagGPG       = 1005 // RPMSIGTAG_GPG
	typeInt32    = 4
	typeInt64    = 5
	typeBin      = 7
	maxEntries   = 1 << 16 // librpm's own limit (HEADER_TAGS_MAX)
	MaxSignature = 64 << 20
)

var (
	leadMagic   = []byte{0xed, 0xab, 0xee, 0xdb}
	headerMagic = []byte{0x8e, 0xad, 0xe8, 0x01}
)

// Signature is what is of interest in an rpm's signature header.
type Signature struct {
	Raw    []byte   // as in the file, padding included; what Koji caches as .sig
	SigMD5 string   // hex; "" if the header has none
	SHA256 string   // of the main header, hex; "" if the header has none
	Keys   []string // key ids of the signatures: 8 hex digits, lower case
}

// ErrNotRPM is what is not laid out as an rpm, or ends too early.
var ErrNotRPM = errors.New("not an rpm")

// ReadHead reads lead and signature header; r is then at the main header.
func ReadHead(r io.Reader) (lead []byte, sig Signature, err error) {
	lead, err = sig.ReadHead(r)
	return lead, sig, err
}

// ReadHead is ReadHead into the memory of the last signature header.
func (s *Signature) ReadHead(r io.Reader) (lead []byte, err error) {
	lead = make([]byte, LeadSize)
	if _, err := io.ReadFull(r, lead); err != nil {
		return nil, fmt.Errorf("%w: lead: %w", ErrNotRPM, err)
	}
	if !bytes.HasPrefix(lead, leadMagic) {
		return nil, fmt.Errorf("%w: begins with %x", ErrNotRPM, lead[:4])
	}
	return lead, s.read(r)
}

// ReadSignature reads a signature header, as in an rpm after its lead or in a .sig file.
func ReadSignature(r io.Reader) (s Signature, err error) {
	err = s.read(r)
	return s, err
}

// read reads another signature header into the memory of the last.
func (s *Signature) read(r io.Reader) error {
	s.SigMD5, s.SHA256, s.Keys = "", "", nil
	intro := make([]byte, introSize)
	if _, err := io.ReadFull(r, intro); err != nil {
		return fmt.Errorf("%w: signature header: %w", ErrNotRPM, err)
	}
	if !bytes.HasPrefix(intro, headerMagic) {
		return fmt.Errorf("%w: signature header begins with %x", ErrNotRPM, intro[:4])
	}
	entries, size := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if entries > maxEntries || size > MaxSignature {
		return fmt.Errorf("%w: signature header of %d entries and %d bytes", ErrNotRPM, entries, size)
	}
	length := 16*int64(entries) + int64(size)
	length += -(8 + length) & 7 // koji.get_sighdr: the 8 bytes of the counts are padded along
	// Beyond what is usual it grows as it is read, so that a few bytes cannot ask for
	// much memory.
	raw := bytes.NewBuffer(s.Raw[:0])
	raw.Grow(introSize + int(min(length, 64<<10)) + bytes.MinRead)
	raw.Write(intro)
	if _, err := io.CopyN(raw, r, length); err != nil {
		return fmt.Errorf("%w: signature header: %w", ErrNotRPM, err)
	}
	s.Raw = raw.Bytes()
	s.SHA256 = text(s.Raw, sigtagSHA256)
	index, data := s.Raw[introSize:][:16*entries], s.Raw[introSize+16*entries:][:size]
	for ; len(index) > 0; index = index[16:] {
		tag, kind := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:])
		offset, count := binary.BigEndian.Uint32(index[8:]), binary.BigEndian.Uint32(index[12:])
		if kind != typeBin || uint64(offset)+uint64(count) > uint64(len(data)) {
			continue
		}
		value := data[offset:][:count]
		switch tag {
		case tagMD5:
			s.SigMD5 = hex.EncodeToString(value)
		case tagRSA, tagDSA, tagPGP, tagGPG:
			if key := keyID(value); key != "" {
				s.Keys = append(s.Keys, key)
			}
		}
	}
	return nil
}

// ContentSize is how many bytes follow the signature header in its rpm, if that says so.
func (s *Signature) ContentSize() (n int64, known bool) {
	entries, size := binary.BigEndian.Uint32(s.Raw[8:]), binary.BigEndian.Uint32(s.Raw[12:])
	index, data := s.Raw[introSize:][:16*entries], s.Raw[introSize+16*entries:][:size]
	for ; len(index) > 0; index = index[16:] {
		tag, kind := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:])
		offset := uint64(binary.BigEndian.Uint32(index[8:]))
		switch {
		case tag == tagSize && kind == typeInt32 && offset+4 <= uint64(len(data)):
			n, known = int64(binary.BigEndian.Uint32(data[offset:])), true
		case tag == tagLongSize && kind == typeInt64 && offset+8 <= uint64(len(data)):
			return int64(binary.BigEndian.Uint64(data[offset:])), true
		}
	}
	return n, known
}
