package snapfile

import (
	"fmt"
	"strings"
)

// SignatureObject names the object that holds the signatures of the manifest in the object manifest.
func SignatureObject(manifest string) string { return manifest + ".sig" }

// ManifestOfSignature is the inverse of SignatureObject. For other objects it returns false.
func ManifestOfSignature(name string) (manifest string, ok bool) {
	manifest, ok = strings.CutSuffix(name, ".sig")
	if _, is := IDOfObject(manifest); !ok || !is {
		return "", false
	}
	return manifest, true
}

// UntrustedError says that a manifest has no good signature by a trusted key. errors.As also finds a
// *DamagedError in it: nothing may be taken from such a snapshot.
type UntrustedError struct {
	ID    string // of the snapshot
	Store string
	Why   string // and what to do
}

func (e *UntrustedError) Error() string {
	return fmt.Sprintf("not trusted, in %s: %s", e.Store, e.Why)
}

func (e *UntrustedError) Unwrap() error {
	return &DamagedError{ManifestPrefix + e.ID + ".json", e.Why}
}
