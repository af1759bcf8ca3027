package content

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"kojisnap/hardlink/rpmfile"
	"kojisnap/volumes"
)

// Check compares an existing file with the database. r reads the file, which has size bytes (-1: unknown). It
// changes nothing. Without whole, it reads only the signature header of an rpm: that has SIGMD5, the length
// of the file, and the key. If there is no SIGMD5, it reads the main header, too. With whole, if the length
// differs, and for all other files, it reads everything and compares the digest. Without SigDigest, only the
// key shows that a signed copy is one.
//
// If the file differs, Check returns a *DigestError that calls the file name.
func Check(r io.Reader, size int64, f volumes.File, name string, whole bool) error {
	differs := func(what, want, have string) error {
		return &DigestError{Path: name, What: what, Want: want, Have: have}
	}
	if f.Size >= 0 && size >= 0 && size != f.Size {
		return differs("size", fmt.Sprint(f.Size), fmt.Sprint(size))
	}
	algorithm, want, _ := strings.Cut(f.Digest, ":")
	if algorithm != "sigmd5" && algorithm != "rpmsha256" {
		_, err := Copy(io.Discard, r, f, name)
		return err
	}
	lead, sig, err := rpmfile.ReadHead(r)
	if err != nil {
		if OfReading(err) || !errors.Is(err, rpmfile.ErrNotRPM) {
			return err
		}
		return differs("format", "an rpm", fmt.Sprintf("%q", err))
	}
	content, known := sig.ContentSize()
	length := rpmfile.LeadSize + int64(len(sig.Raw)) + content
	if algorithm == "sigmd5" && sig.SigMD5 != "" && sig.SigMD5 != want {
		return differs("sigmd5", want, sig.SigMD5)
	}
	// The header's length may be wrong where all else is right, so compare the content.
	whole = whole || known && size >= 0 && size != length
	if f.Kind == volumes.KindSigned && f.SigDigest == "" {
		if !slices.Contains(sig.Keys, f.Key) {
			return differs("signing key", f.Key, fmt.Sprintf("%q", sig.Keys))
		}
		f.Kind = volumes.KindRPM
	}
	if err := verifyHead(lead, &sig, f, name); err != nil {
		return err
	}
	switch {
	case whole:
		f.Kind, f.Headers = volumes.KindRPM, "" // the signature is checked already
		_, err = Copy(io.Discard, io.MultiReader(bytes.NewReader(lead), bytes.NewReader(sig.Raw), r), f, name)
	case algorithm == "rpmsha256":
		_, err = readOwn(r, &sig, f, name)
	}
	return err
}
