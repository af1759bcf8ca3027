package hardlink

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
	leadSize  = 96
	introSize = 16

	tagDSA       = 267  // RPMSIGTAG_DSA: signature of the main header
	tagRSA       = 268  // RPMSIGTAG_RSA
	tagPGP       = 1002 // RPMSIGTAG_PGP: signature of main header and payload
	tagMD5       = 1004 // RPMSIGTAG_MD5: MD5 of main header and payload
	tagGPG       = 1005 // RPMSIGTAG_GPG
	typeBin      = 7
	maxEntries   = 1 << 16 // librpm's own limit (HEADER_TAGS_MAX)
	maxSignature = 64 << 20
)

var (
	leadMagic   = []byte{0xed, 0xab, 0xee, 0xdb}
	headerMagic = []byte{0x8e, 0xad, 0xe8, 0x01}
)

// signature is what is of interest in an rpm's signature header.
type signature struct {
	raw    []byte   // as in the file, padding included; what Koji caches as .sig
	sigMD5 string   // hex; "" if the header has none
	sha256 string   // of the main header, hex; "" if the header has none
	keys   []string // key ids of the signatures: 8 hex digits, lower case
}

var errNotRPM = errors.New("not an rpm")

// readHead reads lead and signature header; r is then at the main header.
func readHead(r io.Reader) (lead []byte, sig signature, err error) {
	lead, err = sig.readHead(r)
	return lead, sig, err
}

func (s *signature) readHead(r io.Reader) (lead []byte, err error) {
	lead = make([]byte, leadSize)
	if _, err := io.ReadFull(r, lead); err != nil {
		return nil, fmt.Errorf("%w: lead: %w", errNotRPM, err)
	}
	if !bytes.HasPrefix(lead, leadMagic) {
		return nil, fmt.Errorf("%w: begins with %x", errNotRPM, lead[:4])
	}
	return lead, s.read(r)
}

// readSignature reads a signature header, as in an rpm after its lead or in a .sig file.
func readSignature(r io.Reader) (s signature, err error) {
	err = s.read(r)
	return s, err
}

// read reads another signature header into the memory of the last.
func (s *signature) read(r io.Reader) error {
	s.sigMD5, s.sha256, s.keys = "", "", nil
	intro := make([]byte, introSize)
	if _, err := io.ReadFull(r, intro); err != nil {
		return fmt.Errorf("%w: signature header: %w", errNotRPM, err)
	}
	if !bytes.HasPrefix(intro, headerMagic) {
		return fmt.Errorf("%w: signature header begins with %x", errNotRPM, intro[:4])
	}
	entries, size := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if entries > maxEntries || size > maxSignature {
		return fmt.Errorf("%w: signature header of %d entries and %d bytes", errNotRPM, entries, size)
	}
	length := 16*int64(entries) + int64(size)
	length += -(8 + length) & 7 // koji.get_sighdr: the 8 bytes of the counts are padded along
	// Beyond what is usual it grows as it is read, so that a few bytes cannot ask for
	// much memory.
	raw := bytes.NewBuffer(s.raw[:0])
	raw.Grow(introSize + int(min(length, 64<<10)) + bytes.MinRead)
	raw.Write(intro)
	if _, err := io.CopyN(raw, r, length); err != nil {
		return fmt.Errorf("%w: signature header: %w", errNotRPM, err)
	}
	s.raw = raw.Bytes()
	s.sha256 = headerText(s.raw, sigtagSHA256)
	index, data := s.raw[introSize:][:16*entries], s.raw[introSize+16*entries:][:size]
	for ; len(index) > 0; index = index[16:] {
		tag, kind := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:])
		offset, count := binary.BigEndian.Uint32(index[8:]), binary.BigEndian.Uint32(index[12:])
		if kind != typeBin || uint64(offset)+uint64(count) > uint64(len(data)) {
			continue
		}
		value := data[offset:][:count]
		switch tag {
		case tagMD5:
			s.sigMD5 = hex.EncodeToString(value)
		case tagRSA, tagDSA, tagPGP, tagGPG:
			if key := keyID(value); key != "" {
				s.keys = append(s.keys, key)
			}
		}
	}
	return nil
}

// keyID is the short id of the key that made an OpenPGP signature (RFC 4880 4.2,
// 5.2; koji.get_sigpacket_key_id): "" if the packet does not say.
func keyID(packet []byte) string {
	body := packetBody(packet)
	switch {
	case len(body) >= 15 && body[0] == 3:
		return hex.EncodeToString(body[11:15])
	case len(body) >= 6 && body[0] == 4:
		hashed, rest := sized(body[4:])
		unhashed, _ := sized(rest)
		for _, area := range [][]byte{hashed, unhashed} {
			if key := issuer(area); key != "" {
				return key
			}
		}
	}
	return ""
}

// packetBody is the body of a signature packet (tag 2), nil if it is none.
func packetBody(p []byte) []byte {
	if len(p) < 2 || p[0]&0x80 == 0 {
		return nil
	}
	var tag byte
	var length, head int
	if p[0]&0x40 != 0 { // new format
		tag = p[0] & 0x3f
		length, head = newLength(p[1:])
	} else {
		tag = p[0] >> 2 & 0x0f
		switch p[0] & 3 {
		case 0:
			length, head = int(p[1]), 1
		case 1:
			if len(p) >= 3 {
				length, head = int(binary.BigEndian.Uint16(p[1:])), 2
			}
		case 2:
			if len(p) >= 5 {
				length, head = int(binary.BigEndian.Uint32(p[1:])), 4
			}
		}
	}
	if tag != 2 || head == 0 || len(p) < 1+head+length {
		return nil
	}
	return p[1+head:][:length]
}

// newLength decodes a length of the new packet format, which subpackets use too.
func newLength(p []byte) (length, head int) {
	switch {
	case len(p) >= 1 && p[0] < 192:
		return int(p[0]), 1
	case len(p) >= 2 && p[0] < 255:
		return int(p[0]-192)<<8 + int(p[1]) + 192, 2
	case len(p) >= 5 && p[0] == 255:
		return int(binary.BigEndian.Uint32(p[1:])), 5
	}
	return 0, 0
}

// sized splits off what a length of two bytes counts.
func sized(p []byte) (area, rest []byte) {
	if len(p) < 2 {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint16(p))
	if len(p) < 2+n {
		return nil, nil
	}
	return p[2:][:n], p[2+n:]
}

// issuer finds subpacket 16 (issuer key id) or 33 (issuer fingerprint).
func issuer(area []byte) string {
	for len(area) > 0 {
		length, head := newLength(area)
		if head == 0 || length < 1 || len(area) < head+length {
			return ""
		}
		sub := area[head:][:length]
		area = area[head+length:]
		switch sub[0] & 0x7f { // the high bit says that it is critical
		case 16:
			if len(sub) == 9 {
				return hex.EncodeToString(sub[5:])
			}
		case 33:
			if len(sub) == 22 && sub[1] == 4 { // a v4 key's id is the fingerprint's end
				return hex.EncodeToString(sub[18:])
			}
		}
	}
	return ""
}
