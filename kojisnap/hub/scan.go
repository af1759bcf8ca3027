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

// scanner reads the XML that XML-RPC is made of from a window over a reader:
// tags without attributes, character data, comments, CDATA sections and
// processing instructions. It refuses what is not well-formed, and document
// types.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int               // the bytes not yet used are buf[pos:end]
	base     int64             // offset of buf[0] in the document
	limit    int               // bytes that text may give in one piece
	total    int64             // bytes that the document may have; 0: any number
	ask      func(n int) error // whether text may give n bytes, asked for each window of it; nil: it may
	empty    element           // of the empty-element tag just read: its end tag is to come

	keep    bool  // if XML does not allow a text, note the first error and read on
	badChar error // that error
}

const (
	window = 64 << 10
	maxTag = 256 // bytes; the longest of XML-RPC's has 19
	// maxName is how many bytes a member's name may have: the longest are tags', which have 256.
	maxName = 64 << 10
)

// element is one of XML-RPC's elements.
type element uint8

const (
	unknown element = iota
	elMethodResponse
	elParams
	elParam
	elFault
	elValue
	elArray
	elData
	elStruct
	elMember
	elName
	elNil
	elExNil
	elBoolean
	elInt
	elI1
	elI2
	elI4
	elI8
	elDouble
	elString
	elBase64
	elDateTime
	untyped // the content of a <value> without a type
)

var elementNames = [...]string{"", "methodResponse", "params", "param", "fault", "value", "array", "data", "struct", "member", "name",
	"nil", "ex:nil", "boolean", "int", "i1", "i2", "i4", "i8", "double", "string", "base64", "dateTime.iso8601", ""}

func (e element) String() string { return elementNames[e] }

func lookup(name []byte) element {
	switch string(name) {
	case "value":
		return elValue
	case "member":
		return elMember
	case "name":
		return elName
	case "string":
		return elString
	case "int":
		return elInt
	case "nil":
		return elNil
	case "boolean":
		return elBoolean
	case "struct":
		return elStruct
	case "double":
		return elDouble
	case "array":
		return elArray
	case "data":
		return elData
	}
	for i, n := range elementNames[:untyped] {
		if n != "" && n == string(name) {
			return element(i)
		}
	}
	return unknown
}

// tag is a start tag or an end tag.
type tag struct {
	el  element
	end bool
}

func (t tag) String() string {
	if t.end {
		return endTags[t.el]
	}
	return startTags[t.el]
}

// tag skips white space, comments and processing instructions and returns the
// tag that follows. An empty-element tag comes as a start tag and an end tag.
func (s *scanner) tag() (tag, error) {
	if el := s.empty; el != unknown {
		s.empty = unknown
		return tag{el: el, end: true}, nil
	}
	for {
		if err := s.space(); err != nil {
			return tag{}, err
		}
		if s.pos == s.end {
			return tag{}, io.ErrUnexpectedEOF
		}
		if s.buf[s.pos] != '<' {
			return tag{}, fmt.Errorf("text %s where a tag should be", s.near())
		}
		if err := s.need(2); err != nil {
			return tag{}, err
		}
		switch s.buf[s.pos+1] {
		case '!', '?':
			if err := s.skipMarkup(); err != nil {
				return tag{}, err
			}
			continue
		}
		gt := bytes.IndexByte(s.buf[s.pos:s.end], '>')
		for gt < 0 {
			if s.end-s.pos > maxTag {
				return tag{}, fmt.Errorf("tag %s is too long", s.near())
			}
			if err := s.need(s.end - s.pos + 1); err != nil {
				return tag{}, err
			}
			gt = bytes.IndexByte(s.buf[s.pos:s.end], '>')
		}
		if gt >= maxTag {
			return tag{}, fmt.Errorf("tag %s is too long", s.near())
		}
		name := s.buf[s.pos+1 : s.pos+gt]
		var t tag
		var empty bool
		if len(name) > 0 && name[0] == '/' {
			t.end = true
			name = name[1:]
		} else if len(name) > 0 && name[len(name)-1] == '/' {
			empty = true
			name = name[:len(name)-1]
		}
		for len(name) > 0 && isSpace(name[len(name)-1]) {
			name = name[:len(name)-1]
		}
		if t.el = lookup(name); t.el == unknown {
			return tag{}, fmt.Errorf("%s is no tag of XML-RPC", s.near())
		}
		if empty {
			s.empty = t.el
		}
		s.pos += gt + 1
		return t, nil
	}
}

// skip skips a tag, and a line break before it, if it is at pos exactly as Koji's
// encoders write it. Using it instead of tag doubles the decoder's speed.
func (s *scanner) skip(literal string) bool {
	p := s.pos
	if p < s.end && s.buf[p] == '\n' {
		p++
	}
	if s.empty != unknown || s.end-p < len(literal) || string(s.buf[p:p+len(literal)]) != literal {
		return false
	}
	s.pos = p + len(literal)
	return true
}

var startTags, endTags = func() (start, end [len(elementNames)]string) {
	for i, n := range elementNames {
		start[i], end[i] = "<"+n+">", "</"+n+">"
	}
	return start, end
}()

// skipMarkup skips the comment or processing instruction at pos.
func (s *scanner) skipMarkup() error {
	if ok, err := s.startsWith("<!--"); err != nil {
		return err
	} else if ok {
		s.pos += 4
		return s.skipPast("--", ">")
	}
	if ok, err := s.startsWith("<?"); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("%s: document types and declarations are refused", s.near())
	}
	if err := s.need(6); err != nil {
		return err
	}
	if isName := isNameStart(s.buf[s.pos+2]); !isName || strings.EqualFold(string(s.buf[s.pos+2:s.pos+5]), "xml") {
		return fmt.Errorf("%s is no processing instruction", s.near())
	}
	s.pos += 2
	return s.skipPast("?>", "")
}

// skipPast skips characters until end, which then must be followed.
func (s *scanner) skipPast(end, then string) error {
	for {
		// Most characters are of ASCII, and begin no end.
		for s.pos < s.end && ' ' <= s.buf[s.pos] && s.buf[s.pos] < utf8.RuneSelf && s.buf[s.pos] != end[0] {
			s.pos++
		}
		ok, err := s.startsWith(end)
		if err != nil {
			return err
		}
		if ok {
			s.pos += len(end)
			if ok, err = s.startsWith(then); err == nil && !ok {
				err = fmt.Errorf("%q in a comment", end)
			}
			s.pos += len(then)
			return err
		}
		_, size, err := s.char()
		if err != nil {
			return err
		}
		s.pos += size
	}
}

// startsWith reports whether lit is next.
func (s *scanner) startsWith(lit string) (bool, error) {
	for n := 1; n <= len(lit); n++ { // not need(len(lit)): a short document may end before
		if err := s.need(n); err != nil {
			return false, err
		}
		if s.buf[s.pos+n-1] != lit[n-1] {
			return false, nil
		}
	}
	return true, nil
}

// space skips white space; at the end of the document it leaves pos == end.
func (s *scanner) space() error {
	for {
		for s.pos < s.end && isSpace(s.buf[s.pos]) {
			s.pos++
		}
		if s.pos < s.end {
			return nil
		}
		if err := s.need(1); errors.Is(err, io.ErrUnexpectedEOF) && s.pos == s.end && !isRead(err) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// need makes at least n bytes available. It returns io.ErrUnexpectedEOF if the
// document ends before, and a *readError if reading has an error.
func (s *scanner) need(n int) error {
	if s.end-s.pos >= n {
		return nil
	}
	if s.buf == nil {
		s.buf = make([]byte, window)
	}
	s.base += int64(s.pos)
	s.end = copy(s.buf, s.buf[s.pos:s.end])
	s.pos = 0
	for idle := 0; s.end < n; {
		got, err := s.r.Read(s.buf[s.end:])
		s.end += got
		switch {
		case s.total > 0 && s.base+int64(s.end) > s.total:
			return &LimitError{What: fmt.Sprintf("a reply of more than %d bytes", s.total), final: true}
		case s.end >= n:
			return nil // the next read returns err again
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return &readError{err}
		}
		if got > 0 {
			idle = 0
		} else if idle++; idle > 100 {
			return &readError{io.ErrNoProgress}
		}
	}
	return nil
}

func isRead(err error) bool {
	var r *readError
	return errors.As(err, &r)
}

// offset returns how many bytes of the document were used.
func (s *scanner) offset() int64 { return s.base + int64(s.pos) }

// near quotes the next few bytes.
func (s *scanner) near() string {
	return strconv.Quote(string(s.buf[s.pos:min(s.end, s.pos+32)]))
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isNameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':' || c >= utf8.RuneSelf
}
