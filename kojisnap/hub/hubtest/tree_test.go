package hubtest_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
)

// node is an element of an XML-RPC document as it was sent: <int> and <i8> with the same number differ.
type node struct {
	Name  string
	Text  string
	Child []*node
	whole string
}

// parseTree parses a document. It drops white space between elements and keeps it within leaves.
func parseTree(body []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	root := &node{}
	stack := []*node{root}
	for {
		t, err := d.Token()
		if err == io.EOF {
			if len(root.Child) != 1 {
				return nil, fmt.Errorf("%d documents", len(root.Child))
			}
			return root.Child[0], nil
		}
		if err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		switch t := t.(type) {
		case xml.StartElement:
			n := &node{Name: t.Name.Local}
			top.Child = append(top.Child, n)
			stack = append(stack, n)
		case xml.EndElement:
			if len(top.Child) > 0 {
				top.Text = ""
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.Text += string(t)
		}
	}
}

// ordered are the members whose value is JSON. A client may have to write them again byte for byte, so the
// order of their members counts.
var ordered = []string{"extra", "opts", "custom_opts", "data"}

// normal sorts the members of structs, except within those in ordered. Koji makes the extra of a tag from
// unordered rows: its own members are sorted, their contents are not.
func (n *node) normal() *node {
	tag := n.member("maven_include_all") != nil || n.member("arches") != nil
	for _, c := range n.Child {
		if c.Name == "member" && slices.Contains(ordered, c.Child[0].Text) {
			if tag {
				c.Child[1].Child[0].sortMembers()
			}
			continue
		}
		c.normal()
	}
	n.sortMembers()
	return n
}

func (n *node) sortMembers() {
	if n.Name == "struct" {
		sort.SliceStable(n.Child, func(i, j int) bool { return n.Child[i].Child[0].Text < n.Child[j].Child[0].Text })
	}
}

func (n *node) member(name string) *node {
	if n.Name == "struct" {
		for _, m := range n.Child {
			if m.Child[0].Text == name {
				return m.Child[1]
			}
		}
	}
	return nil
}

// sort turns each array that the path leads to into a set, starting at the element <value>. In the path "" is
// the value itself, "*" each element or member, a number one element, a name one member.
func (n *node) sort(path ...string) {
	if len(n.Child) == 0 {
		return
	}
	in := n.Child[0]
	if len(path) == 0 {
		if in.Name == "array" {
			slices.SortStableFunc(in.Child[0].Child, func(a, b *node) int { return strings.Compare(a.text(), b.text()) })
		}
		return
	}
	switch in.Name {
	case "array":
		for i, v := range in.Child[0].Child {
			if path[0] == "*" || path[0] == fmt.Sprint(i) {
				v.sort(path[1:]...)
			}
		}
	case "struct":
		for _, m := range in.Child {
			if path[0] == "*" || path[0] == m.Child[0].Text {
				m.Child[1].sort(path[1:]...)
			}
		}
	}
}

// withoutFrames reduces Python's tracebacks to what a client can act on: the exception's line.
func (n *node) withoutFrames() *node {
	if n.Name == "member" && n.Child[0].Text == "faultString" {
		s := n.Child[1].Child[0]
		s.Text = exceptionLine(s.Text)
	}
	if n.Name == "member" && n.Child[0].Text == "traceback" {
		data := n.Child[1].Child[0].Child[0]
		data.Child = data.Child[len(data.Child)-1:]
	}
	for _, c := range n.Child {
		c.withoutFrames()
	}
	return n
}

func exceptionLine(s string) string {
	rest, ok := strings.CutPrefix(s, "Traceback (most recent call last):\n")
	if !ok {
		return s
	}
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, " ") {
			return line
		}
	}
	return s
}

// drop removes all members with a name.
func (n *node) drop(member string) *node {
	n.Child = slices.DeleteFunc(n.Child, func(c *node) bool { return c.Name == "member" && c.Child[0].Text == member })
	for _, c := range n.Child {
		c.drop(member)
	}
	return n
}

// text is String, computed once.
func (n *node) text() string {
	if n.whole == "" {
		n.whole = n.String()
	}
	return n.whole
}

func (n *node) String() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

func (n *node) write(b *strings.Builder) {
	b.WriteString(n.Name)
	if len(n.Child) == 0 {
		fmt.Fprintf(b, "%q", n.Text)
		return
	}
	b.WriteByte('(')
	for _, c := range n.Child {
		c.write(b)
		b.WriteByte(' ')
	}
	b.WriteByte(')')
}

// difference returns where two trees differ, "" if they do not.
func difference(path string, got, want *node) string {
	switch {
	case got.Name != want.Name:
		return fmt.Sprintf("%s: got <%s> %.200s, want <%s> %.200s", path, got.Name, got, want.Name, want)
	case len(got.Child) == 0 && len(want.Child) == 0 && got.Text != want.Text:
		return fmt.Sprintf("%s: got %q, want %q", path, got.Text, want.Text)
	}
	for i := range min(len(got.Child), len(want.Child)) {
		at := path
		if got.Child[i].Name == "member" {
			at += "." + got.Child[i].Child[0].Text
		} else if got.Name == "data" {
			at += fmt.Sprintf("[%d]", i)
		}
		if d := difference(at, got.Child[i], want.Child[i]); d != "" {
			return d
		}
	}
	if len(got.Child) != len(want.Child) {
		return fmt.Sprintf("%s: got %d in <%s>, want %d", path, len(got.Child), got.Name, len(want.Child))
	}
	return ""
}
