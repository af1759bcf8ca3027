package tagged

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errNoContentTag says that a module build does not say where its rpms are.
var errNoContentTag = errors.New("it names no content tag")

// ContentTagOf reads a module build's extra, which is JSON: the name of its content tag, or why there is
// none that a tag could have.
func ContentTagOf(extra []byte) (string, error) {
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
	return ContentTagName(v)
}

// ContentTagName is a value as the name of a tag, or why it is none.
func ContentTagName(v any) (string, error) {
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

// MaxTagName is more characters than a tag's name has: hubs permit 256, unless MaxNameLengthInternal says more.
const MaxTagName = 300

func IsTagName(name string) bool { return name != "" && utf8.RuneCountInString(name) <= MaxTagName }
