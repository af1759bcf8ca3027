/*
Package bundle carries snapshots between stores that have no common route: a tar file with what a snapshot consists of.

	bundle.json                  what it is: see Header
	segments/SHA256.zst, …       sorted by name; without those of another snapshot that the receiver has, if that was asked
	snapshots/ID.json.sig        the signature, if there is one
	snapshots/ID.json            the manifest, last: before that there is no snapshot

The same snapshot gives the same bytes. Whoever reads a bundle trusts nothing in it: names, sizes and kinds of entries
are checked before anything of them is read, digests before anything of them is written.
*/
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"kojisnap/kojisnap/snapfile"
)

// Header is the first entry.
type Header struct {
	Format  string `json:"format"` // always formatName
	Version int    `json:"version"`
	// Snapshot is its id. Since is the snapshot whose segments are left out; empty: none are.
	Snapshot string `json:"snapshot"`
	Since    string `json:"since,omitempty"`
	Segments int    `json:"segments"` // in the bundle
	Bytes    int64  `json:"bytes"`    // of those
	// Signature is the SHA-256 of the signature object, in hex; empty: there is none.
	Signature string `json:"signature,omitempty"`
}

const (
	formatName    = "kojisnap-bundle"
	formatVersion = 1
	headerName    = "bundle.json"

	// What a bundle can make a reader hold, or write.
	maxHeader    = 64 << 10
	maxSignature = 64 << 10
	maxSegment   = snapfile.MaxSegment + 1<<20 // of one that cannot be compressed
	maxSegments  = 1 << 20
)

// ErrNewer says that a bundle has a version that this program does not know.
var ErrNewer = errors.New("the bundle has a newer format than this kojisnap reads; update kojisnap")

// segmentName is the name of a segment's object.
var segmentName = regexp.MustCompile(`^segments/([0-9a-f]{64})\.zst$`)

func (h *Header) decode(body []byte) error {
	if err := json.Unmarshal(body, h); err != nil {
		return damaged(headerName, err.Error())
	}
	if h.Format != formatName {
		return damaged(headerName, fmt.Sprintf("format %q is not %q", h.Format, formatName))
	}
	if h.Version > formatVersion {
		return fmt.Errorf("version %d: %w", h.Version, ErrNewer)
	}
	if _, err := snapfile.ManifestObject(h.Snapshot); err != nil {
		return damaged(headerName, err.Error())
	}
	if _, err := snapfile.ManifestObject(h.Since); h.Since != "" && err != nil {
		return damaged(headerName, err.Error())
	}
	if h.Segments < 0 || h.Segments > maxSegments || h.Bytes < 0 {
		return damaged(headerName, fmt.Sprintf("%d segments of %d bytes", h.Segments, h.Bytes))
	}
	return nil
}

func damaged(object, reason string) error {
	return &snapfile.DamagedError{Object: object, Reason: reason}
}

// segmentsOf returns the objects of a snapshot's segments, each once, sorted.
func segmentsOf(m *snapfile.Manifest) []string {
	var names []string
	for _, r := range m.Relations {
		for _, seg := range slices.Concat(r.Segments, r.Revoked) {
			names = append(names, seg.Object())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
