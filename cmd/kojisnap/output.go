package main

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/secret"
)

// output is standard output. It keeps the first error of writing there, which whoever writes may pass
// over: a result that nobody got is none, whatever the command did.
type output struct {
	w    io.Writer
	err  error
	used bool // something was written
}

func (o *output) Write(b []byte) (int, error) {
	o.used = o.used || len(b) > 0
	if file, ok := o.w.(*os.File); ok && o.err == nil && wasClosed(file) {
		o.err = &os.PathError{Op: "write", Path: file.Name(), Err: syscall.EBADF}
	}
	if o.err != nil {
		return 0, o.err
	}
	n, err := hiding{o.w}.Write(b)
	o.err = err
	return n, err
}

// hiding is a writer for people and programs: credentials in URLs do not get through, wherever they
// come from, a flag or an error. What is written at once is looked at as a whole.
type hiding struct{ w io.Writer }

func (h hiding) Write(b []byte) (int, error) {
	hidden := secret.Hide(string(b))
	if hidden == string(b) {
		return h.w.Write(b)
	}
	if _, err := io.WriteString(h.w, hidden); err != nil {
		return 0, err
	}
	return len(b), nil
}

// unhidden is the writer behind.
func unhidden(w io.Writer) io.Writer {
	if h, ok := w.(hiding); ok {
		return h.w
	}
	return w
}

// finish waits until a file has what was written to it: some file systems tell of errors only then.
func (o *output) finish() error {
	file, ok := o.w.(*os.File)
	if !ok || o.err != nil {
		return o.err
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		o.err = file.Sync()
	}
	return o.err
}

// wasClosed reports whether a file is what Go's runtime opens in place of a standard file that is closed:
// /dev/null, for reading and writing, and no other descriptor's. Shells open it for writing, and what
// makes itself a daemon opens it once for all three.
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

// sameOpen reports whether two descriptors are of one open file, as dup(2) makes them.
func sameOpen(a, b int) bool {
	const file = 0 // KCMP_FILE
	pid := uintptr(os.Getpid())
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, file, uintptr(a), uintptr(b), 0)
	return errno == 0 && order == 0
}

// outputError is trouble with standard output. That a reader of a pipe has seen enough is told to nobody.
type outputError struct{ error }

func (e outputError) Error() string { return "standard output: " + e.error.Error() }
func (e outputError) Unwrap() error { return e.error }

func (e outputError) quiet() bool { return errors.Is(e.error, syscall.EPIPE) }
