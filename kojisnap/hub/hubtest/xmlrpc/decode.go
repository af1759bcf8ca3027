package xmlrpc

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
)

// ErrDocument says why a body is no call, in the words of Python's parser.
type ErrDocument string

func (e ErrDocument) Error() string { return string(e) }

// Call parses a methodCall. For a response without a fault, such as a task's result, it returns the params.
// For a fault document it returns a *Fault as error.
func Call(body []byte) (method string, params []any, err error) {
	d := &decoder{xml: xml.NewDecoder(bytes.NewReader(body)), body: body}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case ErrDocument:
			err = r
		case *python.Fault:
			err = r
		default:
			panic(r)
		}
	}()
	params = []any{}
	for root := false; ; {
		switch t := d.token().(type) {
		case nil:
			if !root {
				panic(d.refuse())
			}
			return method, params, nil
		case xml.StartElement:
			root = true
			switch t.Name.Local {
			case "methodName":
				method = d.text()
			case "value":
				params = append(params, d.value())
			case "fault":
				d.fault()
			}
		}
	}
}

type decoder struct {
	xml  *xml.Decoder
	body []byte
}

// token returns the next token, nil at the end of the document.
func (d *decoder) token() xml.Token {
	t, err := d.xml.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		panic(d.refuse())
	}
	if dir, ok := t.(xml.Directive); ok {
		if _, decl, ok := bytes.Cut(dir, []byte("<!ENTITY")); ok {
			// Koji's hub parses with defusedxml, which forbids entities.
			name, _, _ := strings.Cut(strings.TrimSpace(string(decl)), " ")
			panic(ErrDocument(fmt.Sprintf("EntitiesForbidden(name=%s, system_id=None, public_id=None)", python.StringRepr(name))))
		}
	}
	return t
}

// refuse describes a syntax error as expat does, with its line and column.
func (d *decoder) refuse() ErrDocument {
	at := min(int(d.xml.InputOffset()), len(d.body))
	for i, c := range d.body {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' {
			at = i
			break
		}
		if i == 0 && c != '<' && c != ' ' && c != '\n' {
			return "syntax error: line 1, column 0"
		}
	}
	line := bytes.Count(d.body[:at], []byte("\n")) + 1
	column := at - (bytes.LastIndexByte(d.body[:at], '\n') + 1)
	return ErrDocument(fmt.Sprintf("not well-formed (invalid token): line %d, column %d", line, column))
}

// text reads character data up to the end of the current element.
func (d *decoder) text() string {
	var b strings.Builder
	for depth := 1; depth > 0; {
		switch t := d.token().(type) {
		case nil:
			panic(d.refuse())
		case xml.CharData:
			b.Write(t)
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
	}
	return b.String()
}

// value parses up to </value>. Text without a type is a string.
func (d *decoder) value() (v any) {
	var loose strings.Builder
	typed := false
	for {
		switch t := d.token().(type) {
		case nil:
			panic(d.refuse())
		case xml.CharData:
			loose.Write(t)
		case xml.StartElement:
			v, typed = d.typed(t.Name.Local), true
		case xml.EndElement:
			if !typed {
				return loose.String()
			}
			return v
		}
	}
}

func (d *decoder) typed(kind string) any {
	switch kind {
	case "array":
		list := []any{}
		d.each("value", func() { list = append(list, d.value()) })
		return list
	case "struct":
		return d.members()
	}
	text := d.text()
	switch kind {
	case "nil":
		return nil
	case "boolean":
		return strings.TrimSpace(text) == "1"
	case "int", "i1", "i2", "i4", "i8", "biginteger":
		return number(text)
	case "double", "float":
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			panic(ErrDocument("could not convert string to float: " + python.StringRepr(text)))
		}
		return f
	case "base64":
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			panic(ErrDocument("Incorrect padding"))
		}
		return python.Binary(raw)
	case "dateTime.iso8601":
		return python.DateTime(text)
	case "string":
		return text
	}
	panic(ErrDocument("unknown tag " + python.StringRepr(kind)))
}

// each calls f at each start of the element name, up to the end of the current element.
func (d *decoder) each(name string, f func()) {
	for depth := 1; depth > 0; {
		switch t := d.token().(type) {
		case nil:
			panic(d.refuse())
		case xml.StartElement:
			if t.Name.Local == name {
				f()
				continue
			}
			depth++
		case xml.EndElement:
			depth--
		}
	}
}

func (d *decoder) members() *python.Struct {
	s := &python.Struct{}
	name := ""
	for depth := 1; depth > 0; {
		switch t := d.token().(type) {
		case nil:
			panic(d.refuse())
		case xml.StartElement:
			switch t.Name.Local {
			case "name":
				name = d.text()
			case "value":
				s.Set(name, d.value())
			default:
				depth++
			}
		case xml.EndElement:
			depth--
		}
	}
	return s
}

func (d *decoder) fault() {
	d.each("value", func() {
		if s, ok := d.value().(*python.Struct); ok {
			panic(&python.Fault{Code: python.AsInt(s.Val("faultCode")), Class: "xmlrpc.client.Fault",
				Text: python.AsString(s.Val("faultString")), Plain: true})
		}
	})
}

func number(text string) any {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if n, ok := new(big.Int).SetString(text, 10); ok {
		return n
	}
	panic(ErrDocument("invalid literal for int() with base 10: " + python.StringRepr(text)))
}
