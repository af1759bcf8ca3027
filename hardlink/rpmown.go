package hardlink

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"kojisnap/volumes"
)

// An rpm without SIGMD5, as rpm 6 makes them, says by itself what it holds: its signature header has
// the SHA-256 of the main header, and that has the one of the payload. The database has its size, its
// name and perhaps one of these two.
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

// ownDigests are an rpm's main header and what it says of the payload.
type ownDigests struct {
	header  []byte
	payload string // SHA-256 in hex
}

// readOwn reads the main header and holds it to the rpm's own digest, to the name that the file has,
// and to the SHA-256 in f.Digest, if there is one. r is then at the payload.
func readOwn(r io.Reader, sig *signature, f volumes.File, name string) (own ownDigests, err error) {
	differs := func(what, want, have string, own bool) error { return &DigestError{name, what, want, have, own} }
	if own.header, err = readHeader(r); err != nil {
		if isInput(err) || !errors.Is(err, errNotRPM) {
			return own, err
		}
		return own, differs("format", "an rpm", fmt.Sprintf("%q", err), true)
	}
	sum := sha256.Sum256(own.header)
	have := hex.EncodeToString(sum[:])
	own.payload = headerText(own.header, tagPayloadSHA256)
	_, wanted, _ := strings.Cut(f.Digest, ":")
	switch file := nameOf(own.header); {
	case sig.sha256 == "" || own.payload == "":
		return own, differs("digest of its own", "SHA-256 of header and payload, as the database has no MD5", "none", true)
	case have != sig.sha256:
		return own, differs("sha256 of the header", sig.sha256, have, true)
	case wanted != "" && wanted != have && wanted != own.payload:
		return own, differs("sha256 of the header", wanted, have, false)
	case file != strings.Replace(path.Base(f.Path), ".nosrc.rpm", ".src.rpm", 1):
		return own, differs("name by its own header", path.Base(f.Path), fmt.Sprintf("%q", file), false)
	}
	return own, nil
}

// readHeader reads a main header, which has no padding.
func readHeader(r io.Reader) ([]byte, error) {
	intro := make([]byte, introSize)
	if _, err := io.ReadFull(r, intro); err != nil {
		return nil, fmt.Errorf("%w: header: %w", errNotRPM, err)
	}
	if !bytes.HasPrefix(intro, headerMagic) {
		return nil, fmt.Errorf("%w: header begins with %x", errNotRPM, intro[:4])
	}
	entries, size := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if entries > maxEntries || size > maxHeader {
		return nil, fmt.Errorf("%w: header of %d entries and %d bytes", errNotRPM, entries, size)
	}
	raw := bytes.NewBuffer(intro)
	if _, err := io.CopyN(raw, r, 16*int64(entries)+int64(size)); err != nil {
		return nil, fmt.Errorf("%w: header: %w", errNotRPM, err)
	}
	return raw.Bytes(), nil
}

// headerText is the first string of a tag of a header, "" if there is none.
func headerText(raw []byte, wanted uint32) string {
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

// nameOf is the name of an rpm's file by its header.
func nameOf(raw []byte) string {
	arch := headerText(raw, tagArch)
	if headerText(raw, tagSourceRPM) == "" {
		arch = "src"
	}
	return volumes.RPM{Name: headerText(raw, tagName), Version: headerText(raw, tagVersion), Release: headerText(raw, tagRelease), Arch: arch}.File()
}

// leadProblem says what of a lead is as no rpm has it: "" if all is well. The lead is of no use but
// to file(1), and rpm refuses a file whose lead is not one. Which name and arch it has is not looked at:
// not every tool writes them.
func leadProblem(lead []byte) string {
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
