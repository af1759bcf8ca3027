package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"kojisnap/kojisnap/slow"
)

// resumes is how often in a row a download is resumed without getting a single byte.
const resumes = 3

// body is an object being read.
type body struct {
	ctx       context.Context
	store     *Store
	name, key string
	etag      *string
	size      int64     // -1: unknown
	mtime     time.Time // zero: unknown

	from   io.ReadCloser
	offset int64
	vain   int   // breaks since the last byte
	slow   int   // breaks because it came too slowly
	broke  error // of from
	err    error // final
}

func newBody(ctx context.Context, s *Store, name, key string, out *s3.GetObjectOutput) *body {
	b := &body{ctx: ctx, store: s, name: name, key: key, etag: out.ETag, size: -1, mtime: mtime(out), from: out.Body}
	if out.ContentLength != nil {
		b.size = *out.ContentLength
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 || b.err != nil {
		return 0, b.err
	}
	for {
		if b.broke == nil {
			var n int
			n, b.broke = b.from.Read(p)
			if b.offset += int64(n); n > 0 {
				b.vain = 0
				return n, nil
			}
			if b.broke == nil {
				return 0, nil
			}
		}
		if b.broke == io.EOF && (b.size < 0 || b.offset == b.size) {
			b.err = io.EOF
		} else {
			b.err = b.resume(b.broke)
		}
		if b.err != nil {
			return 0, b.err
		}
	}
}

// resume asks for what is missing.
func (b *body) resume(broke error) error {
	what := fmt.Sprintf("get %s in %s", b.name, b.store)
	if err := b.ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if b.offset == b.size { // all bytes came, and their checksum is wrong
		return fmt.Errorf("%s: %w", what, broke)
	}
	if errors.Is(broke, slow.Err) {
		b.slow++
	}
	if b.vain++; b.vain > resumes || b.slow > resumes || b.size < 0 {
		return &Error{text: fmt.Sprintf("%s: broken off after %d of %d bytes: %v", what, b.offset, b.size, broke), cause: broke, temporary: true}
	}
	b.from.Close()
	out, err := b.store.client.GetObject(b.ctx, &s3.GetObjectInput{
		Bucket: &b.store.bucket, Key: &b.key, IfMatch: b.etag, Range: aws.String(fmt.Sprintf("bytes=%d-", b.offset)),
	})
	if err = b.store.fail(b.ctx, "get", b.name, err); errors.Is(err, fs.ErrExist) { // If-Match
		return &Error{text: what + ": it was replaced while it was read", cause: syscall.ESTALE}
	}
	if err != nil {
		return err
	}
	b.from, b.broke = out.Body, nil
	if want := fmt.Sprintf("bytes %d-", b.offset); b.offset > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), want) {
		return fmt.Errorf("%s: %w", what, errors.New("the server cannot send the rest of an object"))
	}
	return nil
}

func (b *body) Close() error {
	if b.err == nil {
		b.err = errors.New("s3: read after close")
	}
	return b.from.Close()
}
