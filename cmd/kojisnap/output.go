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

// output is standard output. It keeps the first error of a write, which callers may ignore: a command whose
// result nobody received has failed, whatever it did.
type output struct {
	w    io.Writer
	err  error
	used bool // something was written
}

func (o *output) Write(b []byte) (int, error) { return o.write(hiding{o.w}, b) }

// raw is the output for what is no text: nothing is hidden in it.
type raw struct{ *output }

func (r raw) Write(b []byte) (int, error) { return r.write(r.w, b) }

// rawOutput is standard output for what is no text.
func (a *app) rawOutput() io.Writer {
	if out, ok := a.stdout.(*output); ok {
		return raw{out}
	}
	return a.stdout
}

func (o *output) write(to io.Writer, b []byte) (int, error) {
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

// hiding is a writer that hides credentials in URLs, wherever they come from. It looks at each write as a whole.
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

// unhidden returns the writer behind hiding.
func unhidden(w io.Writer) io.Writer {
	if h, ok := w.(hiding); ok {
		return h.w
	}
	return w
}

// finish waits until a file has what was written to it: some file systems report errors only then.
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

// outputError is an error of standard output. If the reader of a pipe has closed it, nobody is told.
type outputError struct{ error }

func (e outputError) Error() string { return "standard output: " + e.error.Error() }
func (e outputError) Unwrap() error { return e.error }

func (e outputError) quiet() bool { return errors.Is(e.error, syscall.EPIPE) }

// jsonFormat is the version of all documents, which JSON.md describes. Removing a field or changing its meaning
// increments it; a new field does not.
const jsonFormat = 1

// failure is the end of a document. A document without a result has only these fields.
type failure struct {
	Format int    `json:"format"`
	Error  string `json:"error,omitempty"` // all messages, a line for each
	Exit   int    `json:"exit"`            // the exit code
}

// openDocument writes a command's result, an object, as the one document of standard output, except for its end,
// which says how the command ended. If the write fails, the command must know before it writes a stamp.
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

// closeDocument ends the document, or writes one that has only the end. finish returns an error of the output.
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

// encode returns v as indented JSON, without a newline at its end.
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

// partial prints what a command found and did before it failed, with --json: people get only the error.
func (a *app) partial(result any) {
	a.outcome = result
	if a.json {
		_ = a.openDocument(result)
	}
}
