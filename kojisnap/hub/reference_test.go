package hub

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// reference decodes a methodResponse, or the params of a methodCall, by way of
// encoding/xml and a tree: slow, simple, and lenient where decoder is strict.
func reference(doc []byte) (v any, err error) {
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("reference: %v", e)
		}
	}()
	root, err := parse(doc)
	if err != nil {
		return nil, err
	}
	switch root.name {
	case "methodResponse":
		if fault := root.child("fault"); fault != nil {
			var f Fault
			for _, m := range refValue(fault.child("value")).([]member) {
				switch m.name {
				case "faultCode":
					f.Code = int(m.value.(int64))
				case "faultString":
					f.String = m.value.(string)
				}
			}
			return f, nil
		}
		return refValue(root.child("params").child("param").child("value")), nil
	case "methodCall":
		params := []any{}
		for _, p := range root.child("params").children {
			params = append(params, refValue(p.child("value")))
		}
		return params, nil
	}
	return nil, fmt.Errorf("unexpected <%s>", root.name)
}

type xmlNode struct {
	name     string
	text     string
	children []*xmlNode
}

func (e *xmlNode) child(name string) *xmlNode {
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func parse(doc []byte) (*xmlNode, error) {
	dec := xml.NewDecoder(bytes.NewReader(doc))
	top := &xmlNode{}
	stack := []*xmlNode{top}
	for {
		tok, err := dec.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		parent := stack[len(stack)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			name := tok.Name.Local
			if tok.Name.Space != "" {
				name = tok.Name.Space + ":" + name
			}
			e := &xmlNode{name: name}
			parent.children = append(parent.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
			if len(stack) == 0 {
				return nil, errors.New("too many end tags")
			}
		case xml.CharData:
			parent.text += string(tok)
		}
	}
	if len(top.children) != 1 || len(stack) != 1 {
		return nil, errors.New("not one root element")
	}
	return top.children[0], nil
}

func refValue(v *xmlNode) any {
	if len(v.children) == 0 {
		return v.text
	}
	e := v.children[0]
	switch e.name {
	case "nil", "ex:nil":
		return nil
	case "boolean":
		return e.text == "1"
	case "int", "i1", "i2", "i4", "i8":
		n, err := strconv.ParseInt(e.text, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	case "double":
		return double(e.text)
	case "base64":
		b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(e.text), ""))
		if err != nil {
			panic(err)
		}
		return b
	case "array":
		a := []any{}
		for _, c := range e.child("data").children {
			a = append(a, refValue(c))
		}
		return a
	case "struct":
		s := []member{}
		for _, m := range e.children {
			s = append(s, member{m.child("name").text, refValue(m.child("value"))})
		}
		return s
	}
	return e.text
}
