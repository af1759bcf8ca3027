package hub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

func (d *decoder) document(content func() error) error {
	if err := d.prolog(); err != nil {
		return err
	}
	if err := d.open(elMethodResponse); err != nil {
		return err
	}
	d.began = true
	t, err := d.tag()
	if err != nil {
		return err
	}
	var fault *Fault
	switch t {
	case tag{el: elFault}:
		if fault, err = d.fault(); err == nil {
			err = d.close(elFault)
		}
	case tag{el: elParams}:
		if err = d.open(elParam); err == nil {
			if err = d.open(elValue); err == nil {
				if err = content(); err == nil {
					if err = d.close(elParam); err == nil {
						err = d.close(elParams)
					}
				}
			}
		}
	default:
		err = fmt.Errorf("%s in a methodResponse", t)
	}
	if err == nil {
		err = d.close(elMethodResponse)
	}
	if err == nil {
		err = d.epilog()
	}
	if err == nil && fault != nil {
		return fault
	}
	return err
}

// prolog reads what may come before <methodResponse>: the XML declaration.
func (d *decoder) prolog() error {
	if err := d.need(1); errors.Is(err, io.ErrUnexpectedEOF) && !isRead(err) {
		return fmt.Errorf("it is empty: %w", io.ErrUnexpectedEOF)
	}
	_ = d.need(64) // as much as there is: an error comes again where it matters
	head := bytes.ToLower(bytes.TrimLeft(d.buf[d.pos:d.end], "\xef\xbb\xbf \t\r\n"))
	if bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<html")) {
		return errHTML
	}
	if !bytes.HasPrefix(d.buf[d.pos:d.end], []byte("<?xml")) {
		return nil
	}
	if err := d.need(6); err != nil {
		return err
	}
	if !isSpace(d.buf[d.pos+5]) {
		return nil // a processing instruction with a longer name
	}
	n := bytes.Index(d.buf[d.pos:d.end], []byte("?>"))
	for n < 0 {
		if d.end-d.pos > maxTag {
			return errors.New("the XML declaration is too long")
		}
		if err := d.need(d.end - d.pos + 1); err != nil {
			return err
		}
		n = bytes.Index(d.buf[d.pos:d.end], []byte("?>"))
	}
	if n >= maxTag {
		return errors.New("the XML declaration is too long")
	}
	decl := string(d.buf[d.pos+5 : d.pos+n])
	if !declaration(decl) {
		return fmt.Errorf("XML declaration %q: want version 1.0 and UTF-8", decl)
	}
	d.pos += n + 2
	return nil
}

// declaration reports whether s, the text between "<?xml" and "?>", declares
// version 1.0 and no encoding other than UTF-8 or its subset US-ASCII.
func declaration(s string) bool {
	want := []struct {
		name     string
		values   []string
		optional bool
	}{
		{"version", []string{"1.0"}, false},
		{"encoding", []string{"utf-8", "us-ascii"}, true},
		{"standalone", []string{"yes", "no"}, true},
	}
	for _, w := range want {
		trimmed := strings.TrimLeft(s, " \t\r\n")
		rest, ok := strings.CutPrefix(trimmed, w.name)
		if !ok && w.optional {
			continue
		}
		if !ok || trimmed == s {
			return false
		}
		rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t\r\n"), "=")
		rest = strings.TrimLeft(rest, " \t\r\n")
		if !ok || rest == "" || rest[0] != '"' && rest[0] != '\'' {
			return false
		}
		value, after, ok := strings.Cut(rest[1:], rest[:1])
		if !ok || value != w.values[0] && !strings.EqualFold(value, w.values[0]) && !(len(w.values) > 1 && strings.EqualFold(value, w.values[1])) {
			return false
		}
		s = after
	}
	return strings.Trim(s, " \t\r\n") == ""
}

// epilog reads what may come after </methodResponse>, to the end.
func (d *decoder) epilog() error {
	for {
		if err := d.space(); err != nil {
			return err
		}
		if d.pos == d.end {
			return nil
		}
		if d.buf[d.pos] != '<' {
			return fmt.Errorf("%s after the end", d.near())
		}
		if err := d.need(2); err != nil {
			return err
		}
		if c := d.buf[d.pos+1]; c != '!' && c != '?' {
			return fmt.Errorf("%s after the end", d.near())
		}
		if err := d.skipMarkup(); err != nil {
			return err
		}
	}
}

// fault reads the value of a fault.
func (d *decoder) fault() (*Fault, error) {
	if err := d.open(elValue); err != nil {
		return nil, err
	}
	d.reset()
	if err := d.value(""); err != nil {
		return nil, err
	}
	return toFault(Value{d.tape, 0})
}

func toFault(v Value) (*Fault, error) {
	code, ok := v.Field("faultCode").Int()
	text, ok2 := clipFault(v.Field("faultString"))
	if why := v.Field("faultString").Bad(); why != nil { // it quotes what cannot be sent
		text, ok2 = fmt.Sprintf("what it says cannot be read: %s", why), true
	}
	if !ok || !ok2 {
		return nil, errors.New("a fault without faultCode and faultString")
	}
	return &Fault{Code: int(code), String: text}, nil
}

// maxFault is how many bytes of a fault's text are kept: a Python traceback has a few thousand.
const maxFault = 16 << 10

// clipFault keeps the beginning and the end, where a traceback has its exception.
func clipFault(v Value) (string, bool) {
	b := v.Text()
	if len(b) <= maxFault || v.Kind() != String {
		return v.Str()
	}
	return strings.ToValidUTF8(string(b[:maxFault/2])+"…"+string(b[len(b)-maxFault/2:]), ""), true
}
