// Package markup writes HTML that names cannot break. A page is made of nodes, and there are no nodes of raw HTML:
//
//   - names of elements and attributes are constants of the code, from the short lists below;
//   - every text and every value of an attribute is escaped, always in quotes, and shown as Visible has it;
//   - href leads only to a fragment of the page or to an http or https URL;
//   - nothing on the lists runs a script or loads anything, and Style takes no text that could end it.
//
// html/template does the same by reflection: it calls methods by name, so the linker keeps all methods of all types
// that the program has. That made the program larger by a third.
package markup

import (
	"errors"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// Node is a part of a page. A nil Node is nothing.
type Node interface{ write(w *writer) }

// Write writes a whole page and returns the first error of out.
func Write(out io.Writer, html Node) error {
	w := &writer{out: out}
	w.put("<!doctype html>")
	html.write(w)
	w.put("\n")
	return w.err
}

// writer keeps its first error and writes nothing after it.
type writer struct {
	out io.Writer
	err error
}

func (w *writer) put(parts ...string) {
	for _, s := range parts {
		if w.err == nil {
			_, w.err = io.WriteString(w.out, s)
		}
	}
}

type element struct {
	name  string
	nodes []Node
}

// E is an element: its attributes, which A and Flag make, and its content, in any order.
func E(name constant, nodes ...Node) Node { return element{listed(elements, name), nodes} }

func (e element) write(w *writer) {
	if !slices.Contains(inline, e.name) {
		w.put("\n")
	}
	w.put("<", e.name)
	for _, n := range e.nodes {
		if a, is := n.(attribute); is {
			w.put(string(a))
		}
	}
	w.put(">")
	if slices.Contains(void, e.name) {
		return
	}
	Nodes(e.nodes).write(w)
	w.put("</", e.name, ">")
}

type attribute string

func (attribute) write(*writer) {} // elements do

// A is an attribute. One without a value is left out. A href that leads elsewhere than the package allows leads nowhere.
func A(name constant, value string) Node {
	if value == "" {
		return nil
	}
	if name == "href" && !strings.HasPrefix(value, "#") && !strings.HasPrefix(value, "https://") && !strings.HasPrefix(value, "http://") {
		value = "#"
	}
	return attribute(" " + listed(attributes, name) + `="` + html.EscapeString(Visible(value)) + `"`)
}

// Flag is an attribute that has no value, if on.
func Flag(name constant, on bool) Node {
	if !on {
		return nil
	}
	return attribute(" " + listed(attributes, name))
}

// Text is text.
type Text string

// Textf is text with values in it, as fmt.Sprintf has it.
func Textf(format string, values ...any) Text { return Text(fmt.Sprintf(format, values...)) }

func (t Text) write(w *writer) { w.put(html.EscapeString(Visible(string(t)))) }

// Nodes are nodes one after the other.
type Nodes []Node

func (list Nodes) write(w *writer) {
	for _, n := range list {
		if n != nil {
			n.write(w)
		}
	}
}

type each func(w *writer)

func (e each) write(w *writer) { e(w) }

// Each makes a node of each item, one at a time while it writes them, so that long lists take no memory.
func Each[T any](items []T, node func(item T) Node) Node {
	return each(func(w *writer) {
		for i := 0; i < len(items) && w.err == nil; i++ {
			Nodes{node(items[i])}.write(w)
		}
	})
}

type style string

// Style is a style sheet of the page. One with </ in it, which could end the element, is an error.
func Style(css string) Node { return style(css) }

func (s style) write(w *writer) {
	if strings.Contains(string(s), "</") && w.err == nil {
		w.err = errors.New("markup: a style has </ in it")
	}
	w.put("\n<style>", string(s), "</style>")
}
