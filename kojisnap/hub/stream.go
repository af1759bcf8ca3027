package hub

import (
	"fmt"
	"strconv"
	"strings"
)

// stream reads a reply that is an array, and gives each element to fn.
func (d *decoder) stream(fn func(Row) error) error {
	return d.reply(func() error {
		if err := d.begin(elArray, "an array"); err != nil {
			return err
		}
		if err := d.rows("", fn); err != nil {
			return err
		}
		return d.close(elValue)
	})
}

// streamTables reads a reply that is a struct or an array of arrays, and gives each
// element of each of these arrays to fn.
func (d *decoder) streamTables(fn func(table string, r Row) error) error {
	return d.reply(func() error {
		table := func(name string) error {
			if err := d.begin(elArray, "an array"); err != nil {
				return fmt.Errorf("table %q: %w", name, err)
			}
			if err := d.rows(name, func(r Row) error { return fn(name, r) }); err != nil {
				return err
			}
			return d.close(elValue)
		}
		el, _, err := d.valueType()
		n := 0
		switch {
		case err != nil:
			return err
		case el == elStruct:
			err = d.members(table)
		case el == elArray:
			err = d.elements(func() error {
				n++
				return table(strconv.Itoa(n - 1))
			})
		default:
			err = fmt.Errorf("the reply is %s, not a struct or an array of arrays", el)
		}
		if err != nil {
			return err
		}
		return d.close(elValue)
	})
}

// streamMulti reads the reply of a multicall of n calls. It gives the elements of a
// result that is an array to fn; any other result, nil too, is itself a row. It calls
// done when call i was answered, with a fault or nil.
func (d *decoder) streamMulti(n int, fn func(i int, r Row) error, done func(i int, f *Fault) error) error {
	return d.reply(func() error {
		if err := d.begin(elArray, "an array"); err != nil {
			return err
		}
		i := 0
		err := d.elements(func() error {
			if i == n {
				return fmt.Errorf("more than %d results", n)
			}
			fault, err := d.result(func(r Row) error { return fn(i, r) })
			if err != nil {
				return err
			}
			if fault != nil && Temporary(fault) {
				return fault // of the hub, not of the call
			}
			if err := d.given(done(i, fault)); err != nil {
				return err
			}
			i++
			return nil
		})
		if err != nil {
			return err
		}
		if i < n {
			return fmt.Errorf("%d results for %d calls", i, n)
		}
		return d.close(elValue)
	})
}

// result reads one result of a multicall after <value>: a fault, or an array
// that holds the call's result alone.
func (d *decoder) result(fn func(Row) error) (*Fault, error) {
	el, start, err := d.valueType()
	if err != nil {
		return nil, err
	}
	if el == elStruct {
		d.reset()
		if err := d.typed("", el, 0); err != nil {
			return nil, err
		}
		return toFault(Value{d.tape, 0})
	}
	if el != elArray {
		return nil, fmt.Errorf("%s as the result of a call in a multicall", el)
	}
	results := 0
	err = d.elements(func() error {
		if results++; results > 1 {
			return fmt.Errorf("two results of one call in a multicall")
		}
		d.reset()
		if el, start, err = d.valueType(); err != nil {
			return err
		}
		if el == elArray {
			if err := d.rows("", fn); err != nil {
				return err
			}
			return d.close(elValue)
		}
		d.row = 0
		if err := d.typed("", el, start); err != nil {
			return err
		}
		d.row = -1
		return d.give(Row{Value{d.tape, 0}}, fn)
	})
	if err == nil && results == 0 {
		err = fmt.Errorf("no result of a call in a multicall")
	}
	if err != nil {
		return nil, err
	}
	return nil, d.close(elValue)
}

// begin reads after <value> the tag of a type that must be el.
func (d *decoder) begin(el element, what string) error {
	got, _, err := d.valueType()
	if err == nil && got != el {
		err = fmt.Errorf("%s, not %s", got, what)
	}
	return err
}

// rows gives each element of an array to fn, after the array's tag, to </array>.
func (d *decoder) rows(table string, fn func(Row) error) error {
	d.table, d.row = table, 0
	d.reset()
	err := d.elements(func() error {
		if err := d.value(""); err != nil {
			return err
		}
		if err := d.give(Row{Value{d.tape, 0}}, fn); err != nil {
			return err
		}
		d.row++
		d.reset() // now, so that an error between rows names no row's members
		return nil
	})
	if err == nil {
		d.table, d.row = "", -1
	}
	return err
}

func (d *decoder) give(r Row, fn func(Row) error) error {
	d.delivered = true
	d.rowsGiven++
	return d.given(fn(r))
}

// given notes that err is not the decoder's own.
func (d *decoder) given(err error) error {
	d.inFn = err != nil
	return err
}

// seen describes the row that is being read by its ids and names.
func (d *decoder) seen() string {
	if d.row < 0 || len(d.tape.nodes) == 0 || d.tape.nodes[0].kind != Struct {
		return ""
	}
	var b strings.Builder
	nodes := d.tape.nodes
	for at := 1; at < len(nodes) && nodes[at].next > at; at = nodes[at].next {
		if n := nodes[at]; (n.kind == Int || n.kind == String) && naming(n.name) && b.Len() < 200 {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			if v := (Value{d.tape, at}); n.kind == Int {
				fmt.Fprintf(&b, "%s=%s", oneLine(n.name), v.Text())
			} else {
				fmt.Fprintf(&b, "%s=%q", oneLine(n.name), clip(v.Text()))
			}
		}
	}
	return b.String()
}

// naming reports whether a member of this name helps to find its row.
func naming(name string) bool {
	switch name {
	case "id", "name", "nvr", "version", "release", "arch", "filename", "key", "sigkey":
		return true
	}
	return strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "_name") || strings.HasSuffix(name, ".name")
}
