package hub

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/iotest"
)

// Every reply that was recorded with HTTP 200 decodes to what the reference
// decoder finds, however its bytes arrive.
func TestDecodeRecordings(t *testing.T) {
	decoded := 0
	for _, r := range recordings(t) {
		if r.HTTPStatus != 200 || r.HTTPMethod != "POST" {
			continue
		}
		decoded++
		want, err := reference(r.response)
		if err != nil {
			t.Errorf("%s: reference: %v", r.name(), err)
			continue
		}
		for how, body := range map[string]io.Reader{
			"at once":     bytes.NewReader(r.response),
			"by bytes":    iotest.OneByteReader(bytes.NewReader(r.response)),
			"with errors": iotest.DataErrReader(bytes.NewReader(r.response)),
		} {
			got, err := decodeAny(body)
			if err != nil {
				t.Errorf("%s, %s: %v", r.name(), how, err)
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: got\n%v\nwant\n%v", r.name(), how, got, want)
			}
		}
	}
	if decoded < 230 {
		t.Errorf("only %d recordings decoded", decoded)
	}
}

// decodeAny returns a reply as reference does.
func decodeAny(body io.Reader) (any, error) {
	v, err := newDecoder("method", body, 1<<20).whole()
	var fault *Fault
	if errors.As(err, &fault) {
		return *fault, nil
	}
	if err != nil {
		return nil, err
	}
	return ordered(v), nil
}

// member keeps the order of a struct's members, which a map would lose.
type member struct {
	name  string
	value any
}

type double string

func ordered(v Value) any {
	switch v.Kind() {
	case Array:
		a := []any{}
		for _, e := range v.Items() {
			a = append(a, ordered(e))
		}
		return a
	case Struct:
		s := []member{}
		for name, e := range v.Members() {
			s = append(s, member{name, ordered(e)})
		}
		return s
	case Double:
		return double(v.Text())
	}
	return v.Any()
}
