package rpmfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

const (
	sigtagSHA256 = 273 // of the main header, in hex

	tagName          = 1000
	tagVersion       = 1001
	tagRelease       = 1002
	tagArch          = 1022
	tagSourceRPM     = 1044
	tagPayloadSHA256 = 5092 // of the payload as it is, in hex

	typeString      = 6
	typeStringArray = 8
	typeI18NString  = 9

	maxHeader = 256 << 20 // librpm's own limit (HEADER_DATA_MAX)
)

// ReadHeader reads a main header, which has no padding.
func ReadHeader(r io.Reader) ([]byte, error) {
	intro := make([]byte, introSize)
	if _, err := io.ReadFull(r, intro); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrNotRPM, err)
	}
	if !bytes.HasPrefix(intro, headerMagic) {
		return nil, fmt.Errorf("%w: header begins with %x", ErrNotRPM, intro[:4])
	}
	entries, size := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if entries > maxEntries || size > maxHeader {
		return nil, fmt.Errorf("%w: header of %d entries and %d bytes", ErrNotRPM, entries, size)
	}
	raw := bytes.NewBuffer(intro)
	if _, err := io.CopyN(raw, r, 16*int64(entries)+int64(size)); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrNotRPM, err)
	}
	return raw.Bytes(), nil
}

// PayloadSHA256 is the digest of the payload that a main header has, in hex; "" if it has none.
func PayloadSHA256(header []byte) string { return text(header, tagPayloadSHA256) }

// text is the first string of a tag of a header, "" if there is none.
func text(raw []byte, wanted uint32) string {
	entries, size := binary.BigEndian.Uint32(raw[8:]), binary.BigEndian.Uint32(raw[12:])
	index, data := raw[introSize:][:16*entries], raw[introSize+16*entries:][:size]
	for ; len(index) > 0; index = index[16:] {
		tag, kind, offset := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:]), binary.BigEndian.Uint32(index[8:])
		if tag != wanted || kind != typeString && kind != typeStringArray && kind != typeI18NString || uint64(offset) >= uint64(len(data)) {
			continue
		}
		text, _, ok := bytes.Cut(data[offset:], []byte{0})
		if ok {
			return string(text)
		}
	}
	return ""
}

// FileName is the name of an rpm's file by its header.
func FileName(raw []byte) string {
	arch := text(raw, tagArch)
	if text(raw, tagSourceRPM) == "" {
		arch = "src"
	}
	return text(raw, tagName) + "-" + text(raw, tagVersion) + "-" + text(raw, tagRelease) + "." + arch + ".rpm"
}

// LeadProblem says what of a lead is as no rpm has it: "" if all is well. The lead is of no use but
// to file(1), and rpm refuses a file whose lead is not one. Which name and arch it has is not looked at:
// not every tool writes them.
func LeadProblem(lead []byte) string {
	kind := binary.BigEndian.Uint16(lead[6:])
	name, padding, ended := bytes.Cut(lead[10:76], []byte{0})
	printable := func(c rune) bool { return c >= ' ' && c <= '~' }
	rest := bytes.Trim(append(bytes.Clone(padding), lead[80:96]...), "\x00")
	switch {
	case lead[4] < 3 || lead[4] > 4:
		return fmt.Sprintf("of version %d", lead[4])
	case kind > 1:
		return fmt.Sprintf("of an rpm of type %d", kind)
	case binary.BigEndian.Uint16(lead[78:]) != 5:
		return fmt.Sprintf("of signature type %d", binary.BigEndian.Uint16(lead[78:]))
	case !ended || strings.TrimFunc(string(name), printable) != "":
		return fmt.Sprintf("with the name %.70q", name)
	case len(rest) > 0:
		return fmt.Sprintf("with %.32q where nothing is to be", rest)
	}
	return ""
}
