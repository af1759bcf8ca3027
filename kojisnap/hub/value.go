package hub

import (
	"encoding/base64"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
)

// Kind says which XML-RPC type a Value has.
type Kind uint8

// The kinds of a Value. Missing is the zero Value: a struct has no such
// member, or an array no such index. It is not Nil, which a hub sends for NULL.
const (
	Missing  Kind = iota
	Nil           // <nil/>: SQL NULL, Python's None
	Bool          // <boolean>
	Int           // <int>, <i4>, <i8>
	Double        // <double>
	String        // <string>, or <value> without a type
	Bytes         // <base64>
	DateTime      // <dateTime.iso8601>: Koji never sends it
	Array         // <array>
	Struct        // <struct>
	Bad           // a value that XML or XML-RPC does not allow, see [Call].KeepBad
)

var kindNames = [...]string{"missing", "nil", "boolean", "int", "double", "string", "base64", "dateTime.iso8601", "array", "struct", "bad"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Value is one XML-RPC value of a reply. The order of struct members is kept.
//
// A Value is a view. One that came from [Client.Call] or [Client.Multi] is valid
// for ever; one that came from a Row is valid until the function that got the Row
// returns, unless it is cloned. Values may be read concurrently. Strings
// that its methods return are copies.
type Value struct {
	t *tape
	i int
}

// Row is one element of a streamed reply, usually a struct. It is reused: see
// [Value] for how long it is valid.
type Row struct{ Value }

// Get returns the member called name. It is Missing if the row is not a struct or has
// no such member: older hubs leave out columns that they do not know.
func (r Row) Get(name string) Value { return r.Field(name) }

// Kind returns the type of v.
func (v Value) Kind() Kind {
	if v.t == nil {
		return Missing
	}
	return v.t.nodes[v.i].kind
}

// IsNil reports whether v is <nil/>. A Missing value is not nil.
func (v Value) IsNil() bool { return v.Kind() == Nil }

// Bad returns what is wrong with a Bad value, nil for others. An Array or a Struct is not Bad
// if only something in it is; its JSON is an error then.
func (v Value) Bad() error {
	if v.Kind() != Bad {
		return nil
	}
	return v.t.bad[v.t.nodes[v.i].num]
}

// Exists reports whether v is anything but Missing.
func (v Value) Exists() bool { return v.Kind() != Missing }

// Int returns the number of an Int.
func (v Value) Int() (int64, bool) {
	if v.Kind() != Int {
		return 0, false
	}
	return v.t.nodes[v.i].num, true
}

// Bool returns the truth of a Bool.
func (v Value) Bool() (value, ok bool) {
	if v.Kind() != Bool {
		return false, false
	}
	return v.t.nodes[v.i].num != 0, true
}

// Float returns the number of a Double or an Int. A number beyond float64's range is
// infinite, as in Python.
func (v Value) Float() (float64, bool) {
	switch v.Kind() {
	case Int:
		return float64(v.t.nodes[v.i].num), true
	case Double:
		f, err := strconv.ParseFloat(string(v.Text()), 64)
		if err != nil && !math.IsInf(f, 0) {
			return 0, false // cannot be: the decoder checked the syntax
		}
		return f, true
	}
	return 0, false
}

// Str returns the text of a String; the empty string is not Nil.
func (v Value) Str() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	return string(v.Text()), true
}

// Bytes returns the decoded bytes of a base64 value.
func (v Value) Bytes() ([]byte, bool) {
	if v.Kind() != Bytes {
		return nil, false
	}
	return append([]byte{}, v.Text()...), true
}

// Text returns the text of a scalar as it was received (of base64: decoded),
// without a copy: it must not be changed, and lives as long as v. It is nil for
// Missing, Nil, Array and Struct.
func (v Value) Text() []byte {
	if v.t == nil {
		return nil
	}
	n := &v.t.nodes[v.i]
	switch n.kind {
	case Bool, Int, Double, String, Bytes, DateTime:
		return v.t.text[n.start:n.end:n.end]
	}
	return nil
}

// Len returns the number of elements of an Array or members of a Struct, else 0.
func (v Value) Len() int {
	if v.t == nil {
		return 0
	}
	return v.t.nodes[v.i].count
}

// Index returns element i of an Array, Missing if there is none. It takes time
// in proportion to i; Items visits all.
func (v Value) Index(i int) Value {
	if v.Kind() == Array && i >= 0 {
		for j, e := range v.Items() {
			if j == i {
				return e
			}
		}
	}
	return Value{}
}

// Items visits the elements of an Array in order.
func (v Value) Items() iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
		if v.Kind() != Array {
			return
		}
		at := v.i + 1
		for i := range v.Len() {
			if !yield(i, Value{v.t, at}) {
				return
			}
			at = v.t.nodes[at].next
		}
	}
}

// Field returns the first member of a Struct called name, else Missing.
func (v Value) Field(name string) Value {
	if v.Kind() != Struct {
		return Value{}
	}
	nodes := v.t.nodes
	at := v.i + 1
	for range nodes[v.i].count {
		if nodes[at].name == name {
			return Value{v.t, at}
		}
		at = nodes[at].next
	}
	return Value{}
}

// Named turns an array into a struct, in place: its elements become members with these names, in
// order. It is for replies to calls with asList. It reports whether v is an array of that many
// elements. Other views of the value change, too.
func (v Value) Named(names []string) (Value, bool) {
	if v.Kind() != Array || v.Len() != len(names) {
		return v, false
	}
	at := v.i + 1
	for _, name := range names {
		v.t.nodes[at].name = name
		at = v.t.nodes[at].next
	}
	v.t.nodes[v.i].kind = Struct
	return v, true
}

// Members visits the members of a Struct in the order received.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Struct {
			return
		}
		at := v.i + 1
		for range v.Len() {
			if !yield(v.t.nodes[at].name, Value{v.t, at}) {
				return
			}
			at = v.t.nodes[at].next
		}
	}
}

// Clone returns a copy of v that stays valid.
func (v Value) Clone() Value {
	if v.t == nil {
		return v
	}
	from := v.t.nodes[v.i:v.t.nodes[v.i].next]
	c := &tape{nodes: make([]node, len(from)), bad: slices.Clone(v.t.bad)}
	for i, n := range from {
		text := v.t.text[n.start:n.end]
		n.start = len(c.text)
		c.text = append(c.text, text...)
		n.end = len(c.text)
		n.next -= v.i
		c.nodes[i] = n
	}
	return Value{c, 0}
}

// Any returns v as Go's own types: nil, bool, int64, float64, string, []byte,
// []any, map[string]any. It loses the order of members and the difference
// between Missing and Nil; a DateTime becomes its text.
func (v Value) Any() any {
	switch v.Kind() {
	case Bool:
		b, _ := v.Bool()
		return b
	case Int:
		n, _ := v.Int()
		return n
	case Double:
		f, _ := v.Float()
		return f
	case String, DateTime:
		return string(v.Text())
	case Bytes:
		b, _ := v.Bytes()
		return b
	case Array:
		a := make([]any, 0, v.Len())
		for _, e := range v.Items() {
			a = append(a, e.Any())
		}
		return a
	case Struct:
		m := make(map[string]any, v.Len())
		for name, e := range v.Members() {
			if _, twice := m[name]; !twice { // as Field: the first counts
				m[name] = e.Any()
			}
		}
		return m
	}
	return nil
}

// String describes v for messages and debugging: JSON where it can be, else the
// kind and the text.
func (v Value) String() string {
	if j, err := v.JSON(nil); err == nil {
		return string(j)
	}
	if v.Kind() == Bytes {
		return "base64 " + base64.StdEncoding.EncodeToString(v.Text())
	}
	return fmt.Sprintf("%s %q", v.Kind(), v.Text())
}

// tape holds the nodes of a value and all below it in document order, and their
// text in one piece: a row costs no allocation once both have grown.
type tape struct {
	nodes []node
	text  []byte
	bad   []error // of Bad nodes
	owned int     // bytes of names that only this tape has
}

type node struct {
	name       string // of a struct's member
	num        int64  // of Int and Bool; of Bad its error's index
	start, end int    // text of scalars
	next       int    // first node after this one and all below it
	count      int    // elements or members
	kind       Kind
}
