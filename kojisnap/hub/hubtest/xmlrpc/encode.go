package xmlrpc

import (
	"encoding/base64"
	"math/big"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
)

// Result returns a response with one value. It raises what the value's generators raise, and Python's errors
// for what XML-RPC cannot represent.
func Result(v any) Body {
	e := &encoder{b: newPiece()}
	e.text("<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n")
	e.value(v)
	e.text("</param>\n</params>\n</methodResponse>\n")
	return append(e.full, e.b)
}

func Fault(code int64, text string) Body {
	e := &encoder{}
	e.text("<?xml version='1.0'?>\n<methodResponse>\n<fault>\n")
	e.value(python.NewStruct("faultCode", code, "faultString", text))
	e.text("</fault>\n</methodResponse>\n")
	return Body{e.b}
}

// encoder writes values byte for byte as Koji's ExtendedMarshaller does.
type encoder struct {
	full Body
	b    []byte
	// The rows of a query share their keys: members caches what precedes each value for the last keys.
	keys    []string
	members []string
}

func (e *encoder) text(s string) { e.b = append(e.b, s...) }

// escaped escapes only what Python's xmlrpc.client escapes: control characters are written as they are, so
// that the reply may be malformed.
func (e *encoder) escaped(s string) {
	from := 0
	for i := 0; i < len(s); i++ {
		var as string
		switch s[i] {
		case '&':
			as = "&amp;"
		case '<':
			as = "&lt;"
		case '>':
			as = "&gt;"
		default:
			continue
		}
		e.text(s[from:i])
		e.text(as)
		from = i + 1
	}
	e.text(s[from:])
}

func (e *encoder) value(v any) {
	switch v := v.(type) {
	case nil:
		e.text("<value><nil/></value>")
	case bool:
		e.text("<value><boolean>")
		e.b = append(e.b, '0'+byte(python.AsInt(v)))
		e.text("</boolean></value>\n")
	case int64:
		e.integer(v)
	case int:
		e.integer(int64(v))
	case *big.Int:
		python.Exception("OverflowError", "long int exceeds XML-RPC limits")
	case float64:
		e.text("<value><double>")
		e.b = python.AppendFloat(e.b, v)
		e.text("</double></value>\n")
	case string:
		e.text("<value><string>")
		e.escaped(v)
		e.text("</string></value>\n")
	case python.Time:
		e.text("<value><string>" + v.String() + "</string></value>\n")
	case python.DateTime:
		e.text("<value><dateTime.iso8601>" + string(v) + "</dateTime.iso8601></value>\n")
	case python.Binary:
		e.text("<value><base64>\n" + base64Lines(v) + "</base64></value>\n")
	case []any:
		e.text("<value><array><data>\n")
		for _, v := range v {
			e.value(v)
		}
		e.text("</data></array></value>\n")
		e.cut()
	case *python.Generator:
		e.text("<value><array><data>\n")
		v.Each(e.value)
		e.text("</data></array></value>\n")
	case *python.Struct:
		e.structure(v)
	default:
		python.Exception("TypeError", "cannot marshal %T objects", v)
	}
}

func (e *encoder) integer(n int64) {
	open, end := "<value><int>", "</int></value>\n"
	if n > 1<<31-1 || n < -1<<31 {
		open, end = "<value><i8>", "</i8></value>\n"
	}
	e.text(open)
	e.b = strconv.AppendInt(e.b, n, 10)
	e.text(end)
}

func (e *encoder) structure(s *python.Struct) {
	e.text("<value><struct>\n")
	members := e.membersOf(s.Keys)
	for i, v := range s.Vals {
		e.text(members[i])
		e.value(v)
		e.text("</member>\n")
	}
	e.text("</struct></value>\n")
	e.cut()
}

// cut ends a piece that is long enough.
func (e *encoder) cut() {
	if len(e.b) >= pieceSize {
		e.full = append(e.full, e.b)
		e.b = newPiece()
	}
}

func (e *encoder) membersOf(keys []string) []string {
	if len(keys) == 0 {
		return nil
	}
	if len(e.keys) == len(keys) && &e.keys[0] == &keys[0] {
		return e.members
	}
	members := make([]string, len(keys)) // not in place: an outer struct may use it
	for i, k := range keys {
		m := &encoder{}
		m.text("<member>\n<name>")
		m.escaped(k)
		m.text("</name>\n")
		members[i] = string(m.b)
	}
	e.keys, e.members = keys, members
	return members
}

// base64Lines is Python's base64.encodebytes: lines of 76 characters.
func base64Lines(data []byte) string {
	var b strings.Builder
	for len(data) > 0 {
		n := min(57, len(data))
		b.WriteString(base64.StdEncoding.EncodeToString(data[:n]))
		b.WriteByte('\n')
		data = data[n:]
	}
	return b.String()
}
