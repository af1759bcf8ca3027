package tagged

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errNoContentTag says that a module build does not name the tag that has its rpms.
var errNoContentTag = errors.New("it names no content tag")

// ContentTagInExtra returns the content tag that a module build's extra names. extra is JSON, as the database
// has it. The error says why there is no name, or none that a tag can have.
func ContentTagInExtra(extra []byte) (string, error) {
	at := json.RawMessage(extra)
	for _, key := range []string{"typeinfo", "module", "content_koji_tag"} {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(at, &members); err != nil || members[key] == nil {
			return "", errNoContentTag
		}
		at = members[key]
	}
	var v any
	if err := json.Unmarshal(at, &v); err != nil {
		return "", errNoContentTag
	}
	return CheckContentTag(v)
}

// CheckContentTag returns the value of content_koji_tag as the name of a tag. The error says why there is no
// name, or none that a tag can have.
func CheckContentTag(v any) (string, error) {
	if v == nil || v == "" {
		return "", errNoContentTag
	}
	name, ok := v.(string)
	switch {
	case !ok:
		return "", fmt.Errorf("its content tag is %.40q, which is no text", fmt.Sprint(v))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", fmt.Errorf("its content tag is %.40q, which no tag can be called", name)
	case !IsTagName(name):
		return "", fmt.Errorf("its content tag is %.40q…, of %d characters, which is longer than any tag's name", name, utf8.RuneCountInString(name))
	}
	return name, nil
}

// MaxTagNameLength is how many characters a tag's name has at most. Hubs permit 256, unless their
// MaxNameLengthInternal says more.
const MaxTagNameLength = 300

// IsTagName reports whether a text has a length that a tag's name can have.
func IsTagName(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= MaxTagNameLength
}
