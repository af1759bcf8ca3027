package main

import (
	"bytes"
	"encoding/json"
	"strings"
)

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
