package hardlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"kojisnap/volumes"
)

const (
	tagSize     = 1000 // RPMSIGTAG_SIZE: bytes of main header and payload
	tagLongSize = 270  // RPMSIGTAG_LONGSIZE: the same beyond 4 GiB
	typeInt32   = 4
	typeInt64   = 5
)

// Check compares a file that is there, size bytes long (-1: unknown) and read from r, with
// what the database says of it. It changes nothing. Of an rpm, unless whole, only the
// signature header is read: it says SIGMD5, the length of the file, and the key; of one without SIGMD5
// the main header, too. With whole, where the length is another, and of anything else, the content is
// read to its end and its digest compared. Without
// SigDigest the key alone tells that a signed copy is one.
//
// That the file is another is a *DigestError; name is what it calls the file.
func Check(r io.Reader, size int64, f volumes.File, name string, whole bool) error {
	differs := func(what, want, have string) error {
		return &DigestError{Path: name, What: what, Want: want, Have: have}
	}
	if f.Size >= 0 && size >= 0 && size != f.Size {
		return differs("size", fmt.Sprint(f.Size), fmt.Sprint(size))
	}
	algorithm, want, _ := strings.Cut(f.Digest, ":")
	if algorithm != "sigmd5" && algorithm != "rpmsha256" {
		_, err := copyVerified(io.Discard, r, f, name)
		return err
	}
	lead, sig, err := readHead(r)
	if err != nil {
		if isInput(err) || !errors.Is(err, errNotRPM) {
			return err
		}
		return differs("format", "an rpm", fmt.Sprintf("%q", err))
	}
	content, known := contentSize(sig)
	length := leadSize + int64(len(sig.raw)) + content
	if algorithm == "sigmd5" && sig.sigMD5 != "" && sig.sigMD5 != want {
		return differs("sigmd5", want, sig.sigMD5)
	}
	// What the header says of the length may be wrong where all else is right: the content decides.
	whole = whole || known && size >= 0 && size != length
	if f.Kind == volumes.KindSigned && f.SigDigest == "" {
		if !slices.Contains(sig.keys, f.Key) {
			return differs("signing key", f.Key, fmt.Sprintf("%q", sig.keys))
		}
		f.Kind = volumes.KindRPM
	}
	if err := verifyHead(lead, &sig, f, name); err != nil {
		return err
	}
	switch {
	case whole:
		f.Kind, f.Headers = volumes.KindRPM, "" // the signature is checked
		_, err = copyVerified(io.Discard, io.MultiReader(bytes.NewReader(lead), bytes.NewReader(sig.raw), r), f, name)
	case algorithm == "rpmsha256":
		_, err = readOwn(r, &sig, f, name)
	}
	return err
}

// contentSize is how many bytes follow an rpm's signature header, if that says so.
func contentSize(s signature) (n int64, known bool) {
	entries, size := binary.BigEndian.Uint32(s.raw[8:]), binary.BigEndian.Uint32(s.raw[12:])
	index, data := s.raw[introSize:][:16*entries], s.raw[introSize+16*entries:][:size]
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
