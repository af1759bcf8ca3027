package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
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

// jsonFormat is the version of all documents, which JSON.md describes. A field that goes, or that changes
// its meaning, makes it a higher one; a new field does not.
const jsonFormat = 1

// failure is how a document ends: the only fields of one that has no result.
type failure struct {
	Format int    `json:"format"`
	Error  string `json:"error,omitempty"` // all messages, a line for each
	Exit   int    `json:"exit"`            // the exit code
}

// openDocument writes a command's result, an object, as the one document of standard output, all but its
// end, which says how the command ended. The result does not wait for that: who loses it is to know before
// a stamp says that all is well.
func (a *app) openDocument(result any) error {
	body, err := encode(result)
	if err != nil {
		return err
	}
	fields := bytes.TrimSuffix(bytes.TrimPrefix(body, []byte("{")), []byte("}"))
	head, err := encode(failure{Format: jsonFormat})
	if err != nil {
		return err
	}
	head = head[:bytes.IndexByte(head, ',')]
	if fields = bytes.TrimRight(fields, "\n"); len(fields) > 0 {
		head = append(append(head, ','), fields...)
	}
	a.document = true
	_, err = a.stdout.Write(head)
	return err
}

// closeDocument ends the document, or writes one that has only the end. Trouble with the output is left to
// who finishes that.
func (a *app) closeDocument(err error, code int) {
	if !a.document && a.openDocument(struct{}{}) != nil {
		return
	}
	end := failure{Exit: code}
	if err != nil {
		end.Error = strings.Join(messages(err), "\n")
	}
	body, err := encode(end)
	if err != nil {
		return
	}
	_, _ = a.stdout.Write(append(body[bytes.IndexByte(body, ','):], '\n'))
}

// encode is v as indented JSON, without a newline at its end.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// partial is what a command found and did before it failed: programs get it beside the error, people the
// error alone.
func (a *app) partial(result any) {
	if a.json {
		_ = a.openDocument(result)
	}
}
