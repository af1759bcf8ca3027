package markup

import (
	"slices"
	"strings"
)

// The names that a page may have. Void elements have no content and no end.
var (
	void     = []string{"input", "meta"}
	elements = append(strings.Fields(`a article b body dd defs details div dl dt figcaption figure footer h1 h2 h3 head header html
		label li main nav p path pattern rect section small span summary svg table tbody td th thead time title tr ul`), void...)
	attributes = strings.Fields(`aria-hidden aria-label charset checked class content d datetime for height href http-equiv id lang
		name open patternTransform patternUnits role rowspan scope tabindex type viewBox width x y`)
	// inline elements stand in a line of text. All others begin a line; no browser shows the space before them.
	inline = strings.Fields(`a b dd defs dt path pattern rect small span summary svg td th time title`)
)

// constant is a string that stands in the code: no other package can make one of a variable.
type constant string

// listed panics on a name that the package does not know: that is a mistake in the code.
func listed(list []string, name constant) string {
	if !slices.Contains(list, string(name)) {
		panic("markup: " + string(name) + " is not on the list of names")
	}
	return string(name)
}
