package rpmfile

import (
	"encoding/binary"
	"encoding/hex"
)

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
