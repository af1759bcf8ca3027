package output

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
)

// Format is the version of all documents, which JSON.md describes. Removing a field or changing its meaning
// increments it; a new field does not.
const Format = 1

// Failure is the end of a document. A document without a result has only these fields.
type Failure struct {
	Format int    `json:"format"`
	Error  string `json:"error,omitempty"` // all messages, a line for each
	Exit   int    `json:"exit"`            // the exit code
}

// Document is the one JSON document of a command.
type Document struct{ begun bool }

// Begun reports whether the document has been begun.
func (d *Document) Begun() bool { return d.begun }

// Open writes a command's result, an object, as the document, except for its end, which says how the command ended. If
// the write fails, the command must know before it writes a stamp.
func (d *Document) Open(w io.Writer, result any) error {
	body, err := encode(result)
	if err != nil {
		return err
	}
	fields := bytes.TrimSuffix(bytes.TrimPrefix(body, []byte("{")), []byte("}"))
	head, err := encode(Failure{Format: Format})
	if err != nil {
		return err
	}
	head = head[:bytes.IndexByte(head, ',')]
	if fields = bytes.TrimRight(fields, "\n"); len(fields) > 0 {
		head = append(append(head, ','), fields...)
	}
	d.begun = true
	_, err = w.Write(head)
	return err
}

// Close ends the document with the lines of an error, if there is one, and an exit code, or writes a document that has only
// that end. Stdout.Finish returns an error of the output.
func (d *Document) Close(w io.Writer, lines []string, code int) {
	if !d.begun && d.Open(w, struct{}{}) != nil {
		return
	}
	end := Failure{Error: strings.Join(lines, "\n"), Exit: code}
	body, err := encode(end)
	if err != nil {
		return
	}
	_, _ = w.Write(append(body[bytes.IndexByte(body, ','):], '\n'))
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
