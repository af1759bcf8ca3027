package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// fits reports whether a value of the configuration is of a flag's type, or of that of its elements.
func fits(flag pflag.Value, v any) bool {
	_, isText := v.(string)
	_, isInteger := v.(int64)
	switch flag.Type() {
	case "bool":
		_, ok := v.(bool)
		return ok
	case "int", "int64":
		return isInteger
	case "float64":
		_, ok := v.(float64)
		return ok || isInteger
	case new(Rate).Type(), new(Limits).Type(), new(BuildNames).Type():
		return isText || isInteger
	case new(Moment).Type():
		_, isTime := v.(time.Time)
		return isText || isInteger || isTime
	}
	return isText
}

// wanted says what a flag takes.
func wanted(flag pflag.Value) string {
	switch flag.Type() {
	case "bool":
		return "want true or false"
	case "int", "int64":
		return "want a whole number"
	case "float64":
		return "want a number"
	case "stringArray":
		return "want a text in quotes, or a list of them"
	case new(Duration).Type():
		return "want a time in quotes, such as 15m, 2h or 2d"
	case new(BuildNames).Type():
		return "want NAME-VERSION-RELEASE in quotes or an id, or a list of them"
	case new(Moment).Type():
		return "want " + momentForms
	case new(Images).Type():
		return "want a table of images, such as [verify.image] with \"f42*\" = \"registry.example.com/fedora:42\""
	case new(Limits).Type():
		return "want a rate such as 20M in quotes, or a list of them"
	}
	return "want a text in quotes"
}

// shown is a value of the configuration as people know it from there.
func shown(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []any:
		var texts []string
		for _, e := range v {
			texts = append(texts, shown(e))
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case map[string]any:
		return "a table"
	case time.Time:
		return v.Format(time.RFC3339)
	}
	return fmt.Sprint(v)
}

// valueError is an error of a flag's Set in words.
func valueError(flag pflag.Value, value string, err error) error {
	var number *strconv.NumError
	switch {
	case !errors.As(err, &number):
		return err
	case errors.Is(number.Err, strconv.ErrRange):
		return fmt.Errorf("%s is out of range", value)
	}
	return fmt.Errorf("%s, not %q", wanted(flag), value)
}
