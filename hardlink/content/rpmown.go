package content

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"kojisnap/hardlink/rpmfile"
	"kojisnap/volumes"
)

// An rpm without SIGMD5, as rpm 6 makes them, has its own digests: the signature header has the SHA-256 of
// the main header, and the main header has the one of the payload. The database has the size, the name and
// perhaps one of these two.

// ownDigests has an rpm's main header and its digest of the payload.
type ownDigests struct {
	header  []byte
	payload string // SHA-256 in hex
}

// readOwn reads the main header. It compares the header with the rpm's own digest, with the file's name, and
// with the SHA-256 in f.Digest, if there is one. Afterwards r is at the payload.
func readOwn(r io.Reader, sig *rpmfile.Signature, f volumes.File, name string) (own ownDigests, err error) {
	differs := func(what, want, have string, own bool) error {
		return &DigestError{Path: name, What: what, Want: want, Have: have, Own: own}
	}
	if own.header, err = rpmfile.ReadHeader(r); err != nil {
		if OfReading(err) || !errors.Is(err, rpmfile.ErrNotRPM) {
			return own, err
		}
		return own, differs("format", "an rpm", fmt.Sprintf("%q", err), true)
	}
	sum := sha256.Sum256(own.header)
	have := hex.EncodeToString(sum[:])
	own.payload = rpmfile.PayloadSHA256(own.header)
	_, wanted, _ := strings.Cut(f.Digest, ":")
	switch file := rpmfile.FileName(own.header); {
	case sig.SHA256 == "" || own.payload == "":
		return own, differs("digest of its own", "SHA-256 of header and payload, as the database has no MD5", "none", true)
	case have != sig.SHA256:
		return own, differs("sha256 of the header", sig.SHA256, have, true)
	case wanted != "" && wanted != have && wanted != own.payload:
		return own, differs("sha256 of the header", wanted, have, false)
	case file != strings.Replace(path.Base(f.Path), ".nosrc.rpm", ".src.rpm", 1):
		return own, differs("name by its own header", path.Base(f.Path), fmt.Sprintf("%q", file), false)
	}
	return own, nil
}
