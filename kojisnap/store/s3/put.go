package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
)

// The SDK sends with an object a CRC32 checksum, in a trailer or a header, and the condition that no
// object has the name (If-None-Match). Not every server knows these. Some ignore them, others refuse the
// whole request, with various answers. Then the request is sent again without them, and the Store
// remembers what the server accepts.

// manner is how an object is sent.
type manner struct {
	plain         bool // without the checksums of the SDK
	unconditional bool // without If-None-Match
}

// learnt is the manner that the server accepted.
type learnt struct {
	sync.Mutex
	manner
}

// manners are the ways to send an object, the one that is known to work first.
func (s *Store) manners(conditional bool) []manner {
	s.learnt.Lock()
	now := s.learnt.manner
	s.learnt.Unlock()
	now.unconditional = now.unconditional || !conditional
	list := []manner{now}
	if !now.plain {
		list = append(list, manner{true, now.unconditional})
	}
	if !now.unconditional {
		list = append(list, manner{now.plain, true})
		if !now.plain {
			list = append(list, manner{true, true})
		}
	}
	return list
}

// learn remembers a manner that succeeded after the first one failed.
func (s *Store) learn(ctx context.Context, m manner, conditional bool) {
	s.learnt.Lock()
	defer s.learnt.Unlock()
	s.learnt.plain = m.plain
	if conditional {
		s.learnt.unconditional = m.unconditional
	}
	s.log.DebugContext(ctx, "s3: the server does not take all that is sent with an object", "checksum", !m.plain, "if-none-match", !m.unconditional)
}

func (s *Store) put(ctx context.Context, op, name string, src io.ReadSeeker, ifNoneMatch *string, opts ...func(*transfermanager.Options)) error {
	start, err := src.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("%s %s in %s: %w", op, name, s, err)
	}
	var first error
	for i, m := range s.manners(ifNoneMatch != nil) {
		if i > 0 {
			if _, err := src.Seek(start, io.SeekStart); err != nil {
				return fmt.Errorf("%s %s in %s: %w", op, name, s, err)
			}
		}
		err := s.send(ctx, m, op, name, src, ifNoneMatch, opts...)
		if err == nil && i > 0 {
			s.learn(ctx, m, ifNoneMatch != nil)
		}
		if err == nil || !refused(err) && (i == 0 || errors.Is(err, fs.ErrExist)) {
			return err
		}
		if first == nil {
			first = err
		}
		if !refused(err) {
			break
		}
	}
	return first
}

// send sends an object in one manner.
func (s *Store) send(ctx context.Context, m manner, op, name string, src io.ReadSeeker, ifNoneMatch *string, opts ...func(*transfermanager.Options)) error {
	key, err := s.key(ctx, op, name)
	if err != nil {
		return err
	}
	if m.unconditional {
		ifNoneMatch = nil
	}
	upload := s.upload[0]
	if m.plain {
		upload = s.upload[1]
	}
	body := &source{ReadSeeker: src, ctx: ctx}
	out, err := upload.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &s.bucket, Key: &key, Body: body, IfNoneMatch: ifNoneMatch}, opts...)
	if body.err != nil {
		return fmt.Errorf("%s %s in %s: read: %w", op, name, s, body.err)
	}
	if err == nil && aws.ToString(out.ETag) == "" {
		return fmt.Errorf("%s %s in %s: %w", op, name, s, errNotS3)
	}
	return s.fail(ctx, op, name, err)
}

// refused reports whether a server may have refused the manner of a request, and not the object. A
// server that does not know a header may answer that the signature is wrong, or that the header is not
// implemented.
func refused(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.temporary || errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOSPC) {
		return false
	}
	switch e.status {
	case http.StatusBadRequest, http.StatusLengthRequired, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return !e.lasting
	case http.StatusForbidden:
		return e.lasting && e.code == "SignatureDoesNotMatch"
	}
	return false
}
