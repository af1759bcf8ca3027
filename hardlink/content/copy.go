package content

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"kojisnap/hardlink/rpmfile"
	"kojisnap/volumes"
)

const BufferSize = 64 << 10 // fits into a core's cache, together with what is hashed

// pipe has the buffers of one copy. A small file takes one read and one write.
type pipe struct {
	r   *bufio.Reader
	w   *bufio.Writer
	sig rpmfile.Signature
}

var pipes = sync.Pool{New: func() any {
	return &pipe{r: bufio.NewReaderSize(nil, BufferSize), w: bufio.NewWriterSize(nil, BufferSize)}
}}

// Copy writes src to dst and returns the number of bytes. name is the source's. If the content differs from
// f, the error is a *DigestError; dst must not be used then.
func Copy(dst io.Writer, src io.Reader, f volumes.File, name string) (int64, error) {
	p := pipes.Get().(*pipe)
	defer pipes.Put(p)
	p.r.Reset(src)
	p.w.Reset(dst)
	defer p.w.Reset(nil)
	defer p.r.Reset(nil)
	n, err := p.copy(f, name)
	if cap(p.sig.Raw) > 1<<20 { // rare, and too large to keep
		p.sig = rpmfile.Signature{}
	}
	if err != nil {
		return n, err
	}
	return n, p.w.Flush()
}

func (p *pipe) copy(f volumes.File, name string) (int64, error) {
	algorithm, want, _ := strings.Cut(f.Digest, ":")
	differs := func(what, want, have string) error {
		return &DigestError{Path: name, What: what, Want: want, Have: have}
	}
	h, err := newHash(algorithm)
	if err != nil {
		return 0, err
	}
	var head int64
	sig := &p.sig
	most := int64(math.MaxInt64) // a limit, so that an endless answer does not fill the disk
	switch {
	case f.Size >= 0:
		most = f.Size
	case f.Kind == volumes.KindSignature:
		most = rpmfile.MaxSignature
	}
	var own ownDigests
	if algorithm == "sigmd5" || algorithm == "rpmsha256" {
		lead, err := sig.ReadHead(p.r)
		if err != nil {
			if OfReading(err) || !errors.Is(err, rpmfile.ErrNotRPM) {
				return 0, err
			}
			return 0, differs("format", "an rpm", fmt.Sprintf("%q", err))
		}
		if err := verifyHead(lead, sig, f, name); err != nil {
			return 0, err
		}
		if f.Kind == volumes.KindSigned && f.UnsignedSize > 0 { // the database does not have its size
			most = int64(len(lead)+len(sig.Raw)) + f.UnsignedSize
		}
		if algorithm == "rpmsha256" {
			if own, err = readOwn(p.r, sig, f, name); err != nil {
				return 0, err
			}
			want = own.payload
		}
		for _, b := range [][]byte{lead, sig.Raw, own.header} {
			if _, err := p.w.Write(b); err != nil {
				return 0, err
			}
			head += int64(len(b))
		}
	}
	n, err := p.hashed(h, most-head)
	n += head
	if err != nil {
		return n, err
	}
	have := hex.EncodeToString(h.Sum(nil))
	switch {
	case n > most && f.Size < 0 && f.Kind == volumes.KindSigned:
		return n, differs("size", fmt.Sprintf("less than %d without signature header", f.UnsignedSize), "more")
	case n > most:
		return n, differs("size", fmt.Sprint(most), "more")
	case f.Size >= 0 && n != f.Size:
		return n, differs("size", fmt.Sprint(f.Size), fmt.Sprint(n))
	case algorithm == "stat": // the size is all that there is to compare
	case have != want && algorithm == "rpmsha256":
		return n, &DigestError{Path: name, What: "sha256 of the payload", Want: want, Have: have, Own: true}
	case have != want:
		return n, differs(algorithm, want, have)
	case algorithm == "sigmd5" && sig.SigMD5 != "" && sig.SigMD5 != want:
		return n, differs("sigmd5 in the signature header", want, sig.SigMD5)
	}
	return n, nil
}

// verifyHead checks an rpm's lead and signature header, which the content's digest does not cover.
func verifyHead(lead []byte, sig *rpmfile.Signature, f volumes.File, name string) error {
	if problem := rpmfile.LeadProblem(lead); problem != "" {
		return &DigestError{Path: name, What: "lead", Want: "one of an rpm", Have: problem, Own: true}
	}
	if f.Kind == volumes.KindSigned {
		return verifySignature(sig, f, name)
	}
	return verifyPrimary(sig, f, name)
}

// verifyPrimary compares the signature header of a primary copy with the row of rpmsigs for its key, if there
// is one. An unsigned rpm has the empty key.
func verifyPrimary(sig *rpmfile.Signature, f volumes.File, name string) error {
	sum := md5.Sum(sig.Raw)
	have, want := "md5:"+hex.EncodeToString(sum[:]), ""
	for row := range strings.FieldsSeq(f.Headers) {
		key, digest, _ := strings.Cut(row, "=")
		switch {
		case digest == have:
			return nil
		case key == "" && len(sig.Keys) == 0, key != "" && slices.Contains(sig.Keys, key):
			want = digest
		}
	}
	if want == "" {
		return nil
	}
	return &DigestError{Path: name, What: "signature header", Want: want, Have: have}
}

// verifySignature checks what SIGMD5 does not cover. Koji makes signed copies from the cached signature
// header alone, so the digest of that header is known: rpmsigs.sighash.
func verifySignature(sig *rpmfile.Signature, f volumes.File, name string) error {
	// A key that cannot be read (in a newer signature format) is left to the digest.
	if len(sig.Keys) > 0 && !slices.Contains(sig.Keys, f.Key) {
		return &DigestError{Path: name, What: "signing key", Want: f.Key, Have: fmt.Sprintf("%q", sig.Keys)}
	}
	sum := md5.Sum(sig.Raw)
	if have := "md5:" + hex.EncodeToString(sum[:]); have != f.SigDigest {
		return &DigestError{Path: name, What: "signature header", Want: f.SigDigest, Have: have}
	}
	return nil
}

// hashed copies the rest. For a large file it hashes each chunk while it writes it. It ends after more than
// most bytes.
func (p *pipe) hashed(h hash.Hash, most int64) (n int64, err error) {
	var chunks chan []byte
	var done chan struct{}
	for {
		if _, err := p.r.Peek(1); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		chunk, _ := p.r.Peek(p.r.Buffered()) // the result of one read
		separate := len(chunk) == BufferSize
		if separate && chunks == nil {
			chunks, done = make(chan []byte), make(chan struct{})
			defer close(chunks)
			go func() {
				for c := range chunks {
					h.Write(c) // never fails
					done <- struct{}{}
				}
			}()
		}
		if separate {
			chunks <- chunk
		} else {
			h.Write(chunk)
		}
		w, err := p.w.Write(chunk)
		if separate {
			<-done
		}
		n += int64(w)
		if err != nil {
			return n, err
		}
		p.r.Discard(len(chunk))
		if n > most {
			return n, nil
		}
	}
}

func newHash(algorithm string) (hash.Hash, error) {
	switch algorithm {
	case "sigmd5", "md5":
		return md5.New(), nil
	case "sha1":
		return sha1.New(), nil
	case "sha256", "rpmsha256":
		return sha256.New(), nil
	case "stat": // of a file that no row names: volumes.StatDigest
		return noHash{}, nil
	}
	return nil, fmt.Errorf("unknown digest algorithm %q", algorithm)
}

// noHash hashes nothing.
type noHash struct{}

func (noHash) Write(p []byte) (int, error) { return len(p), nil }
func (noHash) Sum(b []byte) []byte         { return b }
func (noHash) Reset()                      {}
func (noHash) Size() int                   { return 0 }
func (noHash) BlockSize() int              { return 1 }
