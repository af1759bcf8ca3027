package hardlink

import (
	"strings"

	"kojisnap/volumes"
)

// content is what the ledger has as the digest of a file: the plan's, and for a signed copy behind a "+"
// that of its signature header, which the first does not cover. Production signs rpms again with the same
// key, mostly because the first signature was no good.
func content(f *volumes.File) string {
	if f.Kind == volumes.KindSigned && f.SigDigest != "" {
		return f.Digest + "+" + f.SigDigest
	}
	return f.Digest
}

// madeOf tells whether a file of the ledger has the content that is planned. Of what an earlier version
// wrote down the signature header is not known: it counts as the planned one, until an audit reads it.
func (l *LedgerEntry) madeOf(f *volumes.File) bool {
	rest, ok := strings.CutPrefix(l.Digest, f.Digest)
	if !ok || rest == "" {
		return ok
	}
	sig, ok := strings.CutPrefix(rest, "+")
	return ok && (f.SigDigest == "" || sig == f.SigDigest)
}
