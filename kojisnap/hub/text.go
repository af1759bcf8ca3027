package hub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// plain marks the bytes of text that stand for themselves in any context.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = true
	}
	t['\t'], t['\n'] = true, true
	t['<'], t['&'], t[']'], t['>'] = false, false, false, false
	return t
}()

// text appends the character data up to the next tag to dst. Comments and
// processing instructions in it vanish. What it appends is valid UTF-8.
func (s *scanner) text(dst []byte) ([]byte, error) {
	if s.empty != unknown {
		return dst, nil
	}
	had := len(dst)
	asked := 0
	brackets := 0 // how many ] were directly before
	cdata := false
	for {
		b := s.buf[s.pos:s.end]
		n := 0
		for n < len(b) && plain[b[n]] {
			n++
		}
		if n > 0 {
			brackets = 0
			dst = append(dst, b[:n]...)
			s.pos += n
		}
		if n := len(dst) - had; n > s.limit {
			return dst, &LimitError{What: fmt.Sprintf("text of more than %d bytes", s.limit)}
		} else if s.ask != nil && n-asked > window {
			if err := s.ask(n); err != nil {
				return dst, err
			}
			asked = n
		}
		if n == len(b) {
			if err := s.need(1); err != nil {
				return dst, err
			}
			continue
		}
		c := b[n]
		switch {
		case c == ']':
			brackets++
			dst = append(dst, c)
			s.pos++
			continue
		case c == '>':
			if brackets >= 2 {
				if !cdata {
					return dst, errors.New("]]> outside of a CDATA section")
				}
				cdata = false
				dst = dst[:len(dst)-2]
			} else {
				dst = append(dst, c)
			}
			s.pos++
		case c == '\r': // XML 1.0, 2.11: CR LF and CR alone are LF
			if err := s.need(2); err != nil {
				return dst, err
			}
			s.pos++
			if s.buf[s.pos] == '\n' {
				s.pos++
			}
			dst = append(dst, '\n')
		case c == '<' && cdata, c == '&' && cdata:
			dst = append(dst, c)
			s.pos++
		case c == '<':
			if err := s.need(2); err != nil {
				return dst, err
			}
			if next := s.buf[s.pos+1]; next != '!' && next != '?' {
				return dst, nil
			}
			if ok, err := s.startsWith("<![CDATA["); err != nil {
				return dst, err
			} else if ok {
				s.pos += len("<![CDATA[")
				cdata = true
			} else if err := s.skipMarkup(); err != nil {
				return dst, err
			}
		case c == '&':
			var err error
			if dst, err = s.reference(dst); err != nil {
				return dst, err
			}
		default:
			r, size, err := s.char()
			if err != nil {
				if r, size = s.keepOn(err); size == 0 {
					return dst, err
				}
			}
			dst = utf8.AppendRune(dst, r)
			s.pos += size
		}
		brackets = 0
	}
}

var references = map[string]rune{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\''}

// reference appends the character of the reference at pos.
func (s *scanner) reference(dst []byte) ([]byte, error) {
	const longest = len("&#x0010FFFF;")
	semi := -1
	for semi < 0 {
		semi = bytes.IndexByte(s.buf[s.pos:min(s.end, s.pos+longest)], ';')
		if semi < 0 {
			if s.end-s.pos >= longest {
				return dst, fmt.Errorf("%s is no reference", s.near())
			}
			if err := s.need(s.end - s.pos + 1); err != nil {
				return dst, err
			}
		}
	}
	name := string(s.buf[s.pos+1 : s.pos+semi])
	r, ok := references[name]
	if digits, isNumber := strings.CutPrefix(name, "#"); isNumber {
		base := 10
		if hex, isHex := strings.CutPrefix(digits, "x"); isHex {
			base, digits = 16, hex
		}
		n, err := strconv.ParseUint(digits, base, 32)
		r, ok = rune(n), err == nil && n <= utf8.MaxRune && isChar(rune(n))
	}
	if !ok {
		err := fmt.Errorf("reference %q stands for no character of XML", s.buf[s.pos:s.pos+semi+1])
		if r = utf8.RuneError; !s.keep {
			return dst, err
		}
		s.noteBad(err)
	}
	s.pos += semi + 1
	return utf8.AppendRune(dst, r), nil
}

// noteBad notes the first error of a text.
func (s *scanner) noteBad(err error) {
	if s.badChar == nil {
		s.badChar = err
	}
}

// keepOn returns the replacement for a character that XML does not allow, and how many bytes the
// character has: 0 if it is an error.
func (s *scanner) keepOn(err error) (rune, int) {
	if !s.keep || isRead(err) || Flooded(err) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, 0
	}
	s.noteBad(err)
	_, size := utf8.DecodeRune(s.buf[s.pos:s.end])
	return utf8.RuneError, size
}

// char returns the character at pos, which XML must allow.
func (s *scanner) char() (rune, int, error) {
	for !utf8.FullRune(s.buf[s.pos:s.end]) {
		if err := s.need(s.end - s.pos + 1); err != nil {
			return 0, 0, err
		}
	}
	r, size := utf8.DecodeRune(s.buf[s.pos:s.end])
	if r == utf8.RuneError && size == 1 {
		return 0, 0, fmt.Errorf("byte 0x%02x is not UTF-8", s.buf[s.pos])
	}
	if !isChar(r) {
		return 0, 0, fmt.Errorf("character U+%04X, which XML does not allow", r)
	}
	return r, size, nil
}

// isChar: XML 1.0, production 2.
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r < 0xd800 || r >= 0xe000 && r < 0xfffe || r >= 0x10000 && r <= utf8.MaxRune
}
