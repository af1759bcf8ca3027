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

// An rpm without SIGMD5, as rpm 6 makes them, says by itself what it holds: its signature header has
// the SHA-256 of the main header, and that has the one of the payload. The database has its size, its
// name and perhaps one of these two.

// ownDigests are an rpm's main header and what it says of the payload.
type ownDigests struct {
	header  []byte
	payload string // SHA-256 in hex
}

// readOwn reads the main header and holds it to the rpm's own digest, to the name that the file has,
// and to the SHA-256 in f.Digest, if there is one. r is then at the payload.
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
