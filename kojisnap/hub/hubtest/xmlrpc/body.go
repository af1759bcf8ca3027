package xmlrpc

import (
	"bytes"
	"sync"
	"unicode/utf8"
)

// Body is a reply in pieces. No piece ends within a character. Like the real hub, it holds the whole reply,
// because its length is sent first.
type Body [][]byte

const (
	pieceSize  = 1 << 20
	sparePiece = 512 // kept for later replies
)

var spare struct {
	sync.Mutex
	pieces [][]byte
}

// newPiece returns an empty piece with room for the last value.
func newPiece() []byte {
	spare.Lock()
	defer spare.Unlock()
	if n := len(spare.pieces); n > 0 {
		p := spare.pieces[n-1]
		spare.pieces = spare.pieces[:n-1]
		return p[:0]
	}
	return make([]byte, 0, pieceSize+pieceSize/8)
}

// Free lets other replies reuse the pieces.
func (b Body) Free() {
	spare.Lock()
	defer spare.Unlock()
	for _, p := range b {
		if c := cap(p); c >= pieceSize && c <= 2*pieceSize && len(spare.pieces) < sparePiece {
			spare.pieces = append(spare.pieces, p)
		}
	}
}

func (b Body) Len() (n int) {
	for _, p := range b {
		n += len(p)
	}
	return n
}

// Join returns the body in one piece.
func (b Body) Join() []byte { return bytes.Join(b, nil) }

// HasSurrogate reports whether a reply has a lone surrogate. Python cannot encode it, and the hub fails
// outside of its fault wrapper.
func (b Body) HasSurrogate() bool {
	for _, p := range b {
		if !utf8.Valid(p) {
			return true
		}
	}
	return false
}
