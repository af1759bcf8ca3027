package hardlink_test

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/retry"
)

func TestSourcesAnswered(t *testing.T) {
	missing := &source.MissingError{Build: "a-1-1", Path: "a", Err: fs.ErrNotExist}
	gone := fmt.Errorf("stat: %w", fs.ErrNotExist)
	damaged := &content.DigestError{Path: "a", What: "size", Want: "1", Have: "2"}
	source := func(errs ...error) error {
		return fmt.Errorf("left out: %w", &source.Error{Build: "a-1-1", Path: "a", Errs: errs})
	}
	for _, c := range []struct {
		errs []error
		want bool
	}{
		{[]error{missing}, true},
		{[]error{missing, source(gone, damaged)}, true},
		{[]error{fmt.Errorf("left out: %w", syscall.ENAMETOOLONG)}, true},
		{[]error{missing, source(gone, &retry.TemporaryError{Err: fmt.Errorf("503")})}, false},
		{[]error{source(damaged), source(damaged, syscall.EACCES)}, true}, // about one file
		{[]error{source(syscall.EIO)}, true},
		{[]error{source(syscall.EIO, &retry.TemporaryError{Err: syscall.ECONNREFUSED})}, false},
	} {
		if got := (&hardlink.LeftOutError{Errs: c.errs}).SourcesAnswered(); got != c.want {
			t.Errorf("%v: %v", c.errs, got)
		}
	}
}

// Of a thousand missing files, the error names some.
func TestLeftOutErrorIsShort(t *testing.T) {
	left := &hardlink.LeftOutError{}
	for i := range 1000 {
		left.Errs = append(left.Errs, fmt.Errorf("file %d", i))
	}
	lines := strings.Split(left.Error(), "\n")
	if len(lines) != 101 || lines[0] != "file 0" || lines[100] != "and 900 more" {
		t.Errorf("%q", lines)
	}
}
