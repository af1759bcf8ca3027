package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// DigestError is a file whose content is not what the database says. It is not
// made visible.
type DigestError struct {
	Path string // of the source
	What string // size, sigmd5, key, md5, …
	Want string
	Have string
	Own  bool // Want is what the file itself says, or what all of its kind have
}

func (e *DigestError) Error() string { return fmt.Sprintf("verify %q: %s", e.Path, e.Says()) }

// Says is the error without the path.
func (e *DigestError) Says() string {
	says := "the database says"
	if e.Own {
		says = "want"
	}
	return fmt.Sprintf("%s is %s, %s %s", e.What, e.Have, says, e.Want)
}

// ReadError is what a source did not do: open a file, or give all of it. Another source
// may.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return e.Err.Error() }
func (e *ReadError) Unwrap() error { return e.Err }

// OfReading tells an error of reading from one of what was read.
func OfReading(err error) bool {
	var path *fs.PathError
	var source *ReadError
	return errors.As(err, &path) || errors.As(err, &source) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
