package volumes

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrUnsafeName is for errors.Is: each UnsafeNameError is one.
var ErrUnsafeName = errors.New("unsafe name")

// UnsafeNameError is a name, from a hub or a file, that cannot be part of a path.
type UnsafeNameError struct {
	What string // package name, version, sigkey, …
	Name string
	Why  string
}

func (e *UnsafeNameError) Error() string {
	return fmt.Sprintf("unsafe %s %q: %s", e.What, e.Name, e.Why)
}

func (e *UnsafeNameError) Is(target error) bool { return target == ErrUnsafeName }

// CheckName returns an UnsafeNameError unless name can be one component of a
// path: not empty, "." or "..", no slash, no NUL or other control character,
// valid UTF-8, at most 255 bytes (NAME_MAX).
func CheckName(what, name string) error {
	if why := unsafe(name); why != "" {
		return &UnsafeNameError{what, name, why}
	}
	return nil
}

// longest is how long a path below a build's directory can be: PATH_MAX less the longest
// prefix.
const longest = 4096 - 1024

// CheckPath is CheckName for a relative path of one or more components.
func CheckPath(what, path string) error {
	switch {
	case strings.HasPrefix(path, "/"):
		return &UnsafeNameError{what, path, "an absolute path"}
	case len(path) > longest:
		return &UnsafeNameError{what, path[:80] + "…", fmt.Sprintf("%d bytes are more than a path can have", len(path))}
	}
	for part := range strings.SplitSeq(path, "/") {
		if why := unsafe(part); why != "" {
			return &UnsafeNameError{what, path, why}
		}
	}
	return nil
}

func unsafe(name string) string {
	switch {
	case name == "":
		return "empty"
	case name == "." || name == "..":
		return "names a directory of the path itself"
	case len(name) > 255:
		return fmt.Sprintf("%d bytes are more than a file name can have", len(name))
	case plain(name):
		return ""
	case !utf8.ValidString(name):
		return "not UTF-8"
	}
	for _, r := range name {
		if r == '/' {
			return "contains a slash"
		}
		// U+2028 and U+2029 break lines for many readers of a report.
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Sprintf("contains the control character %U", r)
		}
	}
	return ""
}

// plain is a fast check that accepts nearly all names: printable ASCII, no slash.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '/' {
			return false
		}
	}
	return true
}
