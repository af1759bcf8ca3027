package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// DigestError says that a file's content differs from the database. Such a file is never made visible.
type DigestError struct {
	Path string // of the source
	What string // size, sigmd5, key, md5, …
	Want string
	Have string
	Own  bool // Want is from the file itself, or the same for all files of its kind
}

func (e *DigestError) Error() string { return fmt.Sprintf("verify %q: %s", e.Path, e.Says()) }

// Says returns the error without the path.
func (e *DigestError) Says() string {
	says := "the database says"
	if e.Own {
		says = "want"
	}
	return fmt.Sprintf("%s is %s, %s %s", e.What, e.Have, says, e.Want)
}

// ReadError says that a source failed to open a file or to give all of it. Another source may succeed.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return e.Err.Error() }
func (e *ReadError) Unwrap() error { return e.Err }

// OfReading reports whether an error is one of reading, not one about the content.
func OfReading(err error) bool {
	var path *fs.PathError
	var source *ReadError
	return errors.As(err, &path) || errors.As(err, &source) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
