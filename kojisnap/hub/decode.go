package hub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// maxDepth is how deep values may be nested. Koji's own are 5 deep; a build's
// extra, which users write, is seldom twice as deep.
const maxDepth = 100

// decoder reads one methodResponse. Its errors are a *Fault, a *ReplyError, or
// the error of a function that got a row.
type decoder struct {
	scanner
	method  string
	tape    *tape
	names   map[string]string // member names seen, so that each is allocated once
	name    []byte            // scratch
	skipped []byte            // scratch
	depth   int

	table     string // where a stream is, for messages
	row       int
	delivered bool // a row was given away
	settled   bool // all rows of a call in a multicall were given away: it is not asked for again
	rowsGiven int64
	inFn      bool // the error came from the function that got the row
	began     bool // it is XML-RPC: there was a methodResponse

	room room
}

func newDecoder(method string, r io.Reader, limit int64) *decoder {
	l := int(min(limit, math.MaxInt/2))
	d := &decoder{scanner: scanner{r: r, limit: l}, method: method, tape: &tape{}, names: make(map[string]string), row: -1}
	d.room.limit = l
	d.ask = d.charge
	return d
}

// whole returns the reply as one Value.
func (d *decoder) whole() (Value, error) {
	err := d.reply(func() error { return d.value("") })
	if err != nil {
		return Value{}, err
	}
	return Value{d.tape, 0}, nil
}

// reply reads a methodResponse; content reads its value after <value>.
func (d *decoder) reply(content func() error) error {
	err := d.document(content)
	var fault *Fault
	if err == nil || d.inFn || errors.As(err, &fault) {
		return err
	}
	if errors.Is(err, errHTML) {
		return errHTML
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && !isRead(err) {
		err = fmt.Errorf("the reply ends early: %w", err)
	}
	return &ReplyError{Method: d.method, Offset: d.offset(), Table: d.table, Row: d.row, Seen: d.seen(), Err: err}
}

// value reads a value after <value>, to </value>, onto the tape.
func (d *decoder) value(name string) error {
	t, start, err := d.valueType()
	if err != nil {
		return err
	}
	return d.typed(name, t, start)
}

// valueType reads after <value> the tag of the value's type. If there is none,
// the value is untyped: its text is on the tape from start, and </value> was read.
func (d *decoder) valueType() (el element, start int, err error) {
	start = len(d.tape.text)
	d.badChar = nil
	if d.end-d.pos < 2 || d.buf[d.pos] != '<' || d.buf[d.pos+1] == '!' || d.buf[d.pos+1] == '?' {
		if d.tape.text, err = d.text(d.tape.text); err != nil {
			return unknown, 0, err
		}
	}
	t, err := d.tag()
	switch {
	case err != nil:
		return unknown, 0, err
	case t == tag{el: elValue, end: true}:
		return untyped, start, nil
	case t.end:
		return unknown, 0, fmt.Errorf("%s where </value> should be", t)
	case len(bytes.Trim(d.tape.text[start:], " \t\r\n")) > 0:
		return unknown, 0, fmt.Errorf("text before %s in a value", t)
	}
	d.tape.text = d.tape.text[:start]
	return t.el, start, nil
}

// typed reads a value after the tag of its type, to </value>.
func (d *decoder) typed(name string, el element, start int) error {
	at := len(d.tape.nodes)
	if d.depth++; d.depth > maxDepth {
		return d.tooDeep(name, el, start)
	}
	if err := d.charge(0); err != nil {
		return err
	}
	d.tape.nodes = append(d.tape.nodes, node{name: name, start: start, end: start})
	var count int
	var err error
	switch el {
	case elArray:
		d.tape.nodes[at].kind = Array
		err = d.elements(func() error {
			count++
			return d.value("")
		})
	case elStruct:
		d.tape.nodes[at].kind = Struct
		err = d.members(func(name string) error {
			count++
			return d.value(name)
		})
	default:
		var wrong error
		wrong, err = d.scalar(&d.tape.nodes[at], el)
		if wrong != nil && d.keep {
			d.tape.spoil(at, wrong)
		} else if err == nil {
			err = wrong
		}
	}
	if err != nil {
		return err
	}
	n := &d.tape.nodes[at]
	n.count = count
	n.next = len(d.tape.nodes)
	d.depth--
	if el == untyped {
		return nil
	}
	return d.close(elValue)
}

// tooDeep handles a value that is nested too deep, after the tag of its type. It returns an error, or
// skips all that is below and makes the value Bad.
func (d *decoder) tooDeep(name string, el element, start int) error {
	deep := fmt.Errorf("values nested more than %d deep", maxDepth)
	if !d.keep {
		return deep
	}
	at := len(d.tape.nodes)
	d.tape.nodes = append(d.tape.nodes, node{name: name, start: start, end: start, next: at + 1})
	d.tape.spoil(at, deep)
	d.depth--
	if el == untyped {
		return nil
	}
	for open := 1; open > 0; { // values
		var err error
		if d.skipped, err = d.text(d.skipped[:0]); err != nil {
			return err
		}
		t, err := d.tag()
		switch {
		case err != nil:
			return err
		case t == tag{el: elValue}:
			open++
		case t == tag{el: elValue, end: true}:
			open--
		}
	}
	d.badChar = nil
	return nil
}

// elements reads an array after its tag, to </array>; each reads an element
// after <value>.
func (d *decoder) elements(each func() error) error {
	if err := d.open(elData); err != nil {
		return err
	}
	for {
		if !d.skip("<value>") {
			t, err := d.tag()
			switch {
			case err != nil:
				return err
			case t == tag{el: elData, end: true}:
				return d.close(elArray)
			case t != tag{el: elValue}:
				return fmt.Errorf("%s in an array", t)
			}
		}
		if err := each(); err != nil {
			return err
		}
	}
}

// members reads a struct after its tag, to </struct>; each reads a member's
// value after <value>.
func (d *decoder) members(each func(name string) error) error {
	for {
		if !d.skip("<member>") {
			t, err := d.tag()
			switch {
			case err != nil:
				return err
			case t == tag{el: elStruct, end: true}:
				return nil
			case t != tag{el: elMember}:
				return fmt.Errorf("%s in a struct", t)
			}
		}
		if err := d.open(elName); err != nil {
			return err
		}
		var err error
		d.badChar = nil
		if err = d.memberName(); err != nil {
			return err
		}
		badName := d.badChar
		if err := d.close(elName); err != nil {
			return err
		}
		if err := d.open(elValue); err != nil {
			return err
		}
		at := len(d.tape.nodes)
		if err := each(d.intern(d.name)); err != nil {
			return err
		}
		if badName != nil && at < len(d.tape.nodes) {
			d.tape.spoil(at, fmt.Errorf("its name: %w", badName))
		}
		if err := d.close(elMember); err != nil {
			return err
		}
	}
}

// intern returns name as a string. Rows are alike: usually the node at this place
// in the previous row has the same name.
func (d *decoder) intern(name []byte) string {
	if at := len(d.tape.nodes); at < cap(d.tape.nodes) {
		if before := d.tape.nodes[: at+1 : cap(d.tape.nodes)][at].name; before == string(name) {
			return before
		}
	}
	s, ok := d.names[string(name)]
	switch {
	case ok:
	case len(d.names) < 1000 && len(name) <= maxTag: // a struct may have any names, such as all tags'
		s = string(name)
		d.names[s] = s
	default:
		s = string(name)
		d.tape.owned += len(s)
	}
	return s
}

// memberName reads the name of a member.
func (d *decoder) memberName() (err error) {
	limit := d.limit
	d.limit = min(limit, maxName)
	d.name, err = d.text(d.name[:0])
	d.limit = limit
	return err
}

// open reads the start tag of el.
func (d *decoder) open(el element) error {
	if d.skip(startTags[el]) {
		return nil
	}
	t, err := d.tag()
	if err == nil && t != (tag{el: el}) {
		err = fmt.Errorf("%s where %s should be", t, tag{el: el})
	}
	return err
}

// close reads the end tag of el.
func (d *decoder) close(el element) error {
	if d.skip(endTags[el]) {
		return nil
	}
	t, err := d.tag()
	if err == nil && t != (tag{el: el, end: true}) {
		err = fmt.Errorf("%s where %s should be", t, tag{el: el, end: true})
	}
	return err
}

func (t *tape) reset() {
	if t.owned > 0 { // intern looks at old nodes: they must not keep every name ever seen
		clear(t.nodes[:cap(t.nodes)])
		t.owned = 0
	}
	t.nodes = t.nodes[:0]
	t.text = t.text[:0]
	t.bad = t.bad[:0]
}

// spoil makes the node at a place Bad. The nodes below it stay on the tape, but no method reaches them.
func (t *tape) spoil(at int, why error) {
	n := &t.nodes[at]
	n.kind, n.num, n.count = Bad, int64(len(t.bad)), 0
	t.bad = append(t.bad, why)
}
