// Package output is what kojisnap writes to standard output and standard error: text that is safe to show and fits a
// terminal, log, progress, the JSON document. Credentials are hidden in all of it.
package output

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/secret"
)

// Stdout is standard output. It keeps the first error of a write, which callers may ignore: a command whose
// result nobody received has failed, whatever it did.
type Stdout struct {
	w    io.Writer
	err  error
	used bool // something was written
}

// NewStdout returns w as standard output.
func NewStdout(w io.Writer) *Stdout { return &Stdout{w: w} }

// Used reports whether something was written.
func (o *Stdout) Used() bool { return o.used }

func (o *Stdout) Write(b []byte) (int, error) { return o.write(Hiding{o.w}, b) }

// raw is the output for what is no text: nothing is hidden in it.
type raw struct{ *Stdout }

func (r raw) Write(b []byte) (int, error) { return r.write(r.w, b) }

// Raw returns standard output for what is no text.
func Raw(stdout io.Writer) io.Writer {
	if out, ok := stdout.(*Stdout); ok {
		return raw{out}
	}
	return stdout
}

func (o *Stdout) write(to io.Writer, b []byte) (int, error) {
	o.used = o.used || len(b) > 0
	if file, ok := o.w.(*os.File); ok && o.err == nil && wasClosed(file) {
		o.err = &os.PathError{Op: "write", Path: file.Name(), Err: syscall.EBADF}
	}
	if o.err != nil {
		return 0, o.err
	}
	n, err := to.Write(b)
	o.err = err
	return n, err
}

// Hiding is a writer that hides credentials in URLs, wherever they come from. It looks at each write as a whole.
type Hiding struct{ To io.Writer }

func (h Hiding) Write(b []byte) (int, error) {
	hidden := secret.Hide(string(b))
	if hidden == string(b) {
		return h.To.Write(b)
	}
	if _, err := io.WriteString(h.To, hidden); err != nil {
		return 0, err
	}
	return len(b), nil
}

// unhidden returns the writer behind Hiding.
func unhidden(w io.Writer) io.Writer {
	if h, ok := w.(Hiding); ok {
		return h.To
	}
	return w
}

// Finish waits until a file has what was written to it: some file systems report errors only then.
func (o *Stdout) Finish() error {
	file, ok := o.w.(*os.File)
	if !ok || o.err != nil {
		return o.err
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		o.err = file.Sync()
	}
	return o.err
}

// wasClosed reports whether a file is what Go's runtime opens in place of a closed standard file: /dev/null, for
// reading and writing, shared with no other descriptor. Shells open it for writing only, and daemons once for
// all three.
func wasClosed(file *os.File) bool {
	fd := int(file.Fd())
	var here, null unix.Stat_t
	if unix.Fstat(fd, &here) != nil || unix.Stat(os.DevNull, &null) != nil || here.Mode&unix.S_IFMT != unix.S_IFCHR || here.Rdev != null.Rdev {
		return false
	}
	if how, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || how&unix.O_ACCMODE != unix.O_RDWR {
		return false
	}
	for other := range 3 {
		if other != fd && sameOpen(fd, other) {
			return false
		}
	}
	return true
}

// sameOpen reports whether two descriptors are of one open file, as after dup(2).
func sameOpen(a, b int) bool {
	const file = 0 // KCMP_FILE
	pid := uintptr(os.Getpid())
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, file, uintptr(a), uintptr(b), 0)
	return errno == 0 && order == 0
}

// StdoutError is an error of standard output. If the reader of a pipe has closed it, nobody is told.
type StdoutError struct{ Err error }

func (e StdoutError) Error() string { return "standard output: " + e.Err.Error() }
func (e StdoutError) Unwrap() error { return e.Err }

// Quiet reports whether nobody is to be told.
func (e StdoutError) Quiet() bool { return errors.Is(e.Err, syscall.EPIPE) }
